// Engine: what the control plane asks of the engine of one node. Implementations: a client of mayastor.v1 and
// holdfast.v1 (engine_grpc.h), and a model in memory for tests and the simulation (testing/fake_engines.h).
//
// Home reactor only; any number of calls at once. Every call ends, at its time-out (EngineTimeouts) at the latest.
// Errors carry the Kind that the engine gave (model/kind.h) and its text with the node's name before it.
// may_have_happened() tells those after which the act may have been carried out, or may be later, from refusals.
//
// Every call can be repeated: what is already as asked ends well. Where that is not the whole truth the function
// says so. NotFound is given only by an engine that certainly does not have the thing: what is in a pool that is not
// open there gives FailedPrecondition.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/uuid.h"
#include "control/model/kind.h"
#include "control/model/record.h"
#include "control/model/state.h"
#include "control/requests.h"
#include "rt/task.h"
#include "rt/time.h"

namespace holdfast::control {

// How long a call may take. From `pool` on: the least that Mayastor's REST API gives such an operation.
struct EngineTimeouts {
  Nanos read = 5s;
  Nanos pool = 20s;
  Nanos replica = 15s;
  Nanos replica_snapshot = 10s;
  Nanos nexus = 30s;
  Nanos nexus_shutdown = 15s;
  Nanos nexus_snapshot = 30s;
};

// False: the engine refused, and nothing was changed.
bool may_have_happened(const Error& error) noexcept;

// As those are told who asked for something that this is only a part of: what an engine does not have, or not yet after
// it was started, is FailedPrecondition to them, not NotFound.
Error of_part(Error error);

// All that one engine has. `node` is filled in everywhere.
struct EngineReport {
  Registration engine;
  // Those that the engine knows and cannot open are here too, with their state and the reason.
  std::vector<PoolState> pools;
  std::vector<ReplicaState> replicas;  // of pools that are open: clones too, snapshots not
  std::vector<NexusState> nexuses;
  std::vector<SnapshotState> snapshots;  // of pools that are open
  bool operator==(const EngineReport&) const = default;
};

enum class Tell : std::uint8_t { all, news };

struct NewPool {
  PoolId pool;
  std::optional<Uuid> uuid;  // none: the engine chooses, or it is that of the pool on the disks
  std::vector<std::string> disks;
  std::optional<std::uint32_t> cluster_bytes;
  bool overwrite = false;  // although the disks hold something that is known: a file system, another pool
};

struct NewReplica {
  Uuid replica;  // its name is the text of its UUID
  PoolId pool;
  std::uint64_t size_bytes = 0;
  bool thin = false;
  Protocol share = Protocol::none;
  std::vector<std::string> allowed_hosts;  // none: every host
  std::string entity_id;                   // volume; empty: none
};

struct NewNexus {
  Uuid nexus;
  std::string name;  // what its NQN ends with; one nexus of an engine has it
  std::uint64_t size_bytes = 0;
  std::vector<std::string> children;  // URIs; each can be opened, or nothing is created
  std::string membership_key;         // of its record in the store
  std::uint64_t reservation_key = 0;  // taken over from whoever holds the children; 0: no reservation
  ControllerIds controller_ids;
};

struct NewReplicaSnapshot {
  Uuid replica;
  Uuid snapshot;
  std::string name;  // no other snapshot or replica of the engine has it
  std::string entity_id;
  std::string transaction;
};

struct NewNexusSnapshot {
  struct Part {
    Uuid replica;
    Uuid snapshot;
  };
  Uuid nexus;
  std::string name;
  std::string entity_id;
  std::string transaction;
  std::vector<Part> parts;  // every child in sync
};

struct NexusSnapshotOutcome {
  struct Part {
    Uuid replica;
    int sys_errno = 0;  // 0: it has its snapshot
  };
  UnixNanos taken = 0;
  std::vector<Part> parts;

