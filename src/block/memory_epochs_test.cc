// The epochs of a malloc device: which regions count as written, and what is refused.
#include <gtest/gtest.h>

#include "base/units.h"
#include "block/testing/test_devices.h"

namespace holdfast {
namespace {

using namespace testing_support;

constexpr std::uint64_t blocks_per_region = 1 * MiB / 512;

// The regions whose bit is set.
std::vector<std::uint64_t> set_of(const Result<RegionBitmap>& bits) {
  std::vector<std::uint64_t> set;
  if (!bits.ok()) return {~std::uint64_t{0}};
  const RegionBitmap& regions = bits.value();
  for (std::uint64_t i = regions.first; i < regions.first + regions.count; ++i) {
    if (regions.has(i)) set.push_back(i);
  }
  return set;
}
using Regions = std::vector<std::uint64_t>;

struct EpochDevice : Machine {
  explicit EpochDevice(const std::string& uri = "malloc:///m0?size_mb=200&epochs=true")
      : device(create(uri)), epochs(device->epochs()), channel(*this, *device) {}
  Regions changed(std::uint32_t epoch) { return set_of(run(epochs->changed_since(epoch, 0, 200))); }
  BlockDevice* device;
  EpochClient* epochs;
  OpenChannel channel;
};

TEST(MallocEpochs, OnlyWhereAskedFor) {
  Machine m;
  EXPECT_EQ(m.create("malloc:///m1?size_mb=1")->epochs(), nullptr);
  EXPECT_NE(m.refused("null:///n?size_mb=1&epochs=true", Errc::invalid_argument).find("epochs"),
            std::string::npos);
}

TEST(MallocEpochs, EveryKindOfWriteCounts) {
  EpochDevice d;
  const EpochState fresh{0, 0, 1 * MiB, 200};
  EXPECT_EQ(d.run(d.epochs->state()).value(), fresh);
  EXPECT_EQ(d.channel.write(0, filled(512, 1)), Errc::ok);
  EXPECT_EQ(d.changed(0), Regions()) << "before the first epoch nothing is counted";
  EXPECT_TRUE(d.run(d.epochs->announce(1)).ok());
  EXPECT_EQ(d.channel.write(3 * blocks_per_region - 1, filled(1024, 1)), Errc::ok);
  EXPECT_EQ(d.changed(0), (Regions{2, 3}));
  EXPECT_TRUE(d.run(d.epochs->announce(5)).ok());
  const BlockRange zeroed{Lba{10 * blocks_per_region}, blocks_per_region};
  EXPECT_TRUE(d.run(d.channel.channel->write_zeroes(zeroed, Unmap::yes, Durable::no)).ok());
  const BlockRange trimmed{Lba{100 * blocks_per_region}, 1};
  EXPECT_TRUE(d.run(d.channel.channel->deallocate(trimmed)).ok());
  EXPECT_EQ(d.changed(1), (Regions{10, 100})) << "also where nothing was allocated";
  EXPECT_EQ(d.changed(0), (Regions{2, 3, 10, 100}));
  EXPECT_EQ(d.changed(5), Regions());
  const Regions first_chunk{0, 1, 2, 3};
  EXPECT_EQ(set_of(d.run(d.epochs->allocated(0, 200))), first_chunk);
  EXPECT_EQ(set_of(d.run(d.epochs->changed_since(0, 3, 8))), (Regions{3, 10}));
}

TEST(MallocEpochs, NeverGoBack) {
  EpochDevice d;
  EXPECT_TRUE(d.run(d.epochs->announce(7)).ok());
  EXPECT_TRUE(d.run(d.epochs->announce(7)).ok());
  EXPECT_EQ(d.run(d.epochs->announce(6)).code(), Errc::invalid_argument);
  EXPECT_EQ(d.run(d.epochs->seal(8)).code(), Errc::invalid_argument);
  EXPECT_TRUE(d.run(d.epochs->seal(6)).ok());
  EXPECT_TRUE(d.run(d.epochs->seal(3)).ok());
  const EpochState state{7, 6, 1 * MiB, 200};
  EXPECT_EQ(d.run(d.epochs->state()).value(), state);
}

TEST(MallocEpochs, RangesAreChecked) {
  EpochDevice d;
  EXPECT_EQ(d.run(d.epochs->changed_since(0, 0, 201)).code(), Errc::out_of_range);
  EXPECT_EQ(d.run(d.epochs->allocated(~std::uint64_t{0}, 2)).code(), Errc::out_of_range);
  EXPECT_EQ(d.run(d.epochs->allocated(0, EpochClient::regions_per_call_max + 1)).code(),
            Errc::invalid_argument);
  EXPECT_EQ(d.run(d.epochs->allocated(200, 0)).value().count, 0u);
}

TEST(MallocEpochs, GrowWithTheDevice) {
  EpochDevice d;
  EXPECT_TRUE(d.run(d.epochs->announce(1)).ok());
  EXPECT_TRUE(d.run(d.registry.create("malloc:///m0?size_mb=300&resize")).ok());
  EXPECT_EQ(d.run(d.epochs->state()).value().regions, 300u);
  EXPECT_EQ(d.channel.write(299 * blocks_per_region, filled(512, 1)), Errc::ok);
  EXPECT_EQ(set_of(d.run(d.epochs->changed_since(0, 0, 300))), Regions{299});
}

}  // namespace
}  // namespace holdfast
