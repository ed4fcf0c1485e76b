#include "engine/snapshot_service.h"

#include "engine/answer.h"
#include "engine/grpc_status.h"
#include "engine/io_statistics.h"
#include "engine/snapshot_operations.h"
#include "engine/snapshot_rebuild_operations.h"

namespace holdfast::engine {

namespace v1 = mayastor::v1;
using Context = grpc::ServerContext;
using google::protobuf::Empty;

grpc::Status SnapshotService::CreateReplicaSnapshot(Context* context,
                                                    const v1::CreateReplicaSnapshotRequest* request,
                                                    v1::CreateReplicaSnapshotResponse* reply) {
  return answer(engine_, context, request, reply, pool_status, snapshot_operations::create);
}
grpc::Status SnapshotService::CreateNexusSnapshot(Context* context,
                                                  const v1::NexusCreateSnapshotRequest* request,
                                                  v1::NexusCreateSnapshotResponse* reply) {
  return answer(engine_, context, request, reply, pool_status, snapshot_operations::create_for_nexus);
}
grpc::Status SnapshotService::ListSnapshot(Context* context, const v1::ListSnapshotsRequest* request,
                                           v1::ListSnapshotsResponse* reply) {
  return answer(engine_, context, request, reply, pool_status, snapshot_operations::list);
}
grpc::Status SnapshotService::DestroySnapshot(Context* context, const v1::DestroySnapshotRequest* request,
                                              Empty* reply) {
  return mark_absent(context,
                     answer(engine_, context, request, reply, pool_status, snapshot_operations::destroy));
}
grpc::Status SnapshotService::CreateSnapshotClone(Context* context,
                                                  const v1::CreateSnapshotCloneRequest* request,
                                                  v1::Replica* reply) {
  return answer(engine_, context, request, reply, pool_status, snapshot_operations::create_clone);
}
grpc::Status SnapshotService::ListSnapshotClone(Context* context, const v1::ListSnapshotCloneRequest* request,
                                                v1::ListSnapshotCloneResponse* reply) {
  return answer(engine_, context, request, reply, pool_status, snapshot_operations::list_clones);
}

grpc::Status SnapshotRebuildService::CreateSnapshotRebuild(Context* context,
                                                           const v1::CreateSnapshotRebuildRequest* request,
                                                           v1::SnapshotRebuild* reply) {
  return answer(engine_, context, request, reply, pool_status, snapshot_rebuild_operations::create);
}
grpc::Status SnapshotRebuildService::ListSnapshotRebuild(Context* context,
                                                         const v1::ListSnapshotRebuildRequest* request,
                                                         v1::ListSnapshotRebuildResponse* reply) {
  return answer(engine_, context, request, reply, pool_status, snapshot_rebuild_operations::list);
}
grpc::Status SnapshotRebuildService::DestroySnapshotRebuild(Context* context,
                                                            const v1::DestroySnapshotRebuildRequest* request,
                                                            Empty* reply) {
  return answer(engine_, context, request, reply, pool_status, snapshot_rebuild_operations::destroy);
}

grpc::Status StatsService::GetPoolIoStats(Context* context, const v1::ListStatsOption* request,
                                          v1::PoolIoStatsResponse* reply) {
  return answer(engine_, context, request, reply, pool_status, stats_operations::pools);
}
grpc::Status StatsService::GetNexusIoStats(Context* context, const v1::ListStatsOption* request,
                                           v1::NexusIoStatsResponse* reply) {
  return answer(engine_, context, request, reply, pool_status, stats_operations::nexuses);
}
grpc::Status StatsService::GetReplicaIoStats(Context* context, const v1::ListStatsOption* request,
                                             v1::ReplicaIoStatsResponse* reply) {
  return answer(engine_, context, request, reply, pool_status, stats_operations::replicas);
}
grpc::Status StatsService::ResetIoStats(Context* context, const Empty* request, Empty* reply) {
  return answer(engine_, context, request, reply, pool_status, stats_operations::reset);
}

}  // namespace holdfast::engine
