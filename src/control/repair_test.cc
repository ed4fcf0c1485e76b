// Volumes that are not published: their replicas are brought up to date, replaced and moved all the same.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/testing/shell/rig.h"

namespace holdfast::control {
namespace {

using fake::gib;
using fake::node_of;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

struct RepairRig : fake::NodesRig {
  using NodesRig::NodesRig;

  // With data, and not published any more.
  Uuid filled(const std::string& name, std::uint32_t replicas, std::uint64_t bytes = gib) {
    const Uuid v = create_volume(name, replicas, bytes).uuid;
    publish(v);
    write_all(v);
    must(agent->unpublish_volume(v, false));
    return v;
  }
  NodeId home_of(const Uuid& v, std::size_t i) { return node_of(pools_of(v).at(i)); }
  // The replica on `node` misses what was written, and the volume is not published any more.
  void leave_behind(const Uuid& v, const NodeId& node, const NodeId& target) {
    publish(v, target);
    engines.fleet().crash(node);
    ASSERT_TRUE(until([&] { return status(v) == VolumeStatus::degraded; }));
    write_all(v);
    ASSERT_TRUE(until([&] { return !agent->observed().node_online(node); }));
    must(agent->unpublish_volume(v, false));
  }
  bool copies(const Uuid& v) {
    const auto& repair = spec(v).repair;
    if (!repair || !agent->observed().nexuses.contains(repair->nexus)) return false;
    return agent->observed().nexuses.at(repair->nexus).rebuilds > 0;
  }
  bool whole(const Uuid& v) {
    return status(v) == VolumeStatus::online && !spec(v).repair && spec(v).moves.empty() &&
           volume(v).state.replicas.size() == spec(v).num_replicas;
  }
  // In use again, and every replica has what was written.
  void expect_whole(const Uuid& v) {
    ASSERT_TRUE(until([&] { return whole(v); }));
    EXPECT_TRUE(until([&] { return agent->specs().nexuses.empty(); }));
    EXPECT_EQ(publish(v).state.target->children.size(), spec(v).num_replicas);
    EXPECT_EQ(status(v), VolumeStatus::online);
    write_all(v);
  }
  // A volume of two replicas whose second one is being copied to.
  Uuid being_repaired() {
    const Uuid v = filled("v", 1, 4 * gib);
    must(agent->set_replica_count(v, 2));
    EXPECT_TRUE(until([&] { return copies(v); }));
    return v;
  }
};

TEST(Repair, AReplicaThatMissesDataIsBroughtUpToDateWhenItIsBack) {
  RepairRig rig;
  const Uuid v = rig.create_volume("v", 2).uuid;
  const auto pools = rig.pools_of(v);
  const NodeId away = rig.home_of(v, 1);
  rig.leave_behind(v, away, rig.home_of(v, 0));
  EXPECT_EQ(rig.status(v), VolumeStatus::degraded);
  rig.engines.fleet().start(away, true);
  ASSERT_TRUE(rig.until([&] { return rig.copies(v); }, 1min));
  const VolumeView view = rig.volume(v);
  EXPECT_EQ(view.spec.target, std::nullopt);
  EXPECT_EQ(view.state.target, std::nullopt);
  EXPECT_TRUE(view.state.replicas.at(rig.replica_on(v, away)).rebuild_percent);
  EXPECT_EQ(rig.agent->tally().volumes_published, 0u);
  EXPECT_EQ(rig.agent->tally().rebuilds, 1u);
  const NexusState nexus = rig.agent->observed().nexuses.at(rig.spec(v).repair->nexus);
  EXPECT_THAT(nexus.device_uri, IsEmpty());
  EXPECT_EQ(rig.refused(rig.agent->unpublish_volume(v, false)), Kind::not_published);
  EXPECT_EQ(rig.refused(rig.agent->rebuild_history(v)), Kind::not_published);
  rig.expect_whole(v);
  EXPECT_EQ(rig.pools_of(v), pools);
}

TEST(Repair, AReplicaThatStaysAwayIsReplacedAfterTheWaitAndGoesWhenAnotherHoldsAllData) {
  RepairRig rig;
  const Uuid v = rig.filled("v", 2);
  const NodeId away = rig.home_of(v, 1);
  const Uuid leaving = rig.replica_on(v, away);
  rig.engines.fleet().crash(away);
  rig.world.run_for(Nanos(Policy().faulted_wait) - 30s);
  EXPECT_TRUE(rig.spec(v).moves.empty());
  // It holds all data: it is given up once another one does.
  ASSERT_TRUE(rig.until([&] { return rig.copies(v); }));
  EXPECT_EQ(rig.agent->specs().replicas.at(leaving).owners.volume, v);
  ASSERT_TRUE(rig.until([&] { return rig.whole(v); }));
  EXPECT_THAT(rig.pools_of(v), Not(Contains(away + "-a")));
  rig.engines.fleet().start(away, true);
  EXPECT_TRUE(rig.until([&] { return rig.is_clean(); }));
  rig.expect_whole(v);
}

// A target that opens without it would take it for one that misses data.
TEST(Repair, AReplicaThatHoldsAllDataIsWaitedFor) {
  RepairRig rig;
  const Uuid v = rig.create_volume("v", 3).uuid;
  rig.leave_behind(v, "n3", "n1");
  rig.engines.fleet().crash("n2");
  ASSERT_TRUE(rig.until([&] { return !rig.agent->observed().node_online("n2"); }));
  rig.engines.fleet().start("n3", true);
  rig.world.run_for(5min);
  EXPECT_EQ(rig.spec(v).repair, std::nullopt);
  EXPECT_TRUE(rig.agent->observed().memberships.at(v).healthy(rig.replica_on(v, "n2")));
  ASSERT_TRUE(rig.until([&] { return rig.copies(v); }));
  rig.engines.fleet().start("n2", true);
  rig.expect_whole(v);
}

TEST(Repair, WithoutSelfHealNothingIsCopied) {
  RepairRig rig;
  CreateVolume request = RepairRig::volume_request("v", 2);
  request.self_heal = false;
  const Uuid v = rig.must(rig.agent->create_volume(request)).spec.uuid;
  const NodeId away = rig.home_of(v, 1);
  rig.leave_behind(v, away, rig.home_of(v, 0));
  rig.engines.fleet().start(away, true);
  rig.world.run_for(10min);
  EXPECT_EQ(rig.status(v), VolumeStatus::degraded);
  EXPECT_TRUE(rig.agent->specs().nexuses.empty());
}

TEST(Repair, AVolumeUnderRepairIsPublishedAtOnce) {
  RepairRig rig;
  const Uuid v = rig.being_repaired();
  const NodeId same = rig.spec(v).repair->node;
  EXPECT_EQ(rig.publish(v, same).spec.target->node, same);
  EXPECT_EQ(rig.spec(v).repair, std::nullopt);
  rig.write_all(v);
  ASSERT_TRUE(rig.until([&] { return rig.whole(v); }));
  rig.write_all(v);
}

// Its node is gone without a word: the next target takes the replicas from its nexus.
TEST(Repair, AVolumeWhoseRepairIsLostIsPublishedElsewhere) {
  RepairRig rig;
  const Uuid v = rig.filled("v", 2, 4 * gib);
  rig.must(rig.agent->set_replica_count(v, 3));
  ASSERT_TRUE(rig.until([&] { return rig.copies(v); }));
  const NodeId lost = rig.spec(v).repair->node;
  rig.engines.fleet().crash(lost);
  ASSERT_TRUE(rig.until([&] { return !rig.agent->observed().node_online(lost); }));
  EXPECT_NE(rig.publish(v).spec.target->node, lost);
  rig.write_all(v);
  rig.engines.fleet().start(lost, true);
  ASSERT_TRUE(rig.until([&] { return rig.whole(v); }));
  rig.write_all(v);
  rig.must(rig.agent->unpublish_volume(v, false));
  rig.expect_whole(v);
}

TEST(Repair, ReplicasAreAddedMovedAndRemoved) {
  RepairRig rig;
  const Uuid v = rig.filled("v", 1);
  for (const std::uint32_t count : {2U, 3U}) {
    rig.must(rig.agent->set_replica_count(v, count));
    ASSERT_TRUE(rig.until([&] { return rig.whole(v); }));
  }
  rig.must(rig.agent->set_replica_count(v, 2));
  ASSERT_TRUE(rig.until([&] { return rig.whole(v); }));
  MoveReplica move;
  move.volume = v;
  move.replica = rig.replica_on(v, rig.home_of(v, 0));
  const auto before = rig.pools_of(v);
  rig.must(rig.agent->move_replica(move));
  ASSERT_TRUE(rig.until([&] { return rig.whole(v); }));
  EXPECT_NE(rig.pools_of(v), before);
  EXPECT_FALSE(rig.volume(v).state.replicas.contains(move.replica));
  EXPECT_TRUE(rig.until([&] { return rig.is_clean(); }));
  rig.expect_whole(v);
}

TEST(Repair, AMoveGoesOnWhenTheVolumeIsUnpublished) {
  RepairRig rig;
  const Uuid v = rig.create_volume("v", 1, 4 * gib).uuid;
  rig.publish(v);
  rig.write_all(v);
  MoveReplica move;
  move.volume = v;
  move.replica = rig.replica_on(v, rig.home_of(v, 0));
  rig.must(rig.agent->move_replica(move));
  ASSERT_TRUE(rig.until([&] { return rig.agent->tally().rebuilds > 0; }));
  rig.must(rig.agent->unpublish_volume(v, false));
  ASSERT_TRUE(rig.until([&] { return rig.whole(v); }));
  EXPECT_FALSE(rig.volume(v).state.replicas.contains(move.replica));
  rig.expect_whole(v);
}

TEST(Repair, APoolAndANodeAreEmptied) {
  RepairRig rig;
  const Uuid one = rig.filled("one", 1), two = rig.filled("two", 2);
  const NodeId first = rig.home_of(one, 0);
  rig.must(rig.agent->evacuate_pool(first + "-a", true));
  const auto has_left = [&](const NodeId& node) {
    return rig.whole(one) && rig.whole(two) && rig.agent->replicas_of_pool(node + "-a").empty();
  };
  ASSERT_TRUE(rig.until([&] { return has_left(first); }));
  rig.must(rig.agent->evacuate_pool(first + "-a", false));
  const NodeId second = rig.home_of(one, 0);
  rig.must(rig.agent->drain_node(second, "upgrade", true));
  ASSERT_TRUE(rig.until([&] { return rig.agent->specs().nodes.at(second).drained; }));
  EXPECT_TRUE(rig.until([&] { return has_left(second); }));
  rig.must(rig.agent->uncordon_node(second, "upgrade"));
  for (const Uuid& v : {one, two}) {
    rig.publish(v);
    rig.write_all(v);
  }
}

TEST(Repair, ANodeThatIsDrainedIsLeftByRepairs) {
  RepairRig rig;
  const Uuid v = rig.being_repaired();
  const NodeId node = rig.spec(v).repair->node;
  rig.must(rig.agent->drain_node(node, "upgrade", false));
  ASSERT_TRUE(rig.until([&] { return rig.spec(v).repair && rig.spec(v).repair->node != node; }));
  rig.expect_whole(v);
}

TEST(Repair, NoMoreThanAllowedRunAtOnce) {
  Options options;
  options.policy.rebuilds_max = 1;
  RepairRig rig(3, options);
  const Uuid a = rig.filled("a", 1, 2 * gib), b = rig.filled("b", 1, 2 * gib);
  rig.must(rig.agent->set_replica_count(a, 2));
  rig.must(rig.agent->set_replica_count(b, 2));
  std::uint64_t most = 0;
  ASSERT_TRUE(rig.until([&] {
    most = std::max(most, rig.agent->tally().rebuilds);
    return rig.whole(a) && rig.whole(b);
  }));
  EXPECT_EQ(most, 1u);
}

TEST(Repair, AnotherAgentGoesOn) {
  RepairRig rig;
  const Uuid v = rig.being_repaired();
  const Uuid nexus = rig.spec(v).repair->nexus;
  rig.stop_agent();
  rig.start_agent();
  EXPECT_EQ(rig.spec(v).repair->nexus, nexus);
  rig.expect_whole(v);
}

TEST(Repair, WhatIsAskedOfAVolumeUnderRepairIsDoneOrRefusedAndDoneSoonAfter) {
  RepairRig rig;
  const Uuid v = rig.being_repaired();
  const Uuid s = Uuid::from_name("snapshot");
  EXPECT_EQ(rig.refused(rig.agent->create_snapshot(v, s)), Kind::conflict);
  EXPECT_THAT(rig.last_refusal, AllOf(HasSubstr("repaired by node " + rig.spec(v).repair->node),
                                      HasSubstr("% are copied"), HasSubstr("try again")));
  EXPECT_EQ(rig.refused(rig.agent->set_replica_count(v, 3)), Kind::failed_precondition);
  rig.must(rig.agent->resize_volume(v, 5 * gib));
  EXPECT_TRUE(rig.copies(v));
  ASSERT_TRUE(rig.until([&] { return rig.whole(v); }));
  rig.must(rig.agent->create_snapshot(v, s));
  rig.must(rig.agent->set_replica_count(v, 3));
  ASSERT_TRUE(rig.until([&] { return rig.copies(v); }));
  rig.must(rig.agent->set_replica_count(v, 2));
  ASSERT_TRUE(rig.until([&] { return rig.whole(v); }));
  EXPECT_EQ(rig.spec(v).size_bytes, 5 * gib);
  rig.expect_whole(v);
}

// Between the last byte and the end of the target that has copied it.
TEST(Repair, ASnapshotEndsARepairThatHasNothingLeftToCopy) {
  RepairRig rig;
  const Uuid v = rig.being_repaired();
  const Uuid missing = rig.replica_on(v, rig.home_of(v, 0)), other = rig.replica_on(v, rig.home_of(v, 1));
  const auto& record = [&]() -> const Membership& { return rig.agent->observed().memberships.at(v); };
  ASSERT_TRUE(rig.until([&] { return record().healthy(missing) && record().healthy(other); }));
  ASSERT_NE(rig.spec(v).repair, std::nullopt);
  const Uuid s = Uuid::from_name("snapshot");
  EXPECT_EQ(rig.must(rig.agent->create_snapshot(v, s)).spec.parts().size(), 2u);
  EXPECT_EQ(rig.spec(v).repair, std::nullopt);
  rig.expect_whole(v);
}

// Nobody uses its target: it is not waited for.
TEST(Repair, AVolumeGrowsWhileTheTargetThatRepairsItDoesNotReachAChild) {
  RepairRig rig;
  const Uuid v = rig.being_repaired();
  const NodeId node = rig.spec(v).repair->node;
  std::set<NodeId> others = {rig.home_of(v, 0), rig.home_of(v, 1)};
  others.erase(node);
  const NodeId other = *others.begin();
  rig.engines.fleet().cut(node, other, true);
  const Uuid former = rig.spec(v).repair->nexus;
  rig.must(rig.agent->resize_volume(v, 5 * gib));
  EXPECT_EQ(rig.spec(v).size_bytes, 5 * gib);
  EXPECT_TRUE(!rig.spec(v).repair || rig.spec(v).repair->nexus != former);
  rig.engines.fleet().cut(node, other, false);
  rig.expect_whole(v);
}

TEST(Repair, AVolumeUnderRepairIsDeleted) {
  RepairRig rig;
  const Uuid v = rig.being_repaired();
  rig.engines.fleet().give_up(v.to_string());
  rig.must(rig.agent->delete_volume(v));
  EXPECT_TRUE(rig.until([&] { return rig.is_clean() && rig.agent->specs().replicas.empty(); }));
  EXPECT_TRUE(rig.agent->specs().nexuses.empty());
}

}  // namespace
}  // namespace holdfast::control
