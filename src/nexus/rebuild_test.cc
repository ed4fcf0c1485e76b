// Rebuilds: what they copy, whom they exclude, how they end.
#include <gtest/gtest.h>

#include "nexus/testing/rig.h"

namespace holdfast::nexus {
namespace {

using fake::Rig;
using fake::Started;

const std::string a = Rig::uri("a"), b = Rig::uri("b"), c = Rig::uri("c");

// a and b in sync with known content, c added and being rebuilt slowly.
struct Rebuild : ::testing::Test {
  Rig rig{2};
  void begin(std::vector<std::string> names = {"a", "b"}) {
    ASSERT_TRUE(rig.create(std::move(names)).ok());
    for (int i = 0; i < 32; ++i) {
      ASSERT_EQ(rig.write(0, static_cast<std::uint64_t>(i) * 128, 128, i + 1), Errc::ok);
    }
    rig.disks["c"].write_delay = 10ms;
    rig.options.rebuild.windows_in_flight = 2;
    ASSERT_TRUE(rig.run(rig.nexus->add_child(c, false)).ok());
  }
  bool online() {
    return rig.wait_for([&] { return rig.all_online(); });
  }
};

TEST_F(Rebuild, CopiesEverythingInParallelWindows) {
  begin();
  EXPECT_TRUE(online());
  EXPECT_TRUE(rig.same("a", "c"));
  const auto history = rig.nexus->rebuild_history();
  ASSERT_EQ(history.size(), 1u);
  const RebuildRecord& r = history[0];
  EXPECT_EQ(r.child_uri, c);
  EXPECT_EQ(r.source_uri, a);
  EXPECT_EQ(r.state, RebuildState::completed);
  EXPECT_EQ(r.blocks_total, 4096u);
  EXPECT_EQ(r.blocks_recovered, 4096u);
  EXPECT_EQ(r.blocks_transferred, 4096u);
  EXPECT_EQ(r.blocks_remaining, 0u);
  EXPECT_EQ(r.blocks_per_task, 256u);
  EXPECT_EQ(r.block_size, 512u);
  EXPECT_FALSE(r.is_partial);
  EXPECT_EQ(rig.run(rig.nexus->counters()).rebuilds_completed, 1u);
}

TEST_F(Rebuild, ShowsProgress) {
  begin();
  rig.pass(12ms);
  const auto stats = rig.nexus->rebuild_stats(c);
  ASSERT_TRUE(stats.ok());
  EXPECT_EQ(stats.value().state, RebuildState::rebuilding);
  EXPECT_GT(stats.value().progress_percent, 0u);
  EXPECT_LT(stats.value().progress_percent, 100u);
  EXPECT_GT(stats.value().tasks_active, 0u);
  EXPECT_EQ(stats.value().blocks_recovered + stats.value().blocks_remaining, 4096u);
  EXPECT_EQ(rig.nexus->view().rebuilds, 1u);
  EXPECT_EQ(rig.child("c").rebuild->blocks_total, 4096u);
}

// Planted bug: read from a child that is being rebuilt.
TEST_F(Rebuild, DestinationIsNeverRead) {
  begin();
  rig.disks["a"].read_delay = rig.disks["b"].read_delay = 1ms;
  while (rig.state_of("c") == "degraded/out_of_sync") {
    EXPECT_EQ(rig.disks["c"].count_of('r'), 0u);
    for (unsigned core : {0u, 1u}) EXPECT_EQ(rig.read(core, 31 * 128, 128), 32);
  }
}

// Planted bug: skip the range exclusion.
TEST(RebuildRace, HostWritesAndTheCopyNeverOverlap) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    Rig rig(2, seed);
    rig.options.rebuild.windows_in_flight = 3;
    ASSERT_TRUE(rig.create({"a", "b"}).ok());
    for (int i = 0; i < 8; ++i)
      ASSERT_EQ(rig.write(0, static_cast<std::uint64_t>(i) * 512, 512, 1), Errc::ok);
    rig.disks["a"].read_delay = rig.disks["b"].read_delay = 300us;
    rig.disks["c"].write_delay = 500us;
    ASSERT_TRUE(rig.run(rig.nexus->add_child(c, false)).ok());
    Prng random(seed);
    for (int i = 0; i < 60; ++i) {
      // Each core has its half: only writes of one core that overlap end alike everywhere.
      const auto core = static_cast<unsigned>(random.below(2));
      rig.start_write(core, core * 2048 + random.below(1980), 1 + random.below(64),
                      static_cast<int>(random.below(200)) + 2);
      rig.disks["c"].write_delay = Nanos(random.below(1'500'000));
      rig.disks["b"].write_delay = Nanos(random.below(800'000));
      rig.pass(Nanos(random.below(300'000)));
    }
    EXPECT_TRUE(rig.wait_for([&] { return rig.all_online(); })) << seed;
    rig.pass(1s);
    for (const auto& s : rig.started) EXPECT_EQ(s->code(), Errc::ok) << seed;
    EXPECT_TRUE(rig.same("a", "b")) << seed;
    EXPECT_TRUE(rig.same("a", "c")) << seed;
  }
}

TEST(RebuildRace, OneCoreEndsWithThreeEqualChildren) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    Rig rig(1, seed);
    ASSERT_TRUE(rig.create({"a", "b"}).ok());
    rig.disks["a"].read_delay = 300us;
    ASSERT_TRUE(rig.run(rig.nexus->add_child(c, false)).ok());
    Prng random(seed);
    for (int i = 0; i < 80; ++i) {
      rig.start_write(0, random.below(4000), 1 + random.below(64), static_cast<int>(random.below(250)) + 1);
      for (auto* n : {"a", "b", "c"}) rig.disks[n].write_delay = Nanos(random.below(900'000));
      rig.pass(Nanos(random.below(200'000)));
    }
    EXPECT_TRUE(rig.wait_for([&] { return rig.all_online(); })) << seed;
    rig.pass(1s);
    EXPECT_TRUE(rig.same("a", "b")) << seed;
    EXPECT_TRUE(rig.same("a", "c")) << seed;
  }
}

TEST_F(Rebuild, WritesOutsideTheWindowDoNotWait) {
  begin();
  rig.disks["a"].hold_reads = rig.disks["b"].hold_reads = true;
  rig.pass(25ms);
  rig.disks["c"].write_delay = Nanos(0);
  EXPECT_EQ(rig.write(1, 4000, 8, 99), Errc::ok);
  rig.disks["a"].hold_reads = rig.disks["b"].hold_reads = false;
  EXPECT_TRUE(online());
  EXPECT_TRUE(rig.same("a", "c"));
}

TEST_F(Rebuild, NotHealthyBeforeTheRecordSaysSo) {
  begin();
  rig.pass(30ms);
  rig.store.hang = true;
  rig.pass(2s);
  EXPECT_EQ(rig.state_of("c"), "degraded/out_of_sync");
  EXPECT_EQ(rig.disks["c"].count_of('r'), 0u);
  EXPECT_GT(rig.disks["c"].count_of('f'), 0u);  // flushed before
  // Now it may be healthy in the record: a write that it misses must be held.
  rig.disks["c"].write_delay = Nanos(0);
  rig.disks["c"].write_error = Errc::io_error;
  Started& w = rig.start_write(1, 0, 8, 77);
  rig.pass(1s);
  EXPECT_FALSE(w.done());
  rig.store.hang = false;
  EXPECT_EQ(rig.finish(w), Errc::ok);
  EXPECT_FALSE(rig.recorded_healthy("c"));
}

TEST_F(Rebuild, DestinationErrorFailsTheJobOnly) {
  begin();
  rig.pass(12ms);
  rig.disks["c"].write_error = Errc::io_error;
  EXPECT_EQ(rig.write(1, 0, 8, 50), Errc::ok);
  EXPECT_TRUE(rig.wait_for([&] { return !rig.nexus->rebuild_history().empty(); }));
  rig.pass(100ms);
  EXPECT_EQ(rig.state_of("c"), "faulted/rebuild_failed");
  EXPECT_EQ(rig.nexus->rebuild_history().back().state, RebuildState::failed);
  EXPECT_EQ(rig.state(), NexusState::degraded);
  EXPECT_EQ(rig.run(rig.nexus->counters()).held_writes, 0u);
}

TEST_F(Rebuild, DestinationWithoutRoomIsSaidToHaveNone) {
  begin();
  rig.pass(12ms);
  rig.disks["c"].write_error = Errc::out_of_space;
  EXPECT_TRUE(rig.wait_for([&] { return !rig.nexus->rebuild_history().empty(); }));
  rig.pass(100ms);
  EXPECT_EQ(rig.state_of("c"), "degraded/no_space");
  EXPECT_EQ(rig.nexus->rebuild_history().back().state, RebuildState::failed);
  EXPECT_EQ(rig.state(), NexusState::degraded);
}

TEST_F(Rebuild, FailedJobGoesOnWhereItStopped) {
  begin();
  rig.pass(25ms);
  rig.disks["c"].write_error = Errc::io_error;
  EXPECT_EQ(rig.write(1, 4000, 8, 50), Errc::ok);
  rig.pass(100ms);
  ASSERT_EQ(rig.state_of("c"), "faulted/rebuild_failed");
  rig.disks["c"].write_error = Errc::ok;
  EXPECT_EQ(rig.write(1, 0, 8, 51), Errc::ok);
  ASSERT_TRUE(rig.run(rig.nexus->online_child(c)).ok());
  EXPECT_TRUE(online());
  EXPECT_TRUE(rig.same("a", "c"));
  EXPECT_TRUE(rig.nexus->rebuild_history().back().is_partial);
}

TEST_F(Rebuild, SourceThatFailsIsReplacedByAnother) {
  begin();
  rig.pass(12ms);
  rig.disks["a"].read_error = Errc::not_connected;
  EXPECT_TRUE(
      rig.wait_for([&] { return rig.state_of("c") == "online/none" && rig.nexus->view().rebuilds == 0; }));
  EXPECT_TRUE(rig.same("b", "c"));
  EXPECT_EQ(rig.nexus->rebuild_history().back().source_uri, b);
  EXPECT_EQ(rig.state_of("a"), "faulted/io_failure");
}

TEST_F(Rebuild, SourcesBadBlockIsReadFromAnother) {
  begin();
  rig.disks["a"].bad_first = 3000;
  rig.disks["a"].bad_count = 8;
  EXPECT_TRUE(
      rig.wait_for([&] { return rig.state_of("c") == "online/none" && rig.nexus->view().rebuilds == 0; }));
  EXPECT_TRUE(rig.same("b", "c"));
  EXPECT_EQ(rig.state_of("a"), "online/none");
}

TEST_F(Rebuild, OnlySourceWithABadBlockFailsTheJob) {
  begin({"a"});
  rig.disks["a"].bad_first = 3000;
  rig.disks["a"].bad_count = 8;
  EXPECT_TRUE(rig.wait_for([&] { return rig.state_of("c") == "faulted/rebuild_failed"; }));
  EXPECT_EQ(rig.state_of("a"), "online/none");
}

TEST_F(Rebuild, OnlySourceAwayForAWhileDelaysTheJob) {
  begin({"a"});
  rig.pass(12ms);
  rig.disks["a"].read_error = rig.disks["a"].write_error = Errc::not_connected;
  rig.pass(2s);
  EXPECT_EQ(rig.nexus->view().rebuilds, 1u);
  rig.disks["a"].read_error = rig.disks["a"].write_error = Errc::ok;
  EXPECT_EQ(rig.write(0, 0, 8, 60), Errc::ok);
  EXPECT_TRUE(online());
  EXPECT_TRUE(rig.same("a", "c"));
}

TEST_F(Rebuild, LocalSourceIsPreferred) {
  begin({"nvmffake:///a", "b"});
  EXPECT_TRUE(online());
  EXPECT_EQ(rig.nexus->rebuild_history().back().source_uri, b);
}

// X fails a write W that the source map still shows in sync: the copy must not bring X's old bytes.
TEST(RebuildRace, SourceThatMissedAWriteIsNoSourceForIt) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    Rig rig(2, seed);
    ASSERT_TRUE(rig.create({"a", "b"}).ok());
    rig.disks["c"].write_delay = 200us;
    rig.disks["a"].read_delay = 100us;
    ASSERT_TRUE(rig.run(rig.nexus->add_child(c, false)).ok());
    Prng random(seed);
    rig.pass(Nanos(random.below(1'000'000)));
    rig.disks["a"].write_error = Errc::io_error;
    for (int i = 0; i < 16; ++i) {
      rig.start_write(static_cast<unsigned>(i) % 2, static_cast<std::uint64_t>(i) * 256, 128, i + 1);
      rig.pass(Nanos(random.below(50'000)));
    }
    EXPECT_TRUE(rig.wait_for([&] {
      return rig.state_of("c") == "online/none" && rig.nexus->view().rebuilds == 0;
    })) << seed;
    rig.pass(1s);
    EXPECT_TRUE(rig.same("b", "c")) << seed;
  }
}

TEST_F(Rebuild, PauseResumeStop) {
  begin();
  rig.pass(12ms);
  EXPECT_TRUE(rig.run(rig.nexus->pause_rebuild(c)).ok());
  EXPECT_TRUE(rig.run(rig.nexus->pause_rebuild(c)).ok());
  rig.pass(100ms);
  const auto paused = rig.nexus->rebuild_stats(c);
  EXPECT_EQ(paused.value().state, RebuildState::paused);
  EXPECT_EQ(paused.value().tasks_active, 0u);
  rig.pass(1s);
  EXPECT_EQ(rig.nexus->rebuild_stats(c).value().blocks_remaining, paused.value().blocks_remaining);
  EXPECT_TRUE(rig.run(rig.nexus->resume_rebuild(c)).ok());
  rig.pass(12ms);
  EXPECT_LT(rig.nexus->rebuild_stats(c).value().blocks_remaining, paused.value().blocks_remaining);
  EXPECT_TRUE(rig.run(rig.nexus->stop_rebuild(c)).ok());
  EXPECT_EQ(rig.run(rig.nexus->stop_rebuild(c)).code(), Errc::not_found);
  EXPECT_EQ(rig.state_of("c"), "degraded/out_of_sync");
  EXPECT_EQ(rig.nexus->rebuild_history().back().state, RebuildState::stopped);
  EXPECT_EQ(rig.write(0, 0, 8, 60), Errc::ok);
  EXPECT_TRUE(rig.run(rig.nexus->start_rebuild(c)).ok());
  EXPECT_TRUE(rig.run(rig.nexus->start_rebuild(c)).ok());
  EXPECT_TRUE(online());
  EXPECT_TRUE(rig.same("a", "c"));
}

TEST_F(Rebuild, SeveralDestinationsAtOnce) {
  begin();
  ASSERT_TRUE(rig.run(rig.nexus->add_child(Rig::uri("d"), false)).ok());
  EXPECT_EQ(rig.nexus->view().rebuilds, 2u);
  EXPECT_TRUE(online());
  EXPECT_TRUE(rig.same("a", "c"));
  EXPECT_TRUE(rig.same("a", "d"));
}

TEST_F(Rebuild, DestinationTakenOfflineStopsTheJob) {
  begin();
  rig.pass(12ms);
  EXPECT_TRUE(rig.run(rig.nexus->offline_child(c)).ok());
  EXPECT_EQ(rig.nexus->rebuild_history().back().state, RebuildState::stopped);
  EXPECT_EQ(rig.state_of("c"), "degraded/by_client");
  EXPECT_TRUE(rig.run(rig.nexus->online_child(c)).ok());
  EXPECT_TRUE(online());
  EXPECT_TRUE(rig.same("a", "c"));
}

TEST_F(Rebuild, RemovedDestinationEndsTheJob) {
  begin();
  rig.pass(12ms);
  EXPECT_TRUE(rig.run(rig.nexus->remove_child(c)).ok());
  EXPECT_EQ(rig.nexus->view().rebuilds, 0u);
  EXPECT_EQ(rig.state(), NexusState::online);
  EXPECT_EQ(rig.record().children.size(), 2u);
}

TEST_F(Rebuild, ShutdownInTheMiddleRecordsTheDestinationUnhealthy) {
  begin();
  rig.pass(12ms);
  EXPECT_TRUE(rig.run(rig.nexus->shutdown()).ok());
  EXPECT_FALSE(rig.recorded_healthy("c"));
  EXPECT_TRUE(rig.record().clean_shutdown);
}

TEST_F(Rebuild, ZeroesAreNotSent) {
  ASSERT_TRUE(rig.create({"a"}).ok());
  ASSERT_EQ(rig.write(0, 300, 8, 1), Errc::ok);
  std::fill(rig.disks["b"].bytes.begin() + data_offset_bytes, rig.disks["b"].bytes.end(), std::byte{0xaa});
  ASSERT_TRUE(rig.run(rig.nexus->add_child(b, false)).ok());
  EXPECT_TRUE(online());
  EXPECT_TRUE(rig.same("a", "b"));
  EXPECT_EQ(rig.disks["b"].blocks_of('w'), 256u);
  EXPECT_EQ(rig.disks["b"].blocks_of('z'), 4096u - 256u);
}

}  // namespace
}  // namespace holdfast::nexus
