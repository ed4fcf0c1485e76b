// What the verbs that change something ask for, and how they wait.
#include <gmock/gmock.h>

#include "cli/cluster/cluster.h"
#include "cli/cluster/testing/commands_test_base.h"

namespace holdfast::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

class VolumeVerbsTest : public ClusterCommandsTest {
 protected:
  static std::string volume(int wanted, const std::string& replicas, const char* status = "Online") {
    return R"({"spec": {"uuid": "v", "size": 1048576, "num_replicas": )" + std::to_string(wanted) +
           R"(}, "state": {"status": ")" + status + R"(", "size": 1048576, "replica_topology": {)" +
           replicas + "}}}";
  }
  // The body of the last request.
  Tree body() {
    const std::string line = agent.asked().back();
    const auto brace = line.find(" {");
    return brace == std::string::npos ? Tree() : Tree::parse(line.substr(brace + 1));
  }
};

constexpr const char* one = R"("r1": {"state": "Online", "child-status": "Online"})";
constexpr const char* two = R"("r1": {"state": "Online", "child-status": "Online"},
                               "r2": {"state": "Online", "child-status": "Degraded", "rebuild-progress": 50})";
constexpr const char* both =
    R"("r1": {"state": "Online", "child-status": "Online"}, "r2": {"state": "Online"})";

TEST_F(VolumeVerbsTest, CreateSaysWhatItIsGiven) {
  agent.on("PUT /v0/volumes/v", "{}");
  EXPECT_EQ(run({"create", "volume", "v", "--size", "1GiB"}), 0);
  EXPECT_EQ(out, "v\n");
  EXPECT_EQ(
      body(),
      Tree::parse(R"({"policy": {"self_heal": true}, "replicas": 1, "size": 1073741824, "thin": false})"));
  EXPECT_EQ(run({"create",
                 "volume",
                 "v",
                 "-s",
                 "1GiB",
                 "-n",
                 "3",
                 "--thin",
                 "--label",
                 "app=db",
                 "--label",
                 "t=1",
                 "--node-label",
                 "zone=a",
                 "--spread",
                 "rack",
                 "--pool-label",
                 "disk=ssd",
                 "--group",
                 "g",
                 "--max-snapshots",
                 "5",
                 "--no-self-heal"}),
            0);
  EXPECT_EQ(body(),
            Tree::parse(R"({"policy": {"self_heal": false}, "replicas": 3, "size": 1073741824, "thin": true,
    "topology": {"node_topology": {"labelled": {"exclusion": {"rack": ""}, "inclusion": {"zone": "a"},
                 "affinitykey": []}},
                 "pool_topology": {"labelled": {"exclusion": {}, "inclusion": {"disk": "ssd"}, "affinitykey": []}}},
    "labels": {"app": "db", "t": "1"}, "affinity_group": {"id": "g"}, "max_snapshots": 5})"));
  EXPECT_EQ(run({"create", "volume", "v", "-s", "1GiB", "--node", "n1", "--node", "n2"}), 0);
  EXPECT_EQ(at(body(), "topology/node_topology/explicit/allowed_nodes"), Tree({"n1", "n2"}));
  EXPECT_EQ(run({"create", "volume", "v", "-s", "1GiB", "--label", "app"}), exit_usage);
  EXPECT_EQ(run({"create", "volume", "v"}), exit_usage);
}

TEST_F(VolumeVerbsTest, AVolumeWithoutANameGetsOne) {
  EXPECT_EQ(run({"create", "volume", "-s", "1MiB"}), 1);
  EXPECT_THAT(agent.asked().back(), StartsWith("PUT /v0/volumes/"));
  EXPECT_EQ(agent.asked().back().find(" {"), std::string("PUT /v0/volumes/").size() + 36);
}

TEST_F(VolumeVerbsTest, CreateWaitsUntilAllReplicasAreInSync) {
  agent.on("PUT /v0/volumes/v", "{}");
  agent.on("GET /v0/volumes/v", volume(2, one, "Degraded"));
  agent.on("GET /v0/volumes/v", R"({"kind":"Unavailable","message":"no leader","details":""})", 503);
  agent.on("GET /v0/volumes/v", volume(2, both));
  EXPECT_EQ(run({"create", "volume", "v", "--size", "1MiB", "-n", "2", "--wait"}), 0);
  EXPECT_EQ(out, "v\n");
  EXPECT_THAT(err, AllOf(HasSubstr("Degraded, 1 of 2 replicas in sync"),
                         HasSubstr("Online, 2 of 2 replicas in sync")));
}

