#include "control/plan/status.h"

#include <algorithm>

#include <fmt/format.h>

namespace holdfast::control {
namespace {

ReplicaTopology topology_of(const Cluster& cluster, const VolumeSpec& volume, const ReplicaSpec& spec,
                            const NexusState* target) {
  ReplicaTopology t;
  t.pool = spec.pool;
  if (const NodeId node = cluster.node_id_of_pool(spec.pool); !node.empty()) t.node = node;
  t.healthy = cluster.healthy(volume, spec.uuid);
  const auto seen = cluster.observed.replicas.find(spec.uuid);
  if (seen != cluster.observed.replicas.end()) {
    // What a node that does not answer said last is no state.
    t.status = cluster.observed.node_online(seen->second.node) ? seen->second.status : ReplicaStatus::unknown;
    t.usage = seen->second.space;
  }
  if (target == nullptr) return t;
  if (const ChildState* child = target->find(spec.uuid)) {
    t.child_status = child->status;
    if (child->reason != ChildReason::none) t.child_reason = child->reason;
    t.rebuild_percent = child->rebuild_percent;
  }
  return t;
}

// With the host that alone may connect: whoever is given the address connects as that one.
std::string address_of(const NexusState& nexus) {
  if (nexus.device_uri.empty() || nexus.allowed_hosts.size() != 1) return nexus.device_uri;
  std::string host;
  for (const char c : nexus.allowed_hosts.front()) {
    const bool reserved = std::string_view("%&#+").find(c) != std::string_view::npos;
    host += reserved ? fmt::format("%{:02X}", static_cast<unsigned char>(c)) : std::string(1, c);
  }
  const char joint = nexus.device_uri.find('?') == std::string::npos ? '?' : '&';
  return fmt::format("{}{}hostnqn={}", nexus.device_uri, joint, host);
}

VolumeUsage usage_of(const VolumeSpec& volume, const std::map<Uuid, ReplicaTopology>& replicas) {
  VolumeUsage u;
  u.capacity_bytes = volume.size_bytes;
  for (const auto& [id, r] : replicas) {
    if (!r.usage) continue;
    const ReplicaSpace& s = *r.usage;
    u.allocated_replica_bytes = std::max(u.allocated_replica_bytes, s.allocated_bytes);
    u.allocated_snapshots_bytes = std::max(u.allocated_snapshots_bytes, s.allocated_snapshots_bytes);
    u.allocated_all_snapshots_bytes =
        std::max(u.allocated_all_snapshots_bytes, s.allocated_all_snapshots_bytes);
    u.total_allocated_replicas_bytes += s.allocated_bytes;
    u.total_allocated_snapshots_bytes += s.allocated_snapshots_bytes;
  }
  u.allocated_bytes = u.allocated_replica_bytes + u.allocated_snapshots_bytes;
  u.total_allocated_bytes = u.total_allocated_replicas_bytes + u.total_allocated_snapshots_bytes;
  return u;
}

void judge_published(const Cluster& cluster, const VolumeSpec& volume, VolumeState& state) {
  if (!state.target) {
    state.status = VolumeStatus::unknown;
    state.reason = cluster.observed.node_online(volume.target->node)
                       ? fmt::format("node {} does not have its target yet", volume.target->node)
                       : fmt::format("node {} with its target does not answer", volume.target->node);
    return;
  }
  const NexusState& target = *state.target;
  const auto in_sync = static_cast<std::size_t>(
      std::count_if(target.children.begin(), target.children.end(),
                    [](const ChildState& c) { return c.status == ChildStatus::online; }));
  switch (target.status) {
    case NexusStatus::online:
    case NexusStatus::degraded:
      // One more, while a replica moves, takes nothing away.
      state.status = in_sync >= volume.num_replicas ? VolumeStatus::online : VolumeStatus::degraded;
      state.reason = fmt::format("{} of {} replicas are in sync", in_sync, volume.num_replicas);
      break;
    case NexusStatus::faulted:
      state.status = VolumeStatus::faulted;
      state.reason = "no replica that holds all data can be reached: I/O waits";
      break;
    case NexusStatus::shutting_down:
    case NexusStatus::shutdown:
      state.status = VolumeStatus::shutdown;
      state.reason = "its target was shut down";
      break;
    case NexusStatus::unknown:
      state.status = VolumeStatus::unknown;
      state.reason = "the state of its target is not known";
      break;
  }
}

void judge_unpublished(const VolumeSpec& volume, VolumeState& state) {
  const auto good =
      static_cast<std::size_t>(std::count_if(state.replicas.begin(), state.replicas.end(), [](const auto& r) {
        return r.second.healthy && r.second.status == ReplicaStatus::online;
      }));
  state.status = good >= volume.num_replicas ? VolumeStatus::online
                 : good > 0                  ? VolumeStatus::degraded
                                             : VolumeStatus::faulted;
  state.reason = fmt::format("{} of {} replicas can be reached and hold all data", good, volume.num_replicas);
}

}  // namespace

VolumeState volume_state(const Cluster& cluster, const VolumeSpec& volume) {
  VolumeState state;
  state.uuid = volume.uuid;
  state.size_bytes = volume.size_bytes;
  // What copies shows in its replicas; as a target it is nobody's but the agent's.
  const VolumeTarget* server = volume.server();
  const NexusState* nexus = server != nullptr ? cluster.known_nexus(server->nexus) : nullptr;
  if (volume.target && nexus != nullptr) {
    state.target = *nexus;
    state.target->device_uri = address_of(*nexus);
  }
  for (const ReplicaSpec* r : cluster.replicas(volume.uuid)) {
    if (r->status == SpecStatus::creating && volume.status == SpecStatus::creating) continue;
    state.replicas[r->uuid] = topology_of(cluster, volume, *r, nexus);
  }
  state.usage = usage_of(volume, state.replicas);
  if (volume.target) {
    judge_published(cluster, volume, state);
  } else {
    judge_unpublished(volume, state);
  }
  if (state.status == VolumeStatus::online) state.reason.clear();
  if (cluster.is_unrecorded(volume)) {
    state.reason =
        "the store does not say which of its replicas hold all data, so it is left alone: "
        "'holdfast adopt' asks the replicas";
  }
  return state;
}

}  // namespace holdfast::control
