// The bench over memory devices on a real ring, and over devices that lie.
#include "cli/bench/bench.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/units.h"
#include "block/builtin.h"
#include "block/registry.h"
#include "cli/bench/bench_command.h"
#include "cli/bench/workload.h"
#include "uring/runtime.h"

namespace holdfast::cli {
namespace {

using testing::HasSubstr;

// A device in memory that can lie.
class LyingDevice final : public BlockDevice {
 public:
  enum class Lie { none, loses_writes, misplaces_writes, fails_reads };

  explicit LyingDevice(std::uint64_t blocks)
      : BlockDevice({"liar", Uuid(), "liar:", "Liar"}), bytes_(blocks * 512) {
    geometry_.block_count = blocks;
  }
  const Geometry& geometry() const noexcept override { return geometry_; }
  const Capabilities& capabilities() const noexcept override { return capabilities_; }
  Task<Result<std::unique_ptr<Channel>>> open_channel(Reactor& core) override {
    std::unique_ptr<Channel> channel = std::make_unique<LyingChannel>(*this, core);
    co_return channel;
  }
  Task<IoStats> stats() override { co_return IoStats(); }
  Task<void> close() override { co_return; }

  Lie lie = Lie::none;
  std::function<void()> before_read;
  std::uint64_t honest_writes = 100;  // before it begins to lie
  Capabilities capabilities_;

 private:
  class LyingChannel final : public Channel {
   public:
    LyingChannel(LyingDevice& d, Reactor& core) : device_(d), core_(core) {}
    Task<Status> read(Lba first, IoVecs into) override {
      if (device_.before_read) device_.before_read();
      co_await core_.yield();
      if (device_.lie == Lie::fails_reads) co_return Error(Errc::io_error);
      std::size_t at = to_blocks(first) * 512;
      for (const auto& v : into) {
        std::memcpy(v.data, device_.bytes_.data() + at, v.size);
        at += v.size;
      }
      co_return Status();
    }
    Task<Status> write(Lba first, IoVecs from, Durable) override {
      co_await core_.yield();
      std::size_t at = to_blocks(first) * 512;
      if (device_.writes_++ >= device_.honest_writes) {
        if (device_.lie == Lie::loses_writes) co_return Status();
        if (device_.lie == Lie::misplaces_writes) at = (at + 4096) % device_.bytes_.size();
      }
      for (const auto& v : from) {
        std::memcpy(device_.bytes_.data() + at, v.data, v.size);
        at += v.size;
      }
      co_return Status();
    }
    Task<Status> write_zeroes(BlockRange, Unmap, Durable) override { co_return Error(Errc::not_supported); }
    Task<Status> deallocate(BlockRange) override { co_return Error(Errc::not_supported); }
    Task<Status> flush() override { co_return Status(); }
    Task<Status> compare(Lba, IoVecs) override { co_return Error(Errc::not_supported); }
    Task<void> close() override { co_return; }

   private:
    LyingDevice& device_;
    Reactor& core_;
  };

  std::vector<std::byte> bytes_;
  std::uint64_t writes_ = 0;
  Geometry geometry_;
};

class BenchTest : public testing::Test {
 protected:
  BenchTest() {
    options.time = 100ms;
    options.warmup = 20ms;
    options.queue_depth = 8;
    options.seed = 7;
    surroundings.cpu_time = [] { return Nanos{0}; };
  }
  void use_cores(unsigned cores) {
    uring::Runtime::Options o;
    o.cores = cores;
    runtime_ = std::move(uring::Runtime::create(o)).value();
  }
  Result<BenchReport> run(BlockDevice& device) {
    if (runtime_ == nullptr) use_cores(1);
    return runtime_->run(run_bench(runtime_->cores(), device, options, surroundings, runtime_->stop_token()));
  }
  // On a device of the registry.
  Result<BenchReport> run_on(std::string uri) {
    auto whole = [this](std::string of) -> Task<Result<BenchReport>> {
      DeviceRegistry registry(runtime_->cores());
      register_builtin_schemes(registry, runtime_->cores());
      const auto device = co_await registry.create(of);
      HF_ASSERT(device.ok());
      auto report =
          co_await run_bench(runtime_->cores(), *device.value(), options, surroundings, StopToken());
      co_await registry.close();
      co_return report;
    };
    return runtime_->run(whole(std::move(uri)));
  }
  std::string failure(BlockDevice& device) {
    const auto report = run(device);
    return report.ok() ? "no failure" : report.error().message();
  }

