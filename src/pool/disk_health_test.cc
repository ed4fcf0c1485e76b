// Disks that answer and are not fit: errors and stalls, how many are too many, and how that ends.
#include "pool/disk_health.h"

#include <gmock/gmock.h>

#include "pool/testing/pool_bench.h"
#include "rt/scope.h"

namespace holdfast::pool {
namespace {

using namespace testing_support;  // NOLINT: tests only
using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr std::uint64_t cluster = 64 * KiB;

DiskHealthLimits few() {
  DiskHealthLimits limits;
  limits.stall_time = 1s;
  limits.stalls = 3;
  limits.errors = 2;
  limits.window = 1min;
  limits.quiet = 5min;
  return limits;
}

TEST(DiskHealth, TooManyWithinTheWindow) {
  DiskHealth health(few());
  EXPECT_EQ(health.refresh_at(), no_deadline);
  for (int i = 0; i < 20; ++i) health.stalled(i * 31s);  // never three in a minute
  EXPECT_TRUE(health.fit()) << health.reason();
  EXPECT_EQ(health.reason(), "");
  health.stalled(19 * 31s + 2s);
  EXPECT_FALSE(health.fit());
  EXPECT_THAT(health.reason(), HasSubstr("stalled for more than 1s 3 times within 1m"));
  EXPECT_THAT(health.reason(), HasSubstr("5m"));
}

TEST(DiskHealth, WhatStallsWhileItStandsStillIsOneStall) {
  DiskHealth health(few());
  for (int i = 0; i < 10; ++i) health.stalled(10s + i * 90ms);
  EXPECT_TRUE(health.fit());
  health.stalled(11s);
  EXPECT_TRUE(health.fit());
  health.stalled(12s);
  EXPECT_FALSE(health.fit());
}

TEST(DiskHealth, QuietTimeMakesItFitAndEachKindHasItsOwn) {
  DiskHealth health(few());
  health.failed(5, 10s);
  for (const Nanos at : {100s, 102s, 104s}) health.stalled(at);
  EXPECT_THAT(health.reason(), HasSubstr("failed I/O 5 times within 1m and stalled"));
  EXPECT_EQ(health.refresh_at(), 310s);
  health.refresh(310s - 1ns);
  EXPECT_THAT(health.reason(), HasSubstr("failed"));
  health.refresh(310s);
  EXPECT_THAT(health.reason(), testing::Not(HasSubstr("failed")));
  EXPECT_FALSE(health.fit());
  EXPECT_EQ(health.refresh_at(), 404s);
  health.stalled(403s);
  EXPECT_EQ(health.refresh_at(), 703s) << "not quiet yet";
  health.refresh(703s);
  EXPECT_TRUE(health.fit());
  EXPECT_EQ(health.refresh_at(), no_deadline);
}

TEST(DiskHealth, LimitsOfNoneAcceptAnything) {
  DiskHealthLimits limits = few();
  limits.stalls = limits.errors = 0;
  DiskHealth health(limits);
  health.failed(100'000, 1s);
  for (int i = 0; i < 100; ++i) health.stalled(i * 1s);
  EXPECT_TRUE(health.fit());
}

// A pool on two disks with a volume that has data on the first one.
class DiskHealthOfPools : public testing::Test {
 protected:
  explicit DiskHealthOfPools(const BenchParams& params = two_disks())
      : bench(params), volume(bench, bench.volume("v", 16 * cluster)) {
    EXPECT_EQ(volume.write(0, cluster), Errc::ok);
    bench.settle();
    EXPECT_EQ(status(), PoolStatus::online);
  }
  static BenchParams two_disks() {
    BenchParams p;
    p.disks = 2;
    return p;
  }
  PoolStatus status() { return bench.pool->view().status; }
  std::string reason() { return bench.pool->view().status_reason; }
  Errc flush() { return bench.machine.run(volume.channel.channel->flush()).code(); }
  void stall(Nanos time) {
    for (std::size_t i = 0; i < 2; ++i)
      bench.disk(i).faults().stalled_until = bench.machine.world.now() + time;
  }
  std::uint64_t stalls() {
    const PoolView view = bench.pool->view();
    return view.disks[0].stalls + view.disks[1].stalls;
  }
  void stall_once() {
    bench.disk(0).faults().stalled_until = bench.machine.world.now() + 1500ms;
    // The journal is on disk 0.
    ASSERT_EQ(
        bench.machine.run(bench.pool->set_attributes(uuid_of("v"), {{"k", std::to_string(++times)}})).code(),
        Errc::ok);
    bench.machine.world.run_for(10s);
  }

  PoolBench bench;
  Tracked volume;
  int times = 0;
};

// Has a device tell what happened to it.
struct Teller : BlockDevice {
  static void tell(BlockDevice& device, DeviceEvent event) { (device.*&Teller::raise)(event); }
};

TEST_F(DiskHealthOfPools, WhatADiskThatWasAwayHadInItsCacheIsNotCalledDurable) {
  BlockDevice& disk = *bench.machine.registry.find(bench.pool->view().disks[0].device);
  const auto go_and_come_back = [&] {
    Teller::tell(disk, DeviceEvent::failed);
    EXPECT_EQ(status(), PoolStatus::faulted);
    Teller::tell(disk, DeviceEvent::recovered);
  };
  ASSERT_EQ(flush(), Errc::ok);
  go_and_come_back();
  EXPECT_EQ(status(), PoolStatus::online) << "nothing was in its cache";
  ASSERT_EQ(volume.write(0, cluster), Errc::ok);
  go_and_come_back();
  EXPECT_NE(flush(), Errc::ok);
  EXPECT_THAT(reason(), HasSubstr("could not make durable what was written to it"));
}

TEST_F(DiskHealthOfPools, ADiskThatStallsAgainAndAgainMakesThePoolDegraded) {
  for (int i = 0; i < 4; ++i) stall_once();
  EXPECT_EQ(status(), PoolStatus::online) << reason();
  EXPECT_TRUE(bench.events.empty());
  stall_once();
  EXPECT_EQ(status(), PoolStatus::degraded);
  EXPECT_THAT(reason(), HasSubstr("disk '/dev/d0' stalled for more than 1s 5 times within 10m"));
  EXPECT_EQ(bench.events, std::vector<PoolEvent>{PoolEvent::status_changed});
  const PoolView view = bench.pool->view();
  EXPECT_EQ(view.disks[0].status, PoolStatus::degraded);
  EXPECT_EQ(view.disks[0].status_reason, view.status_reason);
  EXPECT_EQ(view.disks[1].status, PoolStatus::online);
  EXPECT_EQ(view.disks[1].status_reason, "");

  bench.machine.world.run_for(29min);
  EXPECT_EQ(status(), PoolStatus::degraded);
  stall_once();
  bench.machine.world.run_for(29min);
  EXPECT_EQ(status(), PoolStatus::degraded) << "it was not quiet for 30 minutes";
  bench.machine.world.run_for(1min);
  EXPECT_EQ(status(), PoolStatus::online) << reason();
  EXPECT_EQ(bench.events.size(), 2u);
  EXPECT_EQ(volume.difference(), "");
}

TEST_F(DiskHealthOfPools, OnePauseOfABusyDiskIsOneStall) {
  stall(1500ms);
  struct Busy {
    static Task<void> write(Channel& channel, std::uint64_t at) {
      Bytes data = filled(4 * KiB, 1);
      const IoVec from = vec(data);
      const Status done = co_await channel.write(Lba{at / 512}, IoVecs(&from, 1), Durable::no);
      EXPECT_TRUE(done.ok());
    }
    static Task<void> run(PoolBench& b, Channel& channel) {
      TaskScope scope(b.machine.home());
      for (std::uint64_t i = 0; i < 16; ++i) scope.spawn(write(channel, i * 4 * KiB));
      co_await scope.join();
    }
  };
  bench.machine.run(Busy::run(bench, *volume.channel.channel));
  bench.settle();
  EXPECT_GE(stalls(), 16u) << "operations";
  EXPECT_EQ(status(), PoolStatus::online) << reason();
}

// Nothing ends, so nothing is counted at an end.
TEST_F(DiskHealthOfPools, ADiskThatStandsStillIsDegradedWhileItDoes) {
  struct Hanging {
    static Task<void> write(Channel& channel, Bytes& data) {
      const IoVec from = vec(data);
      const Status done = co_await channel.write(Lba{0}, IoVecs(&from, 1), Durable::no);
      EXPECT_TRUE(done.ok());
    }
    static Task<void> run(PoolBench& b, Channel& channel, Bytes& data) {
      TaskScope scope(b.machine.home());
      scope.spawn(write(channel, data));
      co_await b.machine.home().sleep(4500ms);
      EXPECT_EQ(b.pool->view().status, PoolStatus::online);
      co_await b.machine.home().sleep(1s);
      EXPECT_EQ(b.pool->view().status, PoolStatus::degraded);
      co_await scope.join();
    }
  };
  stall(20s);
  Bytes data = filled(4 * KiB, 1);
  bench.machine.run(Hanging::run(bench, *volume.channel.channel, data));
  EXPECT_GE(stalls(), 1u);
}

TEST(DiskErrorsOfPools, CountFromTheirLimitOnAndAResetEndsThem) {
  BenchParams params;
  params.disks = 2;
  PoolBench bench(params);
  bench.options.disk_health.errors = 3;
  bench.reopen();
  bench.volume("v", 16 * cluster);
  const auto status = [&bench] { return bench.pool->view().status; };
  OpenChannel again(bench.machine, bench.device("v"));
  Bytes data = filled(4 * KiB, 1);
  ASSERT_EQ(again.write(0, filled(cluster, 1)), Errc::ok);
  bench.settle();
  const std::uint64_t data_from[] = {MiB + 256 * KiB, MiB};  // behind label and journal
  for (std::size_t i = 0; i < 2; ++i)
    bench.disk(i).faults().bad.push_back({data_from[i], 64 * MiB - data_from[i], false, true});
  const auto fail = [&] {
    EXPECT_EQ(again.write(0, data), Errc::io_error);
    bench.machine.world.run_for(1s);
  };
  fail();
  const std::size_t disk = bench.pool->view().disks[1].write_errors;
  fail();
  EXPECT_EQ(status(), PoolStatus::online);
  EXPECT_EQ(bench.pool->view().disks[disk].write_errors, 2u);
  fail();
  EXPECT_EQ(status(), PoolStatus::degraded);
  EXPECT_THAT(bench.pool->view().status_reason, HasSubstr("failed I/O 3 times within 10m"));

  EXPECT_EQ(bench.pool->reset_disk_health("/dev/none").code(), Errc::not_found);
  EXPECT_TRUE(bench.pool->reset_disk_health(bench.paths[1 - disk]).ok());
  EXPECT_EQ(status(), PoolStatus::degraded) << "that was the other one";
  EXPECT_TRUE(bench.pool->reset_disk_health(bench.paths[disk]).ok());
  EXPECT_EQ(status(), PoolStatus::online);
  EXPECT_EQ(bench.events.size(), 2u);
  EXPECT_EQ(bench.pool->view().disks[disk].write_errors, 0u);
  fail();
  fail();
  EXPECT_EQ(status(), PoolStatus::online);
  fail();
  EXPECT_EQ(status(), PoolStatus::degraded);
  EXPECT_TRUE(bench.pool->reset_disk_health(std::nullopt).ok());
  EXPECT_EQ(status(), PoolStatus::online);
  for (std::size_t i = 0; i < 2; ++i) bench.disk(i).faults().bad.clear();
}

// By another core than the one that has the health.
class DiskHealthOnTwoCores : public DiskHealthOfPools {
 protected:
  DiskHealthOnTwoCores() : DiskHealthOfPools(two_cores()) {}
  static BenchParams two_cores() {
    BenchParams p = two_disks();
    p.cores = 2;
    return p;
  }
};

TEST_F(DiskHealthOnTwoCores, StallsOfEveryCoreCount) {
  struct There {
    static Task<void> write(BlockDevice& device, Reactor& core) {
      auto opened = co_await device.open_channel(core);
      const std::unique_ptr<Channel> channel = std::move(opened).value();
      Bytes data = filled(4 * KiB, 1);
      const IoVec from = vec(data);
      const Status done = co_await channel->write(Lba{0}, IoVecs(&from, 1), Durable::no);
      EXPECT_TRUE(done.ok());
      co_await channel->close();
    }
  };
  sim::Process& process = bench.machine.process;
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(status(), PoolStatus::online);
    stall(1500ms);
    bench.machine.world.run(process.core(1), There::write(bench.device("v"), process.core(1)));
    bench.machine.world.run_for(5s);
  }
  EXPECT_EQ(status(), PoolStatus::degraded);
}

TEST(DiskErrorsOfPools, ADiskThatBecameSmallerIsNotFit) {
  PoolBench bench;
  bench.volume("v", 16 * cluster);
  OpenChannel v(bench.machine, bench.device("v"));
  ASSERT_EQ(v.write(0, filled(cluster, 1)), Errc::ok);
  bench.settle();
  bench.disk(0).resize(MiB + 256 * KiB);                    // label and journal
  ASSERT_TRUE(bench.machine.run(bench.pool->grow()).ok());  // reads the size again
  EXPECT_NE(v.write(0, filled(4 * KiB, 2)), Errc::ok);
  bench.machine.world.run_for(1s);
  EXPECT_EQ(bench.pool->view().status, PoolStatus::degraded);
  EXPECT_GT(bench.pool->view().disks[0].write_errors, 0u);
  bench.disk(0).resize(64 * MiB);
  ASSERT_TRUE(bench.machine.run(bench.pool->grow()).ok());
}

}  // namespace
}  // namespace holdfast::pool
