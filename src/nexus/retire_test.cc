// Children that fail: held writes, membership, the last in-sync child, slow children.
#include <gtest/gtest.h>

#include "nexus/testing/rig.h"

namespace holdfast::nexus {
namespace {

using fake::Rig;
using fake::Started;

// Planted bug: acknowledge before the membership change.
TEST(Retire, FailedWriteIsHeldUntilTheRecordIsChanged) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  rig.store.hang = true;
  rig.disks["a"].write_error = Errc::io_error;
  Started& w = rig.start_write(0, 0, 8, 1);
  rig.pass(1s);
  EXPECT_FALSE(w.done());
  EXPECT_EQ(rig.run(rig.nexus->counters()).held_writes_now, 1u);
  EXPECT_TRUE(rig.nexus->view().membership_pending);
  rig.store.hang = false;
  EXPECT_EQ(rig.finish(w), Errc::ok);
  EXPECT_FALSE(rig.recorded_healthy("a"));
  EXPECT_TRUE(rig.recorded_healthy("b"));
  EXPECT_EQ(rig.state_of("a"), "faulted/io_failure");
  EXPECT_TRUE(rig.child("a").fault_timestamp.has_value());
}

// A write that began after the child left misses it too, and the record still calls the child healthy.
TEST(Retire, LaterWritesAreHeldAsWell) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  rig.store.hang = true;
  rig.disks["a"].write_error = Errc::io_error;
  rig.start_write(0, 0, 8, 1);
  rig.pass(10ms);
  Started& later = rig.start_write(1, 64, 8, 2);
  Started& flush = rig.start_flush(1);
  rig.pass(1s);
  EXPECT_FALSE(later.done());
  EXPECT_FALSE(flush.done());
  rig.store.hang = false;
  EXPECT_EQ(rig.finish(later), Errc::ok);
  EXPECT_EQ(rig.finish(flush), Errc::ok);
}

TEST(Retire, NothingElseWaits) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b", "c"}).ok());
  rig.disks["b"].write_delay = 50ms;
  Started& complete = rig.start_write(1, 64, 8, 2);  // on all three before the others fail
  rig.pass(20ms);
  rig.store.hang = true;
  rig.disks["a"].write_error = Errc::io_error;
  Started& held = rig.start_write(0, 0, 8, 1);
  rig.pass(1s);
  EXPECT_EQ(complete.code(), Errc::ok);
  EXPECT_FALSE(held.done());
  EXPECT_EQ(rig.read(0, 64, 8), 2);
  EXPECT_EQ(rig.read(1, 64, 8), 2);
  rig.store.hang = false;
  EXPECT_EQ(rig.finish(held), Errc::ok);
}

TEST(Retire, ReadsLeaveAtOnceOnEveryCore) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  rig.store.hang = true;
  rig.disks["a"].write_error = Errc::io_error;
  rig.start_write(0, 0, 8, 1);
  rig.pass(1ms);
  const auto before = rig.disks["a"].count_of('r');
  for (int i = 0; i < 10; ++i) rig.read(static_cast<unsigned>(i) % 2, 64, 8);
  EXPECT_EQ(rig.disks["a"].count_of('r'), before);
  rig.store.hang = false;
}

TEST(Retire, StoreAwayHoldsAndRetriesUntilItIsBack) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  rig.store.error = Errc::not_connected;
  rig.disks["a"].write_error = Errc::io_error;
  Started& w = rig.start_write(0, 0, 8, 1);
  rig.pass(3s);
  EXPECT_FALSE(w.done());
  EXPECT_EQ(rig.state(), NexusState::degraded);
  rig.store.error = Errc::ok;
  EXPECT_EQ(rig.finish(w), Errc::ok);
  EXPECT_GT(rig.run(rig.nexus->counters()).membership_retries, 2u);
}

TEST(Retire, HoldTimeoutGivesTheRetryableError) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  rig.store.error = Errc::timed_out;
  rig.disks["a"].write_error = Errc::io_error;
  const Nanos began = rig.world.now();
  EXPECT_EQ(rig.write(0, 0, 8, 1), Errc::not_connected);
  EXPECT_GE(rig.world.now() - began, Nanos(5s));
  EXPECT_LT(rig.world.now() - began, Nanos(6s));
  EXPECT_EQ(rig.read(0, 0, 8), 1);  // the nexus goes on
  rig.store.error = Errc::ok;
  EXPECT_EQ(rig.write(0, 0, 8, 2), Errc::ok);
}

