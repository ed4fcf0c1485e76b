// Snapshots of volumes whose parts could be of different moments.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/testing/shell/rig.h"

namespace holdfast::control {
namespace {

using ::testing::HasSubstr;

// Nothing has fenced it: its host writes on, and the replicas of a volume without a target are asked one by one.
TEST(SnapshotsShell, NoneIsTakenWhileAFormerTargetMayStillWrite) {
  fake::NodesRig rig;
  rig.must(rig.agent->cordon_node("n1", "later"));
  const Uuid v = rig.create_volume("v", 2).uuid;
  rig.must(rig.agent->uncordon_node("n1", "later"));
  rig.publish(v, "n1");
  rig.write_all(v);
  const Uuid target = rig.spec(v).target->nexus;
  rig.engines.trouble("n1").cut = true;
  ASSERT_TRUE(rig.until([&] { return !rig.agent->observed().node_online("n1"); }));
  rig.must(rig.agent->unpublish_volume(v, true));
  EXPECT_TRUE(rig.engines.fleet().write(rig.engines.fleet().machine("n1"), target, 0).ok());
  const Uuid snapshot = Uuid::from_name("snapshot");
  EXPECT_EQ(rig.refused(rig.agent->create_snapshot(v, snapshot)), Kind::failed_precondition);
  EXPECT_THAT(rig.last_refusal, HasSubstr("its former target on node n1"));
  rig.engines.trouble("n1").cut = false;
  ASSERT_TRUE(rig.until([&] { return rig.agent->specs().nexuses.empty(); }));
  rig.must(rig.agent->create_snapshot(v, snapshot));
}

// The target that takes its place fences it.
TEST(SnapshotsShell, ATargetTakesOneWhateverBecameOfTheFormerOne) {
  fake::NodesRig rig;
  const Uuid v = rig.create_volume("v", 3).uuid;
  rig.publish(v, "n1");
  rig.write_all(v);
  rig.engines.trouble("n1").cut = true;
  ASSERT_TRUE(rig.until([&] { return !rig.agent->observed().node_online("n1"); }));
  rig.must(rig.agent->set_replica_count(v, 2));
  rig.must(rig.agent->unpublish_volume(v, true));
  rig.publish(v, "n2");
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::online; }));
  rig.must(rig.agent->create_snapshot(v, Uuid::from_name("snapshot")));
  rig.engines.trouble("n1").cut = false;
}

// Its last target died while it was written to: what it had not acknowledged is in some of them only.
TEST(SnapshotsShell, NoneIsTakenOfReplicasThatMayDiffer) {
  fake::NodesRig rig(2);
  const Uuid v = rig.create_volume("v", 2).uuid;
  rig.publish(v, "n1");
  rig.write_all(v);
  rig.engines.fleet().crash("n1");
  ASSERT_TRUE(rig.until([&] { return !rig.agent->observed().node_online("n1"); }));
  rig.must(rig.agent->unpublish_volume(v, true));
  rig.engines.fleet().start("n1", true);
  ASSERT_TRUE(
      rig.until([&] { return rig.agent->specs().nexuses.empty() && rig.status(v) == VolumeStatus::online; }));
  const Uuid snapshot = Uuid::from_name("snapshot");
  EXPECT_EQ(rig.refused(rig.agent->create_snapshot(v, snapshot)), Kind::failed_precondition);
  EXPECT_THAT(rig.last_refusal, HasSubstr("may differ"));
  rig.publish(v);
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::online; }));
  rig.must(rig.agent->unpublish_volume(v, false));
  rig.must(rig.agent->create_snapshot(v, snapshot));
}

}  // namespace
}  // namespace holdfast::control
