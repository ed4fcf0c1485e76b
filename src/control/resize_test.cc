// Volumes that are to grow while something of them does not answer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/testing/shell/rig.h"

namespace holdfast::control {
namespace {

using fake::gib;
using fake::node_of;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;

struct ResizeRig : fake::NodesRig {
  ResizeRig() {
    v = create_volume("v", 3, gib).uuid;
    publish(v, "n1");
    write_all(v);
  }
  // As the engines have them.
  std::vector<std::uint64_t> replica_sizes() {
    std::vector<std::uint64_t> sizes;
    for (auto& [node, m] : engines.fleet().machines()) {
      for (auto& [id, pool] : m.pools) {
        for (auto& [uuid, copy] : pool.copies) sizes.push_back(copy.size_bytes);
      }
    }
    return sizes;
  }
  bool has_grown() {
    return spec(v).size_bytes == 2 * gib && !spec(v).operation &&
           volume(v).state.target->size_bytes == 2 * gib;
  }

  Uuid v;
};

// Its engine is not known as lost yet.
TEST(Resize, NothingBeginsWhileAnEngineStandsStill) {
  ResizeRig rig;
  const Uuid silent = rig.replica_on(rig.v, "n2");
  rig.engines.trouble("n2").cut = true;
  EXPECT_EQ(rig.refused(rig.agent->resize_volume(rig.v, 2 * gib)), Kind::unavailable);
  EXPECT_THAT(rig.last_refusal, AllOf(HasSubstr("replica " + silent.to_string()), HasSubstr("node n2"),
                                      HasSubstr("try again")));
  EXPECT_EQ(rig.spec(rig.v).operation, std::nullopt);
  EXPECT_EQ(rig.spec(rig.v).size_bytes, gib);
  EXPECT_THAT(rig.replica_sizes(), Each(gib));
  rig.engines.trouble("n2").cut = false;
  ASSERT_TRUE(rig.until([&] { return rig.status(rig.v) == VolumeStatus::online; }));
  rig.must(rig.agent->resize_volume(rig.v, 2 * gib));
  EXPECT_TRUE(rig.has_grown());
}

TEST(Resize, ATargetThatStandsStillIsNamed) {
  ResizeRig rig;
  const Uuid w = rig.create_volume("w", 2).uuid;
  std::set<NodeId> others = {"n1", "n2", "n3"};
  for (const PoolId& pool : rig.pools_of(w)) others.erase(node_of(pool));
  const NodeId beside = *others.begin();
  rig.publish(w, beside);
  rig.engines.trouble(beside).cut = true;
  EXPECT_EQ(rig.refused(rig.agent->resize_volume(w, 2 * gib)), Kind::unavailable);
  EXPECT_THAT(rig.last_refusal, AllOf(HasSubstr("target"), HasSubstr("node " + beside)));
  EXPECT_EQ(rig.agent->specs().volumes.at(w).operation, std::nullopt);
}

// The agent reaches every engine, the target does not.
TEST(Resize, GoesOnByItselfWhenAChildThatDidNotAnswerIsBack) {
  ResizeRig rig;
  rig.engines.fleet().cut("n1", "n2", true);
  EXPECT_EQ(rig.refused(rig.agent->resize_volume(rig.v, 2 * gib)), Kind::unavailable);
  EXPECT_THAT(rig.last_refusal,
              AllOf(HasSubstr("node n1"), HasSubstr(rig.replica_on(rig.v, "n2").to_string()),
                    HasSubstr("try again")));
  EXPECT_EQ(rig.spec(rig.v).size_bytes, gib);
  rig.engines.fleet().cut("n1", "n2", false);
  ASSERT_TRUE(rig.until([&] { return rig.has_grown(); }));
  EXPECT_EQ(rig.status(rig.v), VolumeStatus::online);
}

TEST(Resize, GoesOnByItselfWhenTheTargetGivesAChildUp) {
  ResizeRig rig;
  rig.engines.fleet().cut("n1", "n2", true);
  EXPECT_EQ(rig.refused(rig.agent->resize_volume(rig.v, 2 * gib)), Kind::unavailable);
  ASSERT_TRUE(rig.until([&] { return rig.has_grown(); }));
  EXPECT_EQ(rig.status(rig.v), VolumeStatus::degraded);
  rig.must(rig.agent->resize_volume(rig.v, 2 * gib));
  rig.engines.fleet().cut("n1", "n2", false);
  EXPECT_TRUE(rig.until([&] { return rig.status(rig.v) == VolumeStatus::online; }));
  EXPECT_THAT(rig.replica_sizes(), Each(2 * gib));
}

TEST(Resize, GoesOnWhenTheVolumeIsUnpublishedByForceMeanwhile) {
  ResizeRig rig;
  rig.engines.fleet().cut("n1", "n2", true);
  EXPECT_EQ(rig.refused(rig.agent->resize_volume(rig.v, 2 * gib)), Kind::unavailable);
  rig.must(rig.agent->unpublish_volume(rig.v, true));
  rig.engines.fleet().cut("n1", "n2", false);
  EXPECT_TRUE(
      rig.until([&] { return rig.spec(rig.v).size_bytes == 2 * gib && !rig.spec(rig.v).operation; }, 5min));
  EXPECT_THAT(rig.replica_sizes(), Each(2 * gib));
}

TEST(Resize, ATargetIsReplacedWhileAReplicaThatIsToGrowHangs) {
  ResizeRig rig;
  rig.engines.fleet().set_pool_stalled("n2", "n2-a", true);
  ASSERT_TRUE(rig.until([&] { return rig.status(rig.v) == VolumeStatus::degraded; }));
  EXPECT_EQ(rig.refused(rig.agent->resize_volume(rig.v, 2 * gib)), Kind::unavailable);
  rig.engines.fleet().crash("n1");
  ASSERT_TRUE(rig.until([&] { return !rig.agent->observed().node_online("n1"); }));
  PublishVolume request;
  request.volume = rig.v;
  request.republish = true;
  request.node = "n3";
  rig.must(rig.agent->publish_volume(request));
  rig.write_all(rig.v);
  rig.engines.fleet().heal_pool("n2", "n2-a");
  EXPECT_TRUE(rig.until([&] { return rig.has_grown(); }));
}

Task<void> unpublish(Agent& agent, Uuid v, std::optional<Result<VolumeView>>& into) {
  into = co_await agent.unpublish_volume(v, true);
}

TEST(Resize, IsNotForgottenByAPublishAfterAnUnpublishThatWasInterrupted) {
  ResizeRig rig;
  rig.engines.fleet().cut("n1", "n2", true);
  EXPECT_EQ(rig.refused(rig.agent->resize_volume(rig.v, 2 * gib)), Kind::unavailable);
  rig.engines.trouble("n1").slow = 6s;
  std::optional<Result<VolumeView>> gone;
  rig.world.spawn(rig.reactor, unpublish(*rig.agent, rig.v, gone));
  ASSERT_TRUE(rig.until([&] {
    return rig.spec(rig.v).operation && rig.spec(rig.v).operation->operation == VolumeOp::unpublish;
  }));
  rig.world.run_for(20ms);
  rig.engines.trouble("n1").slow = Nanos(0);
  rig.engines.fleet().cut("n1", "n2", false);
  // Its term ends; it leads again, and the publish is there before the reconcilers are.
  const auto leader = rig.store.state().range(store::RangeRequest("/holdfast/v1/clusters/default/leader"));
  ASSERT_TRUE(leader.ok() && leader.value().kvs.size() == 1);
  ASSERT_TRUE(rig.store.state().lease_revoke(leader.value().kvs[0].lease).ok());
  rig.store.changed();
  ASSERT_TRUE(rig.until([&] { return !rig.agent->leading(); }));
  ASSERT_TRUE(rig.until([&] { return rig.agent->leading(); }));
  ASSERT_FALSE(gone);
  rig.publish(rig.v);
  ASSERT_TRUE(gone);
  EXPECT_FALSE(gone->ok());
  EXPECT_TRUE(rig.until([&] { return rig.has_grown(); }, 5min));
}

}  // namespace
}  // namespace holdfast::control
