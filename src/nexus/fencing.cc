// The reservations of the children: taken when a device is opened, given back when the nexus ends cleanly.
#include <utility>

#include "base/log.h"
#include "nexus/control.h"

namespace holdfast::nexus {
namespace {

ReservationClient& client_of(const Child& c) noexcept {
  return c.local_client ? *c.local_client : *c.device->reservations();
}

Task<Status> refused() { co_return Error(Errc::fenced); }

// Once the nexus is fenced nothing more is asked for: who stands in the way now is the newer one.
class UnlessFenced final : public ReservationClient {
 public:
  UnlessFenced(ReservationClient& client, const bool& fenced) noexcept : client_(client), fenced_(fenced) {}
  Task<Status> register_key(RegisterRequest r) override {
    return fenced_ ? refused() : client_.register_key(r);
  }
  Task<Status> acquire(AcquireRequest r) override { return fenced_ ? refused() : client_.acquire(r); }
  Task<Status> release(ReleaseRequest r) override { return fenced_ ? refused() : client_.release(r); }
  Task<Result<ReservationReport>> report() override { return client_.report(); }
  const Uuid& host() const noexcept override { return client_.host(); }
  bool can_persist() const noexcept override { return client_.can_persist(); }

 private:
  ReservationClient& client_;
  const bool& fenced_;
};

}  // namespace

// Before any I/O, so that an older nexus has ended with this child when the new one begins.
Task<Status> Control::reserve(Child& c) {
  if (c.device->reservations() == nullptr) {
    HF_CO_TRY(c.guard, co_await registry_.guard(*c.device));
    c.local_client = c.guard->client(options_.host_id);
  }
  if (!params_.reservation.wanted()) co_return Status();
  bool is_ours = false;
  if (c.was_reserved) {
    // By the policy it would be taken back from a newer nexus of the volume.
    const auto found = co_await client_of(c).report();
    if (!found.ok()) co_return found.error();  // whose it is now is not known
    if (is_taken(found.value(), options_.host_id)) {
      HF_LOG(warn, "nexus", "a child was taken away", {"nexus", params_.name}, {"child", c.uri});
      co_await fence();
      co_return usable();
    }
    is_ours = holds(found.value(), options_.host_id, params_.reservation);
  }
  if (fenced_) co_return usable();  // by another child: a newer nexus may be taking this one, too
  if (c.guard != nullptr) c.guard->subscribe(*this);
  c.reserved = true;                // even an attempt that failed may have left a registration
  if (is_ours) co_return Status();  // not again: a newer nexus may be taking it at this moment
  UnlessFenced client(client_of(c), fenced_);
  HF_CO_CHECK(co_await take_reservation(client, params_.reservation));
  c.was_reserved = true;
  HF_LOG(info, "nexus", "child reserved", {"nexus", params_.name}, {"child", c.uri},
         {"type", static_cast<int>(params_.reservation.type)});
  co_return Status();
}

// Of a remote child: whether another host has taken it. A report that fails says nothing; then the next
// operation there tells, or the next event.
Task<void> Control::check_reservation(ChildId id) {
  Child* c = find(id);
  // While it is being taken it looks like another's.
  const bool is_taken_by_us = c != nullptr && c->reserved && c->was_reserved;
  if (!is_taken_by_us || fenced_ || std::exchange(c->reservation_in_doubt, true)) co_return;
  bool lost = false;
  {
    const Semaphore::Permit turn = co_await c->reservation_turn.acquire();
    c->reservation_in_doubt = false;
    if (c->id != id || !c->reserved || stopping_) co_return;
    const auto report = co_await client_of(*c).report();
    lost = report.ok() && is_taken(report.value(), options_.host_id);
    if (lost) HF_LOG(warn, "nexus", "a child was taken away", {"nexus", params_.name}, {"child", c->uri});
  }
  if (lost) co_await fence();
}

// Of a local child: it was taken away.
void Control::on_reservation_notice(const Uuid& host, ReservationNotice notice) noexcept {
  if (host != options_.host_id || notice == ReservationNotice::reservation_released || stopping_) return;
  scope_.spawn(fence());
}

// Its operations have ended. What a fenced nexus had is another's now, and a child that does not answer is
// left to whoever preempts this nexus.
Task<void> Control::unreserve(Child& c) {
  if (!std::exchange(c.reserved, false) || c.device == nullptr || fenced_ || c.suspended) co_return;
  c.was_reserved = false;
  const Status done = co_await give_back_reservation(client_of(c), params_.reservation);
  if (done.ok()) co_return;
  HF_LOG(warn, "nexus", "the reservation of a child is not given back", {"nexus", params_.name},
         {"child", c.uri}, {"error", done.error()});
}

}  // namespace holdfast::nexus
