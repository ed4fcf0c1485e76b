// Uses everything that a pool has, whatever it is: for pools whose metadata somebody changed. Any of it may fail.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "pool/pool.h"

namespace holdfast::pool::testing_support {

// `run` lets a task end on the home core and gives its result.
template <class Run>
class PoolExercise {
 public:
  PoolExercise(Pool& pool, Reactor& home, Run run) : pool_(pool), home_(home), run_(std::move(run)) {}

  void all() {
    for (const VolumeView& view : pool_.volumes()) {
      io(view.spec);
      if (view.spec.kind == VolumeKind::volume) change(view.spec);
    }
    done(pool_.checkpoint());
    for (const VolumeView& view : pool_.volumes()) io(view.spec);
    VolumeParams params;
    params.name = "new";
    params.uuid = Uuid::from_name("new");
    params.size_bytes = 1;
    if (run_(pool_.create_volume(params)).ok()) done(pool_.destroy_volume(params.uuid));
    const std::vector<VolumeView> views = pool_.volumes();
    if (!views.empty()) done(pool_.destroy_volume(views.front().spec.uuid));
    done(pool_.grow());
    static_cast<void>(pool_.view());
  }

 private:
  void done(Task<Status> task) { run_(std::move(task)).ignore("it may fail"); }

  // Reads and writes at both ends.
  void io(const VolumeSpec& spec) {
    BlockDevice* const device = pool_.device(spec.uuid);
    if (device == nullptr) return;
    auto opened = run_(device->open_channel(home_));
    if (!opened.ok()) return;
    Channel& channel = *opened.value();
    const std::uint64_t block = device->geometry().block_bytes;
    const std::uint64_t length = std::min<std::uint64_t>(spec.size_bytes, 64 * KiB);
    std::vector<std::byte> bytes(length);
    const IoVec whole{bytes.data(), bytes.size()}, part{bytes.data(), 4096};
    for (const std::uint64_t offset : {std::uint64_t{0}, spec.size_bytes - length}) {
      const Lba at{offset / block};
      done(channel.read(at, IoVecs(&whole, 1)));
      if (spec.kind == VolumeKind::snapshot) continue;
      done(channel.write(at, IoVecs(&part, 1), Durable::no));
      done(channel.deallocate(BlockRange{at, 64 * KiB / block}));
      done(channel.write(at, IoVecs(&part, 1), Durable::yes));
    }
    run_(channel.close());
  }

  void change(const VolumeSpec& spec) {
    SnapshotParams snapshot, clone;
    snapshot.name = spec.name + "-snapshot";
    clone.name = spec.name + "-clone";
    snapshot.uuid = Uuid::from_name(snapshot.name);
    clone.uuid = Uuid::from_name(clone.name);
    if (run_(pool_.create_snapshot(spec.uuid, snapshot)).ok()) {
      run_(pool_.create_clone(snapshot.uuid, clone)).ignore("it may fail");
      io(spec);
      done(pool_.revert_volume(spec.uuid, snapshot.uuid));
    }
    done(pool_.resize_volume(spec.uuid, spec.size_bytes + 1));
    done(pool_.resize_volume(spec.uuid, spec.size_bytes));
    done(pool_.set_attributes(spec.uuid, {{"key", "value"}}));
    pool_.diff(std::nullopt, spec.uuid, 0, 10).ignore("it may fail");
    pool_.region_epochs(spec.uuid, 0, 10).ignore("it may fail");
  }

  Pool& pool_;
  Reactor& home_;
  Run run_;
};

}  // namespace holdfast::pool::testing_support
