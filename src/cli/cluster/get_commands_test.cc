// What people and programs see of the cluster: columns, selectors, errors, exit statuses.
#include <gmock/gmock.h>

#include "cli/cluster/cluster.h"
#include "cli/cluster/selector.h"
#include "cli/cluster/testing/commands_test_base.h"

namespace holdfast::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr const char* volume = R"({
  "spec": {"uuid": "11111111-1111-4111-8111-111111111111", "size": 10737418240, "num_replicas": 3, "thin": true,
           "status": "Created", "num_snapshots": 2, "labels": {"app": "db"}},
  "state": {"uuid": "11111111-1111-4111-8111-111111111111", "size": 10737418240, "status": "Degraded",
    "target": {"node": "node-1", "protocol": "nvmf", "deviceUri": "nvmf://10.0.0.1:8420/nqn"},
    "usage": {"allocated": 1073741824},
    "replica_topology": {
      "22222222-2222-4222-8222-222222222222": {"node": "node-1", "pool": "pool-1", "state": "Online",
        "child-status": "Online",
        "usage": {"capacity": 10737418240, "allocated": 1073741824, "allocated_snapshots": 0}},
      "33333333-3333-4333-8333-333333333333": {"node": "node-2", "pool": "pool-2", "state": "Online",
        "child-status": "Degraded", "child-status-reason": "OutOfSpace", "rebuild-progress": 45}}}})";

class GetTest : public ClusterCommandsTest {
 protected:
  void one_page(const std::string& path, unsigned page, const std::string& entries) {
    const char* joint = path.find('?') == std::string::npos ? "?" : "&";
    agent.on("GET " + path + joint + "max_entries=" + std::to_string(page) + "&starting_token=0",
             R"({"entries":[)" + entries + "]}");
  }
};

TEST_F(GetTest, Volumes) {
  one_page("/v0/volumes", 200, volume);
  EXPECT_EQ(run({"get", "volumes"}), 0);
  EXPECT_EQ(out,
            "ID                                    REPLICAS  TARGET-NODE  ACCESSIBILITY  STATUS      SIZE  "
            "THIN-PROVISIONED  ALLOCATED  SNAPSHOTS  SOURCE\n"
            "11111111-1111-4111-8111-111111111111         3  node-1       nvmf           Degraded  10 GiB  "
            "true                  1 GiB          2  <none>\n");
  one_page("/v1/volumes", 200, volume);
  EXPECT_EQ(run({"get", "volumes", "-o", "wide"}), 0);
  EXPECT_THAT(out, AllOf(HasSubstr("HEALTHY"), HasSubstr("1/3"), HasSubstr("app=db"),
                         HasSubstr("nvmf://10.0.0.1:8420/nqn")));
  EXPECT_EQ(run({"get", "volumes", "--source", "snapshot"}), 0);
  EXPECT_EQ(out, "");
  EXPECT_EQ(err, "no volume\n");
  EXPECT_EQ(run({"get", "volumes", "-o", "json"}), 0);
  EXPECT_EQ(Tree::parse(out), Tree::parse("[" + std::string(volume) + "]"));
  EXPECT_EQ(run({"-o", "yaml", "get", "volumes"}), 0);
  EXPECT_THAT(out, HasSubstr("num_replicas: 3"));
}

TEST_F(GetTest, AThickVolumeWithSnapshotsCountsAsThin) {
  Tree snapped = Tree::parse(volume);
  snapped["spec"]["thin"] = false;
  snapped["spec"]["as_thin"] = true;
  agent.on("GET /v0/volumes/v", snapped.dump());
  EXPECT_EQ(run({"get", "volume", "v"}), 0);
  EXPECT_THAT(out, HasSubstr("true (snapped)"));
}

