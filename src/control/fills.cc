// New replicas are given copies of their volume's snapshots, before their target takes them in (docs/adr/0016).
//
// That a snapshot is to have a copy is committed before its engine is asked for it; the copy is noted when the engine
// shows it. What never came is forgotten once the fill is over, no request of it can arrive any more, and the engine,
// asked after that, does not show it.
#include "control/plan/fills.h"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "control/agent.h"
#include "control/plan/adopt.h"
#include "control/texts.h"

namespace holdfast::control {
namespace {

// The replica does without copies of snapshots when so many attempts failed.
constexpr unsigned fill_failures_max = 8;

const ReplicaSnapshotSpec* find_part(const SnapshotSpec& snapshot, const Uuid& part) {
  for (const auto& [transaction, parts] : snapshot.transactions) {
    for (const ReplicaSnapshotSpec& p : parts) {
      if (p.uuid == part) return &p;
    }
  }
  return nullptr;
}
ReplicaSnapshotSpec* find_part(SnapshotSpec& snapshot, const Uuid& part) {
  return const_cast<ReplicaSnapshotSpec*>(find_part(std::as_const(snapshot), part));
}

void erase_part(SnapshotSpec& snapshot, const Uuid& part) {
  for (auto it = snapshot.transactions.begin(); it != snapshot.transactions.end();) {
    std::erase_if(it->second, [&](const ReplicaSnapshotSpec& p) { return p.uuid == part; });
    it = it->second.empty() ? snapshot.transactions.erase(it) : std::next(it);
  }
}

}  // namespace

Task<Status> Agent::plan_copy(const Op& op, const Action& action) {
  const auto found = specs().snapshots.find(action.snapshot);
  const auto replica = specs().replicas.find(action.replica);
  if (found == specs().snapshots.end() || replica == specs().replicas.end()) co_return Status();
  const ReplicaSpec& r = replica->second;
  const bool wanted = found->second.status == SpecStatus::created && r.fill &&
                      r.owners.volume == found->second.volume && found->second.part_of(r.uuid) == nullptr;
  if (!wanted) co_return Status();
  SnapshotSpec snapshot = found->second;
  ReplicaSnapshotSpec part;
  part.uuid = new_uuid();
  part.replica = r.uuid;
  part.pool = r.pool;
  part.pool_uuid = r.pool_uuid;
  part.unsure_until = with_its_fill;
  snapshot.transactions[snapshot.transaction].push_back(std::move(part));
  co_return co_await commit_put(op, std::move(snapshot));
}

Task<Status> Agent::note_copy(const Op& op, const Action& action) {
  const auto found = specs().snapshots.find(action.snapshot);
  if (found == specs().snapshots.end() || found->second.status != SpecStatus::created) co_return Status();
  SnapshotSpec snapshot = found->second;
  ReplicaSnapshotSpec* part = find_part(snapshot, action.part);
  if (part == nullptr || !observed().snapshots.contains(action.part)) co_return Status();
  part->status = SpecStatus::created;
  co_return co_await commit_put(op, std::move(snapshot));
}

Task<Status> Agent::settle_copy(const Op& op, const Action& action) {
  const auto over = [&] {
    const auto snapshot = specs().snapshots.find(action.snapshot);
    if (snapshot == specs().snapshots.end()) return false;
    const ReplicaSnapshotSpec* part = find_part(snapshot->second, action.part);
    if (part == nullptr || part->unsure_until != with_its_fill) return false;
    const auto replica = specs().replicas.find(part->replica);
    return replica == specs().replicas.end() ||
           (!replica->second.fill && unix_now() >= replica->second.unsure_until);
  };
  if (!over()) co_return Status();
  const NodeId node = cluster().node_id_of_pool(action.pool);
  const bool pool_gone = node.empty() || !specs().nodes.contains(node);
  if (!pool_gone) {
    // What was seen last may be older than the end of the fill.
    HF_CO_CHECK(co_await nodes_.refresh_now(node));
    if (cluster().usable_pool(action.pool) == nullptr)
      co_return refusal(Kind::unavailable, fmt::format("pool {} cannot be reached", action.pool));
  }
  if (!over()) co_return Status();
  SnapshotSpec snapshot = specs().snapshots.at(action.snapshot);
  ReplicaSnapshotSpec* part = find_part(snapshot, action.part);
  const bool came = part->status == SpecStatus::created || observed().snapshots.contains(action.part);
  if (!pool_gone && came) {
    part->unsure_until = 0;
    if (snapshot.status == SpecStatus::created) part->status = SpecStatus::created;
  } else {
    erase_part(snapshot, action.part);
  }
  co_return co_await commit_put(op, std::move(snapshot));
}

// The replica is its target's to take in. A request that a former agent made, or that nobody waits for any more, may
// still be on its way.
Task<Status> Agent::end_fill(const Op& op, Uuid replica, std::uint32_t in_sync_through, std::string why) {
  const auto found = specs().replicas.find(replica);
  if (found == specs().replicas.end() || !found->second.fill || !found->second.owners.volume)
    co_return Status();
  ReplicaSpec spec = found->second;
  const Uuid volume = *spec.owners.volume;
  spec.fill.reset();
  spec.in_sync_through = in_sync_through;
  spec.unsure_until = std::max(spec.unsure_until, unix_now() + late_requests_max);
  const auto owner = specs().volumes.find(volume);
  if (owner != specs().volumes.end() && owner->second.server() != nullptr)
    share_towards(spec, {owner->second.server()->node});
  const NodeId node = cluster().node_id_of_pool(spec.pool);
  HF_CO_CHECK(co_await commit_put(op, std::move(spec)));
  fill_failures_.erase(replica);
  events_.add("Replica", "Fill", replica.to_string(), node,
              fmt::format("replica {} of volume {}: {}", replica.to_string(), volume.to_string(), why));
  co_return Status();
}

Task<Status> Agent::give_up_fill(const Op& op, const Action& action, std::string why) {
  if (!nodes_.settled()) co_return refusal(Kind::unavailable, "not all engines have reported yet");
  HF_CO_TRY(Engine * engine, engine_of_pool(op, action.pool));
  HF_CO_CHECK(co_await engine->end_fill(action.replica));
  co_return co_await end_fill(op, action.replica, 0, "it does without further copies of snapshots: " + why);
}

NewFill Agent::fill_request(const Action& action) const {
  const auto found = specs().replicas.find(action.replica);
  const auto owner = specs().volumes.find(action.volume);
  NewFill request;
  if (found == specs().replicas.end() || !found->second.fill || owner == specs().volumes.end())
    return request;
  const Cluster now = cluster();
  const FillPlan plan = plan_fill(now, owner->second, found->second);
  if (plan.source == nullptr || !plan.unplanned.empty()) return request;
  request.replica = action.replica;
  request.source = plan.source->uuid;
  request.source_endpoint = now.node_of_pool(plan.source->pool)->grpc_endpoint;
  for (const FillPlan::Copy& c : plan.copies)
    request.copies.push_back(
        {c.from, c.to, snapshot_part_name(c.snapshot->uuid, c.snapshot->transaction, c.to)});
  return request;
}

// It waits for its turn once: what an engine that was started anew has lost goes on.
Task<Status> Agent::begin_fill(const Op& op, PoolId pool, NewFill request) {
  const auto found = specs().replicas.find(request.replica);
  if (found == specs().replicas.end() || !found->second.fill) co_return Status();
  if (!found->second.fill->begun) {
    if (!may_rebuild()) co_return Status();
    const RebuildClaim turn(claims_);
    ReplicaSpec spec = found->second;
    spec.fill->begun = true;
    HF_CO_CHECK(co_await commit_put(op, std::move(spec)));
  }
  HF_CO_TRY(Engine * engine, engine_of_pool(op, pool));
  co_return co_await engine->start_fill(std::move(request));
}

// Begins it, or looks what has become of it.
Task<Status> Agent::fill_replica(const Op& op, const Action& action) {
  NewFill request = fill_request(action);
  if (request.copies.empty()) co_return Status();
  HF_CO_TRY(Engine * engine, engine_of_pool(op, action.pool));
  HF_CO_TRY(const auto job, co_await engine->fill(request.replica));
  if (!job) co_return co_await begin_fill(op, action.pool, std::move(request));
  // The copies that it has made are noted when they are seen.
  nodes_.refresh(action.node);
  switch (job->status) {
    case FillStatus::running:
      if (job->source == request.source) co_return Status();
      co_return co_await engine->end_fill(request.replica);
    case FillStatus::failed: {
      HF_CO_CHECK(co_await engine->end_fill(request.replica));
      co_return refusal(Kind::aborted, job->error);
    }
    case FillStatus::successful:
      break;
  }
  HF_CO_CHECK(co_await end_fill(op, request.replica, job->in_sync_through, "it has copies of the snapshots"));
  HF_CO_TRY(Engine * again, engine_of_pool(op, action.pool));
  (co_await again->end_fill(request.replica)).ignore("its engine forgets it when it is started anew");
  co_return Status();
}

Task<Result<std::uint32_t>> Agent::take_in_sync_through(const Op& op, Uuid replica) {
  const auto found = specs().replicas.find(replica);
  if (found == specs().replicas.end() || found->second.in_sync_through == 0) co_return std::uint32_t{0};
  ReplicaSpec spec = found->second;
  const std::uint32_t through = std::exchange(spec.in_sync_through, 0);
  HF_CO_CHECK(co_await commit_put(op, std::move(spec)));
  co_return through;
}

// Of a pool that is being emptied. Whether other copies are there is asked of their engines now: what was seen last may
// be older than the loss of one. Once that is written down it goes, whatever happens to the others: it may be gone.
Task<Status> Agent::release_copy(const Op& op, const Action& action) {
  const auto is_surplus_now = [&] {
    const auto snapshot = specs().snapshots.find(action.snapshot);
    if (snapshot == specs().snapshots.end()) return false;
    const ReplicaSnapshotSpec* part = find_part(snapshot->second, action.part);
    return part != nullptr && is_surplus(cluster(), snapshot->second, *part);
  };
  if (!is_surplus_now()) co_return Status();
  std::set<NodeId> others;
  {
    const Cluster now = cluster();
    for (const ReplicaSpec* r : now.replicas(specs().snapshots.at(action.snapshot).volume))
      others.insert(now.node_id_of_pool(r->pool));
  }
  for (const NodeId& node : others) HF_CO_CHECK(co_await nodes_.refresh_now(node));
  if (!is_surplus_now()) co_return Status();
  SnapshotSpec snapshot = specs().snapshots.at(action.snapshot);
  find_part(snapshot, action.part)->status = SpecStatus::deleting;
  HF_CO_CHECK(co_await commit_put(op, snapshot));
  co_return co_await change_part(op, action, true);
}

Task<Status> Agent::execute_fill(const Op& op, const Action& action) {
  if (action.what == Do::end_fill) co_return co_await give_up_fill(op, action, action.why);
  const Status done = co_await fill_replica(op, action);
  if (done.ok()) co_return Status();
  if (++fill_failures_[action.replica] < fill_failures_max) co_return done.error();
  co_return co_await give_up_fill(op, action, done.error().message());
}

}  // namespace holdfast::control
