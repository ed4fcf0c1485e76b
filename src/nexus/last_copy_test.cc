// The last in-sync child refuses writes or loses what it had not flushed, while others are being rebuilt from it.
#include <gtest/gtest.h>

#include "nexus/testing/rig.h"

namespace holdfast::nexus {
namespace {

using fake::Rig;
using fake::Started;

const std::string a = Rig::uri("a"), c = Rig::uri("c"), d = Rig::uri("d");

// a in sync with known content, c added and being rebuilt slowly.
struct LastCopy : ::testing::Test {
  Rig rig{2};
  void begin() {
    ASSERT_TRUE(rig.create({"a"}).ok());
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

// A write that the last in-sync child refuses is on another one, which is in sync before the issuer hears that the
// first one stays.
TEST_F(LastCopy, RefusesAWriteWhileAnotherJoins) {
  begin();
  ASSERT_TRUE(rig.run(rig.nexus->add_child(d, true)).ok());
  rig.store.hang = true;
  rig.store.hang_step = 1us;
  rig.pass(1s);
  rig.disks["c"].write_delay = Nanos(0);
  ASSERT_EQ(rig.nexus->view().rebuilds, 1u) << "c waits for the record";
  rig.disks["a"].write_error = rig.disks["d"].write_error = Errc::io_error;
  Started& w = rig.start_write(1, 0, 8, 60);
  // Of a it is known by then that it stays.
  ASSERT_TRUE(rig.wait_for([&] { return rig.state_of("d") != "degraded/out_of_sync"; }));
  rig.store.hang = false;
  rig.finish(w);
  rig.disks["a"].write_error = rig.disks["d"].write_error = Errc::ok;
  rig.pass(1s);
  EXPECT_FALSE(rig.recorded_healthy("a") && rig.recorded_healthy("c") && !rig.same("a", "c"));
  for (const auto& child : {a, c, d}) EXPECT_TRUE(rig.run(rig.nexus->online_child(child)).ok());
  EXPECT_TRUE(online());
  EXPECT_TRUE(rig.same("a", "c"));
}

// The source loses what it had not flushed. The destination has that from the host, in a window that was copied before;
// what the source has is what counts.
struct SourceLosesItsCache : LastCopy {
  std::vector<std::byte> flushed;
  void write_behind_the_copy() {
    begin();
    ASSERT_TRUE(rig.wait_for([&] { return rig.nexus->rebuild_stats(c).value().progress_percent > 50; }));
    ASSERT_TRUE(rig.run(rig.nexus->pause_rebuild(c)).ok());
    rig.pass(100ms);
    flushed = rig.disks["a"].bytes;
    ASSERT_EQ(rig.write(1, 0, 8, 60), Errc::ok);
    ASSERT_EQ(rig.disks["c"].at(0), std::byte{60});
  }
  void expect_equal_copies() {
    EXPECT_EQ(rig.state_of("a"), "online/none");
    rig.run(rig.nexus->resume_rebuild(c)).ignore("the job may have ended");
    EXPECT_TRUE(rig.run(rig.nexus->online_child(c)).ok());
    EXPECT_TRUE(online());
    EXPECT_TRUE(rig.same("a", "c"));
    EXPECT_EQ(rig.read(0, 0, 8), 1);
  }
};

TEST_F(SourceLosesItsCache, AndItsDeviceSaysSo) {
  write_behind_the_copy();
  rig.disks["a"].bytes = flushed;
  rig.disks["a"].device->tell(DeviceEvent::failed);
  rig.disks["a"].device->tell(DeviceEvent::recovered);
  rig.pass(100ms);
  expect_equal_copies();
}

TEST_F(SourceLosesItsCache, BeforeItIsOpenedAgain) {
  write_behind_the_copy();
  rig.disks["a"].write_error = Errc::not_connected;
  Started& w = rig.start_write(0, 3000, 8, 61);
  rig.pass(100ms);
  rig.disks["a"].bytes = flushed;
  ASSERT_TRUE(rig.run(rig.nexus->online_child(a)).ok());
  EXPECT_EQ(rig.disks["a"].opened, 2u);
  rig.disks["a"].write_error = Errc::ok;
  EXPECT_EQ(rig.finish(w), Errc::ok);
  expect_equal_copies();
}

// The source had it and lost it while the destination was still writing it.
TEST_F(SourceLosesItsCache, WithAWriteThatIsNotAcknowledgedYet) {
  write_behind_the_copy();
  rig.disks["c"].hold_writes = true;
  Started& w = rig.start_write(1, 64, 8, 61);
  rig.pass(100ms);
  ASSERT_EQ(rig.disks["a"].at(64), std::byte{61});
  ASSERT_FALSE(w.done());
  rig.disks["a"].bytes = flushed;
  rig.disks["a"].device->tell(DeviceEvent::failed);
  rig.disks["a"].device->tell(DeviceEvent::recovered);
  EXPECT_EQ(rig.finish(w), Errc::ok);
  EXPECT_EQ(rig.disks["a"].at(64), std::byte{61});
  rig.disks["c"].hold_writes = false;
  rig.pass(100ms);
  expect_equal_copies();
}

// The last copy has it, lost it, and the record still calls healthy one that has left without it.
TEST(LastCopyLosesItsCache, AWriteThatWaitsForTheRecordIsNotAcknowledged) {
  Rig rig{2};
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  const std::vector<std::byte> flushed = rig.disks["a"].bytes;
  rig.store.hang = true;
  rig.disks["b"].write_error = Errc::not_connected;
  Started& w = rig.start_write(1, 64, 8, 61);
  rig.pass(100ms);
  ASSERT_EQ(rig.disks["a"].at(64), std::byte{61});
  ASSERT_FALSE(w.done());
  rig.disks["a"].bytes = flushed;
  rig.disks["a"].device->tell(DeviceEvent::failed);
  rig.disks["a"].device->tell(DeviceEvent::recovered);
  rig.pass(100ms);
  rig.store.hang = false;
  EXPECT_EQ(rig.finish(w), Errc::not_connected) << "the host sends it again";
  EXPECT_EQ(rig.write(1, 64, 8, 61), Errc::ok);
  EXPECT_EQ(rig.disks["a"].at(64), std::byte{61});
}

// The source had it when it lost power, the destination ended it later. The settling that waited for it flushes what is
// left.
TEST_F(SourceLosesItsCache, WithAWriteThatEndsBeforeTheLossIsHeardOf) {
  rig.options.settle_interval = 2s;
  rig.options.child_latency_budget = 60s;
  write_behind_the_copy();
  rig.disks["c"].hold_writes = true;
  Started& w = rig.start_write(1, 64, 8, 61);
  rig.pass(3s);
  ASSERT_FALSE(w.done());
  rig.disks["a"].bytes = flushed;
  rig.disks["a"].hold_flushes = true;
  rig.disks["a"].flush_error = Errc::not_connected;
  rig.disks["c"].hold_writes = false;
  EXPECT_EQ(rig.finish(w), Errc::ok);
  const auto flushes = rig.disks["a"].count_of('f');
  ASSERT_TRUE(rig.wait_for([&] { return rig.disks["a"].count_of('f') > flushes; })) << "it settles";
  rig.disks["a"].device->tell(DeviceEvent::failed);
  rig.disks["a"].hold_flushes = false;
  rig.pass(10ms);
  rig.disks["a"].flush_error = Errc::ok;
  rig.disks["a"].device->tell(DeviceEvent::recovered);
  rig.pass(10s);
  expect_equal_copies();
}

// The store is away while another child is about to join. Whoever asks for the last one is not kept waiting for it, and
// keeps nobody else waiting.
TEST_F(LastCopy, IsToBeOpenedAgainWhileAnotherWaitsForTheRecord) {
  begin();
  rig.store.hang = true;
  rig.pass(1s);
  ASSERT_EQ(rig.nexus->view().rebuilds, 1u) << "c waits for the record";
  rig.disks["a"].write_error = Errc::not_connected;
  Started& w = rig.start_write(1, 0, 8, 60);
  rig.pass(100ms);
  Started& back = rig.start_operation(rig.nexus->online_child(a));
  rig.pass(20s);
  ASSERT_TRUE(back.done());
  EXPECT_EQ(back.code(), Errc::busy);
  rig.disks["a"].write_error = Errc::ok;
  rig.store.hang = false;
  rig.finish(w);
  EXPECT_TRUE(rig.run(rig.nexus->online_child(a)).ok());
  EXPECT_TRUE(rig.run(rig.nexus->online_child(c)).ok());
  EXPECT_TRUE(online());
  EXPECT_TRUE(rig.same("a", "c"));
}

// The last in-sync child has not got a write that one has which is about to join, and the nexus is shut down.
TEST_F(LastCopy, IsNotCalledEqualToAnotherAtACleanEnd) {
  begin();
  rig.store.hang = true;
  rig.pass(1s);
  ASSERT_EQ(rig.nexus->view().rebuilds, 1u) << "c waits for the record";
  rig.disks["a"].write_error = Errc::not_connected;  // its flushes go well
  Started& w = rig.start_write(1, 0, 8, 60);
  rig.pass(100ms);
  ASSERT_FALSE(w.done());
  ASSERT_EQ(rig.disks["c"].at(0), std::byte{60});
  ASSERT_EQ(rig.disks["a"].at(0), std::byte{1});
  Started& end = rig.start_operation(rig.nexus->shutdown());
  rig.pass(100ms);
  rig.store.hang = false;
  EXPECT_EQ(rig.finish(end), Errc::ok);
  EXPECT_EQ(rig.finish(w), Errc::not_connected);
  EXPECT_TRUE(rig.record().clean_shutdown);
  EXPECT_TRUE(rig.recorded_healthy("a"));
  EXPECT_FALSE(rig.recorded_healthy("c") && !rig.same("a", "c")) << "both healthy, and different";
}

}  // namespace
}  // namespace holdfast::nexus
