#include "engine/replica_rebuild_service.h"

#include "engine/answer.h"
#include "engine/grpc_status.h"
#include "engine/replica_rebuild_operations.h"

namespace holdfast::engine {

namespace own = holdfast::v1;
namespace ops = replica_rebuild_operations;
using Context = grpc::ServerContext;

grpc::Status ReplicaRebuildService::RebuildReplica(Context* context,
                                                   const own::RebuildReplicaRequest* request,
                                                   own::ReplicaRebuild* reply) {
  return answer(engine_, context, request, reply, pool_status, ops::create);
}
grpc::Status ReplicaRebuildService::ListReplicaRebuilds(Context* context,
                                                        const own::ListReplicaRebuildsRequest* request,
                                                        own::ListReplicaRebuildsResponse* reply) {
  return answer(engine_, context, request, reply, pool_status, ops::list);
}
grpc::Status ReplicaRebuildService::DestroyReplicaRebuild(Context* context,
                                                          const own::DestroyReplicaRebuildRequest* request,
                                                          google::protobuf::Empty* reply) {
  return answer(engine_, context, request, reply, pool_status, ops::destroy);
}
grpc::Status ReplicaRebuildService::AddChildNexus(Context* context, const own::AddChildNexusRequest* request,
                                                  mayastor::v1::Nexus* reply) {
  return answer(engine_, context, request, reply, nexus_change_status, ops::add_child);
}
grpc::Status ReplicaRebuildService::GetEpochs(Context* context, const own::GetEpochsRequest* request,
                                              own::Epochs* reply) {
  return answer(engine_, context, request, reply, pool_status, ops::epochs);
}
grpc::Status ReplicaRebuildService::ListRegionEpochs(Context* context,
                                                     const own::ListRegionEpochsRequest* request,
                                                     own::ListRegionEpochsResponse* reply) {
  return answer(engine_, context, request, reply, pool_status, ops::region_epochs);
}

}  // namespace holdfast::engine
