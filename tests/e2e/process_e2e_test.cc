// The process itself: start, refusals to start, signals, what it costs.
#include <chrono>
#include <csignal>
#include <thread>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "e2e/cluster.h"
#include "e2e/remote_disk.h"
#include "support/engine_process.h"
#include "support/silent_server.h"

namespace holdfast::e2e {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using testing::HasSubstr;
using testing_support::call;
using testing_support::EngineProcess;
using testing_support::run;
using testing_support::ScratchDir;
using testing_support::share_malloc;

TEST(Process, StartToFirstIoTakesLessThan300Milliseconds) {
  ScratchDir scratch;
  EngineProcess engine(scratch, "quick");
  const auto began = steady_clock::now();
  engine.spawn();
  // Asked every millisecond: gRPC's own attempts are further apart.
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  at.sin_port = htons(engine.grpc_port());
  while (::connect(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 &&
         steady_clock::now() - began < seconds(10)) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  ::close(fd);
  ASSERT_TRUE(engine.wait_ready(seconds(10)));
  RemoteDisk disk(share_malloc(engine, "disk0"));
  ASSERT_TRUE(disk.opened().ok());
  ASSERT_TRUE(disk.read(0, 4096).ok());
  const auto took = std::chrono::duration_cast<milliseconds>(steady_clock::now() - began);
  std::printf("start to first I/O: %ld ms\n", static_cast<long>(took.count()));
  EXPECT_LT(took, milliseconds(300));
}

TEST(Process, IdleWithTenExportsItCostsNextToNothing) {
  ScratchDir scratch;
  EngineProcess engine(scratch, "idle");
  ASSERT_TRUE(engine.start());
  std::vector<std::unique_ptr<RemoteDisk>> disks;
  for (int i = 0; i < 10; ++i) {
    disks.push_back(std::make_unique<RemoteDisk>(share_malloc(engine, "disk" + std::to_string(i))));
    ASSERT_TRUE(disks.back()->opened().ok());
    ASSERT_TRUE(disks.back()->write(0, pattern(0, 1, 1 << 20)).ok());
  }
  disks.clear();
  std::this_thread::sleep_for(seconds(1));
  const double before = engine.cpu_seconds();
  std::this_thread::sleep_for(seconds(10));
  const double used = engine.cpu_seconds() - before;
  const double resident_mib = static_cast<double>(engine.resident_bytes()) / (1 << 20);
  std::printf("idle: %.2f %% of a core, %.1f MiB resident\n", used * 10, resident_mib);
  EXPECT_LE(used, 0.1) << "CPU seconds in 10 s";
  EXPECT_LT(resident_mib, 200);
}

TEST(Process, ASecondSignalEndsItAtOnce) {
  ScratchDir scratch;
  EngineProcess engine(scratch, "stubborn");
  ASSERT_TRUE(engine.start());
  // A call that is under way for seconds holds the clean stop up.
  const testing_support::SilentServer silent;
  std::thread slow([&] {
    v1::CreateBdevRequest request;
    request.set_uri("nvmf://127.0.0.1:" + std::to_string(silent.port()) + "/nqn.2019-05.io.openebs:none");
    v1::CreateBdevResponse reply;
    EXPECT_FALSE(call(engine.bdev(), &v1::BdevRpc::Stub::Create, request, &reply).ok());
  });
  std::this_thread::sleep_for(milliseconds(300));
  engine.signal(SIGTERM);
  EXPECT_EQ(engine.wait_exit(milliseconds(500)), std::nullopt);
  engine.signal(SIGINT);
  EXPECT_EQ(engine.wait_exit(milliseconds(1000)), 1);
  slow.join();
}

TEST(Process, WithoutWorkItStopsCleanly) {
  ScratchDir scratch;
  EngineProcess engine(scratch, "calm");
  ASSERT_TRUE(engine.start());
  RemoteDisk disk(share_malloc(engine, "disk0"));
  ASSERT_TRUE(disk.opened().ok());
  engine.signal(SIGINT);
  EXPECT_EQ(engine.wait_exit(seconds(10)), 0);
  EXPECT_THAT(engine.log(), HasSubstr("stopped cleanly"));
}

TEST(Process, ItRefusesPortsAndDirectoriesThatItCannotHave) {
  ScratchDir scratch;
  EngineProcess first(scratch, "first");
  ASSERT_TRUE(first.start());
  const auto attempt = [&](std::uint16_t grpc, std::uint16_t nvmf, std::uint16_t metrics,
                           const std::string& dir) {
    return run({EngineProcess::program(), "-N", "second", "--grpc-ip", "127.0.0.1", "--grpc-port",
                std::to_string(grpc), "--nvmf-port", std::to_string(nvmf), "--metrics-port",
                std::to_string(metrics), "--data-dir", dir, "--cores", "1"});
  };
  const auto expect_refused = [](const testing_support::Finished& got, const std::string& a,
                                 const std::string& b) {
    EXPECT_EQ(got.status, 1) << got.output;
    EXPECT_THAT(got.output, HasSubstr(a));
    EXPECT_THAT(got.output, HasSubstr(b));
  };
  using testing_support::free_port;
  const auto dir = scratch.path("second");
  expect_refused(attempt(first.grpc_port(), free_port(), 0, dir), "--grpc-port",
                 std::to_string(first.grpc_port()));
  expect_refused(attempt(free_port(), first.nvmf_port(), 0, dir), "--nvmf-port",
                 std::to_string(first.nvmf_port()));
  expect_refused(attempt(free_port(), free_port(), first.metrics_port(), dir), "--metrics-port",
                 std::to_string(first.metrics_port()));
  expect_refused(attempt(free_port(), free_port(), 0, first.data_dir()), "is used by another engine",
                 "--data-dir");
  expect_refused(attempt(free_port(), free_port(), 0, "/dev/null/x"), "/dev/null/x", "--data-dir");
  const auto wrong = run({EngineProcess::program(), "--nvmf-ip", "203.0.113.7", "--data-dir", dir,
                          "--grpc-port", std::to_string(free_port())});
  expect_refused(wrong, "203.0.113.7", "--nvmf-ip");
  const auto version = run({EngineProcess::program(), "--version"});
  EXPECT_EQ(version.status, 0);
  EXPECT_THAT(version.output, HasSubstr("holdfast-engine "));
}

TEST(Process, ASignalThatMeansNothingDoesNotMakeItDeaf) {
  ScratchDir scratch;
  EngineProcess engine(scratch, "deaf");
  ASSERT_TRUE(engine.start());
  engine.signal(SIGUSR1);
  EXPECT_EQ(engine.wait_exit(milliseconds(300)), std::nullopt);
  engine.signal(SIGTERM);
  EXPECT_EQ(engine.wait_exit(seconds(10)), 0);
}

}  // namespace
}  // namespace holdfast::e2e