TEST(Retire, LostSwapFencesTheNexus) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  ASSERT_TRUE(rig.run(rig.store.steal("key")).ok());
  rig.disks["a"].write_error = Errc::io_error;
  EXPECT_EQ(rig.write(0, 0, 8, 1), Errc::fenced);
  for (unsigned core : {0u, 1u}) {
    EXPECT_EQ(rig.write(core, 0, 8, 1), Errc::fenced);
    EXPECT_EQ(rig.finish(rig.start_read(core, 0, 8)), Errc::fenced);
    EXPECT_EQ(rig.finish(rig.start_flush(core)), Errc::fenced);
  }
  EXPECT_TRUE(rig.nexus->view().fenced);
  EXPECT_EQ(rig.state(), NexusState::faulted);
  EXPECT_EQ(rig.run(rig.nexus->add_child(Rig::uri("c"), false)).code(), Errc::fenced);
  rig.close();
  EXPECT_EQ(rig.record().owner, Uuid::from_name("somebody else"));
}

TEST(Retire, WriteUnderWayWhileFencedIsNotAcknowledged) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b", "c"}).ok());
  ASSERT_TRUE(rig.run(rig.store.steal("key")).ok());
  rig.disks["c"].write_delay = 500ms;
  Started& slow = rig.start_write(1, 128, 8, 1);  // will succeed everywhere
  rig.pass(10ms);
  rig.disks["a"].read_error = Errc::not_connected;
  for (int i = 0; i < 4; ++i) rig.start_read(0, 0, 8);
  EXPECT_EQ(rig.finish(slow), Errc::fenced);
}

TEST(Retire, SeveralChildrenAtOnce) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b", "c"}).ok());
  rig.disks["a"].write_error = Errc::io_error;
  rig.disks["c"].write_error = Errc::timed_out;
  EXPECT_EQ(rig.write(1, 0, 8, 1), Errc::ok);
  EXPECT_EQ(rig.state_of("a"), "faulted/io_failure");
  EXPECT_EQ(rig.state_of("c"), "faulted/timed_out");
  EXPECT_FALSE(rig.recorded_healthy("a"));
  EXPECT_FALSE(rig.recorded_healthy("c"));
  EXPECT_TRUE(rig.recorded_healthy("b"));
}

TEST(Retire, ChildThatFailsDuringTheSwapOfAnother) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b", "c"}).ok());
  rig.store.hang = true;
  rig.disks["a"].write_error = Errc::io_error;
  Started& first = rig.start_write(0, 0, 8, 1);
  rig.pass(100ms);
  rig.disks["b"].write_error = Errc::io_error;
  Started& second = rig.start_write(1, 64, 8, 2);
  rig.pass(100ms);
  rig.store.hang = false;
  EXPECT_EQ(rig.finish(first), Errc::ok);
  EXPECT_EQ(rig.finish(second), Errc::ok);
  EXPECT_FALSE(rig.recorded_healthy("a"));
  EXPECT_FALSE(rig.recorded_healthy("b"));
  EXPECT_TRUE(rig.recorded_healthy("c"));
}

// Each of two writes is on one child only: whichever child stays must get the other write again.
TEST(Retire, WritesThatFailOnDifferentChildrenAllReachTheOneThatStays) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    Rig rig(2, seed);
    ASSERT_TRUE(rig.create({"a", "b"}).ok());
    rig.disks["a"].write_error = Errc::not_connected;
    rig.disks["b"].write_delay = 1ms;
    Started& x = rig.start_write(0, 0, 8, 1);
    rig.pass(Nanos(static_cast<std::int64_t>(seed % 4) * 1'000));
    rig.disks["b"].write_error = Errc::not_connected;
    Started& y = rig.start_write(1, 64, 8, 2);
    rig.pass(2ms);
    rig.disks["a"].write_error = Errc::ok;
    rig.disks["b"].write_error = Errc::ok;
    EXPECT_EQ(rig.finish(x), Errc::ok) << seed;
    EXPECT_EQ(rig.finish(y), Errc::ok) << seed;
    const Record r = rig.record();
    for (const char* n : {"a", "b"}) {
      if (!rig.recorded_healthy(n)) continue;
      EXPECT_EQ(rig.disks[n].at(0), std::byte{1}) << seed << n;
      EXPECT_EQ(rig.disks[n].at(64), std::byte{2}) << seed << n;
    }
  }
}

