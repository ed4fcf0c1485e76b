#include <functional>
#include <utility>

#include <fmt/format.h>

#include "control/grpc/engine_client.h"
#include "control/grpc/messages.h"
#include "mayastor/v1/test.grpc.pb.h"

namespace holdfast::control {

Task<Result<std::optional<ReplicaState>>> GrpcEngine::find_replica(Uuid replica) {
  v1::ListReplicaOptions request;
  request.mutable_uuid()->set_value(replica.to_string());
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->replica->async(), &Async<v1::ReplicaRpc>::ListReplicas,
                                           std::move(request), timeouts_.read));
  if (reply.replicas().empty()) co_return std::optional<ReplicaState>();
  co_return std::optional<ReplicaState>(replica_of(node_, reply.replicas(0)));
}

Task<Result<ReplicaState>> GrpcEngine::create_replica(NewReplica r) {
  v1::CreateReplicaRequest request;
  request.set_name(r.replica.to_string());
  request.set_uuid(r.replica.to_string());
  request.set_pooluuid(r.pool);
  request.set_size(r.size_bytes);
  request.set_thin(r.thin);
  request.set_share(share_of(r.share));
  for (const auto& host : r.allowed_hosts) request.add_allowed_hosts(host);
  if (!r.entity_id.empty()) request.set_entity_id(r.entity_id);
  auto made = co_await ask(*stubs_->replica->async(), &Async<v1::ReplicaRpc>::CreateReplica,
                           std::move(request), timeouts_.replica);
  if (made.ok()) co_return replica_of(node_, made.value());
  if (kind_of(made.error()) != Kind::already_exists) co_return made.error();
  HF_CO_TRY(const auto there, co_await find_replica(r.replica));
  const bool same = there && there->pool == r.pool && there->size_bytes == r.size_bytes &&
                    there->thin == r.thin && there->kind == ReplicaKind::regular;
  if (!same) co_return made.error();
  if (r.share == Protocol::none) co_return co_await unshare_replica(r.replica);
  co_return co_await share_replica(r.replica, std::move(r.allowed_hosts));
}

Task<Status> GrpcEngine::destroy_replica(Uuid replica, PoolId pool) {
  v1::DestroyReplicaRequest request;
  request.set_uuid(replica.to_string());
  request.set_pool_name(std::move(pool));
  return ask_away(*stubs_->replica->async(), &Async<v1::ReplicaRpc>::DestroyReplica, std::move(request),
                  timeouts_.replica);
}

Task<Result<ReplicaState>> GrpcEngine::share_replica(Uuid replica, std::vector<std::string> hosts) {
  v1::ShareReplicaRequest request;
  request.set_uuid(replica.to_string());
  request.set_share(v1::NVMF);
  for (const auto& host : hosts) request.add_allowed_hosts(host);
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->replica->async(), &Async<v1::ReplicaRpc>::ShareReplica,
                                           std::move(request), timeouts_.replica));
  co_return replica_of(node_, reply);
}

Task<Result<ReplicaState>> GrpcEngine::unshare_replica(Uuid replica) {
  v1::UnshareReplicaRequest request;
  request.set_uuid(replica.to_string());
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->replica->async(), &Async<v1::ReplicaRpc>::UnshareReplica,
                                           std::move(request), timeouts_.replica));
  co_return replica_of(node_, reply);
}

Task<Result<ReplicaState>> GrpcEngine::resize_replica(Uuid replica, std::uint64_t size_bytes) {
  v1::ResizeReplicaRequest request;
  request.set_uuid(replica.to_string());
  request.set_requested_size(size_bytes);
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->replica->async(), &Async<v1::ReplicaRpc>::ResizeReplica,
                                           std::move(request), timeouts_.replica));
  co_return replica_of(node_, reply);
}

Task<Result<ReplicaState>> GrpcEngine::set_replica_entity(Uuid replica, std::string entity_id) {
  v1::SetReplicaEntityIdRequest request;
  request.set_uuid(replica.to_string());
  request.set_entity_id(std::move(entity_id));
  HF_CO_TRY(const auto reply,
            co_await ask(*stubs_->replica->async(), &Async<v1::ReplicaRpc>::SetReplicaEntityId,
                         std::move(request), timeouts_.replica));
  co_return replica_of(node_, reply);
}

