// The pools of an engine: those that are open, and those that it remembers and cannot open just now.
//
// Every pool that was created or imported is remembered in a file of the data directory until it is exported
// or destroyed, and opened again by itself after a restart. One that cannot be opened is shown as faulted
// with the reason, and tried again until its disks are back.
//
// Home core only. Operations that change a pool hold its lock (lock_key); pools do not wait for each other.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "block/registry.h"
#include "engine/exports.h"
#include "engine/keyed_locks.h"
#include "holdfast/v1/pool.pb.h"
#include "pool/pool.h"
#include "rt/scope.h"
#include "rt/stop.h"

namespace holdfast::engine {

// Keys of what the engine keeps with a volume or snapshot (pool::Attributes).
namespace attribute {
inline constexpr const char* shared = "shared";                // "nvmf" while it is exported
inline constexpr const char* allowed_hosts = "allowed_hosts";  // NQNs, separated by commas
inline constexpr const char* entity_id = "entity_id";
inline constexpr const char* txn_id = "txn_id";
// Nanoseconds since 1970, of a snapshot: the same on all replicas of a nexus.
inline constexpr const char* created = "created";
// What the control plane keeps with a replica (holdfast.v1.ReplicaRecordRpc), and its digest, a decimal number.
inline constexpr const char* record = "record";
inline constexpr const char* record_digest = "record_digest";
// What whoever uses a replica may say of a snapshot that he takes by way of it.
inline constexpr std::string_view of_snapshots[] = {entity_id, txn_id, created};
}  // namespace attribute

// The text of an attribute, empty when it is not there.
std::string text_of(const pool::Attributes& attributes, const char* key);
// "aio:///dev/sdb" for "/dev/sdb"; a URI stays.
std::string disk_uri(std::string_view uri_or_path);

class Pools final : pool::PoolObserver {
 public:
  struct Known {
    std::string name;
    Uuid uuid;
    std::vector<std::string> disks;  // URIs
    unsigned used_percent_warning = pool::PoolOptions().used_percent_warning;
    unsigned used_percent_critical = pool::PoolOptions().used_percent_critical;
    std::unique_ptr<pool::Pool> pool;  // nullptr: not open
    std::string reason;                // why not
    bool status_changed = false;       // since it was opened
  };
  // A volume or snapshot and its pool.
  struct Found {
    Known* known = nullptr;
    pool::VolumeView volume;
  };

  // `directory` exists. All references outlive the pools. `defaults` are for every pool.
  Pools(DeviceRegistry& devices, Exports& exports, KeyedLocks& locks, std::string directory,
        const pool::PoolOptions& defaults);
  ~Pools();  // stop() was awaited
  Pools(const Pools&) = delete;
  Pools& operator=(const Pools&) = delete;

  // Begins to open what is remembered, exports its replicas again, and waits a moment for it: pools that take
  // longer become available by themselves.
  Task<void> start();
  // Nexuses, which may lie between two pools.
  struct Between {
    std::function<Task<void>()> let_go;                 // ends those that nobody uses any more
    std::function<bool(const BlockDevice&)> is_theirs;  // it, and nobody else, ends the device
  };
  // Closes every pool cleanly. Nothing is exported any more, and nothing uses a replica but what lies between pools.
  Task<void> stop(Between between);

  static std::string lock_key(std::string_view pool_name) { return "pool " + std::string(pool_name); }
  // Of who makes a volume or snapshot of this UUID: pools do not know each other's.
  static std::string lock_key_of_new(const Uuid& volume) { return "volume " + volume.to_string(); }

  // With the lock of the name held. Errors: those of the pool.
  // A new pool, or the one that the disks hold already under this name; `force` never imports.
  Task<Result<Known*>> create(pool::PoolParams params);
  Task<Result<Known*>> import(std::string name, std::optional<Uuid> uuid, std::vector<std::string> disks);
  // Ends the exports of its replicas, then lets go of the disks; the pool is remembered no longer. busy while
  // a replica is in use. With `erase` the data is gone, too.
  Task<Status> release(Known& known, bool erase);
  // Writes down what is remembered of it.
  Task<Status> remember(const Known& known);
  // A disk of an open pool is remembered before it is one, so that no crash leaves a member that is not.
  Task<Status> add_disk(Known& known, std::string disk, bool force);
  // Closes and opens a pool that is faulted, or not open: its disks may be back. What is exported of it is exported
  // again. Errors: busy (a nexus uses a replica); those of opening it.
  Task<Status> reopen(Known& known);

  // By UUID or name; nullptr.
  Known* find(std::string_view uuid_or_name) const;
  Known* find(const Uuid& uuid) const;
  std::vector<Known*> list() const;  // by name
  // A volume or snapshot of any open pool.
  std::optional<Found> find_volume(const Uuid& uuid) const;
  bool is_volume(const BlockDevice& device) const;
  // Of a volume or snapshot of an open pool. Errors: failed_precondition when somebody took the device away.
  static Result<BlockDevice*> device_of(const Known& known, const pool::VolumeSpec& volume);
  // The first pool that is not open: what is not found elsewhere may be in it.
  const Known* closed_one() const;

  // Exports a replica as its attributes say.
  Task<Status> share_again(Known& known, const pool::VolumeSpec& volume);
  // busy, naming who uses the replica otherwise; nothing is changed then.
  Task<Status> end_export(const Known& known, const pool::VolumeSpec& volume);

 private:
  void on_pool_event(pool::Pool& pool, pool::PoolEvent event) noexcept override;
  Task<std::vector<std::string>> remembered_files();
  Task<void> load(std::string path);
  Task<Status> open(Known& known);
  Task<Result<std::unique_ptr<pool::Pool>>> open_members(Known& known);
  Task<void> keep_members(Known& known);
  Task<std::vector<std::string>> labelled_disks(const Known& known);
  // Ends the exports of its replicas, and closes it.
  Task<Status> close(Known& known, bool erase);
  Task<void> heal(std::string name);
  Task<void> open_first_time(Known& known);
  Task<void> retry();
  Task<void> share_all(Known& known);
  Task<void> try_to_remember(const Known& known);
  Task<Status> forget(const Known& known);
  Status not_in_use(const Known& known, const pool::VolumeSpec& volume) const;
  static Task<Status> end(pool::Pool& pool, bool erase);
  static Task<void> close_one(Known& known);
  Status check_names(const std::string& name, const std::vector<std::string>& disks) const;
  Result<Known*> add(std::unique_ptr<pool::Pool> opened, std::vector<std::string> disks);
  std::string path_of(const Uuid& uuid) const { return directory_ + "/" + uuid.to_string() + ".json"; }
  Reactor& home() const noexcept { return devices_.cores().home(); }
  pool::PoolOptions options_of(const Known& known) const;

  DeviceRegistry& devices_;
  Exports& exports_;
  KeyedLocks& locks_;
  const std::string directory_;
  const pool::PoolOptions defaults_;
  std::map<std::string, std::unique_ptr<Known>, std::less<>> known_;  // by name
  StopSource stop_;
  std::size_t opening_ = 0;
  WaitQueue opened_;
  TaskScope scope_;
};

}  // namespace holdfast::engine