  bool complete() const noexcept {
    for (const Part& p : parts) {
      if (p.sys_errno != 0) return false;
    }
    return true;
  }
};

struct NewFill {
  struct Copy {
    Uuid from;         // snapshot of the source
    Uuid to;           // its copy
    std::string name;  // of the copy; no other snapshot or replica of the engine has it
  };
  Uuid replica;
  Uuid source;                  // a replica on another node, in sync
  std::string source_endpoint;  // host:port of its engine
  std::vector<Copy> copies;     // in any order; what the source does not have is left out
};

enum class FillStatus : std::uint8_t { running, successful, failed };

struct FillState {
  FillStatus status = FillStatus::running;
  Uuid source;
  std::string error;  // failed
  std::uint32_t in_sync_through =
      0;  // successful: has what was written in epochs up to this one; 0: not known
};

struct ByteRange {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  bool operator==(const ByteRange&) const = default;
};

struct DiffPage {
  std::vector<ByteRange> ranges;             // in order
  std::optional<std::uint64_t> next_offset;  // none: there are no more
};

// What a replica knows of the epochs in which it was written (docs/architecture.md).
struct EpochState {
  std::uint32_t current = 0;  // announced last; 0: never
  std::uint32_t sealed = 0;   // every replica in sync agrees on all that was written up to this one
  std::uint64_t region_bytes = 0;
  std::uint64_t regions = 0;
  std::uint64_t regions_since_sealed = 0;  // written in a later epoch
};

// How hosts may use the paths of a nexus (NVM Express base specification 2.0, 8.1.1).
enum class AnaState : std::uint8_t { optimized = 1, non_optimized = 2, inaccessible = 3 };

enum class WipeMethod : std::uint8_t { write_zeroes, checksum };
struct WipeOutcome {
  std::uint64_t bytes = 0;
  std::optional<std::uint32_t> crc32c;  // checksum
};

class Engine {
 public:
  Engine() = default;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  virtual ~Engine() = default;  // close() was awaited

  // The engine was started again: calls from now on do not use what reached the former run, nor wait because of it.
  virtual void restarted() {}

  // ---- reading
  // With Tell::news none when everything still is as the last report told that was got here.
  virtual Task<Result<std::optional<EngineReport>>> observe(Tell tell) = 0;
  // Tells whether the engine lives, and which run of it.
  virtual Task<Result<Registration>> info() = 0;
  // `all`: also those that are in use.
  virtual Task<Result<std::vector<BlockDeviceInfo>>> block_devices(bool all) = 0;
  // JSON text in, JSON text out.
  virtual Task<Result<std::string>> json_rpc(std::string method, std::string params) = 0;

  // ---- pools
  // Makes the pool, or opens the one of this name that is on the disks. Errors: InvalidArgument (disks; the name is
  // taken by a pool on others), AlreadyExists (the UUID is taken).
  virtual Task<Result<PoolState>> create_pool(NewPool request) = 0;
  // Opens the pool that is on the disks. Errors: InvalidArgument when another one, or none, is there; Internal when
  // a disk cannot be read.
  virtual Task<Result<PoolState>> import_pool(NewPool request) = 0;
  // With everything in it, also while it is in use elsewhere; with a UUID only the pool that has it. Errors: NotFound
  // when the engine has not opened it: it may still be on its disks; FailedPrecondition (in use here).
  virtual Task<Status> destroy_pool(PoolId pool, std::optional<Uuid> uuid) = 0;
  // Lets go of the disks, data untouched. A pool that is not open: ok.
  virtual Task<Status> export_pool(PoolId pool) = 0;
  virtual Task<Result<PoolState>> add_disk(PoolId pool, std::string disk) = 0;
  virtual Task<Result<PoolState>> grow_pool(PoolId pool) = 0;

