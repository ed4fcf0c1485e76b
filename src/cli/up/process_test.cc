#include "cli/up/process.h"

#include <csignal>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/tool/progress.h"
#include "cli/up/control_socket.h"
#include "cli/up/ports.h"
#include "cli/up/state_dir.h"

namespace holdfast::cli {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::StartsWith;

class ProcessTest : public testing::Test {
 protected:
  ProcessTest() {
    char name[] = "/tmp/holdfast-up-XXXXXX";
    dir = ::mkdtemp(name);
  }
  ~ProcessTest() override { fs::remove_all(dir); }
  Process shell(const std::string& script) { return {"p", {"/bin/sh", "-c", script}, dir + "/log"}; }
  static int wait_for(const Process& p) {
    int status = 0;
    ::waitpid(p.pid(), &status, 0);
    return status;
  }

  std::string dir;
};

TEST_F(ProcessTest, WhatItWritesIsInTheLog) {
  Process p = shell("echo one; echo two >&2; exit 3");
  ASSERT_TRUE(p.start(0).ok());
  EXPECT_FALSE(p.ended(wait_for(p), 1));
  EXPECT_EQ(p.last_end(), "exit status 3");
  EXPECT_EQ(p.log_tail(), "\n  one\n  two");
  EXPECT_EQ(p.log_tail(1), "\n  two");
}

TEST_F(ProcessTest, WhoDiesIsStartedAgainLaterAndLater) {
  Process p = shell("kill -9 $$");
  double now = 0;
  for (const double delay : {0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0}) {
    ASSERT_TRUE(p.start(now).ok());
    EXPECT_FALSE(p.ended(wait_for(p), now));
    EXPECT_EQ(p.state(), Process::State::waiting);
    EXPECT_DOUBLE_EQ(p.restart_at() - now, delay);
    now = p.restart_at();
  }
  EXPECT_EQ(p.last_end(), "killed by signal 9");
  ASSERT_TRUE(p.start(now).ok());
  EXPECT_FALSE(p.ended(wait_for(p), now + 61));
  EXPECT_DOUBLE_EQ(p.restart_at() - now - 61, 0.5);
}

TEST_F(ProcessTest, WhoCannotBeStartedAgainIsTriedLaterAndLater) {
  Process p = shell("exit 1");
  ASSERT_TRUE(p.start(0).ok());
  EXPECT_FALSE(p.ended(wait_for(p), 0));
  fs::remove_all(dir);  // no log can be opened
  double now = p.restart_at();
  for (const double delay : {1.0, 2.0, 4.0}) {
    EXPECT_FALSE(p.start(now).ok());
    EXPECT_EQ(p.state(), Process::State::waiting);
    EXPECT_DOUBLE_EQ(p.restart_at() - now, delay);
    now = p.restart_at();
  }
}

TEST_F(ProcessTest, WhoIsToldToStopStaysOff) {
  Process p = shell("exec sleep 100");
  ASSERT_TRUE(p.start(0).ok());
  p.stop(1, false);
  EXPECT_EQ(p.state(), Process::State::stopping);
  EXPECT_TRUE(p.ended(wait_for(p), 2));
  EXPECT_EQ(p.state(), Process::State::off);
  EXPECT_EQ(p.restarts(), 0u);
}

TEST_F(ProcessTest, AProgramThatIsMissingEndsAtOnce) {
  Process p("p", {dir + "/nothing"}, dir + "/log");
  ASSERT_TRUE(p.start(0).ok());
  EXPECT_FALSE(p.ended(wait_for(p), 0));
  EXPECT_THAT(p.log_tail(), HasSubstr("cannot be executed"));
}

TEST_F(ProcessTest, ADirectoryHasOneKeeper) {
  {
    auto lock = StateLock::take(dir);
    ASSERT_TRUE(lock.ok());
    auto second = StateLock::take(dir);
    ASSERT_FALSE(second.ok());
    EXPECT_EQ(second.error().code(), Errc::busy);
    EXPECT_EQ(wait_unlocked(dir, 0.1).code(), Errc::timed_out);
  }
  const auto waited = wait_unlocked(dir, 0.1);
  ASSERT_TRUE(waited.ok());
  EXPECT_EQ(StateLock::take(dir).code(), Errc::busy) << "who waited keeps others out: he may delete it all";
}

TEST_F(ProcessTest, ADirectoryOfAnotherUserIsNotTrustedWhereEverybodyMayMakeOne) {
  if (::geteuid() != 0) GTEST_SKIP() << "another user is wanted";
  const std::string state = dir + "/cluster";
  fs::create_directory(state);
  ASSERT_EQ(::chown(state.c_str(), 65534, 65534), 0);
  EXPECT_TRUE(StateLock::take(state).ok()) << "its owner let root in, as under sudo";
  ASSERT_EQ(::chmod(dir.c_str(), 01777), 0);
  const auto refused = StateLock::take(state);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), Errc::failed_precondition);
  EXPECT_THAT(refused.error().message(), HasSubstr("--state-dir"));
}

TEST_F(ProcessTest, AnotherUsersClusterIsNotOneThatIsMissing) {
  if (::geteuid() != 0) GTEST_SKIP() << "another user is wanted";
  ControlSocket socket;
  ASSERT_TRUE(socket.listen(dir + "/control").ok());
  ASSERT_EQ(::seteuid(65534), 0);
  const auto asked = ask(dir + "/control", Tree{{"do", "status"}});
  const auto plan = load_plan(dir);
  ASSERT_EQ(::seteuid(0), 0);
  for (const Errc code : {asked.code(), plan.code()}) EXPECT_EQ(code, Errc::failed_precondition);
  EXPECT_THAT(asked.error().message(), HasSubstr("another user"));
}