TEST_F(GetTest, WhereTheReplicasAre) {
  agent.on("GET /v0/volumes/v", volume);
  EXPECT_EQ(run({"get", "volume-replica-topology", "v"}), 0);
  EXPECT_THAT(out,
              StartsWith("ID                                    NODE    POOL    STATUS  CAPACITY  ALLOCATED  "
                         "SNAPSHOTS  CHILD-STATUS  REASON      REBUILD\n"));
  EXPECT_THAT(out, HasSubstr("Degraded      OutOfSpace      45%"));
  one_page("/v0/volumes", 200, volume);
  EXPECT_EQ(run({"get", "volume-replica-topologies"}), 0);
  EXPECT_THAT(out, StartsWith("VOLUME-ID "));
}

TEST_F(GetTest, RebuildHistory) {
  agent.on("GET /v0/volumes/v/rebuild-history", R"({"targetUuid": "t", "records": [{"childUri": "nvmf://b",
    "srcUri": "bdev:///a", "rebuildJobState": "Completed", "blocksTotal": 2048, "blocksRecovered": 2048,
    "blocksTransferred": 512, "blocksRemaining": 0, "blockSize": 512, "isPartial": true,
    "startTime": "2024-10-23T08:15:00.123456Z", "endTime": "2024-10-23T08:16:00Z"}]})");
  EXPECT_EQ(run({"get", "rebuild-history", "v"}), 0);
  EXPECT_EQ(
      out,
      "DST       SRC        STATE      TOTAL  RECOVERED  TRANSFERRED  IS-PARTIAL  START-TIME            "
      "END-TIME\n"
      "nvmf://b  bdev:///a  Completed  1 MiB      1 MiB      256 KiB  true        2024-10-23T08:15:00Z  "
      "2024-10-23T08:16:00Z\n");
}

TEST_F(GetTest, Snapshots) {
  const char* snapshot = R"({"definition": {"spec": {"uuid": "s1", "source_volume": "v1"},
      "metadata": {"status": "Created", "timestamp": "2024-10-23T08:15:00Z", "spec_size": 1048576,
                   "total_allocated_size": 4096, "num_restores": 1, "num_snapshot_replicas": 2}},
    "state": {"uuid": "s1", "allocated_size": 2048, "replica_snapshots": [
      {"online": {"uuid": "r1", "source_id": "q1", "pool_id": "p1", "size": 1048576, "allocated_size": 2048}},
      {"offline": {"uuid": "r2", "source_id": "q2", "pool_id": "p2"}}]}})";
  one_page("/v0/volumes/snapshots?volume_id=v1&snapshot_id=s1", 100, snapshot);
  EXPECT_EQ(run({"get", "volume-snapshots", "--volume", "v1", "--snapshot", "s1"}), 0);
  EXPECT_EQ(
      out,
      "ID  TIMESTAMP             SOURCE-SIZE  ALLOCATED-SIZE  TOTAL-ALLOCATED-SIZE  SOURCE-VOL  RESTORES  "
      "SNAPSHOT_REPLICAS\n"
      "s1  2024-10-23T08:15:00Z        1 MiB           2 KiB                 4 KiB  v1                 1  "
      "                2\n");
  one_page("/v0/volumes/snapshots", 100, snapshot);
  EXPECT_EQ(run({"get", "volume-snapshot-topology"}), 0);
  EXPECT_EQ(out,
            "SNAPSHOT-ID  ID  POOL  SNAPSHOT_STATUS   SIZE  ALLOCATED_SIZE  SOURCE\n"
            "s1           r1  p1    Online           1 MiB           2 KiB  q1\n"
            "s1           r2  p2    Offline              -               -  q2\n");
}

