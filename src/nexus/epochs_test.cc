// Epochs: what is announced and sealed, and when; that after a crash, and for a child that comes back, only what
// they name is copied, and all of it.
#include <gtest/gtest.h>

#include "nexus/testing/epochs_rig.h"

namespace holdfast::nexus {
namespace {

using fake::Epochs;
using fake::FakeDisk;
using fake::first_region;
using fake::region_blocks;
using fake::Rig;
using fake::Started;

// To a time before the volume: all of it holds something else, and no epoch is known.
void set_back(FakeDisk& disk) {
  disk.epoch = disk.sealed = 0;
  disk.region_epochs.clear();
  std::fill(disk.bytes.begin(), disk.bytes.end(), std::byte{0xee});
  disk.region_allocated.assign(16, true);
}

TEST_F(Epochs, AreAnnouncedBeforeTheFirstWriteAndSealedAfterAFlush) {
  create();
  EXPECT_EQ(rig.nexus->view().announced_epoch, 1u);
  write_region(0, 1);
  settle();
  for (const char* name : {"a", "b", "c"}) {
    const auto& log = disk(name).log;
    const std::size_t announced = find(name, 'a');
    const std::size_t written = find(name, 'w', announced);
    const std::size_t next = find(name, 'a', written);
    const std::size_t flushed = find(name, 'f', next);
    const std::size_t sealed = find(name, 's', flushed);
    ASSERT_LT(sealed, log.size()) << name;
    EXPECT_EQ(log[announced].first, 1u);
    EXPECT_EQ(log[next].first, 2u);
    EXPECT_EQ(log[sealed].first, 1u);
    EXPECT_EQ(disk(name).region_epochs[first_region], 1u);
  }
  EXPECT_EQ(rig.nexus->view().sealed_epoch, 2u) << "with the next one, of which nobody wrote";
  const std::size_t before = disk("a").log.size();
  settle();
  EXPECT_EQ(disk("a").log.size(), before) << "an idle volume is left alone";
}

// Planted bug: seal although a write of the epoch is still under way.
TEST_F(Epochs, AWriteUnderWayHoldsTheSealBack) {
  create();
  disk("b").hold_writes = true;
  Started& held = rig.start_write(1, 0, 8, 1);
  settle();
  EXPECT_GT(rig.nexus->view().announced_epoch, 1u);
  EXPECT_EQ(rig.nexus->view().sealed_epoch, 0u);
  disk("b").hold_writes = false;
  EXPECT_EQ(rig.finish(held), Errc::ok);
  settle();
  EXPECT_GT(rig.nexus->view().sealed_epoch, 0u);
}

// Planted bug: seal before the record says that a child has left.
TEST_F(Epochs, ADepartureThatIsNotRecordedHoldsTheSealBack) {
  create();
  rig.store.hang = true;
  disk("b").write_error = Errc::io_error;
  Started& held = rig.start_write(0, 0, 8, 1);
  settle();
  EXPECT_FALSE(held.done());
  EXPECT_EQ(disk("a").sealed, 0u);
  rig.store.hang = false;
  EXPECT_EQ(rig.finish(held), Errc::ok);
  settle();
  EXPECT_GT(disk("a").sealed, 0u);
  const Record record = rig.record();
  const ChildRecord* b = record.find(Uuid::from_name("b").to_string());
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->in_sync_through, 0u) << "nothing was sealed while it was in sync";
}

TEST_F(Epochs, AChildThatCannotBeToldLeaves) {
  create();
  write_region(0, 1);
  disk("b").epoch_error = Errc::io_error;
  settle();
  EXPECT_EQ(rig.state_of("b"), "faulted/io_failure");
  EXPECT_GT(disk("a").sealed, 0u);
  EXPECT_FALSE(rig.recorded_healthy("b"));
}

TEST_F(Epochs, ACleanShutdownLeavesNothingToCopy) {
  create();
  for (std::uint64_t r = 0; r < 8; ++r) write_region(r, 1);
  rig.close();
  for (const char* name : {"a", "b", "c"}) EXPECT_EQ(disk(name).sealed + 1, disk(name).epoch) << name;
  const Record record = rig.record();
  EXPECT_TRUE(record.clean_shutdown);
  for (const ChildRecord& c : record.children) EXPECT_EQ(c.in_sync_through, disk("a").sealed);

  create();
  EXPECT_TRUE(rig.all_online());
  EXPECT_EQ(blocks_read_by_rebuilds(), 0u);
}

// A child is away while one nexus ends and another one begins; `how` it ends.
struct Return : Epochs {
  void b_misses_region_2(bool cleanly) {
    create();
    for (std::uint64_t r = 0; r < 8; ++r) write_region(r, static_cast<int>(r) + 1);
    settle();
    EXPECT_TRUE(rig.run(rig.nexus->offline_child(Rig::uri("b"))).ok());
    write_region(2, 22);
    settle();
    if (cleanly) {
      rig.close();
    } else {
      rig.crash();
    }
  }
};

TEST_F(Return, AfterACleanEnd) {
  b_misses_region_2(true);
  create();
  ASSERT_TRUE(online());
  EXPECT_TRUE(all_same());
  EXPECT_EQ(blocks_read_by_rebuilds(), region_blocks);
}

TEST_F(Return, AfterACrash) {
  b_misses_region_2(false);
  create();
  ASSERT_TRUE(online());
  EXPECT_TRUE(all_same());
  EXPECT_EQ(blocks_read_by_rebuilds(), region_blocks) << "a and c had settled";
}

// A lost connection is no reason to copy everything.
TEST_F(Return, WhoCannotBeAskedWhatChangedIsAskedAgain) {
  for (const char* silent : {"a", "b"}) {
    SCOPED_TRACE(silent);
    b_misses_region_2(true);
    disk(silent).regions_error = Errc::not_connected;
    create();
    rig.pass(1s);
    EXPECT_EQ(rig.state_of("b"), "faulted/rebuild_failed");
    disk(silent).regions_error = Errc::ok;
    EXPECT_TRUE(rig.run(rig.nexus->online_child(Rig::uri("b"))).ok());
    ASSERT_TRUE(online());
    EXPECT_TRUE(all_same());
    EXPECT_EQ(blocks_read_by_rebuilds(), region_blocks);
    rig.close();
  }
}

// Planted bug: a child that is not given is forgotten.
TEST_F(Return, ToANexusThatBeganWithoutIt) {
  b_misses_region_2(false);
  create({"a", "c"});
  write_region(7, 77);
  EXPECT_TRUE(rig.run(rig.nexus->add_child(Rig::uri("b"), false)).ok());
  ASSERT_TRUE(online());
  EXPECT_TRUE(all_same());
  EXPECT_EQ(blocks_read_by_rebuilds(), 2 * region_blocks) << "regions 2 and 7";
}

TEST_F(Return, ThatFailedAtFirst) {
  b_misses_region_2(false);
  rig.options.hold_timeout = 5s;
  create({"a", "c"});
  rig.store.error = Errc::not_connected;
  EXPECT_EQ(rig.run(rig.nexus->add_child(Rig::uri("b"), false)).code(), Errc::timed_out);
  rig.store.error = Errc::ok;
  EXPECT_TRUE(rig.run(rig.nexus->add_child(Rig::uri("b"), false)).ok());
  ASSERT_TRUE(online());
  EXPECT_TRUE(all_same());
  EXPECT_EQ(blocks_read_by_rebuilds(), region_blocks) << "what it missed is still known";
}

TEST_F(Return, WhileTheLastOneDoesNotAnswer) {
  b_misses_region_2(false);
  create({"a"});
  disk("a").read_error = disk("a").write_error = Errc::not_connected;
  Started& held = rig.start_write(0, 5 * region_blocks + 8, 16, 55);
  ASSERT_TRUE(rig.wait_for([&] { return rig.state_of("a") == "faulted/io_failure"; }));
  EXPECT_TRUE(rig.run(rig.nexus->add_child(Rig::uri("b"), false)).ok());
  ASSERT_TRUE(rig.wait_for([&] { return rig.state_of("b") == "faulted/rebuild_failed"; }));
  disk("a").read_error = disk("a").write_error = Errc::ok;
  EXPECT_EQ(rig.finish(held), Errc::ok);
  EXPECT_TRUE(rig.run(rig.nexus->online_child(Rig::uri("b"))).ok());
  ASSERT_TRUE(online());
  EXPECT_TRUE(rig.same("a", "b"));
  EXPECT_LE(blocks_read_by_rebuilds(), 2 * region_blocks) << "what it missed is still known";
}

TEST_F(Return, OfAHealthyChildThatTheNexusBeganWithout) {
  create();
  for (std::uint64_t r = 0; r < 8; ++r) write_region(r, static_cast<int>(r) + 1);
  settle();
  rig.crash();
  create({"a"});
  EXPECT_FALSE(rig.recorded_healthy("b"));
  write_region(4, 44);
  EXPECT_TRUE(rig.run(rig.nexus->add_child(Rig::uri("b"), false)).ok());
  EXPECT_TRUE(rig.run(rig.nexus->add_child(Rig::uri("c"), false)).ok());
  ASSERT_TRUE(online());
  EXPECT_TRUE(all_same());
  EXPECT_EQ(blocks_read_by_rebuilds(), 2 * region_blocks);
}

// Planted bug: in_sync_through is the current epoch, not the sealed one.
TEST_F(Return, WhatWasNotSealedWhenItLeftIsCopiedToo) {
  create();
  for (std::uint64_t r = 0; r < 8; ++r) write_region(r, static_cast<int>(r) + 1);
  settle();
  disk("b").write_error = Errc::not_connected;  // b may have it later, or never
  write_region(6, 66);
  EXPECT_FALSE(rig.recorded_healthy("b"));
  disk("b").write_error = Errc::ok;
  settle();
  rig.crash();
  create();
  ASSERT_TRUE(online());
  EXPECT_TRUE(all_same());
  EXPECT_EQ(blocks_read_by_rebuilds(), region_blocks);
}

TEST_F(Return, ADiskThatWasSetBackGetsEverything) {
  b_misses_region_2(true);
  set_back(disk("b"));
  create();
  ASSERT_TRUE(online());
  EXPECT_TRUE(all_same());
}

// Planted bug: a healthy child is believed although it has lost its past.
TEST_F(Epochs, AHealthyDiskThatWasSetBackIsNotBelieved) {
  create();
  for (std::uint64_t r = 0; r < 8; ++r) write_region(r, 5);
  rig.close();
  set_back(disk("a"));
  EXPECT_EQ(rig.create({"a"}, 8 * MiB).code(), Errc::failed_precondition);
  create();
  ASSERT_TRUE(online());
  EXPECT_EQ(rig.read(0, 8, 16), 5);
  EXPECT_TRUE(rig.same("a", "b"));
}

TEST_F(Epochs, ANewChildGetsWhatIsAllocatedAndNothingElse) {
  create();
  write_region(1, 11);
  write_region(4, 44);
  // What d has of an earlier life.
  std::fill(disk("d").bytes.begin() + (first_region + 6) * MiB,
            disk("d").bytes.begin() + (first_region + 7) * MiB, std::byte{0xdd});
  disk("d").fit_regions();
  disk("d").region_allocated[first_region + 6] = true;
  EXPECT_TRUE(rig.run(rig.nexus->add_child(Rig::uri("d"), false)).ok());
  ASSERT_TRUE(online());
  EXPECT_TRUE(rig.same("a", "d"));
  EXPECT_EQ(blocks_read_by_rebuilds(), 3 * region_blocks) << "regions 1, 4, and 6 for what d had there";
  EXPECT_FALSE(rig.nexus->rebuild_history().back().is_partial);
}

// Planted bug: a full copy leaves out what was trimmed on the source.
TEST_F(Epochs, ANewChildKnowsWhatWasTrimmedBeforeItCame) {
  create({"a", "b"});
  write_region(1, 11);
  settle();
  EXPECT_TRUE(rig.run(rig.nexus->offline_child(Rig::uri("b"))).ok());
  const BlockRange region{Lba{region_blocks}, region_blocks};
  EXPECT_TRUE(rig.run(rig.channels[0]->deallocate(region)).ok());
  disk("a").region_allocated.assign(16, false);
  EXPECT_TRUE(rig.run(rig.nexus->add_child(Rig::uri("d"), false)).ok());
  ASSERT_TRUE(rig.wait_for([&] { return rig.state_of("d") == "online/none"; }));
  rig.close();
  create({"d", "b"});
  ASSERT_TRUE(online());
  EXPECT_EQ(rig.read(0, region_blocks + 8, 16), 0);
  EXPECT_TRUE(rig.same("d", "b"));
}

// Planted bug: a seal of the device's former life counts for this volume.
TEST_F(Epochs, ASealOfAnotherLifeIsOutlived) {
  create({"a", "b"});
  write_region(1, 11);
  disk("d").epoch = 60;
  disk("d").sealed = 50;
  EXPECT_TRUE(rig.run(rig.nexus->add_child(Rig::uri("d"), false)).ok());
  ASSERT_TRUE(rig.wait_for([&] { return rig.recorded_healthy("d"); }));
  EXPECT_GE(disk("a").sealed, 50u);
  EXPECT_GT(disk("a").epoch, 60u);
}

// The seal cannot be outlived while the last in-sync child is away; that one may have to be opened again.
TEST_F(Epochs, ASealOfAnotherLifeDoesNotKeepTheLastChildAway) {
  create({"a"});
  write_region(1, 11);
  disk("d").epoch = 60;
  disk("d").sealed = 50;
  disk("d").write_delay = 10ms;
  EXPECT_TRUE(rig.run(rig.nexus->add_child(Rig::uri("d"), false)).ok());
  disk("a").epoch_error = Errc::not_connected;
  ASSERT_TRUE(rig.wait_for([&] { return rig.state_of("a") == "faulted/io_failure"; }));
  Started& back = rig.start_operation(rig.nexus->online_child(Rig::uri("a")));
  rig.pass(20s);
  EXPECT_TRUE(back.done());
  EXPECT_EQ(disk("a").opened, 2u);
  disk("a").epoch_error = Errc::ok;
  EXPECT_TRUE(rig.run(rig.nexus->online_child(Rig::uri("a"))).ok());
  EXPECT_TRUE(rig.run(rig.nexus->online_child(Rig::uri("d"))).ok());
  ASSERT_TRUE(online());
  EXPECT_TRUE(rig.same("a", "d"));
}

// d is given what a has now, and its epochs through the seal.
struct GivenElsewhere : Epochs {
  std::uint32_t give_d_the_content_of_a() {
    create({"a", "b"});
    for (std::uint64_t r = 0; r < 8; ++r) write_region(r, static_cast<int>(r) + 1);
    settle();
    disk("d").bytes = disk("a").bytes;
    disk("d").fit_regions();
    disk("d").region_epochs = disk("a").region_epochs;
    disk("d").epoch = disk("a").sealed + 1;
    return disk("a").sealed;
  }
};

TEST_F(GivenElsewhere, OnlyTheRestIsCopied) {
  const std::uint32_t through = give_d_the_content_of_a();
  ASSERT_GT(through, 0u);
  write_region(5, 55);
  EXPECT_TRUE(rig.run(rig.nexus->add_child(Rig::uri("d"), false, through)).ok());
  ASSERT_TRUE(online());
  EXPECT_TRUE(rig.same("a", "d"));
  EXPECT_EQ(blocks_read_by_rebuilds(), region_blocks);
  EXPECT_TRUE(rig.nexus->rebuild_history().back().is_partial);
}

TEST_F(GivenElsewhere, ACrashInTheMiddleStartsFromTheSamePlace) {
  const std::uint32_t through = give_d_the_content_of_a();
  write_region(5, 55);
  disk("d").write_delay = 10s;
  EXPECT_TRUE(rig.run(rig.nexus->add_child(Rig::uri("d"), false, through)).ok());
  rig.pass(1s);
  rig.crash();
  disk("d").write_delay = Nanos(0);
  create({"a", "b", "d"});
  ASSERT_TRUE(online());
  EXPECT_TRUE(rig.same("a", "d"));
  EXPECT_LE(blocks_read_by_rebuilds(), 2 * region_blocks) << "region 5, to b and to d";
}

// Planted bug: what is said of a child is believed beyond the seal.
TEST_F(GivenElsewhere, NobodyIsBelievedBeyondTheSeal) {
  give_d_the_content_of_a();
  disk("d").epoch = 100;
  write_region(5, 55);
  EXPECT_TRUE(rig.run(rig.nexus->add_child(Rig::uri("d"), false, 99)).ok());
  ASSERT_TRUE(online());
  EXPECT_TRUE(rig.same("a", "d"));
  EXPECT_EQ(blocks_read_by_rebuilds(), region_blocks);
}

TEST_F(GivenElsewhere, AChildThatDoesNotKnowTheEpochGetsEverything) {
  const std::uint32_t through = give_d_the_content_of_a();
  disk("d").epoch = through;
  EXPECT_TRUE(rig.run(rig.nexus->add_child(Rig::uri("d"), false, through)).ok());
  ASSERT_TRUE(online());
  EXPECT_TRUE(rig.same("a", "d"));
  EXPECT_EQ(blocks_read_by_rebuilds(), 8 * region_blocks);
}

TEST_F(Epochs, AWriteUnderWayWhenAChildComesIsNotMissed) {
  create();
  settle();
  EXPECT_TRUE(rig.run(rig.nexus->offline_child(Rig::uri("b"))).ok());
  rig.crash();
  create({"a", "c"});
  disk("a").write_delay = disk("c").write_delay = 3s;
  Started& slow = rig.start_write(1, 5 * region_blocks, 8, 55);
  rig.pass(1ms);
  EXPECT_TRUE(rig.run(rig.nexus->add_child(Rig::uri("b"), false)).ok());
  EXPECT_EQ(rig.finish(slow), Errc::ok);
  ASSERT_TRUE(online());
  EXPECT_TRUE(all_same());
}

TEST_F(Epochs, ChildrenWithoutThemGetEverything) {
  disk("c").has_epochs = false;
  create();
  for (std::uint64_t r = 0; r < 8; ++r) write_region(r, 1);
  settle();
  rig.crash();
  create();
  ASSERT_TRUE(online());
  EXPECT_TRUE(all_same());
  EXPECT_EQ(blocks_read_by_rebuilds(), 8 * region_blocks) << "c, and c alone";
}

TEST_F(Epochs, OddOnesAreNotUsed) {
  disk("b").epoch = 0xffffffff;
  create();
  write_region(0, 1);
  settle();
  EXPECT_TRUE(rig.all_online());
  EXPECT_EQ(find("b", 'a'), disk("b").log.size());
  EXPECT_GT(disk("a").sealed, 0u);
}

// Any moment of a crash, twice in a row, with writes on their way: every acknowledged one is there, all children
// are equal, and no more was copied than was touched since the last seal.
TEST(EpochsRandom, CrashesAtAnyMoment) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Rig rig(2, seed);
    Prng prng(seed);
    for (const char* name : {"a", "b", "c"}) {
      FakeDisk& d = rig.add_disk(name, 16 * MiB);
      d.has_epochs = true;
      d.write_delay = Nanos(1 + prng.below(3'000'000));
    }
    rig.options.settle_interval = 200ms;
    rig.options.child_latency_budget = 60s;
    std::vector<int> value(8, 0);  // acknowledged
    int next = 1;
    for (int run = 0; run < 3; ++run) {
      ASSERT_TRUE(rig.create({"a", "b", "c"}, 8 * MiB).ok());
      for (int i = 0; i < 20; ++i) {
        const std::uint64_t r = prng.below(8);
        const int fill = next = next % 250 + 1;
        Started& w = rig.start_write(static_cast<unsigned>(prng.below(2)), r * region_blocks, 4, fill);
        if (prng.chance(1, 3)) rig.pass(Nanos(prng.below(150'000'000)));
        if (i == 19 && run < 2) break;  // still under way when it crashes
        ASSERT_EQ(rig.finish(w), Errc::ok);
        value[r] = fill;
      }
      if (run == 2) break;
      rig.pass(Nanos(prng.below(5'000'000)));
      rig.crash();
      // What was under way may be there or not; the last region's value is asked from the volume.
      std::uint64_t touched = 0;
      std::vector<bool> unsealed(16);
      std::uint32_t seal = 0;
      for (const char* name : {"a", "b", "c"}) seal = std::max(seal, rig.disks[name].sealed);
      for (const char* name : {"a", "b", "c"}) {
        for (std::size_t r = 0; r < 16; ++r)
          unsealed[r] = unsealed[r] || rig.disks[name].region_epochs[r] > seal;
      }
      touched = static_cast<std::uint64_t>(std::count(unsealed.begin(), unsealed.end(), true));
      ASSERT_TRUE(rig.create({"a", "b", "c"}, 8 * MiB).ok());
      ASSERT_TRUE(rig.wait_for([&] { return rig.all_online(); }));
      std::uint64_t copied = 0;
      for (const RebuildRecord& r : rig.nexus->rebuild_history()) copied += r.blocks_transferred;
      EXPECT_LE(copied, 2 * touched * region_blocks);
      EXPECT_TRUE(rig.same("a", "b") && rig.same("a", "c"));
      for (std::uint64_t r = 0; r < 8; ++r) {
        const int found = rig.read(0, r * region_blocks, 4);
        if (found != value[r]) {
          EXPECT_EQ(found, next) << "region " << r;
        }
        value[r] = found;
      }
      rig.crash();
    }
    rig.crash();
  }
}