TEST(Retire, LastInSyncChildStaysAndItsIoIsHeldUntilItAnswers) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  rig.disks["a"].write_error = Errc::not_connected;
  ASSERT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
  rig.disks["b"].write_error = Errc::not_connected;
  rig.disks["b"].read_error = Errc::not_connected;
  Started& w = rig.start_write(1, 64, 8, 2);
  Started& r = rig.start_read(0, 0, 8);
  rig.pass(2s);
  EXPECT_FALSE(w.done());
  EXPECT_FALSE(r.done());
  EXPECT_EQ(rig.state(), NexusState::faulted);
  EXPECT_EQ(rig.state_of("b"), "faulted/io_failure");
  EXPECT_TRUE(rig.recorded_healthy("b"));
  rig.disks["b"].write_error = Errc::ok;
  rig.disks["b"].read_error = Errc::ok;
  EXPECT_EQ(rig.finish(w), Errc::ok);
  EXPECT_EQ(rig.finish(r), Errc::ok);
  rig.pass(10ms);
  EXPECT_EQ(rig.state_of("b"), "online/none");
  EXPECT_EQ(rig.state(), NexusState::degraded);
}

TEST(Retire, LastInSyncChildAwayTooLongGivesTheRetryableError) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a"}).ok());
  rig.disks["a"].write_error = Errc::timed_out;
  EXPECT_EQ(rig.write(0, 0, 8, 1), Errc::not_connected);
  EXPECT_TRUE(rig.recorded_healthy("a"));
  EXPECT_EQ(rig.run(rig.nexus->counters()).hold_timeouts, 1u);
}

TEST(Retire, LastInSyncChildIsReopenedByOnline) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a"}).ok());
  ASSERT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
  rig.disks["a"].write_error = Errc::not_connected;
  Started& w = rig.start_write(1, 64, 8, 2);
  rig.pass(500ms);
  rig.disks["a"].absent = true;
  EXPECT_EQ(rig.run(rig.nexus->online_child(Rig::uri("a"))).code(), Errc::not_found);
  EXPECT_FALSE(w.done());
  rig.disks["a"].absent = false;
  rig.disks["a"].write_error = Errc::ok;
  EXPECT_TRUE(rig.run(rig.nexus->online_child(Rig::uri("a"))).ok());
  EXPECT_EQ(rig.finish(w), Errc::ok);
  EXPECT_EQ(rig.read(0, 0, 8), 1);
  EXPECT_EQ(rig.disks["a"].opened, 2u);
  EXPECT_EQ(rig.state(), NexusState::online);
}

TEST(Retire, SlowChildIsGivenUpWhenItsPeersHaveAnswered) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  rig.disks["a"].hold_writes = true;
  const Nanos began = rig.world.now();
  EXPECT_EQ(rig.write(1, 0, 8, 1), Errc::ok);
  EXPECT_GE(rig.world.now() - began, Nanos(1s));
  EXPECT_LT(rig.world.now() - began, Nanos(1300ms));
  rig.pass(10ms);
  EXPECT_EQ(rig.state_of("a"), "faulted/timed_out");
  EXPECT_FALSE(rig.recorded_healthy("a"));
  EXPECT_EQ(rig.write(1, 0, 8, 2), Errc::ok);
  EXPECT_LT(rig.world.now() - began, Nanos(1400ms));
}

// A disk cannot take a write back: the buffer stays in its hands, so that write waits, and no other.
TEST(Retire, WriteAtAChildThatCannotRecallKeepsItsBuffer) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  rig.disks["a"].hold_writes = true;
  rig.disks["a"].recalls = false;
  Started& stuck = rig.start_write(0, 0, 8, 1);
  rig.pass(3s);
  EXPECT_FALSE(stuck.done());
  EXPECT_EQ(rig.write(1, 64, 8, 2), Errc::ok);
  EXPECT_EQ(rig.read(1, 64, 8), 2);
  EXPECT_FALSE(rig.recorded_healthy("a"));
  rig.disks["a"].hold_writes = false;
  EXPECT_EQ(rig.finish(stuck), Errc::ok);
}

TEST(Retire, AllChildrenSlowIsNobodysFault) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  rig.disks["a"].write_delay = rig.disks["b"].write_delay = 4s;
  EXPECT_EQ(rig.write(1, 0, 8, 1), Errc::ok);
  EXPECT_EQ(rig.state(), NexusState::online);
}

TEST(Retire, NoSpaceDegradesTheChildAndIoGoesOn) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  rig.disks["b"].write_error = Errc::out_of_space;
  EXPECT_EQ(rig.write(1, 0, 8, 1), Errc::ok);
  EXPECT_EQ(rig.state_of("b"), "degraded/no_space");
}

