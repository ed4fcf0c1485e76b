// After a crash of the nexus: what the children may differ in, nothing else, is copied, and read elsewhere meanwhile.
#include <gtest/gtest.h>

#include "nexus/testing/epochs_rig.h"

namespace holdfast::nexus {
namespace {

using fake::AfterCrash;
using fake::Epochs;
using fake::region_blocks;
using fake::Rig;
using fake::Started;

TEST_F(AfterCrash, OnlyWhatWasNotSealedIsCopied) {
  crash_in_the_middle();
  create();
  ASSERT_TRUE(online());
  EXPECT_TRUE(all_same());
  EXPECT_EQ(rig.read(0, 3 * region_blocks + 8, 16), 33);
  EXPECT_EQ(rig.read(0, 5 * region_blocks + 8, 16), 55) << "a's is the volume's";
  EXPECT_EQ(blocks_read_by_rebuilds(), 2 * 2 * region_blocks) << "regions 3 and 5, to two children";
  for (const RebuildRecord& r : rig.nexus->rebuild_history()) EXPECT_TRUE(r.is_partial);
}

TEST_F(AfterCrash, TheSourceAloneIsReadWhereOthersMayDiffer) {
  crash_in_the_middle();
  disk("b").write_delay = disk("c").write_delay = 10s;
  create();
  ASSERT_FALSE(rig.all_online());
  disk("a").read_delay = 1ms;  // others are the better choice where they may be read
  for (const char* name : {"a", "b", "c"}) disk(name).log.clear();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(rig.read(0, 5 * region_blocks + 8, 16), 55);
  EXPECT_EQ(disk("b").count_of('r') + disk("c").count_of('r'), 0u);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(rig.read(0, 6 * region_blocks + 8, 16), 7);
  EXPECT_GT(disk("b").count_of('r') + disk("c").count_of('r'), 0u);
  EXPECT_FALSE(rig.recorded_healthy("b")) << "a copy under way may be torn";
  disk("b").write_delay = disk("c").write_delay = Nanos(0);
  ASSERT_TRUE(online());
}

// Planted bug: the others take over while they lack what a host may have read.
TEST_F(AfterCrash, WithoutTheSourceIoWaits) {
  crash_in_the_middle();
  disk("b").write_delay = disk("c").write_delay = 10s;
  create();
  EXPECT_EQ(rig.read(0, 5 * region_blocks + 8, 16), 55);
  disk("a").read_error = disk("a").write_error = Errc::not_connected;
  Started& read = rig.start_read(0, 5 * region_blocks + 8, 16);
  rig.pass(5s);
  EXPECT_FALSE(read.done());
  disk("a").read_error = disk("a").write_error = Errc::ok;
  EXPECT_EQ(rig.finish(read), Errc::ok);
  EXPECT_EQ(read.memory[0], std::byte{55});
  ASSERT_TRUE(online());
  EXPECT_TRUE(all_same());
}

TEST_F(AfterCrash, ASecondCrashStartsFromTheSameSeal) {
  crash_in_the_middle();
  disk("b").write_delay = disk("c").write_delay = 10s;
  create();
  rig.start_write(0, 1 * region_blocks, 8, 11);
  rig.pass(11s);
  rig.crash();
  disk("b").write_delay = disk("c").write_delay = Nanos(0);
  create();
  ASSERT_TRUE(online());
  EXPECT_TRUE(all_same());
  EXPECT_LE(blocks_read_by_rebuilds(), 2 * 3 * region_blocks) << "regions 1, 3 and 5";
}

TEST_F(AfterCrash, AChildThatLeavesBeforeTheVolumeSettlesMissesOnlyWhatIsNotSealed) {
  crash_in_the_middle();
  create();
  ASSERT_TRUE(online());
  const std::uint64_t copied = blocks_read_by_rebuilds();
  EXPECT_TRUE(rig.run(rig.nexus->offline_child(Rig::uri("b"))).ok());
  write_region(2, 22);
  EXPECT_TRUE(rig.run(rig.nexus->online_child(Rig::uri("b"))).ok());
  ASSERT_TRUE(online());
  EXPECT_TRUE(all_same());
  EXPECT_LE(blocks_read_by_rebuilds() - copied, 3 * region_blocks);
}

// What the cores track of a child is everything until the volume has settled. That is not copied, whatever interrupts
// the copy of what may differ.
TEST_F(AfterCrash, ACopyThatFailedIsNotAFullOneTheNextTime) {
  crash_in_the_middle();
  disk("b").write_error = Errc::io_error;
  create();
  ASSERT_TRUE(rig.wait_for([&] { return rig.state_of("b") == "faulted/rebuild_failed"; }));
  disk("b").write_error = Errc::ok;
  EXPECT_TRUE(rig.run(rig.nexus->online_child(Rig::uri("b"))).ok());
  ASSERT_TRUE(online());
  EXPECT_TRUE(all_same());
  EXPECT_LE(blocks_read_by_rebuilds(), 2 * 2 * region_blocks) << "regions 3 and 5, to two children";
}

TEST_F(AfterCrash, ACopyThatWasStoppedIsNotAFullOneTheNextTime) {
  crash_in_the_middle();
  disk("b").write_delay = 10ms;
  disk("c").write_delay = 1s;  // when it joins the volume settles
  create();
  EXPECT_TRUE(rig.run(rig.nexus->stop_rebuild(Rig::uri("b"))).ok());
  disk("b").write_error = Errc::not_connected;
  write_region(1, 11);
  ASSERT_TRUE(rig.wait_for([&] { return rig.state_of("b") == "faulted/rebuild_failed"; }));
  disk("b").write_error = Errc::ok;
  EXPECT_TRUE(rig.run(rig.nexus->online_child(Rig::uri("b"))).ok());
  ASSERT_TRUE(online());
  EXPECT_TRUE(all_same());
  EXPECT_LE(blocks_read_by_rebuilds(), (2 + 2 + 3) * region_blocks) << "regions 3 and 5, then 1 as well";
}

TEST_F(AfterCrash, ACopyThatEndsAfterTheVolumeSettledIsNotAFullOneTheNextTime) {
  crash_in_the_middle();
  disk("b").hold_writes = true;
  disk("b").recalls = false;
  disk("c").write_delay = 1s;  // when it joins the volume settles
  create();
  ASSERT_TRUE(rig.wait_for([&] { return disk("b").under_way > 0; }));
  EXPECT_TRUE(rig.run(rig.nexus->offline_child(Rig::uri("b"))).ok());
  ASSERT_TRUE(rig.wait_for([&] { return rig.state_of("c") == "online/none"; }));
  settle();
  disk("b").hold_writes = false;
  rig.pass(1s);
  EXPECT_TRUE(rig.run(rig.nexus->online_child(Rig::uri("b"))).ok());
  ASSERT_TRUE(online());
  EXPECT_TRUE(all_same());
  EXPECT_LE(blocks_read_by_rebuilds(), (2 + 2 + 2) * region_blocks);
}

TEST_F(Epochs, ANewChildWhoseCopyFailedBeforeTheVolumeSettledGetsWhatIsAllocated) {
  create({"a", "b"});
  write_region(2, 1);
  rig.crash();
  create({"a"});
  disk("c").write_error = Errc::io_error;
  EXPECT_TRUE(rig.run(rig.nexus->add_child(Rig::uri("c"), false)).ok());
  ASSERT_TRUE(rig.wait_for([&] { return rig.state_of("c") == "faulted/rebuild_failed"; }));
  disk("c").write_error = Errc::ok;
  EXPECT_TRUE(rig.run(rig.nexus->online_child(Rig::uri("c"))).ok());
  ASSERT_TRUE(online());
  EXPECT_TRUE(rig.same("a", "c"));
  EXPECT_LE(rig.nexus->rebuild_history().back().blocks_transferred, region_blocks);
}

TEST(CatchingUp, AChildThatLeavesIsNotReadWithoutWhatWasAcknowledged) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Rig rig(2, seed);
    for (const char* name : {"a", "b"}) rig.add_disk(name, 16 * MiB).has_epochs = true;
    rig.options.child_latency_budget = 60s;
    rig.options.hold_timeout = 120s;
    ASSERT_TRUE(rig.create({"a", "b"}, 8 * MiB).ok());
    for (std::uint64_t r = 0; r < 8; ++r) {
      ASSERT_EQ(rig.write(0, r * region_blocks + 8, 16, static_cast<int>(r) + 1), Errc::ok);
    }
    rig.pass(25s);
    rig.disks["b"].hold_writes = true;
    rig.start_write(1, 5 * region_blocks + 8, 16, 55);
    rig.pass(1ms);
    rig.crash();
    rig.disks["b"].hold_writes = false;
    rig.disks["b"].write_delay = 10s;  // it stays behind in region 5
    ASSERT_TRUE(rig.create({"a", "b"}, 8 * MiB).ok());
    rig.disks["a"].read_delay = 1ms;
    for (int i = 0; i < 20; ++i) ASSERT_EQ(rig.read(1, 6 * region_blocks + 8, 16), 7);
    ASSERT_GT(rig.disks["b"].count_of('r'), 0u);
    const std::string before = rig.state_of("b");
    rig.start_operation(rig.nexus->offline_child(Rig::uri("b")));
    ASSERT_TRUE(rig.wait_for([&] { return rig.state_of("b") != before; }));
    ASSERT_EQ(rig.write(0, 6 * region_blocks + 8, 16, 66), Errc::ok);
    EXPECT_EQ(rig.read(1, 6 * region_blocks + 8, 16), 66) << seed;
  }
}

}  // namespace
}  // namespace holdfast::nexus
