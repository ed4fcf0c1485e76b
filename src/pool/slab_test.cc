#include "pool/slab.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "base/prng.h"
#include "pool/partial.h"
#include "pool/state.h"
#include "pool/testing/needs_slab.h"

namespace holdfast::pool {
namespace {

constexpr std::size_t object_bytes = 52;  // 56 in the slab

// Objects come and go in any order; each keeps what was written to it.
TEST(Slab, ObjectsAreApart) {
  Prng prng(1);
  Slab slab(object_bytes);
  std::vector<std::byte*> live;
  const auto value_of = [](const std::byte* o) {
    return static_cast<int>(reinterpret_cast<std::uintptr_t>(o) / 8 % 251);
  };
  for (int i = 0; i < 60000; ++i) {
    if (live.empty() || prng.chance(2, 3)) {
      auto* object = static_cast<std::byte*>(slab.allocate());
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(object) % 8, 0u);
      std::memset(object, value_of(object), object_bytes);
      live.push_back(object);
      continue;
    }
    std::swap(live[prng.below(live.size())], live.back());
    const std::byte* const object = live.back();
    const auto right = std::count(object, object + object_bytes, static_cast<std::byte>(value_of(object)));
    ASSERT_EQ(right, static_cast<std::ptrdiff_t>(object_bytes));
    Slab::release(live.back());
    live.pop_back();
  }
  EXPECT_EQ(std::set<std::byte*>(live.begin(), live.end()).size(), live.size());
  for (std::byte* object : live) Slab::release(object);
}

TEST(Slab, MemoryGoesBackInPortionsAndIsUsedAgainBefore) {
  HF_NEEDS_SLAB();
  Slab slab(object_bytes);
  constexpr std::size_t count = 5 * Slab::chunk_bytes / 56;
  std::vector<void*> objects;
  for (std::size_t i = 0; i < count; ++i) objects.push_back(slab.allocate());
  const std::size_t full = slab.memory();
  EXPECT_EQ(full, 6 * Slab::chunk_bytes);
  EXPECT_EQ(slab.spare(), 0u);
  for (void* object : objects) Slab::release(object);
  objects.clear();
  EXPECT_EQ(slab.memory(), full) << "nothing goes back by itself";
  EXPECT_EQ(slab.spare(), 5u);
  EXPECT_EQ(slab.trim(2), 2u);
  EXPECT_EQ(slab.memory(), full - 2 * Slab::chunk_bytes);
  for (std::size_t i = 0; i < count / 2; ++i) objects.push_back(slab.allocate());
  EXPECT_EQ(slab.memory(), full - 2 * Slab::chunk_bytes);
  for (void* object : objects) Slab::release(object);
  EXPECT_EQ(slab.trim(100), 3u);
  EXPECT_EQ(slab.memory(), Slab::chunk_bytes) << "one is kept";
}

// What has room is used up before more is taken, so that the rest can become empty.
TEST(Slab, HolesAreFilledFirst) {
  HF_NEEDS_SLAB();
  Slab slab(object_bytes);
  constexpr std::size_t count = 3 * (Slab::chunk_bytes / 56);
  std::vector<void*> objects;
  for (std::size_t i = 0; i < count; ++i) objects.push_back(slab.allocate());
  const std::size_t before = slab.memory();
  for (std::size_t i = 0; i < count; i += 2) Slab::release(objects[i]);
  for (std::size_t i = 0; i < count; i += 2) objects[i] = slab.allocate();
  EXPECT_EQ(slab.memory(), before);
  for (void* object : objects) Slab::release(object);
}

TEST(Slab, ObjectsMayLiveLonger) {
  std::vector<std::byte*> objects;
  {
    Slab slab(object_bytes);
    for (std::size_t i = 0; i < Slab::chunk_bytes / 56 + 10; ++i) {
      objects.push_back(static_cast<std::byte*>(slab.allocate()));
      std::memset(objects.back(), 7, object_bytes);
    }
  }
  for (std::byte* object : objects) {
    EXPECT_EQ(object[object_bytes - 1], std::byte{7});
    Slab::release(object);
  }
}

constexpr VolumeId the_volume{1};

// A volume of which each `stride`th cluster has the blocks.
void fill(State& state, std::uint32_t clusters, std::uint32_t stride, std::uint16_t first,
          std::uint16_t count) {
  Effects effects;
  const Segment segment{0, clusters, 0, 0};
  state.apply(AddDiskRecord{DiskRecord{0, Uuid::from_name("disk"), ""}, segment}, effects);
  VolumeSpec spec;
  spec.id = the_volume;
  spec.name = "v";
  spec.uuid = Uuid::from_name("v");
  spec.size_bytes = std::uint64_t{clusters} * stride * MiB;
  state.apply(CreateRecord{spec}, effects);
  for (std::uint32_t i = 0; i < clusters; ++i)
    state.apply(WriteRecord{spec.id, i * stride, Cluster{i}, first, count}, effects);
  state.settle(effects);
}

// How many turns that took, and the most memory that went back to the system in one of them.
struct Deletion {
  std::size_t turns = 0, most = 0;
};
Deletion delete_in_turns(State& state, std::size_t per_turn) {
  Effects effects;
  DeleteRecord record;
  record.volume = the_volume;
  state.apply(record, effects);
  Deletion d;
  for (bool over = false; !over; ++d.turns) {
    const std::size_t before = state.map_memory().taken();
    over = state.settle_some(effects, per_turn);
    d.most = std::max(d.most, before - state.map_memory().taken());
  }
  return d;
}

// A volume with one block in each cluster, deleted: the memory of its map goes back in portions, like all else.
TEST(Slab, APoolGivesTheMemoryOfMapsBackInTurns) {
  HF_NEEDS_SLAB();
  constexpr std::uint32_t clusters = 40000;
  constexpr std::size_t per_turn = 1024;
  State state(MiB);
  fill(state, clusters, 1, 3, 1);
  const std::size_t full = state.map_memory().taken();
  EXPECT_GT(full, clusters * Partial::memory(MiB / block_bytes, false));
  const auto [turns, most] = delete_in_turns(state, per_turn);
  EXPECT_LE(most, 2 * Slab::chunk_bytes);
  EXPECT_GT(turns, 2 * clusters / per_turn);
  EXPECT_LE(state.map_memory().taken(), 2 * Slab::chunk_bytes);
}

// The same when its clusters are whole: then leaves are all that there is.
TEST(Slab, APoolGivesTheMemoryOfLeavesBackInTurns) {
  HF_NEEDS_SLAB();
  constexpr std::uint32_t leaves = 1000;
  constexpr std::size_t per_turn = 1024;
  State state(MiB);
  fill(state, leaves, Leaf::entries, 0, MiB / block_bytes);
  const std::size_t full = state.map_memory().taken();
  EXPECT_GT(full, leaves * sizeof(Leaf));
  EXPECT_LT(full, leaves * sizeof(Leaf) + leaves * sizeof(Leaf) / 16);
  const auto [turns, most] = delete_in_turns(state, per_turn);
  EXPECT_LE(most, 2 * Slab::chunk_bytes);
  EXPECT_GT(turns, full / (2 * Slab::chunk_bytes));
  EXPECT_LE(state.map_memory().taken(), Slab::chunk_bytes);
}

}  // namespace
}  // namespace holdfast::pool
