// Goal: what is read from a volume or snapshot is what was written there, whatever kind of cluster is underneath and
// however a range lies on sectors, blocks and clusters.
// Method: each kind of cluster is made, then each range is written, trimmed or zeroed; the whole device is compared
// with a plain array of bytes, and its snapshots with what they were.
#include <gtest/gtest.h>

#include "pool/testing/pool_bench.h"

namespace holdfast::pool {
namespace {

using namespace testing_support;  // NOLINT: tests only

constexpr std::uint64_t cluster = 64 * KiB;
constexpr std::uint64_t size = 16 * cluster;

enum class Kind : std::uint8_t {
  none,
  whole,
  partial,
  partial_behind,
  shared_leaf,
  shared_cluster,
  shared_behind,  // partial with something behind it, and shared: the next write rewrites all of it
  trimmed,
};
constexpr Kind kinds[] = {Kind::none,        Kind::whole,          Kind::partial,       Kind::partial_behind,
                          Kind::shared_leaf, Kind::shared_cluster, Kind::shared_behind, Kind::trimmed};

struct Kept {
  std::string name;
  Bytes bytes;
};

// Cluster 1 and 2 of the volume become of that kind.
void prepare(PoolBench& b, Tracked& v, Kind kind, std::vector<Kept>& snapshots) {
  const auto snapshot = [&](const std::string& name) {
    ASSERT_EQ(b.snapshot("v", name), Errc::ok);
    snapshots.push_back(Kept{name, v.bytes});
  };
  if (kind == Kind::none) return;
  if (kind == Kind::partial) {
    ASSERT_EQ(v.write(cluster + 8 * KiB, 12 * KiB), Errc::ok);
    ASSERT_EQ(v.write(2 * cluster + 5 * KiB, 12 * KiB), Errc::ok);
    return;
  }
  ASSERT_EQ(v.write(cluster, 2 * cluster), Errc::ok);
  if (kind == Kind::whole) return;
  if (kind == Kind::trimmed) {
    ASSERT_EQ(v.deallocate(cluster + 10 * KiB, 30 * KiB), Errc::ok);
    ASSERT_EQ(v.deallocate(2 * cluster, 24 * KiB), Errc::ok);
    return;
  }
  snapshot("s1");
  if (kind == Kind::shared_leaf) return;
  if (kind == Kind::shared_cluster) {
    ASSERT_EQ(v.write(5 * cluster, 4 * KiB), Errc::ok);
    return;
  }
  ASSERT_EQ(v.write(cluster + 9 * KiB, 10 * KiB), Errc::ok);
  ASSERT_EQ(v.write(2 * cluster + 4 * KiB, 4 * KiB), Errc::ok);
  if (kind == Kind::shared_behind) snapshot("s2");
}

struct Range {
  std::uint64_t offset;
  std::uint64_t length;
};
constexpr Range ranges[] = {
    {cluster, 512},                        // the first sector
    {cluster + 8 * KiB + 512, 1024},       // within a block
    {cluster + 4 * KiB, 4 * KiB},          // a block
    {cluster + 6 * KiB, 4 * KiB},          // two halves
    {cluster + 7 * KiB + 512, 20 * KiB},   // edges on both sides
    {cluster + 60 * KiB + 512, 3 * KiB},   // within the last block
    {cluster - 512, 1024},                 // over the edge of a cluster
    {cluster + 1536, 2 * cluster - 3072},  // two clusters but for their edges
    {cluster, cluster},                    // a cluster
    {cluster, 2 * cluster},                // two
    {0, size},                             // everything
    {size - 512, 512},                     // the last sector
};

enum class Action : std::uint8_t { write, deallocate, zero_unmap, zero_keep };
constexpr Action actions[] = {Action::write, Action::deallocate, Action::zero_unmap, Action::zero_keep};

Errc act(Tracked& v, Action action, const Range& r) {
  switch (action) {
    case Action::write:
      return v.write(r.offset, r.length);
    case Action::deallocate:
      return v.deallocate(r.offset, r.length);
    case Action::zero_unmap:
      return v.write_zeroes(r.offset, r.length, Unmap::yes);
    case Action::zero_keep:
      return v.write_zeroes(r.offset, r.length, Unmap::no);
  }
  panic("no such action");
}

class VolumeIo : public testing::TestWithParam<Kind> {};

TEST_P(VolumeIo, EveryRangeOnEveryKindOfCluster) {
  for (const Action action : actions) {
    for (const Range& range : ranges) {
      SCOPED_TRACE(testing::Message() << "action " << static_cast<int>(action) << " at " << range.offset
                                      << ", " << range.length);
      PoolBench b;
      std::vector<Kept> snapshots;
      {
        Tracked v(b, b.volume("v", size));
        prepare(b, v, GetParam(), snapshots);
        ASSERT_EQ(act(v, action, range), Errc::ok);
        EXPECT_EQ(v.difference(), "");
        ASSERT_EQ(v.write(range.offset, std::min<std::uint64_t>(range.length, 1536)), Errc::ok);
        EXPECT_EQ(v.difference(), "");
        for (const Kept& s : snapshots) {
          Tracked of(b, b.device(s.name));
          EXPECT_EQ(of.difference_to(s.bytes), "") << s.name;
        }
        snapshots.push_back(Kept{"v", v.bytes});
      }
      b.reopen();
      for (const Kept& s : snapshots) {
        Tracked of(b, b.device(s.name));
        EXPECT_EQ(of.difference_to(s.bytes), "") << s.name << " after the pool was opened again";
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, VolumeIo, testing::ValuesIn(kinds));

TEST(VolumeIo, GeometryAndCapabilitiesSayWhatItCan) {
  PoolBench b;
  BlockDevice& v = b.volume("v", size);
  EXPECT_EQ(v.geometry().block_bytes, 512u);
  EXPECT_EQ(v.geometry().size_bytes(), size);
  EXPECT_TRUE(v.geometry().deallocated_reads_zero);
  EXPECT_TRUE(v.capabilities().deallocate && v.capabilities().write_zeroes && v.capabilities().flush);
  EXPECT_FALSE(v.capabilities().read_only);
  ASSERT_EQ(b.snapshot("v", "s"), Errc::ok);
  EXPECT_TRUE(b.device("s").capabilities().read_only);
  EXPECT_EQ(b.device("s").epochs(), nullptr);
}

TEST(VolumeIo, DisksWithLargeBlocksGiveVolumesWithLargeBlocks) {
  BenchParams p;
  p.disk.sector_bytes = 4096;
  PoolBench b(p);
  EXPECT_EQ(b.volume("v", size).geometry().block_bytes, 4096u);
}

TEST(VolumeIo, RefusesWhatIsBeyondTheEndAndWritesOfASnapshot) {
  PoolBench b;
  BlockDevice& device = b.volume("v", size);
  ASSERT_EQ(b.snapshot("v", "s"), Errc::ok);
  OpenChannel v(b.machine, device);
  OpenChannel s(b.machine, b.device("s"));
  Bytes data = filled(1024, 1);
  EXPECT_EQ(v.write(size / 512 - 1, data), Errc::out_of_range);
  EXPECT_EQ(v.read(size / 512 - 1, data), Errc::out_of_range);
  EXPECT_EQ(v.write(~std::uint64_t{0}, data), Errc::out_of_range);
  const BlockRange beyond{Lba{1}, ~std::uint64_t{0}};
  EXPECT_EQ(b.machine.run(v.channel->deallocate(beyond)).code(), Errc::out_of_range);
  EXPECT_EQ(s.write(0, data), Errc::read_only);
  const BlockRange some{Lba{0}, 8};
  EXPECT_EQ(b.machine.run(s.channel->deallocate(some)).code(), Errc::read_only);
  EXPECT_EQ(b.machine.run(s.channel->write_zeroes(some, Unmap::no, Durable::no)).code(), Errc::read_only);
  EXPECT_EQ(v.compare(0, filled(1024, 0)), Errc::ok);
  EXPECT_EQ(v.compare(0, filled(1024, 1)), Errc::miscompare);
}

TEST(VolumeIo, TheNeverWrittenIsReadWithoutIo) {
  PoolBench b;
  Tracked v(b, b.volume("v", size));
  ASSERT_EQ(v.write(3 * cluster, 4 * KiB), Errc::ok);
  const std::uint64_t before = b.disk_reads();
  EXPECT_EQ(v.channel.content(0, MiB / 4),
            filled(MiB / 4, 0) = Bytes(v.bytes.begin(), v.bytes.begin() + MiB / 4));
  EXPECT_EQ(b.disk_reads(), before + 1);
}

TEST(VolumeIo, TheFirstSmallWriteWritesABlockNotACluster) {
  PoolBench b;
  Tracked v(b, b.volume("v", size));
  ASSERT_EQ(v.write(0, 4 * KiB), Errc::ok);  // the map's first leaf
  const std::uint64_t before = b.disk(0).stats().written_bytes;
  ASSERT_EQ(v.write(cluster, 4 * KiB), Errc::ok);
  EXPECT_LE(b.disk(0).stats().written_bytes - before,
            12 * KiB);  // the block, and a commit that has it as well
}

TEST(VolumeIo, AnOverwriteIsOneWriteToTheDisk) {
  PoolBench b;
  Tracked v(b, b.volume("v", size));
  ASSERT_EQ(v.write(0, cluster), Errc::ok);
  b.settle();
  const sim::DiskStats before = b.disk(0).stats();
  ASSERT_EQ(v.write(8 * KiB, 4 * KiB), Errc::ok);
  EXPECT_EQ(b.disk(0).stats().writes, before.writes + 1);
  EXPECT_EQ(b.disk(0).stats().syncs, before.syncs);
}

TEST(VolumeIo, TrimGivesTheSpaceBackAtOnce) {
  PoolBench b;
  Tracked v(b, b.volume("v", size));
  const std::uint64_t empty = b.used();
  ASSERT_EQ(v.write(0, size), Errc::ok);
  EXPECT_EQ(b.used(), empty + size);
  EXPECT_EQ(b.usage("v").allocated, size);
  ASSERT_EQ(v.deallocate(cluster, size - cluster), Errc::ok);
  EXPECT_EQ(b.usage("v").allocated, cluster);
  b.settle();
  EXPECT_EQ(b.used(), empty + cluster);
  EXPECT_GT(b.disk(0).stats().discards, 0u);
  // The last block of a cluster takes the cluster with it.
  for (std::uint64_t at = 0; at < cluster; at += 4 * KiB) ASSERT_EQ(v.deallocate(at, 4 * KiB), Errc::ok);
  EXPECT_EQ(b.usage("v").allocated, 0u);
}

TEST(VolumeIo, ManySnapshotsDoNotMakeReadsSlower) {
  PoolBench b;
  Tracked v(b, b.volume("v", size));
  Tracked plain(b, b.volume("plain", size));
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(v.write(static_cast<std::uint64_t>(i) % 16 * cluster, cluster), Errc::ok);
    ASSERT_EQ(b.snapshot("v", "s" + std::to_string(i)), Errc::ok);
  }
  ASSERT_EQ(plain.write(0, size), Errc::ok);
  ASSERT_EQ(v.write(0, size), Errc::ok);
  const auto reads_of = [&](Tracked& t) {
    const std::uint64_t before = b.disk_reads();
    for (std::uint64_t at = 0; at < size; at += 12 * KiB) {
      const std::uint64_t length = std::min<std::uint64_t>(4 * KiB, size - at);
      EXPECT_EQ(t.channel.content(at / 512, length).size(), length);
    }
    return b.disk_reads() - before;
  };
  EXPECT_EQ(reads_of(v), reads_of(plain));
  EXPECT_EQ(v.difference(), "");
}

TEST(VolumeIo, DurableZeroesMakeTheDeallocationBeforeThemDurable) {
  for (const Unmap unmap : {Unmap::yes, Unmap::no}) {
    BenchParams p;
    p.disk.can_discard = false;
    PoolBench b(p);
    OpenChannel v(b.machine, b.volume("v", size));
    ASSERT_EQ(v.write(0, filled(cluster, 7), Durable::yes), Errc::ok);
    b.settle();
    ASSERT_EQ(b.disk(0).undurable_sectors(), 0u);
    const BlockRange range{Lba{0}, cluster / 512};
    ASSERT_EQ(b.machine.run(v.channel->deallocate(range)).code(), Errc::ok);
    ASSERT_EQ(b.machine.run(v.channel->write_zeroes(range, unmap, Durable::yes)).code(), Errc::ok);
    EXPECT_EQ(b.disk(0).undurable_sectors(), 0u);
  }
}

}  // namespace
}  // namespace holdfast::pool
