// What the calls of NexusRpc do, on the home core. Each takes the lock of its nexus; codes as the nexus gives
// them.
#pragma once

#include "engine/engine.h"
#include "mayastor/v1/nexus.pb.h"

namespace holdfast::engine::nexus_operations {

namespace v1 = mayastor::v1;

// As the API shows it, with its export.
v1::Nexus describe(Engine& engine, const nexus::Nexus& n);

Task<Result<v1::CreateNexusResponse>> create(Engine& engine, const v1::CreateNexusRequest& request);
Task<Result<google::protobuf::Empty>> destroy(Engine& engine, const v1::DestroyNexusRequest& request);
Task<Result<v1::ResizeNexusResponse>> resize(Engine& engine, const v1::ResizeNexusRequest& request);
Task<Result<v1::ListNexusResponse>> list(Engine& engine, const v1::ListNexusOptions& request);
Task<Result<v1::ShutdownNexusResponse>> shutdown(Engine& engine, const v1::ShutdownNexusRequest& request);

Task<Result<v1::PublishNexusResponse>> publish(Engine& engine, const v1::PublishNexusRequest& request);
Task<Result<v1::UnpublishNexusResponse>> unpublish(Engine& engine, const v1::UnpublishNexusRequest& request);
Task<Result<v1::GetNvmeAnaStateResponse>> get_ana(Engine& engine, const v1::GetNvmeAnaStateRequest& request);
Task<Result<v1::SetNvmeAnaStateResponse>> set_ana(Engine& engine, const v1::SetNvmeAnaStateRequest& request);

Task<Result<v1::AddChildNexusResponse>> add_child(Engine& engine, const v1::AddChildNexusRequest& request);
// For a child that was given the volume's content elsewhere (nexus::Nexus::add_child).
Task<Result<v1::AddChildNexusResponse>> add_child(Engine& engine, const v1::AddChildNexusRequest& request,
                                                  std::uint32_t in_sync_through);
Task<Result<v1::RemoveChildNexusResponse>> remove_child(Engine& engine,
                                                        const v1::RemoveChildNexusRequest& request);
Task<Result<v1::FaultNexusChildResponse>> fault_child(Engine& engine,
                                                      const v1::FaultNexusChildRequest& request);
Task<Result<v1::ChildOperationResponse>> child_operation(Engine& engine,
                                                         const v1::ChildOperationRequest& request);

Task<Result<v1::StartRebuildResponse>> start_rebuild(Engine& engine, const v1::StartRebuildRequest& request);
Task<Result<v1::StopRebuildResponse>> stop_rebuild(Engine& engine, const v1::StopRebuildRequest& request);
Task<Result<v1::PauseRebuildResponse>> pause_rebuild(Engine& engine, const v1::PauseRebuildRequest& request);
Task<Result<v1::ResumeRebuildResponse>> resume_rebuild(Engine& engine,
                                                       const v1::ResumeRebuildRequest& request);
Task<Result<v1::RebuildStateResponse>> rebuild_state(Engine& engine, const v1::RebuildStateRequest& request);
Task<Result<v1::RebuildStatsResponse>> rebuild_stats(Engine& engine, const v1::RebuildStatsRequest& request);
Task<Result<v1::RebuildHistoryResponse>> rebuild_history(Engine& engine,
                                                         const v1::RebuildHistoryRequest& request);
Task<Result<v1::ListRebuildHistoryResponse>> list_history(Engine& engine,
                                                          const v1::ListRebuildHistoryRequest& request);

}  // namespace holdfast::engine::nexus_operations
