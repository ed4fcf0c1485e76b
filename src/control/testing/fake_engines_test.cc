#include "control/testing/fake_engines.h"

#include <gtest/gtest.h>

#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast::control::fake {
namespace {

struct Rig {
  sim::World world{1};
  sim::SimReactor& reactor = world.add_node("agent").start().core(0);
  MemoryRecords records;
  FakeEngines engines{reactor, records};
  FakeDirectory directory{engines, reactor};
  std::unique_ptr<Engine> engine;

  Rig() {
    engines.fleet().add("a");
    engine = directory.connect("a", engines.fleet().machine("a").endpoint());
  }
  ~Rig() {
    world.run(reactor, engine->close());
    world.run(reactor, engines.idle());
    world.run_for(1ms);  // answers that nobody waits for arrive
  }
  template <class T>
  T run(Task<T> task) {
    return world.run(reactor, std::move(task));
  }
  Result<PoolState> make_pool(const char* name) {
    NewPool pool;
    pool.pool = name;
    pool.disks = {std::string("/dev/") + name};
    return run(engine->create_pool(pool));
  }
};

TEST(FakeEngines, WhatIsAskedForTwiceIsThereOnce) {
  Rig rig;
  ASSERT_TRUE(rig.make_pool("p").ok());
  ASSERT_TRUE(rig.make_pool("p").ok());
  const auto seen = rig.run(rig.engine->observe(Tell::all));
  ASSERT_TRUE(seen.ok());
  ASSERT_EQ(seen.value()->pools.size(), 1U);
  EXPECT_EQ(seen.value()->pools[0].node, "a");
  EXPECT_EQ(seen.value()->engine.id, "a");
}

TEST(FakeEngines, AnAnswerThatIsLostTellsNothing) {
  Rig rig;
  rig.engines.trouble("a").lose_next_answers = 1;
  const auto made = rig.make_pool("p");
  ASSERT_FALSE(made.ok());
  EXPECT_TRUE(may_have_happened(made.error()));
  EXPECT_EQ(rig.run(rig.engine->observe(Tell::all)).value()->pools.size(), 1U);
}

TEST(FakeEngines, ARefusalIsOne) {
  Rig rig;
  NewReplica replica;
  replica.pool = "nowhere";
  const auto made = rig.run(rig.engine->create_replica(replica));
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(kind_of(made.error()), Kind::failed_precondition);
  EXPECT_FALSE(may_have_happened(made.error()));
}

TEST(FakeEngines, AnEngineThatIsCutOffIsWaitedForSoLong) {
  Rig rig;
  rig.engines.trouble("a").cut = true;
  const Nanos before = rig.world.now();
  const auto seen = rig.run(rig.engine->observe(Tell::all));
  EXPECT_EQ(kind_of(seen.error()), Kind::deadline_exceeded);
  EXPECT_NEAR(static_cast<double>((rig.world.now() - before).count()), 5e9, 1e6);
}

TEST(FakeEngines, ASlowEngineActsAfterItsCallerHasGone) {
  Rig rig;
  rig.engines.trouble("a").slow = 25s;
  EXPECT_EQ(kind_of(rig.make_pool("p").error()), Kind::deadline_exceeded);
  rig.engines.trouble("a").slow = Nanos(0);
  EXPECT_TRUE(rig.run(rig.engine->observe(Tell::all)).value()->pools.empty());
  rig.world.run_for(6s);
  EXPECT_EQ(rig.run(rig.engine->observe(Tell::all)).value()->pools.size(), 1U);
}

TEST(FakeEngines, ARestartedEngineHasItsPoolsToImport) {
  Rig rig;
  ASSERT_TRUE(rig.make_pool("p").ok());
  const std::string first = rig.run(rig.engine->info()).value().instance;
  rig.engines.fleet().crash("a");
  EXPECT_EQ(kind_of(rig.run(rig.engine->observe(Tell::all)).error()), Kind::unavailable);
  rig.engines.fleet().start("a", false);
  const auto seen = rig.run(rig.engine->observe(Tell::all));
  EXPECT_TRUE(seen.value()->pools.empty());
  EXPECT_NE(seen.value()->engine.instance, first);
  NewPool pool;
  pool.pool = "p";
  pool.disks = {"/dev/p"};
  EXPECT_TRUE(rig.run(rig.engine->import_pool(pool)).ok());
}

TEST(FakeEngines, ClosedClientsGiveUp) {
  Rig rig;
  rig.engines.trouble("a").cut = true;
  bool ended = false;
  struct Ask {
    static Task<void> run(Engine& engine, bool& done) {
      const auto seen = co_await engine.observe(Tell::all);
      EXPECT_EQ(kind_of(seen.error()), Kind::aborted);
      done = true;
    }
  };
  rig.world.spawn(rig.reactor, Ask::run(*rig.engine, ended));
  rig.world.run_for(1s);
  EXPECT_FALSE(ended);
  rig.run(rig.engine->close());
  EXPECT_TRUE(ended);
}

}  // namespace
}  // namespace holdfast::control::fake