  BenchOptions options;
  BenchSurroundings surroundings;
  std::unique_ptr<uring::Runtime> runtime_;
};

// What takes 0.1 s on one that is not.
constexpr Nanos busy_machine = 5s;

TEST_F(BenchTest, CountsWhatWasMeasured) {
  LyingDevice device(2048);
  const auto report = run(device);
  ASSERT_TRUE(report.ok()) << report.error().message();
  EXPECT_GT(report.value().counts.reads, 1000u);
  EXPECT_EQ(report.value().counts.writes, 0u);
  EXPECT_GT(report.value().elapsed, 50ms);
  EXPECT_LT(report.value().elapsed, busy_machine);
  EXPECT_GT(report.value().reads.percentile(50).count(), 0);
  EXPECT_EQ(report.value().writes.count(), 0u);
}

TEST_F(BenchTest, ADeviceThatNeverWaitsLeavesTheCoreToOthers) {
  use_cores(1);
  const auto report = run_on("null:///n?size_mb=8");
  ASSERT_TRUE(report.ok()) << report.error().message();
  EXPECT_LT(report.value().elapsed, busy_machine) << "the clock of the run was served";
  EXPECT_LT(report.value().reads.max(), busy_machine);
}

TEST_F(BenchTest, TheMixIsKept) {
  LyingDevice device(2048);
  options.access = Access::rand_rw;
  options.read_percent = 75;
  const auto report = run(device);
  ASSERT_TRUE(report.ok());
  const auto& c = report.value().counts;
  EXPECT_NEAR(static_cast<double>(c.reads) / static_cast<double>(c.reads + c.writes), 0.75, 0.05);
}

TEST_F(BenchTest, VerifyFindsNothingOnAnHonestDevice) {
  LyingDevice device(2048);
  options.verify = true;
  for (const Access access : {Access::write, Access::rand_write, Access::rand_rw, Access::rand_read}) {
    options.access = access;
    options.seed += 1;
    const auto report = run(device);
    ASSERT_TRUE(report.ok()) << report.error().message();
    EXPECT_GT(report.value().verified, 0u);
  }
}

TEST_F(BenchTest, VerifyFindsALostWrite) {
  LyingDevice device(2048);
  device.lie = LyingDevice::Lie::loses_writes;
  device.honest_writes = 1000;
  options.verify = true;
  options.access = Access::rand_write;
  EXPECT_THAT(failure(device), HasSubstr("of this run, and write"));
}

TEST_F(BenchTest, VerifyFindsAMisplacedWrite) {
  LyingDevice device(2048);
  device.lie = LyingDevice::Lie::misplaces_writes;
  device.honest_writes = 1000;
  options.verify = true;
  options.access = Access::rand_rw;
  EXPECT_THAT(failure(device), HasSubstr("offset"));
}

TEST_F(BenchTest, ReadingVerifiesWhatAnEarlierRunWrote) {
  LyingDevice device(2048);
  options.verify = true;
  options.access = Access::read;
  options.once = true;
  EXPECT_THAT(failure(device), HasSubstr("it reads as zeroes"));
  options.access = Access::write;
  ASSERT_EQ(failure(device), "no failure");
  options.access = Access::read;
  options.seed = 99;
  const auto report = run(device);
  ASSERT_TRUE(report.ok()) << report.error().message();
  EXPECT_EQ(report.value().verified, 256u) << "each 4 KiB of 1 MiB";
}

TEST_F(BenchTest, AFailedOperationNamesItsPlace) {
  LyingDevice device(2048);
  device.lie = LyingDevice::Lie::fails_reads;
  const auto report = run(device);
  ASSERT_FALSE(report.ok());
  EXPECT_EQ(report.code(), Errc::io_error);
  EXPECT_THAT(report.error().message(), HasSubstr("read of 4096 bytes at offset "));
}

TEST_F(BenchTest, OptionsThatDoNotFitTheDevice) {
  LyingDevice device(2048);
  auto refused = [&](auto change) {
    const BenchOptions before = options;
    change(options);
    const auto report = run(device);
    options = before;
    EXPECT_FALSE(report.ok());
    return report.ok() ? std::string() : report.error().message();
  };
  EXPECT_THAT(refused([](auto& o) { o.io_bytes = 100; }), HasSubstr("--bs 100"));
  EXPECT_THAT(refused([](auto& o) { o.io_bytes = 128 * MiB; }), HasSubstr("64 MiB"));
  EXPECT_THAT(refused([](auto& o) { o.offset = 1 * MiB; }), HasSubstr("--offset"));
  EXPECT_THAT(refused([](auto& o) { o.offset = 100; }), HasSubstr("--offset"));
  EXPECT_THAT(refused([](auto& o) { o.size = 2 * MiB; }), HasSubstr("beyond the end"));
  EXPECT_THAT(refused([](auto& o) { o.stride = 2048; }), HasSubstr("--stride 2048"));
  EXPECT_THAT(refused([](auto& o) { o.stride = 4096 + 100; }), HasSubstr("--stride"));
  EXPECT_THAT(refused([](auto& o) { o.size = 2048; }), HasSubstr("too small"));
  EXPECT_THAT(refused([](auto& o) {
                o.verify = true;
                o.size = 8 * 4096;
              }),
              HasSubstr("too small"));
  device.capabilities_.read_only = true;
  EXPECT_THAT(refused([](auto& o) { o.access = Access::write; }), HasSubstr("read-only"));
}

TEST_F(BenchTest, SeveralCoresShareTheRangeWithoutOverlap) {
  use_cores(2);
  options.verify = true;
  options.access = Access::rand_rw;
  const auto report = run_on("malloc:///m?size_mb=8");
  ASSERT_TRUE(report.ok()) << report.error().message();
  EXPECT_GT(report.value().verified, 0u);
}

TEST_F(BenchTest, StopEndsItEarlyWithTheFiguresSoFar) {
  LyingDevice device(2048);
  options.time = 60s;
  surroundings.on_progress = [this](const BenchProgress& p) {
    if (p.phase == BenchProgress::Phase::measuring) runtime_->stop();
  };
  const auto report = run(device);
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(report.value().interrupted);
  EXPECT_GT(report.value().counts.reads, 0u);
  EXPECT_LT(report.value().elapsed, 10s);
}

TEST_F(BenchTest, StopWhileReadingBackIsTold) {
  use_cores(1);
  LyingDevice device(128 * 1024);
  options.access = Access::write;
  options.once = true;
  options.verify = true;
  device.before_read = [this] { runtime_->stop(); };
  const auto report = run(device);
  ASSERT_TRUE(report.ok()) << report.error().message();
  EXPECT_LT(report.value().verified, 16384u);
  EXPECT_TRUE(report.value().interrupted);
}

// What an earlier run left there is not taken for what this one wrote.
TEST(BenchCommand, TheSameSeedMakesNoTwoRunsAlike) {
  const std::string path = testing::TempDir() + "/bench-same-seed";
  std::ofstream(path).put('\0');
  std::filesystem::resize_file(path, 1 * MiB);
  const auto after_a_run = [&path] {
    std::ostringstream out, err;
    Tool tool(out, err, false);
    add_bench_command(tool);
    EXPECT_EQ(tool.run({"bench", "uring://" + path, "--rw", "write", "--bs", "64KiB", "--qd", "4", "--once",
                        "--verify", "--seed", "7"}),
              0)
        << err.str();
    std::ifstream file(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const std::string first = after_a_run();
  EXPECT_NE(after_a_run(), first);
  std::filesystem::remove(path);
}

TEST(Workload, NoBlockIsInFlightTwiceWhileVerifying) {
  BenchOptions o;
  o.access = Access::rand_write;
  o.verify = true;
  o.queue_depth = 4;
  Workload w(o, 6, 3);
  std::map<std::uint64_t, int> in_flight;
  std::vector<BenchOp> queue;
  for (int i = 0; i < 1000; ++i) {
    if (queue.size() == 4) {
      w.ended(queue.front());
      --in_flight[queue.front().unit];
      queue.erase(queue.begin());
    }
    queue.push_back(*w.next());
    EXPECT_EQ(++in_flight[queue.back().unit], 1);
  }
}

TEST(Workload, RandomAccessMeetsEachPlaceOnce) {
  for (const std::uint64_t units : {1U, 2U, 5U, 64U, 1000U}) {
    BenchOptions o;
    o.access = Access::rand_write;
    o.once = true;
    Workload w(o, units, 7);
    std::set<std::uint64_t> met;
    for (std::uint64_t i = 0; i < units; ++i) EXPECT_TRUE(met.insert(w.next()->unit).second);
    EXPECT_EQ(*met.rbegin(), units - 1);
    EXPECT_FALSE(w.next().has_value());
  }
}

// Operations of half a MiB and a little take pieces of twice as much.
TEST(BenchCommand, EveryCoreHasTheMemoryThatItNeeds) {
  std::ostringstream out, err;
  Tool tool(out, err, false);
  add_bench_command(tool);
  EXPECT_EQ(tool.run({"bench", "null:///n?size_mb=2048", "--cores", "0", "--qd", "128", "--bs", "516KiB",
                      "--time", "0.01", "--warmup", "0"}),
            0)
      << err.str();
}

TEST_F(BenchTest, AStrideLeavesGaps) {
  LyingDevice device(2048);
  options.access = Access::rand_write;
  options.once = true;
  options.stride = 64 * KiB;
  options.verify = true;
  options.queue_depth = 4;
  const auto report = run(device);
  ASSERT_TRUE(report.ok()) << report.error().message();
  EXPECT_EQ(report.value().counts.writes, 16u);
  EXPECT_EQ(report.value().verified, 16u);
}

TEST(Workload, SequentialAccessCoversTheRangeInOrder) {
  BenchOptions o;
  o.access = Access::write;
  o.once = true;
  Workload w(o, 5, 1);
  for (std::uint64_t unit = 0; unit < 5; ++unit) EXPECT_EQ(w.next()->unit, unit);
  EXPECT_FALSE(w.next().has_value());
}

}  // namespace
}  // namespace holdfast::cli
