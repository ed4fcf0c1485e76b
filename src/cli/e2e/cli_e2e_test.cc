// The command line as a program, against real engines: its commands, and volumes attached to this very
// machine.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/engine_process.h"

namespace holdfast::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
using testing_support::EngineProcess;
using testing_support::Finished;
using testing_support::ScratchDir;
using namespace std::chrono_literals;

std::string program() { return fs::read_symlink("/proc/self/exe").parent_path() / "holdfast"; }

// A program with its standard output apart, which is what scripts read.
struct Child {
  explicit Child(std::vector<std::string> command) {
    int out[2];
    EXPECT_EQ(::pipe2(out, O_CLOEXEC), 0);
    pid = ::fork();
    if (pid == 0) {
      ::dup2(out[1], STDOUT_FILENO);
      std::vector<char*> argv;
      for (auto& word : command) argv.push_back(word.data());
      argv.push_back(nullptr);
      ::execvp(argv[0], argv.data());
      ::_exit(127);
    }
    ::close(out[1]);
    from = out[0];
  }
  Finished finish() {
    Finished done;
    char piece[4096];
    for (ssize_t n; (n = ::read(from, piece, sizeof piece)) > 0;)
      done.output.append(piece, static_cast<std::size_t>(n));
    ::close(from);
    int status = 0;
    ::waitpid(pid, &status, 0);
    done.status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return done;
  }
  pid_t pid = -1;
  int from = -1;
};

Finished shell(const std::vector<std::string>& command) { return Child(command).finish(); }

class CliTest : public testing::Test {
 protected:
  // Of an engine: its standard output without the newline at the end. Fails the test when it fails.
  std::string engine(const EngineProcess& e, std::vector<std::string> words) {
    words.insert(words.begin(),
                 {program(), "engine", "-b", "http://127.0.0.1:" + std::to_string(e.grpc_port())});
    Finished done = shell(words);
    EXPECT_EQ(done.status, 0) << testing::PrintToString(words);
    if (done.output.ends_with('\n')) done.output.pop_back();
    return done.output;
  }
  // Makes a device on the engine and exports it. Returns where.
  std::string share(const EngineProcess& e, const std::string& uri) {
    return engine(e, {"bdev", "share", engine(e, {"bdev", "create", uri})});
  }

  ScratchDir scratch;
};

TEST_F(CliTest, DiscoverListsWhatTheHostMayUse) {
  EngineProcess e(scratch, "e");
  ASSERT_TRUE(e.start());
  const std::string open_to_all = share(e, "malloc:///open?size_mb=8");
  const std::string name = engine(e, {"bdev", "create", "malloc:///closed?size_mb=8"});
  engine(e, {"bdev", "share", name, "--allowed-host", "nqn.2014-08.org.example:friend"});
  const std::string at = "127.0.0.1:" + std::to_string(e.nvmf_port());
  const auto discover = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {program(), "discover", at, "-o", "json"});
    const Finished done = shell(more);
    EXPECT_EQ(done.status, 0);
    return json::parse(done.output);
  };
  const json anybody = discover({});
  ASSERT_EQ(anybody.size(), 1u);
  EXPECT_EQ(anybody[0]["type"], "nvm");
  EXPECT_THAT(open_to_all, StartsWith(anybody[0]["uri"].get<std::string>()));
  EXPECT_EQ(discover({"--host-nqn", "nqn.2014-08.org.example:friend"}).size(), 2u);
  EXPECT_EQ(discover({"--no-referrals"}), anybody);
  EXPECT_EQ(shell({program(), "discover", "127.0.0.1:1"}).status, 1);
  EXPECT_EQ(shell({program(), "discover"}).status, 2);
}

