// Fleet: a model of many engines, the machines that they run on and their disks, without any I/O. What FakeEngines
// answer from; simulations and tests break and inspect it.
//
// It keeps to what matters to those who command engines: what survives a crash and what does not, who reaches whom,
// room in pools, and above all which replica holds which write. A volume is so many regions; each write gets a
// number, each copy knows the number of the last write of each region. What a guest was told is remembered, so a
// target that is opened on copies that miss some of it is noticed, and so is the end of the last copy that has all.
//
// Everything happens at once, at the time of the last advance().
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "control/engine.h"
#include "control/testing/records.h"

namespace holdfast::control::fake {

inline constexpr unsigned region_count = 4;
using Content = std::array<std::uint64_t, region_count>;

// `have` is nowhere older than `wanted`.
bool covers(const Content& have, const Content& wanted) noexcept;

// A replica or a snapshot of one.
struct Copy {
  Uuid uuid;
  std::string name;
  std::uint64_t size_bytes = 0;
  bool thin = false;
  Protocol share = Protocol::none;
  std::vector<std::string> allowed_hosts;
  std::string entity_id;
  std::string volume;           // whose data it has: by its entity, or by the nexus that last opened it
  std::optional<Uuid> made_of;  // of a clone: the snapshot; of a snapshot: the replica
  bool is_snapshot = false;
  std::string transaction;
  UnixNanos taken = 0;
  std::string record;  // what it says of its volume
  std::uint64_t record_digest = 0;
  std::uint32_t epoch = 0;  // announced last
  Content content{};
  std::uint64_t written_through = 0;       // of a snapshot: the number of the last write before it
  std::array<bool, region_count> owned{};  // regions that it has allocated itself
  Uuid holder;                             // the run of a nexus that reserved it; nil: nobody
};

struct Pool {
  PoolId id;
  Uuid uuid;
  std::vector<std::string> disks;
  std::uint64_t capacity_bytes = 0;
  std::uint64_t cluster_bytes = 0;
  bool failed = false;   // its disks do not answer
  bool stalled = false;  // nor do these, and it is not known
  bool refuses = false;  // replicas, although it shows room for them
  std::map<Uuid, Copy> copies;

  std::uint64_t used_bytes() const noexcept;
  std::uint64_t free_bytes() const noexcept {
    const std::uint64_t used = used_bytes();
    return used < capacity_bytes ? capacity_bytes - used : 0;
  }
};

struct Rebuild {
  Nanos started{0};
  Nanos ends{0};
  bool partial = false;
  std::optional<Nanos> paused;  // since
};

struct Child {
  std::string uri;
  Uuid replica;
  bool open = false;
  bool in_sync = false;
  bool suspended = false;   // the last one in sync, and it does not answer
  bool healthy = false;     // as the record should say
  bool for_good = false;    // only its removal helps
  bool has_log = false;     // what it missed is known
  std::uint64_t since = 0;  // it is believed to have writes up to this number, by a fill
  ChildReason reason = ChildReason::none;
  UnixNanos faulted_at = 0;
  std::optional<Nanos> silent_since;
  std::optional<Rebuild> rebuild;
};

struct Nexus {
  NewNexus request;
  NodeId node;
  Uuid run;  // reservations and the membership record name it
  std::uint64_t size_bytes = 0;
  bool shared = false;
  std::vector<std::string> allowed_hosts;
  AnaState ana = AnaState::optimized;
  std::vector<Child> children;
  std::vector<nexus::ChildRecord> former;  // of earlier runs: in the record, as such that may come back
  bool fenced = false;
  bool stopped = false;
  bool unrecorded = false;  // the record does not say yet what it should
  std::uint64_t record_revision = 0;
  std::uint64_t record_epoch = 0;
  std::vector<RebuildRecord> history;

  std::size_t in_sync() const noexcept;
  NexusStatus status() const noexcept;
};

struct Fill {
  NewFill request;
  std::string volume;  // of the replica
  FillState state;
  Nanos next{0};
  bool begun = false;
  std::optional<Uuid> holds;  // snapshot of the source whose content the replica has
};

struct Disk {
  std::uint64_t bytes = 0;
  std::optional<PoolId> pool;  // whose label it carries
};

struct Machine {
  NodeId node;
  std::string address;
  std::string nqn;
  bool running = false;
  std::uint64_t runs = 0;
  std::map<std::string, Disk> disks;
  std::map<PoolId, Pool> pools;  // on the disks, open or not
  std::set<PoolId> open;
  std::map<Uuid, Nexus> nexuses;
  EngineReport told;  // the content of `revision`
  std::uint64_t revision = 0;
  std::uint64_t whole_reports = 0;  // that were given
  std::map<Uuid, Fill> fills;       // by replica

