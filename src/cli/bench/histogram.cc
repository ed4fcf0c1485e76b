#include "cli/bench/histogram.h"

#include <algorithm>
#include <cmath>

namespace holdfast::cli {

void Histogram::merge(const Histogram& other) noexcept {
  for (std::size_t i = 0; i < bucket_count; ++i) buckets_[i] += other.buckets_[i];
  count_ += other.count_;
  sum_ += other.sum_;
  max_ = std::max(max_, other.max_);
}

Nanos Histogram::percentile(double percent) const noexcept {
  if (count_ == 0) return Nanos{0};
  const auto wanted = static_cast<std::uint64_t>(std::ceil(static_cast<double>(count_) * percent / 100.0));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < bucket_count; ++i) {
    seen += buckets_[i];
    // The last bucket has no upper edge.
    if (seen == count_) return max();
    if (seen >= wanted && seen > 0) return Nanos{static_cast<std::int64_t>(std::min(upper_edge(i), max_))};
  }
  return max();
}

}  // namespace holdfast::cli