TEST_F(CliTest, DiscoverWatchShowsWhatComesAndGoes) {
  EngineProcess e(scratch, "e");
  ASSERT_TRUE(e.start());
  share(e, "malloc:///first?size_mb=8");
  Child watch({program(), "discover", "127.0.0.1:" + std::to_string(e.nvmf_port()), "--watch"});
  std::string shown;
  const auto shows = [&](const std::string& text) {
    char piece[4096];
    for (ssize_t n = 1; n > 0 && shown.find(text) == std::string::npos;) {
      pollfd ready{watch.from, POLLIN, 0};
      if (::poll(&ready, 1, 5000) <= 0) break;
      n = ::read(watch.from, piece, sizeof piece);
      shown.append(piece, static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    }
    return shown.find(text) != std::string::npos;
  };
  EXPECT_TRUE(shows("nqn.2019-05.io.openebs:first\n")) << shown;
  share(e, "malloc:///second?size_mb=8");
  const std::string second =
      "nvm tcp 127.0.0.1:" + std::to_string(e.nvmf_port()) + " nqn.2019-05.io.openebs:second\n";
  EXPECT_TRUE(shows("\n+ " + second)) << shown;
  engine(e, {"bdev", "unshare", "second"});
  EXPECT_TRUE(shows("\n- " + second)) << shown;
  ::kill(watch.pid, SIGTERM);
  watch.finish();
  EXPECT_EQ(shell({program(), "discover", "127.0.0.1:1", "--watch"}).status, 1);
}

TEST_F(CliTest, AMirrorFromTheCommandLine) {
  EngineProcess a(scratch, "a"), b(scratch, "b");
  ASSERT_TRUE(a.start() && b.start());
  engine(a, {"bdev", "create", "malloc:///d0?size_mb=64"});
  const std::string remote = share(b, "malloc:///d1?size_mb=64");
  EXPECT_THAT(remote, StartsWith("nvmf://127.0.0.1:" + std::to_string(b.nvmf_port()) + "/nqn."));
  const std::string uuid = engine(a, {"nexus", "create", "", "32MiB", "bdev:///d0", remote});
  EXPECT_THAT(engine(a, {"nexus", "publish", uuid}), StartsWith("nvmf://"));
  EXPECT_THAT(engine(a, {"nexus", "list", "-q", "-u", "i"}), HasSubstr(uuid + "  32 MiB  online"));
  EXPECT_EQ(json::parse(engine(a, {"nexus", "children", uuid, "-o", "json"})).size(), 2u);

  const std::string third = share(b, "malloc:///d2?size_mb=64");
  engine(a, {"nexus", "add", uuid, third});
  EXPECT_THAT(engine(a, {"rebuild", "watch", uuid, third}), HasSubstr("in sync"));
  EXPECT_THAT(engine(a, {"rebuild", "history", uuid}), HasSubstr("completed"));
  engine(a, {"nexus", "child", "offline", uuid, third});
  EXPECT_THAT(engine(a, {"nexus", "list"}), HasSubstr("degraded"));
  engine(a, {"nexus", "child", "online", uuid, third});
  engine(a, {"rebuild", "watch", uuid});
  engine(a, {"nexus", "remove", uuid, third});
  engine(a, {"nexus", "unpublish", uuid});
  engine(a, {"nexus", "destroy", uuid});
  engine(a, {"bdev", "destroy", "d0"});
  engine(b, {"bdev", "destroy", "d1"});
  EXPECT_EQ(engine(a, {"bdev", "list", "-q"}), "");
}

TEST_F(CliTest, AReplicaOfAnotherEngineGetsTheSnapshotsOfOne) {
  constexpr const char *old_replica = "aaaaaaaa-0000-4000-8000-000000000001",
                       *new_replica = "aaaaaaaa-0000-4000-8000-000000000002",
                       *first = "bbbbbbbb-0000-4000-8000-000000000001",
                       *second = "bbbbbbbb-0000-4000-8000-000000000002";
  EngineProcess a(scratch, "a"), b(scratch, "b");
  ASSERT_TRUE(a.start() && b.start());
  const auto with_replica = [&](const EngineProcess& e, const std::string& pool, const char* replica) {
    const std::string disk = scratch.path(pool + ".img");
    std::ofstream(disk).put('\0');
    fs::resize_file(disk, 128 << 20);
    engine(e, {"pool", "create", pool, disk});
    engine(e, {"replica", "create", "r-" + pool, replica, pool, "-s", "16MiB", "--thin"});
    return engine(e, {"replica", "share", replica});
  };
  const std::string uri = with_replica(a, "p1", old_replica);
  const auto write = [&](const char* bytes) {
    const Finished done = shell({program(), "bench", uri, "--rw", "write", "--size", bytes, "--once"});
    EXPECT_EQ(done.status, 0);
  };
  const auto snapshot = [&](const char* uuid) {
    engine(a, {"snapshot", "create_for_replica", old_replica, uuid, "volume", "transaction", uuid});
  };
  write("2MiB");
  snapshot(first);
  write("4MiB");
  snapshot(second);

  with_replica(b, "p2", new_replica);
  engine(b, {"replica", "unshare", new_replica});
  const std::string source = "127.0.0.1:" + std::to_string(a.grpc_port());
  EXPECT_EQ(engine(b, {"replica", "rebuild", "start", new_replica, old_replica, source}), new_replica);
  const auto job = [&] {
    return json::parse(engine(b, {"replica", "rebuild", "list", new_replica, "-o", "json"}))["rebuilds"][0];
  };
  json seen = job();
  for (int i = 0; i < 600 && seen["status"] == "RUNNING"; ++i) {
    std::this_thread::sleep_for(100ms);
    seen = job();
  }
  EXPECT_EQ(seen["status"], "SUCCESSFUL") << seen.dump(1);
  EXPECT_THAT(engine(b, {"replica", "rebuild", "list"}), HasSubstr(old_replica + (" at " + source)));
  const std::string snapshots = engine(b, {"snapshot", "list"});
  EXPECT_THAT(snapshots, HasSubstr(first));
  EXPECT_THAT(snapshots, HasSubstr(second));

  // A mirror of the two has nothing left to copy, but what came after.
  engine(a, {"replica", "unshare", old_replica});
  const std::string nexus = engine(a, {"nexus", "create", "", "8MiB", "bdev:///r-p1"});
  const std::string child = engine(b, {"replica", "share", new_replica});
  EXPECT_EQ(engine(a, {"replica", "rebuild", "add-to-nexus", nexus, child, "0"}), nexus);
  EXPECT_THAT(engine(a, {"rebuild", "watch", nexus, child}), HasSubstr("in sync"));
  engine(a, {"nexus", "destroy", nexus});
  EXPECT_EQ(engine(b, {"replica", "rebuild", "destroy", new_replica}), new_replica);
  EXPECT_EQ(engine(b, {"replica", "rebuild", "list", "-q"}), "");
  const Finished again =
      testing_support::run({program(), "engine", "-b", "http://127.0.0.1:" + std::to_string(b.grpc_port()),
                            "replica", "rebuild", "destroy", new_replica});
  EXPECT_EQ(again.status, 1);
  EXPECT_THAT(again.output, StartsWith("error: NOT_FOUND: "));
}

TEST_F(CliTest, TheDisksOfAPoolAreLookedAtWhenItIsExported) {
  const std::string disk = scratch.path("p.img");
  std::ofstream(disk).put('\0');
  fs::resize_file(disk, 128 << 20);
  const auto look = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {program(), "pool"});
    return testing_support::run(words);
  };
  {
    EngineProcess e(scratch, "a");
    ASSERT_TRUE(e.start());
    engine(e, {"pool", "create", "p", disk});
    engine(e, {"replica", "create", "v", "aaaaaaaa-0000-4000-8000-000000000001", "p", "-s", "16MiB"});
    const Finished open = look({"check", disk});
    EXPECT_EQ(open.status, 2);
    EXPECT_THAT(open.output, HasSubstr("Export it first"));
    engine(e, {"pool", "export", "p"});
    const Finished clean = look({"check", disk, "-o", "json"});
    ASSERT_EQ(clean.status, 0) << clean.output;
    const json seen = json::parse(clean.output);
    EXPECT_EQ(seen["pool"], "p") << seen.dump(1);
    EXPECT_EQ(seen["volumes"], 1u);
    EXPECT_EQ(json::parse(look({"dump", disk}).output)["volumes"][0]["name"], "v");
  }
  const Finished too_much = look({"check", disk, "--map-memory", "1"});
  EXPECT_EQ(too_much.status, 2);
  EXPECT_THAT(too_much.output, HasSubstr("more than 1 B of memory"));
  EXPECT_THAT(too_much.output, HasSubstr("--map-memory"));
  std::fstream file(disk);
  file.seekp(20).put('x');  // in the first copy of the label
  file.close();
  const Finished damaged = look({"check", disk});
  EXPECT_EQ(damaged.status, 0) << "the other copy is whole: " << damaged.output;
  const Finished none = look({"check", fs::relative(scratch.path("none.img"))});
  EXPECT_EQ(none.status, 2);
  EXPECT_THAT(none.output, HasSubstr("none.img"));
  EXPECT_THAT(none.output, Not(HasSubstr("Export it first")));
  EXPECT_EQ(look({"check", fs::relative(disk)}).status, 0);
}

