#include "cli/bench/workload.h"

#include <bit>

#include "base/assert.h"

namespace holdfast::cli {

Workload::Workload(const BenchOptions& options, std::uint64_t units, std::uint64_t seed)
    : options_(options), units_(units), prng_(seed) {
  HF_ASSERT(units > 0);
  at_ = prng_.next();
  if (options.verify) {
    HF_ASSERT(units > options.queue_depth);
    book_.resize(units);
  }
}

std::uint64_t Workload::pick() noexcept {
  if (options_.random() && !options_.once) return prng_.below(units_);
  if (options_.random()) {
    ++cursor_;
    return walk();
  }
  const std::uint64_t unit = cursor_ % units_;
  ++cursor_;
  return unit;
}

// A linear congruential generator meets each number below its modulus, a power of two, once before it begins again
// (multiplier 1 modulo 4, odd increment); what is no unit is passed over.
std::uint64_t Workload::walk() noexcept {
  const auto bits = static_cast<int>(std::bit_width(units_ - 1));
  const std::uint64_t mask = (std::uint64_t{1} << bits) - 1;
  for (;;) {
    at_ = (at_ * 0x5851f42d4c957f2d + 0x14057b7ef767814f) & mask;
    const std::uint64_t unit = at_ ^ (at_ >> ((bits + 1) / 2));  // its low bits alone repeat soon
    if (unit < units_) return unit;
  }
}

std::optional<BenchOp> Workload::next() noexcept {
  if (options_.once && cursor_ >= units_) return std::nullopt;
  BenchOp op;
  op.write =
      options_.writes() && !(options_.access == Access::rand_rw && prng_.chance(options_.read_percent, 100));
  op.unit = pick();
  if (!options_.verify) return op;
  // Two operations on one block at once leave nothing that could be checked: take a neighbour.
  while (book_[op.unit].in_flight != 0) op.unit = (op.unit + 1) % units_;
  Entry& entry = book_[op.unit];
  entry.in_flight = 1;
  if (op.write) {
    if (entry.generation == 0) ++units_written_;
    ++entry.generation;
  }
  return op;
}

void Workload::ended(const BenchOp& op) noexcept {
  if (options_.verify) book_[op.unit].in_flight = 0;
}

}  // namespace holdfast::cli
