// BlockDevice: an array of fixed-size blocks, the one seam that every layer of the data path shares.
//
// Implemented by: malloc, null, file, inject (this folder), nvmf::initiator, nexus, later the pool's volumes.
// Used by: nvmf::target, nexus, bench, and devices made of devices.
//
// A BlockDevice lives on the home core. It hands out one Channel per core and user; I/O goes through channels
// only.
//
// Contract of a Channel
//   Thread      its core only.
//   Buffers     the caller's until the Task ends,
//               also when it ends with an error. Total length a multiple of the
//               block size (asserted); every vector's length and address a multiple of geometry().block_bytes
//               unless the device says it takes any alignment. Writes never change them.
//   Bounds      a range beyond the end is Errc::out_of_range; nothing is done then.
//   Order       none between operations in flight at once.
//               Overlapping writes in flight leave either content, block by block,
//               never a mix inside one block.
//   Durability  a write is durable when a flush STARTED after it finished has finished,
//               or when it was issued with
//               Durable::yes and finished.
//   Errors      Errc::io_error: the range's content is unknown until it is written again.
//               No partial success. The
//               other codes are those at the top of base/error.h.
//   Shutdown    close() after the last operation has finished; then only the destructor.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/uuid.h"
#include "block/epochs.h"
#include "block/reservation.h"
#include "block/snapshots.h"
#include "rt/io.h"
#include "rt/reactor.h"
#include "rt/task.h"

namespace holdfast {

// In blocks of THIS device; no arithmetic across devices.
enum class Lba : std::uint64_t {};
constexpr std::uint64_t to_blocks(Lba lba) noexcept { return static_cast<std::uint64_t>(lba); }

struct BlockRange {
  Lba first{};
  std::uint64_t count = 0;
};

enum class Durable : bool { no, yes };  // FUA
// What write_zeroes may do with the space: keep it allocated, or give it back as long as it reads as zeroes.
enum class Unmap : bool { no, yes };

class Channel {
 public:
  Channel() = default;
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  virtual ~Channel() = default;

  virtual Task<Status> read(Lba first, IoVecs into) = 0;
  virtual Task<Status> write(Lba first, IoVecs from, Durable durable) = 0;
  virtual Task<Status> write_zeroes(BlockRange range, Unmap unmap, Durable durable) = 0;
  // A hint: the content is not needed any more. Reads as geometry().deallocated_reads_zero says.
  virtual Task<Status> deallocate(BlockRange range) = 0;
  virtual Task<Status> flush() = 0;
  // miscompare when the device holds other bytes. Devices without a compare of their own read and compare.
  virtual Task<Status> compare(Lba first, IoVecs with) = 0;
  // Asks that every operation under way on this channel ends soon, with not_connected or cancelled: the nexus
  // gives up on this child, but the operations own the host's buffers until they end. The initiator resets
  // the channel's connection; a device that waits (inject) stops waiting; a device that cannot take an
  // operation back (a disk) lets it end on its own. From then on the channel refuses operations; only close()
  // follows.
  virtual void cancel_all() noexcept {}
  virtual Task<void> close() = 0;
};

struct Geometry {
  std::uint32_t block_bytes = 512;  // power of two, 512 to 4096
  std::uint64_t block_count = 0;
  std::uint32_t optimal_io_blocks = 0;    // 0: no preference
  std::uint32_t atomic_write_blocks = 1;  // a write of at most this many is all or nothing over power loss
  std::uint32_t buffer_alignment = 1;     // of vectors' addresses and lengths; 1: any
  bool deallocated_reads_zero = false;

  std::uint64_t size_bytes() const noexcept { return block_count * block_bytes; }
  bool operator==(const Geometry&) const = default;
};

// What a device can do besides read and write. Without it the channel answers Errc::not_supported.
struct Capabilities {
  bool flush = true;
  bool write_zeroes = false;
  bool deallocate = false;
  bool compare = false;
  bool volatile_cache = true;  // flush means something
  bool read_only = false;
  bool operator==(const Capabilities&) const = default;
};

struct IoStats {
  std::uint64_t read_ops = 0, read_bytes = 0;
  std::uint64_t write_ops = 0, write_bytes = 0;
  std::uint64_t unmap_ops = 0, unmapped_bytes = 0;
  std::uint64_t errors = 0;

