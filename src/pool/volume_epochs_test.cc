#include "pool/volume_epochs.h"

#include <gtest/gtest.h>

#include "pool/testing/epochs.h"

namespace holdfast::pool {
namespace {

using namespace testing_support;  // NOLINT: tests only

TEST(VolumeEpochs, RegionsRememberTheEpochOfTheirLastWriteAlsoWhenThePoolIsOpenedAgain) {
  PoolBench b;
  {
    Tracked v(b, b.volume("v", 4 * MiB));
    Epochs e(b, "v");
    ASSERT_EQ(v.write(0, 64 * KiB), Errc::ok);
    EXPECT_EQ(e.state(), (EpochState{0, 0, MiB, 4}));
    EXPECT_EQ(e.changed(0), "0000") << "without an announced epoch none is kept";
    ASSERT_EQ(e.announce(3), Errc::ok);
    ASSERT_EQ(v.write(MiB - 512, 1024), Errc::ok);
    EXPECT_EQ(e.changed(0), "1100");
    ASSERT_EQ(e.announce(4), Errc::ok);
    ASSERT_EQ(v.write(MiB, 512), Errc::ok);
    ASSERT_EQ(v.write(3 * MiB, 512), Errc::ok);
    EXPECT_EQ(e.changed(3), "0101");
    EXPECT_EQ(e.changed(2), "1101");
    EXPECT_EQ(e.changed(4), "0000");
    EXPECT_EQ(e.allocated(), "1101");
    ASSERT_EQ(e.seal(3), Errc::ok);
    ASSERT_EQ(e.announce(5), Errc::ok);
    ASSERT_EQ(v.deallocate(2 * MiB, 2 * MiB), Errc::ok);
    EXPECT_EQ(e.changed(4), "0011") << "also where nothing was: another device of the mirror may have had it";
  }
  b.reopen();
  Epochs e(b, "v");
  EXPECT_EQ(e.state(), (EpochState{5, 3, MiB, 4}));
  EXPECT_EQ(e.changed(2), "1111");
  EXPECT_EQ(e.changed(3), "0111");
}

TEST(VolumeEpochs, ASnapshotRemembersThoseOfItsVolume) {
  PoolBench b;
  {
    b.volume("v", 4 * MiB);
    Epochs e(b, "v");
    ASSERT_EQ(e.announce(5), Errc::ok);
    ASSERT_EQ(e.seal(4), Errc::ok);
    ASSERT_EQ(b.snapshot("v", "s"), Errc::ok);
    ASSERT_EQ(e.announce(9), Errc::ok);
    ASSERT_EQ(b.clone("s", "c"), Errc::ok);
  }
  b.reopen();
  EXPECT_EQ(b.pool->find(uuid_of("s")).value().spec.epoch, 5u);
  EXPECT_EQ(b.pool->find(uuid_of("s")).value().spec.sealed, 4u);
  EXPECT_EQ(b.pool->find(uuid_of("c")).value().spec.epoch, 0u) << "a clone is another volume";
  EXPECT_EQ(b.device("s").epochs(), nullptr);
}

TEST(VolumeEpochs, RegionsAreRaisedForContentOfAnotherVolume) {
  PoolBench b;
  {
    Tracked v(b, b.volume("v", 4 * MiB));
    Epochs e(b, "v");
    ASSERT_EQ(e.announce(7), Errc::ok);
    ASSERT_EQ(v.write(3 * MiB, 512), Errc::ok);
    const auto raise = [&b](std::vector<RegionRun> runs) {
      return b.machine.run(b.pool->raise_regions(uuid_of("v"), std::move(runs))).code();
    };
    EXPECT_EQ(raise({{0, 2, 5}, {3, 1, 2}}), Errc::ok);
    EXPECT_EQ(raise({{0, 1, 5}, {2, 3, 5}}), Errc::invalid_argument) << "beyond its end";
    EXPECT_EQ(raise({{2, 1, 8}}), Errc::invalid_argument) << "never announced";
    EXPECT_EQ(raise({{2, 1, 0}}), Errc::invalid_argument);
    EXPECT_EQ(raise({}), Errc::ok);
  }
  b.reopen();
  const auto runs = b.pool->region_epochs(uuid_of("v"), 0, 10).value();
  EXPECT_EQ(runs, (std::vector<RegionRun>{{0, 2, 5}, {3, 1, 7}})) << "none is lowered";
  EXPECT_EQ(b.pool->region_epochs(uuid_of("v"), 1, 10).value().front(), (RegionRun{1, 1, 5}));
  EXPECT_EQ(b.pool->region_epochs(uuid_of("v"), 0, 1).value().size(), 1u);
}

TEST(VolumeEpochs, RefusesWhatGoesBackwardsOrBeyond) {
  PoolBench b;
  b.volume("v", 4 * MiB);
  Epochs e(b, "v");
  ASSERT_EQ(e.announce(7), Errc::ok);
  EXPECT_EQ(e.announce(6), Errc::invalid_argument);
  EXPECT_EQ(e.announce(7), Errc::ok);
  EXPECT_EQ(e.seal(8), Errc::invalid_argument);
  EXPECT_EQ(e.seal(7), Errc::ok);
  EXPECT_EQ(e.seal(5), Errc::ok);
  EXPECT_EQ(e.state().sealed, 7u);
  EXPECT_EQ(b.machine.run(e.client.changed_since(0, 0, 5)).code(), Errc::invalid_argument);
  EXPECT_EQ(b.machine.run(e.client.changed_since(0, ~std::uint64_t{0}, 2)).code(), Errc::invalid_argument);
  EXPECT_EQ(b.machine.run(e.client.allocated(5, 0)).code(), Errc::invalid_argument);
  EXPECT_EQ(e.text(e.client.allocated(4, 0)), "");
}

// The first write of an epoch to a region is preceded by a durable record; the later ones go straight to the disk.
TEST(VolumeEpochs, AnInPlaceWriteOfANewEpochComesAfterItsDurableRecord) {
  PoolBench b;
  Tracked v(b, b.volume("v", 4 * MiB));
  Epochs e(b, "v");
  ASSERT_EQ(v.write(0, 64 * KiB), Errc::ok);
  ASSERT_EQ(e.announce(1), Errc::ok);
  b.settle();
  // Nothing reaches the data while the journal cannot be written.
  b.disk(0).faults().bad.push_back({.offset = MiB, .length = 256 * KiB, .reads = false, .writes = true});
  const Bytes before = v.channel.content(0, 4 * KiB);
  Bytes data = filled(4 * KiB, 0xab);
  EXPECT_NE(v.channel.write(0, data), Errc::ok);
  EXPECT_EQ(v.channel.content(0, 4 * KiB), before);
}

// A write to a new cluster brings its region into the epoch. From then on what the region has already is written in
// place, and must not be there after a loss of power that took the epoch.
TEST(VolumeEpochs, TheEpochOfARegionWithBlocksIsDurableBeforeTheyAreWrittenInPlace) {
  for (const std::uint64_t length : {4 * KiB, 64 * KiB}) {  // carried by the journal, and not
    PoolBench b;
    Tracked v(b, b.volume("v", 4 * MiB));
    Epochs e(b, "v");
    ASSERT_EQ(v.write(0, 64 * KiB), Errc::ok);
    ASSERT_EQ(e.announce(1), Errc::ok);
    b.settle();
    ASSERT_EQ(v.write(2 * MiB, 64 * KiB), Errc::ok);
    EXPECT_GT(b.disk(0).undurable_sectors(), 0u) << "nothing else is in that region: all of it may be lost";
    ASSERT_EQ(b.machine.run(v.channel.channel->flush()).code(), Errc::ok);
    ASSERT_EQ(v.write(64 * KiB, length), Errc::ok);
    const std::size_t in_place = length == 4 * KiB ? 8 : 0;  // it may be lost, the journal has it
    EXPECT_LE(b.disk(0).undurable_sectors(), in_place);
    ASSERT_EQ(v.write(128 * KiB, length), Errc::ok);
    EXPECT_GT(b.disk(0).undurable_sectors(), in_place) << "once a region and epoch";
  }
}

TEST(VolumeEpochs, OneRecordARegionAndEpoch) {
  PoolBench b;
  Tracked v(b, b.volume("v", 4 * MiB));
  Epochs e(b, "v");
  ASSERT_EQ(v.write(0, 128 * KiB), Errc::ok);
  ASSERT_EQ(e.announce(1), Errc::ok);
  b.settle();
  const sim::DiskStats before = b.disk(0).stats();
  ASSERT_EQ(v.write(0, 4 * KiB), Errc::ok);
  EXPECT_EQ(b.disk(0).stats().writes, before.writes + 2);
  const sim::DiskStats then = b.disk(0).stats();
  ASSERT_EQ(v.write(64 * KiB, 4 * KiB), Errc::ok);
  EXPECT_EQ(b.disk(0).stats().writes, then.writes + 1);
  EXPECT_EQ(b.disk(0).stats().syncs, then.syncs);
}

TEST(VolumeEpochs, ALongDeallocationOverManyRunsOfRegionsIsTaken) {
  PoolBench b;
  constexpr std::uint64_t regions = 6000;
  OpenChannel v(b.machine, b.volume("v", regions * MiB));
  Epochs e(b, "v");
  ASSERT_EQ(e.announce(1), Errc::ok);
  std::vector<RegionRun> runs;
  for (std::uint64_t r = 0; r < regions; r += 2) runs.push_back({r, 1, 1});
  ASSERT_TRUE(b.machine.run(b.pool->raise_regions(uuid_of("v"), runs)).ok());
  const BlockRange all{Lba{0}, regions * MiB / 512};
  EXPECT_EQ(b.machine.run(v.channel->deallocate(all)).code(), Errc::ok);
  EXPECT_EQ(e.changed(0), std::string(regions, '1'));
}

TEST(VolumeEpochs, ALongRangeCountsOnlyWhereThatIsDurable) {
  constexpr std::uint64_t regions = 1200;
  PoolBench b;
  b.volume("v", regions * MiB);
  Epochs e(b, "v");
  ASSERT_EQ(e.announce(1), Errc::ok);
  std::vector<RegionRun> odd;
  for (std::uint64_t r = 1; r < regions; r += 2) odd.push_back({r, 1, 1});
  ASSERT_TRUE(b.machine.run(b.pool->raise_regions(uuid_of("v"), odd)).ok());
  ASSERT_TRUE(b.machine.run(b.pool->checkpoint()).ok());
  OpenChannel v(b.machine, b.device("v"));
  bool done = false;
  auto all = [&]() -> Task<void> {
    const Status s = co_await v.channel->deallocate(BlockRange{Lba{0}, regions * MiB / 512});
    EXPECT_TRUE(s.ok());
    done = true;
  };
  b.machine.world.spawn(b.machine.process.core(0), all());
  const auto counts = [&] { return b.pool->region_epochs(uuid_of("v"), 0, 1).value().front().first == 0; };
  ASSERT_TRUE(b.machine.world.run_until(counts, b.machine.world.now() + std::chrono::seconds(5)));
  EXPECT_EQ(b.disk(0).undurable_sectors(), 0u);
  b.machine.world.run_until([&] { return done; }, b.machine.world.now() + std::chrono::seconds(5));
}

}  // namespace
}  // namespace holdfast::pool
