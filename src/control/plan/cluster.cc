#include "control/plan/cluster.h"

namespace holdfast::control {

Cluster::Cluster(const Specs& s, const Observed& o, const Claims& c) : specs(s), observed(o), claims(c) {
  for (const auto& [id, replica] : specs.replicas) {
    if (replica.owners.volume) replicas_of_volume[*replica.owners.volume].push_back(&replica);
    replicas_of_pool[replica.pool].push_back(&replica);
  }
  for (const auto& [id, nexus] : specs.nexuses) {
    if (nexus.owner) nexuses_of_volume[*nexus.owner].push_back(&nexus);
    if (nexus.status != SpecStatus::deleting) ++targets_of_node[nexus.node];
  }
  for (const auto& [id, snapshot] : specs.snapshots) {
    snapshots_of_volume[snapshot.volume].push_back(&snapshot);
    for (const auto& [transaction, parts] : snapshot.transactions) {
      for (const auto& part : parts) ++snapshot_parts_of_pool[part.pool];
    }
  }
  for (const auto& [id, volume] : specs.volumes) {
    if (volume.affinity_group) volumes_of_group[*volume.affinity_group].push_back(&volume);
  }
  for (const auto& [id, nexus] : observed.nexuses) {
    if (observed.node_online(nexus.node)) rebuilds += nexus.rebuilds;
  }
}

const PoolState* Cluster::usable_pool(const PoolId& id) const noexcept {
  const auto found = observed.pools.find(id);
  if (found == observed.pools.end()) return nullptr;
  const PoolState& pool = found->second;
  const bool works = pool.status == PoolStatus::online || pool.status == PoolStatus::degraded;
  return works && observed.node_online(pool.node) ? &pool : nullptr;
}

PoolUse Cluster::use_of(const PoolState& pool) const {
  PoolUse use{pool.free_bytes(), pool.committed_bytes, 0};
  std::uint64_t coming = 0;
  const auto here = replicas_of_pool.find(pool.id);
  if (here != replicas_of_pool.end()) {
    for (const ReplicaSpec* r : here->second) {
      ++use.replicas;
      if (observed.replicas.contains(r->uuid) || r->status != SpecStatus::creating) continue;
      use.committed_bytes += r->size_bytes;
      if (!r->thin) coming += r->size_bytes;
    }
  }
  const auto claimed = claims.thick_bytes.find(pool.id);
  if (claimed != claims.thick_bytes.end()) coming += claimed->second;
  const auto committed = claims.bytes.find(pool.id);
  if (committed != claims.bytes.end()) use.committed_bytes += committed->second;
  use.free_bytes = use.free_bytes > coming ? use.free_bytes - coming : 0;
  return use;
}

const NodeSpec* Cluster::node_of_pool(const PoolId& id) const noexcept {
  const auto pool = specs.pools.find(id);
  if (pool == specs.pools.end()) return nullptr;
  const auto node = specs.nodes.find(pool->second.node);
  return node == specs.nodes.end() ? nullptr : &node->second;
}

NodeId Cluster::node_id_of_pool(const PoolId& id) const {
  const auto pool = specs.pools.find(id);
  return pool == specs.pools.end() ? NodeId() : pool->second.node;
}

const ReplicaState* Cluster::online_replica(const Uuid& id) const noexcept {
  const auto found = observed.replicas.find(id);
  if (found == observed.replicas.end()) return nullptr;
  const ReplicaState& r = found->second;
  const bool works = r.status == ReplicaStatus::online || r.status == ReplicaStatus::degraded;
  return works && usable_pool(r.pool) != nullptr ? &r : nullptr;
}

const NexusState* Cluster::known_nexus(const Uuid& id) const noexcept {
  const auto found = observed.nexuses.find(id);
  return found != observed.nexuses.end() && observed.node_online(found->second.node) ? &found->second
                                                                                     : nullptr;
}

const std::vector<const ReplicaSpec*>& Cluster::replicas(const Uuid& volume) const {
  static const std::vector<const ReplicaSpec*> none;
  const auto found = replicas_of_volume.find(volume);
  return found == replicas_of_volume.end() ? none : found->second;
}

bool Cluster::healthy(const VolumeSpec& volume, const Uuid& replica) const noexcept {
  const auto record = observed.memberships.find(volume.uuid);
  return record != observed.memberships.end() && record->second.healthy(replica);
}

bool Cluster::good(const VolumeSpec& volume, const Uuid& replica) const noexcept {
  return healthy(volume, replica) && online_replica(replica) != nullptr;
}

}  // namespace holdfast::control
