// Operations on children: add, remove, offline, online, fault, resize. Each also repeated.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nexus/testing/rig.h"

namespace holdfast::nexus {
namespace {

using fake::Rig;
using fake::Started;

const std::string a = Rig::uri("a"), b = Rig::uri("b"), c = Rig::uri("c");

TEST(Children, AddedChildIsRebuiltAndThenHealthy) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a"}).ok());
  ASSERT_EQ(rig.write(0, 100, 300, 7), Errc::ok);
  EXPECT_TRUE(rig.run(rig.nexus->add_child(b, false)).ok());
  EXPECT_TRUE(rig.run(rig.nexus->add_child(b, false)).ok());
  EXPECT_EQ(rig.nexus->view().children.size(), 2u);
  EXPECT_FALSE(rig.recorded_healthy("b"));
  EXPECT_TRUE(rig.wait_for([&] { return rig.all_online(); }));
  EXPECT_TRUE(rig.same("a", "b"));
  EXPECT_TRUE(rig.recorded_healthy("b"));
}

TEST(Children, AddWithoutRebuildWaitsForStart) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a"}).ok());
  ASSERT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
  EXPECT_TRUE(rig.run(rig.nexus->add_child(b, true)).ok());
  rig.pass(1s);
  EXPECT_EQ(rig.state_of("b"), "degraded/out_of_sync");
  EXPECT_EQ(rig.nexus->view().rebuilds, 0u);
  EXPECT_EQ(rig.write(0, 64, 8, 2), Errc::ok);
  EXPECT_EQ(rig.disks["b"].at(64), std::byte{2});  // writes go there already
  EXPECT_TRUE(rig.run(rig.nexus->start_rebuild(b)).ok());
  EXPECT_TRUE(rig.wait_for([&] { return rig.all_online(); }));
  EXPECT_TRUE(rig.same("a", "b"));
}

TEST(Children, AddOfABadChildChangesNothing) {
  Rig rig;
  rig.add_disk("big", 8 * MiB, 4096);
  rig.add_disk("small", 6 * MiB);
  ASSERT_TRUE(rig.create({"a"}).ok());
  const auto record = rig.record();
  EXPECT_EQ(rig.run(rig.nexus->add_child(Rig::uri("big"), false)).code(), Errc::invalid_argument);
  EXPECT_EQ(rig.run(rig.nexus->add_child(Rig::uri("small"), false)).code(), Errc::invalid_argument);
  EXPECT_EQ(rig.run(rig.nexus->add_child(Rig::uri("none"), false)).code(), Errc::not_found);
  EXPECT_EQ(rig.run(rig.nexus->add_child("bdev:///a", false)).code(), Errc::invalid_argument);
  EXPECT_EQ(rig.nexus->view().children.size(), 1u);
  EXPECT_EQ(rig.registry->entries().size(), 1u);
  EXPECT_EQ(rig.record(), record);
}

TEST(Children, AddWithoutTheStoreIsUndone) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a"}).ok());
  rig.store.error = Errc::not_connected;
  EXPECT_FALSE(rig.run(rig.nexus->add_child(b, false)).ok());
  EXPECT_EQ(rig.nexus->view().children.size(), 1u);
  EXPECT_EQ(rig.disks["b"].channels, 0u);
  rig.store.error = Errc::ok;
  EXPECT_TRUE(rig.run(rig.nexus->add_child(b, false)).ok());
}

TEST(Children, RemovedChildLeavesTheRecord) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  EXPECT_TRUE(rig.run(rig.nexus->remove_child(a)).ok());
  EXPECT_TRUE(rig.run(rig.nexus->remove_child(a)).ok());
  EXPECT_EQ(rig.record().children.size(), 1u);
  EXPECT_EQ(rig.nexus->view().children.size(), 1u);
  EXPECT_EQ(rig.disks["a"].device, nullptr);
  EXPECT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
  EXPECT_EQ(rig.state(), NexusState::online);
  // Back again it is a new child: copied in full.
  EXPECT_TRUE(rig.run(rig.nexus->add_child(a, false)).ok());
  EXPECT_TRUE(rig.wait_for([&] { return rig.all_online(); }));
  EXPECT_FALSE(rig.nexus->rebuild_history().back().is_partial);
}

