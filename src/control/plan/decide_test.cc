#include "control/plan/decide.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/plan/status.h"
#include "control/plan/testing/builder.h"

namespace holdfast::control {
namespace {

using testing::Builder;
using ::testing::Contains;
using ::testing::ElementsAre;
using testing::gib;
using testing::id;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::published;
using testing::second;
using testing::three_nodes;

VolumeState state_of(Builder& b, const char* v) {
  return volume_state(Cluster(b.specs, b.observed, b.claims), b.specs.volumes.at(id(v)));
}

const Action* find(const std::vector<Action>& actions, Do what) {
  for (const Action& a : actions) {
    if (a.what == what) return &a;
  }
  return nullptr;
}

TEST(Decide, AHealthyClusterIsLeftAlone) {
  Builder b = published();
  EXPECT_THAT(b.decided(), IsEmpty());
  EXPECT_EQ(state_of(b, "v").status, VolumeStatus::online);
}

TEST(Decide, AnythingThatDoesNotAnswerIsLeftAlone) {
  Builder b = published();
  for (const char* n : {"n1", "n2", "n3"}) b.stop_node(n);
  EXPECT_THAT(b.decide_after(3600 * second), IsEmpty());
  EXPECT_EQ(state_of(b, "v").status, VolumeStatus::unknown);
}

// Whatever is missing of it: to make it might use a replica that is stale.
TEST(Decide, AVolumeOfWhichTheStoreHasNoMembershipIsLeftAlone) {
  Builder b = published();
  b.observed.memberships.clear();
  EXPECT_THAT(b.decided(), IsEmpty());
  EXPECT_THAT(state_of(b, "v").reason, ::testing::HasSubstr("holdfast adopt"));
  b.observed.nexuses.clear();
  b.specs.volumes.at(id("v")).num_replicas = 1;
  b.specs.nodes.at("n1").drains["away"].replicas = true;
  EXPECT_THAT(b.decide_after(3600 * second), IsEmpty());
}

TEST(Decide, NothingIsDeletedBecauseItIsAbsent) {
  Builder b = published();
  b.observed.replicas.clear();
  b.observed.nexuses.clear();
  b.observed.pools.clear();
  for (const Action& a : b.decide_after(3600 * second)) {
    EXPECT_TRUE(a.what == Do::import_pool || a.what == Do::create_nexus) << to_string(a);
  }
  // What engines have and no spec speaks of stays, too.
  Builder c = three_nodes();
  c.volume_on("v", {"p1"});
  c.specs.volumes.clear();
  c.specs.replicas.clear();
  EXPECT_THAT(c.decide_after(3600 * second), IsEmpty());
}

TEST(Decide, PoolsAreImportedAfterTheirEngineStarted) {
  Builder b = three_nodes();
  b.observed.pools.erase("p2");
  const auto actions = b.decide_now();
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(to_string(actions[0]), "import_pool pool=p2 (its engine does not have it)");
  b.observed.nodes["n2"].synced = false;
  EXPECT_THAT(b.decided(), IsEmpty());
}

TEST(Decide, ADeletedPoolIsDestroyedWhenItsNodeIsBack) {
  Builder b = three_nodes();
  b.specs.pools["p2"].status = SpecStatus::deleting;
  b.stop_node("n2");
  EXPECT_THAT(b.decided(), IsEmpty());
  b.node("n2");
  EXPECT_THAT(b.decided(), ElementsAre("destroy_pool"));
  b.observed.pools.erase("p2");
  EXPECT_THAT(b.decided(), ElementsAre("forget_pool"));
}

TEST(Decide, AFaultedChildIsReplacedAfterTheWaitOnly) {
  Builder b = published();
  b.fail_pool("p2");
  b.fault("v", "p2");
  EXPECT_EQ(state_of(b, "v").status, VolumeStatus::degraded);
  EXPECT_THAT(b.decide_after(599 * second), IsEmpty());
  b.now += second;
  const auto actions = b.decide_now();
  const Action* replace = find(actions, Do::replace_replica);
  ASSERT_NE(replace, nullptr);
  EXPECT_EQ(replace->pool, "p3");
  EXPECT_EQ(replace->replica, id("v@p2"));
}

TEST(Decide, AFaultedChildThatCanBeReachedComesBack) {
  Builder b = published();
  b.fault("v", "p2");
  EXPECT_THAT(b.decided(), ElementsAre("online_child"));
  b.child("v", "p2").rebuild_percent = 3;
  b.child("v", "p2").status = ChildStatus::degraded;
  EXPECT_THAT(b.decided(), IsEmpty());
}

TEST(Decide, AReplicaThatKeepsComingAndGoingIsReplacedAllTheSame) {
  Builder b = published();
  b.fault("v", "p2");
  for (int i = 0; i < 140; ++i) {
    b.child("v", "p2").status = i % 2 == 0 ? ChildStatus::online : ChildStatus::faulted;
    b.decide_now();
    b.now += 10 * second;
  }
  const auto actions = b.decide_now();
  EXPECT_NE(find(actions, Do::replace_replica), nullptr);
}

TEST(Decide, TimeInWhichAReplicaWasInSyncIsNoOutage) {
  Builder b = published();
  b.fail_pool("p2");
  b.fault("v", "p2");
  b.decide_now();
  b.now += second;
  b.child("v", "p2").status = ChildStatus::online;
  b.decide_now();
  b.now += 50 * second;
  b.child("v", "p2").status = ChildStatus::faulted;
  EXPECT_THAT(b.decide_after(598 * second), IsEmpty());
  b.now += second;
  EXPECT_NE(find(b.decide_now(), Do::replace_replica), nullptr);
}

TEST(Decide, AReplicaThatItsTargetCannotTakeInIsReplacedElsewhere) {
  Builder b = published();
  NexusState& target = b.observed.nexuses.begin()->second;
  std::erase_if(target.children, [](const ChildState& c) { return c.replica == id("v@p2"); });
  for (auto& m : b.observed.memberships.at(id("v")).members) m.healthy = m.replica != id("v@p2");
  const auto before = b.decide_after(3600 * second);
  EXPECT_NE(find(before, Do::add_child), nullptr);
  EXPECT_EQ(find(before, Do::replace_replica), nullptr);
  b.outages[id("v@p2")].since = b.now - b.policy.faulted_wait;  // given up
  const auto actions = b.decide_now();
  const Action* replaced = find(actions, Do::replace_replica);
  ASSERT_NE(replaced, nullptr);
  EXPECT_EQ(replaced->replica, id("v@p2"));
  EXPECT_EQ(replaced->pool, "p3");
  EXPECT_EQ(replaced->why, "its target cannot take its replica in");
  // Nowhere else to go: it is tried on, where it is.
  b.fail_pool("p3");
  EXPECT_EQ(find(b.decide_now(), Do::replace_replica), nullptr);
  EXPECT_TRUE(b.held) << "it has its turn later";
}

TEST(Decide, NoReplicaIsMadeOrGivenUpWhileAsManyRebuildsRunAsMay) {
  Builder b = published();
  b.policy.rebuilds_max = 1;
  b.fail_pool("p2");
  b.fault("v", "p2");
  EXPECT_NE(find(b.decide_after(b.policy.faulted_wait), Do::replace_replica), nullptr);
  NexusState other;
  other.uuid = id("another target");
  other.node = "n1";
  other.rebuilds = 1;
  b.observed.nexuses[other.uuid] = other;
  EXPECT_EQ(find(b.decide_now(), Do::replace_replica), nullptr);
}

TEST(Decide, WithNowhereToGoTheFaultedChildLeavesTheTargetAndTheVolumeStaysDegraded) {
  Builder b = three_nodes();
  b.volume_on("v", {"p1", "p2", "p3"});
  b.publish("v", "n1");
  b.stop_node("n3");
  b.fault("v", "p3", ChildReason::cannot_open);
  const auto actions = b.decide_after(600 * second);
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].what, Do::remove_child);
  EXPECT_EQ(actions[0].replica, id("v@p3"));
  EXPECT_TRUE(b.held) << "there may be a place some time";
}

