// Creation: what is refused, what a membership record decides, what is shown.
#include <gtest/gtest.h>

#include "nexus/testing/rig.h"

namespace holdfast::nexus {
namespace {

using fake::Rig;
using ::testing::Test;

bool says(const Status& s, const char* text) {
  return !s.ok() && s.error().message().find(text) != std::string::npos;
}

TEST(Create, TrustsAllChildrenWithoutARecord) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  EXPECT_EQ(rig.state(), NexusState::online);
  const Record r = rig.record();
  EXPECT_FALSE(r.clean_shutdown);
  EXPECT_EQ(r.epoch, 1u);
  EXPECT_TRUE(rig.recorded_healthy("a"));
  EXPECT_TRUE(rig.recorded_healthy("b"));
  EXPECT_EQ(rig.disks["a"].channels, 2u);
}

TEST(Create, CleanShutdownIsRecorded) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  EXPECT_TRUE(rig.run(rig.nexus->shutdown()).ok());
  EXPECT_TRUE(rig.run(rig.nexus->shutdown()).ok());
  EXPECT_EQ(rig.state(), NexusState::shutdown);
  EXPECT_TRUE(rig.record().clean_shutdown);
  EXPECT_EQ(rig.write(0, 0, 8, 1), Errc::not_connected);
  EXPECT_EQ(rig.run(rig.nexus->online_child(Rig::uri("a"))).code(), Errc::failed_precondition);
  EXPECT_EQ(rig.disks["a"].channels, 0u);
  EXPECT_EQ(rig.disks["a"].device, nullptr);
}

TEST(Create, BadRequestsLeaveNothingBehind) {
  Rig rig;
  rig.add_disk("big", 8 * MiB, 4096);
  rig.add_disk("small", 4 * MiB);
  const auto refused = [&](std::vector<std::string> names, std::uint64_t size, Errc code, const char* text) {
    const Status s = rig.create(std::move(names), size);
    EXPECT_EQ(s.code(), code) << text;
    EXPECT_TRUE(says(s, text)) << text << " / " << s.error().message();
    EXPECT_EQ(rig.registry->entries().size(), 0u) << text;
    for (const auto& [n, d] : rig.disks) EXPECT_EQ(d.channels, 0u) << n;
    EXPECT_FALSE(rig.run(rig.store.load("key")).value().has_value());
  };
  refused({}, Rig::volume_bytes, Errc::invalid_argument, "at least one child");
  refused({"a", "b"}, 0, Errc::invalid_argument, "size of the nexus is zero");
  refused({"a", "b"}, 1000, Errc::invalid_argument, "not a multiple");
  refused({"a", "a"}, Rig::volume_bytes, Errc::invalid_argument, "twice");
  refused({"a", "bdev:///a"}, Rig::volume_bytes, Errc::invalid_argument, "same device");
  refused({"a", "big"}, Rig::volume_bytes, Errc::invalid_argument, "mixed block sizes");
  refused({"a", "small"}, Rig::volume_bytes, Errc::invalid_argument, "fake:///small");
  refused({"a", "none"}, Rig::volume_bytes, Errc::not_found, "none");
  refused({"a", "what:///x"}, Rig::volume_bytes, Errc::invalid_argument, "unknown scheme");
  rig.disks["b"].can.read_only = true;
  refused({"a", "b"}, Rig::volume_bytes, Errc::invalid_argument, "read-only");
  rig.disks["c"].open_error = Errc::io_error;
  refused({"a", "c"}, Rig::volume_bytes, Errc::io_error, "channel");
  rig.disks["d"].uuid = rig.disks["a"].uuid;
  refused({"a", "d"}, Rig::volume_bytes, Errc::invalid_argument, "same uuid");
}

TEST(Create, ChildOfAnotherNexusIsBusyAndNamesIt) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a"}).ok());
  NexusParams other = rig.params({"a", "b"});
  other.name = "other";
  other.membership_key = "other";
  auto made = rig.run(Nexus::create(*rig.registry, rig.store, other, rig.options, nullptr));
  EXPECT_EQ(made.code(), Errc::busy);
  EXPECT_NE(made.error().message().find("nexus 'vol'"), std::string::npos) << made.error().message();
  EXPECT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
}

