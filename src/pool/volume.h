// Volume: a volume or snapshot of a pool as a block device.
//
// Any core reads, and overwrites what the volume has for itself, without a lock or a message: the map is published
// (volume_map.h), the operation counts itself (core_guard.h) and goes to the disk (volume_core.h). Whatever changes
// the map runs on the home core (map_writer.h).
//
// What was never written reads as zeroes and costs no I/O. A snapshot is read-only.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "block/block_device.h"
#include "block/io_latency.h"
#include "pool/core_guard.h"
#include "pool/disk_set.h"
#include "pool/fresh_data.h"
#include "pool/journal.h"
#include "pool/space.h"
#include "pool/state.h"
#include "rt/wait.h"

namespace holdfast::pool {

class MapWriter;
class Volume;
class VolumeCore;
class VolumeEpochs;

// What the volumes of a pool stand on. It outlives them.
struct VolumeParts {
  const Cores& cores;
  State& state;
  DiskSet& disks;
  Journal& journal;
  Space& space;
  FreshData& fresh;
  CoreGuard& guard;
};

// The pool, as its volumes know it. Hears on the home core that a device goes although the pool did not ask for it:
// the registry was closed, or somebody destroyed it there.
class VolumeOwner {
 public:
  virtual void on_device_closed(Volume& volume) noexcept = 0;
  // Somebody who has the device only wants a snapshot of it (block/snapshots.h).
  virtual Task<Status> take_snapshot(Uuid volume, SnapshotRequest request) = 0;

 protected:
  ~VolumeOwner() = default;
};

class Volume final : public BlockDevice, SnapshotClient {
 public:
  // `volume` is of parts.state, and outlives this.
  Volume(Identity identity, VolumeParts& parts, const StateVolume& volume, VolumeOwner& owner);
  ~Volume() override;  // close() was awaited

  const Geometry& geometry() const noexcept override { return geometry_; }
  const Capabilities& capabilities() const noexcept override { return capabilities_; }
  Task<Result<std::unique_ptr<Channel>>> open_channel(Reactor& core) override;
  Task<IoStats> stats() override;
  // Since the device is there, or since reset_latencies(); sum over the cores.
  IoLatencies latencies() const noexcept;
  Task<void> reset_latencies();
  EpochClient* epochs() noexcept override;
  SnapshotClient* snapshots() noexcept override { return is_read_only() ? nullptr : this; }
  Task<void> close() override;

  // Home core.
  const VolumeSpec& spec() const noexcept { return meta_.spec(); }
  MapWriter& writer() noexcept { return *writer_; }
  WriteGate& home_gate();  // of the home core
  // From the end of pause_writes() until resume_writes() no write is under way on any core; those that come wait.
  Task<void> pause_writes();
  Task<void> resume_writes();
  // The size in the metadata has changed.
  void size_changed();
  // The epoch in the metadata has changed. When it is done, every write that starts afterwards knows it.
  Task<void> epoch_changed();
  void tell(DeviceEvent event) noexcept { raise(event); }
  // While somebody has it, the device is not closed. Empty: it is being closed.
  Gate::Hold hold() noexcept { return gate_.enter(); }
  // The pool itself closes it: nobody else hears of that.
  void disown() noexcept { owner_ = nullptr; }
  // Writes that start from now on end with io_error: what they write may be lost.
  void refuse_writes() noexcept { refuses_writes_.store(true, std::memory_order_release); }

  // Any core.
  unsigned users() const noexcept {
    return users_.load(std::memory_order_acquire);
  }  // channels that are open
  VolumeParts& parts() const noexcept { return parts_; }
  const VolumeMap& map() const noexcept { return meta_.map(); }
  const RegionEpochs& region_epochs() const noexcept { return meta_.epochs(); }
  std::uint32_t epoch() const noexcept { return epoch_.load(std::memory_order_acquire); }
  bool refuses_writes() const noexcept { return refuses_writes_.load(std::memory_order_acquire); }
  std::uint64_t block_count() const noexcept { return block_count_.load(std::memory_order_acquire); }
  std::uint32_t block_bytes() const noexcept { return geometry_.block_bytes; }
  std::uint32_t cluster_bytes() const noexcept { return cluster_bytes_; }
  bool is_read_only() const noexcept { return capabilities_.read_only; }
  bool is_thick() const noexcept { return thick_; }
  // Whether these bytes belong to the volume's present epoch already.
  bool epoch_is_current(ByteRange range) const noexcept;
  void channel_closed() noexcept { users_.fetch_sub(1, std::memory_order_release); }

 private:
  Task<Status> create(SnapshotRequest request) override;  // SnapshotClient
  VolumeCore& core_state(Reactor& core);

  VolumeParts& parts_;
  const StateVolume& meta_;
  VolumeOwner* owner_;
  const std::uint32_t cluster_bytes_;
  Geometry geometry_;  // the block count on the home core, the rest never changes
  const Capabilities capabilities_;
  const bool thick_;
  std::atomic<std::uint64_t> block_count_;
  std::atomic<std::uint32_t> epoch_;
  std::atomic<bool> refuses_writes_{false};
  std::atomic<unsigned> users_{0};
  // By core; each is made by its core when it is first needed there.
  std::unique_ptr<std::atomic<VolumeCore*>[]> cores_;
  std::unique_ptr<MapWriter> writer_;
  std::unique_ptr<VolumeEpochs> epochs_;
  Gate gate_;
};

}  // namespace holdfast::pool
