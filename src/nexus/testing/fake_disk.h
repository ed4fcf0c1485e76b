// A scripted device for the tests of the nexus: its content, failures and delays are the test's.
#pragma once

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/units.h"
#include "block/block_device.h"
#include "block/registry.h"
#include "block/uri.h"
#include "nexus/layout.h"
#include "rt/wait.h"

namespace holdfast::nexus::fake {

struct FakeDisk;

// The epochs of a disk: part of the medium, so they outlive every process.
class FakeEpochs final : public EpochClient {
 public:
  explicit FakeEpochs(FakeDisk& disk) : disk_(disk) {}
  Task<Result<EpochState>> state() override;
  Task<Status> announce(std::uint32_t epoch) override;
  Task<Status> seal(std::uint32_t epoch) override;
  Task<Result<RegionBitmap>> changed_since(std::uint32_t epoch, std::uint64_t first,
                                           std::uint64_t count) override;
  Task<Result<RegionBitmap>> allocated(std::uint64_t first, std::uint64_t count) override;

 private:
  template <class F>
  Result<RegionBitmap> collect(std::uint64_t first, std::uint64_t count, F f) const;
  FakeDisk& disk_;
};

// Snapshots are counted, no more.
class FakeSnapshots final : public SnapshotClient {
 public:
  explicit FakeSnapshots(FakeDisk& disk) : disk_(disk) {}
  Task<Status> create(SnapshotRequest request) override;

 private:
  FakeDisk& disk_;
};

class FakeDevice final : public BlockDevice {
 public:
  FakeDevice(Identity identity, FakeDisk& disk, Reactor& home)
      : BlockDevice(std::move(identity)), disk_(disk), home_(home), epochs_(disk), snapshots_(disk) {}
  ~FakeDevice() override;
  const Geometry& geometry() const noexcept override;
  const Capabilities& capabilities() const noexcept override;
  Task<Result<std::unique_ptr<Channel>>> open_channel(Reactor& core) override;
  Task<IoStats> stats() override { co_return IoStats(); }
  Task<Status> rescan() override;
  ReservationClient* reservations() noexcept override;
  EpochClient* epochs() noexcept override;
  SnapshotClient* snapshots() noexcept override;
  Task<void> close() override { co_return; }
  void tell(DeviceEvent event) noexcept { raise(event); }
  Reactor& home() noexcept { return home_; }

 private:
  FakeDisk& disk_;
  Reactor& home_;
  FakeEpochs epochs_;
  FakeSnapshots snapshots_;
};

// What outlives the device: the medium and the script.
struct FakeDisk {
  std::string name;
  Uuid uuid;
  Geometry geometry;
  Capabilities can{.flush = true,
                   .write_zeroes = true,
                   .deallocate = true,
                   .compare = false,
                   .volatile_cache = true,
                   .read_only = false};
  std::vector<std::byte> bytes;

  // The script. Errors and delays apply to every operation of the kind while they are set.
  bool absent = false;  // the factory fails
  Errc write_error = Errc::ok, read_error = Errc::ok, flush_error = Errc::ok, open_error = Errc::ok;
  Errc rescan_error = Errc::ok;
  Nanos rescan_delay{0};
  Nanos write_delay{0}, read_delay{0};
  bool hold_writes = false;  // writes wait until it is false again, or until they are cancelled
  bool hold_reads = false;
  bool hold_flushes = false;
  bool recalls = true;  // cancel_all ends what is held
  // Reads of these blocks end with io_error until they are written.
  std::uint64_t bad_first = 0, bad_count = 0;
  bool bad_for_good = false;  // writing does not help

  // Of a target: reservations are kept there. nullptr: the device is this engine's own.
  ReservationClient* reservations = nullptr;