TEST(Create, DeviceThatWasThereBeforeStaysAfterwards) {
  Rig rig;
  ASSERT_TRUE(rig.run(rig.registry->create(Rig::uri("a"))).ok());
  ASSERT_TRUE(rig.create({"bdev:///a", "b"}).ok());
  EXPECT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
  EXPECT_TRUE(rig.run(rig.nexus->shutdown()).ok());
  EXPECT_NE(rig.registry->find("a"), nullptr);
  EXPECT_EQ(rig.registry->find("b"), nullptr);
}

TEST(Create, StoreAwayIsRetryable) {
  Rig rig;
  rig.store.error = Errc::not_connected;
  EXPECT_EQ(rig.create({"a"}).code(), Errc::not_connected);
  EXPECT_EQ(rig.registry->entries().size(), 0u);
  rig.store.error = Errc::ok;
  EXPECT_TRUE(rig.create({"a"}).ok());
}

TEST(Create, AfterACleanShutdownAllHealthyChildrenAreUsed) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  ASSERT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
  rig.close();
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  EXPECT_EQ(rig.state(), NexusState::online);
  EXPECT_TRUE(rig.nexus->rebuild_history().empty());
}

TEST(Create, AfterACrashOneHealthyChildIsTheSource) {
  Rig rig;
  ASSERT_TRUE(rig.create({"nvmffake:///a", "b", "c"}).ok());
  ASSERT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
  rig.start_write(0, 64, 8, 2);  // under way: on some children, not acknowledged
  rig.crash();
  rig.disks["a"].bytes[data_offset_bytes + 64 * 512] = std::byte{2};
  rig.disks["b"].bytes[data_offset_bytes + 64 * 512] = std::byte{0};
  ASSERT_TRUE(rig.create({"nvmffake:///a", "b", "c"}).ok());
  const NexusView v = rig.nexus->view();
  EXPECT_EQ(v.state, NexusState::degraded);
  EXPECT_EQ(v.children[1].state, ChildState::online);  // the local one, not the first
  EXPECT_EQ(v.rebuilds, 2u);
  EXPECT_TRUE(rig.wait_for([&] { return rig.all_online(); }));
  EXPECT_TRUE(rig.same("a", "b"));
  EXPECT_TRUE(rig.same("b", "c"));
  for (const auto& r : rig.nexus->rebuild_history()) EXPECT_FALSE(r.is_partial);
}

TEST(Create, UnhealthyChildOfTheRecordIsRebuilt) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  rig.disks["a"].write_error = Errc::io_error;
  ASSERT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
  rig.close();
  rig.disks["a"].write_error = Errc::ok;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  EXPECT_EQ(rig.state_of("a"), "degraded/out_of_sync");
  EXPECT_EQ(rig.read(0, 0, 8), 1);
  EXPECT_TRUE(rig.wait_for([&] { return rig.all_online(); }));
  EXPECT_TRUE(rig.same("a", "b"));
}

TEST(Create, ChildThatTheRecordDoesNotKnowIsOutOfSync) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a"}).ok());
  ASSERT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
  rig.close();
  ASSERT_TRUE(rig.create({"b", "a"}).ok());
  EXPECT_EQ(rig.state_of("b"), "degraded/out_of_sync");
  EXPECT_TRUE(rig.wait_for([&] { return rig.all_online(); }));
  EXPECT_EQ(rig.disks["b"].at(0), std::byte{1});
}

TEST(Create, WithoutAHealthyChildItIsRefusedAndTheyAreNamed) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a"}).ok());
  rig.close();
  const Status s = rig.create({"b", "c"});
  EXPECT_EQ(s.code(), Errc::failed_precondition);
  EXPECT_TRUE(says(s, Uuid::from_name("a").to_string().c_str())) << s.error().message();
}

