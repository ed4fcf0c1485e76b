#include "control_cluster.h"

#include <string>

#include <fmt/format.h>

#include "base/assert.h"
#include "base/units.h"

namespace holdfast::control::figures {
namespace {

constexpr unsigned pools_per_node = 2;
constexpr unsigned replicas_per_volume = 3;
constexpr std::uint64_t volume_bytes = GiB;

NodeId node_id(unsigned n) { return fmt::format("node-{}", n); }
PoolId pool_id(unsigned n, unsigned p) { return fmt::format("pool-{}-{}", n, p); }

void add_pool(ClusterData& c, const NodeId& node, const PoolId& id) {
  PoolSpec spec;
  spec.id = id;
  spec.node = node;
  spec.disks = {"/dev/disk/by-id/" + id};
  spec.status = SpecStatus::created;
  c.specs.pools[id] = spec;
  PoolState state;
  state.id = id;
  state.node = node;
  state.uuid = Uuid::from_name(id);
  state.disks = spec.disks;
  state.capacity_bytes = std::uint64_t{64} * 1024 * GiB;
  state.cluster_bytes = MiB;
  state.status = PoolStatus::online;
  c.observed.pools[id] = state;
}

void add_node(ClusterData& c, unsigned n) {
  NodeSpec spec;
  spec.id = node_id(n);
  spec.grpc_endpoint = fmt::format("127.0.0.1:{}", 1 + n);
  spec.nqn = "nqn.2019-05.io.openebs:node-name:" + spec.id;
  spec.version = "0.1.0";
  c.specs.nodes[spec.id] = spec;
  NodeState state;
  state.id = spec.id;
  state.grpc_endpoint = spec.grpc_endpoint;
  state.status = NodeStatus::online;
  state.synced = true;
  state.nqn = spec.nqn;
  state.instance = spec.id + "-1";
  c.observed.nodes[spec.id] = state;
  for (unsigned p = 0; p < pools_per_node; ++p) add_pool(c, spec.id, pool_id(n, p));
}

// Its child in the target on `server`.
ChildState add_replica(ClusterData& c, const VolumeSpec& volume, const PoolId& pool, const NodeSpec& server) {
  PoolState& pool_state = c.observed.pools.at(pool);
  ReplicaSpec spec;
  spec.uuid = Uuid::from_name(volume.uuid.to_string() + pool);
  spec.size_bytes = volume.size_bytes;
  spec.pool = pool;
  spec.pool_uuid = pool_state.uuid;
  spec.thin = true;
  spec.managed = true;
  spec.owners.volume = volume.uuid;
  spec.status = SpecStatus::created;
  const std::string uuid = spec.uuid.to_string();
  ReplicaState state;
  state.uri = fmt::format("bdev:///{0}?uuid={0}", uuid);
  if (pool_state.node != server.id) {
    spec.share = Protocol::nvmf;
    spec.allowed_hosts = {server.nqn};
    state.uri = fmt::format("nvmf://{}:8420/nqn.2019-05.io.openebs:{}?uuid={}", pool_state.node, uuid, uuid);
  }
  state.uuid = spec.uuid;
  state.name = uuid;
  state.node = pool_state.node;
  state.pool = pool;
  state.pool_uuid = pool_state.uuid;
  state.size_bytes = spec.size_bytes;
  state.thin = true;
  state.share = spec.share;
  state.allowed_hosts = spec.allowed_hosts;
  state.status = ReplicaStatus::online;
  state.space.capacity_bytes = spec.size_bytes;
  state.space.allocated_bytes = spec.size_bytes / 4;
  state.entity_id = volume.uuid.to_string();
  pool_state.committed_bytes += spec.size_bytes;
  pool_state.used_bytes += state.space.allocated_bytes;
  c.observed.memberships[volume.uuid].members.push_back({spec.uuid, true});
  ChildState child;
  child.uri = state.uri;
  child.replica = spec.uuid;
  child.status = ChildStatus::online;
  c.observed.replicas[state.uuid] = state;
  c.specs.replicas[spec.uuid] = std::move(spec);
  return child;
}

void add_volume(ClusterData& c, unsigned v, unsigned nodes) {
  const NodeSpec& server = c.specs.nodes.at(node_id(v % nodes));
  VolumeSpec volume;
  volume.uuid = Uuid::from_name(fmt::format("volume {}", v));
  volume.size_bytes = volume_bytes;
  volume.num_replicas = replicas_per_volume;
  volume.thin = true;
  volume.labels = {{"app", fmt::format("app-{}", v % 17)}};
  volume.publish_count = 1;
  volume.status = SpecStatus::created;
  NexusSpec nexus;
  nexus.uuid = Uuid::from_name(fmt::format("nexus {}", v));
  nexus.name = volume.uuid.to_string();
  nexus.node = server.id;
  nexus.size_bytes = volume.size_bytes;
  nexus.share = Protocol::nvmf;
  nexus.owner = volume.uuid;
  nexus.reservation_key = v + 1;
  nexus.status = SpecStatus::created;
  volume.target = VolumeTarget{server.id, nexus.uuid, Protocol::nvmf, {}};
  NexusState state;
  state.uuid = nexus.uuid;
  state.name = nexus.name;
  state.node = nexus.node;
  state.size_bytes = nexus.size_bytes;
  state.status = NexusStatus::online;
  state.protocol = Protocol::nvmf;
  state.device_uri = fmt::format("nvmf://{}:8420/nqn.2019-05.io.openebs:{}", server.id, nexus.name);
  for (unsigned r = 0; r < replicas_per_volume; ++r) {
    const PoolId pool = pool_id((v + r * (1 + v / nodes % (nodes / 3))) % nodes, v % pools_per_node);
    state.children.push_back(add_replica(c, volume, pool, server));
    nexus.children.push_back({state.children.back().uri, state.children.back().replica});
  }
  c.observed.nexuses[state.uuid] = std::move(state);
  c.specs.nexuses[nexus.uuid] = std::move(nexus);
  c.specs.volumes[volume.uuid] = std::move(volume);
}

void fill_reports(ClusterData& c) {
  for (const auto& [id, node] : c.specs.nodes) {
    Registration& engine = c.reports[id].engine;
    engine.id = id;
    engine.grpc_endpoint = node.grpc_endpoint;
    engine.instance = id + "-1";
    engine.nqn = node.nqn;
    engine.version = node.version;
  }
  for (const auto& [id, pool] : c.observed.pools) c.reports.at(pool.node).pools.push_back(pool);
  for (const auto& [id, replica] : c.observed.replicas)
    c.reports.at(replica.node).replicas.push_back(replica);
  for (const auto& [id, nexus] : c.observed.nexuses) c.reports.at(nexus.node).nexuses.push_back(nexus);
}

}  // namespace

ClusterData make_cluster(unsigned volumes, unsigned nodes) {
  HF_ASSERT(nodes >= replicas_per_volume);
  ClusterData c;
  for (unsigned n = 0; n < nodes; ++n) add_node(c, n);
  for (unsigned v = 0; v < volumes; ++v) add_volume(c, v, nodes);
  fill_reports(c);
  return c;
}

void lose_node(ClusterData& c, const NodeId& node) {
  NodeState& state = c.observed.nodes.at(node);
  state.status = NodeStatus::offline;
  state.synced = false;
  for (auto& [id, nexus] : c.observed.nexuses) {
    if (nexus.node == node) continue;
    for (ChildState& child : nexus.children) {
      if (c.observed.replicas.at(*child.replica).node != node) continue;
      child.status = ChildStatus::faulted;
      child.reason = ChildReason::io_failure;
      nexus.status = NexusStatus::degraded;
      for (auto& m : c.observed.memberships.at(*c.specs.nexuses.at(id).owner).members) {
        if (m.replica == *child.replica) m.healthy = false;
      }
    }
  }
}

}  // namespace holdfast::control::figures
