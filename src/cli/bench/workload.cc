#include "cli/bench/workload.h"

#include "base/assert.h"

namespace holdfast::cli {

Workload::Workload(const BenchOptions& options, std::uint64_t units, std::uint64_t seed)
    : options_(options), units_(units), prng_(seed) {
  HF_ASSERT(units > 0);
  if (options.verify) {
    HF_ASSERT(units > options.queue_depth);
    book_.resize(units);
  }
}

std::uint64_t Workload::pick() noexcept {
  if (options_.random()) return prng_.below(units_);
  const std::uint64_t unit = cursor_ % units_;
  ++cursor_;
  return unit;
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