TEST(Create, CrashDuringTheRebuildKeepsTheSource) {
  Rig rig;
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  ASSERT_EQ(rig.write(0, 0, 4096, 1), Errc::ok);
  rig.crash();
  ASSERT_TRUE(rig.create({"a", "b"}).ok());
  rig.disks["b"].write_delay = 50ms;
  rig.pass(60ms);
  EXPECT_FALSE(rig.recorded_healthy("b"));
  rig.crash();
  ASSERT_TRUE(rig.create({"b", "a"}).ok());
  EXPECT_EQ(rig.state_of("a"), "online/none");
  EXPECT_EQ(rig.state_of("b"), "degraded/out_of_sync");
}

TEST(Create, ShutdownWithoutTheStoreSaysSoAndStaysUnclean) {
  Rig rig;
  rig.options.shutdown_store_deadline = 1s;
  ASSERT_TRUE(rig.create({"a"}).ok());
  rig.store.error = Errc::not_connected;
  EXPECT_EQ(rig.run(rig.nexus->shutdown()).code(), Errc::timed_out);
  EXPECT_EQ(rig.state(), NexusState::shutdown);
  rig.store.error = Errc::ok;
  EXPECT_FALSE(rig.record().clean_shutdown);
}

TEST(Create, ShutdownDoesNotWaitForeverForAChildThatDoesNotFlush) {
  for (const bool last : {true, false}) {
    Rig rig;
    ASSERT_TRUE(rig.create(last ? std::vector<std::string>{"a"} : std::vector<std::string>{"a", "b"}).ok());
    rig.disks["a"].hold_flushes = true;
    const Nanos began = rig.world.now();
    EXPECT_EQ(rig.run(rig.nexus->shutdown()).ok(), !last);
    EXPECT_LT(rig.world.now() - began, Nanos(6s));
    EXPECT_EQ(rig.record().clean_shutdown, !last);
    EXPECT_EQ(rig.record().children[0].healthy, last) << "the last one keeps what the record says of it";
  }
}

// The copy is complete, and only the record is missing.
TEST(Create, ShutdownDoesNotWaitForTheStoreToRecordAChild) {
  Rig rig;
  rig.options.shutdown_store_deadline = 1s;
  ASSERT_TRUE(rig.create({"a"}).ok());
  ASSERT_TRUE(rig.run(rig.nexus->add_child(Rig::uri("b"), false)).ok());
  rig.store.error = Errc::not_connected;
  ASSERT_TRUE(rig.wait_for([&] { return rig.nexus->view().membership_pending; }));
  auto& waiting = rig.start_operation(rig.nexus->stop_rebuild(Rig::uri("b")));
  rig.pass(100ms);
  auto& end = rig.start_operation(rig.nexus->shutdown());
  rig.pass(5s);
  EXPECT_TRUE(waiting.done());
  EXPECT_EQ(end.code(), Errc::timed_out);
  EXPECT_EQ(rig.state(), NexusState::shutdown);
  rig.store.error = Errc::ok;
  rig.pass(5s);
}

// Its departure goes on when the nexus is given up.
TEST(Create, ChildThatFailsWhileTheStoreIsAwayDoesNotOutliveTheNexus) {
  Rig rig;
  rig.options.reopen_interval = 10s;
  rig.options.hold_timeout = 1s;
  rig.store.hang = true;
  const NexusParams params = rig.params({"a", "b"});
  std::optional<Errc> outcome;
  auto create = [&]() -> Task<void> {
    const auto made = co_await Nexus::create(*rig.registry, rig.store, params, rig.options, nullptr);
    outcome = made.code();
  };
  rig.world.spawn(rig.home(), create());
  rig.pass(500ms);
  ASSERT_FALSE(outcome);
  rig.disks["a"].device->tell(DeviceEvent::failed);
  rig.pass(1s);
  rig.store.hang = false;
  rig.pass(1s);
  EXPECT_EQ(outcome, Errc::not_connected);
  EXPECT_EQ(rig.registry->entries().size(), 0u);
}

