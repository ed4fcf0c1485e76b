// P2: a nexus that lost its children to another one acknowledges nothing; how it takes and gives back their
// reservations. The children here are local: the same holds for them as for remote ones.
#include "nexus/reservation.h"

#include <gtest/gtest.h>

#include "block/reservation_guard.h"
#include "nexus/testing/rig.h"

namespace holdfast::nexus {
namespace {

using fake::Rig;
using Type = ReservationType;

const Uuid us = Uuid::from_name("holdfast"), other = Uuid::from_name("other"),
           third = Uuid::from_name("third");
constexpr std::uint64_t our_key = 0x11, other_key = 0x22, third_key = 0x33;

ReservationParams wanted(Type type, PreemptPolicy policy, std::uint64_t preempt_key = 0) {
  ReservationParams p;
  p.key = our_key;
  p.type = type;
  p.policy = policy;
  p.preempt_key = preempt_key;
  return p;
}

RegisterRequest registration(std::uint64_t key) {
  RegisterRequest r;
  r.action = RegisterAction::replace;
  r.ignore_existing = true;
  r.new_key = key;
  return r;
}

// Another host takes the device away.
Errc preempt(Rig& rig, ReservationGuard& guard, Type type = Type::exclusive_access) {
  EXPECT_TRUE(rig.run(guard.register_key(other, registration(other_key))).ok());
  AcquireRequest r;
  r.action = AcquireAction::preempt_and_abort;
  r.key = other_key;
  r.preempt_key = our_key;
  r.type = type;
  return rig.run(guard.acquire(other, r)).code();
}

ReservationGuard& guard_of(Rig& rig, const std::string& name) {
  auto guard = rig.run(rig.registry->guard(*rig.registry->find(name)));
  if (!guard.ok()) panic("no guard");
  return *guard.value();
}

Status create(Rig& rig, std::vector<std::string> names, ReservationParams reservation) {
  NexusParams params = rig.params(std::move(names));
  params.reservation = reservation;
  auto made = rig.run(Nexus::create(*rig.registry, rig.store, params, rig.options, &rig.observed));
  if (!made.ok()) return made.error();
  rig.nexus = std::move(made).value();
  rig.open_channels();
  return Status();
}

TEST(TakeReservation, ByThePolicy) {
  enum class Before : std::uint8_t { nothing, other_registered, other_holds, other_and_third, ours };
  struct Row {
    Before before;
    Type held;
    Type type;
    PreemptPolicy policy;
    std::uint64_t preempt_key;
    bool taken;
    std::size_t registrants;  // afterwards
  };
  constexpr auto arg = PreemptPolicy::arg_key;
  constexpr auto holder = PreemptPolicy::holder;
  constexpr Type ea = Type::exclusive_access, we = Type::write_exclusive;
  constexpr Type ear = Type::exclusive_access_registrants_only;
  constexpr Type eaa = Type::exclusive_access_all_registrants, wea = Type::write_exclusive_all_registrants;
  constexpr Row rows[] = {
      {Before::nothing, ea, ea, arg, 0, true, 1},
      {Before::nothing, ea, wea, arg, 0, true, 1},
      {Before::nothing, ea, ea, arg, 0x99, true, 1},
      {Before::nothing, ea, ear, holder, 0, true, 1},
      {Before::other_registered, ea, ea, arg, 0, true, 2},
      {Before::other_registered, ea, ea, arg, other_key, true, 1},
      {Before::other_registered, ea, ea, holder, 0, true, 2},
      {Before::other_registered, ea, ear, holder, 0, true, 1},
      {Before::other_holds, ea, ea, arg, 0, false, 0},
      {Before::other_holds, ea, ea, arg, 0x99, false, 0},
      {Before::other_holds, ea, ea, arg, other_key, true, 1},
      {Before::other_holds, ea, ea, holder, 0, true, 1},
      {Before::other_holds, we, ea, holder, 0, true, 1},
      {Before::other_holds, ear, wea, holder, 0, true, 1},
      {Before::other_holds, wea, wea, arg, 0, true, 2},
      {Before::other_holds, wea, wea, arg, other_key, true, 1},
      {Before::other_holds, wea, ea, arg, other_key, true, 1},
      {Before::other_holds, wea, ea, arg, 0, false, 0},
      {Before::other_holds, wea, wea, holder, 0, true, 1},
      {Before::other_holds, wea, ea, holder, 0, true, 1},
      {Before::other_and_third, ea, ea, holder, 0, true, 2},
      {Before::other_and_third, ear, ear, holder, 0, true, 1},
      {Before::other_and_third, eaa, ea, holder, 0, true, 1},
      {Before::other_and_third, ea, ea, arg, third_key, false, 0},
      {Before::ours, ea, ea, holder, 0, true, 1},
      {Before::ours, ea, ea, arg, 0, true, 1},
      {Before::ours, ea, wea, arg, 0, true, 1},
      {Before::ours, eaa, ea, holder, 0, true, 1},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(&row - rows);
    Rig rig(2);
    ReservationGuard guard(rig.process->cores(), Uuid::from_name("device"), nullptr);
    const auto before = [&](const Uuid& host, std::uint64_t key, bool acquires) {
      ASSERT_TRUE(rig.run(guard.register_key(host, registration(key))).ok());
      AcquireRequest r;
      r.key = key;
      r.type = row.held;
      if (acquires) {
        ASSERT_TRUE(rig.run(guard.acquire(host, r)).ok());
      }
    };
    if (row.before == Before::ours) before(us, 0x77, true);
    if (row.before != Before::ours && row.before != Before::nothing) {
      before(other, other_key, row.before != Before::other_registered);
    }
    if (row.before == Before::other_and_third) before(third, third_key, false);
    const auto client = guard.client(us);
    const ReservationParams params = wanted(row.type, row.policy, row.preempt_key);
    for (int again = 0; again < 2; ++again) {  // repeatable
      const Status done = rig.run(take_reservation(*client, params));
      EXPECT_EQ(done.code(), row.taken ? Errc::ok : Errc::reservation_conflict);
      EXPECT_EQ(holds(guard.report(), us, params), row.taken);
      if (row.taken) {
        EXPECT_EQ(guard.report().registrants.size(), row.registrants);
      }
    }
    if (!row.taken) continue;
    EXPECT_TRUE(rig.run(give_back_reservation(*client, params)).ok());
    EXPECT_EQ(guard.report().registrants.size(), row.registrants - 1);
  }
}

TEST(TakeReservation, RefusesWhatMakesNoSense) {
  EXPECT_TRUE(check(ReservationParams()).ok()) << "none is wanted";
  EXPECT_TRUE(check(wanted(Type::exclusive_access, PreemptPolicy::holder)).ok());
  EXPECT_EQ(check(wanted(Type::none, PreemptPolicy::holder)).code(), Errc::invalid_argument);
  EXPECT_EQ(check(wanted(Type::exclusive_access, PreemptPolicy::holder, 1)).code(), Errc::invalid_argument);
}

const ReservationParams exclusive = wanted(Type::exclusive_access, PreemptPolicy::holder);

TEST(NexusReservation, IsTakenOnEveryChildAndGivenBack) {
  Rig rig;
  ASSERT_TRUE(create(rig, {"a", "b"}, exclusive).ok());
  for (const char* name : {"a", "b"}) EXPECT_TRUE(holds(guard_of(rig, name).report(), us, exclusive));
  EXPECT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
  EXPECT_EQ(rig.write(1, 8, 8, 1), Errc::ok);
  ASSERT_TRUE(rig.run(rig.nexus->add_child(Rig::uri("c"), false)).ok());
  EXPECT_TRUE(holds(guard_of(rig, "c").report(), us, exclusive)) << "a child added later";
  ASSERT_TRUE(rig.wait_for([&] { return rig.all_online(); }));
  EXPECT_TRUE(rig.same("a", "c")) << "the rebuild has the same rights";
}

TEST(NexusReservation, IsGivenBackByShutdownAndRemoval) {
  Rig rig;
  // Devices of others, which outlive the nexus.
  for (const char* name : {"a", "b"}) ASSERT_TRUE(rig.run(rig.registry->create(Rig::uri(name))).ok());
  ASSERT_TRUE(create(rig, {"bdev:///a", "bdev:///b"}, exclusive).ok());
  ReservationGuard& a = guard_of(rig, "a");
  ReservationGuard& b = guard_of(rig, "b");
  ASSERT_TRUE(rig.run(rig.nexus->remove_child("bdev:///b")).ok());
  EXPECT_TRUE(b.report().registrants.empty());
  EXPECT_TRUE(holds(a.report(), us, exclusive));
  ASSERT_TRUE(rig.run(rig.nexus->shutdown()).ok());
  EXPECT_TRUE(a.report().registrants.empty());
}

TEST(NexusReservation, ANexusThatLostItAcknowledgesNothing) {
  for (const bool reads : {false, true}) {
    Rig rig;
    ASSERT_TRUE(create(rig, {"a", "b"}, exclusive).ok());
    ASSERT_EQ(rig.write(0, 0, 8, 1), Errc::ok);
    for (const char* name : {"a", "b"}) ASSERT_EQ(preempt(rig, guard_of(rig, name)), Errc::ok);
    if (reads) {
      EXPECT_EQ(rig.finish(rig.start_read(1, 0, 8)), Errc::fenced);
    } else {
      EXPECT_EQ(rig.write(1, 0, 8, 2), Errc::fenced);
    }
    EXPECT_TRUE(rig.nexus->view().fenced);
    EXPECT_EQ(rig.state(), NexusState::faulted);
    EXPECT_EQ(rig.write(0, 0, 8, 2), Errc::fenced);
    EXPECT_EQ(rig.finish(rig.start_read(0, 0, 8)), Errc::fenced);
    EXPECT_EQ(rig.finish(rig.start_flush(0)), Errc::fenced);
    EXPECT_EQ(rig.run(rig.nexus->add_child(Rig::uri("c"), false)).code(), Errc::fenced);
    EXPECT_TRUE(rig.recorded_healthy("a")) << "no child left by this";
    EXPECT_TRUE(rig.recorded_healthy("b"));
    EXPECT_EQ(rig.disks.at("a").bytes[data_offset_bytes], std::byte{1});
    EXPECT_EQ(rig.run(rig.nexus->shutdown()).code(), Errc::fenced);
    EXPECT_FALSE(rig.record().clean_shutdown) << "it has no say any more";
  }
}

// Without an operation that would meet the conflict.
TEST(NexusReservation, TheLossOfALocalChildIsKnownAtOnce) {
  Rig rig;
  ASSERT_TRUE(create(rig, {"a"}, exclusive).ok());
  ASSERT_EQ(preempt(rig, guard_of(rig, "a")), Errc::ok);
  rig.pass(1ms);
  EXPECT_TRUE(rig.nexus->view().fenced);
  EXPECT_EQ(rig.state(), NexusState::faulted);
  EXPECT_EQ(rig.finish(rig.start_flush(0)), Errc::fenced);
}

// While it was away another nexus of the volume began. That one is not preempted.
TEST(NexusReservation, AChildThatIsAnothersWhenItComesBackFences) {
  Rig rig;
  for (const char* name : {"a", "b"}) ASSERT_TRUE(rig.run(rig.registry->create(Rig::uri(name))).ok());
  ASSERT_TRUE(create(rig, {"bdev:///a", "bdev:///b"}, exclusive).ok());
  ASSERT_TRUE(rig.run(rig.nexus->offline_child("bdev:///b")).ok());
  ASSERT_TRUE(rig.run(rig.nexus->online_child("bdev:///b")).ok()) << "it is ours";
  ASSERT_TRUE(rig.wait_for([&] { return rig.all_online(); }));
  ASSERT_TRUE(rig.run(rig.nexus->offline_child("bdev:///b")).ok());
  ReservationGuard& b = guard_of(rig, "b");
  ASSERT_EQ(preempt(rig, b), Errc::ok);
  EXPECT_EQ(rig.run(rig.nexus->online_child("bdev:///b")).code(), Errc::fenced);
  EXPECT_TRUE(rig.nexus->view().fenced);
  const ReservationReport report = b.report();
  ASSERT_EQ(report.registrants.size(), 1u);
  EXPECT_EQ(report.registrants.front().host, other);
}

// What a target keeps for this engine's host, and for others: whoever acquires has it.
class KeptByATarget final : public ReservationClient {
 public:
  Task<Status> register_key(RegisterRequest r) override {
    ++commands;
    std::erase_if(kept.registrants, [](const Registrant& one) { return one.host == us; });
    if (r.action != RegisterAction::remove) kept.registrants.push_back({us, r.new_key, false});
    co_return Status();
  }
  Task<Status> acquire(AcquireRequest r) override {
    ++commands;
    kept.type = r.type;
    kept.registrants.front().holder = true;
    co_return Status();
  }
  Task<Status> release(ReleaseRequest) override { co_return Status(); }
  Task<Result<ReservationReport>> report() override {
    ++reports;
    if (hold != nullptr) co_await hold->wait();
    if (broken) co_return Error(Errc::not_connected);
    co_return kept;
  }
  const Uuid& host() const noexcept override { return us; }
  bool can_persist() const noexcept override { return true; }

