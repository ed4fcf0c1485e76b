// Data of new blocks that the journal carries: what costs no flush, and what a crash leaves of it.
#include "pool/fresh_data.h"

#include <algorithm>
#include <chrono>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pool/testing/after_crash.h"
#include "pool/testing/pool_bench.h"

namespace holdfast::pool {
namespace {

using namespace testing_support;  // NOLINT: tests only

constexpr std::uint64_t cluster = 64 * KiB;
constexpr std::uint64_t size = 4 * MiB;

BenchParams one_disk() {
  BenchParams p;
  p.disk_bytes = 6 * MiB;  // not much more than the volume needs: what is freed is used again
  return p;
}

// Garbage wherever a whole block of the disk is this one: its place, not the journal, where it follows a header.
unsigned lose(Bytes& image, std::span<const std::byte> block) {
  unsigned lost = 0;
  for (std::size_t at = 0; at < image.size(); at += block_bytes) {
    if (!std::equal(block.begin(), block.end(), image.begin() + static_cast<std::ptrdiff_t>(at))) continue;
    std::fill_n(image.begin() + static_cast<std::ptrdiff_t>(at), block_bytes, std::byte{0xEE});
    ++lost;
  }
  return lost;
}

struct FreshDataTest : testing::Test {
  PoolBench b{one_disk()};
  Tracked v{b, b.volume("v", size)};
  Bytes wanted(std::uint64_t offset, std::uint64_t length) {
    const auto at = v.bytes.begin() + static_cast<std::ptrdiff_t>(offset);
    return Bytes(at, at + static_cast<std::ptrdiff_t>(length));
  }
};

TEST_F(FreshDataTest, SmallFirstWritesWaitForNoFlush) {
  b.settle();
  const std::uint64_t before = b.disk(0).stats().syncs;
  for (std::uint64_t i = 0; i < 10; ++i) ASSERT_EQ(v.write(i * cluster, 4 * KiB), Errc::ok);
  EXPECT_EQ(b.disk(0).stats().syncs, before);
  ASSERT_EQ(v.write(20 * cluster, cluster), Errc::ok);
  EXPECT_GT(b.disk(0).stats().syncs, before) << "a large one does";
  EXPECT_EQ(v.difference(), "");
  b.settle();
  EXPECT_EQ(b.disk(0).undurable_sectors(), 0u) << "everything is durable soon, without being asked for";
}

TEST_F(FreshDataTest, WhatTheDiskLostIsInTheJournal) {
  ASSERT_EQ(v.write(0, 4 * KiB), Errc::ok);
  ASSERT_EQ(v.write(5 * cluster + 8 * KiB, 16 * KiB), Errc::ok);
  Bytes image = content_of(b);
  EXPECT_EQ(lose(image, wanted(0, 4 * KiB)), 1u);
  EXPECT_EQ(lose(image, wanted(5 * cluster + 12 * KiB, 4 * KiB)), 1u);
  After after(image);
  EXPECT_EQ(after.read(0, cluster), wanted(0, cluster));
  EXPECT_EQ(after.read(5 * cluster, cluster), wanted(5 * cluster, cluster));
}

TEST_F(FreshDataTest, WhatIsSettledDoesNotComeBack) {
  ASSERT_EQ(v.write(0, 4 * KiB), Errc::ok);
  b.settle();
  const std::uint64_t before = b.disk(0).stats().syncs;
  ASSERT_EQ(v.write(0, 4 * KiB), Errc::ok);
  EXPECT_EQ(b.disk(0).stats().syncs, before) << "in place";
  After after(content_of(b));
  EXPECT_EQ(after.read(0, 4 * KiB), wanted(0, 4 * KiB));
}

TEST_F(FreshDataTest, AnOverwriteOfFreshDataSettlesItFirst) {
  ASSERT_EQ(v.write(0, 8 * KiB), Errc::ok);
  const std::uint64_t before = b.disk(0).stats().syncs;
  ASSERT_EQ(v.write(512, 512), Errc::ok);
  EXPECT_GT(b.disk(0).stats().syncs, before);
  const std::uint64_t settled = b.disk(0).stats().syncs;
  ASSERT_EQ(v.write(4 * KiB, 4 * KiB), Errc::ok);
  EXPECT_EQ(b.disk(0).stats().syncs, settled) << "the rest was settled with it";
  After after(content_of(b));
  EXPECT_EQ(after.read(0, cluster), wanted(0, cluster));
}

TEST_F(FreshDataTest, WritesAroundFreshDataDoNotWait) {
  ASSERT_EQ(v.write(8 * KiB, 4 * KiB), Errc::ok);
  b.settle();
  const std::uint64_t before = b.disk(0).stats().syncs;
  ASSERT_EQ(v.write(0, 4 * KiB), Errc::ok);         // fresh
  ASSERT_EQ(v.write(8 * KiB, 4 * KiB), Errc::ok);   // in place, beside it
  ASSERT_EQ(v.write(16 * KiB, 4 * KiB), Errc::ok);  // fresh, in the same cluster
  EXPECT_EQ(b.disk(0).stats().syncs, before);
  EXPECT_EQ(v.difference(), "");
  After after(content_of(b));
  EXPECT_EQ(after.read(0, cluster), wanted(0, cluster));
}

TEST_F(FreshDataTest, FreedClustersAreUsedAgainAndKeepTheirNewContent) {
  for (std::uint64_t i = 0; i < size / cluster; ++i) ASSERT_EQ(v.write(i * cluster, 4 * KiB), Errc::ok);
  ASSERT_EQ(v.deallocate(0, 40 * cluster), Errc::ok);
  for (std::uint64_t i = 0; i < 40; ++i) ASSERT_EQ(v.write(i * cluster, cluster), Errc::ok);
  EXPECT_EQ(v.difference(), "");
  After after(content_of(b));
  EXPECT_EQ(after.read(0, 40 * cluster), wanted(0, 40 * cluster));
}

TEST_F(FreshDataTest, TrimmedBlocksKeepWhatIsWrittenThere) {
  ASSERT_EQ(v.write(0, 12 * KiB), Errc::ok);
  ASSERT_EQ(v.deallocate(4 * KiB, 4 * KiB), Errc::ok);
  ASSERT_EQ(v.write(2 * KiB, 60 * KiB), Errc::ok);
  After after(content_of(b));
  EXPECT_EQ(after.read(0, cluster), wanted(0, cluster));
}

TEST_F(FreshDataTest, ACheckpointSettles) {
  ASSERT_EQ(v.write(0, 4 * KiB), Errc::ok);
  ASSERT_TRUE(b.machine.run(b.pool->checkpoint()).ok());
  EXPECT_EQ(b.disk(0).undurable_sectors(), 0u);
  const std::uint64_t before = b.disk(0).stats().syncs;
  ASSERT_EQ(v.write(0, 4 * KiB), Errc::ok);
  EXPECT_EQ(b.disk(0).stats().syncs, before);
}

// What the journal carries cannot be put in its place there, and reading around it would show something older.
TEST_F(FreshDataTest, WithoutWritingADiskIsOpenedOnlyWhenEverythingIsInItsPlace) {
  ASSERT_EQ(v.write(0, 4 * KiB), Errc::ok);
  const Bytes unsettled = content_of(b);
  ASSERT_TRUE(b.machine.run(b.pool->checkpoint()).ok());
  const Bytes settled = content_of(b);
  const auto open = [](Machine& machine, const Bytes& image) {
    sim::DiskOptions options;
    options.size_bytes = image.size();
    machine.node.add_disk("/dev/d0", options);
    machine.node.disk("/dev/d0").poke(0, image);
    return machine.run(
        Pool::open(machine.registry, {"aio:///dev/d0?read_only"}, "p", std::nullopt, PoolOptions(), nullptr));
  };
  {
    Machine machine;
    const auto refused = open(machine, unsettled);
    ASSERT_EQ(refused.code(), Errc::failed_precondition);
    EXPECT_THAT(refused.error().message(), testing::HasSubstr("open it once with disks that can be written"));
    Bytes after(unsettled.size());
    machine.node.disk("/dev/d0").peek(0, after);
    EXPECT_EQ(after, unsettled) << "nothing was written";
  }
  Machine machine;
  auto opened = open(machine, settled);
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  EXPECT_EQ(opened.value()->view().status, PoolStatus::degraded);
  EXPECT_THAT(opened.value()->view().status_reason, testing::HasSubstr("read-only"));
  {
    OpenChannel channel(machine, *opened.value()->device(uuid_of("v")));
    EXPECT_EQ(channel.content(0, cluster), wanted(0, cluster));
    EXPECT_EQ(channel.write(0, Bytes(512)), Errc::read_only);
  }
  EXPECT_TRUE(machine.run(opened.value()->close()).ok());
}

TEST_F(FreshDataTest, AFailedWriteLeavesNothingBehind) {
  ASSERT_EQ(v.write(0, 4 * KiB), Errc::ok);
  b.disk(0).faults().bad.push_back({MiB + 256 * KiB, 4 * MiB, false, true});
  EXPECT_EQ(v.write(cluster, 4 * KiB), Errc::io_error);
  b.disk(0).faults().bad.clear();
  EXPECT_EQ(v.difference(), "") << "it reads as before";
  ASSERT_EQ(v.write(2 * cluster, 4 * KiB), Errc::ok);
  After after(content_of(b));
  EXPECT_EQ(after.read(0, 3 * cluster), wanted(0, 3 * cluster));
}

// A volume of very many clusters that was deleted after first writes elsewhere: opening looks at each of its clusters.
TEST(CarriedData, IsFoundByItsCluster) {
  constexpr std::uint32_t writes = 20000, freed = 200000;
  CarriedData carried;
  WriteDataRecord record;
  record.data.resize(1);
  for (std::uint32_t i = 0; i < writes; ++i) {
    record.write.cluster = Cluster{2 * i};
    carried.see(i + 1, record);
  }
  const auto began = std::chrono::steady_clock::now();
  for (std::uint32_t i = 0; i < freed; ++i) carried.forget(ClusterRun{Cluster{2 * i + 1}, 1});
  // Generous: it is 5 ms, and 2 s where each of them is compared with each.
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(500));
  EXPECT_FALSE(carried.empty());
  carried.forget(ClusterRun{Cluster{0}, 2 * writes - 2});
  EXPECT_FALSE(carried.empty()) << "the last one is behind";
  carried.forget(ClusterRun{Cluster{2 * writes - 2}, 1});
  EXPECT_TRUE(carried.empty());
}

}  // namespace
}  // namespace holdfast::pool