TEST_F(VolumeVerbsTest, ScaleWaitsWithProgress) {
  agent.on("PUT /v0/volumes/v/replica_count/2", volume(2, one));
  agent.on("GET /v0/volumes/v", volume(2, two, "Degraded"));
  EXPECT_EQ(run({"scale", "volume", "v", "2", "--wait-timeout", "1s"}), exit_ok);
  EXPECT_EQ(run({"scale", "volume", "v", "2", "--wait", "--wait-timeout", "1s"}), exit_waited);
  EXPECT_THAT(err, AllOf(HasSubstr("1 of 2 replicas in sync"), HasSubstr("75%"),
                         HasSubstr("it goes on without you")));
  EXPECT_EQ(run({"scale", "volume", "v", "0"}), exit_usage);
}

TEST_F(VolumeVerbsTest, ARefusalIsNotWaitedFor) {
  agent.on(
      "PUT /v0/volumes/v/replica_count/9",
      R"({"kind":"ResourceExhausted","message":"pool p1: on the node of replica r1; pool p2: full","details":""})",
      507);
  EXPECT_EQ(run({"scale", "volume", "v", "9", "--wait"}), 1);
  EXPECT_EQ(err,
            "error: ResourceExhausted: pool p1: on the node of replica r1; pool p2: full\n"
            "hint: 'holdfast get pools -o wide' shows where room is left\n");
}

TEST_F(VolumeVerbsTest, SetResizePublishUnpublish) {
  agent.on("PUT /v0/volumes/v/property", "{}");
  EXPECT_EQ(run({"set", "volume", "v", "max-snapshots", "7"}), 0);
  EXPECT_EQ(body(), Tree({{"max_snapshots", 7}}));
  EXPECT_EQ(run({"set", "volume", "v", "colour", "7"}), exit_usage);
  agent.on("PUT /v0/volumes/v/size", "{}");
  agent.on("GET /v0/volumes/v", volume(1, one));
  EXPECT_EQ(run({"resize", "volume", "v", "1MiB", "--wait"}), 0);
  EXPECT_EQ(out, "Volume v has 1 MiB\n");
  agent.on("PUT /v0/volumes/v/target", R"({"state": {"target": {"deviceUri": "nvmf://h:8420/nqn"}}})");
  EXPECT_EQ(run({"publish", "volume", "v", "--node", "n1", "--frontend-node", "app"}), 0);
  EXPECT_EQ(out, "nvmf://h:8420/nqn\n");
  EXPECT_EQ(
      body(),
      Tree::parse(R"({"publish_context": {}, "protocol": "nvmf", "node": "n1", "frontend_node": "app"})"));
  agent.on("DELETE /v0/volumes/v/target?force=true", "{}");
  EXPECT_EQ(run({"unpublish", "volume", "v", "--force"}), 0);
}

TEST_F(VolumeVerbsTest, DeleteWaitsUntilItIsGone) {
  agent.on("DELETE /v0/volumes/v", "", 204);
  agent.on("GET /v0/volumes/v", volume(1, one));
  agent.on("GET /v0/volumes/v", volume(1, one));
  agent.on("GET /v0/volumes/v", R"({"kind":"NotFound","message":"Volume v not found","details":""})", 404);
  EXPECT_EQ(run({"delete", "volume", "v", "--wait"}), 0);
  EXPECT_EQ(out, "Volume v is deleted\n");
  EXPECT_EQ(agent.asked().size(), 4u);
}

TEST_F(VolumeVerbsTest, PoolsAreMadeOfDisksAndLabels) {
  agent.on("PUT /v0/nodes/n1/pools/p1", "{}");
  EXPECT_EQ(run({"create", "pool", "p1", "/dev/sdb", "/dev/sdc", "--node", "n1", "--label", "disk=ssd"}), 0);
  EXPECT_EQ(out, "p1\n");
  EXPECT_EQ(body(), Tree::parse(R"({"disks": ["/dev/sdb", "/dev/sdc"], "labels": {"disk": "ssd"}})"));
  EXPECT_EQ(run({"create", "pool", "p1", "--node", "n1"}), exit_usage);
  agent.on("DELETE /v0/pools/p1", "", 204);
  EXPECT_EQ(run({"delete", "pool", "p1"}), 0);
}

TEST_F(VolumeVerbsTest, WhatAPurgeWouldCostAndDoingIt) {
  agent.on("GET /v1/pools/p1/purge", R"({"pools": ["p1"], "replicas": ["r1", "r2"], "lost_volumes": ["v"],
    "degraded_volumes": [], "lost_snapshots": [], "targets": [], "harmless": false})");
  EXPECT_EQ(run({"delete", "pool", "p1", "--show-impact"}), 0);
  EXPECT_THAT(out, AllOf(HasSubstr("replicas that go                        2  r1, r2"),
                         HasSubstr("VOLUMES THAT ARE LOST                   1  v")));
  agent.on("DELETE /v1/pools/p1/purge?accept_volume_loss=true&accept_snapshot_loss=false", "", 204);
  EXPECT_EQ(run({"delete", "pool", "p1", "--purge", "--accept-volume-loss"}), 0);
  agent.on("DELETE /v1/nodes/n1?purge=true&accept_volume_loss=false&accept_snapshot_loss=false", "", 204);
  EXPECT_EQ(run({"delete", "node", "n1", "--purge"}), 0);
  agent.on("DELETE /v1/nodes/n1", "", 204);
  EXPECT_EQ(run({"delete", "node", "n1"}), 0);
}