TEST(Decide, WithoutSelfHealNothingIsAdded) {
  Builder b = published();
  b.specs.volumes.at(id("v")).self_heal = false;
  b.fault("v", "p2");
  EXPECT_EQ(find(b.decide_after(3600 * second), Do::replace_replica), nullptr);
  b.specs.volumes.at(id("v")).num_replicas = 3;
  EXPECT_THAT(b.decided(), Not(Contains("add_replica")));
}

TEST(Decide, CountsAreBroughtToWhatIsWanted) {
  Builder b = published();
  b.specs.volumes.at(id("v")).num_replicas = 3;
  auto actions = b.decide_now();
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].what, Do::add_replica);
  EXPECT_EQ(actions[0].pool, "p3");
  b.specs.volumes.at(id("v")).num_replicas = 1;
  actions = b.decide_now();
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].what, Do::release_replica);
  EXPECT_EQ(actions[0].replica, id("v@p2"));
}

TEST(Decide, AMissingReplicaBecomesAChild) {
  Builder b = published();
  b.observed.nexuses.begin()->second.children.pop_back();
  EXPECT_THAT(b.decided(), ElementsAre("add_child"));
  // Not before the target may connect to it.
  for (auto& [uuid, r] : b.observed.replicas) r.allowed_hosts = {"nqn.other"};
  EXPECT_THAT(b.decided(), Contains("share_replica"));
}