TEST_F(GetTest, PoolsSeenAndNotSeen) {
  const std::string seen =
      R"({"id": "p1", "spec": {"id": "p1", "node": "n1", "disks": ["/dev/a"], "status": "Created",
      "labels": {"zone": "a"}}, "state": {"id": "p1", "node": "n1", "disks": ["aio:///dev/a", "aio:///dev/b"],
      "capacity": 4194304, "used": 1048576, "committed": 2097152, "status": "Online"}})";
  const std::string lost =
      R"({"id": "p2", "spec": {"id": "p2", "node": "n2", "disks": ["/dev/c"], "status": "Created"}})";
  agent.on("GET /v0/pools", "[" + seen + "," + lost + "]");
  EXPECT_EQ(run({"get", "pools", "--show-labels"}), 0);
  EXPECT_EQ(out,
            "ID  DISKS                       MANAGED  NODE  STATUS   CAPACITY  ALLOCATED  AVAILABLE  "
            "COMMITTED  LABELS\n"
            "p1  aio:///dev/a, aio:///dev/b  true     n1    Online      4 MiB      1 MiB      3 MiB      2 "
            "MiB  zone=a\n"
            "p2  /dev/c                      true     n2    Unknown       0 B        0 B        0 B     "
            "<none>  -\n");
  EXPECT_EQ(run({"get", "pools", "-l", "zone=a", "-q"}), 0);
  EXPECT_THAT(out, StartsWith("p1"));
  EXPECT_THAT(out, Not(HasSubstr("p2")));
  agent.on("GET /v0/nodes/n1/pools", "[" + seen + "]");
  EXPECT_EQ(run({"get", "pools", "--node", "n1", "-u", "b"}), 0);
  EXPECT_THAT(out, HasSubstr("4194304"));
  Tree full = Tree::parse(seen);
  full["spec"]["cordons"] = Tree::array({"repair"});
  full["state"]["free"] = 3145728;
  agent.on("GET /v1/pools", "[" + full.dump() + "," + lost + "]");
  EXPECT_EQ(run({"get", "pools", "--node", "n1", "-o", "wide"}), 0);
  EXPECT_THAT(out, AllOf(HasSubstr("repair"), Not(HasSubstr("p2"))));
  EXPECT_EQ(run({"get", "pools", "--node", "n9", "-o", "wide"}), 1);
  agent.on("GET /v0/pools?volume_id=v", "[]");
  EXPECT_EQ(run({"get", "pools", "--volume", "v"}), 0);
  EXPECT_EQ(run({"get", "pools", "-l", "a=b=c"}), exit_usage);
}

TEST_F(GetTest, NodesAndWhatTheyMustNotTake) {
  const std::string cordoned = R"({"id": "n1", "spec": {"id": "n1", "grpcEndpoint": "10.0.0.1:10124",
     "labels": {"zone": "a", "rack": "7"}, "cordondrainstate": {"cordonedstate": {"cordonlabels": ["repair"]}}},
     "state": {"id": "n1", "grpcEndpoint": "10.0.0.1:10124", "status": "Online", "version": "0.1.0"}})";
  const std::string drained = R"({"id": "n2", "spec": {"id": "n2", "grpcEndpoint": "10.0.0.2:10124",
     "cordondrainstate": {"drainedstate": {"cordonlabels": ["a"], "drainlabels": ["b", "c"]}}}})";
  const std::string plain = R"({"id": "n3", "spec": {"id": "n3", "grpcEndpoint": "10.0.0.3:10124"}})";
  agent.on("GET /v0/nodes", "[" + cordoned + "," + drained + "," + plain + "]");
  EXPECT_EQ(run({"get", "nodes", "--show-labels"}), 0);
  EXPECT_EQ(out,
            "ID  GRPC-ENDPOINT   STATUS   VERSION  LABELS\n"
            "n1  10.0.0.1:10124  Online   0.1.0    zone=a,rack=7\n"
            "n2  10.0.0.2:10124  Unknown  -        -\n"
            "n3  10.0.0.3:10124  Unknown  -        -\n");
  EXPECT_EQ(run({"get", "cordon", "nodes"}), 0);
  EXPECT_EQ(out,
            "ID  GRPC-ENDPOINT   STATUS   CORDONED  CORDON-LABELS\n"
            "n1  10.0.0.1:10124  Online   true      repair\n"
            "n2  10.0.0.2:10124  Unknown  true      a, b, c\n");
  EXPECT_EQ(run({"get", "drain", "nodes"}), 0);
  EXPECT_EQ(out,
            "ID  GRPC-ENDPOINT   STATUS   DRAIN-STATE  DRAIN-LABELS\n"
            "n2  10.0.0.2:10124  Unknown  Drained      b, c\n");
  agent.on("GET /v0/nodes/n3", plain);
  EXPECT_EQ(run({"get", "drain", "node", "n3"}), 0);
  EXPECT_THAT(out, HasSubstr("Not draining"));
}

