// Pools: made, opened again, emptied, deleted, given up.
#include <algorithm>

#include <fmt/format.h>

#include "control/agent.h"
#include "control/label_changes.h"
#include "control/model/validate.h"

namespace holdfast::control {

Result<PoolSpec> Agent::find_pool(const PoolId& id) const {
  const auto found = specs().pools.find(id);
  if (found == specs().pools.end())
    return refusal(Kind::not_found, fmt::format("pool {} does not exist", id));
  return found->second;
}

Task<Result<PoolView>> Agent::create_pool(CreatePool request) {
  HF_CO_CHECK(check_pool_id(request.pool));
  HF_CO_CHECK(check_node_id(request.node));
  HF_CO_CHECK(check_disks(request.pool, request.disks));
  HF_CO_CHECK(check_labels(request.labels));
  HF_CO_TRY(const Op op, co_await begin(pool_guard(request.pool)));
  const auto known = specs().pools.find(request.pool);
  const bool resumed = known != specs().pools.end();
  if (resumed) {
    const PoolSpec& p = known->second;
    if (p.status == SpecStatus::created) {
      co_return refusal(Kind::already_exists,
                        fmt::format("pool {} exists already, on node {}", p.id, p.node));
    }
    if (p.status == SpecStatus::deleting) {
      co_return refusal(Kind::deleting, fmt::format("pool {} is being deleted", p.id));
    }
    if (p.node != request.node || p.disks != request.disks) {
      co_return refusal(Kind::conflict, fmt::format("pool {} is being created with other parameters", p.id));
    }
  }
  HF_CO_CHECK(find_node(request.node));
  PoolSpec spec;
  spec.id = request.pool;
  spec.node = request.node;
  spec.disks = request.disks;
  spec.labels = request.labels;
  spec.cluster_bytes = request.cluster_bytes;
  spec.operation = Pending<PoolOp>{PoolOp::create, std::nullopt};
  if (!resumed) {
    HF_CO_CHECK(nodes_.online_engine(spec.node));
    HF_CO_CHECK(co_await commit_put(op, spec));
  }
  const Status made = co_await import_pool(op, spec.id, resumed);
  if (!made.ok()) {
    // Whatever may still happen there: the pool may be an older one with data, so it is finished, never undone.
    if (!resumed && !may_have_happened(made.error()) && specs().pools.contains(spec.id))
      HF_CO_CHECK(co_await commit_remove(op, specs().pools.at(spec.id)));
    co_return made.error().with_context(fmt::format("pool {}", spec.id));
  }
  events_.add("Pool", "Create", spec.id, spec.node,
              fmt::format("pool {} was created on node {}", spec.id, spec.node));
  co_return pool_view(spec.id);
}

// Creates it, or opens it where it is known to have been. `again`: it may have been asked for before.
Task<Status> Agent::import_pool(const Op& op, PoolId id, bool again) {
  HF_CO_TRY(PoolSpec spec, find_pool(id));
  if (spec.status == SpecStatus::deleting) co_return Status();
  HF_CO_TRY(Engine * engine, engine_to_change(op, spec.node));
  NewPool request;
  request.pool = id;
  request.disks = spec.disks;
  request.cluster_bytes = spec.cluster_bytes;
  // A pool that existed is never made anew: its replicas would be lost.
  Task<Result<PoolState>> asked = spec.status == SpecStatus::created
                                      ? engine->import_pool(std::move(request))
                                      : engine->create_pool(std::move(request));
  const auto opened = co_await asked;
  // The pool counts as open once all that is in it is known, too: what is not reported then is gone.
  (co_await nodes_.refresh_now(spec.node)).ignore("it is seen later, then");
  if (!opened.ok()) co_return opened.error();
  if (spec.status == SpecStatus::created) co_return Status();
  spec.status = SpecStatus::created;
  spec.operation.reset();
  if (again) spec.unsure_until = unix_now() + late_requests_max;
  co_return co_await commit_put(op, std::move(spec));
}

// As the one that it is: there may be another one of its name when a request arrives that nobody waits for any more.
Task<Status> Agent::act_destroy_pool(const Op& op, PoolSpec spec) {
  const auto known = [](const PoolState& pool) {
    return pool.uuid.is_nil() ? std::nullopt : std::optional(pool.uuid);
  };
  const auto seen = observed().pools.find(spec.id);
  if (seen != observed().pools.end() && seen->second.node == spec.node) {
    const std::optional<Uuid> uuid = known(seen->second);
    HF_CO_TRY(Engine * engine, engine_to_change(op, spec.node));
    const Status gone = co_await engine->destroy_pool(spec.id, uuid);
    if (gone.ok()) co_return Status();
    if (gone.code() != Errc::not_found) co_return gone.error();
  }
  // Not open there: it may still be on its disks.
  HF_CO_TRY(Engine * engine, engine_to_change(op, spec.node));
  NewPool request;
  request.pool = spec.id;
  request.disks = spec.disks;
  const auto opened = co_await engine->import_pool(std::move(request));
  if (!opened.ok()) {
    // What its disks do not say now they may say the next time.
    if (kind_of(opened.error()) == Kind::internal)
      co_return with_kind(opened.error().with_context("it is tried again, unless it is purged"),
                          Kind::unavailable);
    if (may_have_happened(opened.error())) co_return opened.error();
    co_return Status();
  }
  HF_CO_TRY(Engine * again, engine_to_change(op, spec.node));
  co_return co_await again->destroy_pool(spec.id, known(opened.value()));
}

Task<Status> Agent::destroy_pool(const Op& op, PoolId id) {
  HF_CO_TRY(const PoolSpec spec, find_pool(id));
  if (spec.status != SpecStatus::deleting) co_return Status();
  if (specs().nodes.contains(spec.node)) {
    const Status gone = co_await act_destroy_pool(op, spec);
    if (!gone.ok()) {
      nodes_.refresh(spec.node);
      co_return gone.error().with_context(fmt::format("pool {}", id));
    }
    nodes_.note_gone(id);
    if (unix_now() < spec.unsure_until) co_return Status();
  }
  co_return co_await commit_remove(op, spec);
}

namespace {

// One of which no spec tells, and which may be all that is left of its volume.
const ReplicaState* unknown_replica(const Specs& specs, const Observed& seen, const PoolSpec& pool) {
  for (const auto& [id, r] : seen.replicas) {
    if (r.pool != pool.id || r.node != pool.node || specs.replicas.contains(id)) continue;
    if (r.record == std::optional<std::uint64_t>(0)) continue;  // it says nothing of a volume
    const auto volume = Uuid::parse(r.entity_id);
    const bool known = volume.ok() && specs.volumes.contains(volume.value());
    const auto record = known ? seen.memberships.find(volume.value()) : seen.memberships.end();
    if (record != seen.memberships.end() && !record->second.healthy(id)) continue;  // let go of
    return &r;
  }
  return nullptr;
}

}  // namespace

Task<Status> Agent::delete_pool(PoolId id, std::optional<NodeId> node) {
  HF_CO_TRY(const Op op, co_await begin(pool_guard(id)));
  HF_CO_TRY(PoolSpec spec, find_pool(id));
  if (node && *node != spec.node) {
    co_return refusal(Kind::not_found, fmt::format("pool {} is on node {}, not {}", id, spec.node, *node));
  }
  // From here on nothing new is placed in it.
  claims_.closing.insert(id);
  const Cluster now = cluster();
  const auto replicas = now.index.replicas_of_pool.find(id);
  const bool used = replicas != now.index.replicas_of_pool.end() ||
                    now.index.snapshot_parts_of_pool.contains(id) || claims_.bytes.contains(id);
  if (used || !observed().node_online(spec.node)) {
    claims_.closing.erase(id);
    if (used) {
      co_return refusal(
          Kind::in_use,
          fmt::format(
              "pool {} holds {} replicas and {} parts of snapshots: delete or move "
              "them first",
              id, replicas == now.index.replicas_of_pool.end() ? 0 : replicas->second.size(),
              now.index.snapshot_parts_of_pool.contains(id) ? now.index.snapshot_parts_of_pool.at(id) : 0));
    }
    co_return refusal(
        Kind::failed_precondition,
        fmt::format("pool {}: node {} does not answer: try again when it is back, or purge the pool", id,
                    spec.node));
  }
  if (const ReplicaState* unknown = unknown_replica(specs(), observed(), spec)) {
    claims_.closing.erase(id);
    co_return refusal(Kind::in_use,
                      fmt::format("pool {} holds replica {}, of nothing that is known here: 'holdfast adopt' "
                                  "brings its volume back, 'holdfast engine replica destroy' on its node "
                                  "destroys it",
                                  id, unknown->uuid.to_string()));
  }
  spec.status = SpecStatus::deleting;
  spec.operation = Pending<PoolOp>{PoolOp::destroy, std::nullopt};
  const Status wanted = co_await commit_put(op, spec);
  claims_.closing.erase(id);
  if (!wanted.ok()) co_return wanted.error();
  HF_CO_CHECK(co_await destroy_pool(op, id));
  events_.add("Pool", "Delete", id, spec.node, fmt::format("pool {} was deleted", id));
  co_return Status();
}

// ---- labels, cordons, evacuation

Task<Result<PoolView>> Agent::label_pool(PoolId id, std::string key, std::string value, bool overwrite) {
  HF_CO_CHECK(check_label(key, value));
  HF_CO_TRY(const Op op, co_await begin(pool_guard(id)));
  HF_CO_TRY(PoolSpec spec, find_pool(id));
  HF_CO_CHECK(set_label(spec.labels, "pool " + id, key, value, overwrite));
  HF_CO_CHECK(co_await commit_put(op, std::move(spec)));
  co_return pool_view(id);
}

Task<Result<PoolView>> Agent::unlabel_pool(PoolId id, std::string key) {
  HF_CO_TRY(const Op op, co_await begin(pool_guard(id)));
  HF_CO_TRY(PoolSpec spec, find_pool(id));
  HF_CO_CHECK(remove_label(spec.labels, "pool " + id, key));
  HF_CO_CHECK(co_await commit_put(op, std::move(spec)));
  co_return pool_view(id);
}

Task<Result<PoolView>> Agent::cordon_pool(PoolId id, std::string label) {
  HF_CO_CHECK(check_cordon_label(label));
  HF_CO_TRY(const Op op, co_await begin(pool_guard(id)));
  HF_CO_TRY(PoolSpec spec, find_pool(id));
  if (spec.cordons.insert(label).second) HF_CO_CHECK(co_await commit_put(op, std::move(spec)));
  co_return pool_view(id);
}

Task<Result<PoolView>> Agent::uncordon_pool(PoolId id, std::string label) {
  HF_CO_TRY(const Op op, co_await begin(pool_guard(id)));
  HF_CO_TRY(PoolSpec spec, find_pool(id));
  if (spec.cordons.erase(label) == 0) {
    co_return refusal(Kind::failed_precondition, fmt::format("pool {} has no cordon {}", id, label));
  }
  HF_CO_CHECK(co_await commit_put(op, std::move(spec)));
  co_return pool_view(id);
}

Task<Result<PoolView>> Agent::evacuate_pool(PoolId id, bool on) {
  HF_CO_TRY(const Op op, co_await begin(pool_guard(id)));
  HF_CO_TRY(PoolSpec spec, find_pool(id));
  if (spec.evacuating != on) {
    spec.evacuating = on;
    HF_CO_CHECK(co_await commit_put(op, std::move(spec)));
  }
  co_return pool_view(id);
}

Task<Result<PoolView>> Agent::grow_pool(PoolId id) {
  HF_CO_TRY(const Op op, co_await begin(pool_guard(id)));
  HF_CO_CHECK(find_pool(id));
  HF_CO_TRY(Engine * engine, engine_of_pool(op, id));
  HF_CO_TRY(const PoolState grown, co_await engine->grow_pool(id));
  nodes_.note(grown);
  co_return pool_view(id);
}

// ---- giving up

Impact Agent::impact_of(const std::vector<PoolId>& pools, const std::optional<NodeId>& node) const {
  Impact impact;
  impact.pools = pools;
  const Cluster now = cluster();
  const auto affected = [&](const PoolId& p) {
    return std::find(pools.begin(), pools.end(), p) != pools.end();
  };
  for (const auto& [id, v] : specs().volumes) {
    bool here = false, elsewhere = false;
    for (const ReplicaSpec* r : now.replicas(id)) {
      here |= affected(r->pool);
      elsewhere |= !affected(r->pool) && now.healthy(v, r->uuid);
      if (affected(r->pool)) impact.replicas.push_back(r->uuid);
    }
    if (here) (elsewhere ? impact.degraded_volumes : impact.lost_volumes).push_back(id);
    if (node && v.target && v.target->node == *node) impact.targets.push_back(id);
  }
  for (const auto& [id, r] : specs().replicas) {
    if (affected(r.pool) && !r.owners.volume) impact.replicas.push_back(id);
  }
  for (const auto& [id, snapshot] : specs().snapshots) {
    const bool whole = snapshot.status == SpecStatus::created;
    const auto& parts = snapshot.parts();
    const bool lost =
        !parts.empty() && std::all_of(parts.begin(), parts.end(), [&](const ReplicaSnapshotSpec& p) {
          const bool half = whole && p.status != SpecStatus::created;
          return half || affected(p.pool);
        });
    if (lost) impact.lost_snapshots.push_back(id);
  }
  return impact;
}

Result<Impact> Agent::purge_pool_impact(PoolId id) const {
  HF_TRY(const PoolSpec spec, find_pool(id));
  return impact_of({spec.id}, std::nullopt);
}

namespace {

// A replica of the volume that the record calls healthy is in none of these pools.
bool keeps_data(const Specs& specs, const Membership& record, const Uuid& volume,
                const std::vector<PoolId>& pools) {
  return std::any_of(record.members.begin(), record.members.end(), [&](const Membership::Member& m) {
    const auto spec = specs.replicas.find(m.replica);
    return m.healthy && spec != specs.replicas.end() && spec->second.owners.volume == volume &&
           std::find(pools.begin(), pools.end(), spec->second.pool) == pools.end();
  });
}

}  // namespace

// Forgets pools with all that is in them. Volumes lose their replicas there, and go when these were the last.
Task<Status> Agent::purge(const Op& op, std::vector<PoolId> pools, std::optional<NodeId> node) {
  const Impact impact = impact_of(pools, node);
  for (const Uuid& id : impact.targets) {
    HF_CO_TRY(const Op volume, co_await begin(volume_guard(id)));
    // It may have been moved, unpublished or deleted while others were waited for.
    const auto found = specs().volumes.find(id);
    const bool still_there =
        found != specs().volumes.end() && found->second.target && node && found->second.target->node == *node;
    if (!still_there) continue;
    HF_CO_CHECK(co_await unpublish(volume, id, true));
  }
  for (const Uuid& id : impact.lost_volumes) {
    HF_CO_TRY(const Op volume, co_await begin(volume_guard(id)));
    if (!specs().volumes.contains(id)) continue;
    // Another replica may hold all data by now: then it loses those here alone.
    HF_CO_TRY(const auto record, co_await registry_.read_membership(id));
    if (record && keeps_data(specs(), record->membership, id, pools)) continue;
    HF_CO_CHECK(co_await release_volume(volume, id, std::set<Uuid>()));
  }
  for (const Uuid& id : impact.replicas) {
    const auto found = specs().replicas.find(id);
    if (found == specs().replicas.end()) continue;
    HF_CO_TRY(const Op owner, co_await begin(replica_guard(found->second)));
    const auto again = specs().replicas.find(id);
    if (again == specs().replicas.end()) continue;
    const ReplicaSpec leaving = again->second;
    // What it would cost was looked at before others were waited for: the one that was to stay may be out by now.
    if (leaving.owners.volume) {
      const Uuid volume = *leaving.owners.volume;
      HF_CO_TRY(const auto record, co_await registry_.read_membership(volume));
      if (record && !keeps_data(specs(), record->membership, volume, pools)) {
        co_return refusal(
            Kind::failed_precondition,
            fmt::format("volume {} has lost its last replica elsewhere that holds all data: look at "
                        "what would be lost, and try again",
                        volume.to_string()));
      }
    }
    HF_CO_CHECK(co_await commit_remove(owner, leaving));
  }
  for (const Uuid& id : impact.lost_snapshots) {
    HF_CO_TRY(const Op snapshot, co_await begin(snapshot_guard(id)));
    const auto found = specs().snapshots.find(id);
    if (found == specs().snapshots.end()) continue;
    HF_CO_CHECK(co_await commit_remove(snapshot, found->second));
  }
  for (const PoolId& id : pools) {
    const auto found = specs().pools.find(id);
    if (found == specs().pools.end()) continue;
    HF_CO_CHECK(co_await commit_remove(op, found->second));
    nodes_.note_gone(id);
  }
  co_return Status();
}

namespace {

Status check_accepted(const std::string& what, const Impact& impact, const Purge& purge) {
  if (!impact.lost_volumes.empty() && !purge.accept_volume_loss) {
    return refusal(
        Kind::failed_precondition,
        fmt::format("{}: {} volumes have their last good replica there, the first is {}: accept their loss, "
                    "or move them",
                    what, impact.lost_volumes.size(), impact.lost_volumes.front().to_string()));
  }
  if (!impact.lost_snapshots.empty() && !purge.accept_snapshot_loss) {
    return refusal(
        Kind::failed_precondition,
        fmt::format("{}: {} snapshots have no part elsewhere, the first is {}: accept their loss", what,
                    impact.lost_snapshots.size(), impact.lost_snapshots.front().to_string()));
  }
  return Status();
}

}  // namespace

Task<Status> Agent::purge_pool(PoolId id, Purge accepted) {
  HF_CO_TRY(const Op op, co_await begin(pool_guard(id)));
  HF_CO_CHECK(find_pool(id));
  std::vector<PoolId> pools(1, id);
  HF_CO_CHECK(check_accepted("pool " + id, impact_of(pools, std::nullopt), accepted));
  claims_.closing.insert(id);
  const Status done = co_await purge(op, std::move(pools), std::nullopt);
  claims_.closing.erase(id);
  if (!done.ok()) co_return done.error();
  events_.add("Pool", "Delete", id, "", fmt::format("pool {} was purged", id), true);
  co_return Status();
}

Task<Status> Agent::delete_node(NodeId id, std::optional<Purge> accepted) {
  HF_CO_TRY(const Op op, co_await begin(node_guard(id)));
  HF_CO_TRY(const NodeSpec spec, find_node(id));
  if (observed().node_online(id)) {
    co_return refusal(Kind::in_use, fmt::format("node {} is online: stop its engine first", id));
  }
  std::vector<PoolId> pools;
  for (const auto& [pool, p] : specs().pools) {
    if (p.node == id) pools.push_back(pool);
  }
  const Impact impact = impact_of(pools, id);
  if (!accepted && (!pools.empty() || !impact.targets.empty())) {
    co_return refusal(Kind::failed_precondition,
                      fmt::format("node {} has {} pools and {} targets: purge it to give them up", id,
                                  pools.size(), impact.targets.size()));
  }
  if (accepted) HF_CO_CHECK(check_accepted("node " + id, impact, *accepted));
  HF_CO_CHECK(co_await purge(op, std::move(pools), id));
  HF_CO_CHECK(co_await commit_remove(op, spec));
  events_.add("Node", "Delete", id, id, fmt::format("node {} was deleted", id), accepted.has_value());
  co_return Status();
}

}  // namespace holdfast::control
