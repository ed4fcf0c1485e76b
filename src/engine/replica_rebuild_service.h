// holdfast.v1.ReplicaRebuildRpc: a new replica with its snapshots.
#pragma once

#include "engine/engine.h"
#include "holdfast/v1/rebuild.grpc.pb.h"

namespace holdfast::engine {

class ReplicaRebuildService final : public holdfast::v1::ReplicaRebuildRpc::Service {
 public:
  explicit ReplicaRebuildService(Engine& engine) : engine_(engine) {}

  grpc::Status RebuildReplica(grpc::ServerContext* context,
                              const holdfast::v1::RebuildReplicaRequest* request,
                              holdfast::v1::ReplicaRebuild* reply) override;
  grpc::Status ListReplicaRebuilds(grpc::ServerContext* context,
                                   const holdfast::v1::ListReplicaRebuildsRequest* request,
                                   holdfast::v1::ListReplicaRebuildsResponse* reply) override;
  grpc::Status DestroyReplicaRebuild(grpc::ServerContext* context,
                                     const holdfast::v1::DestroyReplicaRebuildRequest* request,
                                     google::protobuf::Empty* reply) override;
  grpc::Status AddChildNexus(grpc::ServerContext* context, const holdfast::v1::AddChildNexusRequest* request,
                             mayastor::v1::Nexus* reply) override;
  grpc::Status GetEpochs(grpc::ServerContext* context, const holdfast::v1::GetEpochsRequest* request,
                         holdfast::v1::Epochs* reply) override;
  grpc::Status ListRegionEpochs(grpc::ServerContext* context,
                                const holdfast::v1::ListRegionEpochsRequest* request,
                                holdfast::v1::ListRegionEpochsResponse* reply) override;

 private:
  Engine& engine_;
};

}  // namespace holdfast::engine