TEST(Children, RemoveUnderIoLosesNothing) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  for (auto* n : {"a", "b"}) rig.disks[n].write_delay = 2ms;
  std::vector<Started*> writes;
  for (int i = 0; i < 32; ++i) {
    writes.push_back(
        &rig.start_write(static_cast<unsigned>(i) % 2, static_cast<std::uint64_t>(i) * 8, 8, i + 1));
  }
  rig.pass(1ms);
  EXPECT_TRUE(rig.run(rig.nexus->remove_child(a)).ok());
  for (auto* w : writes) EXPECT_EQ(rig.finish(*w), Errc::ok);
  for (int i = 0; i < 32; ++i) EXPECT_EQ(rig.read(0, static_cast<std::uint64_t>(i) * 8, 8), i + 1);
}

TEST(Children, LastHealthyChildIsNeverTakenOut) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  ASSERT_TRUE(rig.run(rig.nexus->offline_child(a)).ok());
  for (int again = 0; again < 2; ++again) {
    EXPECT_EQ(rig.run(rig.nexus->remove_child(b)).code(), Errc::failed_precondition);
    EXPECT_EQ(rig.run(rig.nexus->offline_child(b)).code(), Errc::failed_precondition);
    EXPECT_EQ(rig.run(rig.nexus->fault_child(b, Fault::io_error)).code(), Errc::failed_precondition);
    EXPECT_EQ(rig.run(rig.nexus->fault_child(b, Fault::offline_permanent)).code(), Errc::failed_precondition);
  }
  ASSERT_TRUE(rig.run(rig.nexus->remove_child(a)).ok());
  EXPECT_EQ(rig.run(rig.nexus->remove_child(b)).code(), Errc::failed_precondition);
  EXPECT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
}

TEST(Children, UnknownChildIsNotFound) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  EXPECT_EQ(rig.run(rig.nexus->offline_child(c)).code(), Errc::not_found);
  EXPECT_EQ(rig.run(rig.nexus->online_child(c)).code(), Errc::not_found);
  EXPECT_EQ(rig.run(rig.nexus->fault_child(c, Fault::io_error)).code(), Errc::not_found);
  EXPECT_EQ(rig.run(rig.nexus->start_rebuild(c)).code(), Errc::not_found);
  EXPECT_EQ(rig.run(rig.nexus->stop_rebuild(a)).code(), Errc::not_found);
  EXPECT_EQ(rig.nexus->rebuild_stats(a).code(), Errc::not_found);
  EXPECT_EQ(rig.run(rig.nexus->start_rebuild(a)).code(), Errc::failed_precondition);
}

TEST(Children, StatesOfEachDeparture) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b", "c"}).ok());
  EXPECT_TRUE(rig.run(rig.nexus->offline_child(a)).ok());
  EXPECT_TRUE(rig.run(rig.nexus->offline_child(a)).ok());
  EXPECT_EQ(rig.state_of("a"), "degraded/by_client");
  EXPECT_TRUE(rig.child("a").has_io_log);
  EXPECT_TRUE(rig.run(rig.nexus->fault_child(b, Fault::io_error)).ok());
  EXPECT_EQ(rig.state_of("b"), "faulted/io_failure");
  EXPECT_TRUE(rig.run(rig.nexus->fault_child(b, Fault::offline_permanent)).ok());
  EXPECT_EQ(rig.state_of("b"), "faulted/by_client");
  EXPECT_EQ(rig.run(rig.nexus->online_child(b)).code(), Errc::failed_precondition);
  EXPECT_EQ(rig.state(), NexusState::degraded);
  EXPECT_FALSE(rig.recorded_healthy("a"));
}

