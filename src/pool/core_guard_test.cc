#include "pool/core_guard.h"

#include <gtest/gtest.h>

#include "rt/cross_core.h"
#include "rt/scope.h"
#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast::pool {
namespace {

struct Bench {
  Bench() : world(1), process(world.add_node("a").start(2)), home(process.core(0)), guard(process.cores()) {}
  sim::World world;
  sim::Process& process;
  sim::SimReactor& home;
  CoreGuard guard;
};

Task<void> operation(Reactor& core, CoreGuard& guard, Nanos how_long, Nanos& ended) {
  const CoreGuard::Slot::Inside inside(guard.at(core.core()));
  co_await core.sleep(how_long);
  ended = core.now();
}

Task<void> on_core_one(Bench& b, Nanos how_long, Nanos& ended) {
  Reactor& core = b.process.core(1);
  auto there = [&]() -> Task<void> { return operation(core, b.guard, how_long, ended); };
  co_await run_on(b.home, core, there);
}

TEST(CoreGuard, AGracePeriodWaitsForWhatWasInsideOnEveryCore) {
  Bench b;
  Nanos here{0};
  Nanos there{0};
  b.world.spawn(b.home, operation(b.home, b.guard, 5ms, here));
  b.world.spawn(b.home, on_core_one(b, 9ms, there));
  b.world.run_for(1ms);
  b.world.run(b.home, b.guard.grace_period());
  EXPECT_GT(here, Nanos(0));
  EXPECT_GT(there, Nanos(0));
  EXPECT_EQ(b.guard.at(0).inside() + b.guard.at(1).inside(), 0u);
}

// Operations that overlap each other without end never hold a grace period up.
Task<void> endless(Reactor& core, CoreGuard& guard, const bool& stop, Nanos offset) {
  co_await core.sleep(offset);
  Nanos ended{0};
  while (!stop) co_await operation(core, guard, 2ms, ended);
}

TEST(CoreGuard, AGracePeriodDoesNotWaitForWhatCameLater) {
  Bench b;
  bool stop = false;
  b.world.spawn(b.home, endless(b.home, b.guard, stop, 0ms));
  b.world.spawn(b.home, endless(b.home, b.guard, stop, 1ms));
  b.world.run_for(3ms);
  for (int i = 0; i < 10; ++i) {
    const Nanos begun = b.world.now();
    b.world.run(b.home, b.guard.grace_period());
    EXPECT_LE(b.world.now() - begun, 3ms);
    EXPECT_GT(b.guard.at(0).inside(), 0u);
  }
  stop = true;
  b.world.run_for(10ms);
}

struct Gated {
  explicit Gated(Reactor& core) : gate(core) {}
  WriteGate gate;
  unsigned done = 0;
};

Task<void> one_write(Reactor& core, Gated& g) {
  while (g.gate.paused()) co_await g.gate.open();
  const WriteGate::Inside inside(g.gate);
  co_await core.sleep(2ms);
  ++g.done;
}

TEST(WriteGate, APauseWaitsForWritesUnderWayAndHoldsTheOthersBack) {
  Bench b;
  Gated g(b.home);
  b.world.spawn(b.home, one_write(b.home, g));
  b.world.run_for(1ms);
  b.world.run(b.home, g.gate.pause());
  EXPECT_EQ(g.done, 1u);
  b.world.spawn(b.home, one_write(b.home, g));
  b.world.run(b.home, g.gate.pause());  // twice
  b.world.run_for(10ms);
  EXPECT_EQ(g.done, 1u);
  g.gate.resume();
  b.world.run_for(10ms);
  EXPECT_EQ(g.done, 1u);
  g.gate.resume();
  b.world.run_for(10ms);
  EXPECT_EQ(g.done, 2u);
}

}  // namespace
}  // namespace holdfast::pool
