#include "engine/pool_service.h"

#include "engine/answer.h"
#include "engine/grpc_status.h"
#include "engine/pool_operations.h"
#include "engine/replica_operations.h"

namespace holdfast::engine {

namespace v1 = mayastor::v1;
namespace own = holdfast::v1;
using Context = grpc::ServerContext;
using google::protobuf::Empty;

grpc::Status PoolService::CreatePool(Context* context, const v1::CreatePoolRequest* request,
                                     v1::Pool* reply) {
  return answer(engine_, context, request, reply, pool_status, pool_operations::create);
}
grpc::Status PoolService::DestroyPool(Context* context, const v1::DestroyPoolRequest* request, Empty* reply) {
  return answer(engine_, context, request, reply, pool_status, pool_operations::destroy);
}
grpc::Status PoolService::ExportPool(Context* context, const v1::ExportPoolRequest* request, Empty* reply) {
  return answer(engine_, context, request, reply, pool_status, pool_operations::export_pool);
}
grpc::Status PoolService::ImportPool(Context* context, const v1::ImportPoolRequest* request,
                                     v1::Pool* reply) {
  return answer(engine_, context, request, reply, pool_status, pool_operations::import);
}
grpc::Status PoolService::ListPools(Context* context, const v1::ListPoolOptions* request,
                                    v1::ListPoolsResponse* reply) {
  return answer(engine_, context, request, reply, pool_status, pool_operations::list);
}
grpc::Status PoolService::GrowPool(Context* context, const v1::GrowPoolRequest* request,
                                   v1::GrowPoolResponse* reply) {
  return answer(engine_, context, request, reply, pool_status, pool_operations::grow);
}

grpc::Status ReplicaService::CreateReplica(Context* context, const v1::CreateReplicaRequest* request,
                                           v1::Replica* reply) {
  return answer(engine_, context, request, reply, pool_status, replica_operations::create);
}
grpc::Status ReplicaService::DestroyReplica(Context* context, const v1::DestroyReplicaRequest* request,
                                            Empty* reply) {
  return mark_absent(context,
                     answer(engine_, context, request, reply, pool_status, replica_operations::destroy));
}
grpc::Status ReplicaService::ListReplicas(Context* context, const v1::ListReplicaOptions* request,
                                          v1::ListReplicasResponse* reply) {
  return answer(engine_, context, request, reply, pool_status, replica_operations::list);
}
grpc::Status ReplicaService::ShareReplica(Context* context, const v1::ShareReplicaRequest* request,
                                          v1::Replica* reply) {
  return answer(engine_, context, request, reply, pool_status, replica_operations::share);
}
grpc::Status ReplicaService::UnshareReplica(Context* context, const v1::UnshareReplicaRequest* request,
                                            v1::Replica* reply) {
  return answer(engine_, context, request, reply, pool_status, replica_operations::unshare);
}
grpc::Status ReplicaService::ResizeReplica(Context* context, const v1::ResizeReplicaRequest* request,
                                           v1::Replica* reply) {
  return answer(engine_, context, request, reply, pool_status, replica_operations::resize);
}
grpc::Status ReplicaService::SetReplicaEntityId(Context* context,
                                                const v1::SetReplicaEntityIdRequest* request,
                                                v1::Replica* reply) {
  return answer(engine_, context, request, reply, pool_status, replica_operations::set_entity_id);
}

grpc::Status PoolExtrasService::CreatePool(Context* context, const own::CreatePoolRequest* request,
                                           own::PoolDetail* reply) {
  return answer(engine_, context, request, reply, pool_status, pool_operations::create_by_force);
}
grpc::Status PoolExtrasService::ListPoolDetails(Context* context, const own::ListPoolDetailsRequest* request,
                                                own::ListPoolDetailsResponse* reply) {
  return answer(engine_, context, request, reply, pool_status, pool_operations::list_details);
}
grpc::Status PoolExtrasService::AddDisk(Context* context, const own::AddDiskRequest* request,
                                        own::PoolDetail* reply) {
  return answer(engine_, context, request, reply, pool_status, pool_operations::add_disk);
}
grpc::Status PoolExtrasService::SetPoolThresholds(Context* context,
                                                  const own::SetPoolThresholdsRequest* request,
                                                  own::PoolDetail* reply) {
  return answer(engine_, context, request, reply, pool_status, pool_operations::set_thresholds);
}
grpc::Status PoolExtrasService::ResetDiskHealth(Context* context, const own::ResetDiskHealthRequest* request,
                                                own::PoolDetail* reply) {
  return answer(engine_, context, request, reply, pool_status, pool_operations::reset_disk_health);
}
grpc::Status PoolExtrasService::DiffSnapshots(Context* context, const own::DiffSnapshotsRequest* request,
                                              own::DiffSnapshotsResponse* reply) {
  return answer(engine_, context, request, reply, pool_status, replica_operations::diff);
}
grpc::Status PoolExtrasService::RevertReplica(Context* context, const own::RevertReplicaRequest* request,
                                              v1::Replica* reply) {
  return answer(engine_, context, request, reply, pool_status, replica_operations::revert);
}
grpc::Status PoolExtrasService::GetReplicaEpochs(Context* context,
                                                 const own::GetReplicaEpochsRequest* request,
                                                 own::ReplicaEpochs* reply) {
  return answer(engine_, context, request, reply, pool_status, replica_operations::epochs);
}

}  // namespace holdfast::engine
