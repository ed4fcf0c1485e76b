// Disk: one disk of a pool. It has a DiskPort on every core, through which all I/O to it goes: there errors and
// slow operations are counted, and flushes that mean the same are one.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "block/registry.h"
#include "pool/disk_health.h"
#include "pool/pool.h"
#include "pool/types.h"
#include "rt/message.h"
#include "rt/reactor.h"
#include "rt/timer.h"
#include "rt/wait.h"

namespace holdfast::pool {

class Disk;

// Hears of changes of a disk's health or size, on the home core.
class DiskObserver {
 public:
  virtual void on_disk_changed(Disk& disk) noexcept = 0;

 protected:
  ~DiskObserver() = default;
};

// A disk on one core. Offsets and lengths in bytes, multiples of Disk::block_bytes(). Buffers as block/ says.
// Errors as the device gives them, without text (see Disk::explain).
class DiskPort final : Message, Timer {
 public:
  DiskPort(Disk& disk, Reactor& core, std::unique_ptr<Channel> channel);
  ~DiskPort() = default;

  Task<Status> read(std::uint64_t offset, IoVecs into);
  Task<Status> write(std::uint64_t offset, IoVecs from, Durable durable);
  // The range reads as zeroes afterwards; written as zeroes where the device has no command for it.
  Task<Status> write_zeroes(std::uint64_t offset, std::uint64_t length, Unmap unmap);
  // A hint; ok when the device has no such command.
  Task<Status> discard(std::uint64_t offset, std::uint64_t length);
  // Every write that ended before, on any core, is durable. No I/O when there was none since the last flush, or
  // the disk has no volatile cache.
  Task<Status> flush();
  Disk& disk() const noexcept { return disk_; }