TEST(Decide, AReleasedReplicaLeavesTheTargetBeforeItIsDestroyed) {
  Builder b = published();
  ReplicaSpec& r = b.specs.replicas.at(id("v@p2"));
  r.owners = {};
  r.released_by = id("v");
  r.status = SpecStatus::deleting;
  b.specs.volumes.at(id("v")).num_replicas = 1;
  EXPECT_THAT(b.decided(), ElementsAre("remove_child"));
  auto& children = b.observed.nexuses.begin()->second.children;
  std::erase_if(children, [](const ChildState& c) { return c.replica == id("v@p2"); });
  EXPECT_THAT(b.decided(), ElementsAre("destroy_replica"));
  b.observed.replicas.erase(id("v@p2"));
  EXPECT_THAT(b.decided(), ElementsAre("forget_replica"));
  b.observed.pools["p2"].status = PoolStatus::faulted;
  EXPECT_THAT(b.decided(), IsEmpty());
}

TEST(Decide, TheTargetIsMadeAgainAfterItsEngineStarted) {
  Builder b = published();
  b.observed.nexuses.clear();
  EXPECT_THAT(b.decided(), ElementsAre("create_nexus"));
  EXPECT_EQ(state_of(b, "v").status, VolumeStatus::unknown);
}

TEST(Decide, AFaultedTargetIsMadeAgainWhenAGoodReplicaIsBack) {
  Builder b = published();
  NexusState& nexus = b.observed.nexuses.begin()->second;
  nexus.status = NexusStatus::faulted;
  for (ChildState& c : nexus.children) c.status = ChildStatus::faulted;
  b.stop_node("n2");
  b.fail_pool("p1");
  EXPECT_THAT(b.decided(), IsEmpty());
  EXPECT_EQ(state_of(b, "v").status, VolumeStatus::faulted);
  b.node("n2");
  EXPECT_THAT(b.decided(), ElementsAre("create_nexus"));
}

TEST(Decide, ANexusThatServesNoVolumeIsDestroyed) {
  Builder b = published();
  b.specs.volumes.at(id("v")).target.reset();
  EXPECT_THAT(b.decided(), ElementsAre("destroy_nexus"));
  b.specs.nexuses.begin()->second.status = SpecStatus::deleting;
  EXPECT_THAT(b.decided(), ElementsAre("destroy_nexus"));
  b.stop_node("n1");
  EXPECT_THAT(b.decided(), IsEmpty());
  b.node("n1");
  b.observed.nexuses.clear();
  EXPECT_THAT(b.decided(), ElementsAre("forget_nexus"));
}

TEST(Decide, WhatAnAgentLeftUnfinishedIsSettled) {
  Builder b = three_nodes();
  b.volume_on("v", {"p1"});
  b.specs.volumes.at(id("v")).operation = PendingVolumeOp{VolumeOp::resize, {}, {}, {}, {}};
  EXPECT_THAT(b.decided(), ElementsAre("settle_volume"));
  b.specs.volumes.at(id("v")).status = SpecStatus::creating;
  EXPECT_THAT(b.decided(), ElementsAre("abandon_volume"));
  b.specs.volumes.at(id("v")).status = SpecStatus::deleting;
  EXPECT_THAT(b.decided(), ElementsAre("release_volume"));
  b.specs.replicas.clear();
  EXPECT_THAT(b.decided(), ElementsAre("forget_volume"));
}