TEST_F(CliTest, EveryCommandThatOnlyLooks) {
  EngineProcess e(scratch, "a");
  ASSERT_TRUE(e.start());
  EXPECT_THAT(engine(e, {"info"}), HasSubstr("127.0.0.1:" + std::to_string(e.grpc_port())));
  EXPECT_THAT(engine(e, {"perf", "resource"}), HasSubstr("VOLUNTARY_CSW"));
  engine(e, {"device", "list", "--all"});
  engine(e, {"controller", "list"});
  engine(e, {"nexus", "list", "-o", "yaml"});
}

TEST_F(CliTest, AnEngineThatRefusesIsQuotedAndTheStatusIsOne) {
  EngineProcess e(scratch, "a");
  ASSERT_TRUE(e.start());
  const std::string bind = "http://127.0.0.1:" + std::to_string(e.grpc_port());
  const Finished unknown =
      testing_support::run({program(), "engine", "-b", bind, "bdev", "create", "ftp:///x"});
  EXPECT_EQ(unknown.status, 1);
  EXPECT_THAT(unknown.output, StartsWith("error: INVALID_ARGUMENT: "));
  const Finished missing = testing_support::run(
      {program(), "engine", "-b", bind, "nexus", "destroy", "6d5a5b0c-3d3f-4d5c-8d0a-0f6f7d3c9a11"});
  EXPECT_EQ(missing.status, 1);
  EXPECT_THAT(missing.output, StartsWith("error: NOT_FOUND: "));
}

