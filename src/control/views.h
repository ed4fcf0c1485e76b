// What the service shows: specs joined with states, and what came of looking ahead.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "control/model/specs.h"
#include "control/model/state.h"
#include "control/plan/adopt.h"

namespace holdfast::control {

// One of the two may be missing: what an engine has and nobody wanted, what is wanted and no engine reports.
struct NodeView {
  NodeId id;
  std::optional<NodeSpec> spec;
  std::optional<NodeState> state;
};

struct PoolView {
  PoolId id;
  std::optional<PoolSpec> spec;
  std::optional<PoolState> state;  // none while its node is not online or does not report it
};

struct ReplicaView {
  Uuid uuid;
  std::optional<ReplicaSpec> spec;
  std::optional<ReplicaState> state;
};

struct NexusView {
  Uuid uuid;
  std::optional<NexusSpec> spec;
  std::optional<NexusState> state;
};

struct VolumeView {
  VolumeSpec spec;
  VolumeState state;
  std::uint32_t num_snapshots = 0;
};

// Volumes and replicas by status.
struct Tally {
  std::map<VolumeStatus, std::uint64_t> volumes;
  std::map<ReplicaStatus, std::uint64_t> replicas;  // unknown: also those that no engine reports
  std::uint64_t volumes_published = 0;
  std::uint64_t volume_bytes = 0;  // sizes of all volumes
  std::uint64_t rebuilds = 0;      // that run now
};

struct SnapshotView {
  SnapshotSpec spec;
  std::uint32_t num_restores = 0;
  // By the parts of its transaction: what engines report now. Those that are missing are offline.
  std::vector<SnapshotState> parts;
  std::uint64_t allocated_bytes = 0;        // of the largest part
  std::uint64_t total_allocated_bytes = 0;  // with all older snapshots of the volume
};

struct AppNodeView {
  AppNodeSpec spec;
  bool online = false;
};

struct RebuildHistory {
  Uuid target;
  std::vector<RebuildRecord> records;  // oldest first
};

// What was adopted, or would be.
struct AdoptReport {
  bool dry_run = false;
  std::vector<Finding> findings;
};

// A part of a list. `next` goes on behind the last entry, also when others were added or removed meanwhile; none at
// the end.
template <class T>
struct Page {
  std::vector<T> entries;
  std::optional<std::uint64_t> next;
};

// Which part of a list: at most max_entries (0: all), from a token: that of the page before, or any number below
// stable_tokens_from as an offset.
struct PageRequest {
  std::uint64_t max_entries = 0;
  std::uint64_t starting_token = 0;
};
inline constexpr std::uint64_t stable_tokens_from = std::uint64_t{1} << 52;

// What would be lost, and what would go, if a pool or a node were purged.
struct Impact {
  std::vector<PoolId> pools;
  std::vector<Uuid> replicas;
  std::vector<Uuid> degraded_volumes;  // keep a healthy replica elsewhere
  std::vector<Uuid> lost_volumes;      // have their last healthy replica there
  std::vector<Uuid> lost_snapshots;    // have no part elsewhere
  std::vector<Uuid> targets;           // volumes whose target is there
  bool harmless() const noexcept { return lost_volumes.empty() && lost_snapshots.empty(); }
};

}  // namespace holdfast::control
