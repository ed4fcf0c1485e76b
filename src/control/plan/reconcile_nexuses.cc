// Nexuses: created again after their engine started, ended when replaced or no longer wanted, and their children.
#include <algorithm>

#include "control/plan/decide.h"

namespace holdfast::control {
namespace {

Action& want(Plan& plan, Do what, const NexusSpec& n, std::string why) {
  Action& a = plan.add(what, nexus_guard(n), std::move(why));
  a.nexus = n.uuid;
  a.node = n.node;
  if (n.owner) a.volume = *n.owner;
  return a;
}

bool is_target(const VolumeSpec* volume, const NexusSpec& n) {
  const VolumeTarget* server = volume != nullptr ? volume->server() : nullptr;
  return server != nullptr && server->nexus == n.uuid;
}

// Somebody's operation, or one that is still to be settled, speaks of it.
bool is_pending(const VolumeSpec* volume, const NexusSpec& n) {
  return volume != nullptr && volume->operation && volume->operation->nexus == n.uuid;
}

// The nexus had lost every replica with all data and one is back; or it was fenced, by a nexus that an agent asked for
// which no longer leads.
bool could_serve_again(const Cluster& cluster, const VolumeSpec& volume) {
  const auto& replicas = cluster.replicas(volume.uuid);
  return std::any_of(replicas.begin(), replicas.end(),
                     [&](const ReplicaSpec* r) { return cluster.good(volume, r->uuid); });
}

bool replicas_are_large_enough(const Cluster& cluster, const VolumeSpec& volume, const NexusState& nexus) {
  return std::all_of(nexus.children.begin(), nexus.children.end(), [&](const ChildState& c) {
    const ReplicaState* r = c.replica ? cluster.online_replica(*c.replica) : nullptr;
    return r == nullptr || r->size_bytes >= volume.size_bytes;
  });
}

void reconcile_target(Plan& plan, const VolumeSpec& volume, const NexusSpec& spec, const NexusState& nexus) {
  const bool serves = nexus.status == NexusStatus::online || nexus.status == NexusStatus::degraded;
  if (!serves) {
    const bool ended = nexus.status == NexusStatus::faulted || nexus.status == NexusStatus::shutdown;
    if (ended && could_serve_again(plan.cluster, volume)) {
      want(plan, Do::create_nexus, spec, "a replica that holds all data is back");
    }
    return;
  }
  const bool hosts_differ = spec.share == Protocol::nvmf && nexus.allowed_hosts != spec.allowed_hosts;
  if (nexus.protocol != spec.share || hosts_differ) {
    want(plan, Do::share_nexus, spec, "it is not shared as it should be");
  }
  if (nexus.size_bytes < volume.size_bytes && replicas_are_large_enough(plan.cluster, volume, nexus)) {
    want(plan, Do::grow_nexus, spec, "it is smaller than its volume");
  }
  reconcile_children(plan, volume, spec, nexus);
}

void reconcile_wanted(Plan& plan, const NexusSpec& spec) {
  const Cluster& cluster = plan.cluster;
  const VolumeSpec* volume = nullptr;
  if (spec.owner) {
    const auto found = cluster.specs.volumes.find(*spec.owner);
    if (found != cluster.specs.volumes.end()) volume = &found->second;
    if (!is_target(volume, spec)) {
      if (!is_pending(volume, spec)) want(plan, Do::destroy_nexus, spec, "it serves no volume");
      return;
    }
  }
  if (!cluster.observed.node_known(spec.node)) return;
  const NexusState* state = cluster.known_nexus(spec.uuid);
  if (state == nullptr) {
    want(plan, Do::create_nexus, spec, "its engine does not have it");
  } else if (spec.status == SpecStatus::creating) {
    want(plan, Do::create_nexus, spec, "nobody has noted that it is there");
  } else if (volume != nullptr && !volume->operation && volume->status == SpecStatus::created) {
    reconcile_target(plan, *volume, spec, *state);
  }
}

}  // namespace

void reconcile_nexus(Plan& plan, const NexusSpec& spec) {
  const Cluster& cluster = plan.cluster;
  if (spec.status != SpecStatus::deleting) {
    reconcile_wanted(plan, spec);
  } else if (!cluster.specs.nodes.contains(spec.node)) {
    want(plan, Do::forget_nexus, spec, "its node is gone");
  } else if (cluster.observed.node_known(spec.node)) {
    const bool there = cluster.known_nexus(spec.uuid) != nullptr;
    if (!there && !plan.reached(spec.unsure_until)) return;
    want(plan, there ? Do::destroy_nexus : Do::forget_nexus, spec,
         there ? "it is being deleted" : "it is deleted");
  }
}

}  // namespace holdfast::control
