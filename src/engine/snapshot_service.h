// SnapshotRpc, SnapshotRebuildRpc and StatsRpc of mayastor.v1.
#pragma once

#include "engine/engine.h"
#include "mayastor/v1/snapshot.grpc.pb.h"
#include "mayastor/v1/snapshot_rebuild.grpc.pb.h"
#include "mayastor/v1/stats.grpc.pb.h"

namespace holdfast::engine {

class SnapshotService final : public mayastor::v1::SnapshotRpc::Service {
 public:
  explicit SnapshotService(Engine& engine) : engine_(engine) {}

  grpc::Status CreateReplicaSnapshot(grpc::ServerContext* context,
                                     const mayastor::v1::CreateReplicaSnapshotRequest* request,
                                     mayastor::v1::CreateReplicaSnapshotResponse* reply) override;
  grpc::Status CreateNexusSnapshot(grpc::ServerContext* context,
                                   const mayastor::v1::NexusCreateSnapshotRequest* request,
                                   mayastor::v1::NexusCreateSnapshotResponse* reply) override;
  grpc::Status ListSnapshot(grpc::ServerContext* context, const mayastor::v1::ListSnapshotsRequest* request,
                            mayastor::v1::ListSnapshotsResponse* reply) override;
  grpc::Status DestroySnapshot(grpc::ServerContext* context,
                               const mayastor::v1::DestroySnapshotRequest* request,
                               google::protobuf::Empty* reply) override;
  grpc::Status CreateSnapshotClone(grpc::ServerContext* context,
                                   const mayastor::v1::CreateSnapshotCloneRequest* request,
                                   mayastor::v1::Replica* reply) override;
  grpc::Status ListSnapshotClone(grpc::ServerContext* context,
                                 const mayastor::v1::ListSnapshotCloneRequest* request,
                                 mayastor::v1::ListSnapshotCloneResponse* reply) override;

 private:
  Engine& engine_;
};

class SnapshotRebuildService final : public mayastor::v1::SnapshotRebuildRpc::Service {
 public:
  explicit SnapshotRebuildService(Engine& engine) : engine_(engine) {}

  grpc::Status CreateSnapshotRebuild(grpc::ServerContext* context,
                                     const mayastor::v1::CreateSnapshotRebuildRequest* request,
                                     mayastor::v1::SnapshotRebuild* reply) override;
  grpc::Status ListSnapshotRebuild(grpc::ServerContext* context,
                                   const mayastor::v1::ListSnapshotRebuildRequest* request,
                                   mayastor::v1::ListSnapshotRebuildResponse* reply) override;
  grpc::Status DestroySnapshotRebuild(grpc::ServerContext* context,
                                      const mayastor::v1::DestroySnapshotRebuildRequest* request,
                                      google::protobuf::Empty* reply) override;

 private:
  Engine& engine_;
};

class StatsService final : public mayastor::v1::StatsRpc::Service {
 public:
  explicit StatsService(Engine& engine) : engine_(engine) {}

  grpc::Status GetPoolIoStats(grpc::ServerContext* context, const mayastor::v1::ListStatsOption* request,
                              mayastor::v1::PoolIoStatsResponse* reply) override;
  grpc::Status GetNexusIoStats(grpc::ServerContext* context, const mayastor::v1::ListStatsOption* request,
                               mayastor::v1::NexusIoStatsResponse* reply) override;
  grpc::Status GetReplicaIoStats(grpc::ServerContext* context, const mayastor::v1::ListStatsOption* request,
                                 mayastor::v1::ReplicaIoStatsResponse* reply) override;
  grpc::Status ResetIoStats(grpc::ServerContext* context, const google::protobuf::Empty* request,
                            google::protobuf::Empty* reply) override;

 private:
  Engine& engine_;
};

}  // namespace holdfast::engine
