// The verbs of a cluster against a real agent and real engines, kept by `holdfast up`.
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "support/engine_process.h"

namespace holdfast::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using testing_support::Finished;
using testing_support::ScratchDir;

std::string program() { return fs::read_symlink("/proc/self/exe").parent_path() / "holdfast"; }

class ClusterCliTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    scratch = new ScratchDir();
    offset = 1000 + ::getpid() % 130 * 100;
    const Finished up =
        testing_support::run({program(), "up", "-d", "-n", "4", "--disk-size", "512MiB", "--port-offset",
                              std::to_string(offset), "--state-dir", scratch->path("c")});
    ASSERT_EQ(up.status, 0) << up.output;
  }
  static void TearDownTestSuite() {
    testing_support::run({program(), "down", "--purge", "--state-dir", scratch->path("c")});
    delete scratch;
  }
  Finished tool(std::vector<std::string> words) {
    words.insert(words.begin(), program());
    words.insert(words.end(), {"--rest", "http://127.0.0.1:" + std::to_string(8081 + offset)});
    return testing_support::run(words);
  }
  // Of a command that must succeed, without the newline at the end.
  std::string said(std::vector<std::string> words) {
    Finished done = tool(words);
    EXPECT_EQ(done.status, 0) << testing::PrintToString(words) << done.output;
    while (done.output.ends_with('\n')) done.output.pop_back();
    return done.output;
  }
  json tree(std::vector<std::string> words) {
    words.insert(words.end(), {"-q", "-o", "json"});
    return json::parse(said(words), nullptr, false);
  }
  std::string volume(const char* replicas) {
    return said({"create", "volume", "-s", "64MiB", "-n", replicas, "--thin", "-q"});
  }

  static inline ScratchDir* scratch = nullptr;
  static inline int offset = 0;
};

TEST_F(ClusterCliTest, NodesAndPoolsAreThere) {
  EXPECT_EQ(tree({"get", "nodes"}).size(), 4u);
  EXPECT_EQ(tree({"get", "pools"}).size(), 4u);
  EXPECT_THAT(said({"get", "pool", "pool-2"}), HasSubstr("node-2  Online"));
  EXPECT_EQ(tool({"get", "pool", "pool-9"}).status, 1);
  said({"get", "block-devices", "node-1", "--all"});
}

TEST_F(ClusterCliTest, LifeOfAVolume) {
  const std::string id = volume("3");
  EXPECT_THAT(said({"publish", "volume", id}), HasSubstr("nvmf://127.0.0.1:"));
  EXPECT_THAT(tool({"publish", "volume", id}).output, HasSubstr("AlreadyPublished"));
  said({"scale", "volume", id, "2", "--wait"});
  said({"scale", "volume", id, "3", "--wait"});
  said({"resize", "volume", id, "96MiB", "--wait"});
  const json before = tree({"get", "volume", id})["state"]["replica_topology"];
  const std::string target = tree({"get", "volume", id})["state"]["target"]["node"];
  for (const auto& [uuid, replica] : before.items()) {
    if (replica["node"] == target) continue;
    said({"move", "replica", id, uuid, "--wait"});
    EXPECT_FALSE(tree({"get", "volume", id})["state"]["replica_topology"].contains(uuid));
    break;
  }
  const std::string snapshot = said({"snapshot", "create", id});
  const std::string restored = said({"snapshot", "restore", snapshot, "-n", "1", "--wait", "-q"});
  const std::string clone = said({"clone", "volume", id, "-n", "1", "-q"});
  EXPECT_THAT(said({"get", "volume-snapshots"}), HasSubstr(snapshot));
  EXPECT_THAT(said({"get", "volumes", "--source", "snapshot"}), HasSubstr(restored));
  said({"unpublish", "volume", id});
  for (const std::string& v : {restored, clone, id}) said({"delete", "volume", v, "--wait", "-q"});
  for (const json& s : tree({"get", "volume-snapshots"}))
    said({"snapshot", "delete", s["definition"]["spec"]["uuid"]});
  EXPECT_EQ(tree({"get", "volumes"}).size(), 0u);
}

TEST_F(ClusterCliTest, CordonDrainAndLabels) {
  said({"cordon", "node", "node-1", "test"});
  EXPECT_THAT(said({"get", "cordon", "nodes"}), HasSubstr("test"));
  EXPECT_THAT(tool({"create", "volume", "-s", "64MiB", "-n", "4"}).output, HasSubstr("ResourceExhausted"));
  said({"uncordon", "node", "node-1", "test"});
  said({"drain", "node", "node-2", "test", "--drain-timeout", "1m"});
  said({"uncordon", "node", "node-2", "test"});
  said({"label", "node", "node-1", "zone=a"});
  EXPECT_EQ(tool({"label", "node", "node-1", "zone=b"}).status, 1);
  said({"label", "node", "node-1", "zone=b", "--overwrite"});
  EXPECT_EQ(tree({"get", "nodes", "-l", "zone=b"}).size(), 1u);
  said({"label", "node", "node-1", "zone-"});
}

TEST_F(ClusterCliTest, EventsTopAndDump) {
  const std::string id = volume("1");
  EXPECT_THAT(said({"events", "--resource", id}), HasSubstr("Create"));
  EXPECT_EQ(tree({"top", "-n", "1", "-i", "0.2"})["nodes"].size(), 4u);
  const json dumped = tree({"dump", "system", "-d", scratch->path()});
  EXPECT_TRUE(fs::exists(dumped["file"].get<std::string>()));
  EXPECT_EQ(dumped["missing"].size(), 0u) << dumped["missing"];
  said({"delete", "volume", id, "--wait", "-q"});
}

}  // namespace
}  // namespace holdfast::cli
