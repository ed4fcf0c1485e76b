#include "engine/keyed_locks.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "rt/scope.h"
#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast::engine {
namespace {

struct Bench {
  sim::World world{7};
  sim::SimReactor& home = world.add_node("n").start().core(0);
  KeyedLocks locks{home};
  std::vector<std::string> events;

  // Holds the lock for a while.
  Task<void> use(std::string key, std::string who, Nanos how_long) {
    auto lock = co_await locks.acquire(key);
    if (!lock.ok()) {
      events.push_back(who + " refused");
      co_return;
    }
    events.push_back(who + " in");
    co_await home.sleep(how_long);
    events.push_back(who + " out");
  }
};

Task<void> contend(Bench& b) {
  TaskScope scope(b.home);
  scope.spawn(b.use("a", "first", 100ms));
  scope.spawn(b.use("a", "second", 10ms));
  scope.spawn(b.use("b", "other", 1ms));
  co_await scope.join();
}

TEST(KeyedLocks, OneKeyIsUsedInTurnAndDelaysNoOther) {
  Bench b;
  b.world.run(b.home, contend(b));
  EXPECT_EQ(b.events, (std::vector<std::string>{"first in", "other in", "other out", "first out", "second in",
                                                "second out"}));
}

Task<void> pile_up(Bench& b) {
  TaskScope scope(b.home);
  for (std::size_t i = 0; i < KeyedLocks::waiters_max + 2; ++i)
    scope.spawn(b.use("a", std::to_string(i), 1s));
  EXPECT_FALSE(b.locks.try_acquire("a"));
  EXPECT_TRUE(b.locks.try_acquire("b"));
  co_await scope.join();
  EXPECT_TRUE(b.locks.try_acquire("a"));
}

TEST(KeyedLocks, WhatWaitsForOneKeyIsBounded) {
  Bench b;
  b.world.run(b.home, pile_up(b));
  ASSERT_FALSE(b.events.empty());
  EXPECT_EQ(
      std::count(b.events.begin(), b.events.end(), std::to_string(KeyedLocks::waiters_max + 1) + " refused"),
      1);
  EXPECT_EQ(b.events.size(), 2 * (KeyedLocks::waiters_max + 1) + 1);
}

Task<void> be_impatient(Bench& b) {
  TaskScope scope(b.home);
  scope.spawn(b.use("a", "slow", 1s));
  const auto late = co_await b.locks.acquire("a", b.home.now() + 100ms);
  EXPECT_EQ(late.code(), Errc::resource_exhausted);
  b.events.push_back("gave up");
  const auto other = co_await b.locks.acquire("b", b.home.now());
  EXPECT_TRUE(other.ok()) << "it is free";
  co_await scope.join();
  EXPECT_TRUE(b.locks.try_acquire("a")) << "nothing is left of the one that gave up";
}

TEST(KeyedLocks, NobodyWaitsLongerThanItWants) {
  Bench b;
  b.world.run(b.home, be_impatient(b));
  EXPECT_EQ(b.events, (std::vector<std::string>{"slow in", "gave up", "slow out"}));
}

}  // namespace
}  // namespace holdfast::engine
