// Specs: what is wanted, as kept in the store, one record each (codec.h), with the operation that is under way.
//
// An operation is written into the spec before it is carried out and cleared with its outcome: an agent that takes
// over finds it there and finishes or undoes it. Specs go only when the thing is known to be gone.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/uuid.h"
#include "control/model/by_id.h"
#include "control/model/enums.h"
#include "control/model/labels.h"

namespace holdfast::control {

using NodeId = std::string;  // 1 to 63 characters
using PoolId = std::string;  // unique in the cluster

// Points in time are nanoseconds since the Unix epoch; 0: never, or not known.
using UnixNanos = std::int64_t;

template <class Op>
struct Pending {
  Op operation{};
  std::optional<bool> result;  // set: carried out, and not yet cleared
  bool operator==(const Pending&) const = default;
};

struct NodeFeatures {
  bool ana = false;
  bool logical_volume_manager = false;
  bool snapshot_rebuild = false;
  bool rdma = false;
  bool rebuilds_ancestry = false;  // a rebuild copies what the replica's snapshots hold, too
  bool operator==(const NodeFeatures&) const = default;
};

// How long a request that makes something may still arrive at its engine after nobody waits for it any more. The spec
// of what is deleted stays for so long after the last one that was not answered, to find what comes late.
inline constexpr UnixNanos late_requests_max = 60LL * 1'000'000'000;

// One drain of a node, by its label.
struct Drain {
  bool replicas = false;  // move them away, not the targets alone
  bool operator==(const Drain&) const = default;
};

struct NodeSpec {
  NodeId id;
  std::string grpc_endpoint;  // host:port
  Labels labels;
  std::string nqn;  // that its initiator presents; empty: not known
  std::string version;
  NodeFeatures features;
  std::set<std::string> cordons;        // labels; any of them: nothing new is placed here
  std::map<std::string, Drain> drains;  // by label; any of them: what is here moves away
  bool drained = false;                 // nothing was left to move, or no longer waited for
  UnixNanos draining_since = 0;
  bool operator==(const NodeSpec&) const = default;

  bool cordoned() const noexcept { return !cordons.empty() || !drains.empty(); }
  // It is being drained of them, too, not of targets alone.
  bool replicas_leave() const noexcept {
    return std::any_of(drains.begin(), drains.end(), [](const auto& d) { return d.second.replicas; });
  }
};

struct PoolSpec {
  PoolId id;
  NodeId node;
  std::vector<std::string> disks;  // URIs, or paths
  Labels labels;
  std::optional<std::uint32_t> cluster_bytes;
  SpecStatus status = SpecStatus::creating;
  std::optional<Pending<PoolOp>> operation;
  std::set<std::string> cordons;  // labels; any of them: no new replica here
  bool evacuating = false;        // replicas move away
  UnixNanos unsure_until = 0;     // a request that makes it may still arrive
  bool operator==(const PoolSpec&) const = default;
};

struct ReplicaOwners {
  std::optional<Uuid> volume;
  std::vector<Uuid> nexuses;
  bool operator==(const ReplicaOwners&) const = default;
  bool none() const noexcept { return !volume && nexuses.empty(); }
};

// A new replica is being given copies of its volume's snapshots, before its target takes it in (docs/adr/0016).
struct ReplicaFill {
  UnixNanos since = 0;
  bool begun = false;  // it has had its turn (Policy::rebuilds_max)
  bool operator==(const ReplicaFill&) const = default;
};

struct ReplicaSpec {
  Uuid uuid;
  std::uint64_t size_bytes = 0;
  PoolId pool;
  std::optional<Uuid> pool_uuid;
  bool thin = false;
  Protocol share = Protocol::none;
  std::vector<std::string> allowed_hosts;  // NQNs, sorted
  bool managed = false;                    // made for a volume: goes when its owners have let go of it
  ReplicaOwners owners;
  std::optional<Uuid> clone_of;  // replica snapshot
  ReplicaKind kind = ReplicaKind::regular;
  SpecStatus status = SpecStatus::creating;
  std::optional<Uuid> released_by;  // deleting: the volume that it was of
  UnixNanos unsure_until = 0;       // a request that makes it may still arrive
  std::optional<Pending<ReplicaOp>> operation;
  std::optional<ReplicaFill> fill;
  // Has what its volume had written in epochs up to this one, by its fill; 0: not known. Until its target is asked to
  // take it in.
  std::uint32_t in_sync_through = 0;
  bool operator==(const ReplicaSpec&) const = default;
};

struct NexusChildSpec {
  std::string uri;
  std::optional<Uuid> replica;
  bool operator==(const NexusChildSpec&) const = default;
};

struct ControllerIds {
  std::uint16_t min = 1;
  std::uint16_t max = 2;
  bool operator==(const ControllerIds&) const = default;
};

struct NexusSpec {
  Uuid uuid;
  std::string name;  // what its NQN ends with: the UUID of its volume, else its own
  NodeId node;
  std::uint64_t size_bytes = 0;
  std::vector<NexusChildSpec> children;
  Protocol share = Protocol::none;
  std::vector<std::string> allowed_hosts;  // NQNs
  std::optional<Uuid> owner;               // volume; none: made by a user of the API
  std::uint64_t reservation_key = 0;       // 0: none
  ControllerIds controller_ids;
  bool shut_down = false;  // replaced by another target: stopped when its node can be reached
  SpecStatus status = SpecStatus::creating;
  UnixNanos unsure_until = 0;  // a request that makes it may still arrive
  std::optional<Pending<NexusOp>> operation;
  bool operator==(const NexusSpec&) const = default;
};

struct FrontendNode {
  std::string name;
  std::string nqn;
  bool operator==(const FrontendNode&) const = default;
};

inline std::vector<std::string> nqns_of(const std::vector<FrontendNode>& nodes) {
  std::vector<std::string> all;
  for (const FrontendNode& node : nodes) all.push_back(node.nqn);
  return all;
}

struct VolumeTarget {
  NodeId node;
  Uuid nexus;
  Protocol protocol = Protocol::nvmf;
  std::vector<FrontendNode> frontends;  // who may connect; none: everybody
  bool operator==(const VolumeTarget&) const = default;
};

struct ContentSource {
  Uuid snapshot;
  Uuid volume;
  bool operator==(const ContentSource&) const = default;
};

struct PendingVolumeOp {
  VolumeOp operation{};
  std::optional<bool> result;
  std::optional<std::uint64_t> size_bytes;  // resize
  std::optional<std::uint32_t> replicas;    // set_replica
  std::optional<Uuid> nexus;                // publish, republish: the new one; unpublish: the old one
  bool operator==(const PendingVolumeOp&) const = default;
};

// A replica on its way to another pool: added, brought in sync, the old one removed.
struct ReplicaMove {
  Uuid from;
  std::optional<PoolId> pool;  // none: the scheduler chooses
  std::optional<Uuid> to;      // once it is created
  bool operator==(const ReplicaMove&) const = default;
};

struct VolumeSpec {
  Uuid uuid;
  std::uint64_t size_bytes = 0;
  std::uint32_t num_replicas = 1;
  bool self_heal = true;
  bool thin = false;
  bool as_thin = false;  // not thin, but counted as such since its first snapshot
  Labels labels;
  Topology topology;
  std::optional<std::string> affinity_group;
  std::optional<ContentSource> content_source;
  std::optional<std::uint32_t> max_snapshots;
  std::optional<VolumeTarget> target;  // published
  // Not published: a target of the agent's own, that nobody connects to, while it brings replicas up to date.
  std::optional<VolumeTarget> repair;
  std::map<std::string, std::string> publish_context;
  std::uint32_t publish_count = 0;  // shifts the controller ids at every publish
  std::vector<ReplicaMove> moves;
  SpecStatus status = SpecStatus::creating;
  std::optional<PendingVolumeOp> operation;
  bool operator==(const VolumeSpec&) const = default;

