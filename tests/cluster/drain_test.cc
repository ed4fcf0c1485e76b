// Nodes are drained: their targets go elsewhere, as long as there is somewhere.
#include "cluster/rig.h"

namespace holdfast::cluster {
namespace {

struct DrainTest : Scenarios<DrainTest> {
  static Shape shape() { return {.engines = 3, .pool_bytes = 256 * mib}; }

  static Answer drain(std::size_t i, const std::string& label) {
    return rig().put("/v0/nodes/" + Rig::node(i) + "/drain/" + label);
  }
  static Answer cordon(std::size_t i, const std::string& label) {
    return rig().put("/v0/nodes/" + Rig::node(i) + "/cordon/" + label);
  }
  static Answer uncordon(std::size_t i, const std::string& label) {
    return rig().del("/v0/nodes/" + Rig::node(i) + "/cordon/" + label);
  }
  static Json state(std::size_t i) {
    return rig().get("/v0/nodes/" + Rig::node(i)).body["spec"].value("cordondrainstate", Json::object());
  }
  static bool drained(std::size_t i) { return state(i).contains("drainedstate"); }
  static void wait_drained(std::size_t i) {
    rig().wait("the node to be drained", [i] { return drained(i); });
  }
  static Json drain_labels(std::size_t i) {
    const Json now = state(i);
    return now.empty() ? Json::array() : now.begin()->value("drainlabels", Json::array());
  }
  // With its target on node-1, and three replicas.
  static std::string served_by_first() {
    const std::string id = rig().volume(3);
    rig().publish(id, 1);
    return id;
  }
};

TEST_F(DrainTest, DrainingAnUncordonedNode) {
  const std::string id = served_by_first();
  Rig::write(rig().get_volume(id)["state"]["target"]["deviceUri"], 0, 1);
  EXPECT_EQ(drain(1, "d").summary(), "200");
  wait_drained(1);
  EXPECT_NE(rig().target_node(id), "node-1");
  EXPECT_EQ(drain_labels(1), Json({"d"}));
  rig().wait_healthy(id, 3);
  EXPECT_TRUE(Rig::holds(rig().get_volume(id)["state"]["target"]["deviceUri"], 0, 1));
  EXPECT_EQ(rig().get("/v0/nodes/node-1/nexuses").body.size(), 0u);
}

TEST_F(DrainTest, DrainingANodeCordonedWithADifferentLabel) {
  const std::string id = served_by_first();
  EXPECT_EQ(cordon(1, "c").summary(), "200");
  EXPECT_EQ(drain(1, "d").summary(), "200");
  wait_drained(1);
  EXPECT_NE(rig().target_node(id), "node-1");
  EXPECT_EQ(drain_labels(1), Json({"d"}));
}

TEST_F(DrainTest, DrainingANodeCordonedWithTheSameLabel) {
  const std::string id = served_by_first();
  EXPECT_EQ(cordon(1, "c").summary(), "200");
  EXPECT_EQ(drain(1, "c").summary(), "412 FailedPrecondition");
  EXPECT_TRUE(state(1).contains("cordonedstate"));
  EXPECT_EQ(rig().target_node(id), "node-1");
}

// A volume whose only replica is on the node keeps its target there.
TEST_F(DrainTest, DrainingADrainingNode) {
  const std::string stays = rig().volume(1);
  const std::size_t home = Rig::number_of(rig().nodes_of(stays).front());
  rig().publish(stays);
  const std::string goes = rig().volume(3);
  rig().publish(goes, home);
  EXPECT_EQ(drain(home, "d").summary(), "200");
  EXPECT_EQ(drain(home, "e").summary(), "200");
  rig().wait("the other target to go", [&] { return rig().target_node(goes) != Rig::node(home); });
  EXPECT_EQ(drain_labels(home), Json({"d", "e"}));
  EXPECT_EQ(rig().target_node(stays), Rig::node(home));
}

TEST_F(DrainTest, DrainingANodeDrainingWithTheSameLabel) {
  const std::string stays = rig().volume(1);
  const std::size_t home = Rig::number_of(rig().nodes_of(stays).front());
  rig().publish(stays);
  EXPECT_EQ(drain(home, "d").summary(), "200");
  EXPECT_EQ(drain(home, "d").summary(), "200");
  EXPECT_EQ(drain_labels(home), Json({"d"}));
}

TEST_F(DrainTest, DrainingADrainedNode) {
  const std::string id = served_by_first();
  EXPECT_EQ(drain(1, "d").summary(), "200");
  wait_drained(1);
  const std::string target = rig().target_node(id);
  EXPECT_EQ(drain(1, "e").summary(), "200");
  wait_drained(1);
  EXPECT_EQ(rig().target_node(id), target);
  EXPECT_EQ(drain_labels(1), Json({"d", "e"}));
}

TEST_F(DrainTest, DrainingANodeDrainedWithTheSameLabel) {
  served_by_first();
  EXPECT_EQ(drain(1, "d").summary(), "200");
  wait_drained(1);
  EXPECT_EQ(drain(1, "d").summary(), "200");
  EXPECT_TRUE(drained(1));
  EXPECT_EQ(drain_labels(1), Json({"d"}));
}

TEST_F(DrainTest, DrainingANodeWithInsufficientSystemCapacity) {
  const std::string id = served_by_first();
  for (const std::size_t i : {2U, 3U}) EXPECT_EQ(cordon(i, "c").summary(), "200");
  EXPECT_EQ(drain(1, "d").summary(), "200");
  EXPECT_TRUE(state(1).contains("drainingstate"));
  EXPECT_EQ(rig().target_node(id), "node-1");
}

// The only node that could take the target goes away when the drain begins.
TEST_F(DrainTest, InsufficientSystemCapacityDuringANodeDrain) {
  const std::string id = served_by_first();
  const std::string uri = rig().get_volume(id)["state"]["target"]["deviceUri"];
  EXPECT_EQ(cordon(3, "c").summary(), "200");
  rig().engine(2).kill();
  EXPECT_EQ(drain(1, "d").summary(), "200");
  rig().wait("the agent to know that the node is lost", [] { return rig().node_status(2) != "Online"; });
  EXPECT_EQ(rig().target_node(id), "node-1");
  EXPECT_TRUE(state(1).contains("drainingstate"));
  EXPECT_EQ(drain_labels(1), Json({"d"}));
  Rig::write(uri, 0, 1);
  EXPECT_TRUE(Rig::holds(uri, 0, 1));
}

TEST_F(DrainTest, DrainCompletionForAPartiallyDrainedNode) {
  const std::string id = served_by_first();
  for (const std::size_t i : {2U, 3U}) EXPECT_EQ(cordon(i, "c").summary(), "200");
  EXPECT_EQ(drain(1, "d").summary(), "200");
  EXPECT_EQ(uncordon(2, "c").summary(), "200");
  wait_drained(1);
  EXPECT_EQ(rig().target_node(id), "node-2");
}

TEST_F(DrainTest, CancellingADrainCommand) {
  const std::string id = served_by_first();
  for (const std::size_t i : {2U, 3U}) EXPECT_EQ(cordon(i, "c").summary(), "200");
  EXPECT_EQ(drain(1, "d").summary(), "200");
  EXPECT_EQ(uncordon(1, "d").summary(), "200");
  EXPECT_TRUE(state(1).empty());
  for (const std::size_t i : {2U, 3U}) EXPECT_EQ(uncordon(i, "c").summary(), "200");
  EXPECT_EQ(rig().target_node(id), "node-1");
}

TEST_F(DrainTest, CancellingADrainCommandWithAnInvalidLabel) {
  served_by_first();
  for (const std::size_t i : {2U, 3U}) EXPECT_EQ(cordon(i, "c").summary(), "200");
  EXPECT_EQ(drain(1, "d").summary(), "200");
  EXPECT_EQ(uncordon(1, "x").summary(), "412 FailedPrecondition");
  EXPECT_EQ(drain_labels(1), Json({"d"}));
}

TEST_F(DrainTest, RestartingADrainingNode) {
  const std::string id = served_by_first();
  for (const std::size_t i : {2U, 3U}) EXPECT_EQ(cordon(i, "c").summary(), "200");
  EXPECT_EQ(drain(1, "d").summary(), "200");
  rig().stop(1);
  rig().start_engine(1);
  for (const std::size_t i : {2U, 3U}) EXPECT_EQ(uncordon(i, "c").summary(), "200");
  wait_drained(1);
  EXPECT_NE(rig().target_node(id), "node-1");
}

TEST_F(DrainTest, NexusPlacementOnAClusterWithOneOrMoreDrainingOrDrainedNodes) {
  const std::string id = rig().volume(3);
  EXPECT_EQ(drain(1, "d").summary(), "200");
  EXPECT_EQ(drain(2, "d").summary(), "200");
  rig().publish(id);
  EXPECT_EQ(rig().target_node(id), "node-3");
}

}  // namespace
}  // namespace holdfast::cluster