TEST_F(Epochs, ANewChildIsCopiedWhileAWriteIsStuckAtOneThatLeft) {
  create({"a", "b"});
  write_region(2, 1);
  disk("b").hold_writes = true;
  disk("b").recalls = false;
  Started& stuck = rig.start_write(0, 8, 16, 9);
  rig.pass(10ms);
  EXPECT_TRUE(rig.run(rig.nexus->offline_child(Rig::uri("b"))).ok());
  Started& added = rig.start_operation(rig.nexus->add_child(Rig::uri("c"), false));
  rig.pass(30s);
  EXPECT_EQ(added.code(), Errc::ok);
  EXPECT_EQ(rig.state_of("c"), "online/none");
  EXPECT_FALSE(stuck.done());
  disk("b").hold_writes = false;
  EXPECT_EQ(rig.finish(stuck), Errc::ok);
  EXPECT_TRUE(rig.same("a", "c"));
}

// b leaves, and still holds what it was given; c is copied to all the same.
void expect_copied_while(Rig& rig, bool& held) {
  EXPECT_TRUE(rig.run(rig.nexus->offline_child(Rig::uri("b"))).ok());
  Started& added = rig.start_operation(rig.nexus->add_child(Rig::uri("c"), false));
  rig.pass(30s);
  EXPECT_EQ(added.code(), Errc::ok);
  EXPECT_EQ(rig.state_of("c"), "online/none");
  held = false;
  EXPECT_EQ(rig.finish(added), Errc::ok);
  EXPECT_TRUE(rig.same("a", "c"));
}

