// Adoption: the specs of a cluster whose store was lost, rebuilt from what its engines have (architecture.md, P11).
// Pure: from what is reported to what is to be written, with a reason for everything that is not taken.
//
// Which replicas of a volume hold every acknowledged write say, in this order: the target that serves it, if it runs;
// the newest membership that a replica knows of. Of the replicas that this one calls healthy those count that saw the
// latest epoch: a membership changes with a new epoch, so one that left since has not seen it. A volume is not taken
// while a replica that may be newer than all others is not reported.
//
// A volume that the store has, but without its membership, was restored from a backup. It is as its replicas say, too.
#pragma once

#include <string>
#include <vector>

#include "control/model/record.h"
#include "control/plan/cluster.h"

namespace holdfast::control {

struct AdoptRequest {
  bool dry_run = false;
  bool skip_conflicts = false;  // adopt what can be, instead of nothing
  // Replicas that are to be taken for the newest of their volumes, although nothing shows that they are. Not where
  // a target serves the volume: it knows.
  std::vector<Uuid> take;
};

enum class Verdict : std::uint8_t {
  adopted,
  present,   // the store has it already
  left,      // nothing says that it belongs to this cluster, or that it is still wanted: it is not touched
  skipped,   // something has to happen first
  conflict,  // the store, or a replica, says something else
};
template <>
struct Names<Verdict> {
  static constexpr std::string_view values[] = {"adopted", "present", "left", "skipped", "conflict"};
};

struct Finding {
  std::string kind;  // "node", "pool", "volume", "replica", "snapshot"
  std::string id;
  Verdict verdict{};
  std::string why;
  std::vector<Uuid> in_sync;  // of a volume that is adopted: the replicas that hold all data
  std::vector<Uuid> stale;    // and those that are brought up to date from them
};

struct AdoptPlan {
  struct Volume {
    VolumeSpec volume;
    std::vector<ReplicaSpec> replicas;
    std::optional<NexusSpec> target;
    std::optional<Membership> membership;  // none: the store has one
  };
  std::vector<Finding> findings;
  std::vector<NodeSpec> nodes;  // with labels that were lost
  std::vector<PoolSpec> pools;
  std::vector<Volume> volumes;
  std::vector<SnapshotSpec> snapshots;

  const Finding* first_conflict() const noexcept;
};

AdoptPlan plan_adoption(const Cluster& cluster, const std::vector<KeptRecord>& records,
                        const AdoptRequest& request);

// How a part of a snapshot is called on its engine, so that it can be found again. `part`: nil where one name is for
// all parts.
std::string snapshot_part_name(const Uuid& snapshot, const std::string& transaction, const Uuid& part);
// The snapshot; none when the name is of another form or of another attempt.
std::optional<Uuid> snapshot_of_part(std::string_view name, std::string_view transaction);

}  // namespace holdfast::control
