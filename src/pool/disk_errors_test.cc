// Errors of disks under the metadata of a pool: what is on them afterwards, and who waits meanwhile.
#include <gtest/gtest.h>

#include "pool/testing/pool_bench.h"
#include "rt/when_all.h"

namespace holdfast::pool {
namespace {

using namespace testing_support;  // NOLINT: tests only

constexpr std::uint64_t cluster = 64 * KiB;
constexpr std::uint64_t label_bytes = MiB;
constexpr std::uint64_t journal_bytes = 256 * KiB;  // the bench's

BenchParams small(std::uint64_t seed = 1, unsigned disks = 1) {
  BenchParams p;
  p.disk_bytes = 4 * MiB;
  p.seed = seed;
  p.disks = disks;
  return p;
}

void refuse_writes(PoolBench& b, std::uint64_t offset, std::uint64_t length) {
  b.disk(0).faults().bad.push_back({.offset = offset, .length = length, .reads = false, .writes = true});
}

// The pool ends without having written or flushed anything, as if its process had died.
void abandon(PoolBench& b) {
  for (std::size_t i = 0; i < b.paths.size(); ++i) b.disk(i).faults().failed = true;
  b.close();
  for (std::size_t i = 0; i < b.paths.size(); ++i) b.disk(i).faults().failed = false;
}

std::size_t not_durable(PoolBench& b) {
  std::size_t sectors = 0;
  for (std::size_t i = 0; i < b.paths.size(); ++i) sectors += b.disk(i).undurable_sectors();
  return sectors;
}

Status open_again(PoolBench& b) {
  auto opened = b.machine.run(Pool::open(b.machine.registry, b.paths, "p", std::nullopt, b.options, &b));
  if (!opened.ok()) return opened.error();
  b.pool = std::move(opened).value();
  return Status();
}

// What is committed while the former image gets its label is in the next image or behind it, and never in both.
TEST(DiskErrors, AnImageHasWhatItsLabelSays) {
  PoolBench b(small());
  b.volume("earlier", cluster);
  refuse_writes(b, 0, label_bytes);
  ASSERT_EQ(b.machine.run(b.pool->checkpoint()).code(), Errc::io_error);
  b.disk(0).faults().bad.clear();
  VolumeParams wanted;
  wanted.name = "v";
  wanted.uuid = uuid_of("v");
  wanted.size_bytes = 4 * cluster;
  const auto create = [&]() -> Task<Status> {
    const auto made = co_await b.pool->create_volume(wanted);
    if (!made.ok()) co_return made.error();
    co_return Status();
  };
  std::vector<Task<Status>> both;
  both.push_back(b.pool->checkpoint());
  both.push_back(create());
  ASSERT_TRUE(b.machine.run(when_all_ok(std::move(both))).ok());
  abandon(b);
  const Status opened = open_again(b);
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  EXPECT_NE(b.pool->device(wanted.uuid), nullptr);
}

// A host that writes before the pool's process ends, and flushes after it is there again, has its data.
TEST(DiskErrors, TheFirstFlushCoversWhatAnEarlierProcessWrote) {
  PoolBench b(small(1, 2));
  {
    Tracked v(b, b.volume("v", 40 * cluster));
    for (std::uint64_t i = 40; i > 0; --i) ASSERT_EQ(v.write((i - 1) * cluster, cluster), Errc::ok);
    b.settle();
    for (std::uint64_t i = 0; i < 40; ++i) ASSERT_EQ(v.write(i * cluster, 4 * KiB), Errc::ok);
  }
  abandon(b);
  ASSERT_GT(b.disk(1).undurable_sectors(), 0u);
  ASSERT_TRUE(open_again(b).ok());
  OpenChannel v(b.machine, b.device("v"));
  ASSERT_TRUE(b.machine.run(v.channel->flush()).ok());
  EXPECT_EQ(not_durable(b), 0u);
}

// The copy that counts may be one whose flush failed. Written in this state, the other one could be lost with it.
TEST(DiskErrors, TheLabelThatCountsIsDurableBeforeTheOtherCopyIsWritten) {
  PoolBench b(small());
  {
    Tracked v(b, b.volume("v", 4 * cluster));
    ASSERT_EQ(v.write(0, cluster), Errc::ok);
    ASSERT_TRUE(b.machine.run(b.pool->checkpoint()).ok());
    ASSERT_EQ(v.write(0, cluster), Errc::ok);  // in place: no commit
  }
  abandon(b);
  ASSERT_GT(not_durable(b), 0u);
  for (const std::uint64_t copy : {0u, 512u * 1024}) refuse_writes(b, copy, 4096);
  EXPECT_EQ(open_again(b).code(), Errc::io_error);
  b.disk(0).faults().bad.clear();
  EXPECT_LE(not_durable(b), 8u) << "no more than the copy that could not be written";
  EXPECT_TRUE(open_again(b).ok());
}

// The volumes v and c share the cluster 0 of v, and nobody else has it; in memory c lets go of it. That cannot be made
// durable.
void share_no_more(PoolBench& b, bool settled = true) {
  ASSERT_EQ(b.snapshot("v", "s"), Errc::ok);
  ASSERT_EQ(b.clone("s", "c"), Errc::ok);
  ASSERT_EQ(b.destroy("s"), Errc::ok);
  b.settle();
  b.disk(0).faults().sync_error_per_mille = 1000;
  OpenChannel c(b.machine, b.device("c"));
  const BlockRange first{Lba{0}, cluster / 512};
  ASSERT_TRUE(b.machine.run(c.channel->deallocate(first)).ok());
  if (settled) b.settle();
}

TEST(DiskErrors, NoWriteWaitsForADiskThatDoesNotFlush) {
  PoolBench b(small());
  Bytes expected;
  {
    Tracked v(b, b.volume("v", 4 * cluster));
    ASSERT_EQ(v.write(0, 2 * cluster), Errc::ok);
    share_no_more(b);
    const Nanos began = b.machine.world.now();
    EXPECT_NE(v.write(0, 4 * KiB), Errc::ok) << "its new place cannot be recorded";
    EXPECT_LT(b.machine.world.now() - began, std::chrono::seconds(5));
    EXPECT_EQ(v.difference(), "");
    expected = v.bytes;
  }
  b.disk(0).faults().sync_error_per_mille = 0;
  b.reopen();
  Tracked v(b, b.device("v"));
  EXPECT_EQ(v.difference_to(expected), "");
  EXPECT_EQ(v.write(4 * KiB, 4 * KiB), Errc::ok);
}

// Space is on its way back, and does not come.
TEST(DiskErrors, NoWriteWaitsForSpaceThatCannotBeMadeFree) {
  PoolBench b(small());
  {
    Tracked v(b, b.volume("v", 16 * MiB));
    std::uint64_t n = 0;
    while (v.write(n * cluster, cluster) == Errc::ok) ++n;
    b.settle();
    b.disk(0).faults().sync_error_per_mille = 1000;
    ASSERT_EQ(v.deallocate(0, 4 * cluster), Errc::ok);
    const Nanos began = b.machine.world.now();
    EXPECT_NE(v.write(0, 4 * KiB), Errc::ok);
    EXPECT_LT(b.machine.world.now() - began, std::chrono::seconds(5));
  }
  b.disk(0).faults().sync_error_per_mille = 0;
  b.reopen();
  Tracked v(b, b.device("v"));
  ASSERT_EQ(v.deallocate(0, 4 * cluster), Errc::ok);
  b.settle();
  EXPECT_EQ(v.write(0, 4 * KiB), Errc::ok);
}

// What a flush could not write is out of the disk's cache: a later one knows nothing of it.
TEST(DiskErrors, NoFlushAfterOneThatFailedSaysThatAllIsThere) {
  PoolBench b(small());
  {
    Tracked v(b, b.volume("v", 4 * cluster));
    ASSERT_EQ(v.write(0, cluster), Errc::ok);
    ASSERT_TRUE(b.machine.run(v.channel.channel->flush()).ok());
    ASSERT_EQ(v.write(0, 4 * KiB), Errc::ok);  // in place, in the cache
    b.disk(0).faults().sync_error_per_mille = 1000;
    EXPECT_FALSE(b.machine.run(b.pool->checkpoint()).ok());  // the host hears nothing of it
    b.disk(0).faults().sync_error_per_mille = 0;
    EXPECT_FALSE(b.machine.run(v.channel.channel->flush()).ok());
    b.settle();
    EXPECT_EQ(b.pool->view().status, PoolStatus::faulted);
  }
  b.reopen();
  EXPECT_NE(b.pool->view().status, PoolStatus::faulted);
  Tracked v(b, b.device("v"));
  ASSERT_EQ(v.write(0, 4 * KiB), Errc::ok);
  EXPECT_TRUE(b.machine.run(v.channel.channel->flush()).ok());
}

// A snapshot that failed is not there, or has what the volume had when it was asked for.
TEST(DiskErrors, ASnapshotThatMayHaveHappenedHasNothingOfLaterWrites) {
  unsigned happened = 0, did_not = 0;
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    PoolBench b(small(seed));
    const Bytes before = filled(cluster, 1), after = filled(cluster, 2);
    Errc written = Errc::ok;
    {
      OpenChannel v(b.machine, b.volume("v", 4 * cluster));
      ASSERT_EQ(v.write(0, before), Errc::ok);
      b.settle();
      refuse_writes(b, MiB, journal_bytes);
      EXPECT_NE(b.snapshot("v", "s"), Errc::ok);
      written = v.write(0, after);
    }
    b.disk(0).faults().bad.clear();
    b.reopen();
    OpenChannel v(b.machine, b.device("v"));
    EXPECT_EQ(v.content(0, cluster), written == Errc::ok ? after : before);
    if (b.pool->device(uuid_of("s")) == nullptr) {
      ++did_not;
      continue;
    }
    ++happened;
    OpenChannel s(b.machine, b.device("s"));
    EXPECT_EQ(s.content(0, cluster), before) << seed;
  }
  EXPECT_GT(happened, 0u);
  EXPECT_GT(did_not, 0u);
}

// The commit that gives a cluster a new place is on the disk, and nobody knows; what its former place would get later
// is not acknowledged.
TEST(DiskErrors, NothingIsWrittenWhereAnUncertainCommitMayHaveReplaced) {
  PoolBench b(small());
  const Bytes failed = filled(4 * KiB, 2), newest = filled(4 * KiB, 3);
  Errc written = Errc::ok;
  {
    OpenChannel v(b.machine, b.volume("v", 4 * cluster));
    ASSERT_EQ(v.write(0, filled(2 * cluster, 1)), Errc::ok);
    share_no_more(b, false);  // the failed flush has not frozen the journal yet
    EXPECT_EQ(v.write(0, failed, Durable::yes), Errc::io_error);
    b.settle();
    EXPECT_EQ(b.pool->view().status, PoolStatus::faulted);
    b.disk(0).faults().sync_error_per_mille = 0;
    b.settle();
    written = v.write(0, newest);
  }
  b.reopen();
  OpenChannel v(b.machine, b.device("v"));
  EXPECT_EQ(v.content(0, 4 * KiB), written == Errc::ok ? newest : failed);
}

// A write that fails is not even seen where a completion that failed may have happened: its region has no epoch.
TEST(DiskErrors, NothingIsWrittenWhereAnUncertainCompletionMayHaveMadeBlocksOwn) {
  unsigned completed = 0;
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    BenchParams params = small(seed);
    params.completion = true;
    PoolBench b(params);
    const Bytes before = filled(cluster, 1), failed = filled(4 * KiB, 2);
    {
      OpenChannel v(b.machine, b.volume("v", 4 * cluster));
      ASSERT_EQ(v.write(0, before), Errc::ok);
      ASSERT_EQ(b.snapshot("v", "s"), Errc::ok);
      ASSERT_EQ(v.write(0, filled(cluster / 2, 1)), Errc::ok);
      ASSERT_TRUE(b.machine.run(b.device("v").epochs()->announce(1)).ok());
      refuse_writes(b, MiB, journal_bytes);
      b.settle();
      ASSERT_EQ(b.pool->view().status, PoolStatus::faulted);
      b.disk(0).faults().bad.clear();
      EXPECT_NE(v.write(cluster / 2 / 512, failed), Errc::ok);
    }
    b.reopen();
    completed += b.pool->view().partial_clusters == 0 ? 1 : 0;
    OpenChannel v(b.machine, b.device("v"));
    EXPECT_EQ(v.content(0, cluster), before) << seed;
  }
  EXPECT_GT(completed, 0u);
}

