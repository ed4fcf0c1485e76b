#include "sim/world.h"

#include <vector>

#include <gtest/gtest.h>

#include "rt/cross_core.h"
#include "rt/scope.h"
#include "rt/wait.h"
#include "sim/node.h"
#include "sim/reactor.h"

namespace holdfast::sim {
namespace {

// Some of everything: cores that call each other, timers, random waits. Returns the order of events.
Task<void> worker(SimReactor& here, SimReactor& there, int number, std::vector<int>& log) {
  for (int i = 0; i < 5; ++i) {
    co_await here.sleep(Nanos(here.random().below(100'000)));
    auto call = [&]() -> Task<int> {
      co_await there.yield();
      co_return number * 10 + i;
    };
    log.push_back(co_await run_on(here, there, call));
  }
}

struct Outcome {
  std::vector<int> log;
  std::uint64_t trace = 0;
  Nanos end{0};
  bool operator==(const Outcome&) const = default;
};

Outcome run_world(std::uint64_t seed) {
  Outcome out;
  World world(seed);
  Process& p = world.add_node("a").start(2);
  auto all = [&]() -> Task<void> {
    TaskScope scope(p.core(0));
    for (int i = 0; i < 4; ++i) scope.spawn(worker(p.core(0), p.core(1), i, out.log));
    co_await scope.join();
  };
  world.run(p.core(0), all());
  out.trace = world.trace();
  out.end = world.now();
  return out;
}

TEST(World, EqualSeedsGiveEqualRuns) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const Outcome first = run_world(seed);
    EXPECT_EQ(first, run_world(seed)) << "seed " << seed;
    EXPECT_EQ(first.log.size(), 20u);
  }
}

TEST(World, DifferentSeedsGiveDifferentOrders) { EXPECT_NE(run_world(1).log, run_world(2).log); }

TEST(World, TimeJumpsToTheNextTimer) {
  World world(1);
  Process& p = world.add_node("a").start();
  auto sleeper = [&]() -> Task<void> { co_await p.core(0).sleep(30min); };
  world.run(p.core(0), sleeper());
  EXPECT_GE(world.now(), Nanos(30min));
  EXPECT_LT(world.now(), Nanos(30min + 1ms));
  EXPECT_LT(world.steps(), 20u);
}

struct Noted final : Message {
  Noted(std::vector<int>& l, int n) : log(l), number(n) {}
  void run() noexcept override { log.push_back(number); }
  std::vector<int>& log;
  int number;
};

TEST(World, DeferredWorkRunsAfterWhatWasReady) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    World world(seed);
    SimReactor& r = world.add_node("a").start().core(0);
    std::vector<int> log;
    Noted deferred(log, 9);
    auto one = [&](int n) -> Task<void> {
      co_await r.yield();
      log.push_back(n);
    };
    auto all = [&]() -> Task<void> {
      TaskScope scope(r);
      for (int i = 0; i < 3; ++i) scope.spawn(one(i));
      r.defer(deferred);
      co_await scope.join();
      while (log.size() < 4) co_await r.yield();
    };
    world.run(r, all());
    ASSERT_EQ(log.size(), 4u);
    EXPECT_EQ(log.back(), 9) << "seed " << seed;
  }
}

TEST(World, MessagesOfOneSenderKeepTheirOrder) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    World world(seed);
    Process& p = world.add_node("a").start(2);
    std::vector<int> log;
    Noted a(log, 1), b(log, 2), c(log, 3);
    auto sender = [&]() -> Task<void> {
      p.core(1).send(a);
      p.core(1).send(b);
      co_await p.core(0).yield();
      p.core(1).send(c);
    };
    world.run(p.core(0), sender());
    world.run_for(1ms);
    EXPECT_EQ(log, (std::vector<int>{1, 2, 3})) << "seed " << seed;
  }
}

Task<void> count_for_ever(SimReactor& r, int& ticks) {
  for (;;) {
    co_await r.sleep(1ms);
    ++ticks;
  }
}

TEST(World, ACrashedProcessNeverRunsAgainAndTheMachineStartsAnother) {
  World world(3);
  Node& node = world.add_node("a");
  Process& p = node.start(2);
  int ticks = 0;
  world.spawn(p.core(1), count_for_ever(p.core(1), ticks));
  world.run_for(10ms);
  EXPECT_GE(ticks, 8);
  const int before = ticks;
  node.crash(CrashKind::process);
  world.run_for(10ms);
  EXPECT_EQ(ticks, before);
  EXPECT_EQ(node.process(), nullptr);
  Process& again = node.start();
  auto now = [&]() -> Task<int> { co_return 5; };
  EXPECT_EQ(world.run(again.core(0), now()), 5);
}

TEST(World, AFrozenMachineGoesOnLater) {
  World world(4);
  Node& node = world.add_node("a");
  SimReactor& r = node.start().core(0);
  int ticks = 0;
  world.spawn(r, count_for_ever(r, ticks));
  world.run_for(5ms);
  const int before = ticks;
  node.freeze(100ms);
  world.run_for(90ms);
  EXPECT_EQ(ticks, before);
  world.run_for(20ms);
  EXPECT_GT(ticks, before);
}

TEST(World, FilesAreReplacedAtOnceAndSurviveACrash) {
  World world(5);
  Node& node = world.add_node("a");
  SimReactor* r = &node.start().core(0);
  EXPECT_EQ(world.run(*r, r->read_file("/state")).code(), Errc::not_found);
  EXPECT_TRUE(world.run(*r, r->replace_file("/state", "one")).ok());
  for (int i = 0; i < 20; ++i) {
    auto replace = [](SimReactor* on) -> Task<void> {
      (co_await on->replace_file("/state", "two")).ignore("it may not come to an end");
    };
    world.spawn(*r, replace(r));
    world.run_for(Nanos(world.random().below(3'000'000)));
    node.crash(CrashKind::power);
    r = &node.start().core(0);
    auto content = world.run(*r, r->read_file("/state"));
    ASSERT_TRUE(content.ok());
    EXPECT_TRUE(content.value() == "one" || content.value() == "two");
  }
  EXPECT_TRUE(world.run(*r, r->remove_file("/state")).ok());
  EXPECT_TRUE(world.run(*r, r->remove_file("/state")).ok());
  node.set_files_fail(true);
  EXPECT_EQ(world.run(*r, r->replace_file("/state", "x")).code(), Errc::io_error);
}

}  // namespace
}  // namespace holdfast::sim
