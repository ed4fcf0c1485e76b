// Goal: the disks are enough. An agent that begins with an empty store brings the cluster back from its pools, and the
// volume has its newest data, although one of its replicas missed the last writes and says that it is in sync.
// Method: an agent with its embedded store, and three engines; the store is deleted between two runs of the agent.
#include <algorithm>
#include <filesystem>
#include <fstream>

#include <grpcpp/channel.h>

#include "cluster/rig.h"
#include "holdfast/v1/record.grpc.pb.h"

namespace holdfast::cluster {
namespace {

constexpr std::uint64_t places = 16;
constexpr std::uint64_t place_distance = 2 * mib;
constexpr std::size_t place_bytes = 64 << 10;

struct AdoptE2e : Scenarios<AdoptE2e> {
  static Shape shape() { return {.engines = 3, .pool_bytes = 1024 * mib}; }

  static void write(const std::string& uri, std::uint32_t generation) {
    for (std::uint64_t p = 0; p < places; ++p) Rig::write(uri, p * place_distance, generation, place_bytes);
  }
  static void verify(const std::string& uri, std::uint32_t generation) {
    for (std::uint64_t p = 0; p < places; ++p)
      EXPECT_TRUE(Rig::holds(uri, p * place_distance, generation, place_bytes)) << "place " << p;
  }
  // What the replica on a node says of its volume; null: nothing.
  static Json said(std::size_t node) {
    const auto stub = v1::ReplicaRecordRpc::NewStub(rig().engine(node).channel());
    v1::ListReplicaRecordsRequest request;
    request.set_with_records(true);
    v1::ListReplicaRecordsResponse reply;
    const auto done =
        testing_support::call(*stub, &v1::ReplicaRecordRpc::Stub::ListReplicaRecords, request, &reply);
    if (!done.ok() || reply.records_size() != 1) return {};
    return Json::parse(reply.records(0).record(), nullptr, false);
  }
  static std::ptrdiff_t healthy_by(const Json& record) {
    if (!record.is_object()) return 0;
    const Json children = record["membership"]["children"];
    return std::count_if(children.begin(), children.end(),
                         [](const Json& c) { return c["healthy"] == true; });
  }
  static std::size_t listed(const std::string& path) { return rig().get(path).body["entries"].size(); }
  static void lose_store() {
    rig().agent().kill();
    std::filesystem::remove_all(rig().agent().data_dir());
  }
  static void start_all() {
    ASSERT_TRUE(rig().agent().start());
    rig().start_engine(3);
    for (std::size_t i = 1; i <= rig().engines(); ++i) {
      rig().wait(Rig::node(i) + " to be online", [i] { return rig().node_status(i) == "Online"; });
    }
  }
  // What `holdfast adopt` tells.
  static Json adopt(const std::string& flags) {
    const auto tool =
        std::filesystem::path(testing_support::AgentProcess::program()).parent_path() / "holdfast";
    const std::string answer = rig().agent().data_dir() + "/adopted.json";
    const std::string line = "'" + tool.string() +
                             "' --rest http://127.0.0.1:" + std::to_string(rig().agent().http_port()) +
                             " adopt " + flags + " -o json > '" + answer + "'";
    const auto done = testing_support::run({"/bin/sh", "-c", line});
    EXPECT_EQ(done.status, 0) << done.output;
    std::ifstream file(answer);
    return Json::parse(file, nullptr, false);
  }
};

TEST_F(AdoptE2e, AClusterIsBroughtBackFromItsPoolsWithTheNewestData) {
  const std::string id = rig().volume(3, {{"size", 64 * mib}, {"labels", {{"app", "db"}}}});
  const std::string snapshots = "/v0/volumes/" + id + "/snapshots/";
  const std::string before = Rig::new_id();
  const std::string during = Rig::new_id();
  EXPECT_EQ(rig().put(snapshots + before).summary(), "200");
  std::string uri = rig().publish(id, 1);
  write(uri, 1);
  EXPECT_EQ(rig().put(snapshots + during).summary(), "200");
  rig().wait("the third replica to know three in sync", [] { return healthy_by(said(3)) == 3; });

  rig().kill(3);
  write(uri, 2);  // the third replica misses it
  rig().wait("the first replica to know two in sync", [] { return healthy_by(said(1)) == 2; });
  EXPECT_TRUE(rig().unpublish(id).ok());
  for (const std::size_t i : {1U, 2U}) {
    rig().wait("a replica to know that there is no target", [i] {
      const Json record = said(i);
      return record.is_object() && !record.contains("target");
    });
  }
  lose_store();
  start_all();
  EXPECT_EQ(listed("/v0/volumes"), 0u);

  const Json preview = adopt("--dry-run");
  EXPECT_EQ(preview.value("dry_run", false), true) << preview;
  EXPECT_EQ(preview["findings"].size(), 3u + 1u + 2u) << preview;
  EXPECT_EQ(listed("/v0/volumes"), 0u);
  const Json report = adopt("");
  EXPECT_EQ(report["findings"].size(), 3u + 1u + 2u) << report;
  for (const Json& f : report["findings"]) {
    EXPECT_EQ(f["verdict"], "adopted") << f;
    if (f["kind"] != "volume") continue;
    EXPECT_EQ(f["in_sync"].size(), 2u) << f;
    EXPECT_EQ(f["stale"].size(), 1u) << f;
  }
  const Json back = rig().get_volume(id);
  EXPECT_EQ(back["spec"]["num_replicas"], 3) << back;
  EXPECT_EQ(back["spec"]["labels"]["app"], "db");
  EXPECT_EQ(listed("/v0/volumes/snapshots"), 2u);

  uri = rig().publish(id, 3);  // beside the replica that missed the last writes
  verify(uri, 2);
  rig().wait_healthy(id, 3);
  verify(uri, 2);
  const Json again = adopt("");
  EXPECT_FALSE(again["findings"].empty()) << again;
  for (const Json& f : again["findings"]) EXPECT_EQ(f["verdict"], "present") << f;
}

}  // namespace
}  // namespace holdfast::cluster
