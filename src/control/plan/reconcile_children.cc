// Children of a volume's target: those that are missing are added, those that came back are brought in sync, those
// that are out for too long or no longer the volume's are removed. And the queue of rebuilds.
#include <algorithm>
#include <tuple>

#include "control/plan/fills.h"

namespace holdfast::control {
namespace {

std::size_t in_sync(const NexusState& nexus) {
  return static_cast<std::size_t>(
      std::count_if(nexus.children.begin(), nexus.children.end(),
                    [](const ChildState& c) { return c.status == ChildStatus::online; }));
}

bool can_come_back(ChildReason reason) {
  switch (reason) {
    case ChildReason::config_invalid:
    case ChildReason::init:
    case ChildReason::out_of_sync:  // it is being rebuilt, or about to be
      return false;
    case ChildReason::none:
    case ChildReason::closed:
    case ChildReason::cannot_open:
    case ChildReason::rebuild_failed:
    case ChildReason::io_failure:
    case ChildReason::by_client:
    case ChildReason::out_of_space:
    case ChildReason::timed_out:
    case ChildReason::admin_failed:
      return true;
  }
  return false;
}

// Whether its pool has room again for what it lacks.
bool has_room(const Plan& plan, const VolumeSpec& volume, const ReplicaState& replica) {
  std::uint64_t most = 0;
  for (const ReplicaSpec* r : plan.cluster.replicas(volume.uuid)) {
    const ReplicaState* state = plan.cluster.online_replica(r->uuid);
    if (state != nullptr && plan.cluster.healthy(volume, r->uuid)) {
      most = std::max(most, state->space.allocated_bytes);
    }
  }
  const std::uint64_t own = replica.space.allocated_bytes;
  const PoolState* pool = plan.cluster.usable_pool(replica.pool);
  return pool != nullptr &&
         pool->free_bytes() >= plan.policy.capacity.free_bytes_min + (most > own ? most - own : 0);
}

// As the target of this node has to reach it.
bool is_shared_to(const Cluster& cluster, const ReplicaState& replica, const NodeId& node) {
  if (replica.node == node) return true;
  const auto spec = cluster.specs.nodes.find(node);
  if (replica.share != Protocol::nvmf || spec == cluster.specs.nodes.end()) return false;
  const auto& hosts = replica.allowed_hosts;
  return hosts.empty() || std::find(hosts.begin(), hosts.end(), spec->second.nqn) != hosts.end();
}

}  // namespace

void reconcile_children(Plan& plan, const VolumeSpec& volume, const NexusSpec& spec,
                        const NexusState& nexus) {
  const Cluster& cluster = plan.cluster;
  const auto& owned = cluster.replicas(volume.uuid);
  const auto want = [&](Do what, const Uuid& replica, const std::string& uri, std::string why) {
    Action& a = plan.add(what, volume_guard(volume.uuid), std::move(why));
    a.volume = volume.uuid;
    a.nexus = nexus.uuid;
    a.node = spec.node;
    a.replica = replica;
    a.uri = uri;
  };
  const std::size_t good = in_sync(nexus);
  for (const ChildState& child : nexus.children) {
    const Uuid id = child.replica.value_or(Uuid());
    const bool ours =
        std::any_of(owned.begin(), owned.end(), [&](const ReplicaSpec* r) { return r->uuid == id; });
    const bool spare = good > (child.status == ChildStatus::online ? 1U : 0U);
    if (!ours) {
      if (spare) want(Do::remove_child, id, child.uri, "it is no replica of the volume any more");
      continue;
    }
    if (child.status == ChildStatus::online || child.rebuild_percent) continue;
    const ReplicaState* replica = cluster.online_replica(id);
    if (replica != nullptr && can_come_back(child.reason) && volume.self_heal) {
      const bool room = child.reason != ChildReason::out_of_space || has_room(plan, volume, *replica);
      if (room && is_shared_to(cluster, *replica, spec.node)) {
        want(Do::online_child, id, child.uri, "its replica can be reached again");
      }
    } else if (spare && nexus.children.size() > 1 && plan.is_out_for_too_long(id)) {
      want(Do::remove_child, id, child.uri, "it is out for too long");
    }
  }
  if (!volume.self_heal) return;
  for (const ReplicaSpec* r : owned) {
    if (r->status != SpecStatus::created || r->fill || nexus.find(r->uuid) != nullptr) continue;
    const ReplicaState* replica = cluster.online_replica(r->uuid);
    if (replica == nullptr || !is_shared_to(cluster, *replica, spec.node)) continue;
    if (replica->size_bytes < nexus.size_bytes) continue;
    want(Do::add_child, r->uuid, replica->uri, "the target does not have it");
  }
}

namespace {

// Everything of a replica is copied, or what it missed.
bool begins_a_copy(const Cluster& cluster, const Action& a) {
  if (a.what == Do::add_child || a.what == Do::online_child) return true;
  if (a.what != Do::fill_replica) return false;
  const auto replica = cluster.specs.replicas.find(a.replica);
  return replica != cluster.specs.replicas.end() && replica->second.fill && !replica->second.fill->begun;
}

// A replica that nothing can be copied to yet is not made, and none is given up for it.
bool needs_a_copy_soon(const Action& a) { return a.what == Do::add_replica || a.what == Do::replace_replica; }

// Of the volume whose replica is copied to; 0: nothing serves it.
std::size_t in_sync(const Cluster& cluster, const Action& a) {
  if (a.what != Do::fill_replica) {
    const NexusState* nexus = cluster.known_nexus(a.nexus);
    return nexus == nullptr ? 0 : in_sync(*nexus);
  }
  const auto volume = cluster.specs.volumes.find(a.volume);
  if (volume == cluster.specs.volumes.end()) return 0;
  const auto& replicas = cluster.replicas(a.volume);
  return static_cast<std::size_t>(std::count_if(replicas.begin(), replicas.end(), [&](const ReplicaSpec* r) {
    return cluster.good(volume->second, r->uuid);
  }));
}

}  // namespace

void queue_rebuilds(Plan& plan) {
  if (!plan.policy.rebuilds_max) return;
  const Cluster& cluster = plan.cluster;
  const bool any = std::any_of(plan.actions.begin(), plan.actions.end(), [&](const Action& a) {
    return begins_a_copy(cluster, a) || needs_a_copy_soon(a);
  });
  if (!any) return;
  struct Job {
    std::size_t in_sync;  // the fewer there are, the sooner
    bool full;            // what misses only a little is soon done
    std::uint64_t bytes;
    std::size_t index;
    bool operator<(const Job& o) const {
      return std::tie(in_sync, full, bytes, index) < std::tie(o.in_sync, o.full, o.bytes, o.index);
    }
  };
  const std::uint64_t running = cluster.rebuilds() + running_fills(cluster);
  const std::uint64_t limit = *plan.policy.rebuilds_max;
  const bool no_room = running >= limit;
  std::vector<bool> left_out(plan.actions.size());
  std::vector<Job> jobs;
  for (std::size_t i = 0; i < plan.actions.size(); ++i) {
    const Action& a = plan.actions[i];
    left_out[i] = no_room && needs_a_copy_soon(a);
    if (!begins_a_copy(cluster, a)) continue;
    const NexusState* nexus = cluster.known_nexus(a.nexus);
    jobs.push_back(
        {in_sync(cluster, a), a.what != Do::online_child, nexus == nullptr ? 0 : nexus->size_bytes, i});
  }
  std::sort(jobs.begin(), jobs.end());
  const std::size_t room = limit > running ? static_cast<std::size_t>(limit - running) : 0;
  for (std::size_t i = std::min(room, jobs.size()); i < jobs.size(); ++i) left_out[jobs[i].index] = true;
  std::vector<Action> kept;
  plan.held |= std::find(left_out.begin(), left_out.end(), true) != left_out.end();
  for (std::size_t i = 0; i < plan.actions.size(); ++i) {
    if (!left_out[i]) kept.push_back(std::move(plan.actions[i]));
  }
  plan.actions = std::move(kept);
}

}  // namespace holdfast::control
