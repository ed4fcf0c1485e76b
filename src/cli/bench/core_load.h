// The part of a bench that one core does: its channel, its share of the range, its operations in flight.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/error.h"
#include "block/block_device.h"
#include "cli/bench/bench.h"
#include "cli/bench/histogram.h"
#include "cli/bench/pattern.h"
#include "cli/bench/workload.h"
#include "rt/reactor.h"
#include "rt/scope.h"

namespace holdfast::cli {

// What all cores of a run share. Written before they start, but for the flag.
struct BenchPlan {
  BenchOptions options;
  std::uint32_t block_bytes = 0;     // of the device
  std::uint64_t units_per_core = 0;  // of options.stride
  std::atomic<bool> stop{false};     // any core: no new operations
};

// Counters that the home core reads while the owner counts.
struct alignas(64) LiveCounts {
  std::atomic<std::uint64_t> reads{0};
  std::atomic<std::uint64_t> writes{0};
  std::atomic<std::uint64_t> verified{0};

  static void add_one(std::atomic<std::uint64_t>& to) noexcept {  // one writer: no locked instruction
    to.store(to.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
};

class CoreLoad {
 public:
  // Made, used and destroyed on `reactor`'s thread, but for live(). The plan outlives it.
  CoreLoad(Reactor& reactor, BenchPlan& plan) noexcept;
  ~CoreLoad();  // close() was awaited

  // Opens the channel and takes the buffers. Errors: the device's; resource_exhausted (memory).
  Task<Status> open(BlockDevice& device);
  // Keeps the queue full until the time is over, the range is done, the stop is requested or an operation
  // fails; then waits for those in flight. The histograms count what ends between the two times.
  Task<Status> run(Nanos measure_from, Nanos measure_to);
  // Reads back everything that this run has written.
  Task<Status> verify_written();
  Task<void> close();

  const Histogram& reads() const noexcept { return reads_; }
  const Histogram& writes() const noexcept { return writes_; }
  const LiveCounts& live() const noexcept { return live_; }
  std::uint64_t units_written() const noexcept { return workload_.units_written(); }

 private:
  // Memory of one operation in flight.
  struct Lane {
    std::vector<Buffer> pieces;
    std::vector<IoVec> vectors;
  };

  Task<void> keep_going(Lane& lane, Nanos measure_from, Nanos measure_to);
  Task<void> keep_verifying(Lane& lane);
  std::uint64_t offset_of(std::uint64_t unit) const noexcept;
  Lba lba_of(std::uint64_t unit) const noexcept;
  void fill(Lane& lane, std::uint64_t unit) noexcept;
  bool check(const Lane& lane, std::uint64_t unit);
  void fail(Error error) noexcept;

  Reactor& reactor_;
  BenchPlan& plan_;
  Workload workload_;
  std::unique_ptr<Channel> channel_;
  std::vector<Lane> lanes_;
  Histogram reads_;
  Histogram writes_;
  LiveCounts live_;
  std::uint64_t verify_cursor_ = 0;
  std::optional<Error> error_;  // the first
};

}  // namespace holdfast::cli