  // Epochs, of regions of 1 MiB. They do not count before the first is announced.
  static constexpr std::uint64_t epoch_region_bytes = 1 * MiB;
  bool has_epochs = false;
  std::uint32_t epoch = 0, sealed = 0;
  std::vector<std::uint32_t> region_epochs;
  std::vector<bool> region_allocated;
  Errc epoch_error = Errc::ok;    // of announcing and sealing
  Errc regions_error = Errc::ok;  // of asking what changed
  bool hold_epochs = false;       // announcing waits
  Reactor* reactor = nullptr;     // of the device
  bool makes_snapshots = false;
  Errc snapshot_error = Errc::ok;
  bool hold_snapshots = false;
  void fit_regions() {
    region_epochs.resize(geometry.size_bytes() / epoch_region_bytes);
    region_allocated.resize(region_epochs.size());
  }
  void touch(std::uint64_t first, std::uint64_t count, bool allocates) {
    const std::uint64_t per_region = epoch_region_bytes / geometry.block_bytes;
    fit_regions();
    for (std::uint64_t r = first / per_region; r <= (first + count - 1) / per_region; ++r) {
      region_epochs[r] = std::max(region_epochs[r], epoch);
      if (allocates) region_allocated[r] = true;
    }
  }

  // What happened.
  struct Op {
    char kind;  // r w z d f; a (announce) and s (seal) with the epoch as `first`
    std::uint64_t first;
    std::uint64_t count;
  };
  std::vector<Op> log;
  unsigned opened = 0;  // devices made
  unsigned snapshots = 0;
  bool outlived = false;           // a call of rescan(), or for a snapshot, found its device gone
  unsigned channels = 0;           // open now
  unsigned under_way = 0;          // operations
  unsigned under_way_at_open = 0;  // the most that were under way when the device was opened again
  FakeDevice* device = nullptr;

  std::uint64_t count_of(char kind) const noexcept {
    std::uint64_t n = 0;
    for (const Op& op : log) n += op.kind == kind ? 1 : 0;
    return n;
  }
  std::uint64_t blocks_of(char kind) const noexcept {
    std::uint64_t n = 0;
    for (const Op& op : log) n += op.kind == kind ? op.count : 0;
    return n;
  }
  // First byte of a block of the volume.
  std::byte at(std::uint64_t volume_block) const {
    return bytes[data_offset_bytes + volume_block * geometry.block_bytes];
  }
  void grow(std::uint64_t size_bytes) {
    bytes.resize(size_bytes);
    geometry.block_count = size_bytes / geometry.block_bytes;
  }
};

inline Task<Status> FakeDevice::rescan() {
  FakeDisk& disk = disk_;
  const unsigned opening = disk.opened;
  if (disk.rescan_delay > Nanos(0)) co_await home_.sleep(disk.rescan_delay);
  if (disk.device == nullptr || disk.opened != opening) disk.outlived = true;
  if (disk.rescan_error != Errc::ok) co_return Error(disk.rescan_error);
  co_return Status();
}

class FakeChannel final : public Channel {
 public:
  FakeChannel(FakeDisk& disk, Reactor& core) : disk_(disk), core_(core) { ++disk_.channels; }
  ~FakeChannel() override { --disk_.channels; }