TEST_F(VolumeVerbsTest, MovesAndClones) {
  agent.on("PUT /v1/volumes/v/replicas/r1/move", volume(1, one));
  EXPECT_EQ(run({"move", "replica", "v", "r1", "--pool", "p2"}), 0);
  EXPECT_EQ(body(), Tree({{"pool", "p2"}}));
  agent.on("GET /v0/volumes/v", volume(1, one));
  agent.on("GET /v0/volumes/v", volume(1, R"("r2": {"state": "Online"})"));
  EXPECT_EQ(run({"move", "replica", "v", "r1", "--wait"}), 0);
  EXPECT_THAT(err, HasSubstr("the old replica is still there"));
  agent.on("PUT /v1/volumes/v/clones/w", "{}");
  EXPECT_EQ(run({"clone", "volume", "v", "w", "-n", "2"}), 0);
  EXPECT_EQ(at(body(), "size"), 1048576);
  EXPECT_EQ(at(body(), "replicas"), 2);
  agent.on("GET /v0/volumes/w", volume(2, two));
  agent.on("GET /v0/volumes/w", volume(2, both));
  EXPECT_EQ(run({"clone", "volume", "v", "w", "-n", "2", "--wait"}), 0);
  EXPECT_THAT(err, HasSubstr("1 of 2 replicas in sync"));
}

TEST_F(VolumeVerbsTest, PoolsAreCordonedAndEmptied) {
  agent.on("PUT /v1/pools/p1/cordon/full", "{}");
  EXPECT_EQ(run({"cordon", "pool", "p1", "full"}), 0);
  agent.on("DELETE /v1/pools/p1/cordon/full", R"({"spec": {"cordons": ["old"]}})");
  EXPECT_EQ(run({"uncordon", "pool", "p1", "full"}), 0);
  EXPECT_EQ(out, "pool p1 stays cordoned by other labels: old\n");
  agent.on("PUT /v1/pools/p1/evacuate", "{}");
  EXPECT_EQ(run({"drain", "pool", "p1"}), 0);
  agent.on("GET /v0/replicas", R"([{"pool": "p1", "uuid": "r1"}, {"pool": "p2", "uuid": "r2"}])");
  agent.on("GET /v0/replicas", R"([{"pool": "p2", "uuid": "r2"}])");
  EXPECT_EQ(run({"drain", "pool", "p1", "--wait"}), 0);
  EXPECT_THAT(err, HasSubstr("1 replica left"));
  EXPECT_THAT(out, HasSubstr("pool p1 is empty"));
  agent.on("DELETE /v1/pools/p1/evacuate", "{}");
  EXPECT_EQ(run({"undrain", "pool", "p1"}), 0);
  agent.on("PUT /v1/nodes/n1/drain/l?replicas=true", "{}");
  EXPECT_EQ(run({"drain", "node", "n1", "l", "--replicas", "--no-wait"}), 0);
  agent.on("PUT /v1/pools/p1/grow", "{}");
  EXPECT_EQ(run({"grow", "pool", "p1"}), 0);
}

