#include "pool/volume.h"

#include <utility>

#include "pool/map_writer.h"
#include "pool/volume_channel.h"
#include "pool/volume_core.h"
#include "pool/volume_epochs.h"
#include "rt/cross_core.h"

namespace holdfast::pool {

namespace {

Geometry geometry_of(const VolumeSpec& spec, const DiskSet& disks) {
  Geometry g;
  g.block_bytes = disks.block_bytes();
  g.block_count = spec.size_bytes / g.block_bytes;
  g.optimal_io_blocks = block_bytes / g.block_bytes;
  g.deallocated_reads_zero = true;
  return g;
}

// Of a read-only pool nothing is written, nor what could be written in place.
Capabilities capabilities_of(const VolumeSpec& spec, const Journal& journal) {
  const std::optional<Error>& frozen = journal.frozen();
  Capabilities can;
  can.compare = true;
  can.read_only = spec.kind == VolumeKind::snapshot || (frozen && frozen->code() == Errc::read_only);
  can.write_zeroes = !can.read_only;
  can.deallocate = !can.read_only;
  return can;
}

}  // namespace

Volume::Volume(Identity identity, VolumeParts& parts, const StateVolume& volume, VolumeOwner& owner)
    : BlockDevice(std::move(identity)),
      parts_(parts),
      meta_(volume),
      owner_(&owner),
      cluster_bytes_(parts.state.cluster_bytes()),
      geometry_(geometry_of(volume.spec(), parts.disks)),
      capabilities_(capabilities_of(volume.spec(), parts.journal)),
      thick_(volume.spec().thick),
      block_count_(geometry_.block_count),
      epoch_(volume.spec().epoch),
      cores_(std::make_unique<std::atomic<VolumeCore*>[]>(parts.cores.count())),
      gate_(parts.cores.home()) {
  if (volume.spec().kind == VolumeKind::snapshot) return;
  writer_ = std::make_unique<MapWriter>(*this);
  epochs_ = std::make_unique<VolumeEpochs>(*this);
}

Task<Status> Volume::create(SnapshotRequest request) {
  if (owner_ == nullptr) co_return Error(Errc::not_connected);
  // Whatever becomes of this device meanwhile: the pool looks for the volume when it is its turn.
  co_return co_await owner_->take_snapshot(spec().uuid, std::move(request));
}

Volume::~Volume() {
  HF_ASSERT(users() == 0);
  for (unsigned i = 0; i < parts_.cores.count(); ++i) delete cores_[i].load(std::memory_order_acquire);
}

VolumeCore& Volume::core_state(Reactor& core) {
  std::atomic<VolumeCore*>& slot = cores_[core.core()];
  VolumeCore* there = slot.load(std::memory_order_relaxed);
  if (there == nullptr) {
    there = new VolumeCore(*this, core);
    slot.store(there, std::memory_order_release);
  }
  return *there;
}

WriteGate& Volume::home_gate() { return core_state(parts_.cores.home()).gate(); }

Task<Result<std::unique_ptr<Channel>>> Volume::open_channel(Reactor& core) {
  std::unique_ptr<Channel> channel = std::make_unique<VolumeChannel>(*this, core_state(core));
  users_.fetch_add(1, std::memory_order_relaxed);
  co_return channel;
}

Task<IoStats> Volume::stats() {
  IoStats sum;
  for (unsigned i = 0; i < parts_.cores.count(); ++i) {
    VolumeCore* there = cores_[i].load(std::memory_order_acquire);
    if (there != nullptr) there->counters().add_to(sum);
  }
  co_return sum;
}

IoLatencies Volume::latencies() const noexcept {
  IoLatencies sum;
  for (unsigned i = 0; i < parts_.cores.count(); ++i) {
    VolumeCore* there = cores_[i].load(std::memory_order_acquire);
    if (there != nullptr) sum += there->latencies().get();
  }
  return sum;
}

Task<void> Volume::reset_latencies() {
  auto reset = [this](Reactor& core) -> Task<void> {
    VolumeCore* there = cores_[core.core()].load(std::memory_order_relaxed);
    if (there != nullptr) there->latencies().reset();
    co_return;
  };
  co_await run_on_all(parts_.cores.home(), parts_.cores, reset);
}

EpochClient* Volume::epochs() noexcept { return epochs_.get(); }

Task<void> Volume::close() {
  if (VolumeOwner* owner = std::exchange(owner_, nullptr)) owner->on_device_closed(*this);
  co_await gate_.close();
  if (writer_) co_await writer_->close();
}

Task<void> Volume::pause_writes() {
  // The state of a core that has none yet is made, so that a write which comes first of all waits, too.
  auto pause = [this](Reactor& core) -> Task<void> { return core_state(core).gate().pause(); };
  co_await run_on_all(parts_.cores.home(), parts_.cores, pause);
  writer_->forget_regions_ahead();
}

Task<void> Volume::resume_writes() {
  auto resume = [this](Reactor& core) -> Task<void> {
    core_state(core).gate().resume();
    co_return;
  };
  co_await run_on_all(parts_.cores.home(), parts_.cores, resume);
}

void Volume::size_changed() {
  geometry_.block_count = meta_.spec().size_bytes / geometry_.block_bytes;
  block_count_.store(geometry_.block_count, std::memory_order_release);
}

Task<void> Volume::epoch_changed() {
  epoch_.store(meta_.spec().epoch, std::memory_order_release);
  // A core that has run a message sent after the store sees it.
  auto look = [](Reactor&) -> Task<void> { co_return; };
  co_await run_on_all(parts_.cores.home(), parts_.cores, look);
}

bool Volume::epoch_is_current(ByteRange range) const noexcept {
  const std::uint32_t now = epoch();
  if (now == 0) return true;
  const std::uint64_t last = (range.offset + range.length - 1) / region_bytes;
  for (std::uint64_t region = range.offset / region_bytes; region <= last; ++region) {
    if (region_epochs().get(region) < now) return false;
  }
  return true;
}

}  // namespace holdfast::pool