TEST_F(CliTest, BenchVerifiesARemoteDevice) {
  EngineProcess e(scratch, "a");
  ASSERT_TRUE(e.start());
  const std::string uri = share(e, "malloc:///m?size_mb=32");
  const Finished run =
      shell({program(), "bench", uri, "--rw", "randrw", "--verify", "--time", "1", "-o", "json"});
  ASSERT_EQ(run.status, 0);
  const auto report = json::parse(run.output);
  EXPECT_GT(report["read"]["iops"].get<double>(), 100);
  EXPECT_GT(report["blocks_verified"].get<int>(), 100);
  EXPECT_EQ(testing_support::run({program(), "bench", uri, "--bs", "1000"}).status, 1);
}

TEST_F(CliTest, BashCompletesCommandLines) {
  const std::string folder = fs::path(program()).parent_path();
  const auto completed = [&](const std::string& words) {
    const std::string script = "PATH='" + folder +
                               "':$PATH; source <(holdfast completion bash); COMP_WORDS=(" + words +
                               "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _holdfast; echo ${COMPREPLY[@]}";
    return shell({"/bin/bash", "-c", script}).output;
  };
  EXPECT_EQ(completed("holdfast get volumes --source ''"), "none snapshot\n");
  EXPECT_EQ(completed("kubectl-holdfast get volume-sn"), "volume-snapshots volume-snapshot-topology\n");
  EXPECT_THAT(completed("holdfast engine nexus ''"), HasSubstr("publish"));
  EXPECT_EQ(completed("holdfast dump system -d " + folder + "/holdfast-eng"), folder + "/holdfast-engine\n");
}

