// `holdfast up` and `holdfast down` with real engines.
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

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
using testing::Not;
using testing_support::Finished;
using testing_support::ScratchDir;
using namespace std::chrono_literals;

std::string program() { return fs::read_symlink("/proc/self/exe").parent_path() / "holdfast"; }

class UpTest : public testing::Test {
 protected:
  // Standard output and error of one command.
  Finished tool(std::vector<std::string> words) {
    words.insert(words.begin(), program());
    words.insert(words.end(), {"--state-dir", dir});
    return testing_support::run(words);
  }
  Finished up(std::vector<std::string> more = {}) {
    more.insert(more.begin(),
                {"up", "--detach", "--nodes", "2", "--disk-size", "256MiB", "--port-offset", offset});
    return tool(more);
  }
  json status() {
    const Finished shown = tool({"up", "--status", "-o", "json"});
    const auto tree = json::parse(shown.output, nullptr, false);
    return tree.is_discarded() ? json() : tree;
  }
  json process(const std::string& name) {
    for (const json& p : status().value("processes", json::array())) {
      if (p["name"] == name) return p;
    }
    return {};
  }
  bool becomes(const std::string& name, const std::string& state, pid_t but_not = 0) {
    for (int i = 0; i < 300; ++i) {
      const json p = process(name);
      if (p.is_object() && p["state"] == state && p["pid"] != but_not) return true;
      std::this_thread::sleep_for(100ms);
    }
    return false;
  }
  void TearDown() override { tool({"down", "--purge"}); }

  ScratchDir scratch;
  const std::string dir = scratch.path("cluster");
  // Apart from other clusters of this machine.
  const std::string offset = std::to_string(1000 + ::getpid() % 130 * 100);
};

TEST_F(UpTest, StartsKeepsStopsAndGoesOn) {
  const Finished started = up();
  ASSERT_EQ(started.status, 0) << started.output;
  EXPECT_THAT(started.output, HasSubstr("The cluster is ready: 2 nodes"));
  ASSERT_TRUE(becomes("node-2", "running"));
  EXPECT_EQ(fs::file_size(dir + "/node-1/disk-0.img"), 256u << 20);

  const Finished again = up();
  EXPECT_EQ(again.status, 1);
  EXPECT_THAT(again.output, HasSubstr("a cluster runs from " + dir + " already"));

  // One that dies is started again.
  const pid_t killed = process("node-2")["pid"];
  ::kill(killed, SIGKILL);
  ASSERT_TRUE(becomes("node-2", "running", killed));
  EXPECT_EQ(process("node-2")["restarts"], 1);
  EXPECT_EQ(process("node-2")["last_end"], "killed by signal 9");

  // One that was stopped stays so until it is wanted, which may be at once.
  EXPECT_EQ(tool({"down", "--node", "node-1", "--kill"}).status, 0);
  EXPECT_EQ(process("node-1")["state"], "stopped");
  EXPECT_EQ(tool({"up", "--node", "node-1"}).status, 0);
  ASSERT_TRUE(becomes("node-1", "running"));
  EXPECT_EQ(tool({"down", "--node", "node-1"}).status, 0);
  EXPECT_EQ(tool({"up", "--node", "node-1"}).status, 0);
  ASSERT_TRUE(becomes("node-1", "running"));
  EXPECT_EQ(tool({"up", "--node", "node-9"}).status, 1);

  EXPECT_EQ(tool({"down"}).status, 0);
  EXPECT_EQ(tool({"up", "--status"}).status, 1);
  EXPECT_NE(::kill(killed, 0), 0);
  EXPECT_TRUE(fs::exists(dir + "/node-1/disk-0.img"));

  const Finished fewer = tool({"up", "--detach", "--nodes", "1"});
  EXPECT_EQ(fewer.status, 1);
  EXPECT_THAT(fewer.output, HasSubstr("it cannot have 1"));
  ASSERT_EQ(tool({"up", "--detach"}).status, 0);  // as it was
  EXPECT_EQ(process("node-2")["state"], "running");
  EXPECT_EQ(tool({"down", "--purge"}).status, 0);
  EXPECT_FALSE(fs::exists(dir));
}

