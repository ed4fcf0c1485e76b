// The state machine of reservations against NVMe Base 2.0, section 8.19.
#include "block/reservation_state.h"

#include <gtest/gtest.h>

namespace holdfast {

void PrintTo(const ReservationState::Told& told, std::ostream* out) {
  *out << told.host.to_string() << " " << static_cast<int>(told.notice);
}

namespace {

using Notices = ReservationState::Notices;
using Type = ReservationType;

constexpr Type all_types[] = {Type::write_exclusive,
                              Type::exclusive_access,
                              Type::write_exclusive_registrants_only,
                              Type::exclusive_access_registrants_only,
                              Type::write_exclusive_all_registrants,
                              Type::exclusive_access_all_registrants};

Uuid host(char name) { return Uuid::from_name(std::string("host ") + name); }
const Uuid a = host('a'), b = host('b'), c = host('c'), stranger = host('s');

struct Machine {
  Errc add(const Uuid& h, std::uint64_t key) {
    RegisterRequest r;
    r.new_key = key;
    return take(state.register_key(h, r));
  }
  Errc remove(const Uuid& h, std::uint64_t key, bool ignore = false) {
    RegisterRequest r;
    r.action = RegisterAction::remove;
    r.current_key = key;
    r.ignore_existing = ignore;
    return take(state.register_key(h, r));
  }
  Errc replace(const Uuid& h, std::uint64_t key, std::uint64_t next, bool ignore = false) {
    RegisterRequest r;
    r.action = RegisterAction::replace;
    r.current_key = key;
    r.new_key = next;
    r.ignore_existing = ignore;
    return take(state.register_key(h, r));
  }
  Errc acquire(const Uuid& h, std::uint64_t key, Type type) {
    return take(state.acquire(h, {AcquireAction::acquire, key, 0, type}));
  }
  Errc preempt(const Uuid& h, std::uint64_t key, std::uint64_t prey, Type type,
               AcquireAction action = AcquireAction::preempt) {
    return take(state.acquire(h, {action, key, prey, type}));
  }
  Errc release(const Uuid& h, std::uint64_t key, Type type) {
    return take(state.release(h, {ReleaseAction::release, key, type}));
  }
  Errc clear(const Uuid& h, std::uint64_t key) {
    return take(state.release(h, {ReleaseAction::clear, key, Type::none}));
  }
  bool allows(const Uuid& h, ReservedAccess access) const { return state.rules().allows(h, access); }
  bool holds(const Uuid& h) const {
    for (const auto& r : state.report().registrants) {
      if (r.host == h) return r.holder;
    }
    return false;
  }
  bool registered(const Uuid& h) const {
    for (const auto& r : state.report().registrants) {
      if (r.host == h) return true;
    }
    return false;
  }
  Type type() const { return state.report().type; }
  std::uint32_t generation() const { return state.report().generation; }

  ReservationState state;
  Notices told;  // by the last command

