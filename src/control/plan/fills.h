// Which copies of its volume's snapshots a new replica is to get, and from which replica (docs/adr/0016).
#pragma once

#include <vector>

#include "control/plan/decide.h"

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

// The volume's snapshots that every replica of it is to have.
std::vector<const SnapshotSpec*> snapshots_to_copy(const Cluster& cluster, const VolumeSpec& volume);

// Every snapshot that the source has is copied, so that each replica of a volume can be the source of the next one.
FillPlan plan_fill(const Cluster& cluster, const VolumeSpec& volume, const ReplicaSpec& replica);

// Fills that have had their turn, of replicas that can be reached: each counts as one rebuild.
std::uint64_t running_fills(const Cluster& cluster);

// The part was left behind by a replica that its volume has released, and every replica of the volume has a whole copy
// that its engine reports.
bool is_surplus(const Cluster& cluster, const SnapshotSpec& snapshot, const ReplicaSnapshotSpec& part);

// So that pools that are being emptied become empty: what is surplus there goes.
void reconcile_surplus(Plan& plan);

}  // namespace holdfast::control
