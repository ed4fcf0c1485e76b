// Volumes: as many replicas as wanted, where they should be; moves; those left unfinished by an agent that died;
// deletion.
#include <algorithm>

#include <fmt/format.h>

#include "control/plan/decide.h"

namespace holdfast::control {
namespace {

Action& want(Plan& plan, Do what, const VolumeSpec& v, std::string why) {
  Action& a = plan.add(what, volume_guard(v.uuid), std::move(why));
  a.volume = v.uuid;
  return a;
}

bool is_moving(const VolumeSpec& v, const Uuid& replica) {
  return std::any_of(v.moves.begin(), v.moves.end(),
                     [&](const ReplicaMove& m) { return m.from == replica || m.to == replica; });
}

const NexusState* serving_target(const Cluster& cluster, const VolumeSpec& v) {
  const VolumeTarget* server = v.server();
  if (server == nullptr || !cluster.observed.node_known(server->node)) return nullptr;
  const NexusState* nexus = cluster.known_nexus(server->nexus);
  const bool serves =
      nexus != nullptr && (nexus->status == NexusStatus::online || nexus->status == NexusStatus::degraded);
  return serves ? nexus : nullptr;
}

// `nexus`: what serves the volume, or null. Nothing is written to a volume that is not published.
bool in_sync(const Cluster& cluster, const VolumeSpec& v, const NexusState* nexus, const Uuid& replica) {
  if (nexus == nullptr) return cluster.good(v, replica);
  const ChildState* child = nexus->find(replica);
  return child != nullptr && child->status == ChildStatus::online;
}

// Some replica can be reached that others can copy from.
bool has_source(const Cluster& cluster, const VolumeSpec& v, const NexusState* nexus) {
  if (v.target && nexus == nullptr) return false;
  const auto& owned = cluster.replicas(v.uuid);
  return std::any_of(owned.begin(), owned.end(),
                     [&](const ReplicaSpec* r) { return in_sync(cluster, v, nexus, r->uuid); });
}

std::vector<PoolId> pools_without(const Cluster& cluster, const VolumeSpec& v, const Uuid& leaving) {
  std::vector<PoolId> pools;
  for (const ReplicaSpec* r : cluster.replicas(v.uuid)) {
    if (r->uuid != leaving) pools.push_back(r->pool);
  }
  return pools;
}

std::optional<PoolId> place_one(const Plan& plan, const VolumeSpec& v, const ReplicaSpec* leaving) {
  ReplicaNeed need(v);
  need.occupied = pools_without(plan.cluster, v, leaving != nullptr ? leaving->uuid : Uuid());
  need.written_bytes = written_bytes(plan.cluster, v);
  if (leaving != nullptr) need.avoid = leaving->pool;
  auto placed = place_replicas(plan.cluster, plan.policy.capacity, need);
  if (placed.pools.empty()) return std::nullopt;
  return placed.pools.front();
}

void reconcile_moves(Plan& plan, const VolumeSpec& v, const NexusState* nexus) {
  if (v.target && nexus == nullptr) return;
  const Cluster& cluster = plan.cluster;
  for (const ReplicaMove& m : v.moves) {
    const auto from = cluster.specs.replicas.find(m.from);
    const bool still_ours = from != cluster.specs.replicas.end() && from->second.owners.volume == v.uuid;
    if (!still_ours) {
      want(plan, Do::drop_move, v, "the replica is not the volume's any more").replica = m.from;
      continue;
    }
    const auto to = m.to ? cluster.specs.replicas.find(*m.to) : cluster.specs.replicas.end();
    if (m.to && (to == cluster.specs.replicas.end() || to->second.owners.volume != v.uuid)) {
      want(plan, Do::drop_move, v, "the replica that was to take its place is gone").replica = m.from;
      continue;
    }
    if (m.to) {
      if (in_sync(cluster, v, nexus, *m.to))
        want(plan, Do::finish_move, v, "the new replica holds all data").replica = m.from;
      continue;
    }
    if (!has_source(cluster, v, nexus)) continue;
    ReplicaNeed need(v);
    need.occupied = pools_without(cluster, v, m.from);
    need.only = m.pool;
    need.avoid = from->second.pool;
    need.written_bytes = written_bytes(cluster, v);
    const auto placed = place_replicas(cluster, plan.policy.capacity, need);
    if (placed.pools.empty() || placed.pools.front() == from->second.pool) {
      plan.held = true;
      continue;
    }
    Action& a = want(plan, Do::start_move, v, "a replica is to be moved");
    a.replica = m.from;
    a.pool = placed.pools.front();
  }
}

// The replica that has been out for too long, or that its pool has no room for.
const ReplicaSpec* to_replace(Plan& plan, const VolumeSpec& v, const NexusState* nexus) {
  for (const ReplicaSpec* r : plan.cluster.replicas(v.uuid)) {
    if (is_moving(v, r->uuid) || in_sync(plan.cluster, v, nexus, r->uuid)) continue;
    // What can be reached is about to be repaired.
    if (nexus == nullptr && plan.cluster.online_replica(r->uuid) != nullptr) continue;
    const ChildState* child = nexus != nullptr ? nexus->find(r->uuid) : nullptr;
    if (child != nullptr && child->rebuild_percent) continue;
    if (child != nullptr && child->reason == ChildReason::out_of_space) return r;
    if (plan.is_out_for_too_long(r->uuid)) return r;
  }
  return nullptr;
}

// Of those that a full pool has thrown out, the largest moves: the others may have room then.
bool is_largest_without_room(const Cluster& cluster, const ReplicaSpec& replica) {
  const auto allocated = [&](const Uuid& id) {
    const auto state = cluster.observed.replicas.find(id);
    return state == cluster.observed.replicas.end() ? 0 : state->second.space.allocated_bytes;
  };
  const auto here = cluster.index.replicas_of_pool.find(replica.pool);
  if (here == cluster.index.replicas_of_pool.end()) return true;
  return std::none_of(here->second.begin(), here->second.end(), [&](const ReplicaSpec* other) {
    if (other->uuid == replica.uuid || !other->owners.volume) return false;
    const auto volume = cluster.specs.volumes.find(*other->owners.volume);
    const VolumeTarget* server = volume != cluster.specs.volumes.end() ? volume->second.server() : nullptr;
    const NexusState* nexus = server != nullptr ? cluster.known_nexus(server->nexus) : nullptr;
    const ChildState* child = nexus != nullptr ? nexus->find(other->uuid) : nullptr;
    if (child == nullptr || child->reason != ChildReason::out_of_space) return false;
    return std::pair(allocated(other->uuid), other->uuid) > std::pair(allocated(replica.uuid), replica.uuid);
  });
}

void reconcile_replacement(Plan& plan, const VolumeSpec& v, const NexusState* nexus) {
  const ReplicaSpec* leaving = to_replace(plan, v, nexus);
  if (leaving == nullptr) return;
  const ChildState* child = nexus != nullptr ? nexus->find(leaving->uuid) : nullptr;
  const bool full = child != nullptr && child->reason == ChildReason::out_of_space;
  if (full && !is_largest_without_room(plan.cluster, *leaving)) return;
  const auto pool = place_one(plan, v, leaving);
  // It is there, and yet no child: its target could not take it in.
  const bool useless = child == nullptr && plan.cluster.online_replica(leaving->uuid) != nullptr;
  if (!pool || ((full || useless) && *pool == leaving->pool)) {
    plan.held = true;
    return;
  }
  // Should it be back with all data, it goes no sooner than there is another one with it.
  const bool intact = nexus == nullptr && plan.cluster.healthy(v, leaving->uuid);
  Action& a = want(plan, intact ? Do::start_move : Do::replace_replica, v,
                   full      ? "its pool has no room left"
                   : useless ? "its target cannot take its replica in"
                             : "its replica is out for too long");
  a.replica = leaving->uuid;
  a.pool = *pool;
}

void reconcile_count(Plan& plan, const VolumeSpec& v) {
  const auto& owned = plan.cluster.replicas(v.uuid);
  const auto coming =
      static_cast<std::size_t>(std::count_if(v.moves.begin(), v.moves.end(), [&](const ReplicaMove& m) {
        return std::any_of(owned.begin(), owned.end(), [&](const ReplicaSpec* r) { return r->uuid == m.to; });
      }));
  const std::size_t wanted = v.num_replicas + coming;
  const NexusState* nexus = serving_target(plan.cluster, v);
  if (owned.size() > wanted) {
    if (v.target && nexus == nullptr) return;
    auto surplus = choose_surplus(plan.cluster, v);
    if (surplus.ok() && !is_moving(v, surplus.value())) {
      want(plan, Do::release_replica, v, "the volume has more replicas than wanted").replica =
          surplus.value();
    }
    return;
  }
  if (!v.self_heal || !has_source(plan.cluster, v, nexus)) return;
  if (owned.size() == wanted) {
    reconcile_replacement(plan, v, nexus);
    return;
  }
  if (const auto pool = place_one(plan, v, nullptr)) {
    want(plan, Do::add_replica, v, "the volume has fewer replicas than wanted").pool = *pool;
  } else {
    plan.held = true;
  }
}

bool has_parts(const Cluster& cluster, const VolumeSpec& v) {
  if (!cluster.replicas(v.uuid).empty()) return true;
  const auto& nexuses = cluster.nexuses(v.uuid);
  return std::any_of(nexuses.begin(), nexuses.end(),
                     [](const NexusSpec* n) { return n->status != SpecStatus::deleting; });
}

}  // namespace

void reconcile_volume(Plan& plan, const VolumeSpec& v) {
  if (v.status == SpecStatus::creating) {
    want(plan, Do::abandon_volume, v, "its creation was interrupted");
  } else if (v.status == SpecStatus::deleting || v.status == SpecStatus::deleted) {
    const bool parts = has_parts(plan.cluster, v);
    want(plan, parts ? Do::release_volume : Do::forget_volume, v,
         parts ? "it is being deleted" : "it is deleted");
  } else if (v.operation) {
    want(plan, Do::settle_volume, v, fmt::format("{} was interrupted", name(v.operation->operation)));
  } else {
    reconcile_moves(plan, v, serving_target(plan.cluster, v));
    reconcile_count(plan, v);
    reconcile_repair(plan, v);
  }
}

}  // namespace holdfast::control
