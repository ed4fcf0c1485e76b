#include "cli/bench/histogram.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "base/prng.h"

namespace holdfast::cli {
namespace {

TEST(Histogram, EmptyHasNoFigures) {
  const Histogram h;
  EXPECT_EQ(h.count(), 0u);
  EXPECT_EQ(h.percentile(99), 0ns);
  EXPECT_EQ(h.mean_ns(), 0);
}

TEST(Histogram, OneValueIsEveryPercentile) {
  Histogram h;
  h.record(12345ns);
  EXPECT_EQ(h.percentile(0), 12345ns) << "never above the largest";
  EXPECT_EQ(h.percentile(50), 12345ns);
  EXPECT_EQ(h.percentile(100), 12345ns);
  EXPECT_EQ(h.max(), 12345ns);
}

TEST(Histogram, PercentilesAreRightToTwoPercent) {
  Prng prng(1);
  Histogram h;
  std::vector<std::int64_t> all;
  for (int i = 0; i < 200'000; ++i) {
    // Spread over six decades.
    const auto ns = static_cast<std::int64_t>(prng.below(std::uint64_t{10} << (prng.below(20) + 3)));
    all.push_back(ns);
    h.record(Nanos{ns});
  }
  std::sort(all.begin(), all.end());
  for (const double percent : {1.0, 10.0, 50.0, 90.0, 99.0, 99.9, 99.99}) {
    const auto exact =
        static_cast<double>(all[static_cast<std::size_t>(static_cast<double>(all.size()) * percent / 100)]);
    EXPECT_NEAR(static_cast<double>(h.percentile(percent).count()), exact, exact * 0.02 + 1) << percent;
  }
  EXPECT_EQ(h.max().count(), all.back());
  EXPECT_EQ(h.percentile(100).count(), all.back());
}

TEST(Histogram, SmallValuesAreExactAndHugeOnesKeepTheirOrder) {
  Histogram h;
  for (int ns = 0; ns < 128; ++ns) h.record(Nanos{ns});
  EXPECT_EQ(h.percentile(50), 63ns);
  h.record(-5ns);  // a clock that stepped: counted as nothing
  h.record(Nanos::max());
  EXPECT_EQ(h.percentile(100), Nanos::max());
}

TEST(Histogram, MergingIsRecordingIntoOne) {
  Histogram a, b, both;
  for (int i = 1; i < 1000; ++i) {
    (i % 2 == 0 ? a : b).record(Nanos{i * 1000});
    both.record(Nanos{i * 1000});
  }
  a.merge(b);
  EXPECT_EQ(a.count(), both.count());
  EXPECT_EQ(a.percentile(90), both.percentile(90));
  EXPECT_DOUBLE_EQ(a.mean_ns(), both.mean_ns());
}

}  // namespace
}  // namespace holdfast::cli
