// Builder: specs and states for tests of what is decided, as a healthy cluster has them; tests then break things.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "control/plan/cluster.h"
#include "control/plan/decide.h"

namespace holdfast::control::testing {

inline constexpr std::uint64_t mib = std::uint64_t{1} << 20;
inline constexpr std::uint64_t gib = std::uint64_t{1} << 30;
inline constexpr UnixNanos second = 1'000'000'000;

inline Uuid id(const std::string& name) { return Uuid::from_name(name); }

struct Builder {
  Specs specs;
  Observed observed;
  Claims claims;
  Outages outages;
  Policy policy;
  UnixNanos now = 1'000'000'000'000;
  std::optional<UnixNanos> due;  // of what was decided last
  bool held = false;             // the same

  void node(const NodeId& n, Labels labels = {}) {
    NodeSpec spec;
    spec.id = n;
    spec.labels = std::move(labels);
    spec.nqn = "nqn.node:" + n;
    specs.nodes[n] = spec;
    NodeState state;
    state.id = n;
    state.status = NodeStatus::online;
    state.synced = true;
    observed.nodes[n] = state;
  }
  void pool(const PoolId& p, const NodeId& n, std::uint64_t bytes = 10 * gib, Labels labels = {}) {
    PoolSpec spec;
    spec.id = p;
    spec.node = n;
    spec.disks = {"/dev/" + p};
    spec.labels = std::move(labels);
    spec.status = SpecStatus::created;
    specs.pools[p] = spec;
    PoolState state;
    state.id = p;
    state.node = n;
    state.uuid = id(p);
    state.capacity_bytes = bytes;
    state.status = PoolStatus::online;
    observed.pools[p] = state;
  }
  VolumeSpec& volume(const std::string& v, std::uint32_t replicas, std::uint64_t bytes = gib) {
    VolumeSpec spec;
    spec.uuid = id(v);
    spec.size_bytes = bytes;
    spec.num_replicas = replicas;
    spec.status = SpecStatus::created;
    return specs.volumes[spec.uuid] = spec;
  }
  // Owned by the volume, online and healthy.
  Uuid replica(const std::string& v, const PoolId& p) {
    const VolumeSpec& volume_spec = specs.volumes.at(id(v));
    ReplicaSpec spec;
    spec.uuid = id(v + "@" + p);
    spec.size_bytes = volume_spec.size_bytes;
    spec.pool = p;
    spec.thin = volume_spec.thin;
    spec.managed = true;
    spec.owners.volume = volume_spec.uuid;
    spec.status = SpecStatus::created;
    specs.replicas[spec.uuid] = spec;
    ReplicaState state;
    state.uuid = spec.uuid;
    state.node = specs.pools.at(p).node;
    state.pool = p;
    state.size_bytes = spec.size_bytes;
    state.thin = spec.thin;
    state.uri = "bdev:///" + spec.uuid.to_string() + "?uuid=" + spec.uuid.to_string();
    state.status = ReplicaStatus::online;
    observed.replicas[spec.uuid] = state;
    observed.memberships[volume_spec.uuid].members.push_back({spec.uuid, true});
    PoolState& pool_state = observed.pools.at(p);
    pool_state.committed_bytes += spec.size_bytes;
    if (!spec.thin) pool_state.used_bytes += spec.size_bytes;
    return spec.uuid;
  }
  // With a replica on each pool.
  VolumeSpec& volume_on(const std::string& v, const std::vector<PoolId>& pools, std::uint64_t bytes = gib) {
    volume(v, static_cast<std::uint32_t>(pools.size()), bytes);
    for (const PoolId& p : pools) replica(v, p);
    return specs.volumes.at(id(v));
  }
  // Every replica of the volume is a child in sync.
  NexusState& publish(const std::string& v, const NodeId& n) {
    VolumeSpec& volume_spec = specs.volumes.at(id(v));
    NexusSpec spec;
    spec.uuid = id(v + " target on " + n);
    spec.name = volume_spec.uuid.to_string();
    spec.node = n;
    spec.size_bytes = volume_spec.size_bytes;
    spec.share = Protocol::nvmf;
    spec.owner = volume_spec.uuid;
    spec.status = SpecStatus::created;
    NexusState state;
    state.uuid = spec.uuid;
    state.node = n;
    state.size_bytes = spec.size_bytes;
    state.status = NexusStatus::online;
    state.protocol = Protocol::nvmf;
    for (auto& [uuid, r] : specs.replicas) {
      if (r.owners.volume != volume_spec.uuid) continue;
      ReplicaState& seen = observed.replicas.at(uuid);
      if (seen.node != n) {
        r.share = seen.share = Protocol::nvmf;
        r.allowed_hosts = seen.allowed_hosts = {specs.nodes.at(n).nqn};
        seen.uri = "nvmf://" + seen.node + "/" + uuid.to_string() + "?uuid=" + uuid.to_string();
      }
      ChildState child;
      child.uri = seen.uri;
      child.replica = uuid;
      child.status = ChildStatus::online;
      state.children.push_back(child);
    }
    volume_spec.target = VolumeTarget{n, spec.uuid, Protocol::nvmf, {}};
    specs.nexuses[spec.uuid] = spec;
    return observed.nexuses[spec.uuid] = state;
  }
  ChildState& child(const std::string& v, const PoolId& p) {
    NexusState& nexus = observed.nexuses.at(specs.volumes.at(id(v)).target->nexus);
    for (ChildState& c : nexus.children) {
      if (c.replica == id(v + "@" + p)) return c;
    }
    std::abort();
  }
  // Its writes failed: out of the target, and known not to have all data.
  void fault(const std::string& v, const PoolId& p, ChildReason reason = ChildReason::io_failure) {
    ChildState& c = child(v, p);
    c.status = ChildStatus::faulted;
    c.reason = reason;
    observed.nexuses.at(specs.volumes.at(id(v)).target->nexus).status = NexusStatus::degraded;
    for (auto& m : observed.memberships.at(id(v)).members) {
      if (m.replica == *c.replica) m.healthy = false;
    }
  }
  void stop_node(const NodeId& n) {
    observed.nodes.at(n).status = NodeStatus::offline;
    observed.nodes.at(n).synced = false;
  }
  void fail_pool(const PoolId& p) {
    observed.pools.at(p).status = PoolStatus::faulted;
    for (auto& [uuid, r] : observed.replicas) {
      if (r.pool == p) r.status = ReplicaStatus::faulted;
    }
  }

  std::vector<Action> decide_now() {
    const Cluster cluster(specs, observed, claims);
    Decision decision = decide(cluster, outages, {policy, now});
    due = decision.due;
    held = decision.held;
    return std::move(decision.actions);
  }
  std::vector<Action> decide_after(UnixNanos wait) {
    decide_now();
    now += wait;
    return decide_now();
  }
  std::vector<std::string> decided() {
    std::vector<std::string> names;
    for (const Action& a : decide_now()) names.emplace_back(name(a.what));
    return names;
  }
};

// Nodes n1, n2, n3 with the pools p1, p2, p3.
inline Builder three_nodes() {
  Builder b;
  for (const char* n : {"1", "2", "3"}) {
    b.node(std::string("n") + n);
    b.pool(std::string("p") + n, std::string("n") + n);
  }
  return b;
}

// Those, with the volume v on p1 and p2, published by n1.
inline Builder published() {
  Builder b = three_nodes();
  b.volume_on("v", {"p1", "p2"});
  b.publish("v", "n1");
  return b;
}

}  // namespace holdfast::control::testing
