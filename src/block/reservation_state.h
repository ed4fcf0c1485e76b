// ReservationState: registrants and reservation of one namespace, and what each command does to them. Pure:
// no I/O, no time. NVMe Base 2.0, section 8.19.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "block/reservation.h"

namespace holdfast {

// The two groups of commands that reservations tell apart (NVMe Base 2.0, section 8.19, the figure on command
// behaviour in the presence of a reservation). Flush and deallocation count as writes.
enum class ReservedAccess : std::uint8_t { read, write };

// Who may do what; a copy of it is what each core asks for every command.
class AccessRules {
 public:
  AccessRules() = default;
  AccessRules(ReservationType type, Uuid holder, std::vector<Uuid> registrants)
      : type_(type), holder_(holder), registrants_(std::move(registrants)) {}

  bool allows(const Uuid& host, ReservedAccess access) const noexcept {
    if (type_ == ReservationType::none) [[likely]]
      return true;
    return allows_reserved(host, access);
  }
  bool reserved() const noexcept { return type_ != ReservationType::none; }
  // Somebody who is allowed something by `before` is not by these.
  bool revoke(const AccessRules& before) const noexcept;

 private:
  bool allows_reserved(const Uuid& host, ReservedAccess access) const noexcept;

  ReservationType type_ = ReservationType::none;
  Uuid holder_;  // nobody for all registrants types
  std::vector<Uuid> registrants_;
};

class ReservationState {
 public:
  // More than any cluster has hosts; a host may invent identifiers.
  static constexpr std::size_t registrants_max = 128;

  struct Told {
    Uuid host;
    ReservationNotice notice;
    bool operator==(const Told&) const = default;
  };
  using Notices = std::vector<Told>;

  ReservationState() = default;
  // As it was saved; a reservation of another type than "all registrants" has one holder (asserted).
  explicit ReservationState(const ReservationReport& saved);

  // Who has to be told of it, in the order of registration. After an error nothing has changed. Errors:
  // reservation_conflict, invalid_argument, resource_exhausted.
  Result<Notices> register_key(const Uuid& host, const RegisterRequest& request);
  Result<Notices> acquire(const Uuid& host, const AcquireRequest& request);
  Result<Notices> release(const Uuid& host, const ReleaseRequest& request);
  void set_persist(bool on) noexcept { persists_ = on; }

  ReservationReport report() const;
  AccessRules rules() const;
  bool persists() const noexcept { return persists_; }
  bool empty() const noexcept { return registrants_.empty(); }
  ReservationType type() const noexcept { return type_; }

 private:
  struct Entry {
    Uuid host;
    std::uint64_t key;
  };
  Entry* find(const Uuid& host) noexcept;
  bool holds(const Uuid& host) const noexcept;
  Result<Notices> remove_registrant(const Uuid& host);
  Result<Notices> preempt(const Uuid& host, const AcquireRequest& request);
  Notices take_over(const Uuid& host, const AcquireRequest& request, bool everybody);
  Result<Notices> remove_by_key(const Uuid& host, std::uint64_t key);
  Notices tell_others(const Uuid& but, ReservationNotice notice) const;
  void drop_reservation() noexcept;

  std::vector<Entry> registrants_;  // in the order of registration
  ReservationType type_ = ReservationType::none;
  Uuid holder_;  // unless none, or all registrants
  std::uint32_t generation_ = 0;
  bool persists_ = false;
};

}  // namespace holdfast
