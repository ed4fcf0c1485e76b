#include "nexus/dirty_map.h"

#include <set>

#include <gtest/gtest.h>

#include "base/prng.h"

namespace holdfast::nexus {
namespace {

TEST(DirtyMap, MarksWholeRegionsOfSixtyFourKibibytes) {
  DirtyMap map(512, 1024);  // 8 regions of 128 blocks
  EXPECT_EQ(map.regions(), 8u);
  map.mark(127, 2);
  EXPECT_TRUE(map.region(0));
  EXPECT_TRUE(map.region(1));
  EXPECT_FALSE(map.region(2));
  EXPECT_EQ(map.marked(), 2u);
  map.mark(0, 1);
  EXPECT_EQ(map.marked(), 2u);
}

TEST(DirtyMap, ShortLastRegionCounts) {
  DirtyMap map(4096, 17);  // regions of 16 blocks
  EXPECT_EQ(map.regions(), 2u);
  map.mark(16, 1);
  EXPECT_EQ(map.next(0), 1u);
  EXPECT_EQ(map.next(2), 2u);
}

TEST(DirtyMap, AgreesWithASetOverPages) {
  Prng random(7);
  constexpr std::uint64_t regions = 100'000;  // four pages
  DirtyMap map(4096, regions * 16);
  std::set<std::uint64_t> model;
  for (int i = 0; i < 3000; ++i) {
    const std::uint64_t r = random.below(regions);
    if (random.chance(1, 4)) {
      map.clear_region(r);
      model.erase(r);
    } else {
      map.mark(r * 16 + random.below(16), 1);
      model.insert(r);
    }
  }
  EXPECT_EQ(map.marked(), model.size());
  std::uint64_t at = 0;
  for (const std::uint64_t r : model) {
    at = map.next(at);
    EXPECT_EQ(at, r);
    ++at;
  }
  EXPECT_EQ(map.next(at), regions);
  DirtyMap other(4096, regions * 16);
  other.mark(5, 1);
  other.merge(map);
  model.insert(0);
  EXPECT_EQ(other.marked(), model.size());
  EXPECT_EQ(map.copy().marked(), map.marked());
}

TEST(DirtyMap, GrowsAndTakesAShorterMap) {
  DirtyMap small(512, 128);
  small.mark(0, 1);
  DirtyMap large(512, 128);
  large.grow(512);
  large.merge(small);
  EXPECT_EQ(large.marked(), 1u);
  large.mark_all();
  EXPECT_EQ(large.marked(), 4u);
  large.clear();
  EXPECT_TRUE(large.empty());
}

}  // namespace
}  // namespace holdfast::nexus
