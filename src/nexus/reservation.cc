#include "nexus/reservation.h"

#include <algorithm>

#include <fmt/format.h>

namespace holdfast::nexus {
namespace {

// Commands until the reservation is ours: more than one for each registrant there may be costs only time.
constexpr unsigned steps_max = 160;

const Registrant* find(const ReservationReport& report, const Uuid& host) noexcept {
  const auto it = std::find_if(report.registrants.begin(), report.registrants.end(),
                               [&](const Registrant& r) { return r.host == host; });
  return it == report.registrants.end() ? nullptr : &*it;
}

// Somebody whose registration has to go, other than by taking the reservation itself.
const Registrant* unwanted(const ReservationReport& report, const Uuid& host,
                           const ReservationParams& params) noexcept {
  const bool shared = is_registrants_only(params.type) || is_all_registrants(params.type);
  const auto it =
      std::find_if(report.registrants.begin(), report.registrants.end(), [&](const Registrant& r) {
        if (r.host == host) return false;
        return params.policy == PreemptPolicy::holder
                   ? shared
                   : params.preempt_key != 0 && r.key == params.preempt_key;
      });
  return it == report.registrants.end() ? nullptr : &*it;
}

Error taken(const ReservationReport& report, const Uuid& host) {
  for (const Registrant& r : report.registrants) {
    if (!r.holder || r.host == host) continue;
    return Error(Errc::reservation_conflict,
                 fmt::format("it is reserved by host {} with key {:#x}; name that key to preempt, or use the "
                             "policy Holder",
                             r.host.to_string(), r.key));
  }
  return Error(Errc::reservation_conflict, "another host takes its reservation at the same time");
}

// The next command on the way to the reservation.
class Steps {
 public:
  Steps(ReservationClient& client, const ReservationParams& params) noexcept
      : client_(client), params_(params) {}

  Task<Status> registration();
  // `report` does not show the reservation as ours.
  Task<Status> towards(const ReservationReport& report);
  // The last step was not taken: the policy does not allow it.
  bool forbidden() const noexcept { return forbidden_; }

 private:
  Task<Status> acquire() {
    AcquireRequest request;
    request.key = params_.key;
    request.type = params_.type;
    return client_.acquire(request);
  }
  Task<Status> preempt(std::uint64_t key);
  Task<Status> release(ReservationType type) {
    ReleaseRequest request;
    request.key = params_.key;
    request.type = type;
    return client_.release(request);
  }

  ReservationClient& client_;
  const ReservationParams& params_;
  Error forbid(const ReservationReport& report) {
    forbidden_ = true;
    return taken(report, client_.host());
  }
  bool can_abort_ = true;  // the target knows preempt and abort
  bool forbidden_ = false;
};

Task<Status> Steps::registration() {
  RegisterRequest request;
  request.action = RegisterAction::replace;
  request.ignore_existing = true;
  request.new_key = params_.key;
  if (client_.can_persist()) request.persist = PersistChange::on;
  Status done = co_await client_.register_key(request);
  if (done.code() == Errc::invalid_argument && request.persist == PersistChange::on) {
    request.persist = PersistChange::keep;  // a target that cannot
    done = co_await client_.register_key(request);
  }
  co_return done;
}

Task<Status> Steps::preempt(std::uint64_t key) {
  AcquireRequest request;
  request.action = can_abort_ ? AcquireAction::preempt_and_abort : AcquireAction::preempt;
  request.key = params_.key;
  request.preempt_key = key;
  request.type = params_.type;
  Status done = co_await client_.acquire(request);
  const bool refused = done.code() == Errc::invalid_argument || done.code() == Errc::not_supported;
  if (can_abort_ && refused) {
    can_abort_ = false;
    request.action = AcquireAction::preempt;
    done = co_await client_.acquire(request);
  }
  co_return done;
}

Task<Status> Steps::towards(const ReservationReport& report) {
  if (report.type == ReservationType::none) {
    const Registrant* other = unwanted(report, client_.host(), params_);
    if (other == nullptr || other->key == params_.key) co_return co_await acquire();
    co_return co_await preempt(other->key);
  }
  const Registrant* ours = find(report, client_.host());
  if (ours == nullptr || ours->key != params_.key) co_return co_await registration();
  const bool may_take = params_.policy == PreemptPolicy::holder;
  if (is_all_registrants(report.type)) {
    if (may_take) co_return co_await preempt(0);
    if (params_.preempt_key == 0) co_return forbid(report);
    const Registrant* other = unwanted(report, client_.host(), params_);
    if (other != nullptr) co_return co_await preempt(other->key);
    co_return co_await release(report.type);  // one of ours of another type
  }
  const Registrant* other = unwanted(report, client_.host(), params_);
  if (ours->holder) {
    if (report.type != params_.type) co_return co_await release(report.type);
    if (other != nullptr) co_return co_await preempt(other->key);
    co_return Status();
  }
  if (may_take) {
    const auto holder = std::find_if(report.registrants.begin(), report.registrants.end(),
                                     [](const Registrant& r) { return r.holder; });
    if (holder == report.registrants.end()) co_return Error(Errc::protocol);
    co_return co_await preempt(holder->key);
  }
  if (other != nullptr && other->holder) co_return co_await preempt(params_.preempt_key);
  co_return forbid(report);
}

}  // namespace

Status check(const ReservationParams& params) {
  if (!params.wanted()) return Status();
  if (!is_valid(params.type)) {
    return Error(Errc::invalid_argument,
                 fmt::format("{} is not a type of reservation", static_cast<int>(params.type)));
  }
  if (params.policy == PreemptPolicy::holder && params.preempt_key != 0) {
    return Error(
        Errc::invalid_argument,
        "a key to preempt cannot be given with the policy Holder, which finds out the key by itself");
  }
  return Status();
}

bool holds(const ReservationReport& report, const Uuid& host, const ReservationParams& params) noexcept {
  const Registrant* ours = find(report, host);
  return report.type == params.type && ours != nullptr && ours->key == params.key && ours->holder &&
         unwanted(report, host, params) == nullptr;
}

bool is_taken(const ReservationReport& report, const Uuid& host) noexcept {
  const Registrant* ours = find(report, host);
  if (ours == nullptr) return !report.registrants.empty();
  return report.type != ReservationType::none && !ours->holder;
}

Task<Status> take_reservation(ReservationClient& client, ReservationParams params) {
  Steps steps(client, params);
  const Status registered = co_await steps.registration();
  if (registered.code() == Errc::not_supported) {
    co_return Error(Errc::not_supported,
                    "its target has no reservations; use another one, or create the nexus without resvKey");
  }
  if (!registered.ok()) co_return registered.error();
  for (unsigned step = 0; step < steps_max; ++step) {
    HF_CO_TRY(const ReservationReport report, co_await client.report());
    if (holds(report, client.host(), params)) co_return Status();
    const Status done = co_await steps.towards(report);
    // Who was to be preempted may have gone meanwhile, or have been by a command whose answer was lost; the
    // next report tells.
    const bool raced = done.code() == Errc::reservation_conflict && !steps.forbidden();
    if (!done.ok() && !raced) co_return done.error();
  }
  HF_CO_TRY(const ReservationReport report, co_await client.report());
  co_return taken(report, client.host());
}

Task<Status> give_back_reservation(ReservationClient& client, ReservationParams params) {
  RegisterRequest request;
  request.action = RegisterAction::remove;
  request.current_key = params.key;
  return client.register_key(request);
}

}  // namespace holdfast::nexus
