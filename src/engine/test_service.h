// mayastor.v1.TestRpc: wiping and summing up replicas, and faults of inject devices.
#pragma once

#include "engine/engine.h"
#include "mayastor/v1/test.grpc.pb.h"

namespace holdfast::engine {

class TestService final : public mayastor::v1::TestRpc::Service {
 public:
  explicit TestService(Engine& engine) : engine_(engine) {}

  grpc::Status GetFeatures(grpc::ServerContext* context, const google::protobuf::Empty* request,
                           mayastor::v1::TestFeatures* reply) override;
  grpc::Status WipeReplica(grpc::ServerContext* context, const mayastor::v1::WipeReplicaRequest* request,
                           grpc::ServerWriter<mayastor::v1::WipeReplicaResponse>* writer) override;
  grpc::Status AddFaultInjection(grpc::ServerContext* context,
                                 const mayastor::v1::AddFaultInjectionRequest* request,
                                 google::protobuf::Empty* reply) override;
  grpc::Status RemoveFaultInjection(grpc::ServerContext* context,
                                    const mayastor::v1::RemoveFaultInjectionRequest* request,
                                    google::protobuf::Empty* reply) override;
  grpc::Status ListFaultInjections(grpc::ServerContext* context,
                                   const mayastor::v1::ListFaultInjectionsRequest* request,
                                   mayastor::v1::ListFaultInjectionsReply* reply) override;

 private:
  Engine& engine_;
};

}  // namespace holdfast::engine
