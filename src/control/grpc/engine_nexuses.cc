#include <utility>

#include "control/grpc/engine_client.h"
#include "control/grpc/messages.h"

namespace holdfast::control {

Task<Result<std::optional<NexusState>>> GrpcEngine::find_nexus(Uuid nexus) {
  v1::ListNexusOptions request;
  request.mutable_uuid()->set_value(nexus.to_string());
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->nexus->async(), &Async<v1::NexusRpc>::ListNexus,
                                           std::move(request), timeouts_.read));
  if (reply.nexus_list().empty()) co_return std::optional<NexusState>();
  co_return std::optional<NexusState>(nexus_of(node_, reply.nexus_list(0)));
}

Task<Result<NexusState>> GrpcEngine::create_nexus(NewNexus n) {
  v1::CreateNexusRequest request;
  request.set_name(n.name);
  request.set_uuid(n.nexus.to_string());
  request.set_size(n.size_bytes);
  request.set_mincntlid(n.controller_ids.min);
  request.set_maxcntlid(n.controller_ids.max);
  request.set_nexusinfokey(n.membership_key);
  for (const auto& uri : n.children) request.add_children(uri);
  if (n.reservation_key != 0) {
    request.set_resvkey(n.reservation_key);
    request.set_resvtype(v1::ExclusiveAccess);
    request.set_preemptpolicy(v1::Holder);
  }
  return ask_nexus(&Async<v1::NexusRpc>::CreateNexus, std::move(request), timeouts_.nexus);
}

Task<Status> GrpcEngine::destroy_nexus(Uuid nexus) {
  v1::DestroyNexusRequest request;
  request.set_uuid(nexus.to_string());
  return ask_away(*stubs_->nexus->async(), &Async<v1::NexusRpc>::DestroyNexus, std::move(request),
                  timeouts_.nexus);
}

Task<Result<NexusState>> GrpcEngine::shutdown_nexus(Uuid nexus) {
  v1::ShutdownNexusRequest request;
  request.set_uuid(nexus.to_string());
  return ask_nexus(&Async<v1::NexusRpc>::ShutdownNexus, std::move(request), timeouts_.nexus_shutdown);
}

Task<Result<NexusState>> GrpcEngine::share_nexus(Uuid nexus, std::vector<std::string> hosts) {
  v1::PublishNexusRequest request;
  request.set_uuid(nexus.to_string());
  request.set_share(v1::NVMF);
  for (const auto& host : hosts) request.add_allowed_hosts(host);
  return ask_nexus(&Async<v1::NexusRpc>::PublishNexus, std::move(request), timeouts_.nexus);
}

Task<Result<NexusState>> GrpcEngine::unshare_nexus(Uuid nexus) {
  v1::UnpublishNexusRequest request;
  request.set_uuid(nexus.to_string());
  return ask_nexus(&Async<v1::NexusRpc>::UnpublishNexus, std::move(request), timeouts_.nexus);
}

Task<Result<NexusState>> GrpcEngine::resize_nexus(Uuid nexus, std::uint64_t size_bytes) {
  v1::ResizeNexusRequest request;
  request.set_uuid(nexus.to_string());
  request.set_requested_size(size_bytes);
  return ask_nexus(&Async<v1::NexusRpc>::ResizeNexus, std::move(request), timeouts_.nexus);
}

Task<Result<AnaState>> GrpcEngine::ana_state(Uuid nexus) {
  v1::GetNvmeAnaStateRequest request;
  request.set_uuid(nexus.to_string());
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->nexus->async(), &Async<v1::NexusRpc>::GetNvmeAnaState,
                                           std::move(request), timeouts_.read));
  switch (reply.ana_state()) {
    case v1::NVME_ANA_OPTIMIZED_STATE:
      co_return AnaState::optimized;
    case v1::NVME_ANA_NON_OPTIMIZED_STATE:
      co_return AnaState::non_optimized;
    default:
      co_return AnaState::inaccessible;
  }
}

Task<Result<NexusState>> GrpcEngine::set_ana_state(Uuid nexus, AnaState state) {
  v1::SetNvmeAnaStateRequest request;
  request.set_uuid(nexus.to_string());
  request.set_ana_state(static_cast<v1::NvmeAnaState>(state));
  return ask_nexus(&Async<v1::NexusRpc>::SetNvmeAnaState, std::move(request), timeouts_.nexus);
}