TEST_F(VolumeVerbsTest, DeletingASnapshotWaitsUntilItsCopiesAreGone) {
  const auto left = [](const char* copies) {
    return R"({"definition": {"metadata": {"status": "Deleting", "transactions": {"t": )" +
           std::string(copies) + "}}}}";
  };
  agent.on("DELETE /v0/volumes/snapshots/s", "", 204);
  agent.on("GET /v0/volumes/snapshots/s", left(R"([{"uuid": "a"}, {"uuid": "b"}])"));
  agent.on("GET /v0/volumes/snapshots/s", R"({"kind": "NotFound", "message": "", "details": ""})", 404);
  EXPECT_EQ(run({"snapshot", "delete", "s", "--wait"}), 0);
  EXPECT_THAT(err, HasSubstr("2 copies left"));
  EXPECT_EQ(out, "Snapshot s is deleted\n");
  agent.on("DELETE /v0/volumes/snapshots/u", "", 204);
  agent.on("GET /v0/volumes/snapshots/u", left(R"([{"uuid": "a"}])"));
  EXPECT_EQ(run({"snapshot", "delete", "u", "--wait", "--wait-timeout", "1s"}), exit_waited);
  EXPECT_THAT(err, HasSubstr("1 copy left"));
  EXPECT_EQ(run({"snapshot", "delete", "u", "--wait-timeout", "1s"}), exit_ok);
}

TEST_F(VolumeVerbsTest, Snapshots) {
  agent.on("PUT /v0/volumes/v/snapshots/s", "{}");
  EXPECT_EQ(run({"snapshot", "create", "v", "s"}), 0);
  EXPECT_EQ(out, "s\n");
  agent.on("DELETE /v0/volumes/snapshots/s", "", 204);
  EXPECT_EQ(run({"snapshot", "delete", "s"}), 0);
  agent.on("GET /v0/volumes/snapshots/s",
           R"({"definition": {"metadata": {"spec_size": 4096, "num_snapshot_replicas": 2}}})");
  agent.on("PUT /v0/snapshots/s/volumes/w", "{}");
  EXPECT_EQ(run({"snapshot", "restore", "s", "w"}), 0);
  EXPECT_EQ(body(),
            Tree::parse(R"({"policy": {"self_heal": true}, "replicas": 2, "size": 4096, "thin": true})"));
}

TEST_F(VolumeVerbsTest, NodesAndTheirLabelsHoldTogether) {
  agent.on("PUT /v0/volumes/v", "{}");
  EXPECT_EQ(run({"create", "volume", "v", "-s", "1GiB", "--node", "n1", "--node", "n2", "--spread", "rack",
                 "--node-label", "zone=a"}),
            0);
  EXPECT_EQ(at(body(), "topology/node_topology/explicit/allowed_nodes"), Tree({"n1", "n2"}));
  EXPECT_TRUE(has(body(), "topology/node_topology/labelled/exclusion/rack"));
  EXPECT_EQ(text(body(), "topology/node_topology/labelled/inclusion/zone"), "a");
}

TEST_F(VolumeVerbsTest, WhatIsPublishedIsNotDeleted) {
  agent.on("GET /v0/volumes/v", R"({"spec": {"uuid": "v", "target": {"node": "n1"}}, "state": {}})");
  agent.on("DELETE /v0/volumes/v", "", 204);
  EXPECT_EQ(run({"delete", "volume", "v"}), 1);
  EXPECT_THAT(err, HasSubstr("published on node n1"));
  for (const std::string& line : agent.asked()) EXPECT_FALSE(line.starts_with("DELETE")) << line;
}

}  // namespace
}  // namespace holdfast::cli
