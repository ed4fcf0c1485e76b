// Measures a block device: a fixed number of operations in flight on every core, for a time, with the latency
// of each. With verify it also proves that what was acknowledged is what is read.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/error.h"
#include "block/block_device.h"
#include "cli/bench/histogram.h"
#include "rt/reactor.h"
#include "rt/stop.h"

namespace holdfast::cli {

enum class Access : std::uint8_t { read, write, rand_read, rand_write, rand_rw };

struct BenchOptions {
  Access access = Access::rand_read;
  unsigned read_percent = 50;     // of rand_rw
  std::uint64_t io_bytes = 4096;  // of one operation
  unsigned queue_depth = 32;      // operations in flight on each core
  Nanos time = 10s;               // measured
  Nanos warmup = 1s;              // before that, not counted
  bool once = false;              // each place of the range once, instead of `time`
  std::uint64_t stride = 0;       // bytes from the start of one place to that of the next; 0: io_bytes
  std::uint64_t offset = 0;       // bytes; the range that is used
  std::uint64_t size = 0;         // bytes; 0: to the end of the device
  bool verify = false;
  std::uint64_t seed = 0;  // of the addresses
  std::uint32_t run = 0;   // the mark of this run in its pattern: no two runs over one device have the same

  bool reads() const noexcept { return access != Access::write && access != Access::rand_write; }
  bool writes() const noexcept { return access != Access::read && access != Access::rand_read; }
  bool random() const noexcept { return access != Access::read && access != Access::write; }
};

// Operations that ended, since the start of the run.
struct BenchCounts {
  std::uint64_t reads = 0;
  std::uint64_t writes = 0;
};

struct BenchProgress {
  enum class Phase : std::uint8_t { warmup, measuring, verifying };
  Phase phase = Phase::warmup;
  Nanos elapsed{0};   // in this phase
  Nanos interval{0};  // since the last progress
  BenchCounts interval_counts;
  std::uint64_t verified = 0;  // blocks, while verifying
  std::uint64_t to_verify = 0;
};

struct BenchReport {
  Nanos elapsed{0};  // measured
  BenchCounts counts;
  Histogram reads;
  Histogram writes;
  Nanos cpu_time{0};           // of this process while measuring
  std::uint64_t verified = 0;  // blocks whose content was checked
  bool interrupted = false;    // the stop was requested before the end
};

// What the bench cannot see from where it is.
struct BenchSurroundings {
  std::function<Nanos()> cpu_time;                        // user and system time of the process
  std::function<void(const BenchProgress&)> on_progress;  // about once a second, on the home core
};

// On the home core. The device is not closed. Errors: invalid_argument (options that do not fit the device,
// naming the option); those of the first operation that failed, naming its place; miscompare (verify found
// other content).
Task<Result<BenchReport>> run_bench(const Cores& cores, BlockDevice& device, BenchOptions options,
                                    BenchSurroundings surroundings, StopToken stop);

}  // namespace holdfast::cli
