// The inside of a Pool: its parts, and what makes them one. Home core.
//
//   pool_create.cc, pool_open.cc   labels, recovery, building the parts, closing
//   pool_checkpoint.cc             checkpoints
//   pool_disks.cc                  adding disks, growth
//   pool_volumes.cc                devices of volumes and snapshots
//   pool_operations.cc             what makes, changes and ends them
//   pool_view.cc                   what it says of itself
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "pool/checkpoint.h"
#include "pool/core_guard.h"
#include "pool/disk_set.h"
#include "pool/fresh_data.h"
#include "pool/journal.h"
#include "pool/memory_limit.h"
#include "pool/pool.h"
#include "pool/recovery.h"
#include "pool/space.h"
#include "pool/state.h"
#include "pool/superblock.h"
#include "pool/volume.h"
#include "rt/scope.h"
#include "rt/wait.h"

namespace holdfast::pool {

class Pool::Impl final : JournalClient, Space::Log, DiskObserver, VolumeOwner {
 public:
  Impl(DeviceRegistry& registry, PoolOptions options, PoolObserver* observer);
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl();  // let_go() was awaited

  // After an error of these two only let_go() follows.
  Task<Status> create(PoolParams params);
  Task<Status> open(std::vector<std::string> uris, std::string name, std::optional<Uuid> uuid);
  Task<Status> close(bool destroy);
  // Closes whatever is open, writing nothing.
  Task<void> let_go();

  const std::string& name() const noexcept { return label_.superblock.name; }
  const Uuid& uuid() const noexcept { return label_.superblock.pool_uuid; }
  void set_pool(Pool& pool) noexcept { pool_ = &pool; }
  PoolView view() const;
  void set_thresholds(unsigned warning, unsigned critical) noexcept;
  Status reset_disk_health(const std::optional<std::string>& uri);

  Task<Status> add_disk(std::string uri, bool force);
  Task<Status> grow();
  // Everything that was committed before the call is in a checkpoint.
  Task<Status> checkpoint();

  Task<Result<VolumeView>> create_volume(VolumeParams params);
  Task<Status> destroy_volume(Uuid uuid);
  Task<Status> resize_volume(Uuid uuid, std::uint64_t size_bytes);
  Task<Result<VolumeView>> create_snapshot(Uuid volume, SnapshotParams params);
  Task<Result<VolumeView>> create_clone(Uuid snapshot, SnapshotParams params);
  Task<Status> revert_volume(Uuid volume, Uuid snapshot);
  Task<Status> set_attributes(Uuid uuid, Attributes changes);
  Result<VolumeView> find(const Uuid& uuid) const;
  Result<VolumeView> find(std::string_view name) const;
  std::vector<VolumeView> volumes() const;
  std::vector<VolumeSpec> specs() const;
  Volume* device(const Uuid& uuid) const noexcept;
  IoLatencies latencies(const Uuid& uuid) const noexcept;
  Task<void> reset_latencies(Uuid uuid);
  Result<std::vector<ByteRange>> diff(std::optional<Uuid> earlier, Uuid later, std::uint64_t from,
                                      std::size_t ranges_max) const;
  Result<std::vector<RegionRun>> region_epochs(Uuid volume, std::uint64_t first, std::size_t runs_max) const;
  Task<Status> raise_regions(Uuid volume, std::vector<RegionRun> runs);

 private:
  // pool_create.cc
  Task<Status> open_disks(const std::vector<std::string>& uris);
  Task<Status> refuse_labelled() const;
  Status refuse_label(const Disk& disk, const Result<Label>& label) const;
  Result<std::vector<Label>> plan_new_disks(const PoolParams& params);
  Task<Status> label_new_disks(std::vector<Label>& labels);
  Task<Status> check_told_apart(const std::vector<Label>& labels);
  Task<Status> finish_labels(std::vector<Label>& labels);
  // Errors: disk 0 goes on to say that there is a pool. Then the others are left as they are, unless `all_the_same`.
  Task<Status> wipe_labels(bool all_the_same);
  // False: the disk keeps its label.
  Task<bool> erase_label(Disk& disk) const;
  std::string user() const { return "pool '" + name() + "'"; }
  Error error(Errc code, const std::string& text) const { return Error(code, user() + ": " + text); }

  // pool_open.cc
  // The disks that the state knows; all of them are there.
  void take_members();
  // Lets go of the disks that it does not know.
  Task<void> leave_others();
  Status check_image(const std::vector<DiskCluster>& image) const;
  // Makes what works on the state: the ring from `begin` to `end`.
  void build(Journal::Mark begin, Journal::Mark end);
  void hold_image(const std::vector<DiskCluster>& image);

  // pool_volumes.cc
  // Makes the devices of all volumes and snapshots and registers them.
  void open_volumes();
  // Takes them away again; `force`: although they are in use (busy otherwise).
  Task<Status> close_volumes(bool force);
  // Under the volume's name, or name_with_uuid() when there is another device of that name.
  void add_device(const StateVolume& volume);
  Task<void> remove_device(VolumeId id);
  // Nobody finds it any more. To be closed.
  std::unique_ptr<BlockDevice> withdraw_device(std::map<VolumeId, Volume*>::iterator at);
  Status check_unused(VolumeId id) const;
  Task<void> complete_in_background();
  VolumeView view_of(const StateVolume& volume) const;
  Result<const StateVolume*> known(const Uuid& uuid) const;

