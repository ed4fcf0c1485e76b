#include "control/nodes.h"

#include <gtest/gtest.h>

#include "control/testing/fake_engines.h"
#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast::control {
namespace {

// Two engines with a pool each, and replica r on the first.
struct TwoEngines {
  sim::World world{1};
  sim::SimReactor& reactor = world.add_node("agent").start().core(0);
  fake::MemoryRecords records;
  fake::FakeEngines engines{reactor, records};
  fake::FakeDirectory directory{engines, reactor};
  const Options options;
  const Uuid r = Uuid::from_name("r");
  News news{reactor};
  Nodes nodes{reactor, directory, options, news, [](const NodeState&) {}};

  TwoEngines() {
    for (const char* node : {"a", "b"}) {
      nodes.watch(node, engines.fleet().add(node).endpoint());
      NewPool pool;
      pool.pool = std::string("pool-") + node;
      pool.disks = {"/dev/" + pool.pool};
      EXPECT_TRUE(run(engine(node).create_pool(pool)).ok());
    }
    NewReplica replica;
    replica.replica = r;
    replica.pool = "pool-a";
    replica.size_bytes = 1 << 30;
    EXPECT_TRUE(run(engine("a").create_replica(replica)).ok());
    world.run_for(options.poll_period * 2);
  }
  ~TwoEngines() {
    world.run(reactor, nodes.close());
    world.run(reactor, engines.idle());
    world.run_for(1ms);  // answers that nobody waits for arrive
  }
  template <class T>
  T run(Task<T> task) {
    return world.run(reactor, std::move(task));
  }
  Engine& engine(const char* node) { return *nodes.engine(node).value(); }
  const ReplicaState* known() const {
    const auto found = nodes.observed().replicas.find(r);
    return found == nodes.observed().replicas.end() ? nullptr : &found->second;
  }
  void pass_some_polls() { world.run_for(options.poll_period * 3); }
};

TEST(Nodes, WhatACallShowedIsComparedWithWhatTheEngineTells) {
  TwoEngines two;
  ASSERT_NE(two.known(), nullptr);
  const ReplicaState truth = *two.known();
  ReplicaState wrong = truth;
  wrong.size_bytes = 1;
  two.nodes.note(wrong);
  EXPECT_EQ(two.known()->size_bytes, 1U);
  two.pass_some_polls();
  EXPECT_EQ(*two.known(), truth);

  two.nodes.note_gone(Nodes::Gone::replica, two.r);
  EXPECT_EQ(two.known(), nullptr);
  two.pass_some_polls();
  ASSERT_NE(two.known(), nullptr);

  two.nodes.note_gone("pool-a");
  EXPECT_TRUE(two.nodes.observed().pools.find("pool-a") == two.nodes.observed().pools.end());
  two.pass_some_polls();
  EXPECT_TRUE(two.nodes.observed().pools.find("pool-a") != two.nodes.observed().pools.end());
  ASSERT_NE(two.known(), nullptr);
  EXPECT_EQ(*two.known(), truth);
}

TEST(Nodes, WhatOneNodeTookOverFromAnotherInErrorComesBack) {
  TwoEngines two;
  const ReplicaState truth = *two.known();
  ReplicaState elsewhere = truth;
  elsewhere.node = "b";
  elsewhere.pool = "pool-b";
  two.nodes.note(elsewhere);
  two.pass_some_polls();
  ASSERT_NE(two.known(), nullptr);
  EXPECT_EQ(*two.known(), truth);
}

TEST(Nodes, AReportThatWasAskedForBeforeLeavesAloneWhatACallShowed) {
  TwoEngines two;
  two.engines.trouble("a").slow_answer = 2s;
  two.nodes.refresh("a");
  two.world.run_for(1s);
  ReplicaState newer = *two.known();
  newer.entity_id = "given meanwhile";
  two.nodes.note(newer);
  two.world.run_for(2s);
  EXPECT_EQ(two.known()->entity_id, "given meanwhile");
  two.engines.trouble("a").slow_answer = 0s;
  two.pass_some_polls();
  EXPECT_EQ(two.known()->entity_id, "");
}

TEST(Nodes, TellOfWhatDiffersAndOfNothingElse) {
  TwoEngines two;
  Specs specs;
  ReplicaSpec owned;
  owned.uuid = two.r;
  owned.owners.volume = Uuid::from_name("v");
  specs.replicas[two.r] = owned;
  EXPECT_FALSE(two.news.take(specs)) << "nodes and pools came";
  two.news.arrived().reset();
  two.pass_some_polls();
  EXPECT_FALSE(two.news.arrived().is_set());

  ReplicaState now = *two.known();
  now.space.allocated_bytes += 1 << 20;
  two.nodes.note(now);
  EXPECT_FALSE(two.news.arrived().is_set()) << "how much is used leads to nothing";
  now.status = ReplicaStatus::faulted;
  two.nodes.note(now);
  EXPECT_EQ(two.news.take(specs), std::set<Uuid>{Uuid::from_name("v")});
  two.pass_some_polls();
  EXPECT_EQ(two.news.take(specs), std::set<Uuid>{Uuid::from_name("v")})
      << "the engine says that it is online";

  two.news.arrived().reset();
  PoolState pool = two.nodes.observed().pools.at("pool-b");
  pool.committed_bytes += 1 << 20;
  two.nodes.note(pool);
  EXPECT_EQ(two.news.take(specs), std::set<Uuid>())
      << "where there is room matters to those that wait for it";
  EXPECT_TRUE(two.news.arrived().is_set());
  pool.status = PoolStatus::faulted;
  two.nodes.note(pool);
  EXPECT_FALSE(two.news.take(specs));
}

Task<void> ask_again(Nodes& nodes, std::optional<Status>& into) {
  into.emplace(co_await nodes.refresh_now("a"));
}

// Also when it is registered again at once.
TEST(Nodes, WhoWaitsForANodeThatIsForgottenIsTold) {
  for (const Nanos later : {0ms, 1ms}) {
    TwoEngines two;
    std::optional<Status> told;
    two.world.spawn(two.reactor, ask_again(two.nodes, told));
    const std::string endpoint = two.nodes.observed().nodes.at("a").grpc_endpoint;
    auto forget = [&]() -> Task<void> {
      if (later != 0ms) co_await two.reactor.sleep(later, StopToken());
      two.nodes.forget("a");
      two.nodes.watch("a", endpoint);
    };
    two.world.spawn(two.reactor, forget());
    ASSERT_TRUE(two.world.run_until([&] { return told.has_value(); }, two.world.now() + 1min));
    EXPECT_EQ(told->code(), Errc::not_found);
    two.pass_some_polls();
    EXPECT_TRUE(two.nodes.observed().node_online("a"));
  }
}

TEST(Nodes, AnEngineOfAnotherNodeDoesNotAnswerForOne) {
  TwoEngines two;
  ASSERT_TRUE(two.nodes.observed().node_online("b"));
  const std::string endpoint = two.nodes.observed().nodes.at("a").grpc_endpoint;
  two.nodes.watch("b", endpoint);
  two.world.run_for(two.options.heartbeat_deadline + two.options.poll_period * 2);
  EXPECT_FALSE(two.nodes.observed().node_online("b"));
  EXPECT_TRUE(two.nodes.observed().node_online("a"));
  ASSERT_NE(two.known(), nullptr);
  EXPECT_EQ(two.known()->node, "a");
}

TEST(Nodes, ClientsOfEndpointsThatANodeHadAreGivenUp) {
  TwoEngines two;
  const std::string endpoint = two.nodes.observed().nodes.at("a").grpc_endpoint;
  for (int i = 0; i < 10; ++i) two.nodes.watch("a", i % 2 == 0 ? std::string("10.9.9.9:1") : endpoint);
  EXPECT_EQ(two.nodes.retiring(), 10U);
  two.world.run_for(5min);
  EXPECT_EQ(two.nodes.retiring(), 0U);
  EXPECT_TRUE(two.nodes.observed().node_online("a"));
}

TEST(Nodes, AHeartbeatDoesNotSpeakForAnotherNodesEngine) {
  TwoEngines two;
  Registration b = two.engines.fleet().registration(two.engines.fleet().machine("b"));
  const std::string own = b.grpc_endpoint;
  b.grpc_endpoint = two.nodes.observed().nodes.at("a").grpc_endpoint;
  two.nodes.heartbeat(b);
  two.pass_some_polls();
  for (int i = 0; i < 3; ++i) {
    two.nodes.heartbeat(b);
    EXPECT_FALSE(two.nodes.observed().node_online("b"));
    two.pass_some_polls();
  }
  b.grpc_endpoint = own;
  two.nodes.heartbeat(b);
  two.pass_some_polls();
  EXPECT_TRUE(two.nodes.observed().node_online("b"));
}

}  // namespace
}  // namespace holdfast::control