TEST(Decide, AMovedReplicaFollowsAndTheOldOneGoes) {
  Builder b = published();
  VolumeSpec& v = b.specs.volumes.at(id("v"));
  v.moves.push_back({id("v@p2"), "p3", std::nullopt});
  auto actions = b.decide_now();
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].what, Do::start_move);
  EXPECT_EQ(actions[0].pool, "p3");
  const Uuid to = b.replica("v", "p3");
  v.moves[0].to = to;
  ChildState child;
  child.replica = to;
  child.status = ChildStatus::degraded;
  child.rebuild_percent = 10;
  b.observed.nexuses.begin()->second.children.push_back(child);
  EXPECT_THAT(b.decided(), IsEmpty());
  EXPECT_EQ(state_of(b, "v").status, VolumeStatus::online);
  b.observed.nexuses.begin()->second.children.back().status = ChildStatus::online;
  EXPECT_THAT(b.decided(), ElementsAre("finish_move"));
}

TEST(Decide, AFullPoolLosesItsLargestReplicaOnly) {
  Builder b = three_nodes();
  for (const char* v : {"a", "b"}) {
    b.volume_on(v, {"p1", "p2"}, 2 * gib);
    b.specs.volumes.at(id(v)).thin = true;
    b.publish(v, "n1");
    b.fault(v, "p2", ChildReason::out_of_space);
  }
  b.observed.pools["p2"].used_bytes = b.observed.pools["p2"].capacity_bytes;
  b.observed.replicas.at(id("a@p2")).space.allocated_bytes = gib;
  b.observed.replicas.at(id("b@p2")).space.allocated_bytes = gib / 2;
  const auto actions = b.decide_now();
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].what, Do::replace_replica);
  EXPECT_EQ(actions[0].replica, id("a@p2"));
  EXPECT_EQ(actions[0].pool, "p3");
}

TEST(Decide, RebuildsQueueByUrgency) {
  Builder b = three_nodes();
  b.policy.rebuilds_max = 1;
  b.volume_on("safe", {"p1", "p2", "p3"});
  b.publish("safe", "n1");
  b.fault("safe", "p2");
  b.volume_on("urgent", {"p1", "p2"});
  b.publish("urgent", "n1");
  b.fault("urgent", "p2");
  auto actions = b.decide_now();
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].volume, id("urgent"));
  b.observed.nexuses.at(b.specs.volumes.at(id("urgent")).target->nexus).rebuilds = 1;
  EXPECT_THAT(b.decided(), IsEmpty());
  // One that an engine is being asked for counts, too.
  b.observed.nexuses.at(b.specs.volumes.at(id("urgent")).target->nexus).rebuilds = 0;
  b.claims.rebuilds = 1;
  EXPECT_THAT(b.decided(), IsEmpty());
}

TEST(Decide, ADrainedNodeLosesItsTargetsAndItsReplicasIfWanted) {
  Builder b = published();
  NodeSpec& n1 = b.specs.nodes.at("n1");
  n1.drains["upgrade"] = {};
  n1.draining_since = b.now;
  auto actions = b.decide_now();
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].what, Do::move_target);
  EXPECT_EQ(actions[0].node, "n2");
  n1.drains["upgrade"].replicas = true;
  actions = b.decide_now();
  ASSERT_EQ(actions.size(), 2u);
  EXPECT_EQ(actions[1].what, Do::start_move);
  EXPECT_EQ(actions[1].replica, id("v@p1"));
  EXPECT_EQ(actions[1].pool, "p3");
}

TEST(Decide, ADrainEndsWhenNothingIsLeftOrAfterTheWait) {
  Builder b = published();
  b.specs.nodes.at("n3").drains["x"] = {};
  EXPECT_THAT(b.decided(), ElementsAre("end_drain"));
  b.specs.nodes.at("n3").drained = true;
  EXPECT_THAT(b.decided(), IsEmpty());
  b.specs.nodes.at("n3").drains.clear();
  for (const char* n : {"n2", "n3"}) b.specs.nodes.at(n).cordons = {"c"};
  b.specs.nodes.at("n1").drains["x"] = {};
  b.specs.nodes.at("n1").draining_since = b.now;
  EXPECT_THAT(b.decided(), IsEmpty());
  b.now += 120 * second;
  EXPECT_THAT(b.decided(), ElementsAre("end_drain"));
}