  // Whose nexus has the replicas, and writes the membership record; null: nobody's.
  const VolumeTarget* server() const noexcept { return target ? &*target : repair ? &*repair : nullptr; }
};

// Of a copy that the fill of its replica makes: it may appear until that is over.
inline constexpr UnixNanos with_its_fill = UnixNanos{1} << 62;

// One replica's part of an attempt to take a snapshot, or its copy of one.
struct ReplicaSnapshotSpec {
  Uuid uuid;
  Uuid replica;
  PoolId pool;
  std::optional<Uuid> pool_uuid;
  SpecStatus status = SpecStatus::creating;
  UnixNanos unsure_until = 0;  // of a failed attempt, or a copy: it may still appear
  bool operator==(const ReplicaSnapshotSpec&) const = default;
};

struct SnapshotSpec {
  Uuid uuid;
  Uuid volume;
  SpecStatus status = SpecStatus::creating;
  std::uint64_t size_bytes = 0;  // of the volume when it was taken
  UnixNanos taken = 0;
  std::string transaction;  // the attempt that succeeded, or the last one
  std::map<std::string, std::vector<ReplicaSnapshotSpec>> transactions;
  bool operator==(const SnapshotSpec&) const = default;

  // The parts of the attempt that succeeded, and their copies, whether they are whole or not.
  const std::vector<ReplicaSnapshotSpec>& parts() const noexcept {
    static const std::vector<ReplicaSnapshotSpec> none;
    const auto found = transactions.find(transaction);
    return found == transactions.end() ? none : found->second;
  }
  // That of a replica; nullptr: it has none.
  const ReplicaSnapshotSpec* part_of(const Uuid& replica) const noexcept {
    for (const ReplicaSnapshotSpec& p : parts()) {
      if (p.replica == replica) return &p;
    }
    return nullptr;
  }
};

struct AppNodeSpec {
  std::string id;
  std::string endpoint;
  Labels labels;
  bool operator==(const AppNodeSpec&) const = default;
};

// Everything that is wanted, ordered so that every pass over it replays.
struct Specs {
  ByName<NodeSpec> nodes;
  ByName<PoolSpec> pools;
  ById<ReplicaSpec> replicas;
  ById<NexusSpec> nexuses;
  ById<VolumeSpec> volumes;
  ById<SnapshotSpec> snapshots;
  std::map<std::string, AppNodeSpec> app_nodes;
};

}  // namespace holdfast::control
