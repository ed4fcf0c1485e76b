#include "nexus/layout.h"

#include <gtest/gtest.h>

#include "base/units.h"

namespace holdfast::nexus {
namespace {

ChildGeometry child(std::uint64_t bytes, std::uint32_t block = 512) {
  return {"x:///a", block, bytes / block};
}

TEST(Layout, DataStartsAtFiveMebibytes) {
  EXPECT_EQ(data_start_block(512), 10240u);
  EXPECT_EQ(data_start_block(4096), 1280u);
}

// last usable = num_blocks - ceil(16 KiB / block) - 2, inclusive; blocks = end - start + 1.
TEST(Layout, RequestOfTheWholeDeviceLeavesHeadAndTail) {
  const std::uint64_t blocks = 1 * GiB / 512;
  EXPECT_EQ(usable_blocks(child(1 * GiB), 1 * GiB).value(), blocks - 32 - 2 - 10240 + 1);
  const std::uint64_t large = 1 * GiB / 4096;
  EXPECT_EQ(usable_blocks(child(1 * GiB, 4096), 1 * GiB).value(), large - 4 - 2 - 1280 + 1);
}

TEST(Layout, SmallerRequestIsMetExactly) {
  EXPECT_EQ(usable_blocks(child(64 * MiB), 32 * MiB).value(), 32 * MiB / 512);
  EXPECT_EQ(usable_blocks(child(64 * MiB, 4096), 32 * MiB).value(), 32 * MiB / 4096);
}

TEST(Layout, VolumeIsTheLeastOfTheChildren) {
  const auto blocks = volume_blocks({child(64 * MiB), child(16 * MiB)}, 16 * MiB);
  EXPECT_EQ(blocks.value(), usable_blocks(child(16 * MiB), 16 * MiB).value());
}

TEST(Layout, ChildSmallerThanTheRequestIsNamedWithBothSizes) {
  const auto r = volume_blocks({child(32 * MiB), child(15 * MiB)}, 16 * MiB);
  ASSERT_EQ(r.code(), Errc::invalid_argument);
  EXPECT_NE(r.error().message().find("x:///a"), std::string::npos);
  EXPECT_NE(r.error().message().find("needs 16 MiB"), std::string::npos) << r.error().message();
  EXPECT_NE(r.error().message().find("has 15 MiB"), std::string::npos) << r.error().message();
}

TEST(Layout, DeviceWithoutRoomForTheReservedAreaIsTooSmall) {
  EXPECT_EQ(usable_blocks(child(4 * MiB), 4 * MiB).code(), Errc::invalid_argument);
  EXPECT_EQ(usable_blocks(child(5 * MiB), 5 * MiB).code(), Errc::invalid_argument);
  EXPECT_EQ(usable_blocks(child(5 * MiB + 16 * KiB + 512), 1 * MiB).code(), Errc::invalid_argument);
  EXPECT_EQ(usable_blocks(child(5 * MiB + 16 * KiB + 1024), 1 * MiB).value(), 1u);
}

TEST(Layout, BadRequests) {
  EXPECT_EQ(volume_blocks({}, 1 * MiB).code(), Errc::invalid_argument);
  EXPECT_EQ(volume_blocks({child(64 * MiB)}, 0).code(), Errc::invalid_argument);
  EXPECT_EQ(volume_blocks({child(64 * MiB)}, 1000).code(), Errc::invalid_argument);
  const auto mixed = volume_blocks({child(64 * MiB), child(64 * MiB, 4096)}, 32 * MiB);
  ASSERT_EQ(mixed.code(), Errc::invalid_argument);
  EXPECT_NE(mixed.error().message().find("mixed block sizes"), std::string::npos);
}

TEST(Layout, NewChildMustHoldTheVolumeAsItIs) {
  const std::uint64_t blocks = volume_blocks({child(16 * MiB)}, 16 * MiB).value();
  EXPECT_TRUE(check_fits(child(16 * MiB), 512, blocks).ok());
  EXPECT_EQ(check_fits(child(16 * MiB - 512), 512, blocks).code(), Errc::invalid_argument);
  EXPECT_EQ(check_fits(child(64 * MiB, 4096), 512, blocks).code(), Errc::invalid_argument);
}

}  // namespace
}  // namespace holdfast::nexus
