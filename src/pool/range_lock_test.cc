#include "pool/range_lock.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "rt/scope.h"
#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast::pool {
namespace {

struct Bench {
  Bench() : world(1), process(world.add_node("a").start()), home(process.core(0)), lock(home), scope(home) {}
  ~Bench() { world.run(home, scope.join()); }

  sim::World world;
  sim::Process& process;
  sim::SimReactor& home;
  RangeLock lock;
  TaskScope scope;
  std::string log;
};

Task<void> work(Bench& b, char name, std::uint64_t first, std::uint64_t count, Nanos how_long) {
  const RangeLock::Hold hold = co_await b.lock.acquire(first, count);
  b.log += name;
  co_await b.home.sleep(how_long);
  b.log += static_cast<char>(name - 'a' + 'A');
}

Task<void> start(Bench& b, char name, std::uint64_t first, std::uint64_t count, Nanos how_long = 1ms) {
  b.scope.spawn(work(b, name, first, count, how_long));
  co_return;
}

TEST(RangeLock, OverlapsGoOneAfterTheOtherInOrder) {
  Bench b;
  for (const char name : {'a', 'b', 'c'}) b.world.run(b.home, start(b, name, 10, 5));
  b.world.run(b.home, b.scope.join());
  EXPECT_EQ(b.log, "aAbBcC");
}

TEST(RangeLock, DisjointRangesGoTogether) {
  Bench b;
  b.world.run(b.home, start(b, 'a', 0, 4, 3ms));
  b.world.run(b.home, start(b, 'b', 4, 4, 1ms));
  b.world.run(b.home, b.scope.join());
  EXPECT_EQ(b.log, "abBA");
}

TEST(RangeLock, ALongRangeIsNotStarvedByShortOnes) {
  Bench b;
  b.world.run(b.home, start(b, 'a', 0, 1, 4ms));
  b.world.run(b.home, start(b, 'b', 0, 100, 1ms));
  b.world.run(b.home, start(b, 'c', 50, 1, 1ms));  // free now, but 'b' asked before
  EXPECT_FALSE(b.lock.free(50, 1));
  EXPECT_TRUE(b.lock.free(100, 1));
  b.world.run(b.home, b.scope.join());
  EXPECT_EQ(b.log, "aAbBcC");
}

Task<void> random_work(Bench& b, std::vector<int>& owners, int me) {
  for (int round = 0; round < 50; ++round) {
    const std::uint64_t first = b.world.random().below(64);
    const std::uint64_t count = 1 + b.world.random().below(64 - first);
    const RangeLock::Hold hold = co_await b.lock.acquire(first, count);
    for (std::uint64_t i = first; i < first + count; ++i) {
      EXPECT_EQ(owners[i], 0);
      owners[i] = me;
    }
    co_await b.home.sleep(Nanos(1 + static_cast<std::int64_t>(b.world.random().below(1000))));
    for (std::uint64_t i = first; i < first + count; ++i) {
      EXPECT_EQ(owners[i], me);
      owners[i] = 0;
    }
  }
}

TEST(RangeLock, NobodySharesWhateverTheOrder) {
  Bench b;
  std::vector<int> owners(64);
  for (int i = 1; i <= 20; ++i) b.scope.spawn(random_work(b, owners, i));
  b.world.run(b.home, b.scope.join());
  EXPECT_TRUE(b.lock.free(0, 64));
}

}  // namespace
}  // namespace holdfast::pool
