// MemoryLimit: how much memory the maps of a pool may take. A few bytes of an image, or one write to a place far from
// all others, may take kilobytes here, and who wrote them may be anybody.
#pragma once

#include <cstdint>

#include "pool/record.h"
#include "pool/state.h"

namespace holdfast::pool {

class MemoryLimit {
 public:
  // While a pool is read from its disks. bytes_max: 0: half of what the machine has.
  explicit MemoryLimit(std::uint64_t bytes_max) noexcept;
  // While it grows: an eighth less, so that it can be opened again.
  static MemoryLimit of_growth(std::uint64_t bytes_max) noexcept;

  // Before the state takes at most `more` bytes for maps. Now and then, and always when they were too many, it looks
  // how many they are. Errors: resource_exhausted.
  Status charge(const State& state, std::uint64_t more);
  // Before the record is applied.
  Status charge(const State& state, const Record& record);

  // Before a block is written where nothing is.
  Status charge_write(const State& state);

  // Bytes, at most, for `count` slots of a table (slot_array.h) that end before slot `end`.
  static std::uint64_t slots_cost(std::uint64_t end, std::uint64_t count) noexcept;

 private:
  std::uint64_t bytes_max_;
  std::uint64_t counted_ = 0;  // when it was looked at last
  std::uint64_t more_ = 0;     // at most, since
};

}  // namespace holdfast::pool