TEST(Children, OnlineCopiesOnlyWhatChanged) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  ASSERT_EQ(rig.write(0, 0, 4096, 1), Errc::ok);
  rig.pass(11s);  // settled: what is written so far is durable
  ASSERT_TRUE(rig.run(rig.nexus->offline_child(a)).ok());
  ASSERT_EQ(rig.write(0, 130, 8, 2), Errc::ok);     // region 1
  ASSERT_EQ(rig.write(1, 1000, 100, 3), Errc::ok);  // regions 7 and 8
  ASSERT_TRUE(rig.run(rig.channels[0]->write_zeroes({Lba{2000}, 8}, Unmap::no, Durable::no)).ok());  // 15
  ASSERT_TRUE(rig.run(rig.channels[0]->deallocate({Lba{3000}, 8})).ok());                            // 23
  const auto before = rig.disks["a"].blocks_of('w') + rig.disks["a"].blocks_of('z');
  EXPECT_TRUE(rig.run(rig.nexus->online_child(a)).ok());
  EXPECT_TRUE(rig.run(rig.nexus->online_child(a)).ok());
  EXPECT_TRUE(rig.wait_for([&] { return rig.all_online(); }));
  EXPECT_TRUE(rig.same("a", "b"));
  EXPECT_EQ(rig.disks["a"].blocks_of('w') + rig.disks["a"].blocks_of('z') - before, 5u * 128);
  const RebuildRecord r = rig.nexus->rebuild_history().back();
  EXPECT_TRUE(r.is_partial);
  EXPECT_EQ(r.blocks_transferred, 5u * 128);
  EXPECT_EQ(r.state, RebuildState::completed);
  EXPECT_EQ(rig.disks["a"].opened, 2u);
}

TEST(Children, RepeatedAbsencesAddUp) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  rig.disks["a"].write_delay = 20ms;
  for (int round = 0; round < 4; ++round) {
    ASSERT_TRUE(rig.run(rig.nexus->offline_child(a)).ok());
    for (int i = 0; i < 4; ++i) {
      ASSERT_EQ(rig.write(0, static_cast<std::uint64_t>(round * 4 + i) * 128, 8, round * 4 + i + 1),
                Errc::ok);
    }
    ASSERT_TRUE(rig.run(rig.nexus->online_child(a)).ok());
    rig.pass(10ms);  // not finished: leaves again in the middle
  }
  EXPECT_TRUE(rig.wait_for([&] { return rig.all_online(); }));
  EXPECT_TRUE(rig.same("a", "b"));
}

TEST(Children, WritesThatFailedOnTheChildAreCopied) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  rig.disks["a"].write_error = Errc::io_error;
  ASSERT_EQ(rig.write(1, 500, 8, 9), Errc::ok);
  rig.disks["a"].write_error = Errc::ok;
  rig.pass(100ms);
  ASSERT_TRUE(rig.run(rig.nexus->online_child(a)).ok());
  EXPECT_TRUE(rig.wait_for([&] { return rig.all_online(); }));
  EXPECT_EQ(rig.disks["a"].at(500), std::byte{9});
  EXPECT_TRUE(rig.nexus->rebuild_history().back().is_partial);
}

// A child may lose what no flush covered when it dies: those regions are copied too.
TEST(Children, UnflushedRegionsCountAsMissed) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  ASSERT_EQ(rig.write(1, 500, 8, 9), Errc::ok);
  ASSERT_TRUE(rig.run(rig.nexus->fault_child(a, Fault::io_error)).ok());
  auto& lost = rig.disks["a"].bytes;
  std::fill(lost.begin() + data_offset_bytes + 500 * 512, lost.begin() + data_offset_bytes + 508 * 512,
            std::byte{0});
  ASSERT_TRUE(rig.run(rig.nexus->online_child(a)).ok());
  EXPECT_TRUE(rig.wait_for([&] { return rig.all_online(); }));
  EXPECT_TRUE(rig.same("a", "b"));
}

TEST(Children, SettlingFlushesWhileThereAreWritesOnly) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  rig.pass(60s);
  EXPECT_EQ(rig.disks["a"].count_of('f'), 0u);
  ASSERT_EQ(rig.write(1, 500, 8, 9), Errc::ok);
  rig.pass(60s);
  EXPECT_EQ(rig.disks["a"].count_of('f'), 1u);
  EXPECT_EQ(rig.disks["b"].count_of('f'), 1u);
}

