#include "control/plan/decide.h"

#include <algorithm>
#include <functional>

namespace holdfast::control {
namespace {

enum class Sync : std::uint8_t { unknown, in_sync, coming, out };

Sync sync_of(const Cluster& cluster, const VolumeSpec& v, const NexusState* target, const ReplicaSpec& r) {
  if (!v.target && target == nullptr) {
    if (cluster.good(v, r.uuid)) return Sync::in_sync;
    return cluster.online_replica(r.uuid) != nullptr ? Sync::unknown : Sync::out;
  }
  if (target == nullptr) return Sync::unknown;
  const ChildState* child = target->find(r.uuid);
  if (child == nullptr) return cluster.online_replica(r.uuid) != nullptr ? Sync::coming : Sync::out;
  if (child->status == ChildStatus::online) return Sync::in_sync;
  return child->rebuild_percent ? Sync::coming : Sync::out;
}

void note_outage(Outages& outages, const Uuid& replica, Sync sync, UnixNanos now) {
  const auto known = outages.find(replica);
  switch (sync) {
    case Sync::unknown:
    case Sync::coming:
      break;
    case Sync::out:
      if (known == outages.end()) {
        outages[replica].since = now;
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

template <class Spec>
void for_lost(const Plan& plan, const ById<std::vector<const Spec*>>& by_volume,
              const std::function<void(const Spec&)>& reconcile) {
  for (const auto& [volume, parts] : by_volume) {
    if (plan.cluster.specs.volumes.contains(volume)) continue;
    for (const Spec* part : parts) reconcile(*part);
  }
}

// Each volume with its parts, while what is known of them is at hand: in a large cluster most of what a pass takes is
// the fetching of records from memory.
void reconcile_volumes(Plan& plan) {
  const Index& index = plan.cluster.index;
  std::size_t replicas = index.replicas_alone.size();
  std::size_t nexuses = index.nexuses_alone.size();
  for (const auto& [id, volume] : plan.cluster.specs.volumes) {
    reconcile_volume(plan, volume);
    for (const ReplicaSpec* r : plan.cluster.replicas(id)) {
      reconcile_replica(plan, *r);
      ++replicas;
    }
    const auto targets = index.nexuses_of_volume.find(id);
    if (targets == index.nexuses_of_volume.end()) continue;
    for (const NexusSpec* n : targets->second) {
      reconcile_nexus(plan, *n);
      ++nexuses;
    }
  }
  for (const auto& [id, r] : index.replicas_alone) reconcile_replica(plan, *r);
  for (const auto& [id, n] : index.nexuses_alone) reconcile_nexus(plan, *n);
  // Those whose volume is gone.
  if (replicas != plan.cluster.specs.replicas.size())
    for_lost<ReplicaSpec>(plan, index.replicas_of_volume,
                          [&](const ReplicaSpec& r) { reconcile_replica(plan, r); });
  if (nexuses != plan.cluster.specs.nexuses.size())
    for_lost<NexusSpec>(plan, index.nexuses_of_volume, [&](const NexusSpec& n) { reconcile_nexus(plan, n); });
}

}  // namespace

void note_outages(Outages& outages, const Cluster& cluster, UnixNanos now) {
  for (auto it = outages.begin(); it != outages.end();) {
    it = cluster.specs.replicas.contains(it->first) ? std::next(it) : outages.erase(it);
  }
  for (const auto& [id, volume] : cluster.specs.volumes) {
    const VolumeTarget* server = volume.server();
    const NexusState* target = server != nullptr ? cluster.known_nexus(server->nexus) : nullptr;
    for (const ReplicaSpec* r : cluster.replicas(id))
      note_outage(outages, r->uuid, sync_of(cluster, volume, target, *r), now);
  }
}

Decision decide(const Cluster& cluster, const Outages& outages, const Policy& policy, UnixNanos now) {
  Plan plan{cluster, outages, policy, now};
  reconcile_pools(plan);
  reconcile_volumes(plan);
  reconcile_snapshots(plan);
  reconcile_nodes(plan);
  queue_rebuilds(plan);
  queue_repairs(plan);
  return {std::move(plan.actions), plan.due, plan.held};
}

}  // namespace holdfast::control