  // ---- replicas
  // One that is there with the same pool, size and thickness is given the sharing that is asked for. Errors:
  // AlreadyExists (there with others), FailedPrecondition (pool), ResourceExhausted, InvalidArgument.
  virtual Task<Result<ReplicaState>> create_replica(NewReplica request) = 0;
  // Also while remote nexuses use it. A replica that is not there: ok. Errors: FailedPrecondition (the pool is not
  // open; a nexus here uses it), Aborted (it is in another pool).
  virtual Task<Status> destroy_replica(Uuid replica, PoolId pool) = 0;
  // One that is shared gets the hosts that are given; none: every host.
  virtual Task<Result<ReplicaState>> share_replica(Uuid replica, std::vector<std::string> allowed_hosts) = 0;
  virtual Task<Result<ReplicaState>> unshare_replica(Uuid replica) = 0;
  // Grows. Errors: ResourceExhausted, InvalidArgument (smaller than now).
  virtual Task<Result<ReplicaState>> resize_replica(Uuid replica, std::uint64_t size_bytes) = 0;
  virtual Task<Result<ReplicaState>> set_replica_entity(Uuid replica, std::string entity_id) = 0;
  // The replica gets the content and size of a snapshot of its pool. Errors: FailedPrecondition (shared or in use).
  virtual Task<Result<ReplicaState>> revert_replica(Uuid replica, Uuid snapshot) = 0;
  virtual Task<Result<EpochState>> replica_epochs(Uuid replica) = 0;
  // Keeps a text with it, and a digest by which observe() tells which one it has. Errors: InvalidArgument (over 32
  // KiB), NotFound, FailedPrecondition (pool).
  virtual Task<Status> set_replica_record(Uuid replica, std::string record, std::uint64_t digest) = 0;
  // Of all replicas of pools that are open, also of those without a text.
  virtual Task<Result<std::vector<KeptRecord>>> replica_records() = 0;
  // Of one that is neither shared nor in use. Takes as long as it is large: no time-out, but the connection's.
  virtual Task<Result<WipeOutcome>> wipe_replica(Uuid replica, PoolId pool, WipeMethod method) = 0;

  // ---- nexuses
  // The same request again gives the nexus that is there, whatever became of its children. Errors: AlreadyExists
  // (name or UUID taken by another), InvalidArgument (a child cannot be opened or reserved), FailedPrecondition (no
  // child holds all data by the membership record, or another owner has it).
  virtual Task<Result<NexusState>> create_nexus(NewNexus request) = 0;
  // Ends its sharing, records a clean end. A nexus that is not there: ok.
  virtual Task<Status> destroy_nexus(Uuid nexus) = 0;
  // Stops serving, records a clean end, keeps the object. Errors: NotFound.
  virtual Task<Result<NexusState>> shutdown_nexus(Uuid nexus) = 0;
  virtual Task<Result<NexusState>> share_nexus(Uuid nexus, std::vector<std::string> allowed_hosts) = 0;
  virtual Task<Result<NexusState>> unshare_nexus(Uuid nexus) = 0;
  // Grows; the children have grown before.
  virtual Task<Result<NexusState>> resize_nexus(Uuid nexus, std::uint64_t size_bytes) = 0;
  virtual Task<Result<AnaState>> ana_state(Uuid nexus) = 0;
  virtual Task<Result<NexusState>> set_ana_state(Uuid nexus, AnaState state) = 0;

  // Brings it in sync, unless `rebuild` is false.
  // `in_sync_through`: as a fill of the replica has told, so that only what came later is copied; 0: not known.
  virtual Task<Result<NexusState>> add_child(Uuid nexus, std::string uri, bool rebuild,
                                             std::uint32_t in_sync_through) = 0;
  // Out of the nexus and out of the membership record. A child that is not there: ok. Errors: FailedPrecondition
  // (the last child in sync).
  virtual Task<Result<NexusState>> remove_child(Uuid nexus, std::string uri) = 0;
  // Reopens one that left, and copies what it missed. Errors: NotFound, FailedPrecondition (it left for good).
  virtual Task<Result<NexusState>> online_child(Uuid nexus, std::string uri) = 0;
  // Out of service until online_child; `for_good`: until it is removed. Errors: NotFound, FailedPrecondition (the
  // last child in sync).
  virtual Task<Result<NexusState>> fault_child(Uuid nexus, std::string uri, bool for_good) = 0;