// It cannot flush meanwhile.
TEST(Children, SettlingDoesNotForgetTheLastChildWhileItIsAway) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  ASSERT_TRUE(rig.run(rig.nexus->offline_child(b)).ok());
  ASSERT_EQ(rig.write(1, 500, 8, 9), Errc::ok);
  rig.disks["a"].write_error = Errc::not_connected;
  Started& w = rig.start_write(0, 0, 8, 1);
  rig.pass(500ms);
  rig.disks["a"].absent = true;
  ASSERT_EQ(rig.run(rig.nexus->online_child(a)).code(), Errc::not_found);
  rig.pass(20s);
  EXPECT_EQ(w.code(), Errc::not_connected);
  rig.disks["a"].absent = false;
  rig.disks["a"].write_error = Errc::ok;
  rig.disks["a"].hold_flushes = true;
  ASSERT_TRUE(rig.run(rig.nexus->online_child(a)).ok());
  ASSERT_TRUE(rig.run(rig.nexus->online_child(b)).ok());
  ASSERT_TRUE(rig.wait_for([&] { return rig.all_online(); }));
  ASSERT_TRUE(rig.run(rig.nexus->fault_child(a, Fault::io_error)).ok());
  auto& lost = rig.disks["a"].bytes;
  std::fill(lost.begin() + data_offset_bytes + 500 * 512, lost.begin() + data_offset_bytes + 508 * 512,
            std::byte{0});
  rig.disks["a"].hold_flushes = false;
  ASSERT_TRUE(rig.run(rig.nexus->online_child(a)).ok());
  EXPECT_TRUE(rig.wait_for([&] { return rig.all_online(); }));
  EXPECT_TRUE(rig.same("a", "b"));
}

// P1: a write of the old association that is applied late must not end up over the rebuilt data.
TEST(Children, ReturnWaitsForTheEndOfOldOperations) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  rig.disks["a"].hold_writes = true;
  rig.disks["a"].recalls = false;
  Started& stuck = rig.start_write(0, 0, 8, 1);
  rig.pass(3s);
  EXPECT_EQ(rig.state_of("a"), "unknown/timed_out");
  EXPECT_EQ(rig.run(rig.nexus->online_child(a)).code(), Errc::busy);
  EXPECT_EQ(rig.disks["a"].opened, 1u);
  rig.disks["a"].hold_writes = false;
  EXPECT_EQ(rig.finish(stuck), Errc::ok);
  rig.pass(10ms);
  ASSERT_EQ(rig.write(0, 0, 8, 2), Errc::ok);
  EXPECT_TRUE(rig.run(rig.nexus->online_child(a)).ok());
  EXPECT_TRUE(rig.wait_for([&] { return rig.all_online(); }));
  EXPECT_EQ(rig.disks["a"].under_way_at_open, 0u);
  EXPECT_EQ(rig.disks["a"].at(0), std::byte{2});
}

TEST(Children, OtherDeviceUnderTheSameUriIsRefused) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  ASSERT_TRUE(rig.run(rig.nexus->offline_child(a)).ok());
  rig.disks["a"].uuid = Uuid::from_name("other");
  EXPECT_EQ(rig.run(rig.nexus->online_child(a)).code(), Errc::invalid_argument);
  rig.disks["a"].uuid = Uuid::from_name("a");
  rig.disks["a"].absent = true;
  EXPECT_EQ(rig.run(rig.nexus->online_child(a)).code(), Errc::not_found);
  EXPECT_EQ(rig.state_of("a"), "degraded/by_client");
  rig.disks["a"].absent = false;
  EXPECT_TRUE(rig.run(rig.nexus->online_child(a)).ok());
}

TEST(Children, ResizeAsksTheChildrenFirst) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  const std::uint64_t before = rig.nexus->geometry().block_count;
  EXPECT_TRUE(rig.run(rig.nexus->resize(Rig::volume_bytes)).ok());
  EXPECT_EQ(rig.run(rig.nexus->resize(1 * MiB)).code(), Errc::invalid_argument);
  EXPECT_EQ(rig.run(rig.nexus->resize(3 * MiB + 1)).code(), Errc::invalid_argument);
  rig.disks["a"].grow(16 * MiB);
  const Status s = rig.run(rig.nexus->resize(10 * MiB));
  EXPECT_EQ(s.code(), Errc::failed_precondition);
  EXPECT_NE(s.error().message().find("fake:///b"), std::string::npos);
  EXPECT_EQ(rig.nexus->geometry().block_count, before);
  rig.disks["b"].grow(16 * MiB);
  EXPECT_TRUE(rig.run(rig.nexus->resize(10 * MiB)).ok());
  EXPECT_EQ(rig.nexus->geometry().block_count, 10 * MiB / 512);
  EXPECT_EQ(rig.write(1, 10 * MiB / 512 - 8, 8, 5), Errc::ok);
  EXPECT_EQ(rig.read(0, 10 * MiB / 512 - 8, 8), 5);
}