TEST_F(Epochs, ANewChildIsCopiedWhileAnAnnouncementIsStuckAtOneThatLeft) {
  create({"a", "b"});
  write_region(2, 1);
  const auto announced = disk("a").count_of('a');
  disk("b").hold_epochs = true;
  ASSERT_TRUE(rig.wait_for([&] { return disk("a").count_of('a') > announced; })) << "it settles";
  expect_copied_while(rig, disk("b").hold_epochs);
}

TEST_F(Epochs, ANewChildIsCopiedWhileAFlushIsStuckAtOneThatLeft) {
  create({"a", "b"});
  write_region(2, 1);
  const auto flushed = disk("b").count_of('f');
  disk("b").hold_flushes = true;
  disk("b").recalls = false;
  ASSERT_TRUE(rig.wait_for([&] { return disk("b").count_of('f') > flushed; })) << "it settles";
  expect_copied_while(rig, disk("b").hold_flushes);
}

TEST_F(Epochs, ADiskThatWasSetBackGetsEverythingThoughTheNexusCrashesMeanwhile) {
  create();
  for (std::uint64_t r = 0; r < 8; ++r) write_region(r, static_cast<int>(r) + 1);
  settle();
  EXPECT_TRUE(rig.run(rig.nexus->offline_child(Rig::uri("b"))).ok());
  set_back(disk("b"));
  disk("b").write_delay = 10s;
  EXPECT_TRUE(rig.run(rig.nexus->online_child(Rig::uri("b"))).ok());
  rig.pass(1s);
  ASSERT_GT(disk("b").epoch, 0u) << "it was told";
  rig.crash();
  disk("b").write_delay = Nanos(0);
  create();
  ASSERT_TRUE(online());
  EXPECT_TRUE(all_same());
}

