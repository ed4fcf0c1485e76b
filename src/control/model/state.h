// State: what engines report, never stored. What a node that does not answer reported last is kept; whether it can
// be relied on says the node's status.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/uuid.h"
#include "control/model/by_id.h"
#include "control/model/enums.h"
#include "control/model/specs.h"

namespace holdfast::control {

struct NodeState {
  NodeId id;
  std::string grpc_endpoint;
  NodeStatus status = NodeStatus::unknown;
  bool synced = false;  // all that it has was read since it came online
  std::string nqn;
  std::string version;
  std::string instance;  // of its process: another after each start
  bool operator==(const NodeState&) const = default;
};

struct PoolState {
  PoolId id;
  NodeId node;
  Uuid uuid;
  std::vector<std::string> disks;
  std::uint64_t capacity_bytes = 0;
  std::uint64_t used_bytes = 0;
  std::uint64_t committed_bytes = 0;  // sizes of all its replicas
  std::uint64_t cluster_bytes = 0;
  std::uint64_t disk_capacity_bytes = 0;  // above the capacity once a disk has grown
  PoolStatus status = PoolStatus::unknown;
  std::string reason;  // why it is not online
  bool operator==(const PoolState&) const = default;

  std::uint64_t free_bytes() const noexcept {
    return capacity_bytes > used_bytes ? capacity_bytes - used_bytes : 0;
  }
};

struct ReplicaSpace {
  std::uint64_t capacity_bytes = 0;
  std::uint64_t allocated_bytes = 0;
  std::uint64_t allocated_snapshots_bytes = 0;      // by the snapshots below it
  std::uint64_t allocated_all_snapshots_bytes = 0;  // and by those that it shares with clones
  std::uint64_t cluster_bytes = 0;
  std::uint64_t clusters = 0;
  std::uint64_t allocated_clusters = 0;
  bool operator==(const ReplicaSpace&) const = default;
};

struct ReplicaState {
  Uuid uuid;
  std::string name;
  NodeId node;
  PoolId pool;
  Uuid pool_uuid;
  std::uint64_t size_bytes = 0;
  bool thin = false;
  Protocol share = Protocol::none;
  std::string uri;
  std::vector<std::string> allowed_hosts;  // sorted
  ReplicaStatus status = ReplicaStatus::unknown;
  ReplicaSpace space;
  ReplicaKind kind = ReplicaKind::regular;
  std::optional<Uuid> clone_of;  // replica snapshot
  std::string entity_id;         // volume
  // Digest of what it says of its volume (record.h); 0: nothing. None: the engine has not told.
  std::optional<std::uint64_t> record;
  bool operator==(const ReplicaState&) const = default;
};

struct ChildState {
  std::string uri;
  std::optional<Uuid> replica;  // the uuid of its URI
  ChildStatus status = ChildStatus::unknown;
  ChildReason reason = ChildReason::none;
  std::optional<std::uint32_t> rebuild_percent;
  UnixNanos faulted_at = 0;
  bool has_io_log = false;  // what it misses is tracked
  bool operator==(const ChildState&) const = default;
};

struct NexusState {
  Uuid uuid;
  std::string name;
  NodeId node;
  std::uint64_t size_bytes = 0;
  NexusStatus status = NexusStatus::unknown;
  std::vector<ChildState> children;
  std::string device_uri;  // empty: not shared
  std::uint32_t rebuilds = 0;
  Protocol protocol = Protocol::none;
  std::vector<std::string> allowed_hosts;
  bool operator==(const NexusState&) const = default;

  const ChildState* find(const Uuid& replica) const noexcept {
    for (const ChildState& c : children) {
      if (c.replica == replica) return &c;
    }
    return nullptr;
  }
};

// A snapshot of one replica.
struct SnapshotState {
  Uuid uuid;
  std::string name;
  NodeId node;
  PoolId pool;
  Uuid pool_uuid;
  Uuid replica;             // that was taken
  std::string entity_id;    // volume
  std::string transaction;  // the same on all replicas of one snapshot of a volume
  std::uint64_t size_bytes = 0;
  std::uint64_t allocated_bytes = 0;   // that it owns
  std::uint64_t referenced_bytes = 0;  // owned by the snapshots around it
  std::uint64_t clones = 0;
  UnixNanos taken = 0;
  bool valid = true;
  bool discarded = false;
  bool operator==(const SnapshotState&) const = default;
};

// Which replicas hold every acknowledged write of a volume, as its target recorded it in the store.
struct Membership {
  struct Member {
    Uuid replica;
    bool healthy = false;
    std::uint64_t in_sync_through = 0;  // it has what was written in epochs up to this one
    bool operator==(const Member&) const = default;
  };
  bool clean_shutdown = false;
  std::uint64_t epoch = 0;
  Uuid owner;  // the run of the target that wrote it; nil: nobody's
  std::vector<Member> members;
  bool operator==(const Membership&) const = default;

