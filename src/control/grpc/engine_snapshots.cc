#include <utility>

#include <fmt/format.h>

#include "control/grpc/engine_client.h"
#include "control/grpc/messages.h"

namespace holdfast::control {

Task<Result<SnapshotState>> GrpcEngine::create_snapshot(NewReplicaSnapshot s) {
  v1::CreateReplicaSnapshotRequest request;
  request.set_replica_uuid(s.replica.to_string());
  request.set_snapshot_uuid(s.snapshot.to_string());
  request.set_snapshot_name(s.name);
  request.set_entity_id(s.entity_id);
  request.set_txn_id(s.transaction);
  auto made = co_await ask(*stubs_->snapshot->async(), &Async<v1::SnapshotRpc>::CreateReplicaSnapshot,
                           std::move(request), timeouts_.replica_snapshot);
  if (made.ok()) co_return snapshot_of(node_, made.value().snapshot());
  if (kind_of(made.error()) != Kind::already_exists) co_return made.error();
  v1::ListSnapshotsRequest one;
  one.set_snapshot_uuid(s.snapshot.to_string());
  one.set_source_uuid(s.replica.to_string());
  HF_CO_TRY(const auto listed, co_await ask(*stubs_->snapshot->async(), &Async<v1::SnapshotRpc>::ListSnapshot,
                                            std::move(one), timeouts_.read));
  if (listed.snapshots().empty()) co_return made.error();
  co_return snapshot_of(node_, listed.snapshots(0));
}

Task<Result<NexusSnapshotOutcome>> GrpcEngine::create_nexus_snapshot(NewNexusSnapshot s) {
  v1::NexusCreateSnapshotRequest request;
  request.set_nexus_uuid(s.nexus.to_string());
  request.set_entity_id(s.entity_id);
  request.set_txn_id(s.transaction);
  request.set_snapshot_name(s.name);
  for (const auto& part : s.parts) {
    auto* one = request.add_replicas();
    one->set_replica_uuid(part.replica.to_string());
    one->set_snapshot_uuid(part.snapshot.to_string());
  }
  HF_CO_TRY(const auto reply,
            co_await ask(*stubs_->snapshot->async(), &Async<v1::SnapshotRpc>::CreateNexusSnapshot,
                         std::move(request), timeouts_.nexus_snapshot));
  NexusSnapshotOutcome outcome;
  outcome.taken = unix_nanos(reply.snapshot_timestamp());
  for (const auto& done : reply.replicas_done()) {
    auto uuid = Uuid::parse(done.replica_uuid());
    if (!uuid.ok())
      co_return refusal(Kind::internal,
                        fmt::format("node {}: it answered for a replica that is none", node_));
    NexusSnapshotOutcome::Part part;
    part.replica = uuid.value();
    part.sys_errno = static_cast<int>(done.status_code());
    outcome.parts.push_back(part);
  }
  co_return outcome;
}

Task<Status> GrpcEngine::destroy_snapshot(Uuid snapshot, PoolId pool) {
  v1::DestroySnapshotRequest request;
  request.set_snapshot_uuid(snapshot.to_string());
  request.set_pool_name(std::move(pool));
  return ask_away(*stubs_->snapshot->async(), &Async<v1::SnapshotRpc>::DestroySnapshot, std::move(request),
                  timeouts_.replica_snapshot);
}

Task<Result<ReplicaState>> GrpcEngine::clone_snapshot(Uuid snapshot, Uuid replica) {
  v1::CreateSnapshotCloneRequest request;
  request.set_snapshot_uuid(snapshot.to_string());
  request.set_clone_name(replica.to_string());
  request.set_clone_uuid(replica.to_string());
  auto made = co_await ask(*stubs_->snapshot->async(), &Async<v1::SnapshotRpc>::CreateSnapshotClone,
                           std::move(request), timeouts_.replica_snapshot);
  if (made.ok()) co_return replica_of(node_, made.value());
  if (kind_of(made.error()) != Kind::already_exists) co_return made.error();
  HF_CO_TRY(auto there, co_await find_replica(replica));
  if (!there || there->clone_of != snapshot) co_return made.error();
  co_return std::move(*there);
}

Task<Status> GrpcEngine::start_fill(NewFill fill) {
  own::RebuildReplicaRequest request;
  request.set_replica_uuid(fill.replica.to_string());
  request.set_source_uuid(fill.source.to_string());
  request.set_source_endpoint(fill.source_endpoint);
  for (const auto& copy : fill.copies) {
    auto* one = request.add_snapshots();
    one->set_source_uuid(copy.from.to_string());
    one->set_uuid(copy.to.to_string());
    one->set_name(copy.name);
  }
  HF_CO_CHECK(co_await ask(*stubs_->replica_rebuild->async(), &Async<own::ReplicaRebuildRpc>::RebuildReplica,
                           std::move(request), timeouts_.replica));
  co_return Status();
}

Task<Result<std::optional<FillState>>> GrpcEngine::fill(Uuid replica) {
  own::ListReplicaRebuildsRequest request;
  request.set_replica_uuid(replica.to_string());
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->replica_rebuild->async(),
                                           &Async<own::ReplicaRebuildRpc>::ListReplicaRebuilds,
                                           std::move(request), timeouts_.read));
  if (reply.rebuilds().empty()) co_return std::optional<FillState>();
  const auto& job = reply.rebuilds(0);
  FillState state;
  state.status = job.status() == own::ReplicaRebuild::RUNNING      ? FillStatus::running
                 : job.status() == own::ReplicaRebuild::SUCCESSFUL ? FillStatus::successful
                                                                   : FillStatus::failed;
  auto source = Uuid::parse(job.source_uuid());
  if (source.ok()) state.source = source.value();
  state.error = fmt::format("node {}: {}", node_, job.error());
  state.in_sync_through = job.in_sync_through();
  co_return std::optional<FillState>(std::move(state));
}

Task<Status> GrpcEngine::end_fill(Uuid replica) {
  own::DestroyReplicaRebuildRequest request;
  request.set_replica_uuid(replica.to_string());
  return ask_away(*stubs_->replica_rebuild->async(), &Async<own::ReplicaRebuildRpc>::DestroyReplicaRebuild,
                  std::move(request), timeouts_.nexus);
}

Task<Result<DiffPage>> GrpcEngine::diff_snapshots(std::optional<Uuid> earlier, Uuid later,
                                                  std::uint64_t offset) {
  own::DiffSnapshotsRequest request;
  if (earlier) request.set_earlier(earlier->to_string());
  request.set_later(later.to_string());
  request.set_offset(offset);
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->pool_extras->async(), &Async<own::PoolRpc>::DiffSnapshots,
                                           std::move(request), timeouts_.replica));
  DiffPage page;
  for (const auto& range : reply.ranges()) {
    ByteRange one;
    one.offset = range.offset();
    one.length = range.length();
    page.ranges.push_back(one);
  }
  if (reply.has_next_offset()) page.next_offset = reply.next_offset();
  co_return page;
}

}  // namespace holdfast::control