TEST_F(Epochs, AHealthyDiskThatWasSetBackIsNotBelievedAfterANexusThatCouldNotBeMade) {
  create();
  for (std::uint64_t r = 0; r < 8; ++r) write_region(r, 5);
  rig.close();
  set_back(disk("a"));
  disk("c").epoch_error = Errc::io_error;  // a and b were told by then
  EXPECT_FALSE(rig.create({"a", "b", "c"}, 8 * MiB).ok());
  disk("c").epoch_error = Errc::ok;
  create();
  ASSERT_TRUE(online());
  EXPECT_EQ(rig.read(0, 8, 16), 5);
  EXPECT_TRUE(rig.same("a", "b"));
}

TEST_F(Epochs, AHealthyDiskThatWasSetBackIsNotBelievedAfterACrash) {
  create();
  for (std::uint64_t r = 0; r < 8; ++r) write_region(r, 5);
  settle();  // sealed on the disks; the record is that of the beginning
  ASSERT_GT(disk("b").sealed, 1u);
  rig.crash();
  set_back(disk("a"));
  create();
  EXPECT_EQ(rig.read(0, 8, 16), 5);
  ASSERT_TRUE(online());
  EXPECT_EQ(rig.read(0, 8, 16), 5);
  EXPECT_TRUE(all_same());
}