Task<Result<ReplicaState>> GrpcEngine::revert_replica(Uuid replica, Uuid snapshot) {
  own::RevertReplicaRequest request;
  request.set_uuid(replica.to_string());
  request.set_snapshot_uuid(snapshot.to_string());
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->pool_extras->async(), &Async<own::PoolRpc>::RevertReplica,
                                           std::move(request), timeouts_.replica));
  co_return replica_of(node_, reply);
}

Task<Result<EpochState>> GrpcEngine::replica_epochs(Uuid replica) {
  own::GetReplicaEpochsRequest request;
  request.set_uuid(replica.to_string());
  HF_CO_TRY(const auto reply,
            co_await ask(*stubs_->pool_extras->async(), &Async<own::PoolRpc>::GetReplicaEpochs,
                         std::move(request), timeouts_.read));
  EpochState state;
  state.current = reply.current();
  state.sealed = reply.sealed();
  state.region_bytes = reply.region_size();
  state.regions = reply.regions();
  state.regions_since_sealed = reply.regions_since_sealed();
  co_return state;
}

Task<Status> GrpcEngine::set_replica_record(Uuid replica, std::string record, std::uint64_t digest) {
  own::SetReplicaRecordRequest request;
  request.set_uuid(replica.to_string());
  request.set_record(std::move(record));
  request.set_digest(digest);
  HF_CO_CHECK(co_await ask(*stubs_->record->async(), &Async<own::ReplicaRecordRpc>::SetReplicaRecord,
                           std::move(request), timeouts_.replica));
  co_return Status();
}

Task<Status> GrpcEngine::read_records(std::vector<own::ReplicaRecord>& into) {
  own::ListReplicaRecordsRequest request;
  request.set_with_records(true);
  for (;;) {
    HF_CO_TRY(auto reply,
              co_await ask(*stubs_->record->async(), &Async<own::ReplicaRecordRpc>::ListReplicaRecords,
                           request, timeouts_.read));
    for (auto& record : *reply.mutable_records()) into.push_back(std::move(record));
    // An engine that goes on without end is not listened to.
    if (!reply.has_next() || reply.records().empty() || reply.next() <= request.after()) co_return Status();
    request.set_after(reply.next());
  }
}

Task<Result<std::vector<KeptRecord>>> GrpcEngine::replica_records() {
  std::vector<own::ReplicaRecord> all;
  HF_CO_CHECK(co_await read_records(all));
  std::vector<KeptRecord> kept;
  for (auto& record : all) {
    auto uuid = Uuid::parse(record.uuid());
    if (!uuid.ok()) continue;
    kept.emplace_back();
    kept.back().replica = uuid.value();
    kept.back().text = std::move(*record.mutable_record());
    kept.back().epoch = record.epoch();
    kept.back().sealed = record.sealed();
  }
  co_return kept;
}

// A stream of reports, read by a thread of its own: it takes long, and is rare.
Task<Result<WipeOutcome>> GrpcEngine::wipe_replica(Uuid replica, PoolId pool, WipeMethod method) {
  struct Cancel final : StopCallback {
    void on_stop() noexcept override { context.TryCancel(); }
    grpc::ClientContext context;
  };
  const Gate::Hold hold = gate_.enter();
  if (!hold) co_return refusal(Kind::aborted, fmt::format("node {}: its client is closed", node_));
  v1::WipeReplicaRequest request;
  request.set_uuid(replica.to_string());
  request.set_pool_name(std::move(pool));
  request.mutable_wipe_options()->mutable_options()->set_wipe_method(
      method == WipeMethod::checksum ? v1::WipeOptions::CHECKSUM : v1::WipeOptions::WRITE_ZEROES);
  Cancel cancel;
  stop_.token().subscribe(cancel);
  WipeOutcome outcome;
  grpc::Status ended;
  const auto stub = v1::TestRpc::NewStub(stubs_->channel);  // of its own: it is used on another thread
  std::function<void()> work = [&] {
    const auto reader = stub->WipeReplica(&cancel.context, request);
    for (v1::WipeReplicaResponse report; reader->Read(&report);) {
      outcome.bytes = report.wiped_bytes();
      if (report.has_crc32()) outcome.crc32c = report.crc32();
    }
    ended = reader->Finish();
  };
  co_await home_.run_blocking(std::move(work));
  if (!ended.ok()) co_return error_of(node_, ended);
  co_return outcome;
}

}  // namespace holdfast::control