// Volumes on this machine. Needs root, /dev/fuse and loop devices.
class AttachTest : public CliTest {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "attaching needs root";
    if (::access("/dev/fuse", R_OK | W_OK) != 0) GTEST_SKIP() << "this machine has no /dev/fuse";
    if (::access("/dev/loop-control", R_OK | W_OK) != 0) GTEST_SKIP() << "this machine has no loop devices";
    e = std::make_unique<EngineProcess>(scratch, "a");
    ASSERT_TRUE(e->start());
    std::ofstream(scratch.path("disk.img")) << "";
    fs::resize_file(scratch.path("disk.img"), 256 << 20);
    uri = share_disk();
  }
  void TearDown() override { tool({"detach", "--all", "--force"}); }

  std::string share_disk() { return share(*e, "uring://" + scratch.path("disk.img")); }
  Finished tool(std::vector<std::string> words) {
    words.insert(words.begin(), program());
    words.insert(words.end(), {"--run-dir", scratch.path("run")});
    return shell(words);
  }
  // The device.
  std::string attach(std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"attach", uri, "--via", "user"});
    Finished done = tool(more);
    EXPECT_EQ(done.status, 0);
    if (done.output.ends_with('\n')) done.output.pop_back();
    return done.output;
  }
  json listed() { return json::parse(tool({"attach", "--list", "-o", "json"}).output); }
  std::string state() {
    const auto all = listed();
    return all.empty() ? "nothing" : all[0].value("state", "");
  }
  bool state_becomes(const std::string& wanted) {
    for (int i = 0; i < 200; ++i) {
      if (state() == wanted) return true;
      std::this_thread::sleep_for(50ms);
    }
    return false;
  }
  static Child bench(const std::string& device, std::vector<std::string> more) {
    more.insert(more.begin(), {program(), "bench", "uring://" + device, "-o", "json"});
    return Child(more);
  }
  // The kernel opens a read-only device for writing, and refuses the write.
  static void expect_read_only(const std::string& device) {
    const int fd = ::open(device.c_str(), O_WRONLY | O_CLOEXEC | O_DIRECT);
    int read_only = 0;
    EXPECT_EQ(::ioctl(fd, BLKROGET, &read_only), 0);
    EXPECT_EQ(read_only, 1);
    alignas(4096) static const char block[4096] = {};
    EXPECT_LT(::pwrite(fd, block, sizeof block, 0), 0);
    ::close(fd);
  }
  // Nothing is left on the machine.
  void expect_clean(const std::string& device) {
    EXPECT_TRUE(listed().empty());
    const int fd = ::open(device.c_str(), O_RDONLY | O_CLOEXEC);
    std::uint64_t bytes = 0;
    EXPECT_TRUE(fd < 0 || ::ioctl(fd, BLKGETSIZE64, &bytes) != 0 || bytes == 0)
        << device << " is still bound";
    ::close(fd);
    std::ifstream mounts("/proc/mounts");
    EXPECT_THAT(std::string(std::istreambuf_iterator<char>(mounts), {}),
                testing::Not(HasSubstr(scratch.path("run"))));
  }

  std::unique_ptr<EngineProcess> e;
  std::string uri;
};

TEST_F(AttachTest, WhatIsWrittenIsThereAfterItWasDetached) {
  std::string device = attach();
  EXPECT_THAT(device, StartsWith("/dev/loop"));
  EXPECT_EQ(attach(), device) << "repeating it changes nothing";
  EXPECT_EQ(
      bench(device, {"--rw", "write", "--bs", "1MiB", "--qd", "4", "--once", "--verify"}).finish().status, 0);
  EXPECT_EQ(tool({"detach", device}).status, 0);
  expect_clean(device);
  device = attach({"--read-only"});
  EXPECT_EQ(bench(device + "?read_only", {"--rw", "read", "--bs", "1MiB", "--qd", "4", "--once", "--verify"})
                .finish()
                .status,
            0);
  expect_read_only(device);
  EXPECT_EQ(tool({"detach", uri}).status, 0);
  // The engine's own view of the file.
  EXPECT_EQ(shell({program(), "bench", uri, "--rw", "read", "--once", "--verify"}).status, 0);
}