  ReservationReport kept;
  unsigned reports = 0;
  unsigned commands = 0;  // that change something
  bool broken = false;
  Event* hold = nullptr;
};

struct RemoteChild {
  RemoteChild() {
    rig.disks.at("b").reservations = &target;
    if (!create(rig, {"a", "b"}, exclusive).ok()) panic("no nexus");
    rig.pass(10ms);
  }
  void tell() {
    rig.disks.at("b").device->tell(DeviceEvent::reservations_changed);
    rig.pass(10ms);
  }
  bool fenced() const { return rig.nexus->view().fenced; }
  void taken_by_another() { target.kept.registrants = {{other, other_key, true}}; }

  KeptByATarget target;
  Rig rig;
};

TEST(NexusReservation, TheLossOfARemoteChildIsKnownByItsEvent) {
  RemoteChild r;
  const unsigned before = r.target.reports;
  r.tell();
  EXPECT_EQ(r.target.reports, before + 1);
  EXPECT_FALSE(r.fenced()) << "it is still ours";
  r.target.kept = ReservationReport();
  r.tell();
  EXPECT_FALSE(r.fenced()) << "the target lost everything, and nobody else has it";
  r.taken_by_another();
  r.target.broken = true;
  r.tell();
  EXPECT_FALSE(r.fenced()) << "nothing is known";
  r.target.broken = false;
  r.tell();
  EXPECT_TRUE(r.fenced());
  EXPECT_EQ(r.rig.state(), NexusState::faulted);
  EXPECT_EQ(r.rig.finish(r.rig.start_flush(0)), Errc::fenced);
}

TEST(NexusReservation, ManyEventsAreOneLookAfterTheOther) {
  RemoteChild r;
  Event hold(r.rig.home());
  r.target.hold = &hold;
  const unsigned before = r.target.reports;
  for (unsigned i = 0; i < 50; ++i) r.tell();
  EXPECT_EQ(r.target.reports, before + 1);
  r.taken_by_another();
  // The child leaves meanwhile: its device is there until the look has ended.
  r.rig.disks.at("b").device->tell(DeviceEvent::removed);
  r.rig.pass(100ms);
  EXPECT_NE(r.rig.disks.at("b").device, nullptr);
  hold.set();
  r.rig.pass(100ms);
  EXPECT_EQ(r.rig.disks.at("b").device, nullptr);
  EXPECT_TRUE(r.fenced());
  r.target.hold = nullptr;
}

// One of the children is enough: writes need all of them.
TEST(NexusReservation, OneChildLostIsTheNexusLost) {
  Rig rig;
  ASSERT_TRUE(create(rig, {"a", "b", "c"}, exclusive).ok());
  ASSERT_EQ(preempt(rig, guard_of(rig, "b")), Errc::ok);
  EXPECT_EQ(rig.write(0, 0, 8, 2), Errc::fenced);
  EXPECT_TRUE(rig.nexus->view().fenced);
}

// Preempting returns when what the old nexus had under way has ended.
TEST(NexusReservation, WhatWasUnderWayHasEndedWhenTheChildIsTaken) {
  Rig rig;
  ASSERT_TRUE(create(rig, {"a"}, exclusive).ok());
  ReservationGuard& guard = guard_of(rig, "a");
  rig.disks.at("a").hold_writes = true;
  fake::Started& write = rig.start_write(1, 0, 8, 7);
  rig.pass(100ms);
  bool taken = false;
  ASSERT_TRUE(rig.run(guard.register_key(other, registration(other_key))).ok());
  auto take = [&]() -> Task<void> {
    AcquireRequest r;
    r.action = AcquireAction::preempt_and_abort;
    r.key = other_key;
    r.preempt_key = our_key;
    r.type = Type::exclusive_access;
    const Status done = co_await guard.acquire(other, r);
    EXPECT_TRUE(done.ok());
    taken = true;
  };
  rig.world.spawn(rig.home(), take());
  rig.pass(100ms);
  EXPECT_FALSE(taken);
  rig.disks.at("a").hold_writes = false;
  ASSERT_TRUE(rig.wait_for([&] { return taken; }));
  EXPECT_EQ(rig.disks.at("a").bytes[data_offset_bytes], std::byte{7});
  EXPECT_EQ(rig.finish(write), Errc::fenced) << "it has happened, and nobody is told so any more";
  EXPECT_EQ(rig.write(1, 0, 8, 8), Errc::fenced);
}

TEST(NexusReservation, ANexusThatMayNotTakeItIsNotCreated) {
  Rig rig;
  for (const char* name : {"a", "b"}) ASSERT_TRUE(rig.run(rig.registry->create(Rig::uri(name))).ok());
  ReservationGuard& b = guard_of(rig, "b");
  ASSERT_EQ(rig.run(b.register_key(other, registration(other_key))).code(), Errc::ok);
  AcquireRequest r;
  r.key = other_key;
  r.type = Type::exclusive_access;
  ASSERT_TRUE(rig.run(b.acquire(other, r)).ok());
  const Status refused =
      create(rig, {"bdev:///a", "bdev:///b"}, wanted(Type::exclusive_access, PreemptPolicy::arg_key));
  EXPECT_EQ(refused.code(), Errc::reservation_conflict);
  EXPECT_NE(refused.error().message().find("bdev:///b"), std::string::npos) << refused.error().message();
  EXPECT_NE(refused.error().message().find("0x22"), std::string::npos) << refused.error().message();
  EXPECT_TRUE(guard_of(rig, "a").report().registrants.empty()) << "everything is undone";
  EXPECT_EQ(b.report().registrants.size(), 1u);
  rig.run(rig.registry->close());
}

// An engine that crashed comes back to its own registrations.
TEST(NexusReservation, IsTakenUpAgainAfterACrash) {
  Rig rig;
  MemoryReservationStore records;
  const auto with_records = [&] {
    rig.registry = std::make_unique<DeviceRegistry>(rig.process->cores(), &records);
    rig.registry->add_scheme("fake", fake::fake_scheme(rig.disks, rig.home()));
  };
  with_records();
  const ReservationParams params = wanted(Type::exclusive_access, PreemptPolicy::arg_key);
  ASSERT_TRUE(create(rig, {"a", "b"}, params).ok());
  rig.crash();
  with_records();
  ASSERT_TRUE(create(rig, {"a", "b"}, params).ok());
  EXPECT_TRUE(holds(guard_of(rig, "a").report(), us, params));
  rig.close();
  EXPECT_TRUE(rig.run(records.load(Uuid::from_name("a"))).value() == std::nullopt) << "nothing is left over";
}

TEST(NexusReservation, AChildOfWhichNothingIsKnownWhenItComesBackIsNotTaken) {
  RemoteChild r;
  ASSERT_TRUE(r.rig.run(r.rig.nexus->offline_child(Rig::uri("b"))).ok());
  r.taken_by_another();
  r.target.broken = true;
  EXPECT_EQ(r.rig.run(r.rig.nexus->online_child(Rig::uri("b"))).code(), Errc::not_connected);
  ASSERT_EQ(r.target.kept.registrants.size(), 1u) << "we are registered there again";
  EXPECT_EQ(r.target.kept.registrants.front().host, other);
  r.target.broken = false;
  EXPECT_EQ(r.rig.run(r.rig.nexus->online_child(Rig::uri("b"))).code(), Errc::fenced);
}

TEST(NexusReservation, AChildThatIsStillOursIsNotTakenAgain) {
  RemoteChild r;
  ASSERT_TRUE(r.rig.run(r.rig.nexus->offline_child(Rig::uri("b"))).ok());
  const unsigned before = r.target.commands;
  EXPECT_TRUE(r.rig.run(r.rig.nexus->online_child(Rig::uri("b"))).ok());
  EXPECT_EQ(r.target.commands, before);
}

Task<Status> made_with(Rig& rig, const NexusParams& params) {
  auto made = co_await Nexus::create(*rig.registry, rig.store, params, rig.options, &rig.observed);
  if (!made.ok()) co_return made.error();
  rig.nexus = std::move(made).value();
  co_return Status();
}

// Another nexus of the volume takes the first child while the second is being opened.
TEST(NexusReservation, ANexusThatIsFencedWhileItIsCreatedIsNotCreatedAndTakesNoMore) {
  KeptByATarget target;
  Rig rig;
  rig.disks.at("b").reservations = &target;
  ASSERT_TRUE(rig.run(rig.registry->create(Rig::uri("c"))).ok());
  Event hold(rig.home());
  target.hold = &hold;
  NexusParams params = rig.params({"a", "b", "bdev:///c"});
  params.reservation = exclusive;
  fake::Started& created = rig.start_operation(made_with(rig, params));
  rig.pass(100ms);
  ASSERT_FALSE(created.done()) << "b's target does not answer yet";
  ASSERT_EQ(preempt(rig, guard_of(rig, "a")), Errc::ok);
  rig.pass(10ms);
  hold.set();
  EXPECT_EQ(rig.finish(created), Errc::fenced);
  EXPECT_EQ(rig.nexus, nullptr);
  EXPECT_TRUE(guard_of(rig, "c").report().registrants.empty()) << "it is the newer one's to take";
  target.hold = nullptr;
  rig.close();  // when it was created after all
  rig.run(rig.registry->close());
}

// What it is taking when it is fenced is the newer one's as well.
TEST(NexusReservation, ANexusThatIsFencedWhileItTakesAChildPreemptsNobodyThere) {
  for (const bool is_remote : {false, true}) {  // the child by which it hears of it
    SCOPED_TRACE(is_remote);
    KeptByATarget first, second;
    Rig rig;
    if (is_remote) rig.disks.at("a").reservations = &first;
    rig.disks.at("b").reservations = &second;
    Event hold(rig.home());
    second.hold = &hold;
    NexusParams params = rig.params({"a", "b"});
    params.reservation = exclusive;
    fake::Started& created = rig.start_operation(made_with(rig, params));
    rig.pass(100ms);
    ASSERT_FALSE(created.done()) << "b's target does not answer yet";
    if (is_remote) {
      first.kept.registrants = {{other, other_key, true}};
      rig.disks.at("a").device->tell(DeviceEvent::reservations_changed);
    } else {
      ASSERT_EQ(preempt(rig, guard_of(rig, "a")), Errc::ok);
    }
    second.kept.type = Type::exclusive_access;
    second.kept.registrants = {{us, our_key, false}, {other, other_key, true}};
    const unsigned before = second.commands;
    rig.pass(10ms);
    hold.set();
    EXPECT_EQ(rig.finish(created), Errc::fenced);
    EXPECT_EQ(second.commands, before) << "it is the newer one's";
    second.hold = nullptr;
    rig.close();  // when it was created after all
  }
}

}  // namespace
}  // namespace holdfast::nexus