  IoStats& operator+=(const IoStats& o) noexcept {
    read_ops += o.read_ops;
    read_bytes += o.read_bytes;
    write_ops += o.write_ops;
    write_bytes += o.write_bytes;
    unmap_ops += o.unmap_ops;
    unmapped_bytes += o.unmapped_bytes;
    errors += o.errors;
    return *this;
  }
};

enum class DeviceEvent : std::uint8_t {
  resized,  // geometry().block_count changed
  removed,  // gone for good: every operation fails from now on
  failed,   // no path, or too many errors; may come back by `recovered`
  recovered,
  // Of a device whose reservations are kept by its target: a registration or reservation may have been taken
  // away since; reservations()->report() tells.
  reservations_changed,
};

class BlockDevice;

// Hears of a device's events, on the home core. Unsubscribes itself on destruction.
class DeviceObserver {
 public:
  virtual void on_device_event(BlockDevice& device, DeviceEvent event) noexcept = 0;

 protected:
  DeviceObserver() = default;
  DeviceObserver(const DeviceObserver&) = delete;
  DeviceObserver& operator=(const DeviceObserver&) = delete;
  ~DeviceObserver();

 private:
  friend class BlockDevice;
  BlockDevice* device_ = nullptr;
};

class BlockDevice {
 public:
  struct Identity {
    std::string name;  // unique in the process
    Uuid uuid;
    std::string uri;           // as it was created
    std::string product_name;  // "Malloc disk", "NVMe-oF namespace", ...
  };

  explicit BlockDevice(Identity identity) : identity_(std::move(identity)) {}
  BlockDevice(const BlockDevice&) = delete;
  BlockDevice& operator=(const BlockDevice&) = delete;
  virtual ~BlockDevice();

  const Identity& identity() const noexcept { return identity_; }
  const std::string& name() const noexcept { return identity_.name; }
  // Home core only. Users on other cores keep a copy, renewed at DeviceEvent::resized.
  virtual const Geometry& geometry() const noexcept = 0;
  virtual const Capabilities& capabilities() const noexcept = 0;
  // Called on `core`, for use there. The device outlives its channels.
  virtual Task<Result<std::unique_ptr<Channel>>> open_channel(Reactor& core) = 0;
  // Sum over the channels; home core.
  virtual Task<IoStats> stats() = 0;
  // Reads the size of what lies below again; raises `resized` when it changed. Home core.
  virtual Task<Status> rescan() { co_return Status(); }
  // Where reservations are kept by somebody else, the target of a remote device: they count there for all
  // engines. nullptr: the device is this engine's own, and its guard (DeviceRegistry::guard) has them. Home
  // core.
  virtual ReservationClient* reservations() noexcept { return nullptr; }
  // nullptr: the device does not keep epochs. Valid as long as the device; home core.
  virtual EpochClient* epochs() noexcept { return nullptr; }
  // nullptr: no snapshots can be made of the device. Valid as long as the device; home core.
  virtual SnapshotClient* snapshots() noexcept { return nullptr; }
  // After every channel was closed. Home core.
  virtual Task<void> close() = 0;

  void subscribe(DeviceObserver& observer);
  void unsubscribe(DeviceObserver& observer) noexcept;

 protected:
  // Tells every observer; observers may unsubscribe from inside.
  void raise(DeviceEvent event) noexcept;

 private:
  Identity identity_;
  std::vector<DeviceObserver*> observers_;
};

// Checks a range against a geometry: out_of_range, or ok.
Status check_range(const Geometry& geometry, BlockRange range) noexcept;

}  // namespace holdfast