Task<Result<NexusState>> GrpcEngine::add_child(Uuid nexus, std::string uri, bool rebuild,
                                               std::uint32_t in_sync_through) {
  own::AddChildNexusRequest request;
  request.set_uuid(nexus.to_string());
  request.set_uri(std::move(uri));
  request.set_norebuild(!rebuild);
  request.set_in_sync_through(in_sync_through);
  const auto reply =
      co_await ask(*stubs_->replica_rebuild->async(), &Async<own::ReplicaRebuildRpc>::AddChildNexus,
                   std::move(request), timeouts_.nexus);
  if (reply.ok()) co_return nexus_of(node_, reply.value());
  if (kind_of(reply.error()) != Kind::already_exists) co_return reply.error();
  HF_CO_TRY(auto there, co_await find_nexus(nexus));
  if (!there) co_return reply.error();
  co_return std::move(*there);
}

Task<Result<NexusState>> GrpcEngine::remove_child(Uuid nexus, std::string uri) {
  v1::RemoveChildNexusRequest request;
  request.set_uuid(nexus.to_string());
  request.set_uri(std::move(uri));
  auto removed =
      co_await ask_nexus(&Async<v1::NexusRpc>::RemoveChildNexus, std::move(request), timeouts_.nexus);
  if (removed.ok() || kind_of(removed.error()) != Kind::not_found) co_return removed;
  // Of the two that may be missing only the child is no error.
  HF_CO_TRY(auto there, co_await find_nexus(nexus));
  if (!there) co_return removed;
  co_return std::move(*there);
}

Task<Result<NexusState>> GrpcEngine::child_action(Uuid nexus, std::string uri, v1::ChildAction action) {
  v1::ChildOperationRequest request;
  request.set_nexus_uuid(nexus.to_string());
  request.set_uri(std::move(uri));
  request.set_action(action);
  return ask_nexus(&Async<v1::NexusRpc>::ChildOperation, std::move(request), timeouts_.nexus);
}
Task<Result<NexusState>> GrpcEngine::online_child(Uuid nexus, std::string uri) {
  return child_action(nexus, std::move(uri), v1::Online);
}
Task<Result<NexusState>> GrpcEngine::fault_child(Uuid nexus, std::string uri, bool for_good) {
  return child_action(nexus, std::move(uri), for_good ? v1::OfflinePermanent : v1::Offline);
}

// ---- rebuilds

Task<Status> GrpcEngine::start_rebuild(Uuid nexus, std::string uri) {
  return ask_rebuild(&Async<v1::NexusRpc>::StartRebuild, nexus, std::move(uri));
}
Task<Status> GrpcEngine::stop_rebuild(Uuid nexus, std::string uri) {
  return ask_rebuild(&Async<v1::NexusRpc>::StopRebuild, nexus, std::move(uri));
}
Task<Status> GrpcEngine::pause_rebuild(Uuid nexus, std::string uri) {
  return ask_rebuild(&Async<v1::NexusRpc>::PauseRebuild, nexus, std::move(uri));
}
Task<Status> GrpcEngine::resume_rebuild(Uuid nexus, std::string uri) {
  return ask_rebuild(&Async<v1::NexusRpc>::ResumeRebuild, nexus, std::move(uri));
}

Task<Result<RebuildRecord>> GrpcEngine::rebuild(Uuid nexus, std::string uri) {
  v1::RebuildStatsRequest request;
  request.set_nexus_uuid(nexus.to_string());
  request.set_uri(uri);
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->nexus->async(), &Async<v1::NexusRpc>::GetRebuildStats,
                                           std::move(request), timeouts_.read));
  co_return rebuild_of(uri, reply);
}

Task<Result<std::vector<RebuildRecord>>> GrpcEngine::rebuild_history(Uuid nexus) {
  v1::RebuildHistoryRequest request;
  request.set_uuid(nexus.to_string());
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->nexus->async(), &Async<v1::NexusRpc>::GetRebuildHistory,
                                           std::move(request), timeouts_.read));
  std::vector<RebuildRecord> records;
  for (const auto& record : reply.records()) records.push_back(rebuild_of(record));
  co_return records;
}

}  // namespace holdfast::control