TEST(Retire, FailedFlushRetires) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  rig.disks["a"].flush_error = Errc::io_error;
  EXPECT_EQ(rig.finish(rig.start_flush(1)), Errc::ok);
  EXPECT_EQ(rig.state_of("a"), "faulted/io_failure");
}

TEST(Retire, DeviceEventsTakeTheChildOut) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b", "c"}).ok());
  rig.disks["a"].device->tell(DeviceEvent::removed);
  rig.disks["b"].device->tell(DeviceEvent::failed);
  rig.pass(100ms);
  EXPECT_EQ(rig.state_of("a"), "degraded/closed");
  EXPECT_EQ(rig.state_of("b"), "faulted/io_failure");
  EXPECT_EQ(rig.disks["a"].device, nullptr);
  rig.disks["c"].device->tell(DeviceEvent::failed);
  rig.pass(100ms);
  EXPECT_TRUE(rig.recorded_healthy("c"));
  EXPECT_EQ(rig.state(), NexusState::faulted);
  EXPECT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
  rig.pass(100ms);
  EXPECT_EQ(rig.state_of("c"), "online/none");
}

TEST(Retire, HealingReopensWhatFailed) {
  Rig rig;
  rig.options.reopen_interval = 500ms;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  rig.disks["a"].write_error = Errc::not_connected;
  ASSERT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
  rig.pass(2s);
  EXPECT_EQ(rig.state(), NexusState::degraded);
  rig.disks["a"].write_error = Errc::ok;
  EXPECT_TRUE(rig.wait_for([&] { return rig.all_online(); }));
  EXPECT_TRUE(rig.same("a", "b"));
}

TEST(Retire, ClientsChoiceIsNotHealed) {
  Rig rig;
  rig.options.reopen_interval = 100ms;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  ASSERT_TRUE(rig.run(rig.nexus->offline_child(Rig::uri("a"))).ok());
  rig.pass(5s);
  EXPECT_EQ(rig.state_of("a"), "degraded/by_client");
}

TEST(Retire, AFlushOfOursThatFailedAtTheLastChildIsToldToTheHost) {
  Rig rig;
  rig.options.settle_interval = 1s;
  ASSERT_TRUE(rig.create({"a"}).ok());
  ASSERT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
  rig.disks["a"].flush_error = Errc::io_error;
  rig.pass(1500ms);
  ASSERT_EQ(rig.disks["a"].count_of('f'), 1u);
  rig.disks["a"].flush_error = Errc::ok;
  EXPECT_EQ(rig.finish(rig.start_flush(0)), Errc::io_error);
  EXPECT_EQ(rig.finish(rig.start_flush(0)), Errc::ok);
}

// Once b is in sync with it, a loses what its failed flush dropped.
void expect_copied_back(Rig& rig, const std::vector<std::byte>& before) {
  ASSERT_TRUE(rig.run(rig.nexus->add_child(Rig::uri("b"), false)).ok());
  ASSERT_TRUE(rig.wait_for([&] { return rig.all_online(); }));
  rig.disks["a"].bytes = before;  // power
  rig.disks["a"].device->tell(DeviceEvent::failed);
  rig.disks["a"].device->tell(DeviceEvent::recovered);
  rig.pass(10s);
  ASSERT_TRUE(rig.wait_for([&] { return rig.all_online(); }));
  EXPECT_TRUE(rig.same("a", "b"));
}

TEST(Retire, WhatAFailedFlushOfTheLastChildLostIsCopiedBack) {
  Rig rig;
  rig.options.settle_interval = 1s;
  rig.options.reopen_interval = 100ms;
  ASSERT_TRUE(rig.create({"a"}).ok());
  const std::vector<std::byte> before = rig.disks["a"].bytes;
  ASSERT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
  rig.disks["a"].flush_error = Errc::io_error;
  rig.pass(1500ms);
  rig.disks["a"].flush_error = Errc::ok;
  rig.pass(3s);
  expect_copied_back(rig, before);
}

TEST(Retire, WhatAHostsFailedFlushOfTheLastChildLostIsCopiedBack) {
  Rig rig;
  rig.options.settle_interval = 1s;
  rig.options.reopen_interval = 100ms;
  ASSERT_TRUE(rig.create({"a"}).ok());
  const std::vector<std::byte> before = rig.disks["a"].bytes;
  ASSERT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
  rig.disks["a"].flush_error = Errc::io_error;
  ASSERT_EQ(rig.finish(rig.start_flush(0)), Errc::io_error);
  rig.disks["a"].flush_error = Errc::ok;
  rig.pass(2500ms);  // ours succeeds, twice
  expect_copied_back(rig, before);
}

