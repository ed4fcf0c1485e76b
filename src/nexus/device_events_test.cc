// What a child's device says of itself, at any time from when it was opened.
#include <gtest/gtest.h>

#include "nexus/testing/rig.h"

namespace holdfast::nexus {
namespace {

using fake::Rig;
using fake::Started;

const std::string a = Rig::uri("a"), c = Rig::uri("c");

// c is opened, and not in the lists yet.
struct WhileAChildIsOpened : ::testing::Test {
  Rig rig{2};
  Started* added = nullptr;
  void SetUp() override {
    for (const char* name : {"a", "b", "c"}) rig.disks[name].has_epochs = true;
    ASSERT_TRUE(rig.create({"a", "b"}).ok());
    ASSERT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
    rig.disks["c"].hold_epochs = true;
    added = &rig.start_operation(rig.nexus->add_child(c, false));
    rig.pass(100ms);
    ASSERT_FALSE(added->done());
  }
  void go_on() {
    rig.disks["c"].hold_epochs = false;
    EXPECT_EQ(rig.finish(*added), Errc::ok);
    rig.pass(1s);
  }
};

TEST_F(WhileAChildIsOpened, ItsDeviceIsRemoved) {
  rig.disks["c"].device->tell(DeviceEvent::removed);
  go_on();
  EXPECT_EQ(rig.state_of("c"), "degraded/closed");
  EXPECT_EQ(rig.disks["c"].device, nullptr);
}

TEST_F(WhileAChildIsOpened, ItsDeviceFails) {
  rig.disks["c"].device->tell(DeviceEvent::failed);
  go_on();
  EXPECT_EQ(rig.state_of("c"), "faulted/rebuild_failed");
}

TEST_F(WhileAChildIsOpened, ItsDeviceFailsAndComesBack) {
  rig.disks["c"].device->tell(DeviceEvent::failed);
  rig.disks["c"].device->tell(DeviceEvent::recovered);
  go_on();
  EXPECT_TRUE(rig.wait_for([&] { return rig.all_online(); }))
      << "nothing of ours was there that it could lose";
  EXPECT_TRUE(rig.same("a", "c"));
}

TEST_F(WhileAChildIsOpened, ItsDeviceFailsAndTheNexusEnds) {
  rig.disks["c"].device->tell(DeviceEvent::failed);
  rig.start_operation(rig.nexus->shutdown());
  rig.disks["c"].hold_epochs = false;
  rig.finish(*added);
  rig.close();
}

TEST(DeviceEvents, OfTheLastChildWhileItIsOpenedAgain) {
  Rig rig;
  rig.disks["a"].has_epochs = true;
  ASSERT_TRUE(rig.create({"a"}).ok());
  rig.disks["a"].write_error = Errc::not_connected;
  Started& w = rig.start_write(1, 0, 8, 1);
  rig.pass(100ms);
  rig.disks["a"].hold_epochs = true;
  Started& reopened = rig.start_operation(rig.nexus->online_child(a));
  rig.pass(100ms);
  ASSERT_EQ(rig.disks["a"].opened, 2u);
  rig.disks["a"].device->tell(DeviceEvent::failed);
  rig.disks["a"].hold_epochs = false;
  EXPECT_EQ(rig.finish(reopened), Errc::ok);
  rig.pass(100ms);
  EXPECT_EQ(rig.state(), NexusState::faulted);
  rig.disks["a"].write_error = Errc::ok;
  EXPECT_EQ(rig.finish(w), Errc::ok);
  rig.pass(100ms);
  EXPECT_EQ(rig.state_of("a"), "online/none");
}

Task<Status> made_of_a_and_b(Rig& rig) {
  const NexusParams params = rig.params({"a", "b"});
  auto made = co_await Nexus::create(*rig.registry, rig.store, params, rig.options, &rig.observed);
  if (!made.ok()) co_return made.error();
  rig.nexus = std::move(made).value();
  co_return Status();
}

// They are told when the children are in the lists, and the first closes the device that tells them.
TEST(DeviceEvents, OfAChildWhileTheNexusIsCreated) {
  Rig rig(1);
  for (const char* name : {"a", "b"}) rig.disks[name].has_epochs = true;
  rig.disks["a"].hold_epochs = true;
  Started& created = rig.start_operation(made_of_a_and_b(rig));
  rig.pass(100ms);
  ASSERT_FALSE(created.done());
  rig.disks["b"].device->tell(DeviceEvent::failed);
  rig.disks["b"].device->tell(DeviceEvent::resized);
  rig.disks["a"].hold_epochs = false;
  ASSERT_EQ(rig.finish(created), Errc::ok);
  rig.open_channels();
  rig.pass(100ms);
  EXPECT_EQ(rig.state_of("b"), "faulted/io_failure");
  EXPECT_EQ(rig.disks["b"].device, nullptr);
  EXPECT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
}

// A core uses the child before home knows that all cores do; what was written then is lost.
TEST(DeviceEvents, OfAChildThatACoreUsesAlready) {
  unsigned lost = 0;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    Rig rig(2, seed);
    ASSERT_TRUE(rig.create({"a", "b", "c"}).ok());
    ASSERT_TRUE(rig.run(rig.nexus->offline_child(c)).ok());
    ASSERT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
    rig.disks["c"].read_delay = rig.disks["a"].read_delay = rig.disks["b"].read_delay = 1ms;
    const auto written = rig.disks["c"].count_of('w');
    const std::vector<std::byte> before = rig.disks["c"].bytes;
    Started& back = rig.start_operation(rig.nexus->online_child(c));
    for (std::uint64_t block = 1024; rig.disks["c"].count_of('w') == written && block < 3000; block += 8) {
      rig.pass(Nanos(1000));
      rig.start_write(1, block, 8, 2);
    }
    ASSERT_GT(rig.disks["c"].count_of('w'), written);
    if (rig.disks["c"].bytes != before) ++lost;
    rig.disks["c"].bytes = before;
    rig.disks["c"].device->tell(DeviceEvent::failed);
    rig.disks["c"].device->tell(DeviceEvent::recovered);
    rig.finish(back);
    rig.pass(100ms);
    EXPECT_TRUE(rig.run(rig.nexus->online_child(c)).ok());
    ASSERT_TRUE(rig.wait_for([&] { return rig.all_online(); })) << seed;
    EXPECT_TRUE(rig.same("a", "c")) << seed;
  }
  EXPECT_GT(lost, 20u) << "else nothing is shown";
}

TEST(DeviceEvents, OfAChildThatLosesItsCacheWhileTheNexusEnds) {
  Rig rig;
  ASSERT_TRUE(rig.create({"b", "a", "c"}).ok());
  const std::vector<std::byte> flushed = rig.disks["a"].bytes;
  ASSERT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
  rig.disks["b"].hold_flushes = true;  // the end waits for it
  Started& end = rig.start_operation(rig.nexus->shutdown());
  rig.pass(1s);
  ASSERT_FALSE(end.done());
  rig.disks["a"].bytes = flushed;
  rig.disks["a"].device->tell(DeviceEvent::failed);
  rig.disks["a"].device->tell(DeviceEvent::recovered);
  EXPECT_EQ(rig.finish(end), Errc::ok);
  EXPECT_TRUE(rig.record().clean_shutdown);
  EXPECT_TRUE(rig.recorded_healthy("c"));
  EXPECT_FALSE(rig.recorded_healthy("a") && !rig.same("a", "c")) << "both healthy, and different";
}

TEST(DeviceEvents, OfAChildWhileTheCoresHearWhereItIsBehind) {
  for (std::int64_t us = 0; us < 100; ++us) {
    Rig rig(2, static_cast<std::uint64_t>(us) + 1);
    for (const char* name : {"a", "b"}) rig.disks[name].has_epochs = true;
    ASSERT_TRUE(rig.create({"a", "b"}).ok());
    ASSERT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
    rig.crash();
    const auto announced = rig.disks["b"].count_of('a');
    Started& created = rig.start_operation(made_of_a_and_b(rig));
    ASSERT_TRUE(rig.wait_for([&] { return rig.disks["b"].count_of('a') > announced; }));
    rig.pass(Nanos(us * 1'000));
    if (rig.disks["b"].device != nullptr) rig.disks["b"].device->tell(DeviceEvent::removed);
    ASSERT_EQ(rig.finish(created), Errc::ok) << us;
    rig.open_channels();
    EXPECT_EQ(rig.read(0, 0, 8), 1) << us;
  }
}

TEST(DeviceEvents, ThatTheLastChildRecoversWhileItIsClosedToBeOpenedAgain) {
  unsigned failed = 0;
  for (std::int64_t us = 0; us < 100; ++us) {
    Rig rig(2, static_cast<std::uint64_t>(us) + 1);
    ASSERT_TRUE(rig.create({"a"}).ok());
    rig.disks["a"].write_error = Errc::not_connected;
    Started& w = rig.start_write(1, 0, 8, 1);
    rig.pass(100ms);
    ASSERT_EQ(rig.state(), NexusState::faulted);
    rig.disks["a"].absent = true;  // it will not be there when it is opened
    Started& reopened = rig.start_operation(rig.nexus->online_child(a));
    rig.pass(Nanos(us * 1'000));
    if (rig.disks["a"].device != nullptr) rig.disks["a"].device->tell(DeviceEvent::recovered);
    if (rig.finish(reopened) != Errc::ok) {
      ++failed;
      EXPECT_EQ(rig.state(), NexusState::faulted) << us;
    }
    rig.disks["a"].absent = false;
    rig.disks["a"].write_error = Errc::ok;
    EXPECT_TRUE(rig.run(rig.nexus->online_child(a)).ok()) << us;
    EXPECT_EQ(rig.finish(w), Errc::ok) << us;
  }
  EXPECT_GT(failed, 0u) << "else nothing is shown";
}

}  // namespace
}  // namespace holdfast::nexus
