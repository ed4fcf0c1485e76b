// Cluster: specs and states of one moment, indexed for those who decide. Pure: nothing here changes anything.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/uuid.h"
#include "control/model/specs.h"
#include "control/model/state.h"
#include "control/plan/index.h"

namespace holdfast::control {

// What operations under way have taken, and no spec shows yet.
struct Claims {
  std::map<PoolId, std::uint64_t> thick_bytes;  // room for replicas that are not thin
  std::map<PoolId, std::uint64_t> bytes;        // sizes of all replicas
  std::set<PoolId> closing;                     // pools that are about to be deleted
  std::uint64_t rebuilds = 0;                   // that engines are being asked for
  std::multiset<std::string> group_nodes;       // "group\nnode" where a replica of the group is being placed
};

// What a pool has, with what is on its way there.
struct PoolUse {
  std::uint64_t free_bytes = 0;
  std::uint64_t committed_bytes = 0;
  std::size_t replicas = 0;
};

// Cheap to make, and of its moment: what it refers to goes on changing, and some of what was asked is remembered.
struct Cluster {
  // `index` is that of these specs.
  Cluster(const Specs& specs, const Index& index, const Observed& observed, const Claims& claims);
  // Indexes the specs itself.
  Cluster(const Specs& specs, const Observed& observed, const Claims& claims);
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

 private:
  const std::unique_ptr<const Index> own_index_;

 public:
  const Specs& specs;
  const Observed& observed;
  const Claims& claims;
  const Index& index;

  // The pool, while its node is online and it is itself online or degraded.
  const PoolState* usable_pool(const PoolId& id) const noexcept;
  PoolUse use_of(const PoolState& pool) const;
  std::uint64_t rebuilds() const;  // that run now, or are about to
  const NodeSpec* node_of_pool(const PoolId& id) const noexcept;
  // Empty when the pool is not known.
  NodeId node_id_of_pool(const PoolId& id) const;
  // What its engine reports, while that can be relied on and the replica is online.
  const ReplicaState* online_replica(const Uuid& id) const noexcept;
  const NexusState* known_nexus(const Uuid& id) const noexcept;
  // A nexus of the volume that it is or was of, or one of no volume, has the replica; and its node is online.
  bool is_child(const ReplicaSpec& replica) const;
  const std::vector<const ReplicaSpec*>& replicas(const Uuid& volume) const;
  const std::vector<const NexusSpec*>& nexuses(const Uuid& volume) const;
  const std::vector<const SnapshotSpec*>& snapshots(const Uuid& volume) const;
  // The membership record says so: it is written when the volume is created.
  bool healthy(const VolumeSpec& volume, const Uuid& replica) const noexcept;
  // Complete, and yet the store does not say which of its replicas hold all data: it was lost, or restored from a
  // backup. Whatever is done might use a stale one, or stop what serves the volume; so nothing is, until it is adopted.
  bool is_unrecorded(const VolumeSpec& volume) const noexcept;
  // Healthy, and its engine reports it online.
  bool good(const VolumeSpec& volume, const Uuid& replica) const noexcept;

 private:
  // What no engine shows yet.
  struct Coming {
    std::uint64_t thick_bytes = 0;
    std::uint64_t bytes = 0;
  };
  Coming coming_to(const PoolId& pool) const;
  mutable std::optional<std::set<Uuid>> children_alone_;  // of nexuses of no volume
};

}  // namespace holdfast::control