  // pool_operations.cc
  Status check_changeable() const;
  bool is_taken(const std::string& new_name, VolumeKind kind) const;
  Status check_new(std::string_view what, VolumeKind kind, const std::string& new_name, const Uuid& new_uuid,
                   const Attributes& attributes) const;
  Result<std::uint64_t> size_of(std::string_view volume_name, std::uint64_t bytes) const;
  Result<const StateVolume*> known(const Uuid& uuid, VolumeKind kind) const;
  Task<Result<Space::Promise>> reserve(std::uint64_t clusters, const std::string& for_what);
  // Adds to `room` until `whole` clusters can be reserved for a thick volume, with what it has reserved.
  Task<Status> reserve_whole(VolumeId thick, std::uint64_t whole, std::string for_what, Space::Promise& room);
  // The maps may take what this record makes them take. Errors: out_of_space.
  Status check_memory(const Record& record);
  Task<Status> commit_one(Record record, Durable durable);
  Task<Result<VolumeView>> add_volume(VolumeSpec spec, Durable durable);
  Task<Status> while_paused(VolumeId id, Record record, Durable durable);

  // pool_checkpoint.cc
  Task<Status> run_checkpoint(bool last);
  Task<Status> label_former();
  Task<Status> write_checkpoint(Journal::Mark mark, bool last);
  Task<Status> label_image(bool last);
  void count_checkpoint(Journal::Mark mark) noexcept;
  Task<void> background_checkpoint();
  void keep_image_reserve() noexcept;

  // pool_disks.cc
  Task<Status> check_new_disk(Disk& disk, bool force) const;
  Task<Status> join(Disk& disk);
  std::uint64_t clusters_on(const Disk& disk) const noexcept {  // that fit on it
    return clusters_that_fit(disk, label_.superblock.cluster_bytes);
  }
  std::uint32_t segment_clusters(std::uint16_t disk) const noexcept;  // that were taken in
  Status check_room_for_segments(std::size_t more) const;

  // JournalClient
  Task<Status> before_commit(std::span<const Record* const> records) override;
  void apply(Record& record) noexcept override;
  void checkpoint_wanted() noexcept override;
  void journal_failed(const Error& error, std::span<const Record* const> uncertain) noexcept override;
  // Space::Log
  Status may_grow() noexcept override;
  Task<Status> make_durable() override {
    Status done = co_await journal_->flush();
    if (!done.ok() && journal_->frozen()) done = *journal_->frozen();  // no flush succeeds any more
    co_return done;
  }
  void about_to_free(ClusterRun freed) noexcept override { fresh_->forget(freed); }
  void space_returned() noexcept override { watch_space(); }
  void on_disk_changed(Disk& disk) noexcept override;
  void on_device_closed(Volume& volume) noexcept override;
  Task<Status> take_snapshot(Uuid volume, SnapshotRequest request) override;

  void tell(PoolEvent event) noexcept {
    if (observer_ != nullptr && pool_ != nullptr) observer_->on_pool_event(*pool_, event);
  }
  void watch_space() noexcept;
  PoolStatus status() const noexcept;
  std::string status_reason() const;

  DeviceRegistry& registry_;
  Reactor& home_;
  PoolOptions options_;
  PoolObserver* const observer_;
  Pool* pool_ = nullptr;
  Label label_;                                   // of disk 0
  std::vector<std::unique_ptr<Disk>> new_disks_;  // open, and not in disks_ yet
  std::unique_ptr<Disk> joining_;                 // being added
  std::unique_ptr<State> state_;
  std::unique_ptr<DiskSet> disks_;
  MemoryLimit memory_;  // of maps that grow
  bool memory_refused_ = false;
  CoreGuard guard_;
  std::unique_ptr<Space> space_;
  std::unique_ptr<Journal> journal_;
  std::unique_ptr<FreshData> fresh_;
  std::unique_ptr<VolumeParts> parts_;
  std::map<VolumeId, Volume*> devices_;  // the registry owns them
  // Changes of volumes and disks, one after the other; I/O does not wait for them.
  Semaphore changes_;
  bool read_only_ = false;
  bool closing_ = false;
  StopSource completion_stop_;

  // Clusters that a root on disk may name: the last image's; after an update of the label that failed those of the
  // next one as well, which is whole.
  std::vector<Cluster> image_;
  struct Unlabelled {
    Root root;
    Journal::Mark mark;
    std::vector<Cluster> image;
  };
  std::optional<Unlabelled> unlabelled_;
  // What the last commit, which failed, may have taken clusters or all from: nothing is written to them any more.
  std::set<VolumeId> uncertain_;
  bool checkpointing_ = false;
  WaitQueue checkpoint_over_;
  std::uint64_t checkpointed_ = 0;  // the sequence of the last one
  Nanos checkpoint_time_{0};
  Nanos snapshot_pause_{0};
  PoolStatus told_status_ = PoolStatus::online;
  PoolEvent told_space_ = PoolEvent::space_ok;
  TaskScope scope_;
};

// Errors: invalid_argument, naming what may not be in a name of a pool, volume or snapshot.
Status check_name(std::string_view what, std::string_view name);

}  // namespace holdfast::pool
