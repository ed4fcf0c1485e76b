// ReservationGuard: the reservations of one device, shared by every way to reach it on this engine: the
// target's namespaces and local nexuses. Home core, except for its slots.
//
// Each core has a slot with the rules in force there; who does I/O asks the slot of its core, and holds a
// pass while the operation is under way. A command that takes rights away is done when every core has the new
// rules and every operation that was admitted before has ended. So whoever has it done knows that a host
// without rights changes and reads nothing any more, and that nothing of it is still on its way to the
// device. A host that asks again, because it did not see the answer, waits for the same: so does every
// command of one that has rights in the reservation afterwards.
//
// What persists through power loss is saved before it comes into force.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "block/block_device.h"
#include "block/reservation.h"
#include "block/reservation_state.h"
#include "block/reservation_store.h"
#include "rt/wait.h"

namespace holdfast {

// Hears of what hosts have to be told. Home core; must not wait.
class ReservationObserver {
 public:
  virtual void on_reservation_notice(const Uuid& host, ReservationNotice notice) noexcept = 0;

 protected:
  ~ReservationObserver() = default;
};

// One core's part. Used on that core only.
class ReservationSlot {
 public:
  explicit ReservationSlot(Reactor& core) noexcept : idle_(core) {}

  // An operation under way that the rules allowed.
  class Pass {
   public:
    explicit Pass(ReservationSlot& slot) noexcept : slot_(&slot), generation_(slot.generation_) {
      ++slot_->inside_[generation_];
    }
    Pass(Pass&& o) noexcept : slot_(std::exchange(o.slot_, nullptr)), generation_(o.generation_) {}
    Pass& operator=(Pass&&) = delete;
    ~Pass() {
      if (slot_ != nullptr && --slot_->inside_[generation_] == 0) slot_->idle_.wake_all();
    }

   private:
    ReservationSlot* slot_;
    const unsigned generation_;
  };

  bool allows(const Uuid& host, ReservedAccess access) const noexcept { return rules_.allows(host, access); }
  // reservation_conflict, or ok.
  Status admit(const Uuid& host, ReservedAccess access) const noexcept {
    if (allows(host, access)) [[likely]]
      return Status();
    return Error(Errc::reservation_conflict);
  }

 private:
  friend class ReservationGuard;
  Task<void> drain();

  AccessRules rules_;
  // Operations under way by generation; draining begins a new one. One drain at a time.
  std::array<unsigned, 2> inside_{};
  unsigned generation_ = 0;
  WaitQueue idle_;
};

class ReservationGuard {
 public:
  // `store` may be nullptr: nothing persists then. Cores and store outlive the guard.
  ReservationGuard(const Cores& cores, Uuid device, ReservationStore* store);
  ReservationGuard(const ReservationGuard&) = delete;
  ReservationGuard& operator=(const ReservationGuard&) = delete;
  ~ReservationGuard();  // nothing is under way

  // Takes up what was saved; once, first. Errors: bad_format, and those of the store.
  Task<Status> load();

  // On behalf of a host. Errors: reservation_conflict, invalid_argument, resource_exhausted, internal (what
  // persists could not be saved; nothing has changed then).
  Task<Status> register_key(Uuid host, RegisterRequest request);
  Task<Status> acquire(Uuid host, AcquireRequest request);
  Task<Status> release(Uuid host, ReleaseRequest request);
  Task<Status> set_persist(bool on);
  ReservationReport report() const { return state_.report(); }
  bool can_persist() const noexcept { return store_ != nullptr; }
  // The guard outlives it.
  std::unique_ptr<ReservationClient> client(Uuid host);

  ReservationSlot& at(unsigned core) noexcept { return *slots_[core]; }

  void subscribe(ReservationObserver& observer) { observers_.push_back(&observer); }
  void unsubscribe(ReservationObserver& observer) noexcept { std::erase(observers_, &observer); }

 private:
  Task<Status> commit(Uuid by, ReservationState next, ReservationState::Notices told, Semaphore::Permit turn);
  Task<Status> save(const ReservationState& next);
  Task<void> apply();

  const Cores& cores_;
  const Uuid device_;
  ReservationStore* const store_;
  ReservationState state_;
  bool saved_ = false;                                   // the store may have a record
  std::vector<std::unique_ptr<ReservationSlot>> slots_;  // by core
  std::vector<ReservationObserver*> observers_;
  Semaphore turn_;        // one command at a time changes the state
  Semaphore drain_turn_;  // and one at a time waits for operations under way
};

// A channel of `device` that does only what the guard allows `host`; else it ends with reservation_conflict.
// Called on `core`. The guard outlives the channel.
Task<Result<std::unique_ptr<Channel>>> open_guarded_channel(BlockDevice& device, ReservationGuard& guard,
                                                            Uuid host, Reactor& core);

}  // namespace holdfast