TEST(Children, ResizeWhileAChildIsAwayAndWhileItIsRebuilt) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b", "c"}).ok());
  for (auto* n : {"a", "b", "c"}) rig.disks[n].grow(16 * MiB);
  ASSERT_TRUE(rig.run(rig.nexus->offline_child(c)).ok());
  ASSERT_TRUE(rig.run(rig.nexus->offline_child(a)).ok());
  ASSERT_EQ(rig.write(0, 0, 4096, 3), Errc::ok);
  rig.disks["a"].write_delay = 20ms;
  ASSERT_TRUE(rig.run(rig.nexus->online_child(a)).ok());
  ASSERT_TRUE(rig.run(rig.nexus->resize(10 * MiB)).ok());
  ASSERT_EQ(rig.write(1, 20'000, 8, 4), Errc::ok);
  ASSERT_TRUE(rig.run(rig.nexus->online_child(c)).ok());
  EXPECT_TRUE(rig.wait_for([&] { return rig.all_online(); }));
  EXPECT_TRUE(rig.same("a", "b"));
  EXPECT_TRUE(rig.same("c", "b"));
}

TEST(Children, ResizeWhileAChildDoesNotAnswerChangesNothing) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  const std::uint64_t before = rig.nexus->geometry().block_count;
  for (auto* n : {"a", "b"}) rig.disks[n].grow(16 * MiB);
  for (const Errc silent : {Errc::timed_out, Errc::not_connected, Errc::io_error}) {
    rig.disks["b"].rescan_error = silent;
    const Status s = rig.run(rig.nexus->resize(10 * MiB));
    EXPECT_EQ(s.code(), Errc::not_connected);
    EXPECT_THAT(s.error().message(), ::testing::HasSubstr("child 'fake:///b"));
    EXPECT_EQ(rig.nexus->geometry().block_count, before);
  }
  rig.disks["b"].rescan_error = Errc::ok;
  EXPECT_TRUE(rig.run(rig.nexus->resize(10 * MiB)).ok());
  EXPECT_EQ(rig.nexus->geometry().block_count, 10 * MiB / 512);
}

TEST(Children, ResizeWhileAChildLeaves) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  for (auto* n : {"a", "b"}) rig.disks[n].grow(16 * MiB);
  rig.disks["b"].rescan_delay = 100ms;
  Started& resized = rig.start_operation(rig.nexus->resize(10 * MiB));
  rig.pass(10ms);
  rig.disks["b"].device->tell(DeviceEvent::failed);
  rig.pass(1s);
  EXPECT_EQ(resized.code(), Errc::ok);
  EXPECT_FALSE(rig.disks["b"].outlived);
  EXPECT_EQ(rig.nexus->geometry().block_count, 10 * MiB / 512);
  rig.disks["b"].rescan_delay = Nanos(0);
  EXPECT_TRUE(rig.run(rig.nexus->online_child(b)).ok());
  EXPECT_TRUE(rig.wait_for([&] { return rig.all_online(); }));
}

TEST(Children, ObserverHearsOfChanges) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  ASSERT_TRUE(rig.run(rig.nexus->offline_child(a)).ok());
  ASSERT_TRUE(rig.run(rig.nexus->online_child(a)).ok());
  EXPECT_TRUE(rig.wait_for([&] { return rig.all_online(); }));
  EXPECT_THAT(rig.observed.events,
              ::testing::IsSupersetOf({"nexus online", "nexus degraded", "fake:///a degraded/by_client",
                                       "rebuild fake:///a completed", "fake:///a online/none"}));
}

}  // namespace
}  // namespace holdfast::nexus
