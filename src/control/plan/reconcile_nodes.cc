// Nodes and pools that are being emptied: targets move off a node that is drained, and replicas if wanted; replicas
// move off a pool that is evacuated.
#include <algorithm>

#include <fmt/format.h>

#include "control/plan/decide.h"

namespace holdfast::control {
namespace {

bool has_good_elsewhere(const Cluster& cluster, const VolumeSpec& v, const NodeId& node) {
  const auto& replicas = cluster.replicas(v.uuid);
  return std::any_of(replicas.begin(), replicas.end(), [&](const ReplicaSpec* r) {
    return cluster.node_id_of_pool(r->pool) != node && cluster.good(v, r->uuid);
  });
}

// A volume whose only replica is here is served from here.
bool is_bound(const Cluster& cluster, const VolumeSpec& v, const NodeId& node) {
  return v.num_replicas == 1 && !has_good_elsewhere(cluster, v, node);
}

// What is still on the node and will leave it.
std::size_t move_targets(Plan& plan, const NodeSpec& node, bool replicas_too) {
  const Cluster& cluster = plan.cluster;
  std::size_t left = 0;
  for (const auto& [id, v] : cluster.specs.volumes) {
    const bool busy = v.operation || v.status != SpecStatus::created || cluster.is_unrecorded(v);
    if (v.repair && v.repair->node == node.id) {
      ++left;
      if (busy) continue;
      plan.add(Do::end_repair, volume_guard(id), fmt::format("node {} is being drained", node.id)).volume =
          id;
    }
    if (!v.target || v.target->node != node.id) continue;
    // Once its replica has gone ahead the target can follow.
    if (is_bound(cluster, v, node.id)) {
      left += replicas_too;
      continue;
    }
    ++left;
    if (busy) continue;
    const auto choice = place_target(cluster, v, std::nullopt, node.id);
    if (!choice.node) continue;
    Action& a = plan.add(Do::move_target, volume_guard(id), fmt::format("node {} is being drained", node.id));
    a.volume = id;
    a.node = *choice.node;
  }
  // The spec of one that is gone may stay for a while, because of requests that may come late.
  const bool seen = cluster.observed.node_known(node.id);
  for (const auto& [id, nexus] : cluster.specs.nexuses) {
    const bool gone = seen && !cluster.observed.nexuses.contains(id);
    left += nexus.node == node.id && nexus.shut_down && !gone;
  }
  return left;
}

// Somebody can copy from it to another replica.
bool can_be_copied(const Cluster& cluster, const VolumeSpec& v) {
  if (v.target) return cluster.known_nexus(v.target->nexus) != nullptr;
  return has_good_elsewhere(cluster, v, NodeId());
}

// Starts to move every replica of the pool. The number that has not left.
std::size_t move_replicas(Plan& plan, const PoolId& pool) {
  const Cluster& cluster = plan.cluster;
  const auto here = cluster.index.replicas_of_pool.find(pool);
  if (here == cluster.index.replicas_of_pool.end()) return 0;
  std::size_t left = 0;
  for (const ReplicaSpec* r : here->second) {
    if (!r->owners.volume || r->status != SpecStatus::created) continue;
    const auto volume = cluster.specs.volumes.find(*r->owners.volume);
    if (volume == cluster.specs.volumes.end()) continue;
    const VolumeSpec& v = volume->second;
    ++left;
    const bool busy =
        v.operation || v.status != SpecStatus::created || !v.moves.empty() || cluster.is_unrecorded(v);
    if (busy || !can_be_copied(cluster, v)) continue;
    ReplicaNeed need(v);
    for (const ReplicaSpec* other : cluster.replicas(v.uuid)) {
      if (other->uuid != r->uuid) need.occupied.push_back(other->pool);
    }
    const auto placed = place_replicas(cluster, plan.policy.capacity, need);
    if (placed.pools.empty() || placed.pools.front() == pool) continue;
    Action& a = plan.add(Do::start_move, volume_guard(v.uuid), fmt::format("pool {} is being emptied", pool));
    a.volume = v.uuid;
    a.replica = r->uuid;
    a.pool = placed.pools.front();
  }
  return left;
}

}  // namespace

void reconcile_nodes(Plan& plan) {
  for (const auto& [id, node] : plan.cluster.specs.nodes) {
    if (node.drains.empty()) continue;
    const bool replicas_too = node.replicas_leave();
    std::size_t left = move_targets(plan, node, replicas_too);
    if (replicas_too) {
      for (const auto& [pool_id, pool] : plan.cluster.specs.pools) {
        if (pool.node == id) left += move_replicas(plan, pool_id);
      }
    }
    const bool waited = !replicas_too && plan.reached(node.draining_since + plan.policy.drain_wait);
    if (!node.drained && (left == 0 || waited)) {
      plan.add(Do::end_drain, node_guard(id),
               left == 0 ? "nothing is left on it" : "what is left cannot move")
          .node = id;
    } else if (node.drained && left > 0 && !waited) {
      plan.add(Do::reopen_drain, node_guard(id), "something is left on it").node = id;
    }
  }
  for (const auto& [id, pool] : plan.cluster.specs.pools) {
    const auto node = plan.cluster.specs.nodes.find(pool.node);
    const bool seen_to = node != plan.cluster.specs.nodes.end() && node->second.replicas_leave();
    if (pool.evacuating && !seen_to) move_replicas(plan, id);
  }
}

}  // namespace holdfast::control
