// Volumes that nobody uses are made whole, and their replicas moved, all the same.
#include <algorithm>

#include "cluster/rig.h"

namespace holdfast::cluster {
namespace {

struct RepairTest : Scenarios<RepairTest> {
  static Shape shape() {
    return {.engines = 4, .pool_bytes = 256 * mib, .agent_flags = {"--faulted-child-wait-period", "15s"}};
  }
  // Three replicas with data, and no target any more.
  static std::string filled() {
    const std::string id = rig().volume(3);
    Rig::write(rig().publish(id), 0, 1, 24 * mib);
    EXPECT_EQ(rig().unpublish(id).summary(), "200");
    return id;
  }
  static bool has_replica_on(const std::string& id, std::size_t i) {
    const Strings nodes = rig().nodes_of(id);
    return std::find(nodes.begin(), nodes.end(), Rig::node(i)) != nodes.end();
  }
  static bool online(const std::string& id) {
    return rig().status(id) == "Online" && rig().replica_count(id) == 3;
  }
  // Every node serves what was written, from its own replica too.
  static void expect_data(const std::string& id) {
    for (const std::string& node : rig().nodes_of(id)) {
      EXPECT_TRUE(Rig::holds(rig().publish(id, Rig::number_of(node)), 0, 1, 24 * mib)) << node;
      EXPECT_EQ(rig().unpublish(id).summary(), "200");
    }
  }
};

TEST_F(RepairTest, ANodeIsLostAndAnotherTakesItsPlace) {
  const std::string id = filled();
  const std::size_t away = Rig::number_of(rig().nodes_of(id).back());
  rig().kill(away);
  rig().wait("another replica to hold all data", [&] { return online(id) && !has_replica_on(id, away); });
  EXPECT_EQ(rig().target_node(id), "");
  EXPECT_EQ(rig().unpublish(id).summary(), "412 NotPublished");
  rig().wait("the targets of the repair to go", [&] {
    Strings left;
    for (std::size_t i = 1; i <= rig().engines(); ++i) {
      if (i == away) continue;
      const Answer nexuses = rig().get("/v0/nodes/" + Rig::node(i) + "/nexuses");
      if (!nexuses.ok() || !nexuses.body.empty()) left.push_back(Rig::node(i));
    }
    return left.empty();
  });
  expect_data(id);
}

TEST_F(RepairTest, AReplicaThatMissedDataIsBroughtUpToDate) {
  const std::string id = rig().volume(3);
  const Strings nodes = rig().nodes_of(id);
  const std::size_t away = Rig::number_of(nodes.back());
  const std::string uri = rig().publish(id, Rig::number_of(nodes.front()));
  rig().kill(away);
  Rig::write(uri, 0, 1, 24 * mib);
  // On a slow machine another node may have its place by now.
  rig().wait("the replica to be known as lost",
             [&] { return rig().status(id) == "Degraded" || !has_replica_on(id, away); });
  EXPECT_EQ(rig().unpublish(id).summary(), "200");
  rig().start_engine(away);
  rig().wait("all replicas to hold all data", [&] { return online(id); });
  EXPECT_EQ(rig().target_node(id), "");
  expect_data(id);
}

TEST_F(RepairTest, ANodeIsDrainedOfItsReplicas) {
  const std::string id = filled();
  const std::size_t from = Rig::number_of(rig().nodes_of(id).front());
  EXPECT_EQ(rig().put("/v1/nodes/" + Rig::node(from) + "/drain/d?replicas=true").summary(), "200");
  rig().wait("its replica to move", [&] { return online(id) && !has_replica_on(id, from); });
  EXPECT_EQ(rig().target_node(id), "");
  expect_data(id);
}

}  // namespace
}  // namespace holdfast::cluster
