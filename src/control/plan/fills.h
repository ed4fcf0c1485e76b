// Which copies of its volume's snapshots a new replica is to get, and from which replica (docs/adr/0016).
#pragma once

#include <vector>

#include "control/plan/cluster.h"

namespace holdfast::control {

struct FillPlan {
  struct Copy {
    const SnapshotSpec* snapshot = nullptr;
    Uuid from;  // part of the source
    Uuid to;    // that of the replica, whether it is there yet or not
  };
  // In sync, on another node; of these the one with the most of them. nullptr: no such replica can be reached.
  const ReplicaSpec* source = nullptr;
  std::vector<Copy> copies;                    // by snapshot
  std::vector<const SnapshotSpec*> unplanned;  // that it is to get, too, and has no part of yet
};

// Every snapshot that the source has is copied, so that each replica of a volume can be the source of the next one.
FillPlan plan_fill(const Cluster& cluster, const VolumeSpec& volume, const ReplicaSpec& replica);

}  // namespace holdfast::control