  std::string endpoint() const { return address + ":10124"; }
  Pool* open_pool(const PoolId& id) noexcept;
  // In a pool that is open and works.
  Copy* find(const Uuid& uuid, Pool** in = nullptr) noexcept;
};

struct FleetOptions {
  std::uint64_t disk_bytes = std::uint64_t{10} << 30;
  std::uint64_t rebuild_bytes_per_second = std::uint64_t{256} << 20;
  Nanos partial_rebuild = 500ms;
  Nanos fill_step = 700ms;  // for each copy of a snapshot
  Nanos silence = 2s;       // of a child, before it is taken out of its nexus
  // Disks that nobody added are there all the same.
  bool any_disk = true;
};

class Fleet {
 public:
  // `records` outlives it.
  explicit Fleet(Records& records, FleetOptions options = FleetOptions())
      : records_(records), options_(options) {}

  // ---- machines, and what goes wrong with them
  Machine& add(const NodeId& node);  // running
  Machine& machine(const NodeId& node);
  std::map<NodeId, Machine>& machines() noexcept { return machines_; }
  void add_disk(const NodeId& node, const std::string& disk, std::uint64_t bytes);
  // The process is killed.
  void crash(const NodeId& node);
  // It runs again; `imports`: it remembers its pools and opens them.
  void start(const NodeId& node, bool imports);
  void stop_cleanly(const NodeId& node);
  // With its disks, for ever.
  void destroy(const NodeId& node);
  void set_pool_failed(const NodeId& node, const PoolId& pool, bool failed);
  void set_pool_stalled(const NodeId& node, const PoolId& pool, bool stalled);
  void set_pool_refusing(const NodeId& node, const PoolId& pool, bool refuses);
  // So much is free, until it is healed.
  void set_pool_room(const NodeId& node, const PoolId& pool, std::uint64_t bytes);
  void heal_pool(const NodeId& node, const PoolId& pool);
  // The network between two machines, for data.
  void cut(const NodeId& a, const NodeId& b, bool cut);

  // Whatever had to happen until then: rebuilds end, silence is noticed, records are written that could not be.
  void advance(Nanos now);
  Nanos now() const noexcept { return now_; }
  UnixNanos unix_now() const noexcept { return unix_base + now_.count(); }

  // ---- what a guest does, through any nexus that it can reach. A write counts once it is acknowledged.
  Status write(Machine& m, const Uuid& nexus, unsigned region);
  Status read(Machine& m, const Uuid& nexus, unsigned region);
  // What a guest of the volume was told, by the name of its nexus.
  const std::map<std::string, Content>& acknowledged() const noexcept { return acknowledged_; }
  // The volume is being deleted on purpose.
  void give_up(const std::string& volume) { given_up_.insert(volume); }
  bool given_up(const std::string& volume) const { return given_up_.contains(volume); }
  // Copies with everything that was acknowledged, on machines that run or do not.
  std::size_t good_copies(const std::string& volume, const Copy* except = nullptr) const;
  // Fills that ended without all that was wanted.
  bool fill_failed(const std::string& volume) const { return failed_fills_.contains(volume); }
  // What must never happen, and did.
  const std::vector<std::string>& violations() const noexcept { return violations_; }

  // ---- what engines do (engine.h)
  EngineReport report(Machine& m);
  Registration registration(const Machine& m) const;
  Result<PoolState> create_pool(Machine& m, const NewPool& request);
  Result<PoolState> import_pool(Machine& m, const NewPool& request);
  Status destroy_pool(Machine& m, const PoolId& pool);
  Status export_pool(Machine& m, const PoolId& pool);
  Result<PoolState> add_pool_disk(Machine& m, const PoolId& pool, const std::string& disk);
  Result<PoolState> grow_pool(Machine& m, const PoolId& pool);

  Result<ReplicaState> create_replica(Machine& m, const NewReplica& request);
  Status destroy_copy(Machine& m, const Uuid& uuid, const PoolId& pool, bool snapshot);
  Result<ReplicaState> share_replica(Machine& m, const Uuid& replica, Protocol share,
                                     std::vector<std::string> hosts);
  Result<ReplicaState> resize_replica(Machine& m, const Uuid& replica, std::uint64_t size_bytes);
  Result<ReplicaState> set_replica_entity(Machine& m, const Uuid& replica, std::string entity_id);
  Status set_replica_record(Machine& m, const Uuid& replica, std::string record, std::uint64_t digest);
  std::vector<KeptRecord> replica_records(Machine& m);
  Result<ReplicaState> revert_replica(Machine& m, const Uuid& replica, const Uuid& snapshot);

  Result<SnapshotState> create_snapshot(Machine& m, const NewReplicaSnapshot& request);
  Result<NexusSnapshotOutcome> create_nexus_snapshot(Machine& m, const NewNexusSnapshot& request);
  Result<ReplicaState> clone_snapshot(Machine& m, const Uuid& snapshot, const Uuid& replica);
  Status start_fill(Machine& m, const NewFill& request);
  Result<std::optional<FillState>> fill(Machine& m, const Uuid& replica);
  Status end_fill(Machine& m, const Uuid& replica);
  Result<DiffPage> diff(Machine& m, const std::optional<Uuid>& earlier, const Uuid& later);

