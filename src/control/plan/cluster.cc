#include "control/plan/cluster.h"

namespace holdfast::control {

Cluster::Cluster(const Specs& s, const Index& i, const Observed& o, const Claims& c)
    : specs(s), observed(o), claims(c), index(i) {}

Cluster::Cluster(const Specs& s, const Observed& o, const Claims& c)
    : own_index_(std::make_unique<Index>(s)), specs(s), observed(o), claims(c), index(*own_index_) {}

std::uint64_t Cluster::rebuilds() const {
  std::uint64_t running = claims.rebuilds;
  for (const auto& [id, nexus] : observed.nexuses) {
    if (nexus.rebuilds != 0 && observed.node_online(nexus.node)) running += nexus.rebuilds;
  }
  return running;
}

const PoolState* Cluster::usable_pool(const PoolId& id) const noexcept {
  const auto found = observed.pools.find(id);
  if (found == observed.pools.end()) return nullptr;
  const PoolState& pool = found->second;
  const bool works = pool.status == PoolStatus::online || pool.status == PoolStatus::degraded;
  return works && observed.node_online(pool.node) ? &pool : nullptr;
}

Cluster::Coming Cluster::coming_to(const PoolId& pool) const {
  const auto known = coming_.find(pool);
  if (known != coming_.end()) return known->second;
  Coming coming;
  const auto here = index.replicas_of_pool.find(pool);
  if (here != index.replicas_of_pool.end()) {
    coming.replicas = here->second.size();
    for (const ReplicaSpec* r : here->second) {
      if (r->status != SpecStatus::creating || observed.replicas.contains(r->uuid)) continue;
      coming.bytes += r->size_bytes;
      if (!r->thin) coming.thick_bytes += r->size_bytes;
    }
  }
  coming_[pool] = coming;
  return coming;
}

PoolUse Cluster::use_of(const PoolState& pool) const {
  const Coming coming = coming_to(pool.id);
  PoolUse use{pool.free_bytes(), pool.committed_bytes + coming.bytes, coming.replicas};
  std::uint64_t taken = coming.thick_bytes;
  const auto claimed = claims.thick_bytes.find(pool.id);
  if (claimed != claims.thick_bytes.end()) taken += claimed->second;
  const auto committed = claims.bytes.find(pool.id);
  if (committed != claims.bytes.end()) use.committed_bytes += committed->second;
  use.free_bytes = use.free_bytes > taken ? use.free_bytes - taken : 0;
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

bool Cluster::is_child(const Uuid& replica) const {
  if (!children_) {
    children_.emplace();
    for (const auto& [id, nexus] : observed.nexuses) {
      if (!observed.node_online(nexus.node) || !specs.nexuses.contains(id)) continue;
      for (const ChildState& child : nexus.children) {
        if (child.replica) (*children_)[*child.replica] = true;
      }
    }
  }
  return children_->contains(replica);
}

const std::vector<const ReplicaSpec*>& Cluster::replicas(const Uuid& volume) const {
  static const std::vector<const ReplicaSpec*> none;
  const auto found = index.replicas_of_volume.find(volume);
  return found == index.replicas_of_volume.end() ? none : found->second;
}

const std::vector<const SnapshotSpec*>& Cluster::snapshots(const Uuid& volume) const {
  static const std::vector<const SnapshotSpec*> none;
  const auto found = index.snapshots_of_volume.find(volume);
  return found == index.snapshots_of_volume.end() ? none : found->second;
}

bool Cluster::healthy(const VolumeSpec& volume, const Uuid& replica) const noexcept {
  const auto record = observed.memberships.find(volume.uuid);
  return record != observed.memberships.end() && record->second.healthy(replica);
}

bool Cluster::good(const VolumeSpec& volume, const Uuid& replica) const noexcept {
  return healthy(volume, replica) && online_replica(replica) != nullptr;
}

}  // namespace holdfast::control
