#include "block/reservation_state.h"

#include <algorithm>

#include "base/assert.h"

namespace holdfast {
namespace {

Error conflict() { return Error(Errc::reservation_conflict); }
Error invalid() { return Error(Errc::invalid_argument); }

bool everybody_reads(ReservationType type) noexcept {
  return type == ReservationType::write_exclusive ||
         type == ReservationType::write_exclusive_registrants_only ||
         type == ReservationType::write_exclusive_all_registrants;
}

}  // namespace

bool AccessRules::allows_reserved(const Uuid& host, ReservedAccess access) const noexcept {
  if (access == ReservedAccess::read && everybody_reads(type_)) return true;
  if (is_registrants_only(type_) || is_all_registrants(type_))
    return std::find(registrants_.begin(), registrants_.end(), host) != registrants_.end();
  return host == holder_;
}

bool AccessRules::revoke(const AccessRules& before) const noexcept {
  const auto loses = [&](const Uuid& host) {
    for (const ReservedAccess access : {ReservedAccess::read, ReservedAccess::write}) {
      if (before.allows(host, access) && !allows(host, access)) return true;
    }
    return false;
  };
  // Hosts that registered neither before nor after are all alike; the nil identifier is none of a host.
  return loses(Uuid()) || std::any_of(before.registrants_.begin(), before.registrants_.end(), loses) ||
         std::any_of(registrants_.begin(), registrants_.end(), loses);
}

ReservationState::ReservationState(const ReservationReport& saved)
    : type_(saved.type), generation_(saved.generation), persists_(saved.persists) {
  const bool single = type_ != ReservationType::none && !is_all_registrants(type_);
  unsigned holders = 0;
  for (const Registrant& r : saved.registrants) {
    registrants_.push_back({r.host, r.key});
    if (!single || !r.holder) continue;
    holder_ = r.host;
    ++holders;
  }
  HF_ASSERT(holders == (single ? 1u : 0u));
  HF_ASSERT(type_ == ReservationType::none || !registrants_.empty());
}

ReservationState::Entry* ReservationState::find(const Uuid& host) noexcept {
  const auto it =
      std::find_if(registrants_.begin(), registrants_.end(), [&](const Entry& e) { return e.host == host; });
  return it == registrants_.end() ? nullptr : &*it;
}

// `host` is a registrant.
bool ReservationState::holds(const Uuid& host) const noexcept {
  return type_ != ReservationType::none && (is_all_registrants(type_) || host == holder_);
}

void ReservationState::drop_reservation() noexcept {
  type_ = ReservationType::none;
  holder_ = Uuid();
}

ReservationState::Notices ReservationState::tell_others(const Uuid& but, ReservationNotice notice) const {
  Notices told;
  for (const Entry& e : registrants_) {
    if (e.host != but) told.push_back({e.host, notice});
  }
  return told;
}

Result<ReservationState::Notices> ReservationState::register_key(const Uuid& host,
                                                                 const RegisterRequest& request) {
  if (request.action > RegisterAction::replace || host.is_nil()) return invalid();
  if (request.persist != PersistChange::keep && request.persist != PersistChange::off &&
      request.persist != PersistChange::on) {
    return invalid();
  }
  Entry* known = find(host);
  Notices notices;
  if (request.action == RegisterAction::remove) {
    if (known == nullptr || (!request.ignore_existing && known->key != request.current_key))
      return conflict();
    HF_TRY(notices, remove_registrant(host));
  } else {
    if (request.new_key == 0) return invalid();
    const bool replace = request.action == RegisterAction::replace;
    if (replace && !request.ignore_existing && (known == nullptr || known->key != request.current_key)) {
      return conflict();
    }
    if (!replace && known != nullptr && known->key != request.new_key) return conflict();
    if (known == nullptr && registrants_.size() >= registrants_max) return Error(Errc::resource_exhausted);
    if (known == nullptr) {
      registrants_.push_back({host, request.new_key});
    } else {
      known->key = request.new_key;
    }
  }
  ++generation_;
  if (request.persist != PersistChange::keep) persists_ = request.persist == PersistChange::on;
  return notices;
}

// Section 8.19: the reservation goes with its only holder.
Result<ReservationState::Notices> ReservationState::remove_registrant(const Uuid& host) {
  const bool held = holds(host);
  std::erase_if(registrants_, [&](const Entry& e) { return e.host == host; });
  Notices notices;
  if (!held || (is_all_registrants(type_) && !registrants_.empty())) return notices;
  if (is_registrants_only(type_)) notices = tell_others(host, ReservationNotice::reservation_released);
  drop_reservation();
  return notices;
}

Result<ReservationState::Notices> ReservationState::acquire(const Uuid& host, const AcquireRequest& request) {
  if (request.action > AcquireAction::preempt_and_abort || !is_valid(request.type)) return invalid();
  const Entry* known = find(host);
  if (known == nullptr || known->key != request.key) return conflict();
  if (request.action != AcquireAction::acquire) return preempt(host, request);
  // To acquire again what one has is no error.
  if (holds(host) && type_ == request.type) return Notices();
  if (type_ != ReservationType::none) return conflict();
  type_ = request.type;
  if (!is_all_registrants(type_)) holder_ = host;
  return Notices();
}

// Section 8.19, preempting a reservation.
Result<ReservationState::Notices> ReservationState::preempt(const Uuid& host, const AcquireRequest& request) {
  const std::uint64_t key = request.preempt_key;
  if (type_ == ReservationType::none) return remove_by_key(host, key);
  if (is_all_registrants(type_)) {
    if (key == 0) return take_over(host, request, true);
    return remove_by_key(host, key);
  }
  if (key == 0) return invalid();
  if (find(holder_)->key == key) return take_over(host, request, false);
  return remove_by_key(host, key);
}

// The others, or those of them with the key, lose their registration, and the reservation becomes the host's.
ReservationState::Notices ReservationState::take_over(const Uuid& host, const AcquireRequest& request,
                                                      bool everybody) {
  Notices notices;
  std::vector<Entry> stay;
  for (const Entry& e : registrants_) {
    if (e.host == host || (!everybody && e.key != request.preempt_key)) {
      stay.push_back(e);
    } else {
      notices.push_back({e.host, ReservationNotice::registration_preempted});
    }
  }
  registrants_ = std::move(stay);
  if (type_ != request.type) {
    const Notices released = tell_others(host, ReservationNotice::reservation_released);
    notices.insert(notices.end(), released.begin(), released.end());
  }
  type_ = request.type;
  holder_ = is_all_registrants(type_) ? Uuid() : host;
  ++generation_;
  return notices;
}

// Nobody with that key holds the reservation alone, so it stays, unless the last of all registrants goes.
Result<ReservationState::Notices> ReservationState::remove_by_key(const Uuid& host, std::uint64_t key) {
  Notices notices;
  const std::size_t before = registrants_.size();
  for (const Entry& e : registrants_) {
    if (e.key == key && e.host != host) {
      notices.push_back({e.host, ReservationNotice::registration_preempted});
    }
  }
  std::erase_if(registrants_, [&](const Entry& e) { return e.key == key; });
  if (registrants_.size() == before) return conflict();
  if (registrants_.empty()) drop_reservation();
  ++generation_;
  return notices;
}

Result<ReservationState::Notices> ReservationState::release(const Uuid& host, const ReleaseRequest& request) {
  if (request.action > ReleaseAction::clear) return invalid();
  const Entry* known = find(host);
  if (known == nullptr || known->key != request.key) return conflict();
  if (request.action == ReleaseAction::clear) {
    Notices notices = tell_others(host, ReservationNotice::reservation_preempted);
    registrants_.clear();
    drop_reservation();
    ++generation_;
    return notices;
  }
  if (type_ == ReservationType::none) return Notices();
  if (type_ != request.type) return invalid();
  if (!holds(host)) return Notices();
  Notices notices;
  if (is_registrants_only(type_) || is_all_registrants(type_)) {
    notices = tell_others(host, ReservationNotice::reservation_released);
  }
  drop_reservation();
  return notices;
}

ReservationReport ReservationState::report() const {
  ReservationReport r;
  r.generation = generation_;
  r.type = type_;
  r.persists = persists_;
  for (const Entry& e : registrants_) r.registrants.push_back({e.host, e.key, holds(e.host)});
  return r;
}

AccessRules ReservationState::rules() const {
  std::vector<Uuid> hosts;
  hosts.reserve(registrants_.size());
  for (const Entry& e : registrants_) hosts.push_back(e.host);
  return AccessRules(type_, holder_, std::move(hosts));
}

}  // namespace holdfast
