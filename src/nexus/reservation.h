// How a nexus takes the reservation of its children, so that an older nexus of the volume, which it may not
// be able to reach, changes and reads nothing any more (architecture: P2).
#pragma once

#include <cstdint>

#include "base/error.h"
#include "block/reservation.h"
#include "rt/task.h"

namespace holdfast::nexus {

// Who may be preempted. Values of mayastor.v1 (NexusNvmePreemption).
enum class PreemptPolicy : std::uint8_t {
  arg_key = 0,  // whoever has the key given, nobody without one
  holder = 1,   // whoever stands in the way
};

struct ReservationParams {
  std::uint64_t key = 0;          // 0: the children are not reserved
  std::uint64_t preempt_key = 0;  // arg_key only; 0: none
  ReservationType type = ReservationType::write_exclusive_all_registrants;
  PreemptPolicy policy = PreemptPolicy::arg_key;

  bool wanted() const noexcept { return key != 0; }
  bool operator==(const ReservationParams&) const = default;
};
// Errors: invalid_argument, naming the field.
Status check(const ReservationParams& params);

// What a report has to show of `host`.
bool holds(const ReservationReport& report, const Uuid& host, const ReservationParams& params) noexcept;

// What a report shows when another host has taken what `host` had. That nobody has it, because the target lost
// its reservations, is not that.
bool is_taken(const ReservationReport& report, const Uuid& host) noexcept;

// Registers, takes the reservation by the policy, and reports it to see that it is ours. When it is done,
// what older holders had under way has ended. Repeatable. Errors: reservation_conflict, naming who holds it;
// not_supported; those of the device.
Task<Status> take_reservation(ReservationClient& client, ReservationParams params);
// The registration, and the reservation with it. Errors: reservation_conflict when we had none any more;
// those of the device.
Task<Status> give_back_reservation(ReservationClient& client, ReservationParams params);

}  // namespace holdfast::nexus