  // ---- rebuilds, named by their nexus and by the child that is written. Errors: NotFound without one.
  virtual Task<Status> start_rebuild(Uuid nexus, std::string uri) = 0;
  virtual Task<Status> stop_rebuild(Uuid nexus, std::string uri) = 0;
  virtual Task<Status> pause_rebuild(Uuid nexus, std::string uri) = 0;
  virtual Task<Status> resume_rebuild(Uuid nexus, std::string uri) = 0;
  virtual Task<Result<RebuildRecord>> rebuild(Uuid nexus, std::string uri) = 0;  // the one that runs
  // Those that have ended, oldest first.
  virtual Task<Result<std::vector<RebuildRecord>>> rebuild_history(Uuid nexus) = 0;

  // ---- snapshots
  // One that is there of the same replica is given. Errors: NotFound (replica), AlreadyExists (the UUID or the name
  // is taken), ResourceExhausted.
  virtual Task<Result<SnapshotState>> create_snapshot(NewReplicaSnapshot request) = 0;
  // One moment for all children. Not to be repeated: a second attempt has other UUIDs and another name. Errors:
  // NotFound (nexus, child), FailedPrecondition (a child in sync is not named, or one named is not in sync).
  virtual Task<Result<NexusSnapshotOutcome>> create_nexus_snapshot(NewNexusSnapshot request) = 0;
  // A snapshot that is not there: ok; with clones it goes all the same, they keep their data. Errors as of
  // destroy_replica.
  virtual Task<Status> destroy_snapshot(Uuid snapshot, PoolId pool) = 0;
  // A replica with the snapshot's content, in its pool, thin, not shared; its name is the text of its UUID. One that
  // is there of the same snapshot is given. Errors: NotFound (snapshot), AlreadyExists, ResourceExhausted.
  virtual Task<Result<ReplicaState>> clone_snapshot(Uuid snapshot, Uuid replica) = 0;
  // Copies of snapshots for a replica that nothing uses, oldest first, each made of the differences to the one before.
  // It is not resized, reverted or destroyed meanwhile. Repeated after it ended, it goes on behind the newest copy that
  // is there. Errors: NotFound (replica), FailedPrecondition (in use), AlreadyExists (one runs that was asked for
  // otherwise), ResourceExhausted.
  virtual Task<Status> start_fill(NewFill request) = 0;
  // That of the replica, whether it runs or has ended; none: its engine knows of none.
  virtual Task<Result<std::optional<FillState>>> fill(Uuid replica) = 0;
  // Stops and forgets it; the copies that are whole stay. There is none: ok.
  virtual Task<Status> end_fill(Uuid replica) = 0;
  // Where two snapshots or replicas of one pool differ, from an offset on; no `earlier`: all that `later` has.
  virtual Task<Result<DiffPage>> diff_snapshots(std::optional<Uuid> earlier, Uuid later,
                                                std::uint64_t offset) = 0;

  // Calls under way are given up and end with Aborted. Returns when they have.
  virtual Task<void> close() = 0;
};

// Finds engines. Outlives them.
class EngineDirectory {
 public:
  EngineDirectory() = default;
  EngineDirectory(const EngineDirectory&) = delete;
  EngineDirectory& operator=(const EngineDirectory&) = delete;
  virtual ~EngineDirectory() = default;

  // Never fails and does not wait: it connects when it is used. `endpoint`: host:port.
  virtual std::unique_ptr<Engine> connect(const NodeId& node, const std::string& endpoint) = 0;
};

}  // namespace holdfast::control
