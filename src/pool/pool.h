// Pool: disks in, volumes out. A pool owns its disks; its volumes and snapshots are block devices of the
// registry, named as they are, or NAME@UUID where another device has the name.
//
// Control lives on the home core. Every change of the metadata is a record of the journal (record.h); an
// operation has happened when its task ends with ok, and after a crash it has happened wholly or not at all.
//
// Errors of the operations, with texts that name pool, disk or volume and the remedy:
//   not_found, already_exists, invalid_argument (names, sizes, parameters)
//   out_of_space          nothing is changed; freeing space heals it
//   busy                  a disk or volume is in use (claimed, shared)
//   failed_precondition   the state forbids it: pool faulted, disk of another pool, foreign data on the disk
//   bad_format            what is on the disks cannot be a pool, or is damaged
//   resource_exhausted    its maps take more memory than they may (PoolOptions::map_bytes_max)
//   not_supported         feature bits or version of a newer release
//   io_error              a disk said no
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "block/io_latency.h"
#include "block/registry.h"
#include "pool/disk_health.h"
#include "pool/types.h"
#include "rt/time.h"

namespace holdfast::pool {

enum class PoolStatus : std::uint8_t { online, degraded, faulted };

struct PoolParams {
  std::string name;
  std::optional<Uuid> uuid;
  std::vector<std::string> disks;  // URIs, or paths of files and devices; registered already, or made
  std::uint32_t cluster_bytes = cluster_bytes_default;
  bool force = false;  // create although the disk holds something that is known (a file system, another pool)
};

struct PoolOptions {
  std::uint64_t journal_bytes = 0;     // 0: by the size of the pool
  DiskHealthLimits disk_health;        // from where on a disk makes the pool degraded
  unsigned used_percent_warning = 80;  // of capacity: an event, once each time it is passed
  unsigned used_percent_critical = 95;
  // Let go of in one turn of the core, at most: clusters of what is deleted, shrunk or discarded; and first writes
  // whose data has become durable in its place.
  std::size_t clusters_per_turn = 4096;
  // Memory for the maps of a pool; 0: half of what the machine, or its control group, has. A pool that takes more is
  // not opened. An open one that takes an eighth less refuses what would take more: first writes to thin volumes,
  // snapshots and clones.
  std::uint64_t map_bytes_max = 0;
  // Keys of the attributes that whoever uses a volume's device, a mirror or a host, may give a snapshot of it
  // (BlockDevice::snapshots()). Others are refused: what they say is for whoever owns the pool. Empty: all may be
  // given. Outlives the pool.
  std::span<const std::string_view> snapshot_keys;
  bool background_completion = true;  // complete partial clusters with something behind them when idle
};

// What a disk says about itself.
struct DiskLabel {
  std::string pool;
  Uuid pool_uuid;
  Uuid instance;  // of the pool: another one each time a pool is made
  Uuid disk_uuid;
  unsigned disk_index = 0;
  // Making the pool was cut off, or erasing it: the disk is free. Of disk 0: so are all disks of its instance.
  bool unfinished = false;
};

struct DiskView {
  Uuid uuid;
  std::string uri;
  std::string device;
  PoolStatus status = PoolStatus::online;
  std::string status_reason;         // empty: online
  std::uint64_t size_bytes = 0;      // of the device
  std::uint64_t capacity_bytes = 0;  // taken in
  std::uint64_t used_bytes = 0;
  // Operations, since the pool was opened, or its health was reset.
  std::uint64_t read_errors = 0, write_errors = 0, stalls = 0;
};

struct PoolView {
  std::string name;
  Uuid uuid;
  PoolStatus status = PoolStatus::online;
  std::string status_reason;
  std::uint32_t cluster_bytes = 0;
  std::uint64_t capacity_bytes = 0;   // for data
  std::uint64_t used_bytes = 0;       // allocated, metadata included
  std::uint64_t committed_bytes = 0;  // sizes of the volumes, and what snapshots hold for themselves
  std::uint64_t reserved_bytes = 0;   // thick, not allocated yet
  std::uint64_t disk_bytes = 0;       // of all disks; more than capacity when one has grown
  std::uint64_t journal_bytes = 0, journal_used_bytes = 0;
  std::uint64_t partial_clusters = 0;
  unsigned used_percent_warning = 0, used_percent_critical = 0;
  std::uint64_t commits = 0;
  Nanos commit_time{0};      // sum
  Nanos checkpoint_time{0};  // of the last one
  Nanos snapshot_pause{0};   // in which writes in place stood still for the last snapshot
  std::vector<DiskView> disks;
};

struct VolumeParams {
  std::string name;
  Uuid uuid;
  std::uint64_t size_bytes = 0;  // rounded up to clusters
  bool thick = false;
  Attributes attributes;
};
struct SnapshotParams {
  std::string name;
  Uuid uuid;
  Attributes attributes;
};

struct VolumeView {
  VolumeSpec spec;
  Usage usage;
  std::uint64_t ancestor_bytes = 0;   // held by snapshots that this volume came from
  std::uint64_t inherited_bytes = 0;  // of a clone: of these, those that its first snapshot, its source, has
  std::uint64_t clones = 0;           // of a snapshot
};

enum class PoolEvent : std::uint8_t { status_changed, space_warning, space_critical, space_ok };
class Pool;
class PoolObserver {
 public:
  virtual void on_pool_event(Pool& pool, PoolEvent event) noexcept = 0;