// Zeroes that are there already are not acknowledged where a write that failed may come back.
TEST(DiskErrors, NoZeroesAreAcknowledgedWhereAnUncertainCommitMayHaveMapped) {
  for (const Unmap unmap : {Unmap::no, Unmap::yes}) {
    PoolBench b(small());
    Errc zeroed = Errc::ok;
    {
      Tracked v(b, b.volume("v", 4 * cluster));
      ASSERT_EQ(v.write(cluster, 4 * KiB), Errc::ok);
      b.disk(0).faults().sync_error_per_mille = 1000;
      EXPECT_EQ(v.channel.write(0, filled(4 * KiB, 1), Durable::yes), Errc::io_error);
      b.disk(0).faults().sync_error_per_mille = 0;
      zeroed = v.write_zeroes(0, cluster, unmap);
    }
    b.reopen();
    OpenChannel v(b.machine, b.device("v"));
    const Bytes got = v.content(0, 4 * KiB);
    EXPECT_TRUE(got == Bytes(4 * KiB) || zeroed != Errc::ok);
  }
}

// It has the pool's label, and was given with the others: the user may add it once more.
TEST(DiskErrors, ADiskThatWasNotAddedCanBeAddedAfterTheNextImport) {
  PoolBench b(small());
  b.add_disk(4 * MiB);
  refuse_writes(b, MiB, journal_bytes);
  EXPECT_EQ(b.machine.run(b.pool->add_disk(b.paths[1], false)).code(), Errc::io_error);
  b.disk(0).faults().bad.clear();
  b.reopen();
  if (b.pool->view().disks.size() == 1) {
    const Status added = b.machine.run(b.pool->add_disk(b.paths[1], false));
    EXPECT_TRUE(added.ok()) << added.error().message();
  }
  EXPECT_EQ(b.pool->view().disks.size(), 2u);
}