  Task<Status> read(Lba first, IoVecs into) override {
    const std::uint64_t count = total_bytes(into) / disk_.geometry.block_bytes;
    const Under under(disk_, 'r', to_blocks(first), count);
    if (disk_.read_delay > Nanos(0)) co_await core_.sleep(disk_.read_delay);
    while (disk_.hold_reads && !(cancelled_ && disk_.recalls)) co_await core_.sleep(1ms);
    if (cancelled_) co_return Error(Errc::not_connected);
    if (disk_.read_error != Errc::ok) co_return Error(disk_.read_error);
    if (is_bad(to_blocks(first), count)) co_return Error(Errc::io_error);
    HF_CO_CHECK(check_range(disk_.geometry, {first, count}));
    std::size_t at = to_blocks(first) * disk_.geometry.block_bytes;
    for (const auto& v : into) {
      std::memcpy(v.data, disk_.bytes.data() + at, v.size);
      at += v.size;
    }
    co_return Status();
  }
  Task<Status> write(Lba first, IoVecs from, Durable) override {
    const std::uint64_t count = total_bytes(from) / disk_.geometry.block_bytes;
    const Under under(disk_, 'w', to_blocks(first), count);
    Status s = co_await before_change(to_blocks(first), count);
    if (s.ok()) {
      const std::size_t at = to_blocks(first) * disk_.geometry.block_bytes;
      disk_.touch(to_blocks(first), count, true);
      // The caller's memory is read at the end: it must still be what it was.
      std::size_t offset = 0;
      for (const auto& v : from) {
        std::memcpy(disk_.bytes.data() + at + offset, v.data, v.size);
        offset += v.size;
      }
    }
    co_return s;
  }
  Task<Status> write_zeroes(BlockRange range, Unmap, Durable) override { return zero('z', range); }
  Task<Status> deallocate(BlockRange range) override { return zero('d', range); }
  Task<Status> flush() override {
    const Under under(disk_, 'f', 0, 0);
    while (disk_.hold_flushes && !(cancelled_ && disk_.recalls)) co_await core_.sleep(1ms);
    if (cancelled_) co_return Error(Errc::not_connected);
    if (disk_.flush_error != Errc::ok) co_return Error(disk_.flush_error);
    co_return Status();
  }
  Task<Status> compare(Lba, IoVecs) override { co_return Error(Errc::not_supported); }
  void cancel_all() noexcept override { cancelled_ = true; }
  Task<void> close() override { co_return; }

 private:
  struct Under {
    Under(FakeDisk& d, char kind, std::uint64_t first, std::uint64_t count) : disk(d) {
      disk.log.push_back({kind, first, count});
      ++disk.under_way;
    }
    ~Under() { --disk.under_way; }
    FakeDisk& disk;
  };
  Task<Status> zero(char kind, BlockRange range) {
    const Under under(disk_, kind, to_blocks(range.first), range.count);
    Status s = co_await before_change(to_blocks(range.first), range.count);
    if (s.ok()) {
      disk_.touch(to_blocks(range.first), range.count, false);
      std::memset(disk_.bytes.data() + to_blocks(range.first) * disk_.geometry.block_bytes, 0,
                  range.count * disk_.geometry.block_bytes);
    }
    co_return s;
  }
  Task<Status> before_change(std::uint64_t first, std::uint64_t count) {
    if (disk_.write_delay > Nanos(0)) co_await core_.sleep(disk_.write_delay);
    while (disk_.hold_writes && !(cancelled_ && disk_.recalls)) co_await core_.sleep(1ms);
    if (cancelled_) co_return Error(Errc::not_connected);
    if (disk_.write_error != Errc::ok) co_return Error(disk_.write_error);
    HF_CO_CHECK(check_range(disk_.geometry, {Lba{first}, count}));
    if (is_bad(first, count) && !disk_.bad_for_good) disk_.bad_count = 0;
    co_return Status();
  }
  bool is_bad(std::uint64_t first, std::uint64_t count) const noexcept {
    const std::uint64_t bad = disk_.bad_first + data_start_block(disk_.geometry.block_bytes);
    return disk_.bad_count > 0 && first < bad + disk_.bad_count && bad < first + count;
  }

