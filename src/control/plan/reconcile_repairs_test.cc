#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/plan/status.h"
#include "control/plan/testing/builder.h"

namespace holdfast::control {
namespace {

using testing::Builder;
using ::testing::Contains;
using ::testing::ElementsAre;
using testing::id;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::second;
using testing::three_nodes;

// One volume, not published: p1 has all data, p2 not.
Builder behind() {
  Builder b = three_nodes();
  b.volume_on("v", {"p1", "p2"});
  b.observed.memberships.at(id("v")).members.at(1).healthy = false;
  return b;
}

// As after start_repair, with or without what follows from it.
NexusState& repaired(Builder& b, const NodeId& node) {
  NexusState& nexus = b.publish("v", node);
  VolumeSpec& v = b.specs.volumes.at(id("v"));
  v.repair = v.target;
  v.repair->protocol = Protocol::none;
  v.target.reset();
  b.specs.nexuses.at(nexus.uuid).share = nexus.protocol = Protocol::none;
  std::erase_if(nexus.children, [](const ChildState& c) { return c.replica != id("v@p1"); });
  return nexus;
}

TEST(Repairs, ATargetIsStartedWhereAllDataIs) {
  Builder b = behind();
  const auto actions = b.decide_now();
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].what, Do::start_repair);
  EXPECT_EQ(actions[0].node, "n1");
}

TEST(Repairs, NothingIsStartedInVain) {
  Builder whole = behind();
  whole.observed.memberships.at(id("v")).members.at(1).healthy = true;
  EXPECT_THAT(whole.decided(), IsEmpty());
  Builder sourceless = behind();
  sourceless.stop_node("n1");
  EXPECT_THAT(sourceless.decided(), IsEmpty());
  Builder unwanted = behind();
  unwanted.specs.volumes.at(id("v")).self_heal = false;
  EXPECT_THAT(unwanted.decided(), IsEmpty());
  Builder cordoned = behind();
  for (auto& [n, node] : cordoned.specs.nodes) node.cordons.insert("c");
  EXPECT_THAT(cordoned.decided(), IsEmpty());
  EXPECT_TRUE(cordoned.held);
}

TEST(Repairs, WhatMissesDataIsAddedAndTheTargetEndsWhenNothingIsLeft) {
  Builder b = behind();
  NexusState& nexus = repaired(b, "n1");
  b.observed.replicas.at(id("v@p2")).share = Protocol::nvmf;
  EXPECT_THAT(b.decided(), ElementsAre("add_child"));
  const Cluster cluster(b.specs, b.observed, b.claims);
  const VolumeState state = volume_state(cluster, b.specs.volumes.at(id("v")));
  EXPECT_EQ(state.target, std::nullopt);
  EXPECT_EQ(state.status, VolumeStatus::degraded);
  EXPECT_EQ(state.replicas.at(id("v@p1")).child_status, ChildStatus::online);
  nexus.children.push_back(nexus.children.front());
  nexus.children.back().replica = id("v@p2");
  b.observed.memberships.at(id("v")).members.at(1).healthy = true;
  EXPECT_THAT(b.decided(), ElementsAre("end_repair"));
}

TEST(Repairs, ATargetEndsWithItsNodeAndLeavesOneThatIsDrained) {
  Builder lost = behind();
  repaired(lost, "n3");
  lost.stop_node("n3");
  EXPECT_THAT(lost.decided(), ElementsAre("end_repair"));
  Builder drained = behind();
  repaired(drained, "n3");
  drained.specs.nodes.at("n3").drains["d"];
  drained.specs.nodes.at("n3").draining_since = drained.now;
  EXPECT_THAT(drained.decided(), Contains("end_repair"));
  EXPECT_THAT(drained.decided(), Not(Contains("end_drain")));
}

TEST(Repairs, OneThatIsAwayAndMissesDataIsReplacedAndOneThatHoldsAllIsMoved) {
  Builder stale = behind();
  stale.stop_node("n2");
  EXPECT_THAT(stale.decide_after(599 * second), IsEmpty());
  stale.now += second;
  auto actions = stale.decide_now();
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].what, Do::replace_replica);
  EXPECT_EQ(actions[0].pool, "p3");
  Builder intact = behind();
  intact.observed.memberships.at(id("v")).members.at(1).healthy = true;
  intact.stop_node("n2");
  EXPECT_THAT(intact.decide_after(599 * second), IsEmpty());
  intact.now += second;
  actions = intact.decide_now();
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].what, Do::start_move);
  EXPECT_EQ(actions[0].replica, id("v@p2"));
  EXPECT_EQ(actions[0].pool, "p3");
}

TEST(Repairs, OneThatHoldsAllDataAndIsAwayIsWaitedFor) {
  Builder b = behind();
  b.specs.volumes.at(id("v")).num_replicas = 3;
  b.replica("v", "p3");
  b.stop_node("n3");
  EXPECT_THAT(b.decide_after(599 * second), IsEmpty());
  EXPECT_EQ(b.due, b.now + second);
  b.now += second;
  EXPECT_THAT(b.decided(), Contains("start_repair"));
}

TEST(Repairs, OnlyAsManyStartAsRebuildsMayRun) {
  Builder b = behind();
  for (const char* v : {"w", "x"}) {
    b.volume_on(v, {"p1", "p2"});
    b.observed.memberships.at(id(v)).members.at(1).healthy = false;
  }
  const auto started = [&] {
    const auto all = b.decided();
    return std::count(all.begin(), all.end(), "start_repair");
  };
  EXPECT_EQ(started(), 3);
  b.policy.repairs_max = 1;
  EXPECT_EQ(started(), 1);
  EXPECT_TRUE(b.held);
  b.policy.repairs_max = 8;
  b.policy.rebuilds_max = 2;
  EXPECT_EQ(started(), 2);
  b.claims.rebuilds = 1;
  EXPECT_EQ(started(), 1);
  b.claims.rebuilds = 0;
  // One is being opened.
  const Uuid opening = repaired(b, "n1").uuid;
  b.observed.nexuses.erase(opening);
  EXPECT_EQ(started(), 1);
}

}  // namespace
}  // namespace holdfast::control
