// The services about pools and replicas: PoolRpc and ReplicaRpc of mayastor.v1, PoolRpc of holdfast.v1.
#pragma once

#include "engine/engine.h"
#include "holdfast/v1/pool.grpc.pb.h"
#include "mayastor/v1/pool.grpc.pb.h"
#include "mayastor/v1/replica.grpc.pb.h"

namespace holdfast::engine {

class PoolService final : public mayastor::v1::PoolRpc::Service {
 public:
  explicit PoolService(Engine& engine) : engine_(engine) {}

  grpc::Status CreatePool(grpc::ServerContext* context, const mayastor::v1::CreatePoolRequest* request,
                          mayastor::v1::Pool* reply) override;
  grpc::Status DestroyPool(grpc::ServerContext* context, const mayastor::v1::DestroyPoolRequest* request,
                           google::protobuf::Empty* reply) override;
  grpc::Status ExportPool(grpc::ServerContext* context, const mayastor::v1::ExportPoolRequest* request,
                          google::protobuf::Empty* reply) override;
  grpc::Status ImportPool(grpc::ServerContext* context, const mayastor::v1::ImportPoolRequest* request,
                          mayastor::v1::Pool* reply) override;
  grpc::Status ListPools(grpc::ServerContext* context, const mayastor::v1::ListPoolOptions* request,
                         mayastor::v1::ListPoolsResponse* reply) override;
  grpc::Status GrowPool(grpc::ServerContext* context, const mayastor::v1::GrowPoolRequest* request,
                        mayastor::v1::GrowPoolResponse* reply) override;

 private:
  Engine& engine_;
};

class ReplicaService final : public mayastor::v1::ReplicaRpc::Service {
 public:
  explicit ReplicaService(Engine& engine) : engine_(engine) {}

  grpc::Status CreateReplica(grpc::ServerContext* context, const mayastor::v1::CreateReplicaRequest* request,
                             mayastor::v1::Replica* reply) override;
  grpc::Status DestroyReplica(grpc::ServerContext* context,
                              const mayastor::v1::DestroyReplicaRequest* request,
                              google::protobuf::Empty* reply) override;
  grpc::Status ListReplicas(grpc::ServerContext* context, const mayastor::v1::ListReplicaOptions* request,
                            mayastor::v1::ListReplicasResponse* reply) override;
  grpc::Status ShareReplica(grpc::ServerContext* context, const mayastor::v1::ShareReplicaRequest* request,
                            mayastor::v1::Replica* reply) override;
  grpc::Status UnshareReplica(grpc::ServerContext* context,
                              const mayastor::v1::UnshareReplicaRequest* request,
                              mayastor::v1::Replica* reply) override;
  grpc::Status ResizeReplica(grpc::ServerContext* context, const mayastor::v1::ResizeReplicaRequest* request,
                             mayastor::v1::Replica* reply) override;
  grpc::Status SetReplicaEntityId(grpc::ServerContext* context,
                                  const mayastor::v1::SetReplicaEntityIdRequest* request,
                                  mayastor::v1::Replica* reply) override;

 private:
  Engine& engine_;
};

class PoolExtrasService final : public holdfast::v1::PoolRpc::Service {
 public:
  explicit PoolExtrasService(Engine& engine) : engine_(engine) {}

  grpc::Status CreatePool(grpc::ServerContext* context, const holdfast::v1::CreatePoolRequest* request,
                          holdfast::v1::PoolDetail* reply) override;
  grpc::Status ListPoolDetails(grpc::ServerContext* context,
                               const holdfast::v1::ListPoolDetailsRequest* request,
                               holdfast::v1::ListPoolDetailsResponse* reply) override;
  grpc::Status AddDisk(grpc::ServerContext* context, const holdfast::v1::AddDiskRequest* request,
                       holdfast::v1::PoolDetail* reply) override;
  grpc::Status SetPoolThresholds(grpc::ServerContext* context,
                                 const holdfast::v1::SetPoolThresholdsRequest* request,
                                 holdfast::v1::PoolDetail* reply) override;
  grpc::Status ResetDiskHealth(grpc::ServerContext* context,
                               const holdfast::v1::ResetDiskHealthRequest* request,
                               holdfast::v1::PoolDetail* reply) override;
  grpc::Status DiffSnapshots(grpc::ServerContext* context, const holdfast::v1::DiffSnapshotsRequest* request,
                             holdfast::v1::DiffSnapshotsResponse* reply) override;
  grpc::Status RevertReplica(grpc::ServerContext* context, const holdfast::v1::RevertReplicaRequest* request,
                             mayastor::v1::Replica* reply) override;
  grpc::Status GetReplicaEpochs(grpc::ServerContext* context,
                                const holdfast::v1::GetReplicaEpochsRequest* request,
                                holdfast::v1::ReplicaEpochs* reply) override;

 private:
  Engine& engine_;
};

}  // namespace holdfast::engine
