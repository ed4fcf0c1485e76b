#include "cli/tool/progress.h"

#include <gtest/gtest.h>

namespace holdfast::cli {
namespace {

TEST(Progress, TheBarFillsAndNeverOverflows) {
  EXPECT_EQ(bar(0, 10, 10), "----------");
  EXPECT_EQ(bar(5, 10, 10), "#####-----");
  EXPECT_EQ(bar(10, 10, 10), "##########");
  EXPECT_EQ(bar(11, 10, 10), "##########");
  EXPECT_EQ(bar(0, 0, 4), "####");
}

TEST(Progress, DurationsShowTwoUnitsAtMost) {
  EXPECT_EQ(format_duration(-1), "0 s");
  EXPECT_EQ(format_duration(3.2), "4 s");
  EXPECT_EQ(format_duration(200), "3 min 20 s");
  EXPECT_EQ(format_duration(7500), "2 h 5 min");
}

TEST(Progress, TheRateFollowsChanges) {
  Rate r;
  r.sample(1, 0);
  EXPECT_EQ(r.per_second(), 0);
  r.sample(2, 100);
  EXPECT_DOUBLE_EQ(r.per_second(), 100);
  for (int t = 3; t < 20; ++t) r.sample(t, 100 + static_cast<std::uint64_t>(t - 2) * 10);
  EXPECT_NEAR(r.per_second(), 10, 1);
  r.sample(21, 5);  // another rebuild began
  r.sample(22, 15);
  EXPECT_NEAR(r.per_second(), 10, 1);
}

}  // namespace
}  // namespace holdfast::cli