TEST(Create, ShutdownWaitsForIoAndGivesBackWhatIsHeld) {
  Rig rig;
  rig.options.shutdown_store_deadline = 1s;
  ASSERT_TRUE(rig.create({"a", "b", "c"}).ok());
  rig.disks["b"].write_delay = 200ms;
  auto& going = rig.start_write(0, 0, 8, 1);
  rig.pass(1ms);
  rig.store.error = Errc::not_connected;
  rig.disks["a"].write_error = Errc::io_error;
  auto& held = rig.start_write(1, 64, 8, 1);
  rig.pass(250ms);
  rig.disks["b"].write_delay = 500ms;
  auto& last = rig.start_write(0, 128, 8, 3);
  rig.pass(1ms);
  rig.run(rig.nexus->shutdown()).ignore("the store is away");
  EXPECT_EQ(going.code(), Errc::ok);
  EXPECT_EQ(held.code(), Errc::not_connected);
  EXPECT_TRUE(last.done());
  EXPECT_EQ(rig.disks["b"].at(128), std::byte{3});
  rig.store.error = Errc::ok;
}

struct Manager : Test {
  Rig rig;
  std::unique_ptr<Nexuses> all = std::make_unique<Nexuses>(*rig.registry, rig.store, rig.options);
  ~Manager() override {
    rig.run(all->close());
    rig.run(rig.registry->close());
  }
};

TEST_F(Manager, CreateFindListDestroy) {
  auto made = rig.run(all->create(rig.params({"a", "b"})));
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(rig.registry->find("vol"), made.value());
  EXPECT_EQ(all->find(Uuid::from_name("vol")).value(), made.value());
  EXPECT_EQ(all->find("vol").value(), made.value());
  EXPECT_EQ(all->list().size(), 1u);
  EXPECT_TRUE(rig.run(all->destroy(Uuid::from_name("vol"))).ok());
  EXPECT_EQ(rig.run(all->destroy(Uuid::from_name("vol"))).code(), Errc::not_found);
  EXPECT_TRUE(rig.record().clean_shutdown);
  EXPECT_EQ(rig.registry->entries().size(), 0u);
}

TEST_F(Manager, SameRequestAgainIsTheSameNexusAndAnotherIsRefused) {
  auto first = rig.run(all->create(rig.params({"a", "b"})));
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(rig.run(all->create(rig.params({"b", "a"}))).value(), first.value());
  EXPECT_EQ(rig.run(all->create(rig.params({"a"}))).code(), Errc::already_exists);
  NexusParams other = rig.params({"c"});
  other.name = "other";
  EXPECT_EQ(rig.run(all->create(other)).code(), Errc::already_exists);
  other.uuid = Uuid::from_name("other");
  other.membership_key.clear();
  EXPECT_TRUE(rig.run(all->create(other)).ok());
  EXPECT_EQ(all->list().size(), 2u);
}

TEST_F(Manager, SharedNexusIsNotDestroyed) {
  auto made = rig.run(all->create(rig.params({"a"})));
  ASSERT_TRUE(made.ok());
  {
    auto claim = rig.registry->claim(*made.value(), "share of vol");
    ASSERT_TRUE(claim.ok());
    const Status s = rig.run(all->destroy(Uuid::from_name("vol")));
    EXPECT_EQ(s.code(), Errc::failed_precondition);
    EXPECT_TRUE(says(s, "share of vol"));
  }
  EXPECT_TRUE(rig.run(all->destroy(Uuid::from_name("vol"))).ok());
}

TEST_F(Manager, NexusUri) {
  all->add_scheme();
  auto made = rig.run(rig.registry->create("nexus:///n1?size=2MiB&children=fake:///a,fake:///b"));
  ASSERT_TRUE(made.ok()) << made.error().message();
  EXPECT_EQ(made.value()->geometry().block_count, 4096u);
  EXPECT_EQ(rig.run(rig.registry->create("nexus:///n2?children=fake:///c")).code(), Errc::invalid_argument);
  EXPECT_EQ(rig.run(rig.registry->create("nexus:///n2?size=1MiB&children=fake:///c&x=1")).code(),
            Errc::invalid_argument);
  EXPECT_TRUE(rig.run(rig.registry->destroy("n1")).ok());
}

}  // namespace
}  // namespace holdfast::nexus