 private:
  Errc take(Result<Notices> result) {
    told.clear();
    if (!result.ok()) return result.code();
    told = std::move(result).value();
    return Errc::ok;
  }
};

// a (key 1), b (key 2), c (key 2).
Machine three() {
  Machine m;
  EXPECT_EQ(m.add(a, 1), Errc::ok);
  EXPECT_EQ(m.add(b, 2), Errc::ok);
  EXPECT_EQ(m.add(c, 2), Errc::ok);
  return m;
}
Machine three_with(Type type) {
  Machine m = three();
  EXPECT_EQ(m.acquire(a, 1, type), Errc::ok);
  return m;
}

TEST(ReservationAccess, IsThatOfTheTable) {
  struct Row {
    Type type;
    bool holder_reads, holder_writes, registrant_reads, registrant_writes, stranger_reads, stranger_writes;
  };
  constexpr Row rows[] = {
      {Type::none, true, true, true, true, true, true},
      {Type::write_exclusive, true, true, true, false, true, false},
      {Type::exclusive_access, true, true, false, false, false, false},
      {Type::write_exclusive_registrants_only, true, true, true, true, true, false},
      {Type::exclusive_access_registrants_only, true, true, true, true, false, false},
      {Type::write_exclusive_all_registrants, true, true, true, true, true, false},
      {Type::exclusive_access_all_registrants, true, true, true, true, false, false},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(static_cast<int>(row.type));
    const Machine m = row.type == Type::none ? three() : three_with(row.type);
    EXPECT_EQ(m.allows(a, ReservedAccess::read), row.holder_reads);
    EXPECT_EQ(m.allows(a, ReservedAccess::write), row.holder_writes);
    EXPECT_EQ(m.allows(b, ReservedAccess::read), row.registrant_reads);
    EXPECT_EQ(m.allows(b, ReservedAccess::write), row.registrant_writes);
    EXPECT_EQ(m.allows(stranger, ReservedAccess::read), row.stranger_reads);
    EXPECT_EQ(m.allows(stranger, ReservedAccess::write), row.stranger_writes);
  }
}

TEST(ReservationRegister, KeysAreCheckedAndChanged) {
  Machine m;
  EXPECT_EQ(m.add(a, 0), Errc::invalid_argument);
  EXPECT_EQ(m.add(Uuid(), 1), Errc::invalid_argument);
  EXPECT_EQ(m.add(a, 1), Errc::ok);
  EXPECT_EQ(m.add(a, 1), Errc::ok) << "the same key again";
  EXPECT_EQ(m.add(a, 3), Errc::reservation_conflict);
  EXPECT_EQ(m.replace(a, 3, 4), Errc::reservation_conflict) << "not the current key";
  EXPECT_EQ(m.replace(a, 1, 0), Errc::invalid_argument);
  EXPECT_EQ(m.replace(a, 1, 4), Errc::ok);
  EXPECT_EQ(m.replace(a, 99, 5, true), Errc::ok) << "whatever the key is";
  EXPECT_EQ(m.replace(b, 2, 2), Errc::reservation_conflict) << "not a registrant";
  EXPECT_EQ(m.replace(b, 0, 2, true), Errc::ok) << "regardless of the registration";
  EXPECT_EQ(m.remove(b, 1), Errc::reservation_conflict);
  EXPECT_EQ(m.remove(stranger, 1), Errc::reservation_conflict);
  EXPECT_EQ(m.remove(stranger, 1, true), Errc::reservation_conflict);
  EXPECT_EQ(m.remove(b, 2), Errc::ok);
  EXPECT_EQ(m.remove(a, 0, true), Errc::ok);
  EXPECT_TRUE(m.state.empty());
  RegisterRequest odd;
  odd.new_key = 1;
  odd.action = static_cast<RegisterAction>(3);
  EXPECT_EQ(m.state.register_key(a, odd).code(), Errc::invalid_argument);
  odd.action = RegisterAction::add;
  odd.persist = static_cast<PersistChange>(1);
  EXPECT_EQ(m.state.register_key(a, odd).code(), Errc::invalid_argument);
  EXPECT_FALSE(m.registered(a));
}

TEST(ReservationRegister, TheNumberOfRegistrantsIsBounded) {
  Machine m;
  for (std::size_t i = 0; i < ReservationState::registrants_max; ++i) {
    ASSERT_EQ(m.add(Uuid::from_name(std::to_string(i)), 1), Errc::ok);
  }
  EXPECT_EQ(m.add(a, 1), Errc::resource_exhausted);
  EXPECT_EQ(m.replace(a, 0, 1, true), Errc::resource_exhausted);
  EXPECT_EQ(m.add(Uuid::from_name("0"), 1), Errc::ok) << "known already";
}

TEST(ReservationRegister, PersistenceChangesOnlyWithSuccess) {
  Machine m;
  RegisterRequest r;
  r.new_key = 1;
  r.persist = PersistChange::on;
  EXPECT_TRUE(m.state.register_key(a, r).ok());
  EXPECT_TRUE(m.state.report().persists);
  r.new_key = 2;
  r.persist = PersistChange::off;
  EXPECT_EQ(m.state.register_key(a, r).code(), Errc::reservation_conflict);
  EXPECT_TRUE(m.state.report().persists);
  r.new_key = 1;
  EXPECT_TRUE(m.state.register_key(a, r).ok());
  EXPECT_FALSE(m.state.report().persists);
}

TEST(ReservationRegister, TheReservationGoesWithItsHolder) {
  for (const Type type : all_types) {
    SCOPED_TRACE(static_cast<int>(type));
    Machine m = three_with(type);
    EXPECT_EQ(m.remove(b, 2), Errc::ok);
    EXPECT_EQ(m.type(), type) << "not the holder, or not the only one";
    EXPECT_EQ(m.remove(a, 1), Errc::ok);
    EXPECT_EQ(m.type(), is_all_registrants(type) ? type : Type::none);
    const Notices expected{{c, ReservationNotice::reservation_released}};
    EXPECT_EQ(m.told, is_registrants_only(type) ? expected : Notices());
    EXPECT_EQ(m.remove(c, 2), Errc::ok);
    EXPECT_EQ(m.type(), Type::none) << "nobody is left";
  }
}

TEST(ReservationAcquire, OneHolderOfOneType) {
  for (const Type type : all_types) {
    for (const Type other : all_types) {
      SCOPED_TRACE(testing::Message() << static_cast<int>(type) << " then " << static_cast<int>(other));
      Machine m = three();
      EXPECT_EQ(m.acquire(stranger, 1, type), Errc::reservation_conflict);
      EXPECT_EQ(m.acquire(a, 9, type), Errc::reservation_conflict) << "another key";
      EXPECT_EQ(m.acquire(a, 1, type), Errc::ok);
      EXPECT_TRUE(m.holds(a));
      EXPECT_EQ(m.holds(b), is_all_registrants(type));
      EXPECT_EQ(m.acquire(a, 1, other), type == other ? Errc::ok : Errc::reservation_conflict);
      const bool shared = is_all_registrants(type) && type == other;
      EXPECT_EQ(m.acquire(b, 2, other), shared ? Errc::ok : Errc::reservation_conflict);
      EXPECT_EQ(m.type(), type);
    }
  }
  Machine m = three();
  EXPECT_EQ(m.acquire(a, 1, Type::none), Errc::invalid_argument);
  EXPECT_EQ(m.acquire(a, 1, static_cast<Type>(7)), Errc::invalid_argument);
  EXPECT_EQ(m.state.acquire(a, {static_cast<AcquireAction>(3), 1, 0, Type::write_exclusive}).code(),
            Errc::invalid_argument);
}

TEST(ReservationAcquire, WhoRegistersUnderAllRegistrantsHolds) {
  Machine m = three_with(Type::exclusive_access_all_registrants);
  EXPECT_EQ(m.add(stranger, 7), Errc::ok);
  EXPECT_TRUE(m.holds(stranger));
  EXPECT_TRUE(m.allows(stranger, ReservedAccess::write));
}

TEST(ReservationPreempt, TakesTheReservationOfTheKey) {
  for (const AcquireAction action : {AcquireAction::preempt, AcquireAction::preempt_and_abort}) {
    for (const Type type :
         {Type::write_exclusive, Type::exclusive_access, Type::write_exclusive_registrants_only,
          Type::exclusive_access_registrants_only}) {
      for (const Type next : all_types) {
        SCOPED_TRACE(testing::Message() << static_cast<int>(type) << " to " << static_cast<int>(next));
        Machine m = three_with(type);
        EXPECT_EQ(m.preempt(stranger, 1, 1, next, action), Errc::reservation_conflict);
        EXPECT_EQ(m.preempt(b, 3, 1, next, action), Errc::reservation_conflict);
        EXPECT_EQ(m.preempt(b, 2, 0, next, action), Errc::invalid_argument);
        EXPECT_EQ(m.preempt(b, 2, 3, next, action), Errc::reservation_conflict) << "nobody has key 3";
        EXPECT_EQ(m.preempt(b, 2, 1, next, action), Errc::ok);
        EXPECT_FALSE(m.registered(a));
        EXPECT_TRUE(m.registered(c));
        EXPECT_TRUE(m.holds(b));
        EXPECT_EQ(m.holds(c), is_all_registrants(next));
        EXPECT_EQ(m.type(), next);
        Notices expected{{a, ReservationNotice::registration_preempted}};
        if (type != next) expected.push_back({c, ReservationNotice::reservation_released});
        EXPECT_EQ(m.told, expected);
      }
    }
  }
}

TEST(ReservationPreempt, RemovesRegistrationsOfAnotherKey) {
  for (const Type type : all_types) {
    SCOPED_TRACE(static_cast<int>(type));
    Machine m = three_with(type);
    EXPECT_EQ(m.preempt(a, 1, 2, Type::write_exclusive), Errc::ok);
    EXPECT_FALSE(m.registered(b));
    EXPECT_FALSE(m.registered(c));
    EXPECT_TRUE(m.holds(a));
    EXPECT_EQ(m.type(), type) << "the reservation stays as it is";
    const Notices expected{{b, ReservationNotice::registration_preempted},
                           {c, ReservationNotice::registration_preempted}};
    EXPECT_EQ(m.told, expected);
  }
  Machine m = three();  // without a reservation
  EXPECT_EQ(m.preempt(a, 1, 0, Type::write_exclusive), Errc::reservation_conflict);
  EXPECT_EQ(m.preempt(a, 1, 2, Type::write_exclusive), Errc::ok);
  EXPECT_EQ(m.type(), Type::none);
  EXPECT_FALSE(m.registered(b));
}

TEST(ReservationPreempt, KeyZeroTakesTheReservationOfAllRegistrants) {
  for (const Type type : {Type::write_exclusive_all_registrants, Type::exclusive_access_all_registrants}) {
    for (const Type next : all_types) {
      Machine m = three_with(type);
      EXPECT_EQ(m.preempt(b, 2, 0, next), Errc::ok);
      EXPECT_EQ(m.type(), next);
      EXPECT_TRUE(m.holds(b));
      EXPECT_FALSE(m.registered(a));
      EXPECT_FALSE(m.registered(c));
    }
    Machine m = three_with(type);
    EXPECT_EQ(m.preempt(b, 2, 3, type), Errc::reservation_conflict) << "nobody has key 3";
    EXPECT_EQ(m.preempt(b, 2, 2, type), Errc::ok) << "the issuer's own key";
    EXPECT_FALSE(m.registered(b));
    EXPECT_EQ(m.preempt(a, 1, 1, type), Errc::ok);
    EXPECT_EQ(m.type(), Type::none) << "the last one went";
  }
}

TEST(ReservationPreempt, AHolderChangesTheTypeOfItsOwn) {
  Machine m = three_with(Type::exclusive_access_registrants_only);
  EXPECT_EQ(m.preempt(a, 1, 1, Type::write_exclusive), Errc::ok);
  EXPECT_EQ(m.type(), Type::write_exclusive);
  EXPECT_TRUE(m.holds(a));
  const Notices expected{{b, ReservationNotice::reservation_released},
                         {c, ReservationNotice::reservation_released}};
  EXPECT_EQ(m.told, expected);
}

TEST(ReservationRelease, OnlyTheHoldersEndsIt) {
  for (const Type type : all_types) {
    SCOPED_TRACE(static_cast<int>(type));
    Machine m = three_with(type);
    const Type wrong = type == Type::write_exclusive ? Type::exclusive_access : Type::write_exclusive;
    EXPECT_EQ(m.release(stranger, 1, type), Errc::reservation_conflict);
    EXPECT_EQ(m.release(a, 2, type), Errc::reservation_conflict);
    EXPECT_EQ(m.release(a, 1, wrong), Errc::invalid_argument);
    EXPECT_EQ(m.release(b, 2, type), Errc::ok);
    EXPECT_EQ(m.type(), is_all_registrants(type) ? Type::none : type);
    if (is_all_registrants(type)) continue;
    EXPECT_EQ(m.told, Notices());
    EXPECT_EQ(m.release(a, 1, type), Errc::ok);
    EXPECT_EQ(m.type(), Type::none);
    const Notices expected{{b, ReservationNotice::reservation_released},
                           {c, ReservationNotice::reservation_released}};
    EXPECT_EQ(m.told, is_registrants_only(type) ? expected : Notices());
    EXPECT_EQ(m.release(a, 1, type), Errc::ok) << "there is none any more";
    EXPECT_TRUE(m.registered(a));
  }
  Machine m = three();
  EXPECT_EQ(m.state.release(a, {static_cast<ReleaseAction>(2), 1, Type::none}).code(),
            Errc::invalid_argument);
}

TEST(ReservationRelease, ClearRemovesEverything) {
  for (const Type type : all_types) {
    Machine m = three_with(type);
    EXPECT_EQ(m.clear(stranger, 1), Errc::reservation_conflict);
    EXPECT_EQ(m.clear(c, 1), Errc::reservation_conflict);
    EXPECT_EQ(m.clear(c, 2), Errc::ok);
    EXPECT_EQ(m.type(), Type::none);
    EXPECT_TRUE(m.state.empty());
    const Notices expected{{a, ReservationNotice::reservation_preempted},
                           {b, ReservationNotice::reservation_preempted}};
    EXPECT_EQ(m.told, expected);
  }
}

TEST(ReservationReport, CountsWhatChangesRegistrations) {
  Machine m;
  EXPECT_EQ(m.generation(), 0u);
  EXPECT_EQ(m.add(a, 1), Errc::ok);
  EXPECT_EQ(m.add(b, 2), Errc::ok);
  EXPECT_EQ(m.generation(), 2u);
  EXPECT_EQ(m.add(b, 3), Errc::reservation_conflict);
  EXPECT_EQ(m.acquire(a, 1, Type::write_exclusive), Errc::ok);
  EXPECT_EQ(m.generation(), 2u) << "acquire and release do not count";
  EXPECT_EQ(m.preempt(b, 2, 1, Type::write_exclusive), Errc::ok);
  EXPECT_EQ(m.generation(), 3u);
  EXPECT_EQ(m.release(b, 2, Type::write_exclusive), Errc::ok);
  EXPECT_EQ(m.generation(), 3u);
  EXPECT_EQ(m.clear(b, 2), Errc::ok);
  EXPECT_EQ(m.generation(), 4u);
}

TEST(ReservationRules, TellWhetherSomebodyLosesARight) {
  const AccessRules free = three().state.rules();
  const AccessRules shared = three_with(Type::exclusive_access_registrants_only).state.rules();
  const AccessRules single = three_with(Type::exclusive_access).state.rules();
  EXPECT_TRUE(single.revoke(free));
  EXPECT_TRUE(single.revoke(shared));
  EXPECT_TRUE(shared.revoke(free)) << "strangers do";
  EXPECT_FALSE(free.revoke(single));
  EXPECT_FALSE(shared.revoke(single));
  EXPECT_FALSE(single.revoke(single));
  Machine m = three_with(Type::write_exclusive);
  const AccessRules before = m.state.rules();
  EXPECT_EQ(m.preempt(b, 2, 1, Type::write_exclusive), Errc::ok);
  EXPECT_TRUE(m.state.rules().revoke(before));
}

}  // namespace
}  // namespace holdfast