  FakeDisk& disk_;
  Reactor& core_;
  bool cancelled_ = false;
};

inline EpochClient* FakeDevice::epochs() noexcept { return disk_.has_epochs ? &epochs_ : nullptr; }

inline Task<Result<EpochState>> FakeEpochs::state() {
  disk_.fit_regions();
  EpochState state;
  state.current = disk_.epoch;
  state.sealed = disk_.sealed;
  state.region_bytes = FakeDisk::epoch_region_bytes;
  state.regions = disk_.region_epochs.size();
  co_return state;
}
inline Task<Status> FakeEpochs::announce(std::uint32_t epoch) {
  while (disk_.hold_epochs) co_await disk_.reactor->sleep(1ms);
  if (disk_.epoch_error != Errc::ok) co_return Error(disk_.epoch_error);
  if (epoch < disk_.epoch) co_return Error(Errc::invalid_argument);
  disk_.log.push_back({'a', epoch, 0});
  disk_.epoch = epoch;
  co_return Status();
}
inline Task<Status> FakeEpochs::seal(std::uint32_t epoch) {
  if (disk_.epoch_error != Errc::ok) co_return Error(disk_.epoch_error);
  if (epoch > disk_.epoch) co_return Error(Errc::invalid_argument);
  disk_.log.push_back({'s', epoch, 0});
  disk_.sealed = std::max(disk_.sealed, epoch);
  co_return Status();
}
template <class F>
Result<RegionBitmap> FakeEpochs::collect(std::uint64_t first, std::uint64_t count, F f) const {
  if (first + count > disk_.region_epochs.size()) return Error(Errc::out_of_range);
  RegionBitmap bits(first, count);
  for (std::uint64_t region = first; region < first + count; ++region) {
    if (f(region)) bits.add(region);
  }
  return bits;
}
inline Task<Result<RegionBitmap>> FakeEpochs::changed_since(std::uint32_t epoch, std::uint64_t first,
                                                            std::uint64_t count) {
  if (disk_.regions_error != Errc::ok) co_return Error(disk_.regions_error);
  const auto changed = [&](std::uint64_t r) { return disk_.region_epochs[r] > epoch; };
  co_return collect(first, count, changed);
}
inline Task<Result<RegionBitmap>> FakeEpochs::allocated(std::uint64_t first, std::uint64_t count) {
  const auto has = [&](std::uint64_t r) { return disk_.region_allocated[r]; };
  co_return collect(first, count, has);
}

inline Task<Status> FakeSnapshots::create(SnapshotRequest) {
  FakeDisk& disk = disk_;
  const unsigned opening = disk.opened;
  while (disk.hold_snapshots) co_await disk.reactor->sleep(1ms);
  if (disk.device == nullptr || disk.opened != opening) disk.outlived = true;
  if (disk.snapshot_error != Errc::ok) co_return Error(disk.snapshot_error);
  ++disk.snapshots;
  co_return Status();
}

inline FakeDevice::~FakeDevice() { disk_.device = nullptr; }
inline ReservationClient* FakeDevice::reservations() noexcept { return disk_.reservations; }
inline SnapshotClient* FakeDevice::snapshots() noexcept {
  return disk_.makes_snapshots ? &snapshots_ : nullptr;
}
inline const Geometry& FakeDevice::geometry() const noexcept { return disk_.geometry; }
inline const Capabilities& FakeDevice::capabilities() const noexcept { return disk_.can; }
inline Task<Result<std::unique_ptr<Channel>>> FakeDevice::open_channel(Reactor& core) {
  if (disk_.open_error != Errc::ok) co_return Error(disk_.open_error);
  co_return std::make_unique<FakeChannel>(disk_, core);
}

// fake:///NAME[?uuid=U] and nvmf-fake:///NAME (a remote one) name disks of this map.
using FakeDisks = std::map<std::string, FakeDisk>;

inline DeviceRegistry::Scheme fake_scheme(FakeDisks& disks, Reactor& home) {
  struct Make {
    static Task<Result<std::unique_ptr<BlockDevice>>> run(FakeDisks& all, Reactor& on, std::string disk_name,
                                                          std::string uri) {
      const auto found = all.find(disk_name);
      if (found == all.end() || found->second.absent)
        co_return Error(Errc::not_found, "no disk '" + disk_name + "'");
      FakeDisk& disk = found->second;
      ++disk.opened;
      disk.under_way_at_open = std::max(disk.under_way_at_open, disk.under_way);
      BlockDevice::Identity identity{disk_name, disk.uuid, uri, "fake disk"};
      auto made = std::make_unique<FakeDevice>(std::move(identity), disk, on);
      disk.device = made.get();
      disk.reactor = &on;
      co_return made;
    }
  };
  DeviceRegistry::Scheme scheme;
  scheme.name = [](const Uri& uri) -> Result<std::string> { return uri.path.substr(1); };
  scheme.create = [&disks, &home](const Uri& uri) {
    return Make::run(disks, home, uri.path.substr(1), uri.text);
  };
  return scheme;
}

}  // namespace holdfast::nexus::fake