TEST(DiskErrors, APoolThatIsDestroyedAfterAFailedFlushIsGoneForGood) {
  PoolBench b(small());
  {
    Tracked v(b, b.volume("v", 4 * cluster));
    ASSERT_EQ(v.write(0, cluster), Errc::ok);
    ASSERT_TRUE(b.machine.run(v.channel.channel->flush()).ok());
    b.disk(0).faults().sync_error_per_mille = 1000;
    EXPECT_FALSE(b.machine.run(b.pool->checkpoint()).ok());
    b.disk(0).faults().sync_error_per_mille = 0;
  }
  const std::size_t dropped = not_durable(b);
  ASSERT_TRUE(b.machine.run(b.pool->destroy()).ok());
  b.pool.reset();
  EXPECT_LE(not_durable(b), dropped) << "power would bring its labels back";
}

// It reads well, and no later flush makes it durable.
TEST(DiskErrors, WhatAFailedFlushDroppedOfTheJournalIsNotNeededOnceThePoolIsOpenedAgain) {
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    PoolBench b(small(seed));
    {
      Tracked v(b, b.volume("v", 4 * cluster));
      ASSERT_EQ(v.write(0, cluster), Errc::ok);  // its commit is in the cache
      b.disk(0).faults().sync_error_per_mille = 1000;
      const Status flushed = b.machine.run(v.channel.channel->flush());
      EXPECT_FALSE(flushed.ok());
      b.disk(0).faults().sync_error_per_mille = 0;
    }
    b.reopen();
    abandon(b);
    b.disk(0).lose_power();
    const Status opened = open_again(b);
    EXPECT_TRUE(opened.ok()) << seed << ": " << (opened.ok() ? "" : opened.error().message());
  }
}