TEST_F(AttachTest, DiscardReachesTheDiskAndReadsAsZeroes) {
  const std::string device = attach();
  EXPECT_EQ(bench(device, {"--rw", "write", "--bs", "1MiB", "--once"}).finish().status, 0);
  const int fd = ::open(device.c_str(), O_RDWR | O_CLOEXEC | O_DIRECT);
  ASSERT_GE(fd, 0);
  std::uint64_t range[2] = {0, 128 << 20};
  EXPECT_EQ(::ioctl(fd, BLKDISCARD, range), 0);
  std::uint64_t zeroes[2] = {128 << 20, 1 << 20};
  EXPECT_EQ(::ioctl(fd, BLKZEROOUT, zeroes), 0);
  alignas(4096) static char block[4096];
  for (const off_t at : {off_t{0}, off_t{64 << 20}, off_t{128 << 20}, off_t{(129 << 20) - 4096}}) {
    block[0] = block[4095] = 1;
    ASSERT_EQ(::pread(fd, block, sizeof block, at), 4096);
    EXPECT_EQ(std::string(block, sizeof block), std::string(sizeof block, '\0')) << at;
  }
  ASSERT_EQ(::pread(fd, block, sizeof block, 129 << 20), 4096);
  EXPECT_NE(block[0], 0) << "the rest is untouched";
  ::close(fd);
  struct stat st {};
  ASSERT_EQ(::stat(scratch.path("disk.img").c_str(), &st), 0);
  EXPECT_LE(st.st_blocks * 512, 130 << 20) << "the space is given back";
}

TEST_F(AttachTest, AFilesystemIsMountedAndABusyOneStays) {
  const std::string place = scratch.path("mnt");
  fs::create_directory(place);
  EXPECT_EQ(tool({"attach", uri, place, "--via", "user"}).status, 1) << "no filesystem yet";
  EXPECT_EQ(state(), "nothing") << "what was made for it is undone";
  const std::string device = attach();
  ASSERT_EQ(shell({"mkfs.ext4", "-q", device}).status, 0);
  EXPECT_EQ(attach({place}), device);
  EXPECT_EQ(listed()[0]["mountpoints"], json::array({place}));
  std::ofstream file(place + "/hello");
  file << "world" << std::flush;
  EXPECT_EQ(tool({"detach", place}).status, 1) << "a file is open there";
  EXPECT_EQ(state(), "online");
  file.close();
  EXPECT_EQ(tool({"detach", place}).status, 0);
  expect_clean(device);
  attach({place, "--read-only"});
  std::string word;
  std::ifstream(place + "/hello") >> word;
  EXPECT_EQ(word, "world");
}

TEST_F(AttachTest, ARestartOfTheTargetIsOnlyAPause) {
  const std::string device = attach();
  Child load = bench(device, {"--rw", "randrw", "--size", "8MiB", "--qd", "16", "--verify", "--time", "4"});
  std::this_thread::sleep_for(2s);
  e->kill();
  ASSERT_TRUE(state_becomes("reconnecting"));
  ASSERT_TRUE(e->start());
  EXPECT_EQ(share_disk(), uri);
  EXPECT_TRUE(state_becomes("online"));
  const Finished done = load.finish();
  EXPECT_EQ(done.status, 0) << "no error, and nothing lost";
  EXPECT_EQ(tool({"detach", device}).status, 0);
}

TEST_F(AttachTest, ATargetThatIsGoneNeedsForce) {
  const std::string device = attach();
  Child writer({"dd", "if=/dev/zero", "of=" + device, "bs=1M", "count=64", "oflag=direct", "status=none"});
  EXPECT_EQ(writer.finish().status, 0);
  e->kill();
  ASSERT_TRUE(state_becomes("reconnecting"));
  Child stuck({"dd", "if=/dev/zero", "of=" + device, "bs=1M", "count=1", "oflag=direct", "status=none"});
  std::this_thread::sleep_for(300ms);
  EXPECT_EQ(tool({"detach", device}).status, 1);
  EXPECT_EQ(state(), "reconnecting");
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(tool({"detach", device, "--force"}).status, 0);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 20s);
  EXPECT_NE(stuck.finish().status, 0) << "what waited is told that it failed";
  expect_clean(device);
}