// Both engines stop at once, each with a replica of the other's volume.
TEST_F(UpTest, VolumesAreWholeAfterEverythingWasStopped) {
  ASSERT_EQ(up().status, 0);
  const std::string rest = "http://127.0.0.1:" + std::to_string(8081 + std::stoi(offset));
  const auto ask = [&rest](std::vector<std::string> words) {
    words.insert(words.begin(), program());
    words.insert(words.end(), {"--rest", rest, "-q"});
    const Finished done = testing_support::run(words);
    EXPECT_EQ(done.status, 0) << done.output;
    return done.output.substr(0, done.output.find('\n'));
  };
  const auto show = [&rest](const char* what, const std::string& volume) {
    const Finished shown =
        testing_support::run({program(), "get", what, volume, "--rest", rest, "-o", "json"});
    return json::parse(shown.output, nullptr, false);
  };
  std::vector<std::string> volumes;
  for (const char* node : {"node-1", "node-2"}) {
    volumes.push_back(ask({"create", "volume", "-s", "32MiB", "-n", "2", "--wait"}));
    const std::string uri = ask({"publish", "volume", volumes.back(), "--node", node});
    const Finished written =
        testing_support::run({program(), "bench", uri, "--rw", "write", "--bs", "65536", "--once"});
    ASSERT_EQ(written.status, 0) << written.output;
  }
  EXPECT_EQ(tool({"down"}).status, 0);
  for (const char* node : {"node-1", "node-2"}) {
    std::ifstream file(dir + "/logs/" + node + ".log");
    const std::string log(std::istreambuf_iterator<char>(file), {});
    EXPECT_THAT(log, HasSubstr("stopped cleanly"));
    EXPECT_THAT(log, Not(HasSubstr("unclean")));
    EXPECT_THAT(log, Not(HasSubstr("not given back")));
  }
  ASSERT_EQ(tool({"up", "--detach"}).status, 0);
  for (const std::string& volume : volumes) {
    const auto status = [&] { return show("volume", volume)["state"]["status"]; };
    for (int i = 0; i < 300 && status() != "Online"; ++i) std::this_thread::sleep_for(100ms);
    EXPECT_EQ(status(), "Online");
    // A replica whose node was up later than its target's was taken in again: nothing had to be copied.
    const json history = show("rebuild-history", volume);
    ASSERT_TRUE(history.is_object() && history.contains("records")) << history;
    for (const json& rebuild : history["records"]) EXPECT_EQ(rebuild["blocksTransferred"], 0) << rebuild;
  }
}

TEST_F(UpTest, TheProcessesGoWithTheirKeeper) {
  ASSERT_EQ(up().status, 0);
  const pid_t keeper = status()["pid"];
  const pid_t engine = process("node-1")["pid"];
  ::kill(keeper, SIGKILL);
  for (int i = 0; i < 300 && ::kill(engine, 0) == 0; ++i) std::this_thread::sleep_for(100ms);
  EXPECT_NE(::kill(engine, 0), 0);
  ASSERT_EQ(up().status, 0);
}

// As under nohup, and from a parent that does not care for its children.
TEST_F(UpTest, WhatTheCallerIgnoresIsIgnoredButTheEndOfItsProcesses) {
  const Finished started = testing_support::run(
      {"/usr/bin/env", "--ignore-signal=CHLD", "--ignore-signal=HUP", program(), "up", "-d", "--nodes", "1",
       "--disk-size", "256MiB", "--port-offset", offset, "--state-dir", dir});
  ASSERT_EQ(started.status, 0) << started.output;
  const pid_t keeper = status()["pid"];
  ::kill(keeper, SIGHUP);
  const pid_t killed = process("node-1")["pid"];
  ::kill(killed, SIGKILL);
  EXPECT_TRUE(becomes("node-1", "running", killed));
  EXPECT_EQ(status()["stopping"], false);
  EXPECT_EQ(tool({"down"}).status, 0);
}

TEST_F(UpTest, APortInUseIsExplained) {
  testing_support::EngineProcess other(scratch, "other");
  ASSERT_TRUE(other.start());
  const int shift = other.grpc_port() - 10124;
  if (shift < 0 || shift > 15000) GTEST_SKIP() << "the engine's port is out of the offsets' reach";
  const Finished refused = tool({"up", "-d", "--nodes", "1", "--port-offset", std::to_string(shift)});
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.output,
              HasSubstr("in use by process " + std::to_string(other.pid()) + " (holdfast-engine)"));
  EXPECT_THAT(refused.output, HasSubstr("--port-offset"));
  EXPECT_FALSE(fs::exists(dir + "/node-1"));
}

TEST_F(UpTest, GoesOnWhenNobodyReadsWhatItSays) {
  const std::string command =
      program() + " up --nodes 1 --disk-size 256MiB --port-offset " + offset + " --state-dir " + dir;
  // Its reader ends with the first line.
  const Finished begun = testing_support::run(
      {"/bin/sh", "-c", "( " + command + " 2>&1 | head -n 1 ) >/dev/null 2>&1 </dev/null &"});
  ASSERT_EQ(begun.status, 0) << begun.output;
  const auto ready = [&] {
    const json shown = status();
    return shown.is_object() && shown.value("ready", false);
  };
  for (int i = 0; i < 600 && !ready(); ++i) std::this_thread::sleep_for(100ms);
  EXPECT_TRUE(ready());
  EXPECT_EQ(tool({"down"}).status, 0);
}

}  // namespace
}  // namespace holdfast::cli
