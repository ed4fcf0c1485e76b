// Goal: a snapshot under concurrent writers is one point in time, on all cores: a write that ended before it began is
// in it, one that started after it ended is not.
// Method: writers on two cores write counters, each first to one place of the volume, then, when that has ended, to
// another. No snapshot may hold the second without the first.
#include <gtest/gtest.h>

#include "pool/testing/pool_bench.h"
#include "rt/cross_core.h"

namespace holdfast::pool {
namespace {

using namespace testing_support;  // NOLINT: tests only

constexpr std::uint64_t cluster = 64 * KiB;
constexpr std::uint64_t size = 64 * cluster;
constexpr unsigned writers = 6;

// Writer w has block `w` of clusters 2k (first) and 2k + 1 (then).
struct Load {
  bool stop = false;
  std::uint32_t counter[writers] = {};
  Nanos longest{0};
};

Task<Status> put(Channel& channel, std::byte* block, std::uint64_t offset, std::uint32_t value) {
  std::memcpy(block, &value, sizeof value);
  const IoVec vec{block, 4 * KiB};
  const IoVecs vecs(&vec, 1);
  co_return co_await channel.write(Lba{offset / 512}, vecs, Durable::no);
}

Task<void> write_pairs(Reactor& core, BlockDevice& device, unsigned me, Load& load) {
  auto opened = co_await device.open_channel(core);
  const std::unique_ptr<Channel> channel = std::move(opened).value();
  const Buffer buffer = co_await core.buffers().acquire(4 * KiB);
  while (!load.stop) {
    const std::uint32_t next = load.counter[me] + 1;
    for (std::uint64_t place = 0; place < 2; ++place) {
      const std::uint64_t offset = place * cluster * 7 + me * 4 * KiB;
      const Nanos began = core.now();
      const Status done = co_await put(*channel, buffer.data(), offset, next);
      EXPECT_TRUE(done.ok());
      load.longest = std::max(load.longest, core.now() - began);
    }
    load.counter[me] = next;
  }
  co_await channel->close();
}

Task<void> on_core(Reactor& home, Reactor& core, BlockDevice& device, unsigned me, Load& load) {
  auto there = [&]() -> Task<void> { return write_pairs(core, device, me, load); };
  co_await run_on(home, core, there);
}

std::uint32_t value_at(OpenChannel& channel, std::uint64_t offset) {
  const Bytes b = channel.content(offset / 512, 512);
  std::uint32_t v = 0;
  std::memcpy(&v, b.data(), sizeof v);
  return v;
}

TEST(Snapshot, IsOnePointInTimeUnderWritersOnTwoCores) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    BenchParams params;
    params.cores = 2;
    params.seed = seed;
    PoolBench b(params);
    BlockDevice& v = b.volume("v", size);
    Load load;
    for (unsigned w = 0; w < writers; ++w) {
      Reactor& core = b.machine.process.core(w % 2);
      b.machine.world.spawn(b.machine.process.core(0), on_core(b.machine.home(), core, v, w, load));
    }
    std::vector<std::array<std::uint32_t, writers>> before;
    std::vector<std::array<std::uint32_t, writers>> after;
    for (int i = 0; i < 8; ++i) {
      b.machine.world.run_for(7ms);
      std::array<std::uint32_t, writers> counters{};
      std::copy_n(load.counter, writers, counters.begin());
      before.push_back(counters);
      ASSERT_EQ(b.snapshot("v", "s" + std::to_string(i)), Errc::ok);
      std::copy_n(load.counter, writers, counters.begin());
      after.push_back(counters);
    }
    load.stop = true;
    b.machine.world.run_for(std::chrono::seconds(1));
    for (int i = 0; i < 8; ++i) {
      OpenChannel s(b.machine, b.device("s" + std::to_string(i)));
      for (unsigned w = 0; w < writers; ++w) {
        const std::uint32_t first = value_at(s, w * 4 * KiB);
        const std::uint32_t then = value_at(s, 7 * cluster + w * 4 * KiB);
        EXPECT_GE(first, then);
        EXPECT_LE(first, then + 1);
        EXPECT_GE(then, before[static_cast<std::size_t>(i)][w]);
        EXPECT_LE(first, after[static_cast<std::size_t>(i)][w] + 1);
      }
    }
    EXPECT_GT(load.counter[0], 20u);
  }
}

// Writers of one new cluster at the same time share the cluster that one of them picks.
Task<void> write_block(Reactor& core, BlockDevice& device, std::uint64_t offset, std::uint32_t value,
                       Nanos wait) {
  auto opened = co_await device.open_channel(core);
  const std::unique_ptr<Channel> channel = std::move(opened).value();
  const Buffer buffer = co_await core.buffers().acquire(4 * KiB);
  std::memset(buffer.data(), 0, buffer.size());
  co_await core.sleep(wait);
  std::memcpy(buffer.data(), &value, sizeof value);
  const IoVec vec{buffer.data(), 512};
  const IoVecs vecs(&vec, 1);
  const Status done = co_await channel->write(Lba{offset / 512}, vecs, Durable::no);
  EXPECT_TRUE(done.ok());
  co_await channel->close();
}

Task<void> block_on_core(Reactor& home, Reactor& core, BlockDevice& device, std::uint64_t offset,
                         std::uint32_t value, Nanos wait) {
  auto there = [&]() -> Task<void> { return write_block(core, device, offset, value, wait); };
  co_await run_on(home, core, there);
}

TEST(Snapshot, SectorsOfOneClusterWrittenAtOnceOnTwoCoresAreAllThere) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    BenchParams params;
    params.cores = 2;
    params.seed = seed;
    PoolBench b(params);
    BlockDevice& v = b.volume("v", size);
    // Every second round with a snapshot in between, so that blocks are filled from behind.
    for (std::uint32_t round = 1; round <= 3; ++round) {
      for (std::uint64_t sector = 0; sector < cluster / 512; ++sector) {
        if ((sector + round) % 3 == 0) continue;
        Reactor& core = b.machine.process.core(static_cast<unsigned>(b.machine.world.random().below(2)));
        const Nanos wait(static_cast<std::int64_t>(b.machine.world.random().below(2'000'000)));
        const auto value = static_cast<std::uint32_t>(sector * 10 + round);
        b.machine.world.spawn(b.machine.process.core(0),
                              block_on_core(b.machine.home(), core, v, sector * 512, value, wait));
      }
      b.machine.world.run_for(std::chrono::seconds(1));
      ASSERT_EQ(b.snapshot("v", "s" + std::to_string(round)), Errc::ok);
    }
    OpenChannel c(b.machine, v);
    for (std::uint64_t sector = 0; sector < cluster / 512; ++sector) {
      std::uint32_t round = 3;
      while (round > 0 && (sector + round) % 3 == 0) --round;
      EXPECT_EQ(value_at(c, sector * 512), sector * 10 + round) << sector;
    }
    EXPECT_LE(b.usage("v").allocated, 2 * cluster);
  }
}

}  // namespace
}  // namespace holdfast::pool