TEST_F(GetTest, BlockDevices) {
  agent.on("GET /v0/nodes/n1/block_devices?all=true",
           R"([{"devname": "/dev/sda", "devtype": "disk", "size": 2048,
    "available": false, "model": "QEMU", "devpath": "/devices/pci", "devmajor": 8, "devminor": 0,
    "devlinks": ["/dev/disk/by-id/x"], "filesystem": {"fstype": "ext4", "uuid": "u", "mountpoint": "/"}}])");
  EXPECT_EQ(run({"get", "block-devices", "n1", "--all"}), 0);
  EXPECT_EQ(out,
            "DEVNAME   DEVTYPE   SIZE  AVAILABLE  MODEL  DEVPATH       FSTYPE  FSUUID  MOUNTPOINT  PARTTYPE  "
            "MAJOR  "
            "MINOR  DEVLINKS\n"
            "/dev/sda  disk     1 MiB  no         QEMU   /devices/pci  ext4    u       /           -         "
            "    8  "
            "    0  \"/dev/disk/by-id/x\"\n");
}

TEST_F(GetTest, HostileAnswersAreEmptyCellsAtWorst) {
  for (const char* body :
       {"null", "3", "\"x\"", "[null]", "[[[]]]", R"([{"spec": 4, "state": []}])",
        R"([{"id": {"a": 1}, "spec": {"labels": [1], "disks": {"x": 1}}}])", "[{\"id\": \"a\\u001b[2J\"}]"}) {
    for (const auto& [verb, path] :
         std::vector<std::pair<std::string, std::string>>{{"pools", "/v1/pools"}, {"nodes", "/v0/nodes"}}) {
      FakeAgent hostile;
      hostile.on("GET " + path, body);
      EXPECT_EQ(run_as_is({"get", verb, "--show-labels", "-o", "wide", "-r", hostile.url()}), 0) << body;
      EXPECT_THAT(out, Not(HasSubstr("\x1b"))) << body;
    }
  }
}

TEST_F(GetTest, RefusalsHaveKindTextAndRemedyAndTheStatusIsOne) {
  agent.on("GET /v0/volumes/v", R"({"kind":"NotFound","message":"Volume v not found","details":""})", 404);
  EXPECT_EQ(run({"get", "volume", "v"}), 1);
  EXPECT_EQ(out, "");
  EXPECT_EQ(err, "error: NotFound: Volume v not found\nhint: 'holdfast get volumes' lists what there is\n");
  EXPECT_EQ(run_as_is({"get", "nodes", "-r", "127.0.0.1:9"}), exit_unreachable);
  EXPECT_THAT(err, HasSubstr("error: Unreachable: http://127.0.0.1:9"));
}

TEST_F(GetTest, WrongUsageIsTwo) {
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"get"},
                                             {"get", "volume"},
                                             {"get", "volumes", "--source", "disk"},
                                             {"get", "node"},
                                             {"get", "cordon"},
                                             {"get", "pools", "--node", "n", "--volume", "v"},
                                             {"get", "nodes", "-r", "h:99999"},
                                             {"get", "nodes", "-o", "html"},
                                             {"get", "volume", ""},
                                             {"get", "block-devices", ""},
                                             {"delete", "pool", ""},
                                             {"snapshot", "delete", ""},
                                             {"cordon", "pool", "", "l"},
                                             {"cordon", "node", "n"},
                                             {"label", "node", "n"},
                                             {"drain", "node", "n", "l", "--drain-timeout", "soon"}}) {
    EXPECT_EQ(run_as_is(words), exit_usage) << testing::PrintToString(words);
    EXPECT_NE(err, "");
  }
  EXPECT_EQ(run_as_is({"cordon", "node", "n", ""}), exit_usage);
  EXPECT_THAT(err, StartsWith("LABEL: must not be empty\n"));
}

