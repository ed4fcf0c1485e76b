// Nodes: cordoned, labelled, deleted.
#include "cluster/rig.h"

namespace holdfast::cluster {
namespace {

struct NodesTest : Scenarios<NodesTest> {
  static Shape shape() { return {.engines = 3}; }

  static std::string cordon_path(std::size_t i, const std::string& label) {
    return "/v0/nodes/" + Rig::node(i) + "/cordon/" + label;
  }
  static void cordon(std::size_t i, const std::string& label) {
    const Answer done = rig().put(cordon_path(i, label));
    EXPECT_EQ(done.summary(), "200") << done.message();
  }
  static Answer uncordon(std::size_t i, const std::string& label) { return rig().del(cordon_path(i, label)); }
  static bool cordoned(std::size_t i) {
    return rig().get("/v0/nodes/" + Rig::node(i)).body["spec"].contains("cordondrainstate");
  }
  // Whether new replicas can be on every node.
  static void expect_schedulable(bool wanted) {
    const std::string id = Rig::new_id();
    EXPECT_EQ(rig().try_volume(id, 3).summary(), wanted ? "200" : "507 ResourceExhausted");
    EXPECT_EQ(rig().del("/v0/volumes/" + id).summary(), wanted ? "204" : "404 NotFound");
  }
  static std::string label_path(const std::string& label) { return "/v0/nodes/node-1/label/" + label; }
  static Json labels() { return rig().get("/v0/nodes/node-1").body["spec"]["labels"]; }
  static Answer delete_node(const std::string& node, const std::string& query = "") {
    return rig().del("/v1/nodes/" + node + query);
  }
};

TEST_F(NodesTest, CordoningANode) {
  cordon(1, "a");
  EXPECT_TRUE(cordoned(1));
  expect_schedulable(false);
}

TEST_F(NodesTest, CordoningACordonedNode) {
  cordon(1, "a");
  cordon(1, "b");
  EXPECT_TRUE(cordoned(1));
  expect_schedulable(false);
}

TEST_F(NodesTest, CordoningANodeWithExistingResources) {
  const std::string id = rig().volume(3);
  rig().publish(id, 1);
  cordon(1, "a");
  expect_schedulable(false);
  EXPECT_TRUE(rig().healthy(id, 3));
  EXPECT_EQ(rig().target_node(id), "node-1");
}

TEST_F(NodesTest, UncordoningANode) {
  cordon(1, "a");
  EXPECT_EQ(uncordon(1, "a").summary(), "200");
  expect_schedulable(true);
}

TEST_F(NodesTest, UncordoningAnUncordonedNode) {
  EXPECT_EQ(uncordon(1, "a").summary(), "412 FailedPrecondition");
  EXPECT_FALSE(cordoned(1));
  expect_schedulable(true);
}

TEST_F(NodesTest, UncordoningANodeWithExistingResources) {
  const std::string id = rig().volume(3);
  cordon(1, "a");
  EXPECT_EQ(uncordon(1, "a").summary(), "200");
  expect_schedulable(true);
  EXPECT_EQ(rig().replica_count(id), 3u);
}

TEST_F(NodesTest, DeletingResourcesOnACordonedNode) {
  const std::string id = rig().volume(3);
  rig().publish(id, 1);
  cordon(1, "a");
  EXPECT_EQ(rig().del("/v0/volumes/" + id).summary(), "204");
  rig().wait("nothing to be left on the node", [&] {
    return rig().get("/v0/nodes/node-1/replicas").body.empty() &&
           rig().get("/v0/nodes/node-1/nexuses").body.empty();
  });
  EXPECT_EQ(rig().del("/v0/pools/pool-1").summary(), "204");
}

TEST_F(NodesTest, RestartingACordonedNode) {
  const std::string id = rig().volume(3);
  rig().publish(id, 1);
  const Strings replicas = rig().replicas_of(id);
  cordon(1, "a");
  rig().stop(1);
  rig().start_engine(1);
  rig().wait_healthy(id, 3);
  EXPECT_EQ(rig().target_node(id), "node-1");
  EXPECT_EQ(rig().replicas_of(id), replicas);
  EXPECT_TRUE(cordoned(1));
}

TEST_F(NodesTest, CordoningANodeWithAnExistingLabel) {
  cordon(1, "a");
  cordon(1, "a");
  EXPECT_TRUE(cordoned(1));
}

TEST_F(NodesTest, UncordoningANodeWithAnUnknownLabel) {
  cordon(1, "a");
  EXPECT_EQ(uncordon(1, "b").summary(), "412 FailedPrecondition");
  EXPECT_TRUE(cordoned(1));
}

TEST_F(NodesTest, UnschedulableReplicasDueToNodeCordon) {
  const std::string id = rig().volume(2);
  rig().publish(id, Rig::number_of(rig().nodes_of(id).front()));
  const std::size_t other = Rig::number_of(rig().nodes_of(id).back());
  for (std::size_t i = 1; i <= 3; ++i) {
    if (rig().children_of(id).count(Rig::node(i)) == 0) cordon(i, "a");
  }
  rig().kill(other);
  rig().wait("the volume to be degraded", [&] { return rig().status(id) == "Degraded"; });
  // Another replica cannot be placed, and cannot be asked for.
  EXPECT_EQ(rig().put("/v0/volumes/" + id + "/replica_count/3").summary(), "412 FailedPrecondition");
  EXPECT_EQ(rig().status(id), "Degraded");
  EXPECT_EQ(rig().replica_count(id), 2u);
}

TEST_F(NodesTest, NodeShouldBeCordonedIfThereIsAtLeastOneCordonApplied) {
  cordon(1, "a");
  cordon(1, "b");
  EXPECT_EQ(uncordon(1, "a").summary(), "200");
  expect_schedulable(false);
}

TEST_F(NodesTest, NodeShouldBeUncordonedWhenAllCordonsHaveBeenRemoved) {
  cordon(1, "a");
  cordon(1, "b");
  EXPECT_EQ(uncordon(1, "a").summary(), "200");
  EXPECT_EQ(uncordon(1, "b").summary(), "200");
  EXPECT_FALSE(cordoned(1));
  expect_schedulable(true);
}

TEST_F(NodesTest, NexusPlacementOnAClusterWithOneOrMoreCordonedNodes) {
  const std::string id = rig().volume(3);
  cordon(1, "a");
  cordon(3, "a");
  rig().publish(id);
  EXPECT_EQ(rig().target_node(id), "node-2");
}

TEST_F(NodesTest, LabelANode) {
  EXPECT_EQ(rig().put(label_path("zone=a")).summary(), "200");
  EXPECT_EQ(labels(), Json({{"zone", "a"}}));
}

TEST_F(NodesTest, LabelANodeWhenLabelKeyAlreadyExistAndOverwriteIsFalse) {
  EXPECT_EQ(rig().put(label_path("zone=a")).summary(), "200");
  EXPECT_EQ(rig().put(label_path("zone=b")).summary(), "412 FailedPrecondition");
  EXPECT_EQ(rig().put(label_path("zone=b?overwrite=false")).summary(), "412 FailedPrecondition");
  EXPECT_EQ(labels(), Json({{"zone", "a"}}));
}

TEST_F(NodesTest, LabelANodeWhenLabelKeyAlreadyExistAndOverwriteIsTrue) {
  EXPECT_EQ(rig().put(label_path("zone=a")).summary(), "200");
  EXPECT_EQ(rig().put(label_path("zone=b?overwrite=true")).summary(), "200");
  EXPECT_EQ(labels(), Json({{"zone", "b"}}));
}

TEST_F(NodesTest, UnlabelANode) {
  EXPECT_EQ(rig().put(label_path("zone=a")).summary(), "200");
  EXPECT_EQ(rig().del(label_path("zone")).summary(), "200");
  EXPECT_EQ(labels(), Json::object());
}

TEST_F(NodesTest, UnlabelANodeWhenTheLabelKeyIsNotPresent) {
  EXPECT_EQ(rig().put(label_path("zone=a")).summary(), "200");
  EXPECT_EQ(rig().del(label_path("rack")).summary(), "412 FailedPrecondition");
  EXPECT_EQ(labels(), Json({{"zone", "a"}}));
}

TEST_F(NodesTest, DeletingAnOnlineNode) {
  EXPECT_EQ(delete_node("node-3").summary(), "409 InUse");
  EXPECT_EQ(rig().get("/v0/nodes/node-3").summary(), "200");
}

TEST_F(NodesTest, DeletingAnOfflineEmptyNode) {
  EXPECT_EQ(rig().del("/v0/pools/pool-3").summary(), "204");
  rig().kill(3);
  EXPECT_EQ(delete_node("node-3").summary(), "204");
  EXPECT_EQ(rig().get("/v0/nodes/node-3").summary(), "404 NotFound");
}

// What is on it is given up only when that is said.
TEST_F(NodesTest, DeletingAnOfflineNonEmptyNode) {
  const std::string id = rig().volume(3);
  rig().kill(3);
  EXPECT_EQ(delete_node("node-3").summary(), "412 FailedPrecondition");
  EXPECT_EQ(rig().get("/v1/nodes/node-3/purge").body["replicas"].size(), 1u);
  EXPECT_EQ(delete_node("node-3", "?purge=true").summary(), "204");
  EXPECT_EQ(rig().get("/v0/nodes/node-3").summary(), "404 NotFound");
  EXPECT_EQ(rig().get("/v0/pools/pool-3").summary(), "404 NotFound");
  EXPECT_EQ(rig().replica_count(id), 2u);
  // Its disks were not touched.
  ASSERT_TRUE(rig().engine(3).start());
  rig().wait("the node to be registered again", [&] { return rig().node_status(3) == "Online"; });
  EXPECT_EQ(rig().create_pool(3, "pool-3", {rig().disk("pool-3")}).summary(), "200");
}

TEST_F(NodesTest, DeletingANonExistentNode) {
  EXPECT_EQ(delete_node("node-9").summary(), "404 NotFound");
  EXPECT_EQ(rig().get("/v0/nodes/node-9").summary(), "404 NotFound");
}

}  // namespace
}  // namespace holdfast::cluster