TEST(DiskErrors, NoFlushSucceedsAfterADurableCommitThatFailed) {
  PoolBench b(small());
  Tracked v(b, b.volume("v", 4 * cluster));
  ASSERT_EQ(v.write(0, cluster), Errc::ok);
  ASSERT_TRUE(b.machine.run(b.pool->checkpoint()).ok());  // the next commit is alone: a durable write
  ASSERT_EQ(v.write(0, 4 * KiB), Errc::ok);               // in place, in the cache
  refuse_writes(b, label_bytes, journal_bytes);
  VolumeParams w;
  w.name = "w";
  w.uuid = uuid_of("w");
  w.size_bytes = cluster;
  const auto made = b.machine.run(b.pool->create_volume(w));
  EXPECT_FALSE(made.ok());
  b.disk(0).faults().bad.clear();
  const Status flushed = b.machine.run(v.channel.channel->flush());
  EXPECT_FALSE(flushed.ok());
}

TEST(DiskErrors, NoFlushSucceedsAfterADurableWriteThatFailed) {
  PoolBench b(small());
  Tracked v(b, b.volume("v", 4 * cluster));
  ASSERT_EQ(v.write(0, 2 * cluster), Errc::ok);
  b.settle();
  ASSERT_EQ(v.write(0, 4 * KiB), Errc::ok);  // in place, in the cache
  const std::uint64_t data = label_bytes + journal_bytes;
  refuse_writes(b, data, b.disk_bytes() - data);
  EXPECT_EQ(v.channel.write(cluster / 512, filled(4 * KiB, 1), Durable::yes), Errc::io_error);
  b.disk(0).faults().bad.clear();
  const Status flushed = b.machine.run(v.channel.channel->flush());
  EXPECT_FALSE(flushed.ok());
}

}  // namespace
}  // namespace holdfast::pool