TEST_F(GetTest, CordonDrainAndLabels) {
  const std::string node = R"({"id": "n1", "spec": {"id": "n1", "cordondrainstate": )";
  agent.on("PUT /v0/nodes/n1/cordon/my%20label",
           node + R"({"cordonedstate": {"cordonlabels": ["my label"]}}}})");
  EXPECT_EQ(run({"cordon", "node", "n1", "my label"}), 0);
  EXPECT_EQ(out, "node n1 is cordoned (my label)\n");
  agent.on("DELETE /v0/nodes/n1/cordon/a", node + R"({"cordonedstate": {"cordonlabels": ["b"]}}}})");
  EXPECT_EQ(run({"uncordon", "node", "n1", "a"}), 0);
  EXPECT_EQ(out, "node n1 stays cordoned by other labels: b\n");
  agent.on("PUT /v0/nodes/n1/drain/a", node + R"({"drainingstate": {"drainlabels": ["a"]}}}})");
  agent.on("GET /v0/nodes/n1", node + R"({"drainingstate": {"drainlabels": ["a"]}}}})");
  agent.on("GET /v0/nodes/n1", node + R"({"drainedstate": {"drainlabels": ["a"]}}}})");
  EXPECT_EQ(run({"drain", "node", "n1", "a", "--drain-timeout", "1m"}), 0);
  EXPECT_EQ(out, "node n1 is drained\n");
  EXPECT_THAT(err, HasSubstr("draining"));
  agent.on("PUT /v0/nodes/n1/label/openebs.io%2Fzone=a%2Fb?overwrite=true", "{}");
  EXPECT_EQ(run({"label", "node", "n1", "openebs.io/zone=a/b", "--overwrite"}), 0);
  agent.on("DELETE /v0/pools/p1/label/zone", "{}");
  EXPECT_EQ(run({"label", "pool", "p1", "zone-"}), 0);
  EXPECT_EQ(run({"label", "pool", "p1", "zone"}), exit_usage);
}

TEST_F(GetTest, ADrainThatDoesNotEndIsGivenUpWaitingFor) {
  const std::string node =
      R"({"id": "n1", "spec": {"cordondrainstate": {"drainingstate": {"drainlabels": ["a"]}}}})";
  agent.on("PUT /v1/nodes/n1/drain/a?replicas=true", node);
  agent.on("GET /v0/nodes/n1", node);
  agent.on("GET /v1/nodes/n1/purge", R"({"targets": ["v1"], "replicas": ["r1", "r2"]})");
  EXPECT_EQ(run({"drain", "node", "n1", "a", "--replicas", "--drain-timeout", "1s"}), exit_waited);
  EXPECT_THAT(err, HasSubstr("draining, still here: 1 (targets), 2 (replicas)"));
  EXPECT_THAT(err, HasSubstr("not done after 1 s"));
}

TEST(Selectors, TakeWhatTheySay) {
  const Tree labels = {{"zone", "a"}, {"ssd", ""}};
  struct Case {
    const char* selector;
    bool takes;
  };
  for (const Case& c : std::vector<Case>{{"zone=a", true},
                                         {"zone==a", true},
                                         {"zone=b", false},
                                         {"zone!=b", true},
                                         {"zone!=a", false},
                                         {"zone", true},
                                         {"!zone", false},
                                         {"!rack", true},
                                         {"rack!=1", true},
                                         {"zone=a,ssd", true},
                                         {"zone=a,rack", false},
                                         {"ssd=", true}}) {
    const auto selector = Selector::parse(c.selector);
    ASSERT_TRUE(selector.ok()) << c.selector;
    EXPECT_EQ(selector.value().takes(labels), c.takes) << c.selector;
    EXPECT_FALSE(Selector::parse("=x").ok());
  }
  for (const char* wrong : {"", ",", "=a", "a,,b", "!", "a=b=c"})
    EXPECT_FALSE(Selector::parse(wrong).ok()) << wrong;
}

}  // namespace
}  // namespace holdfast::cli
