#include "engine/nexus_service.h"

#include "engine/answer.h"
#include "engine/grpc_status.h"
#include "engine/nexus_operations.h"

namespace holdfast::engine {

namespace v1 = mayastor::v1;
namespace ops = nexus_operations;
using Context = grpc::ServerContext;

grpc::Status NexusService::CreateNexus(Context* context, const v1::CreateNexusRequest* request,
                                       v1::CreateNexusResponse* reply) {
  return answer(engine_, context, request, reply, nexus_change_status, ops::create);
}
grpc::Status NexusService::DestroyNexus(Context* context, const v1::DestroyNexusRequest* request,
                                        google::protobuf::Empty* reply) {
  return answer(engine_, context, request, reply, nexus_status, ops::destroy);
}
grpc::Status NexusService::ResizeNexus(Context* context, const v1::ResizeNexusRequest* request,
                                       v1::ResizeNexusResponse* reply) {
  return answer(engine_, context, request, reply, nexus_change_status, ops::resize);
}
grpc::Status NexusService::ListNexus(Context* context, const v1::ListNexusOptions* request,
                                     v1::ListNexusResponse* reply) {
  return answer(engine_, context, request, reply, nexus_status, ops::list);
}
grpc::Status NexusService::ShutdownNexus(Context* context, const v1::ShutdownNexusRequest* request,
                                         v1::ShutdownNexusResponse* reply) {
  return answer(engine_, context, request, reply, nexus_status, ops::shutdown);
}
grpc::Status NexusService::PublishNexus(Context* context, const v1::PublishNexusRequest* request,
                                        v1::PublishNexusResponse* reply) {
  return answer(engine_, context, request, reply, nexus_status, ops::publish);
}
grpc::Status NexusService::UnpublishNexus(Context* context, const v1::UnpublishNexusRequest* request,
                                          v1::UnpublishNexusResponse* reply) {
  return answer(engine_, context, request, reply, nexus_status, ops::unpublish);
}
grpc::Status NexusService::GetNvmeAnaState(Context* context, const v1::GetNvmeAnaStateRequest* request,
                                           v1::GetNvmeAnaStateResponse* reply) {
  return answer(engine_, context, request, reply, nexus_status, ops::get_ana);
}
grpc::Status NexusService::SetNvmeAnaState(Context* context, const v1::SetNvmeAnaStateRequest* request,
                                           v1::SetNvmeAnaStateResponse* reply) {
  return answer(engine_, context, request, reply, nexus_status, ops::set_ana);
}
grpc::Status NexusService::AddChildNexus(Context* context, const v1::AddChildNexusRequest* request,
                                         v1::AddChildNexusResponse* reply) {
  return answer(engine_, context, request, reply, nexus_change_status, ops::add_child);
}
grpc::Status NexusService::RemoveChildNexus(Context* context, const v1::RemoveChildNexusRequest* request,
                                            v1::RemoveChildNexusResponse* reply) {
  return answer(engine_, context, request, reply, nexus_change_status, ops::remove_child);
}
grpc::Status NexusService::FaultNexusChild(Context* context, const v1::FaultNexusChildRequest* request,
                                           v1::FaultNexusChildResponse* reply) {
  return answer(engine_, context, request, reply, nexus_change_status, ops::fault_child);
}
grpc::Status NexusService::ChildOperation(Context* context, const v1::ChildOperationRequest* request,
                                          v1::ChildOperationResponse* reply) {
  const auto status = request->action() == v1::ChildAction::Online ? nexus_status : nexus_change_status;
  return answer(engine_, context, request, reply, status, ops::child_operation);
}
grpc::Status NexusService::StartRebuild(Context* context, const v1::StartRebuildRequest* request,
                                        v1::StartRebuildResponse* reply) {
  return answer(engine_, context, request, reply, nexus_status, ops::start_rebuild);
}
grpc::Status NexusService::StopRebuild(Context* context, const v1::StopRebuildRequest* request,
                                       v1::StopRebuildResponse* reply) {
  return answer(engine_, context, request, reply, nexus_change_status, ops::stop_rebuild);
}
grpc::Status NexusService::PauseRebuild(Context* context, const v1::PauseRebuildRequest* request,
                                        v1::PauseRebuildResponse* reply) {
  return answer(engine_, context, request, reply, nexus_status, ops::pause_rebuild);
}
grpc::Status NexusService::ResumeRebuild(Context* context, const v1::ResumeRebuildRequest* request,
                                         v1::ResumeRebuildResponse* reply) {
  return answer(engine_, context, request, reply, nexus_status, ops::resume_rebuild);
}
grpc::Status NexusService::GetRebuildState(Context* context, const v1::RebuildStateRequest* request,
                                           v1::RebuildStateResponse* reply) {
  return answer(engine_, context, request, reply, nexus_status, ops::rebuild_state);
}
grpc::Status NexusService::GetRebuildStats(Context* context, const v1::RebuildStatsRequest* request,
                                           v1::RebuildStatsResponse* reply) {
  return answer(engine_, context, request, reply, nexus_status, ops::rebuild_stats);
}
grpc::Status NexusService::GetRebuildHistory(Context* context, const v1::RebuildHistoryRequest* request,
                                             v1::RebuildHistoryResponse* reply) {
  return answer(engine_, context, request, reply, nexus_status, ops::rebuild_history);
}
grpc::Status NexusService::ListRebuildHistory(Context* context, const v1::ListRebuildHistoryRequest* request,
                                              v1::ListRebuildHistoryResponse* reply) {
  return answer(engine_, context, request, reply, nexus_status, ops::list_history);
}

}  // namespace holdfast::engine