 private:
  friend class Disk;
  enum class Kind : std::uint8_t { read, write, other };
  class UnderWay;
  using Counter = std::atomic<std::uint64_t>;
  // One writer: a load and a store, no locked instruction.
  static void add_one(Counter& c) noexcept {
    c.store(c.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
  Lba lba(std::uint64_t offset) const noexcept { return Lba{offset / block_bytes_}; }
  void ended(const UnderWay& operation, const Status& outcome, Kind kind) noexcept;
  void saw_stall() noexcept { stalled_at_.store(core_.now(), std::memory_order_release); }
  void tell_home() noexcept;
  Task<Status> flush_now();
  Task<Status> zero_by_writing(std::uint64_t offset, std::uint64_t length);
  void run() noexcept override;  // on the home core: the disk's health changed here
  // Looks at what has been under way for too long, again and again: it may never end.
  void fire() noexcept override;

  Disk& disk_;
  Reactor& core_;
  const std::unique_ptr<Channel> channel_;
  const std::uint32_t block_bytes_;
  Counter writes_{0};  // not yet durable when they ended
  Counter read_errors_{0}, write_errors_{0}, stalls_{0};
  std::atomic<Nanos> stalled_at_{Nanos{0}};  // when something was under way for too long last; 0: never
  UnderWay* oldest_ = nullptr;               // of those under way, in the order in which they began
  UnderWay* youngest_ = nullptr;
  std::atomic<bool> told_{false};
  bool flushing_ = false;
  std::uint64_t flushing_from_ = 0;  // Disk::writes() when the flush under way began
  WaitQueue flushed_;
};

class Disk final : DeviceObserver, Timer {
 public:
  // Finds or makes the device of a URI, a registered name or a path, claims it for `user` and opens its ports.
  // A device that it made is destroyed when it closes. Errors: those of DeviceRegistry; busy; invalid_argument
  // when the device is too small to be a disk of a pool. Texts name the user and the disk.
  static Task<Result<std::unique_ptr<Disk>>> open(DeviceRegistry& registry, std::string uri, std::string user,
                                                  DiskHealthLimits health);
  ~Disk();  // close() was awaited

  Task<void> close();

  const std::string& uri() const noexcept { return uri_; }
  const std::string& user() const noexcept { return user_; }
  BlockDevice& device() const noexcept { return *device_; }
  DiskPort& port(unsigned core) const noexcept { return *ports_[core]; }
  DiskPort& home() const noexcept { return *ports_.front(); }
  std::uint32_t block_bytes() const noexcept { return block_bytes_; }
  std::uint64_t size_bytes() const noexcept { return device_->geometry().size_bytes(); }
  bool can_discard() const noexcept { return can_.deallocate; }
  bool has_volatile_cache() const noexcept { return can_.volatile_cache && can_.flush; }
  bool is_read_only() const noexcept { return can_.read_only; }
  // A flush failed. What it was to cover may be out of the disk's cache, and a later one says nothing of it: none
  // succeeds until the disk is opened again.
  bool lost_writes() const noexcept { return lost_.load(std::memory_order_acquire); }
  void lose_writes() noexcept { lost_.store(true, std::memory_order_release); }
  // Nothing of it is wanted any more: its labels are about to be erased, which has to be durable.
  void forget_lost() noexcept { lost_.store(false, std::memory_order_release); }

  // What it is in its pool; set by whoever read or wrote its label. data_offset: bytes.
  void become(std::uint16_t index, const Uuid& uuid, std::uint64_t data_offset) noexcept;
  std::uint16_t index() const noexcept { return index_; }
  const Uuid& uuid() const noexcept { return uuid_; }
  std::uint64_t data_offset() const noexcept { return data_offset_; }

  void observe(DiskObserver* observer) noexcept { observer_ = observer; }
  PoolStatus status() const noexcept;
  std::string status_reason() const;  // empty: online
  // Counters and what they tell begin anew.
  void reset_health() noexcept;
  // Identity and counters; capacity and use are the pool's to fill in.
  DiskView view() const;
  // The error with "pool 'p': disk 'd': what failed" in front; for metadata, whose errors reach people.
  Error explain(const Error& error, std::string_view what) const;

 private:
  friend class DiskPort;
  Disk(DeviceRegistry& registry, BlockDevice& device, std::string uri, std::string user,
       const DiskHealthLimits& health);
  Task<Status> open_ports();
  Task<void> close_ports();
  void on_device_event(BlockDevice& device, DeviceEvent event) noexcept override;
  struct Counts {
    std::uint64_t read_errors = 0, write_errors = 0, stalls = 0;
    Nanos stalled_at{0};  // last; 0: never
  };
  Counts counts() const noexcept;  // of all ports, since the disk was opened
  // Tells the health what the ports have counted.
  void look() noexcept;
  void fire() noexcept override;  // the health has something to forget
  void changed() noexcept {
    if (observer_ != nullptr) observer_->on_disk_changed(*this);
  }
  // Writes on all cores that ended without being durable. Any core.
  std::uint64_t writes() const noexcept;

  DeviceRegistry& registry_;
  const Cores& cores_;
  BlockDevice* device_;
  const std::string uri_;
  const std::string user_;
  const Nanos stall_time_;
  const Capabilities can_;
  const std::uint32_t block_bytes_;
  bool made_ = false;  // the device is ours
  DeviceClaim claim_;
  std::vector<std::unique_ptr<DiskPort>> ports_;  // by core
  std::atomic<std::uint64_t> flushed_{0};         // so many of writes() are durable
  std::atomic<bool> lost_{false};
  DiskHealth health_;
  Counts looked_;  // what the health knows
  Counts reset_;   // what is not shown
  DiskObserver* observer_ = nullptr;
  bool failed_ = false;
  bool removed_ = false;
  std::uint16_t index_ = 0;
  Uuid uuid_;
  std::uint64_t data_offset_ = 0;
};

// "/dev/sdb" becomes "aio:///dev/sdb"; URIs and names of devices stay.
std::string disk_uri(std::string_view path_or_uri);

}  // namespace holdfast::pool
