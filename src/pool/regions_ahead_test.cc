// Regions that are recorded before they are written: what waits, what counts, and what a crash leaves.
#include <gtest/gtest.h>

#include "pool/testing/after_crash.h"
#include "pool/testing/epochs.h"

namespace holdfast::pool {
namespace {

using namespace testing_support;  // NOLINT: tests only

// Twenty of its 24 regions have blocks.
struct RegionsAheadTest : testing::Test {
  static constexpr std::uint64_t regions = 24, mapped = 20;
  PoolBench b;
  Tracked v{b, b.volume("v", regions* MiB)};
  Epochs e{b, "v"};

  void SetUp() override {
    for (std::uint64_t region = 0; region < mapped; ++region)
      ASSERT_EQ(v.write(region * MiB, 64 * KiB), Errc::ok);
    ASSERT_EQ(e.announce(1), Errc::ok);
    b.settle();
  }
  void enter(std::uint64_t region) {
    ASSERT_EQ(v.write(region * MiB, 4 * KiB), Errc::ok);
    ASSERT_EQ(v.write(region * MiB + 4 * KiB, 4 * KiB), Errc::ok);
  }
  // Those that have an epoch in a process that finds what is on the disk now.
  std::string after_a_crash() {
    After after(content_of(b));
    const auto runs = after.pool->region_epochs(uuid_of("v"), 0, regions);
    EXPECT_TRUE(runs.ok());
    std::string s(regions, '0');
    for (const RegionRun& run : runs.value()) s.replace(run.first, run.count, run.count, '1');
    return s;
  }
};

// Each wait for a region takes in as many behind it as were written before it, nine at most.
TEST_F(RegionsAheadTest, WhoWritesRegionAfterRegionWaitsOnceForSeveral) {
  const std::uint64_t before = b.disk(0).stats().writes;
  enter(0);
  EXPECT_EQ(after_a_crash(), "100000000000000000000000");
  enter(1);
  EXPECT_EQ(after_a_crash(), "111000000000000000000000");
  enter(2);
  enter(3);
  EXPECT_EQ(after_a_crash(), "111111100000000000000000");
  for (std::uint64_t region = 4; region < 10; ++region) enter(region);
  EXPECT_EQ(after_a_crash(), "111111111111111000000000");
  EXPECT_EQ(b.disk(0).stats().writes - before, 20u + 4u) << "four commits";
  for (std::uint64_t region = 10; region < mapped; ++region) enter(region);
  EXPECT_EQ(after_a_crash(), "111111111111111111110000") << "as far as there is something";
}

TEST_F(RegionsAheadTest, CountWhenTheyAreWritten) {
  for (const std::uint64_t region : {0, 1, 3, 4}) enter(region);
  EXPECT_EQ(e.changed(0), "110110000000000000000000");
  EXPECT_EQ(after_a_crash(), "111111000000000000000000");
  enter(5);
  EXPECT_EQ(e.changed(0), "110111000000000000000000");
  ASSERT_EQ(v.deallocate(6 * MiB, 2 * MiB), Errc::ok);
  EXPECT_EQ(e.changed(0), "110111110000000000000000");
}

TEST_F(RegionsAheadTest, WhoComesFromElsewhereOrIntoTheMiddleWritesWhereHeWrites) {
  enter(5);
  enter(9);
  ASSERT_EQ(v.write(10 * MiB + 512 * KiB, 4 * KiB), Errc::ok);
  EXPECT_EQ(after_a_crash(), "000001000110000000000000");
}

// The image of a checkpoint takes the place of their record and does not have them.
TEST_F(RegionsAheadTest, AreRecordedAgainAfterACheckpoint) {
  for (std::uint64_t region = 0; region < 4; ++region) enter(region);
  EXPECT_EQ(after_a_crash(), "111111100000000000000000");
  ASSERT_TRUE(b.machine.run(b.pool->checkpoint()).ok());
  EXPECT_EQ(after_a_crash(), "111100000000000000000000");
  ASSERT_EQ(v.write(4 * MiB, 4 * KiB), Errc::ok);
  EXPECT_EQ(after_a_crash(), "111111111000000000000000");
}

TEST_F(RegionsAheadTest, AreRecordedAgainInTheNextEpoch) {
  for (std::uint64_t region = 0; region < 4; ++region) enter(region);
  ASSERT_EQ(e.announce(2), Errc::ok);
  enter(4);
  EXPECT_EQ(e.changed(1), "000010000000000000000000");
  EXPECT_EQ(e.changed(0), "111110000000000000000000");
}

// What was cut off and is there again is in no epoch.
TEST_F(RegionsAheadTest, AreRecordedAgainWhereTheVolumeShrankAndGrew) {
  for (std::uint64_t region = 0; region < 4; ++region) enter(region);
  const auto resize = [this](std::uint64_t bytes) {
    return b.machine.run(b.pool->resize_volume(uuid_of("v"), bytes)).code();
  };
  ASSERT_EQ(resize(4 * MiB), Errc::ok);
  ASSERT_EQ(resize(regions * MiB), Errc::ok);
  EXPECT_EQ(after_a_crash(), "111100000000000000000000");
  ASSERT_EQ(v.deallocate(5 * MiB, 4 * KiB), Errc::ok);
  EXPECT_EQ(after_a_crash(), "111101000000000000000000");
}

}  // namespace
}  // namespace holdfast::pool
