// Which replica goes, and which node serves.
#include <algorithm>
#include <array>
#include <tuple>

#include <fmt/format.h>

#include "control/model/kind.h"
#include "control/plan/scheduler.h"

namespace holdfast::control {
namespace {

// What speaks for removing a replica, most important first; larger goes first.
using Badness = std::array<int, 8>;

int child_badness(const ChildState* child) {
  if (child == nullptr) return 0;
  switch (child->status) {
    case ChildStatus::faulted:
      return 3;
    case ChildStatus::unknown:
      return 2;
    case ChildStatus::degraded:
      return 1;
    case ChildStatus::online:
      return 0;
  }
  return 0;
}

int group_crowd(const Cluster& cluster, const VolumeSpec& volume, const NodeId& node) {
  if (!volume.affinity_group) return 0;
  const auto members = cluster.index.volumes_of_group.find(*volume.affinity_group);
  if (members == cluster.index.volumes_of_group.end()) return 0;
  int count = 0;
  for (const VolumeSpec* other : members->second) {
    for (const ReplicaSpec* r : cluster.replicas(other->uuid))
      count += cluster.node_id_of_pool(r->pool) == node;
  }
  return count;
}

Badness badness(const Cluster& cluster, const VolumeSpec& volume, const ReplicaSpec& replica) {
  const VolumeTarget* server = volume.server();
  const NexusState* nexus = server != nullptr ? cluster.known_nexus(server->nexus) : nullptr;
  const ChildState* child = nexus != nullptr ? nexus->find(replica.uuid) : nullptr;
  const auto pool = cluster.specs.pools.find(replica.pool);
  const NodeId node = cluster.node_id_of_pool(replica.pool);
  const NodeSpec* node_spec = cluster.node_of_pool(replica.pool);
  const bool leaving =
      (node_spec != nullptr && node_spec->cordoned()) ||
      (pool != cluster.specs.pools.end() && (pool->second.evacuating || !pool->second.cordons.empty()));
  const bool local = volume.target && volume.target->node == node;
  int fullness = 0;
  if (const PoolState* state = cluster.usable_pool(replica.pool);
      state != nullptr && state->capacity_bytes > 0) {
    fullness = static_cast<int>(state->used_bytes / (state->capacity_bytes / 100 + 1));
  }
  return {
      cluster.healthy(volume, replica.uuid) ? 0 : 1,
      cluster.online_replica(replica.uuid) == nullptr ? 1 : 0,
      nexus != nullptr && child == nullptr ? 1 : 0,
      child_badness(child) * 101 +
          (child != nullptr && child->rebuild_percent ? 100 - static_cast<int>(*child->rebuild_percent) : 0),
      leaving ? 1 : 0,
      local ? 0 : 1,
      group_crowd(cluster, volume, node),
      fullness};
}

std::optional<std::string> target_refused(const Cluster& cluster, const VolumeSpec& volume,
                                          const NodeSpec& node, const std::optional<NodeId>& avoid) {
  if (!cluster.observed.node_online(node.id)) return "it does not answer";
  if (!node.drains.empty()) return "it is being drained";
  if (!node.cordons.empty()) return fmt::format("it is cordoned ({})", *node.cordons.begin());
  if (avoid == node.id) return "it has the target that is to be replaced";
  const auto nexuses = cluster.index.nexuses_of_volume.find(volume.uuid);
  if (nexuses != cluster.index.nexuses_of_volume.end()) {
    for (const NexusSpec* n : nexuses->second) {
      if (n->node != node.id || n->status == SpecStatus::creating) continue;
      // A request that makes one which its engine has not may still arrive: while there is another target it is
      // refused, for the name is taken; else what it made is destroyed.
      const bool gone = n->status == SpecStatus::deleting && cluster.observed.node_known(node.id) &&
                        cluster.known_nexus(n->uuid) == nullptr;
      if (!gone) return "it has a former target of this volume";
    }
  }
  const auto& replicas = cluster.replicas(volume.uuid);
  if (volume.num_replicas == 1 && replicas.size() == 1) {
    const NodeId home = cluster.node_id_of_pool(replicas.front()->pool);
    if (home != node.id) return fmt::format("the only replica is on node {}", home);
  }
  return std::nullopt;
}

}  // namespace

Result<Uuid> choose_surplus(const Cluster& cluster, const VolumeSpec& volume) {
  const auto& replicas = cluster.replicas(volume.uuid);
  const auto good = std::count_if(replicas.begin(), replicas.end(),
                                  [&](const ReplicaSpec* r) { return cluster.good(volume, r->uuid); });
  const ReplicaSpec* worst = nullptr;
  Badness of_worst{};
  for (const ReplicaSpec* r : replicas) {
    const bool last_good =
        cluster.healthy(volume, r->uuid) && (good == 0 || (good == 1 && cluster.good(volume, r->uuid)));
    if (last_good) continue;
    const Badness b = badness(cluster, volume, *r);
    if (worst != nullptr && !(b > of_worst)) continue;
    worst = r;
    of_worst = b;
  }
  if (worst != nullptr) return worst->uuid;
  return refusal(Kind::failed_precondition,
                 fmt::format("volume {}: no replica can be removed, {} of {} are known to hold all data",
                             volume.uuid.to_string(), good, replicas.size()));
}

TargetChoice place_target(const Cluster& cluster, const VolumeSpec& volume,
                          const std::optional<NodeId>& requested, const std::optional<NodeId>& avoid) {
  TargetChoice choice;
  struct Fit {
    std::size_t group_targets = 0;
    int no_good_replica = 0;  // serving from where a good replica is spares the network
    std::size_t targets = 0;
    const NodeSpec* node = nullptr;
    auto key() const { return std::tuple(group_targets, no_good_replica, targets, node->id); }
  };
  std::optional<Fit> best;
  for (const auto& [id, node] : cluster.specs.nodes) {
    if (auto why = target_refused(cluster, volume, node, avoid)) {
      choice.refused.push_back({id, std::move(*why)});
      continue;
    }
    Fit fit;
    fit.node = &node;
    for (const ReplicaSpec* r : cluster.replicas(volume.uuid)) {
      if (cluster.node_id_of_pool(r->pool) == id && cluster.good(volume, r->uuid)) fit.no_good_replica = -1;
    }
    const auto targets = cluster.index.targets_of_node.find(id);
    fit.targets = targets == cluster.index.targets_of_node.end() ? 0 : targets->second;
    if (volume.affinity_group) {
      const auto members = cluster.index.volumes_of_group.find(*volume.affinity_group);
      if (members != cluster.index.volumes_of_group.end()) {
        fit.group_targets = static_cast<std::size_t>(std::count_if(
            members->second.begin(), members->second.end(), [&id = id, &volume](const VolumeSpec* v) {
              return v->uuid != volume.uuid && v->target && v->target->node == id;
            }));
      }
    }
    if (requested == id) {
      choice.node = id;
      return choice;
    }
    if (!best || fit.key() < best->key()) best = fit;
  }
  if (best) choice.node = best->node->id;
  return choice;
}

std::string explain(const std::vector<NodeRefusal>& refused) {
  if (refused.empty()) return "no node is registered";
  std::string text;
  for (const NodeRefusal& r : refused)
    text += fmt::format("{}node {}: {}", text.empty() ? "" : "; ", r.node, r.reason);
  return text;
}

}  // namespace holdfast::control
