#include "control/model/by_id.h"

#include <iterator>
#include <string>

#include <gtest/gtest.h>

#include "base/prng.h"

namespace holdfast::control {
namespace {

// Few of them, so that they meet again; some alike but for one byte.
Uuid some_id(Prng& random) {
  Uuid id;
  id.bytes[random.below(2) != 0 ? 0 : 15] = static_cast<std::uint8_t>(random.below(200));
  id.bytes[8] = static_cast<std::uint8_t>(random.below(3));
  return id;
}

void expect_same(const ById<std::uint64_t>& a, const std::map<Uuid, std::uint64_t>& b) {
  ASSERT_EQ(a.size(), b.size());
  EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin()));
}

TEST(ById, ItIsWhatAMapIs) {
  Prng random(3);
  ById<std::uint64_t> ours;
  std::map<Uuid, std::uint64_t> model;
  for (std::uint64_t step = 0; step < 20'000; ++step) {
    const Uuid id = some_id(random);
    const bool shrinks = step / 2'500 % 2 == 1;
    if (random.below(10) < (shrinks ? 7 : 3)) {
      EXPECT_EQ(ours.erase(id), model.erase(id));
    } else if (random.below(2) != 0) {
      ours[id] = model[id] = step;
    } else {
      EXPECT_EQ(ours.try_emplace(id, step).second, model.try_emplace(id, step).second);
    }
    const Uuid asked = some_id(random);
    const auto found = ours.find(asked);
    const auto wanted = model.find(asked);
    ASSERT_EQ(found == ours.end(), wanted == model.end());
    if (found != ours.end()) {
      ASSERT_EQ(*found, *wanted);
    }
    ASSERT_EQ(ours.contains(asked), model.contains(asked));
  }
  expect_same(ours, model);
}

TEST(ById, CopiesAndWhatWasMovedStandOnTheirOwn) {
  Prng random(4);
  ById<std::uint64_t> ours;
  for (std::uint64_t i = 0; i < 100; ++i) ours[Uuid::random(random)] = i;
  const Uuid first = ours.begin()->first;
  ById<std::uint64_t> copy = ours;
  EXPECT_EQ(copy, ours);
  ours.erase(first);
  EXPECT_TRUE(copy.contains(first));
  EXPECT_NE(copy.find(first), copy.end());
  ById<std::uint64_t> moved = std::move(copy);
  EXPECT_EQ(moved.at(first), moved.begin()->second);
  copy = ours;
  EXPECT_FALSE(copy.contains(first));
  EXPECT_EQ(erase_if(moved, [](const auto& one) { return one.second % 2 == 0; }), 50U);
  EXPECT_EQ(moved.size(), 50U);
  for (const auto& [id, n] : moved) EXPECT_EQ(moved.at(id), n);
  moved.clear();
  EXPECT_FALSE(moved.contains(first));
  moved[first] = 1;
  EXPECT_EQ(moved.at(first), 1U);
}

TEST(ById, GoingThroughItWhileErasing) {
  ById<int> ours;
  Prng random(5);
  for (int i = 0; i < 1'000; ++i) ours[Uuid::random(random)] = i;
  for (auto at = ours.begin(); at != ours.end();) at = at->second < 990 ? ours.erase(at) : std::next(at);
  EXPECT_EQ(ours.size(), 10U);
  for (const auto& [id, n] : ours) EXPECT_EQ(ours.find(id)->second, n);
}

}  // namespace
}  // namespace holdfast::control
