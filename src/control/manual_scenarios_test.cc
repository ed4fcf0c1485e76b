// Rules 1 to 3 and scenarios one to six of the user manual ("Volume operations: replicas and their faults"), over a
// model of engines.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/testing/shell/rig.h"

namespace holdfast::control {
namespace {

using fake::AgentRig;
using fake::gib;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Three nodes with a pool each, or as scenario four has it: two.
struct Cluster3 : AgentRig {
  explicit Cluster3(unsigned pools) {
    for (const char* n : {"node-1", "node-2", "node-3"}) add_node(n, pools);
  }
  bool becomes(const Uuid& v, VolumeStatus wanted) {
    return until([&] { return status(v) == wanted; });
  }
  const ChildState* child_on(const Uuid& v, const NodeId& node) {
    const VolumeView view = volume(v);
    if (!view.state.target) return nullptr;
    kept = *view.state.target;
    for (const auto& [id, r] : view.state.replicas) {
      if (r.node == node) return kept.find(id);
    }
    return nullptr;
  }
  NexusState kept;
};

TEST(Manual, Rule1AVolumeIsProvisionedOnlyIfReplicaCountAndCapacityCanBeSatisfied) {
  Cluster3 c(1);
  EXPECT_EQ(c.refused(c.agent->create_volume(AgentRig::volume_request("v", 4))), Kind::resource_exhausted);
  EXPECT_EQ(c.refused(c.agent->create_volume(AgentRig::volume_request("v", 3, 11 * gib))),
            Kind::resource_exhausted);
  EXPECT_THAT(c.agent->specs().volumes, IsEmpty());
  EXPECT_THAT(c.agent->specs().replicas, IsEmpty());
  EXPECT_EQ(c.create_volume("v", 3).num_replicas, 3u);
}

TEST(Manual, Rule2EveryReplicaIsOnADifferentNode) {
  Cluster3 c(2);
  const Uuid v = c.create_volume("v", 3).uuid;
  EXPECT_THAT(c.pools_of(v), ElementsAre("node-1-a", "node-2-a", "node-3-a"));
  EXPECT_EQ(c.refused(c.agent->set_replica_count(v, 4)), Kind::resource_exhausted);
}

TEST(Manual, Rule3FaultedChildrenAreRetiredBeforeThoseOnline) {
  Cluster3 c(1);
  const Uuid v = c.create_volume("v", 3).uuid;
  c.publish(v, "node-1");
  c.write_all(v);
  c.engines.fleet().set_pool_failed("node-2", "node-2-a", true);
  c.write_all(v);
  ASSERT_TRUE(c.becomes(v, VolumeStatus::degraded));
  c.must(c.agent->set_replica_count(v, 2));
  EXPECT_THAT(c.pools_of(v), ElementsAre("node-1-a", "node-3-a"));
  EXPECT_TRUE(c.becomes(v, VolumeStatus::online));
}

TEST(Manual, ScenarioOneAFailedPoolIsReplacedOnTheSameNode) {
  AgentRig c;
  c.add_node("node-1", 2);
  c.add_node("node-2", 2);
  const Uuid v = c.create_volume("v", 2).uuid;
  ASSERT_THAT(c.pools_of(v), ElementsAre("node-1-a", "node-2-a"));
  c.publish(v, "node-1");
  c.write_all(v);
  c.engines.fleet().set_pool_failed("node-2", "node-2-a", true);
  c.write_all(v);
  ASSERT_TRUE(c.until([&] { return c.status(v) == VolumeStatus::degraded; }));
  ASSERT_TRUE(c.until([&] { return c.status(v) == VolumeStatus::online; }));
  EXPECT_THAT(c.pools_of(v), ElementsAre("node-1-a", "node-2-b"));
  EXPECT_THAT(c.engines.fleet().violations(), IsEmpty());
}

TEST(Manual, ScenariosTwoAndThreeADetachedPoolIsReplacedOnAThirdNodeAndUsedAgainWhenScaledUp) {
  Cluster3 c(1);
  const Uuid v = c.create_volume("v", 2).uuid;
  ASSERT_THAT(c.pools_of(v), ElementsAre("node-1-a", "node-2-a"));
  c.publish(v, "node-1");
  c.write_all(v);
  c.engines.fleet().set_pool_failed("node-2", "node-2-a", true);
  c.write_all(v);
  ASSERT_TRUE(c.becomes(v, VolumeStatus::degraded));
  ASSERT_TRUE(c.becomes(v, VolumeStatus::online));
  EXPECT_THAT(c.pools_of(v), ElementsAre("node-1-a", "node-3-a"));
  c.engines.fleet().set_pool_failed("node-2", "node-2-a", false);
  ASSERT_TRUE(c.until([&] { return c.is_clean(); }));
  EXPECT_EQ(c.must(c.agent->set_replica_count(v, 3)).state.status, VolumeStatus::degraded);
  ASSERT_TRUE(c.becomes(v, VolumeStatus::online));
  EXPECT_THAT(c.pools_of(v), ElementsAre("node-1-a", "node-2-a", "node-3-a"));
  EXPECT_THAT(c.engines.fleet().violations(), IsEmpty());
}

TEST(Manual, ScenariosFourToSixAHostThatIsDownIsScaledAwayAndUsedAgain) {
  Cluster3 c(2);
  const Uuid v = c.create_volume("v", 3).uuid;
  c.publish(v, "node-1");
  c.write_all(v);
  c.engines.fleet().crash("node-3");
  ASSERT_TRUE(c.until([&] {
    const ChildState* child = c.child_on(v, "node-3");
    return child != nullptr && child->status == ChildStatus::faulted;
  }));
  // Out of the target after the wait; no other node may take its place, so it stays degraded.
  ASSERT_TRUE(c.until([&] { return c.volume(v).state.target->children.size() == 2; }));
  EXPECT_EQ(c.volume(v).state.target->status, NexusStatus::online);
  c.world.run_for(std::chrono::minutes(30));
  EXPECT_EQ(c.status(v), VolumeStatus::degraded);
  c.must(c.agent->set_replica_count(v, 2));
  ASSERT_TRUE(c.becomes(v, VolumeStatus::online));
  EXPECT_THAT(c.pools_of(v), ElementsAre("node-1-a", "node-2-a"));
  c.engines.fleet().start("node-3", true);
  ASSERT_TRUE(c.until([&] { return c.is_clean(); }));
  EXPECT_EQ(c.must(c.agent->set_replica_count(v, 3)).state.status, VolumeStatus::degraded);
  ASSERT_TRUE(c.becomes(v, VolumeStatus::online));
  EXPECT_EQ(c.pools_of(v).size(), 3u);
  EXPECT_THAT(c.engines.fleet().violations(), IsEmpty());
}

}  // namespace
}  // namespace holdfast::control
