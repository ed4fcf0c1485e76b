// Guards and records: what is in force on which core, what is waited for, what survives.
#include "block/reservation_guard.h"

#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "block/reservation_record.h"
#include "block/testing/test_devices.h"
#include "rt/cross_core.h"
#include "rt/scope.h"

namespace holdfast {
namespace {

using namespace testing_support;

const Uuid device_uuid = Uuid::from_name("device");
const Uuid old_host = Uuid::from_name("old"), new_host = Uuid::from_name("new");

RegisterRequest registration(std::uint64_t key, PersistChange persist = PersistChange::keep) {
  RegisterRequest r;
  r.new_key = key;
  r.persist = persist;
  return r;
}
AcquireRequest acquisition(std::uint64_t key, std::uint64_t prey = 0) {
  AcquireRequest r;
  r.action = prey == 0 ? AcquireAction::acquire : AcquireAction::preempt;
  r.key = key;
  r.preempt_key = prey;
  r.type = ReservationType::exclusive_access;
  return r;
}

ReservationReport sample() {
  ReservationReport s;
  s.generation = 7;
  s.type = ReservationType::write_exclusive;
  s.persists = true;
  s.registrants = {{old_host, 1, true}, {new_host, 2, false}};
  return s;
}

TEST(ReservationRecord, ReadsWhatItWrote) {
  for (const auto type : {ReservationType::none, ReservationType::write_exclusive,
                          ReservationType::exclusive_access_all_registrants}) {
    ReservationReport s = sample();
    s.type = type;
    s.registrants[0].holder = type != ReservationType::none;
    s.registrants[1].holder = is_all_registrants(type);
    const std::string record = to_record(device_uuid, s);
    EXPECT_EQ(record.size(), 64u + 2 * 32u);
    auto parsed = parse_reservation_record(device_uuid, record);
    ASSERT_TRUE(parsed.ok()) << parsed.error().message();
    EXPECT_EQ(parsed.value(), s);
    EXPECT_EQ(ReservationState(parsed.value()).report(), s);
  }
}

TEST(ReservationRecord, RefusesEveryDamage) {
  const std::string record = to_record(device_uuid, sample());
  for (std::size_t bit = 0; bit < record.size() * 8; ++bit) {
    std::string damaged = record;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    EXPECT_EQ(parse_reservation_record(device_uuid, damaged).code(), Errc::bad_format) << "bit " << bit;
  }
  for (std::size_t length = 0; length < record.size(); ++length) {
    EXPECT_EQ(parse_reservation_record(device_uuid, record.substr(0, length)).code(), Errc::bad_format);
  }
  EXPECT_EQ(parse_reservation_record(device_uuid, record + "x").code(), Errc::bad_format);
  EXPECT_EQ(parse_reservation_record(Uuid::from_name("another"), record).code(), Errc::bad_format);
}

TEST(ReservationRecord, RefusesWhatBreaksTheRules) {
  const auto refused = [](const ReservationReport& s) {
    return parse_reservation_record(device_uuid, to_record(device_uuid, s)).code() == Errc::bad_format;
  };
  ReservationReport s = sample();
  s.registrants[0].holder = false;
  EXPECT_TRUE(refused(s)) << "a reservation without holder";
  s = sample();
  s.registrants[1].holder = true;
  EXPECT_TRUE(refused(s)) << "two holders";
  s = sample();
  s.registrants[1].host = old_host;
  EXPECT_TRUE(refused(s)) << "one host twice";
  s = sample();
  s.registrants[1].key = 0;
  EXPECT_TRUE(refused(s));
  s = sample();
  s.type = static_cast<ReservationType>(7);
  EXPECT_TRUE(refused(s));
  s = sample();
  s.type = ReservationType::exclusive_access_all_registrants;
  EXPECT_TRUE(refused(s)) << "one of all registrants does not hold";
  s.registrants.clear();
  EXPECT_TRUE(refused(s)) << "nobody is registered";
}

TEST(ReservationGuard, ChangesEveryCoreBeforeItAnswers) {
  Machine m(3);
  ReservationGuard guard(m.process.cores(), device_uuid, nullptr);
  EXPECT_TRUE(guard.at(1).allows(old_host, ReservedAccess::write));
  ASSERT_TRUE(m.run(guard.register_key(new_host, registration(2))).ok());
  ASSERT_TRUE(m.run(guard.acquire(new_host, acquisition(2))).ok());
  for (unsigned core = 0; core < 3; ++core) {
    EXPECT_FALSE(guard.at(core).allows(old_host, ReservedAccess::read));
    EXPECT_TRUE(guard.at(core).allows(new_host, ReservedAccess::write));
  }
  EXPECT_EQ(m.run(guard.register_key(old_host, registration(1, PersistChange::on))).code(),
            Errc::invalid_argument)
      << "nothing can persist without a store";
}

// The old host holds the reservation; an operation of its is under way on core 1.
struct UnderWay {
  Machine m{2};
  ReservationGuard guard{m.process.cores(), device_uuid, nullptr};
  bool ended = false;

