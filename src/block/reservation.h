// Reservations of a namespace: who may read and write it while several hosts can reach it.
// Source: NVMe Base 2.0, section 8.19 (reservations) and sections 7.2 to 7.5 (the commands).
//
// A host is known by its 128 bit host identifier. It registers a key, then acquires the reservation, or
// preempts the host that has it. The numeric values of the enumerations are those of the commands' fields.
#pragma once

#include <cstdint>
#include <vector>

#include "base/error.h"
#include "base/uuid.h"
#include "rt/task.h"

namespace holdfast {

enum class ReservationType : std::uint8_t {
  none = 0,
  write_exclusive = 1,                    // the holder writes, everybody reads
  exclusive_access = 2,                   // the holder writes and reads
  write_exclusive_registrants_only = 3,   // registrants write, everybody reads
  exclusive_access_registrants_only = 4,  // registrants write and read
  write_exclusive_all_registrants = 5,    // the same two, and every registrant is a holder
  exclusive_access_all_registrants = 6,
};
constexpr bool is_valid(ReservationType type) noexcept {
  return type >= ReservationType::write_exclusive &&
         type <= ReservationType::exclusive_access_all_registrants;
}
constexpr bool is_all_registrants(ReservationType type) noexcept {
  return type == ReservationType::write_exclusive_all_registrants ||
         type == ReservationType::exclusive_access_all_registrants;
}
constexpr bool is_registrants_only(ReservationType type) noexcept {
  return type == ReservationType::write_exclusive_registrants_only ||
         type == ReservationType::exclusive_access_registrants_only;
}

enum class RegisterAction : std::uint8_t { add = 0, remove = 1, replace = 2 };
enum class AcquireAction : std::uint8_t { acquire = 0, preempt = 1, preempt_and_abort = 2 };
enum class ReleaseAction : std::uint8_t { release = 0, clear = 1 };
// What becomes of the state "persist through power loss".
enum class PersistChange : std::uint8_t { keep = 0, off = 2, on = 3 };

struct RegisterRequest {
  RegisterAction action = RegisterAction::add;
  std::uint64_t current_key = 0;  // remove, replace
  std::uint64_t new_key = 0;      // add, replace; not 0
  bool ignore_existing = false;   // remove, replace: whatever the key is; replace also registers then
  PersistChange persist = PersistChange::keep;
};
struct AcquireRequest {
  AcquireAction action = AcquireAction::acquire;
  std::uint64_t key = 0;          // as registered
  std::uint64_t preempt_key = 0;  // of those who lose their registration
  ReservationType type = ReservationType::none;
};
struct ReleaseRequest {
  ReleaseAction action = ReleaseAction::release;
  std::uint64_t key = 0;
  ReservationType type = ReservationType::none;  // release: as it is held
};

struct Registrant {
  Uuid host;
  std::uint64_t key = 0;
  bool holder = false;
  bool operator==(const Registrant&) const = default;
};
struct ReservationReport {
  std::uint32_t generation = 0;  // counts registrations and what removes them
  ReservationType type = ReservationType::none;
  bool persists = false;  // through power loss
  std::vector<Registrant> registrants;
  bool operator==(const ReservationReport&) const = default;
};

// What a host hears of a namespace that it is, or was, registered with (values: log page 80h).
enum class ReservationNotice : std::uint8_t {
  registration_preempted = 1,
  reservation_released = 2,
  reservation_preempted = 3,
};

// The reservations of one device as one host uses them. Home core.
// Errors: reservation_conflict; invalid_argument; resource_exhausted (too many registrants); not_supported
// (the device is behind a target without reservations); those of the path to the device, after which the
// request may or may not have been executed.
class ReservationClient {
 public:
  virtual Task<Status> register_key(RegisterRequest request) = 0;
  // When it is done, no host does anything any more that the reservation denies it: what was under way has
  // ended.
  virtual Task<Status> acquire(AcquireRequest request) = 0;
  virtual Task<Status> release(ReleaseRequest request) = 0;
  virtual Task<Result<ReservationReport>> report() = 0;
  // The host that all this is done for.
  virtual const Uuid& host() const noexcept = 0;
  // Registrations can persist through power loss.
  virtual bool can_persist() const noexcept = 0;

  ReservationClient() = default;
  ReservationClient(const ReservationClient&) = delete;
  ReservationClient& operator=(const ReservationClient&) = delete;
  virtual ~ReservationClient() = default;
};

}  // namespace holdfast