TEST(Retire, ACleanEndDoesNotMakeAFailedFlushGood) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a"}).ok());
  const std::vector<std::byte> before = rig.disks["a"].bytes;
  ASSERT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
  rig.disks["a"].flush_error = Errc::io_error;
  rig.pass(11s);
  ASSERT_EQ(rig.disks["a"].count_of('f'), 1u);
  rig.disks["a"].flush_error = Errc::ok;
  ASSERT_TRUE(rig.run(rig.nexus->add_child(Rig::uri("b"), false)).ok());
  ASSERT_TRUE(rig.wait_for([&] { return rig.all_online(); }, 5s));
  EXPECT_TRUE(rig.run(rig.nexus->shutdown()).ok());
  rig.disks["a"].bytes = before;  // power
  EXPECT_TRUE(rig.recorded_healthy("b"));
  EXPECT_FALSE(rig.recorded_healthy("a") && !rig.same("a", "b"));
}

TEST(Retire, AFlushOfOursThatFailedIsToldToTheHostOnce) {
  Rig rig;
  rig.options.settle_interval = 1s;
  ASSERT_TRUE(rig.create({"a"}).ok());
  ASSERT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
  rig.disks["a"].flush_error = Errc::io_error;
  rig.pass(1500ms);
  rig.disks["a"].flush_error = Errc::ok;
  EXPECT_EQ(rig.finish(rig.start_flush(0)), Errc::io_error);
  rig.pass(10ms);
  EXPECT_EQ(rig.finish(rig.start_flush(1)), Errc::ok);
}

TEST(Retire, ADurableWriteThatFailedAtTheLastChildCountsAsAFlushThatDid) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a"}).ok());
  ASSERT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
  rig.disks["a"].write_error = Errc::io_error;
  const BlockRange there{Lba{64}, 8};
  EXPECT_EQ(rig.run(rig.channels[0]->write_zeroes(there, Unmap::no, Durable::yes)).code(), Errc::io_error);
  rig.disks["a"].write_error = Errc::ok;
  rig.pass(10ms);
  EXPECT_EQ(rig.finish(rig.start_flush(1)), Errc::io_error);
  rig.pass(10ms);
  EXPECT_EQ(rig.finish(rig.start_flush(0)), Errc::ok);
}

TEST(Retire, ADurableWriteThatFoundNoRoomAtTheLastChildIsNoFlushThatFailed) {
  Rig rig;
  rig.options.settle_interval = 1s;
  ASSERT_TRUE(rig.create({"a"}).ok());
  ASSERT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
  rig.disks["a"].write_error = Errc::out_of_space;
  const BlockRange there{Lba{64}, 8};
  EXPECT_EQ(rig.run(rig.channels[0]->write_zeroes(there, Unmap::no, Durable::yes)).code(),
            Errc::out_of_space);
  rig.disks["a"].write_error = Errc::ok;
  rig.pass(10ms);
  EXPECT_EQ(rig.finish(rig.start_flush(1)), Errc::ok);
  ASSERT_TRUE(rig.run(rig.nexus->add_child(Rig::uri("b"), false)).ok());
  ASSERT_TRUE(rig.wait_for([&] { return rig.all_online(); }));
  rig.pass(3s);
  EXPECT_EQ(rig.state_of("a"), "online/none");
}

TEST(Retire, AChildThatIsBeingAttachedWhileTheVolumeSettlesStays) {
  for (unsigned i = 0; i < 100; ++i) {
    Rig rig(2, i + 1);
    rig.options.settle_interval = 1s;
    rig.disks["a"].can.volatile_cache = false;  // its flush ends at once
    ASSERT_TRUE(rig.create({"a"}).ok());
    ASSERT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
    rig.disks["b"].hold_flushes = true;
    rig.pass(1s - 80us + i * 1us);
    Started& added = rig.start_operation(rig.nexus->add_child(Rig::uri("b"), true));
    rig.pass(5ms);
    rig.disks["b"].hold_flushes = false;
    EXPECT_EQ(rig.finish(added), Errc::ok);
    rig.pass(100ms);
    EXPECT_NE(rig.state_of("b"), "faulted/rebuild_failed") << i;
  }
}

}  // namespace
}  // namespace holdfast::nexus
