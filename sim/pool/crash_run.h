// CrashRun: a pool that runs on disks which write down what is done to them, and the model of what it was told.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/prng.h"
#include "block/registry.h"
#include "pool/pool.h"
#include "sim/node.h"
#include "sim/pool/crash_disk.h"
#include "sim/pool/model.h"
#include "sim/world.h"

namespace holdfast::sim {

enum class CrashOp : std::uint8_t {
  create,
  remove,
  resize,
  snapshot,
  clone,
  remove_snapshot,
  first_write,
  overwrite,
  deallocate,
  add_disk,
  grow,
  checkpoint,
  // In long sequences only.
  flush,
  reopen,
  revert,
  part,   // two volumes have the same; one lets go of it, and the other one writes
  epoch,  // one is announced or sealed, or regions are raised
};
inline constexpr unsigned crash_op_count = 17;
const char* name(CrashOp op) noexcept;

struct CrashRunOptions {
  // Clusters that stand before others are completed in the background.
  bool completion = false;
  // Operations of the disks fail, as the seed says.
  bool faults = false;
  // Volumes have epochs from the beginning, and some have more than one region.
  bool epochs = false;
  // Of a new pool, where the seed does not say that they fail while it is made.
  std::size_t disks = 1;
};

class CrashRun {
 public:
  static constexpr std::uint32_t cluster_bytes = 64 << 10;
  static constexpr std::uint64_t journal_bytes = 64 << 10;
  static constexpr std::uint64_t cluster_sectors = cluster_bytes / DiskImage::sector_bytes;
  static constexpr std::uint64_t block_sectors = 8;
  static constexpr const char* pool_name = "p";
  // Whether the pool could not be made for what is on its disks, and can be by force.
  static bool may_be_forced(const Error& error) noexcept;

  // A new pool with a volume that has data, and a snapshot of it.
  CrashRun(std::uint64_t seed, CrashRunOptions options);
  // The pool on these disks, which has these objects.
  CrashRun(std::uint64_t seed, CrashRunOptions options, std::vector<DiskImage> disks, const Objects& objects,
           std::uint64_t tags);
  CrashRun(const CrashRun&) = delete;
  CrashRun& operator=(const CrashRun&) = delete;
  ~CrashRun();

  void run(CrashOp op);
  // The disks are well from now on. The pool works again, if need be after it was opened again, and all is there.
  void heal();
  // Deletes everything: nothing but the checkpoint has a cluster then.
  void clear();
  // What went wrong while it ran; empty: nothing.
  const std::string& failure() const noexcept { return failure_; }

  Moment now() const noexcept { return log_.now(); }
  // When the pool had been created.
  Moment created() const noexcept { return created_; }
  // Disks may have failed meanwhile.
  bool made_in_trouble() const noexcept { return made_in_trouble_; }
  const std::vector<std::unique_ptr<Step>>& steps() const noexcept { return steps_; }
  const std::vector<CrashDisk*>& disks() const noexcept { return disks_; }
  std::uint64_t tags() const noexcept { return tags_; }
  std::uint64_t operations() const noexcept { return operations_; }
  std::uint64_t disk_failures() const noexcept { return faults_.failures(); }
  std::uint64_t world_steps() const noexcept { return world_.steps(); }
  // Moments at which something began or ended, `from` on, in order.
  std::vector<Moment> moments(Moment from) const;