  Result<NexusState> create_nexus(Machine& m, const NewNexus& request);
  Status destroy_nexus(Machine& m, const Uuid& nexus);
  Result<NexusState> shutdown_nexus(Machine& m, const Uuid& nexus);
  Result<NexusState> share_nexus(Machine& m, const Uuid& nexus, bool shared, std::vector<std::string> hosts);
  Result<NexusState> resize_nexus(Machine& m, const Uuid& nexus, std::uint64_t size_bytes);
  Result<NexusState> set_ana(Machine& m, const Uuid& nexus, AnaState state);
  Result<NexusState> add_child(Machine& m, const Uuid& nexus, const std::string& uri, bool rebuild,
                               std::uint32_t in_sync_through = 0);
  Result<NexusState> remove_child(Machine& m, const Uuid& nexus, const std::string& uri);
  Result<NexusState> online_child(Machine& m, const Uuid& nexus, const std::string& uri);
  Result<NexusState> fault_child(Machine& m, const Uuid& nexus, const std::string& uri, bool for_good);
  Status start_rebuild(Machine& m, const Uuid& nexus, const std::string& uri);
  Status stop_rebuild(Machine& m, const Uuid& nexus, const std::string& uri);
  Status pause_rebuild(Machine& m, const Uuid& nexus, const std::string& uri, bool paused);
  Result<RebuildRecord> rebuild(Machine& m, const Uuid& nexus, const std::string& uri);
  Result<Nexus*> find_nexus(Machine& m, const Uuid& nexus);

 private:
  static constexpr UnixNanos unix_base = 1'767'225'600'000'000'000;  // 2026-01-01T00:00:00Z

  Machine* machine_at(std::string_view address) noexcept;
  // The machine that a child's URI leads to from this one; nullptr: there is none.
  Machine* home_of(Machine& from, const std::string& uri) noexcept;
  // The copy behind a child's URI as this machine reaches it now, with its pool; nullptr when it does not.
  Copy* reach(Machine& from, const std::string& uri, Pool** in = nullptr);
  // The same, whether its disks answer or not.
  Copy* find_child_copy(Machine& from, const std::string& uri, Pool** in);
  PoolState pool_state(const Machine& m, const Pool& pool) const;
  ReplicaState replica_state(const Machine& m, const Pool& pool, const Copy& copy) const;
  SnapshotState snapshot_state(const Machine& m, const Pool& pool, const Copy& copy) const;
  NexusState nexus_state(const Machine& m, const Nexus& nexus) const;
  std::string uri_of(const Machine& m, const Copy& copy) const;
  Result<Pool*> need_pool(Machine& m, const PoolId& id);
  Result<Copy*> need_copy(Machine& m, const Uuid& uuid, bool snapshot, Pool** in);
  // Whether a replica or snapshot may be called so; an error when it is taken.
  Status check_unused(Machine& m, const Uuid& uuid, const std::string& name);
  void drop_copy(Pool& pool, const Uuid& uuid);
  void check_last_copy(const Copy& copy, const char* what);
  // Allocates what a write of the region needs. False: there is no room.
  bool allocate(Pool& pool, Copy& copy, unsigned region);

  Status usable(const Nexus& n) const;
  Status open_child(Machine& m, Nexus& n, Child& c);
  Status choose_in_sync(Machine& m, Nexus& n, const nexus::Record* record);
  void check_opened(Machine& m, Nexus& n, bool has_record);
  Status record(Nexus& n, bool clean);
  void announce(Nexus& n);
  void child_failed(Nexus& n, Child& c, ChildReason reason);
  void begin_rebuild(Nexus& n, Child& c);
  RebuildRecord rebuild_record(const Nexus& n, const Child& c) const;
  void end_rebuild(Nexus& n, Child& c, RebuildStatus how);
  Result<Child*> rebuilt_child(Machine& m, const Uuid& nexus, const std::string& uri);
  void finish_rebuild(Machine& m, Nexus& n, Child& c);
  bool copy_all(const Content& from, Pool& pool, Copy& to, std::uint64_t since);
  bool is_child(const Uuid& replica) const;
  bool is_filled(const Machine& m, const Uuid& replica) const;
  void advance_fill(Machine& m, Fill& job);
  Result<bool> fill_one(Machine& m, Fill& job);
  Copy* source_of(Machine& m, Nexus& n);
  void release_children(Machine& m, Nexus& n);
  void advance_nexus(Machine& m, Nexus& n);
  void advance_child(Machine& m, Nexus& n, Child& c);
  bool write_child(Machine& m, Nexus& n, Child& c, unsigned region, std::uint64_t number);
  void violated(std::string text) { violations_.push_back(std::move(text)); }
  Uuid next_uuid(const char* what);

  Records& records_;
  const FleetOptions options_;
  Nanos now_{0};
  std::map<NodeId, Machine> machines_;
  std::set<std::pair<NodeId, NodeId>> cuts_;
  std::map<std::string, Content> acknowledged_;
  std::set<std::string> given_up_;
  std::uint64_t writes_ = 0;
  std::uint64_t uuids_ = 0;
  std::set<std::string> failed_fills_;  // volumes
  std::vector<std::string> violations_;
};

Child* find_child(Nexus& n, const std::string& uri) noexcept;
// What the engine of this machine answers.
Error refused(const Machine& m, Kind kind, std::string text);

}  // namespace holdfast::control::fake