  bool healthy(const Uuid& replica) const noexcept {
    for (const Member& m : members) {
      if (m.replica == replica) return m.healthy;
    }
    return false;
  }
  bool names(const Uuid& replica) const noexcept {
    for (const Member& m : members) {
      if (m.replica == replica) return true;
    }
    return false;
  }
};

struct Observed {
  ByName<NodeState> nodes;
  ByName<PoolState> pools;
  ById<ReplicaState> replicas;
  ById<NexusState> nexuses;
  ById<SnapshotState> snapshots;  // of replicas
  ById<Membership> memberships;   // by volume

  bool node_online(const NodeId& id) const noexcept {
    const auto found = nodes.find(id);
    return found != nodes.end() && found->second.status == NodeStatus::online;
  }
  // Online, and all that it has is known: what it does not report does not exist.
  bool node_known(const NodeId& id) const noexcept {
    const auto found = nodes.find(id);
    return found != nodes.end() && found->second.status == NodeStatus::online && found->second.synced;
  }
};

// Of one replica of a volume, joined from what its engine and its target say.
struct ReplicaTopology {
  std::optional<NodeId> node;
  std::optional<PoolId> pool;
  ReplicaStatus status = ReplicaStatus::unknown;
  std::optional<ChildStatus> child_status;
  std::optional<ChildReason> child_reason;
  std::optional<ReplicaSpace> usage;
  std::optional<std::uint32_t> rebuild_percent;
  bool healthy = false;  // by the membership record
  bool operator==(const ReplicaTopology&) const = default;
};

struct VolumeUsage {
  std::uint64_t capacity_bytes = 0;
  std::uint64_t allocated_bytes = 0;          // of the largest replica, snapshots included
  std::uint64_t allocated_replica_bytes = 0;  // of the largest replica alone
  std::uint64_t allocated_snapshots_bytes = 0;
  std::uint64_t allocated_all_snapshots_bytes = 0;
  std::uint64_t total_allocated_bytes = 0;  // summed over the replicas
  std::uint64_t total_allocated_replicas_bytes = 0;
  std::uint64_t total_allocated_snapshots_bytes = 0;
  bool operator==(const VolumeUsage&) const = default;
};

struct VolumeState {
  Uuid uuid;
  std::uint64_t size_bytes = 0;
  VolumeStatus status = VolumeStatus::unknown;
  std::string reason;  // why it is not online
  std::optional<NexusState> target;
  std::map<Uuid, ReplicaTopology> replicas;
  std::optional<VolumeUsage> usage;
};

struct RebuildRecord {
  std::string child_uri;
  std::string source_uri;
  RebuildStatus status = RebuildStatus::init;
  std::uint64_t blocks_total = 0;
  std::uint64_t blocks_recovered = 0;
  std::uint64_t blocks_transferred = 0;
  std::uint64_t blocks_remaining = 0;
  std::uint64_t block_bytes = 0;
  bool partial = false;
  UnixNanos started = 0;
  UnixNanos ended = 0;
};

struct BlockDeviceInfo {
  struct Partition {
    std::string parent, name, scheme, type_id, uuid;
    std::uint32_t number = 0;
  };
  struct Filesystem {
    std::string type, label, uuid;
    std::vector<std::string> mountpoints;
  };
  std::string name, type, model, path, connection_type;
  std::vector<std::string> links;
  std::uint32_t major = 0, minor = 0;
  std::uint64_t size_blocks = 0;  // of 512 bytes
  bool available = false;
  std::optional<bool> rotational;
  std::optional<Partition> partition;
  std::optional<Filesystem> filesystem;
};

}  // namespace holdfast::control
