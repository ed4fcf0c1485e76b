// Goal: our target conforms, and the command does what its help says. Method: the real program against a real
// engine, judged by its report.
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conformance/conformance_run.h"
#include "support/silent_server.h"

namespace holdfast::conformance_test {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using Strings = std::vector<std::string>;

Strings with_outcome(const nlohmann::json& report, const std::string& outcome) {
  Strings found;
  for (const auto& t : report["tests"]) {
    if (t["outcome"] == outcome)
      found.push_back(t["id"].get<std::string>() + ": " + t["text"].get<std::string>());
  }
  return found;
}

TEST(Conformance, OurTargetPassesEverything) {
  Exported e;
  const ToolRun run = run_tool(e.scratch(), e.target(), {"--destructive", "--timeout", "20"});
  ASSERT_TRUE(run.report.is_object()) << run.messages;
  EXPECT_EQ(with_outcome(run.report, "fail"), Strings());
  EXPECT_EQ(with_outcome(run.report, "error"), Strings());
  EXPECT_EQ(with_outcome(run.report, "skipped"), Strings());
  EXPECT_EQ(run.status, 0) << run.messages;
  EXPECT_GT(run.report["summary"]["pass"].get<int>(), 250);
}

TEST(Conformance, NothingIsWrittenUnlessItMayBe) {
  Exported e;
  const ToolRun run = run_tool(e.scratch(), e.target(), {"--group", "nvm.integrity", "--test", "nvm.*"});
  ASSERT_TRUE(run.report.is_object()) << run.messages;
  EXPECT_EQ(run.report["summary"]["skipped"], run.report["summary"]["total"]);
  EXPECT_THAT(with_outcome(run.report, "skipped").front(), HasSubstr("--destructive"));
  EXPECT_EQ(run.status, 0);
}

TEST(Conformance, DiscoveryFindsTheSubsystem) {
  Exported e;
  const std::string at = "127.0.0.1:" + std::to_string(e.engine().nvmf_port());
  const ToolRun run = run_tool(e.scratch(), at, {"--test", "base.controller.vs"});
  ASSERT_TRUE(run.report.is_object()) << run.messages;
  EXPECT_EQ(run.report["subsystem"], e.nqn());
  EXPECT_EQ(run.report["summary"]["pass"], 1);
}

TEST(Conformance, ReportsOfEachFormat) {
  Exported e;
  const auto report = [&](const std::string& format) {
    const std::string path = e.scratch().path("report." + format);
    const auto done = testing_support::run({program(), "nvme-conformance", e.target(), "--group",
                                            "base.controller", "-o", format, "--output-file", path});
    EXPECT_EQ(done.status, 0) << done.output;
    return content_of(path);
  };
  EXPECT_THAT(report("junit"),
              testing::AllOf(StartsWith("<?xml"), HasSubstr("<testsuite name=\"base.controller\""),
                             HasSubstr("name=\"base.controller.cap\""), HasSubstr("failures=\"0\"")));
  EXPECT_THAT(report("yaml"), HasSubstr("id: base.controller.cap"));
  EXPECT_THAT(report("text"), HasSubstr("base.controller"));
}

TEST(Conformance, ATargetThatHangsEndsEachTestByTimeOut) {
  testing_support::ScratchDir scratch;
  testing_support::SilentServer server;
  const std::string at = "127.0.0.1:" + std::to_string(server.port());
  const ToolRun run = run_tool(
      scratch, at,
      {"--subsystem", "nqn.2014-08.org.nvmexpress:x", "--timeout", "0.2", "--test", "base.controller.s*"});
  ASSERT_TRUE(run.report.is_object()) << run.messages;
  EXPECT_EQ(run.status, 1);
  EXPECT_EQ(run.report["summary"]["fail"], run.report["summary"]["total"]);
  EXPECT_LT(run.report["seconds"].get<double>(), 30);
}

TEST(Conformance, NoTargetAndWrongUsage) {
  testing_support::ScratchDir scratch;
  const std::string nobody = "127.0.0.1:" + std::to_string(testing_support::free_port());
  EXPECT_EQ(run_tool(scratch, nobody, {}).status, 1) << "discovery finds nobody";
  const ToolRun run = run_tool(
      scratch, nobody, {"--subsystem", "nqn.2014-08.org.nvmexpress:x", "--test", "base.controller.vs"});
  EXPECT_EQ(run.status, 1);
  EXPECT_EQ(run.report["summary"]["error"], 1);
  EXPECT_EQ(run_tool(scratch, nobody, {"--group", "no-such-group"}).status, 2);
  EXPECT_EQ(run_tool(scratch, "http://127.0.0.1:1/x", {}).status, 1);
  EXPECT_EQ(testing_support::run({program(), "nvme-conformance"}).status, 2);
}

TEST(Conformance, ATargetThatNeverStopsSendingEndsEachTestToo) {
  testing_support::ScratchDir scratch;
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&at), size), 0);
  ASSERT_EQ(::listen(listener, 4), 0);
  ASSERT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&at), &size), 0);
  std::thread babbler([listener] {
    const int peer = ::accept(listener, nullptr, nullptr);
    const std::vector<char> noise(1 << 20);
    while (::send(peer, noise.data(), noise.size(), MSG_NOSIGNAL) > 0) {
    }
    ::close(peer);
  });
  const ToolRun run = run_tool(
      scratch, "127.0.0.1:" + std::to_string(ntohs(at.sin_port)),
      {"--subsystem", "nqn.2014-08.org.nvmexpress:x", "--timeout", "0.2", "--test", "tcp.error.data-first"});
  babbler.join();
  ::close(listener);
  ASSERT_TRUE(run.report.is_object()) << run.messages;
  EXPECT_EQ(run.report["tests"][0]["outcome"], "fail");
}

TEST(Conformance, AnaOverANexusInEveryState) {
  const testing_support::ScratchDir scratch;
  testing_support::EngineProcess engine(scratch, "ana");
  ASSERT_TRUE(engine.start());
  const auto cli = [&](Strings words) {
    words.insert(words.begin(),
                 {program(), "engine", "-b", "http://127.0.0.1:" + std::to_string(engine.grpc_port())});
    auto done = testing_support::run(words);
    EXPECT_EQ(done.status, 0) << done.output;
    while (done.output.ends_with('\n')) done.output.pop_back();
    return done.output;
  };
  const std::string nexus = "6e3c062c-293b-46e6-8ab3-ff13c1643437";
  cli({"bdev", "create", "malloc:///c?size_mb=64"});
  cli({"nexus", "create", nexus, "32MiB", "bdev:///c"});
  const std::string uri = cli({"nexus", "publish", nexus});
  const ToolRun all = run_tool(scratch, uri, {"--destructive", "--timeout", "20"});
  ASSERT_TRUE(all.report.is_object()) << all.messages;
  EXPECT_EQ(with_outcome(all.report, "fail"), Strings());
  EXPECT_EQ(with_outcome(all.report, "error"), Strings());
  for (const char* state : {"non_optimized", "inaccessible", "optimized"}) {
    SCOPED_TRACE(state);
    cli({"nexus", "ana_state", nexus, state});
    const ToolRun run = run_tool(scratch, uri, {"--group", "base.ana"});
    ASSERT_TRUE(run.report.is_object()) << run.messages;
    EXPECT_EQ(run.report["summary"]["pass"], run.report["summary"]["total"]) << run.report.dump();
  }
}

}  // namespace
}  // namespace holdfast::conformance_test