TEST_F(AttachTest, WhatADeadProcessLeftIsSeenAndSwept) {
  std::string device = attach();
  ::kill(listed()[0]["pid"].get<int>(), SIGKILL);
  ASSERT_TRUE(state_becomes("dead"));
  EXPECT_EQ(attach().substr(0, 9), "/dev/loop") << "attaching again begins anew";
  EXPECT_EQ(state(), "online");
  device = listed()[0]["device"];
  ::kill(listed()[0]["pid"].get<int>(), SIGKILL);
  ASSERT_TRUE(state_becomes("dead"));
  EXPECT_EQ(tool({"detach", device}).status, 1) << "what was written last may be lost";
  expect_clean(device);
}

TEST_F(AttachTest, ANamespaceIsOneDeviceWhateverItsUriIs) {
  const std::string device = attach();
  for (const std::string& other : {uri.substr(0, uri.find('?')), uri + "&nsid=1"})
    EXPECT_EQ(tool({"attach", other, "--via", "user"}).status, 1) << other;
  EXPECT_EQ(listed().size(), 1u);
  EXPECT_EQ(tool({"detach", device}).status, 0);
  expect_clean(device);
}

TEST_F(AttachTest, ADeviceThatSomebodyHasOpenGoesWhenHeClosesIt) {
  const std::string device = attach();
  const int fd = ::open(device.c_str(), O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(tool({"detach", device, "--timeout", "0.5"}).status, 1);
  EXPECT_EQ(state(), "detaching");
  EXPECT_EQ(tool({"attach", uri, "--via", "user"}).status, 1) << "it is going away";
  ::close(fd);
  EXPECT_TRUE(state_becomes("nothing"));
  expect_clean(device);
}

TEST_F(AttachTest, ADeviceThatCannotBeReadIsNotCalledEmpty) {
  const std::string place = scratch.path("mnt");
  fs::create_directory(place);
  const std::string device = attach({"--grace", "0.5"});
  ASSERT_EQ(shell({"mkfs.ext4", "-q", device}).status, 0);
  e->kill();
  ASSERT_TRUE(state_becomes("lost"));
  const Finished refused = testing_support::run(
      {program(), "attach", uri, place, "--via", "user", "--run-dir", scratch.path("run")});
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.output, testing::Not(HasSubstr("mkfs")));
}

TEST_F(AttachTest, ADeviceThatGrowsIsSeenLarger) {
  uri = share(*e, "malloc:///grows?size_mb=32");
  const std::string device = attach();
  engine(*e, {"bdev", "create", "malloc:///grows?size_mb=64&resize"});
  std::uint64_t bytes = 0;
  for (int i = 0; i < 100 && bytes != 64 << 20; ++i) {
    const int fd = ::open(device.c_str(), O_RDONLY | O_CLOEXEC);
    ::ioctl(fd, BLKGETSIZE64, &bytes);
    ::close(fd);
    std::this_thread::sleep_for(50ms);
  }
  EXPECT_EQ(bytes, 64u << 20);
  EXPECT_EQ(bench(device, {"--rw", "write", "--bs", "1MiB", "--once", "--verify"}).finish().status, 0);
}

TEST_F(AttachTest, WrongUsageAndThingsThatAreNotThere) {
  EXPECT_EQ(tool({"attach"}).status, 2);
  EXPECT_EQ(tool({"detach"}).status, 2);
  EXPECT_EQ(tool({"attach", "malloc:///x?size_mb=1"}).status, 1);
  EXPECT_EQ(tool({"attach", "nvmf://127.0.0.1:1/nqn.2019-05.io.openebs:x", "--via", "user"}).status, 1);
  EXPECT_EQ(tool({"attach", uri, "/not/there", "--via", "user"}).status, 1);
  EXPECT_EQ(tool({"detach", "/dev/loop-none"}).status, 1);
  EXPECT_EQ(state(), "nothing");
}

}  // namespace
}  // namespace holdfast::cli
