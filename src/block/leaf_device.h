// What devices with no device below share: geometry that may grow, counters per core, checks of every
// operation.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "block/block_device.h"
#include "rt/buffer.h"

namespace holdfast {

// The counters of one device on one core. Written by that core, read by any.
class alignas(64) CoreCounters {
 public:
  void read_done(std::uint64_t bytes) noexcept {
    add(read_ops_, 1);
    add(read_bytes_, bytes);
  }
  void write_done(std::uint64_t bytes) noexcept {
    add(write_ops_, 1);
    add(write_bytes_, bytes);
  }
  void unmap_done(std::uint64_t bytes) noexcept {
    add(unmap_ops_, 1);
    add(unmapped_bytes_, bytes);
  }
  void failed() noexcept { add(errors_, 1); }
  void add_to(IoStats& sum) const noexcept;

 private:
  using Counter = std::atomic<std::uint64_t>;
  // One writer: a load and a store, no locked instruction.
  static void add(Counter& c, std::uint64_t n) noexcept {
    c.store(c.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  Counter read_ops_{0}, read_bytes_{0}, write_ops_{0}, write_bytes_{0}, unmap_ops_{0}, unmapped_bytes_{0},
      errors_{0};
};

// For all cores of a process.
class IoCounters {
 public:
  explicit IoCounters(unsigned cores) : of_core_(cores) {}
  CoreCounters& at(unsigned core) noexcept { return of_core_[core]; }
  IoStats sum() const noexcept;

 private:
  std::vector<CoreCounters> of_core_;
};

class LeafDevice : public BlockDevice {
 public:
  LeafDevice(Identity identity, const Cores& cores, const Geometry& geometry, const Capabilities& can)
      : BlockDevice(std::move(identity)),
        counters_(cores.count()),
        block_count_(geometry.block_count),
        geometry_(geometry),
        capabilities_(can) {}

  const Geometry& geometry() const noexcept override { return geometry_; }
  const Capabilities& capabilities() const noexcept override { return capabilities_; }
  Task<IoStats> stats() override { co_return counters_.sum(); }

  // For its channels, on any core.
  std::uint64_t block_count() const noexcept { return block_count_.load(std::memory_order_relaxed); }
  std::uint32_t block_bytes() const noexcept { return geometry_.block_bytes; }
  bool is_read_only() const noexcept { return capabilities_.read_only; }
  CoreCounters& counters(unsigned core) noexcept { return counters_.at(core); }

 protected:
  // Home core; raises `resized` when it is another size.
  void set_block_count(std::uint64_t count) noexcept;

 private:
  IoCounters counters_;
  std::atomic<std::uint64_t> block_count_;
  Geometry geometry_;  // block_count on the home core, the rest never changes
  const Capabilities capabilities_;
};

class LeafChannel : public Channel {
 public:
  LeafChannel(LeafDevice& device, Reactor& core) noexcept
      : device_(device), core_(core), counters_(device.counters(core.core())) {}
  // Reads and compares.
  Task<Status> compare(Lba first, IoVecs with) override;
  void cancel_all() noexcept override { cancelled_ = true; }
  Task<void> close() override { co_return; }

 protected:
  enum class Access : std::uint8_t { read, write };
  // cancelled, out_of_range, read_only, or ok. A length that is not whole blocks is the caller's bug.
  Status admit(BlockRange range, Access access) noexcept;
  BlockRange range_of(Lba first, IoVecs vectors) const noexcept;
  std::uint64_t bytes(std::uint64_t blocks) const noexcept { return blocks * device_.block_bytes(); }
  std::uint64_t offset_of(Lba lba) const noexcept { return bytes(to_blocks(lba)); }
  Reactor& core() const noexcept { return core_; }
  CoreCounters& counters() noexcept { return counters_; }
  // Counts the error that an operation ends with.
  Status fail(const Error& e) noexcept {
    counters_.failed();
    return e;
  }

 private:
  LeafDevice& device_;
  Reactor& core_;
  CoreCounters& counters_;
  bool cancelled_ = false;
};

// Aligned memory for a moment: from the core's pool when it has some, else from the system. Never waits, so
// it cannot deadlock with callers that hold all of the pool.
class ScratchBuffer {
 public:
  ScratchBuffer(Reactor& core, std::size_t bytes);
  ScratchBuffer(const ScratchBuffer&) = delete;
  ScratchBuffer& operator=(const ScratchBuffer&) = delete;
  ~ScratchBuffer();
  std::byte* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  IoVec vec() const noexcept { return {data_, size_}; }

 private:
  Buffer pooled_;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// Copies between a run of bytes and vectors; `skip` bytes into the vectors.
void copy_to_vectors(const std::byte* from, std::size_t bytes, IoVecs to, std::size_t skip = 0) noexcept;
void copy_from_vectors(IoVecs from, std::size_t skip, std::byte* to, std::size_t bytes) noexcept;

// A compare for channels without their own: reads piece by piece.
Task<Status> compare_by_reading(Channel& channel, Reactor& core, std::uint32_t block_bytes, Lba first,
                                IoVecs with);

}  // namespace holdfast