TEST_F(Epochs, NorAfterACrashAndANexusThatCouldNotBeMade) {
  create();
  for (std::uint64_t r = 0; r < 8; ++r) write_region(r, 5);
  settle();
  rig.crash();
  set_back(disk("b"));
  disk("c").epoch_error = Errc::io_error;  // a and b were told by then
  EXPECT_FALSE(rig.create({"a", "b", "c"}, 8 * MiB).ok());
  disk("c").epoch_error = Errc::ok;
  create();
  ASSERT_TRUE(online());
  EXPECT_TRUE(rig.same("a", "b"));
}

TEST_F(Epochs, AHealthyDiskThatWasSetBackByOneEpochIsNotBelieved) {
  create();
  for (std::uint64_t r = 0; r < 8; ++r) write_region(r, 5);
  rig.close();
  disk("a").epoch = disk("a").sealed;
  --disk("a").sealed;
  std::fill(disk("a").bytes.begin(), disk("a").bytes.end(), std::byte{0xee});
  ASSERT_EQ(rig.create({"a"}, 8 * MiB).code(), Errc::failed_precondition);
  create();
  ASSERT_TRUE(online());
  EXPECT_EQ(rig.read(0, 8, 16), 5);
  EXPECT_TRUE(rig.same("a", "b"));
}

TEST_F(Return, ADiskThatWasSetBackIsNotBelievedAfterItCouldNotBeAdded) {
  create();
  for (std::uint64_t r = 0; r < 8; ++r) write_region(r, static_cast<int>(r) + 1);
  settle();
  rig.close();
  create({"a"});  // what is known of b is kept
  set_back(disk("b"));
  disk("a").epoch_error = Errc::not_connected;  // b is told, a is not
  EXPECT_FALSE(rig.run(rig.nexus->add_child(Rig::uri("b"), false)).ok());
  ASSERT_GT(disk("b").epoch, 0u) << "it was told";
  disk("a").epoch_error = Errc::ok;
  EXPECT_TRUE(rig.run(rig.nexus->online_child(Rig::uri("a"))).ok());
  EXPECT_TRUE(rig.run(rig.nexus->add_child(Rig::uri("b"), false)).ok());
  ASSERT_TRUE(rig.wait_for([&] { return rig.recorded_healthy("b"); }));
  EXPECT_TRUE(rig.same("a", "b"));
}

}  // namespace
}  // namespace holdfast::nexus
