#include "control/plan/decide.h"

#include <algorithm>
#include <utility>

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

// Its outage begins, goes on or ends.
void note_outage(Plan& plan, const Uuid& replica, Sync sync) {
  const auto known = plan.outages.find(replica);
  switch (sync) {
    case Sync::unknown:
    case Sync::coming:
      break;
    case Sync::out:
      if (known == plan.outages.end()) {
        plan.outages[replica].since = plan.now;
      } else if (known->second.back_at != 0) {
        known->second.since += plan.now - known->second.back_at;
        known->second.back_at = 0;
      }
      break;
    case Sync::in_sync:
      if (known == plan.outages.end()) break;
      if (known->second.back_at == 0) known->second.back_at = plan.now;
      if (plan.reached(known->second.back_at + outage_forgotten_after)) plan.outages.erase(known);
      break;
  }
}

// Whether every replica that the volume wants is there and in sync.
bool note_outages(Plan& plan, const VolumeSpec& volume) {
  const VolumeTarget* server = volume.server();
  const NexusState* target = server != nullptr ? plan.cluster.known_nexus(server->nexus) : nullptr;
  const auto& replicas = plan.cluster.replicas(volume.uuid);
  bool whole = replicas.size() == volume.num_replicas;
  for (const ReplicaSpec* r : replicas) {
    const Sync sync = sync_of(plan.cluster, volume, target, *r);
    note_outage(plan, r->uuid, sync);
    whole &= sync == Sync::in_sync;
  }
  return whole;
}

// The volume, its replicas and its targets, while what is known of them is at hand: in a large cluster most of what a
// pass takes is the fetching of records from memory. Returns whether there is something to come back for.
bool look_at_parts(Plan& plan, const Uuid& id, const VolumeSpec* volume) {
  if (volume != nullptr && plan.cluster.is_unrecorded(*volume)) {
    plan.parts_seen += plan.cluster.replicas(id).size() + plan.cluster.nexuses(id).size();
    return false;
  }
  bool restless = false;
  if (volume != nullptr) {
    restless = !note_outages(plan, *volume);
    reconcile_volume(plan, *volume);
  }
  const std::size_t seen = plan.parts_seen;
  for (const ReplicaSpec* r : plan.cluster.replicas(id)) {
    reconcile_replica(plan, *r);
    ++plan.parts_seen;
  }
  for (const NexusSpec* n : plan.cluster.nexuses(id)) {
    reconcile_nexus(plan, *n);
    ++plan.parts_seen;
  }
  if (volume == nullptr) return plan.parts_seen != seen;
  reconcile_records(plan, *volume);
  return restless;
}

// `volume`: null when its parts are all that is left of it.
void look_at(Plan& plan, std::set<Uuid>& restless, const Uuid& id, const VolumeSpec* volume) {
  const std::size_t actions = plan.actions.size();
  const bool held = std::exchange(plan.held, false);
  const auto due = std::exchange(plan.due, std::nullopt);
  const bool unsettled = look_at_parts(plan, id, volume);
  if (unsettled || plan.actions.size() != actions || plan.held || plan.due) restless.insert(id);
  plan.held |= held;
  if (due) plan.due = std::min(plan.due.value_or(*due), *due);
}

// Of which parts are left alone.
std::set<Uuid> gone_volumes(const Cluster& cluster) {
  std::set<Uuid> gone;
  const auto note = [&](const Uuid& volume) {
    if (!cluster.specs.volumes.contains(volume)) gone.insert(volume);
  };
  for (const auto& [volume, parts] : cluster.index.replicas_of_volume) note(volume);
  for (const auto& [volume, parts] : cluster.index.nexuses_of_volume) note(volume);
  return gone;
}

std::set<Uuid> look_at_all(Plan& plan) {
  const Cluster& cluster = plan.cluster;
  std::set<Uuid> restless;
  for (const auto& [id, volume] : cluster.specs.volumes) look_at(plan, restless, id, &volume);
  const std::size_t owned = cluster.specs.replicas.size() - cluster.index.replicas_alone.size() +
                            cluster.specs.nexuses.size() - cluster.index.nexuses_alone.size();
  if (plan.parts_seen == owned) return restless;
  for (const Uuid& id : gone_volumes(cluster)) look_at(plan, restless, id, nullptr);
  return restless;
}

std::set<Uuid> look_at_some(Plan& plan, const std::set<Uuid>& some) {
  const auto& volumes = plan.cluster.specs.volumes;
  std::set<Uuid> restless;
  for (const Uuid& id : some) {
    const auto volume = volumes.find(id);
    if (volume != volumes.end()) look_at(plan, restless, id, &volume->second);
  }
  for (const Uuid& id : some) {
    if (!volumes.contains(id)) look_at(plan, restless, id, nullptr);
  }
  return restless;
}

void forget_outages_of_the_gone(Plan& plan) {
  erase_if(plan.outages, [&](const auto& o) { return !plan.cluster.specs.replicas.contains(o.first); });
}

}  // namespace

Decision decide(const Cluster& cluster, Outages& outages, const Look& look) {
  Plan plan{cluster, outages, look.policy, look.now, look.digests};
  Decision decision;
  forget_outages_of_the_gone(plan);
  reconcile_pools(plan);
  decision.restless = look.volumes != nullptr ? look_at_some(plan, *look.volumes) : look_at_all(plan);
  for (const auto& [id, r] : cluster.index.replicas_alone) reconcile_replica(plan, *r);
  for (const auto& [id, n] : cluster.index.nexuses_alone) reconcile_nexus(plan, *n);
  reconcile_snapshots(plan);
  reconcile_nodes(plan);
  queue_rebuilds(plan);
  queue_repairs(plan);
  decision.actions = std::move(plan.actions);
  decision.due = plan.due;
  decision.held = plan.held;
  return decision;
}

}  // namespace holdfast::control