 private:
  struct SectorRange {
    std::uint64_t first = 0;
    std::uint64_t count = 0;
  };
  template <class T>
  T await(Task<T> task) {
    return world_.run(process_.core(0), std::move(task));
  }
  // What there was of errors when something began.
  struct Before {
    std::uint64_t failures = 0;
    bool faulted = false;
  };
  static DiskImage used_disk();
  // Before the pool is made or opened: what its disks failed until then is over.
  void look_after_disks();
  pool::PoolOptions pool_options() const;
  CrashDisk& add(DiskImage image);
  void open();
  // make_run.cc
  // The pool, on new disks that may fail meanwhile.
  void make();
  bool make_again(const Error& error, std::uint64_t failures, pool::PoolParams& params);
  void check_unused(std::size_t first, std::size_t end);
  void add_disk();
  // epoch_run.cc
  void epoch();
  void announce(const std::string& volume_name);
  void begin_epoch(Objects::value_type& volume);
  void raise(Objects::value_type& volume);
  // Fails the run when the table of a volume lacks what was written.
  std::string unrecorded(const Object& object, const SeenTags& seen);
  void settle();
  // Fails the run, unless a disk failed meanwhile.
  void check(const Status& status, const std::string& what, Before before);
  void fail(const std::string& why);
  std::vector<std::string> uris(std::size_t disks) const;
  // Runs a change that leaves `after`, on so many disks.
  void step(const std::string& what, Objects after, const std::function<Task<Status>()>& change,
            std::size_t disks);
  void step(const std::string& what, Objects after, const std::function<Task<Status>()>& change) {
    step(what, std::move(after), change, members_);
  }
  void happened(std::unique_ptr<Step> step);
  Objects& objects() noexcept { return objects_; }
  std::string new_name(const char* kind) { return kind + std::to_string(names_++); }
  // A volume or snapshot; nullptr: there is none.
  Objects::value_type* pick(bool snapshot);

  // Whether so many volumes and snapshots more are not too many.
  bool room(std::size_t more) noexcept { return objects().size() + more <= 9; }

  // The names of what was made, if there was space for it.
  std::string create();
  std::string snapshot(const Objects::value_type& volume);
  std::string clone(const Objects::value_type& source);
  void remove(const Objects::value_type& victim);
  void resize();
  void revert();
  void first_write();
  void overwrite();
  void overwrite(Objects::value_type& volume);
  void deallocate();
  void deallocate(Objects::value_type& volume, SectorRange range);
  void part();
  void grow();
  void flush();
  void reopen();
  // error_run.cc
  bool faulted() const;
  Before before() const { return Before{faults_.failures(), faulted()}; }
  // A change that ended with an error: it may have happened when the journal failed in it.
  void unknown(std::unique_ptr<Step> step, Before before);
  // After the pool was opened: which of what may have happened did.
  void resolve();
  // Disks fail, or do so no longer, or the user opens the pool again.
  void trouble();
  // What the pool shows, and says of itself.
  void look();
  void look_at_health();
  void read_all();
  std::string differs(const Objects& objects);
  std::string differs(const std::string& name, const Object& object);
  // What is used when nothing goes on in the background, and no more than one checkpoint is there.
  std::uint64_t used_at_rest();
  // Writes the ranges, which do not overlap, at once; beside a checkpoint, if that is asked for.
  void write(Objects::value_type& object, const std::vector<SectorRange>& ranges, bool checkpoint);
  void first_writes(bool at_once, bool checkpoint);
  void checkpoint();
  // Whether it was done; out_of_space is no failure.
  bool on_channel(const std::string& name, const std::function<Task<Status>(Channel&)>& use);
  void acknowledge(Version& v, bool done);

  World world_;
  Node& node_;
  Process& process_;
  DeviceRegistry registry_;
  const CrashRunOptions options_;
  Prng random_;
  CrashLog log_;
  CrashFaults faults_;
  std::vector<CrashFaults::Counts> counted_;  // by disk, when the pool opened it
  std::uint64_t flushes_failed_ = 0;          // by then
  Moment created_ = 0;
  bool made_in_trouble_ = false;
  std::vector<CrashDisk*> disks_;  // the registry's
  std::size_t members_ = 0;        // disks of the pool; one more may have been meant to be
  Objects objects_;                // what there is
  std::unique_ptr<pool::Pool> pool_;
  std::vector<std::unique_ptr<Step>> steps_;
  bool healed_ = false;
  const Step* unknown_ = nullptr;  // the last one, when it is not known whether it happened
  std::deque<Version> versions_;
  std::vector<Version*> unflushed_;
  std::uint64_t tags_ = 0;
  std::uint64_t operations_ = 0;
  unsigned names_ = 0;
  std::string failure_;
};

}  // namespace holdfast::sim
