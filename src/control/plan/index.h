// Index: which specs belong together. Whoever keeps specs keeps it up to date, record by record, so that nobody who
// asks pays for all that there is.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/uuid.h"
#include "control/model/specs.h"

namespace holdfast::control {

struct Index {
  Index() = default;
  explicit Index(const Specs& specs);

  // The spec stays where it is until it is removed, and does not change: one that is to change is removed before
  // and added after.
  void add(const ReplicaSpec& replica);
  void add(const NexusSpec& nexus);
  void add(const VolumeSpec& volume);
  void add(const SnapshotSpec& snapshot);
  void remove(const ReplicaSpec& replica);
  void remove(const NexusSpec& nexus);
  void remove(const VolumeSpec& volume);
  void remove(const SnapshotSpec& snapshot);

  // By UUID within each; nothing is kept of those that have none.
  ById<std::vector<const ReplicaSpec*>> replicas_of_volume;  // owned by it
  std::map<PoolId, std::vector<const ReplicaSpec*>> replicas_of_pool;
  std::map<PoolId, std::vector<const ReplicaSpec*>> creating_in_pool;
  ById<std::vector<const NexusSpec*>> nexuses_of_volume;
  ById<const ReplicaSpec*> replicas_alone;  // of no volume
  ById<const NexusSpec*> nexuses_alone;
  ById<std::vector<const SnapshotSpec*>> snapshots_of_volume;
  ById<const SnapshotSpec*>
      unsettled_snapshots;  // those with something else than parts that are there to stay
  std::map<std::string, std::vector<const VolumeSpec*>> volumes_of_group;
  std::map<NodeId, std::size_t> targets_of_node;
  std::map<PoolId, std::size_t> snapshot_parts_of_pool;
  ById<std::size_t> restores_of_snapshot;  // volumes that began with what is in it

  bool operator==(const Index&) const = default;
};

}  // namespace holdfast::control