 protected:
  ~PoolObserver() = default;
};

class Pool {
 public:
  // Labels the disks and makes an empty pool. When that is cut off, there is a whole one, or the disks are free for
  // another try. Registry and observer (may be nullptr) outlive it.
  static Task<Result<std::unique_ptr<Pool>>> create(DeviceRegistry& registry, PoolParams params,
                                                    PoolOptions options, PoolObserver* observer);
  // Opens the pool that is on these disks: all of them, in any order. `name` and `uuid`, where given, must be
  // what the disks say. failed_precondition names disks that are missing.
  static Task<Result<std::unique_ptr<Pool>>> open(DeviceRegistry& registry, std::vector<std::string> disks,
                                                  std::string name, std::optional<Uuid> uuid,
                                                  PoolOptions options, PoolObserver* observer);
  // The pool that a disk is of, or was about to be; nullopt when it is of none. Reads only. Errors: those of the
  // disk; bad_format when both copies of its label are damaged; not_supported (a newer release).
  static Task<Result<std::optional<DiskLabel>>> probe(DeviceRegistry& registry, std::string disk);
  ~Pool();  // close() or destroy() was awaited

  const std::string& name() const noexcept;
  const Uuid& uuid() const noexcept;
  PoolView view() const;

  // The devices of volumes and snapshots are in the registry when the task ends.
  Task<Result<VolumeView>> create_volume(VolumeParams params);
  // A snapshot may go in any order; clones and later snapshots keep what they share. busy while in use.
  Task<Status> destroy_volume(Uuid uuid);
  // A multiple of the cluster size, or rounded up. Shrinking gives the clusters beyond the end back.
  Task<Status> resize_volume(Uuid uuid, std::uint64_t size_bytes);
  // One point in time: writes that ended before are in it, writes that start after it are not.
  Task<Result<VolumeView>> create_snapshot(Uuid volume, SnapshotParams params);
  Task<Result<VolumeView>> create_clone(Uuid snapshot, SnapshotParams params);
  // The volume has the snapshot's content (and size) again; not while it is in use.
  Task<Status> revert_volume(Uuid volume, Uuid snapshot);
  // Empty values erase.
  Task<Status> set_attributes(Uuid uuid, Attributes changes);
  Result<VolumeView> find(const Uuid& uuid) const;
  Result<VolumeView> find(std::string_view name) const;
  std::vector<VolumeView> volumes() const;  // by id: in the order they were made; snapshots too
  // The same without a look at what they hold.
  std::vector<VolumeSpec> specs() const;
  BlockDevice* device(const Uuid& uuid) const noexcept;
  // Of a volume's or snapshot's operations since the pool was opened, or reset_latencies().
  IoLatencies latencies(const Uuid& uuid) const noexcept;
  Task<void> reset_latencies(Uuid uuid);
  // Where `later` differs from `earlier` (nullopt: all that is allocated), from an offset on.
  Result<std::vector<ByteRange>> diff(std::optional<Uuid> earlier, Uuid later, std::uint64_t from,
                                      std::size_t ranges_max) const;

  // The last epochs of a volume's regions from `first` on, in order; regions in none are left out.
  Result<std::vector<RegionRun>> region_epochs(Uuid volume, std::uint64_t first, std::size_t runs_max) const;
  // Raises regions to these epochs, none above the one announced last: for a volume that was given the content of
  // another one, whose epochs they are. Errors: invalid_argument; nothing is changed then.
  Task<Status> raise_regions(Uuid volume, std::vector<RegionRun> runs);

  Task<Status> add_disk(std::string uri, bool force);
  // Takes in what the disks have grown by; ok when nothing has.
  Task<Status> grow();
  Task<Status> checkpoint();
  // Of this disk (its URI), or of all (nullopt): counters are 0, and what they made degraded is so no longer.
  // Errors: not_found.
  Status reset_disk_health(const std::optional<std::string>& uri);
  // As in PoolOptions, until the pool is closed. 1 to 100, warning at most critical (asserted).
  void set_thresholds(unsigned used_percent_warning, unsigned used_percent_critical) noexcept;

  // Ends all I/O, writes a checkpoint, lets go of the disks: what export does. Volumes are not in use (busy).
  Task<Status> close();
  // Erases the pool from its disks, then close().
  Task<Status> destroy();

 private:
  class Impl;
  explicit Pool(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast::pool
