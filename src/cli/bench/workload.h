// Which place comes next, on one core. Units are places, a stride apart, counted from the start of the core's share
// of the range; no unit belongs to two cores.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/prng.h"
#include "cli/bench/bench.h"

namespace holdfast::cli {

struct BenchOp {
  std::uint64_t unit = 0;
  bool write = false;
};

class Workload {
 public:
  // units > 0. With options.verify, more than the operations in flight: then no unit is in flight twice.
  Workload(const BenchOptions& options, std::uint64_t units, std::uint64_t seed);

  // Nullopt: `once` and the range was covered.
  std::optional<BenchOp> next() noexcept;
  // Every operation that next() gave ends here.
  void ended(const BenchOp& op) noexcept;

  // When verifying: how often this run has written the unit, and so what a read of it must show; 0: not at
  // all.
  std::uint32_t generation(std::uint64_t unit) const noexcept { return book_[unit].generation; }
  std::uint64_t units() const noexcept { return units_; }
  std::uint64_t units_written() const noexcept { return units_written_; }

 private:
  // When verifying: 4 bytes a unit.
  struct Entry {
    std::uint32_t generation : 31 = 0;
    std::uint32_t in_flight : 1 = 0;
  };

  std::uint64_t pick() noexcept;
  std::uint64_t walk() noexcept;

  const BenchOptions& options_;
  const std::uint64_t units_;
  Prng prng_;
  std::uint64_t cursor_ = 0;  // sequential: the next unit; random and `once`: how many there were
  std::uint64_t at_ = 0;      // random and `once`: where the walk is
  std::vector<Entry> book_;
  std::uint64_t units_written_ = 0;
};

}  // namespace holdfast::cli