TEST(Decide, PartsOfFailedAttemptsAndOfDeletedSnapshotsGo) {
  Builder b = three_nodes();
  b.volume_on("v", {"p1"});
  SnapshotSpec s;
  s.uuid = id("s");
  s.volume = id("v");
  s.status = SpecStatus::created;
  s.transaction = "2";
  s.transactions["1"] = {{id("part1"), id("v@p1"), "p1", {}, SpecStatus::creating}};
  s.transactions["2"] = {{id("part2"), id("v@p1"), "p1", {}, SpecStatus::created}};
  b.specs.snapshots[s.uuid] = s;
  b.observed.snapshots[id("part1")].uuid = id("part1");
  b.observed.snapshots[id("part2")].uuid = id("part2");
  EXPECT_THAT(b.decided(), ElementsAre("destroy_part"));
  b.observed.snapshots.erase(id("part1"));
  EXPECT_THAT(b.decided(), ElementsAre("forget_part"));
  b.specs.snapshots[s.uuid].status = SpecStatus::deleting;
  EXPECT_THAT(b.decided(), ElementsAre("forget_part", "destroy_part"));
  b.specs.snapshots[s.uuid].transactions.clear();
  EXPECT_THAT(b.decided(), ElementsAre("forget_snapshot"));
}

// The replica that a move is for can be refused by its pool, and is let go of then.
TEST(Decide, AMoveWhoseReplicaIsGoneIsNotWaitedFor) {
  Builder b = published();
  VolumeSpec& v = b.specs.volumes.at(id("v"));
  v.moves = {{id("v@p2"), "p3", id("gone")}};
  const auto actions = b.decide_now();
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].what, Do::drop_move);
  EXPECT_EQ(actions[0].replica, id("v@p2"));
}

TEST(Decide, AFencedTargetIsMadeAgainWhileItsReplicasCanBeReached) {
  Builder b = published();
  b.observed.nexuses.begin()->second.status = NexusStatus::faulted;
  EXPECT_THAT(b.decided(), ElementsAre("create_nexus"));
  for (auto& member : b.observed.memberships.at(id("v")).members) member.healthy = false;
  EXPECT_THAT(b.decided(), IsEmpty());
}

TEST(Decide, ADeletedPoolThatMayStillAppearIsRemembered) {
  Builder b = three_nodes();
  PoolSpec& pool = b.specs.pools["p2"];
  pool.status = SpecStatus::deleting;
  pool.unsure_until = b.now + second;
  b.observed.pools.erase("p2");
  EXPECT_THAT(b.decided(), IsEmpty());
  EXPECT_THAT(b.decide_after(second), ElementsAre(::testing::Field(&Action::what, Do::forget_pool)));
}

TEST(Status, OfAnUnpublishedVolumeCountsGoodReplicas) {
  Builder b = three_nodes();
  b.volume_on("v", {"p1", "p2"});
  EXPECT_EQ(state_of(b, "v").status, VolumeStatus::online);
  b.stop_node("n2");
  EXPECT_EQ(state_of(b, "v").status, VolumeStatus::degraded);
  EXPECT_EQ(state_of(b, "v").replicas.at(id("v@p2")).status, ReplicaStatus::unknown);
  b.observed.memberships.at(id("v")).members[0].healthy = false;
  EXPECT_EQ(state_of(b, "v").status, VolumeStatus::faulted);
  EXPECT_THAT(state_of(b, "v").reason, ::testing::HasSubstr("0 of 2"));
}

TEST(Decide, ADrainWaitsForPoolsThatAreBeingEmptiedToo) {
  Builder b = three_nodes();
  b.volume_on("v", {"p1", "p2"});
  b.publish("v", "n2");
  b.specs.pools.at("p1").evacuating = true;
  NodeSpec& n1 = b.specs.nodes.at("n1");
  n1.drains["gone"].replicas = true;
  n1.draining_since = b.now;
  EXPECT_THAT(b.decided(), ElementsAre("start_move"));
}

TEST(Decide, TheAddressOfAVolumeNamesTheHostThatAloneMayConnect) {
  Builder b = published();
  NexusState& nexus = b.observed.nexuses.begin()->second;
  nexus.device_uri = "nvmf://10.0.0.1:8420/nqn.v";
  EXPECT_EQ(state_of(b, "v").target->device_uri, "nvmf://10.0.0.1:8420/nqn.v");
  nexus.allowed_hosts = {"nqn.2019-05.io.openebs:node-name:a"};
  EXPECT_EQ(state_of(b, "v").target->device_uri,
            "nvmf://10.0.0.1:8420/nqn.v?hostnqn=nqn.2019-05.io.openebs:node-name:a");
}

}  // namespace
}  // namespace holdfast::control