TEST_F(ProcessTest, ADiskThatWasOnlyBegunIsFinished) {
  UpOptions options;
  options.nodes = 1;
  const ClusterPlan plan = make_plan(dir + "/c", options).value();
  const std::string disk = plan.disks(plan.engines[0])[0];
  fs::create_directories(fs::path(disk).parent_path());
  std::ofstream(disk) << "";
  ASSERT_TRUE(prepare_files(plan).ok());
  EXPECT_EQ(fs::file_size(disk), plan.disk_bytes);
}

TEST_F(ProcessTest, DisksAreMadeOnceAndPurgedWithTheRest) {
  UpOptions options;
  options.nodes = 2;
  ClusterPlan plan = make_plan(dir + "/c", options).value();
  ASSERT_TRUE(prepare_files(plan).ok());
  ASSERT_TRUE(save_plan(plan).ok());
  const std::string disk = plan.disks(plan.engines[0])[0];
  EXPECT_EQ(fs::file_size(disk), plan.disk_bytes);
  std::fstream(disk) << "content";
  ASSERT_TRUE(prepare_files(plan).ok());
  char c = 0;
  std::ifstream(disk) >> c;
  EXPECT_EQ(c, 'c');
  EXPECT_EQ(load_plan(dir + "/c").value().engines.size(), 2u);
  std::ofstream(dir + "/c/mine") << "of somebody else";
  ASSERT_TRUE(purge_files(plan).ok());
  EXPECT_TRUE(fs::exists(dir + "/c/mine"));
  EXPECT_FALSE(fs::exists(disk));
  fs::remove(dir + "/c/mine");
  ASSERT_TRUE(purge_files(plan).ok());
  EXPECT_FALSE(fs::exists(dir + "/c"));
}

TEST_F(ProcessTest, APortInUseIsExplainedWithItsOwner) {
  ClusterPlan plan = make_plan(dir, UpOptions()).value();
  plan.engines.resize(1);
  // A port that nobody has, taken by this very process.
  Process listener("l",
                   {"/usr/bin/env", "python3", "-c",
                    "import socket,time\ns=socket.socket();s.bind(('127.0.0.1',0));s.listen();"
                    "print(s.getsockname()[1],flush=True);time.sleep(60)"},
                   dir + "/log");
  ASSERT_TRUE(listener.start(0).ok());
  for (int i = 0; i < 600 && listener.log_tail().empty(); ++i) sleep_seconds(0.05);
  const auto port = static_cast<std::uint16_t>(std::stoi(listener.log_tail().substr(3)));
  EXPECT_TRUE(port_is_taken("127.0.0.1", port));
  EXPECT_TRUE(port_answers("127.0.0.1", port));
  EXPECT_THAT(port_owner(port), StartsWith("process " + std::to_string(listener.pid()) + " (python3"));
  plan.engines[0].nvmf_port = port;
  plan.rest_port = plan.registration_port = 0;
  plan.engines[0].grpc_port = plan.engines[0].metrics_port = 0;
  const Status checked = check_ports(plan);
  ASSERT_FALSE(checked.ok());
  EXPECT_THAT(checked.error().message(), HasSubstr("NVMe/TCP of node-1"));
  listener.stop(0, true);
  listener.ended(wait_for(listener), 0);
  EXPECT_FALSE(port_answers("127.0.0.1", port));
}

TEST_F(ProcessTest, RequestsAreAnsweredOverTheSocket) {
  const std::string path = dir + "/control";
  EXPECT_EQ(ask(path, Tree{{"do", "status"}}).error().code(), Errc::not_found);
  ControlSocket socket;
  ASSERT_TRUE(socket.listen(path).ok());
  const pid_t child = ::fork();
  if (child == 0) {
    const auto reply = ask(path, Tree{{"do", "x"}});
    ::_exit(reply.ok() && text(reply.value(), "did") == "x" ? 0 : 1);
  }
  int status = -1;
  while (::waitpid(child, &status, WNOHANG) == 0) {
    socket.serve([](const Tree& request) { return Tree{{"did", text(request, "do")}}; });
    sleep_seconds(0.01);
  }
  EXPECT_EQ(status, 0);
  EXPECT_EQ(ControlSocket().listen(std::string(200, 'x')).error().code(), Errc::invalid_argument);
}

TEST_F(ProcessTest, WhoIsToldToStopTwiceHearsItOnce) {
  Process p = shell("trap 'echo asked' TERM; echo up; while :; do sleep 0.05; done");
  const auto says = [&](const std::string& all) {
    for (int i = 0; i < 600 && p.log_tail() != all; ++i) sleep_seconds(0.05);
    return p.log_tail() == all;
  };
  ASSERT_TRUE(p.start(0).ok());
  ASSERT_TRUE(says("\n  up"));
  p.stop(1, false);
  ASSERT_TRUE(says("\n  up\n  asked"));
  p.stop(2, false);
  sleep_seconds(0.5);
  EXPECT_EQ(p.log_tail(), "\n  up\n  asked");
  EXPECT_DOUBLE_EQ(p.stopping_since(), 1);
  p.stop(3, true);
  EXPECT_TRUE(p.ended(wait_for(p), 4));
}

}  // namespace
}  // namespace holdfast::cli
