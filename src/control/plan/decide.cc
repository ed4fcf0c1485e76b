#include "control/plan/decide.h"

#include <algorithm>

namespace holdfast::control {
namespace {

enum class Sync : std::uint8_t { unknown, in_sync, coming, out };

Sync sync_of(const Cluster& cluster, const VolumeSpec& v, const ReplicaSpec& r) {
  if (!v.target) {
    if (cluster.good(v, r.uuid)) return Sync::in_sync;
    return cluster.online_replica(r.uuid) != nullptr ? Sync::unknown : Sync::out;
  }
  const NexusState* nexus = cluster.known_nexus(v.target->nexus);
  if (nexus == nullptr) return Sync::unknown;
  const ChildState* child = nexus->find(r.uuid);
  if (child == nullptr) return cluster.online_replica(r.uuid) != nullptr ? Sync::coming : Sync::out;
  if (child->status == ChildStatus::online) return Sync::in_sync;
  return child->rebuild_percent ? Sync::coming : Sync::out;
}

}  // namespace

void note_outages(Outages& outages, const Cluster& cluster, UnixNanos now) {
  for (auto it = outages.begin(); it != outages.end();) {
    it = cluster.specs.replicas.contains(it->first) ? std::next(it) : outages.erase(it);
  }
  for (const auto& [id, r] : cluster.specs.replicas) {
    const auto volume =
        r.owners.volume ? cluster.specs.volumes.find(*r.owners.volume) : cluster.specs.volumes.end();
    if (volume == cluster.specs.volumes.end()) continue;
    const auto known = outages.find(id);
    switch (sync_of(cluster, volume->second, r)) {
      case Sync::unknown:
      case Sync::coming:
        break;
      case Sync::out:
        if (known == outages.end()) {
          outages[id].since = now;
        } else if (known->second.back_at != 0) {
          known->second.since += now - known->second.back_at;
          known->second.back_at = 0;
        }
        break;
      case Sync::in_sync:
        if (known == outages.end()) break;
        if (known->second.back_at == 0) known->second.back_at = now;
        if (now - known->second.back_at >= outage_forgotten_after) outages.erase(known);
        break;
    }
  }
}

std::vector<Action> decide(const Cluster& cluster, const Outages& outages, const Policy& policy,
                           UnixNanos now) {
  Plan plan{cluster, outages, policy, now};
  reconcile_pools(plan);
  reconcile_volumes(plan);
  reconcile_replicas(plan);
  reconcile_nexuses(plan);
  reconcile_snapshots(plan);
  reconcile_nodes(plan);
  queue_rebuilds(plan);
  return std::move(plan.actions);
}

}  // namespace holdfast::control
