#include "control/plan/cluster.h"

namespace holdfast::control {
namespace {

template <class Index, class Key>
const typename Index::mapped_type& all_of(const Index& index, const Key& key) {
  static const typename Index::mapped_type none;
  const auto found = index.find(key);
  return found == index.end() ? none : found->second;
}

}  // namespace

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
  Coming coming;
  for (const ReplicaSpec* r : all_of(index.creating_in_pool, pool)) {
    if (observed.replicas.contains(r->uuid)) continue;
    coming.bytes += r->size_bytes;
    if (!r->thin) coming.thick_bytes += r->size_bytes;
  }
  return coming;
}

PoolUse Cluster::use_of(const PoolState& pool) const {
  const Coming coming = coming_to(pool.id);
  PoolUse use{pool.free_bytes(), pool.committed_bytes + coming.bytes,
              all_of(index.replicas_of_pool, pool.id).size()};
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

bool Cluster::is_child(const ReplicaSpec& replica) const {
  const auto children_of = [this](const NexusSpec* nexus) -> const std::vector<ChildState>& {
    static const std::vector<ChildState> none;
    const NexusState* state = known_nexus(nexus->uuid);
    return state != nullptr ? state->children : none;
  };
  if (const auto& volume = replica.owners.volume ? replica.owners.volume : replica.released_by) {
    for (const NexusSpec* nexus : nexuses(*volume)) {
      for (const ChildState& child : children_of(nexus)) {
        if (child.replica == replica.uuid) return true;
      }
    }
  }
  if (!children_alone_) {
    children_alone_.emplace();
    for (const auto& [id, nexus] : index.nexuses_alone) {
      for (const ChildState& child : children_of(nexus)) {
        if (child.replica) children_alone_->insert(*child.replica);
      }
    }
  }
  return children_alone_->contains(replica.uuid);
}

const std::vector<const ReplicaSpec*>& Cluster::replicas(const Uuid& volume) const {
  return all_of(index.replicas_of_volume, volume);
}

const std::vector<const NexusSpec*>& Cluster::nexuses(const Uuid& volume) const {
  return all_of(index.nexuses_of_volume, volume);
}

const std::vector<const SnapshotSpec*>& Cluster::snapshots(const Uuid& volume) const {
  return all_of(index.snapshots_of_volume, volume);
}

bool Cluster::healthy(const VolumeSpec& volume, const Uuid& replica) const noexcept {
  const auto record = observed.memberships.find(volume.uuid);
  return record != observed.memberships.end() && record->second.healthy(replica);
}

bool Cluster::is_unrecorded(const VolumeSpec& volume) const noexcept {
  return volume.status == SpecStatus::created && !observed.memberships.contains(volume.uuid);
}

bool Cluster::good(const VolumeSpec& volume, const Uuid& replica) const noexcept {
  return healthy(volume, replica) && online_replica(replica) != nullptr;
}

}  // namespace holdfast::control