  void begin() {
    ASSERT_TRUE(m.run(guard.register_key(old_host, registration(1))).ok());
    ASSERT_TRUE(m.run(guard.register_key(new_host, registration(2))).ok());
    ASSERT_TRUE(m.run(guard.acquire(old_host, acquisition(1))).ok());
    m.world.spawn(m.process.core(1), operation());
    m.world.run_for(1ms);
  }
  void spawn_home(Task<void> task) {
    m.world.spawn(m.process.core(0), std::move(task));
    m.world.run_for(1s);
  }
  void let_go() {
    m.world.spawn(m.process.core(1), finish());
    m.world.run_for(1s);
  }

 private:
  Task<void> operation() {
    const ReservationSlot::Pass pass(guard.at(1));
    co_await finished_.wait();
    ended = true;
  }
  Task<void> finish() {
    finished_.set();
    co_return;
  }
  Event finished_{m.process.core(1)};
};

// Whoever takes over waits for what its predecessor has under way, on whichever core, and for nothing later.
TEST(ReservationGuard, WaitsForWhatWasAdmittedBefore) {
  UnderWay old;
  ASSERT_NO_FATAL_FAILURE(old.begin());
  bool taken = false, read_report = false;
  auto take_over = [&]() -> Task<void> {
    const Status s = co_await old.guard.acquire(new_host, acquisition(2, 1));
    EXPECT_TRUE(s.ok());
    EXPECT_TRUE(old.ended);
    taken = true;
  };
  old.spawn_home(take_over());
  EXPECT_FALSE(taken);
  EXPECT_FALSE(old.guard.at(1).allows(old_host, ReservedAccess::write)) << "nothing new gets in";
  auto look = [&]() -> Task<void> {
    const Status s = co_await old.guard.register_key(Uuid::from_name("third"), registration(3));
    read_report = s.ok();
  };
  old.spawn_home(look());
  EXPECT_TRUE(read_report) << "commands that take nothing away do not wait";
  old.let_go();
  EXPECT_TRUE(taken);
}

// A host that gave up waiting, or whose answer was lost, asks again: it holds the reservation by then. What it is told
// then means the same: its predecessor has nothing on its way any more.
TEST(ReservationGuard, WhoAsksAgainWaitsForTheSame) {
  for (const bool registers : {true, false}) {
    SCOPED_TRACE(registers ? "register" : "acquire");
    UnderWay old;
    ASSERT_NO_FATAL_FAILURE(old.begin());
    unsigned done = 0;
    auto take_over = [&]() -> Task<void> {
      const Status s = co_await old.guard.acquire(new_host, acquisition(2, 1));
      EXPECT_TRUE(s.ok());
      ++done;
    };
    auto again = [&]() -> Task<void> {
      Task<Status> asked = registers ? old.guard.register_key(new_host, registration(2))
                                     : old.guard.acquire(new_host, acquisition(2));
      const Status s = co_await asked;
      EXPECT_TRUE(s.ok());
      ++done;
    };
    old.spawn_home(take_over());
    old.spawn_home(again());
    EXPECT_EQ(done, 0u);
    bool gave_back = false;
    auto give_back = [&]() -> Task<void> {
      RegisterRequest r;
      r.action = RegisterAction::remove;
      r.current_key = 2;
      const Status s = co_await old.guard.register_key(new_host, r);
      gave_back = s.ok();
    };
    old.spawn_home(give_back());
    EXPECT_TRUE(gave_back) << "whoever goes does not wait";
    old.let_go();
    EXPECT_EQ(done, 2u);
  }
}

struct Listener final : ReservationObserver {
  void on_reservation_notice(const Uuid& host, ReservationNotice notice) noexcept override {
    told.push_back({host, notice});
  }
  ReservationState::Notices told;
};

TEST(ReservationGuard, TellsThoseWhoListen) {
  Machine m;
  ReservationGuard guard(m.process.cores(), device_uuid, nullptr);
  Listener listener;
  guard.subscribe(listener);
  ASSERT_TRUE(m.run(guard.register_key(old_host, registration(1))).ok());
  ASSERT_TRUE(m.run(guard.register_key(new_host, registration(2))).ok());
  ASSERT_TRUE(m.run(guard.acquire(old_host, acquisition(1))).ok());
  ASSERT_TRUE(m.run(guard.acquire(new_host, acquisition(2, 1))).ok());
  const ReservationState::Notices expected{{old_host, ReservationNotice::registration_preempted}};
  EXPECT_EQ(listener.told, expected);
  guard.unsubscribe(listener);
}

TEST(ReservationGuard, WhatPersistsIsThereAgain) {
  Machine m;
  FileReservationStore store(m.home(), "/reservations");
  ReservationGuard guard(m.process.cores(), device_uuid, &store);
  ASSERT_TRUE(m.run(guard.load()).ok());
  ASSERT_TRUE(m.run(guard.register_key(old_host, registration(1, PersistChange::on))).ok());
  ASSERT_TRUE(m.run(guard.acquire(old_host, acquisition(1))).ok());
  ReservationGuard again(m.process.cores(), device_uuid, &store);
  ASSERT_TRUE(m.run(again.load()).ok());
  EXPECT_EQ(again.report(), guard.report());
  EXPECT_FALSE(again.at(0).allows(new_host, ReservedAccess::read)) << "in force at once";
  ASSERT_TRUE(m.run(again.set_persist(false)).ok());
  EXPECT_FALSE(again.report().registrants.empty());
  ReservationGuard third(m.process.cores(), device_uuid, &store);
  ASSERT_TRUE(m.run(third.load()).ok());
  EXPECT_TRUE(third.report().registrants.empty());
}

TEST(ReservationGuard, NothingIsKeptWhenNobodyIsRegistered) {
  Machine m;
  FileReservationStore store(m.home(), "/reservations");
  ReservationGuard guard(m.process.cores(), device_uuid, &store);
  ASSERT_TRUE(m.run(guard.register_key(old_host, registration(1, PersistChange::on))).ok());
  EXPECT_EQ(m.node.files().size(), 1u);
  RegisterRequest gone = registration(0);
  gone.action = RegisterAction::remove;
  gone.current_key = 1;
  ASSERT_TRUE(m.run(guard.register_key(old_host, gone)).ok());
  EXPECT_EQ(m.node.files().size(), 0u);
}

TEST(ReservationGuard, WhatCannotBeSavedIsNotDone) {
  Machine m;
  FileReservationStore store(m.home(), "/reservations");
  ReservationGuard guard(m.process.cores(), device_uuid, &store);
  ASSERT_TRUE(m.run(guard.register_key(old_host, registration(1, PersistChange::on))).ok());
  m.node.set_files_fail(true);
  EXPECT_EQ(m.run(guard.acquire(old_host, acquisition(1))).code(), Errc::internal);
  EXPECT_EQ(guard.report().type, ReservationType::none);
  EXPECT_TRUE(guard.at(0).allows(new_host, ReservedAccess::write));
  m.node.set_files_fail(false);
  EXPECT_TRUE(m.run(guard.acquire(old_host, acquisition(1))).ok());
}

TEST(ReservationGuard, ADamagedRecordOpensToNobody) {
  Machine m;
  MemoryReservationStore store;
  DeviceRegistry registry(m.process.cores(), &store);
  register_builtin_schemes(registry, m.process.cores(), "a");
  auto made = m.run(registry.create("malloc:///m0?size_mb=1&uuid=6b29fc40-ca47-1067-b31d-00dd010662da"));
  ASSERT_TRUE(made.ok());
  ASSERT_TRUE(m.run(store.save(made.value()->identity().uuid, "nonsense")).ok());
  EXPECT_EQ(m.run(registry.guard(*made.value())).code(), Errc::bad_format);
  ASSERT_TRUE(m.run(registry.forget_reservations(*made.value())).ok());
  EXPECT_TRUE(m.run(registry.guard(*made.value())).ok());
  m.run(registry.close());
}

TEST(GuardedChannel, RefusesWhatItsHostMayNotDo) {
  Machine m;
  BlockDevice* device = m.create("malloc:///m0?size_mb=1");
  auto guard = m.run(m.registry.guard(*device));
  ASSERT_TRUE(guard.ok());
  ReservationGuard& g = *guard.value();
  auto opened = m.run(open_guarded_channel(*device, g, old_host, m.home()));
  ASSERT_TRUE(opened.ok());
  Channel& channel = *opened.value();
  Bytes data = filled(512, 1);
  const IoVec v = vec(data);
  const BlockRange range{Lba{0}, 1};
  const auto all = [&] {
    return std::vector<Errc>{m.run(channel.read(Lba{0}, IoVecs(&v, 1))).code(),
                             m.run(channel.compare(Lba{0}, IoVecs(&v, 1))).code(),
                             m.run(channel.write(Lba{0}, IoVecs(&v, 1), Durable::no)).code(),
                             m.run(channel.write_zeroes(range, Unmap::no, Durable::no)).code(),
                             m.run(channel.deallocate(range)).code(),
                             m.run(channel.flush()).code()};
  };
  EXPECT_EQ(all(), std::vector<Errc>(6, Errc::ok));
  ASSERT_TRUE(m.run(g.register_key(new_host, registration(2))).ok());
  AcquireRequest request = acquisition(2);
  request.type = ReservationType::write_exclusive;
  ASSERT_TRUE(m.run(g.acquire(new_host, request)).ok());
  const Errc no = Errc::reservation_conflict;
  EXPECT_EQ(all(), (std::vector<Errc>{Errc::ok, Errc::ok, no, no, no, no}));
  request = acquisition(2, 2);
  ASSERT_TRUE(m.run(g.acquire(new_host, request)).ok());
  EXPECT_EQ(all(), std::vector<Errc>(6, no));
  m.run(channel.close());
}

TEST(DeviceClaims, GuardedAndExportedUsersShare) {
  struct Row {
    DeviceUse first, second;
    bool both;
  };
  constexpr Row rows[] = {
      {DeviceUse::sole, DeviceUse::sole, false},         {DeviceUse::sole, DeviceUse::guarded, false},
      {DeviceUse::sole, DeviceUse::exported, false},     {DeviceUse::guarded, DeviceUse::sole, false},
      {DeviceUse::guarded, DeviceUse::guarded, false},   {DeviceUse::guarded, DeviceUse::exported, true},
      {DeviceUse::exported, DeviceUse::sole, false},     {DeviceUse::exported, DeviceUse::guarded, true},
      {DeviceUse::exported, DeviceUse::exported, false},
  };
  Machine m;
  BlockDevice* device = m.create("malloc:///m0?size_mb=1");
  for (const Row& row : rows) {
    auto first = m.registry.claim(*device, "one", row.first);
    ASSERT_TRUE(first.ok());
    {
      auto second = m.registry.claim(*device, "two", row.second);
      EXPECT_EQ(second.ok(), row.both) << static_cast<int>(row.first) << static_cast<int>(row.second);
    }
    EXPECT_EQ(m.registry.entries().at("m0").claimed_by, "one");
  }
  EXPECT_EQ(m.registry.entries().at("m0").claimed_by, "");
}

}  // namespace
}  // namespace holdfast
