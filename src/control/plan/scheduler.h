// Where replicas and targets go: hard filters, then weights.
//
// All constraints of a volume hold together, for the first replica as for one that is added years later: never two
// replicas on a node, labels of nodes and pools, spread, affinity, cordons, room. Every pool that is not taken is
// named with the reason.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "control/plan/cluster.h"

namespace holdfast::control {

// Percent, and bytes; the defaults are those of the contract.
struct CapacityLimits {
  std::uint64_t pool_commitment = 250;           // sizes of all replicas against the capacity
  std::uint64_t volume_commitment = 40;          // free room that a thin volume with data needs, of its size
  std::uint64_t volume_commitment_initial = 40;  // the same before anything is written
  std::uint64_t snapshot_commitment = 40;        // free room that a snapshot needs, of the volume's size
  std::uint64_t free_bytes_min = std::uint64_t{16} << 20;
};

// What the smallest replica that can be published has: 5 MiB at its start, and a little at its end, are its target's.
constexpr std::uint64_t served_bytes_min = std::uint64_t{6} << 20;

struct ReplicaNeed {
  explicit ReplicaNeed(const VolumeSpec& v) : volume(v) {}

  const VolumeSpec& volume;
  std::size_t count = 1;
  std::vector<PoolId> occupied;     // where the replicas are that stay
  std::optional<PoolId> only;       // no other pool will do
  std::optional<PoolId> avoid;      // taken last: the replica that is replaced failed there
  std::uint64_t written_bytes = 0;  // what is allocated in the volume already
};

struct PoolRefusal {
  PoolId pool;
  NodeId node;
  std::string reason;
  bool operator==(const PoolRefusal&) const = default;
};

struct Placement {
  std::vector<PoolId> pools;         // best first; fewer than wanted when there are not more
  std::vector<PoolRefusal> refused;  // every other pool, by name
};

// The most that an online replica of the volume has allocated: what a further one is to hold at once.
std::uint64_t written_bytes(const Cluster& cluster, const VolumeSpec& volume);

Placement place_replicas(const Cluster& cluster, const CapacityLimits& limits, const ReplicaNeed& need);

// "pool p1 on node n1: ...; pool p2 ...", for the text of an error.
std::string explain(const std::vector<PoolRefusal>& refused);

// Which replica goes when a volume has more than it should, or the reason why none may. Offline and unhealthy ones
// first (rule 3), then those not in the target, on cordoned nodes or pools, away from the target's node, on fuller
// pools. Never the last good one.
Result<Uuid> choose_surplus(const Cluster& cluster, const VolumeSpec& volume);

struct NodeRefusal {
  NodeId node;
  std::string reason;
};
struct TargetChoice {
  std::optional<NodeId> node;
  std::vector<NodeRefusal> refused;
};
// Which node serves the volume. `requested` is taken if it will do; `avoid` is the node of the target that is
// replaced. A volume of one replica is served where the replica is.
TargetChoice place_target(const Cluster& cluster, const VolumeSpec& volume,
                          const std::optional<NodeId>& requested, const std::optional<NodeId>& avoid);
std::string explain(const std::vector<NodeRefusal>& refused);

// Why a replica in this pool cannot take a snapshot or grow; nothing if it can.
std::optional<std::string> no_room_for_snapshot(const Cluster& cluster, const CapacityLimits& limits,
                                                const PoolId& pool, std::uint64_t volume_bytes);
std::optional<std::string> no_room_to_grow(const Cluster& cluster, const CapacityLimits& limits,
                                           const ReplicaSpec& replica, std::uint64_t size_bytes);

}  // namespace holdfast::control
