// Snapshots of the children: one moment for all, and none of a device that has gone.
#include <gtest/gtest.h>

#include "nexus/testing/rig.h"

namespace holdfast::nexus {
namespace {

using fake::Rig;
using fake::Started;

const std::string a = Rig::uri("a"), b = Rig::uri("b");

struct Snapshots : ::testing::Test {
  Rig rig{2};
  std::vector<ChildSnapshot> made;
  void SetUp() override {
    for (auto& [name, disk] : rig.disks) disk.makes_snapshots = true;
    ASSERT_TRUE(rig.create({"a", "b"}).ok());
  }
  static std::vector<ChildSnapshot> of(std::vector<std::string> uris) {
    std::vector<ChildSnapshot> wanted;
    for (auto& uri : uris) {
      ChildSnapshot one;
      one.uri = std::move(uri);
      one.request.name = "snapshot";
      wanted.push_back(std::move(one));
    }
    return wanted;
  }
  static Task<Status> make(Nexus& nexus, std::vector<ChildSnapshot> wanted,
                           std::vector<ChildSnapshot>& into) {
    auto result = co_await nexus.snapshot(std::move(wanted));
    if (!result.ok()) co_return result.error();
    into = std::move(result).value();
    co_return Status();
  }
  Started& start(std::vector<std::string> uris) {
    return rig.start_operation(make(*rig.nexus, of(std::move(uris)), made));
  }
};

TEST_F(Snapshots, WritesWaitWhileTheyAreMade) {
  rig.disks["b"].hold_snapshots = true;
  Started& s = start({a, b});
  rig.pass(10ms);
  Started& w = rig.start_write(1, 0, 8, 1);
  rig.pass(1s);
  EXPECT_FALSE(s.done());
  EXPECT_FALSE(w.done());
  EXPECT_EQ(rig.disks["a"].count_of('w'), 0u);
  rig.disks["b"].hold_snapshots = false;
  EXPECT_EQ(rig.finish(s), Errc::ok);
  EXPECT_EQ(rig.finish(w), Errc::ok);
  EXPECT_EQ(rig.disks["a"].snapshots + rig.disks["b"].snapshots, 2u);
}

TEST_F(Snapshots, EachChildSaysHowItWent) {
  rig.disks["b"].snapshot_error = Errc::out_of_space;
  EXPECT_EQ(rig.finish(start({a, b})), Errc::ok);
  ASSERT_EQ(made.size(), 2u);
  EXPECT_EQ(made[0].outcome, Errc::ok);
  EXPECT_EQ(made[1].outcome, Errc::out_of_space);
  EXPECT_EQ(rig.finish(start({a})), Errc::failed_precondition) << "b is healthy and not named";
}

TEST_F(Snapshots, AChildThatLeavesMeanwhileKeepsItsDeviceUntilTheyAreMade) {
  rig.disks["b"].hold_snapshots = true;
  Started& s = start({a, b});
  rig.pass(10ms);
  rig.disks["b"].device->tell(DeviceEvent::removed);
  rig.pass(1s);
  EXPECT_EQ(rig.state(), NexusState::degraded);
  EXPECT_NE(rig.disks["b"].device, nullptr);
  rig.disks["b"].hold_snapshots = false;
  EXPECT_EQ(rig.finish(s), Errc::ok);
  EXPECT_FALSE(rig.disks["b"].outlived);
  ASSERT_EQ(made.size(), 2u);
  EXPECT_EQ(made[0].outcome, Errc::ok);
  EXPECT_EQ(made[1].outcome, Errc::not_connected) << "it may have lost before what the others have in theirs";
  rig.pass(100ms);
  EXPECT_EQ(rig.disks["b"].device, nullptr);
}

TEST_F(Snapshots, AreNotMadeOfALastChildWhoseDeviceIsAway) {
  ASSERT_TRUE(rig.run(rig.nexus->remove_child(b)).ok());
  rig.disks["a"].write_error = Errc::not_connected;
  Started& w = rig.start_write(1, 0, 8, 1);
  rig.pass(100ms);
  rig.disks["a"].absent = true;
  EXPECT_FALSE(rig.run(rig.nexus->online_child(a)).ok());
  ASSERT_EQ(rig.disks["a"].device, nullptr);
  EXPECT_EQ(rig.finish(start({a})), Errc::failed_precondition);
  rig.disks["a"].absent = false;
  rig.disks["a"].write_error = Errc::ok;
  EXPECT_TRUE(rig.run(rig.nexus->online_child(a)).ok());
  EXPECT_EQ(rig.finish(w), Errc::ok);
}

TEST_F(Snapshots, DoNotWaitForAWriteThatIsStuckAtAChildThatLeft) {
  rig.disks["b"].hold_writes = true;
  rig.disks["b"].recalls = false;
  Started& stuck = rig.start_write(0, 0, 8, 1);
  ASSERT_TRUE(rig.wait_for([&] { return rig.state() == NexusState::degraded; }));
  rig.pass(100ms);
  Started& s = start({a});
  Started& w = rig.start_write(1, 1024, 8, 2);
  Started& same_place = rig.start_write(0, 0, 8, 3);
  rig.pass(1s);
  EXPECT_EQ(s.code(), Errc::ok);
  EXPECT_EQ(w.code(), Errc::ok);
  EXPECT_EQ(same_place.code(), Errc::ok);
  EXPECT_FALSE(stuck.done()) << "its memory is in use";
  rig.disks["b"].hold_writes = false;
  EXPECT_EQ(rig.finish(stuck), Errc::ok);
  EXPECT_EQ(rig.disks["a"].at(0), std::byte{3});
}

TEST_F(Snapshots, WritesDoNotWaitForEverForAChildThatMakesNone) {
  rig.disks["b"].hold_snapshots = true;
  Started& s = start({a, b});
  rig.pass(10ms);
  Started& w = rig.start_write(1, 0, 8, 1);
  rig.pass(20s);  // hold_timeout is 5 s
  EXPECT_EQ(w.code(), Errc::ok);
  EXPECT_EQ(s.code(), Errc::ok);
  rig.disks["b"].hold_snapshots = false;
  rig.pass(100ms);
  EXPECT_EQ(rig.finish(w), Errc::ok);
}

}  // namespace
}  // namespace holdfast::nexus
