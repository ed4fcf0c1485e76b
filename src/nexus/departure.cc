// How children leave and come back (rules: control.h).
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/log.h"
#include "nexus/device_events.h"

namespace holdfast::nexus {
namespace {

// How long the last in-sync child waits for its turn to be opened again.
constexpr Nanos join_patience = 5s;

}  // namespace

// The call's answer; not_connected once the child has left: a device that takes nothing back may never give one. At the
// deadline it leaves, unless it is the last.
Task<Status> Control::while_it_stays(ChildId id, Task<Status> what, Nanos deadline) {
  if (stopping_) co_return co_await what;
  ChildCall& call = child_calls_.emplace_back(home_);
  scope_.spawn(carry_out(call, std::move(what)));
  while (!call.ended.is_set()) {
    const Child* c = find(id);
    if (c == nullptr || c->phase == Phase::leaving) {  // one that is just being attached is not open yet
      call.is_abandoned = true;
      co_return Error(Errc::not_connected, "it has left");
    }
    if (home_.now() >= deadline && !is_last(*c)) {
      deadline = no_deadline;
      co_await child_failed(id, Errc::timed_out);
      continue;
    }
    const Nanos next = home_.now() + options_.retry_longest;
    co_await call.ended.wait(deadline > home_.now() ? std::min(deadline, next) : next);
  }
  Status outcome = std::move(*call.outcome);
  forget(call);
  co_return outcome;
}

Task<void> Control::carry_out(ChildCall& call, Task<Status> what) {
  call.outcome = co_await what;
  if (call.is_abandoned) {
    call.outcome->ignore("nobody waits for it any more");
    co_return forget(call);
  }
  call.ended.set();
}

void Control::forget(const ChildCall& call) noexcept {
  child_calls_.remove_if([&call](const ChildCall& one) { return &one == &call; });
}

Task<Verdict> Control::child_failed(ChildId id, Errc code) {
  if (code == Errc::reservation_conflict || code == Errc::fenced) {
    co_await fence();
    co_return Verdict::kept;
  }
  if (fenced_) co_return Verdict::kept;  // the record is another's; nothing of ours is written there
  Child* c = find(id);
  if (c != nullptr && (c->phase == Phase::init || c->phase == Phase::closed)) {
    co_await c->attached.wait();  // a core was quicker to use it than we to hear that all have it
    c = find(id);
  }
  if (c == nullptr) co_return Verdict::left;
  if (c->phase == Phase::open) {
    if (is_last(*c)) {
      if (is_path_error(code) && !c->suspended) {
        c->suspended = true;
        c->suspended_by = code;
        c->fault_time = home_.wall_now();
        HF_LOG(error, "nexus", "the last in-sync child fails; I/O is held", {"nexus", params_.name},
               {"child", c->uri}, {"error", holdfast::name(code)});
        changed(c);
        want_heal();
        auto doubt = [&](CoreState& state) { state.doubt(id); };
        co_await tell_cores(doubt);
      }
      co_return Verdict::kept;
    }
    begin_leave(*c, c->in_sync || c->joining ? fault_for(code) : Fault::rebuild_failed);
  }
  co_await c->left.wait();
  co_return Verdict::left;
}

void Control::child_recovered(ChildId id) noexcept {
  Child* c = find(id);
  if (c == nullptr || !c->suspended) return;
  c->suspended = false;
  HF_LOG(info, "nexus", "the last in-sync child answers again", {"nexus", params_.name}, {"child", c->uri});
  changed(c);
}

bool Control::is_last(const Child& c) const noexcept {
  return c.phase == Phase::open && c.in_sync && in_sync_count() == 1;
}

// The last in-sync child's, perhaps. All that no flush has covered counts as missed by those that leave here. The
// cores hear of the loss first: a write must not end because a child left that it waited for.
void Control::cache_lost() {
  scope_.spawn(repeat_writes());
  for (const auto& c : children_) {
    if (c->phase == Phase::open && !c->in_sync) begin_leave(*c, Fault::rebuild_failed);
  }
}

Task<void> Control::repeat_writes() {
  auto repeat = [](CoreState& s) { s.cache_lost(); };
  co_await tell_cores(repeat);
}

Task<void> Control::source_failed(ChildId source, Errc code) {
  // A bad block of the source is left to read-repair; the child as such still answers.
  if (code != Errc::io_error) co_await child_failed(source, code);
}

// From here on the child is no source, no reader and not counted; the rest follows in tasks.
void Control::begin_leave(Child& c, std::optional<Fault> fault) {
  HF_ASSERT(c.phase == Phase::open);
  const bool was_read = c.catching_up;
  const bool recorded = c.recorded_healthy;
  const bool gives_up = fault && *fault != Fault::offline;
  // Until the volume has settled, all that an earlier run wrote might be in a cache: epochs know better.
  const bool by_epochs = unsettled_ && c.epochs != nullptr;
  if (c.in_sync || c.joining) c.missed = DirtyMap(geometry_.block_bytes, geometry_.block_count);
  if (recorded) c.in_sync_through = sealed_;
  if (recorded && by_epochs) c.since = sealed_;
  if (by_epochs && c.job == nullptr) c.missed.reset();
  c.left_unsettled = by_epochs;
  c.phase = Phase::leaving;
  c.in_sync = c.joining = c.catching_up = c.recorded_healthy = c.suspended = false;
  c.flush_lost = false;  // all that is not settled counts as missed
  c.fault = fault;
  if (fault) c.fault_time = home_.wall_now();
  c.left.reset();
  c.settled.reset();
  c.closed.reset();
  if (recorded && gives_up) ++counters_.retired_children;
  HF_LOG(warn, "nexus", "child leaves", {"nexus", params_.name}, {"child", c.uri},
         {"reason", fault ? name(*fault) : std::string_view("closed")});
  changed(&c);
  scope_.spawn(leave_task(c, c.id, recorded, was_read, gives_up));
}

// What one that was read does not get is not acknowledged as long as a core may still read it.
Task<void> Control::leave_task(Child& c, ChildId id, bool recorded, bool was_read, bool give_up) {
  auto drop = [&](CoreState& s) { s.leave(id, c.key, recorded || was_read, give_up); };
  co_await tell_cores(drop);
  c.left.set();
  if (was_read && !recorded) {
    auto settle = [&](CoreState& state) { state.settled(id); };
    co_await tell_cores(settle);
  }
  if (c.job) c.job->stop();
  const bool by_error = c.fault && *c.fault != Fault::offline && *c.fault != Fault::offline_permanent;
  scope_.spawn(close_task(c, id));
  if (recorded) {
    const Status s = co_await keeper_.persist();
    if (s.ok()) {
      auto settle = [&](CoreState& state) { state.settled(id); };
      co_await tell_cores(settle);
    } else if (s.code() == Errc::fenced) {
      co_await fence();
    }
  }
  c.settled.set();
  if (by_error) want_heal();
  co_await new_epoch();
}

Task<void> Control::close_task(Child& c, ChildId id) {
  co_await c.job_ended.wait();
  auto there = [&](Reactor& core) -> Task<void> { return state_of(core).drain(id); };
  co_await run_on_all(home_, cores_, there);
  if (c.removing && !c.fault) co_await unreserve(c);
  co_await close_device(c);
  // The record may still be changing: the child object lives until both are done.
  co_await c.settled.wait();
  c.phase = Phase::closed;
  changed(&c);
  c.closed.set();
}

Task<void> Control::close_device(Child& c) {
  std::erase_if(events_, [&](const auto& e) { return e->id() == c.id; });
  c.id = ChildId{0};
  c.attached.set();
  const Semaphore::Permit turn = co_await c.reservation_turn.acquire();  // its report() has ended
  c.local_client.reset();
  if (c.guard != nullptr) c.guard->unsubscribe(*this);
  c.guard = nullptr;
  BlockDevice* device = std::exchange(c.device, nullptr);
  c.epochs = nullptr;
  // A remote device of ours ends its calls by closing.
  const bool ends_calls = c.device_is_ours && !c.local;
  while (!ends_calls && c.device_calls > 0) co_await c.device_calls_ended.wait();
  c.claim.release();
  if (device != nullptr && c.device_is_ours) {
    const std::string device_name = device->name();
    const Status s = co_await registry_.destroy(device_name);
    if (!s.ok())
      HF_LOG(warn, "nexus", "device of a child not destroyed", {"device", device_name}, {"error", s.error()});
  }
  while (c.device_calls > 0) co_await c.device_calls_ended.wait();
}

// The copy is complete and flushed: counted on every core, then recorded, then read. False when the child
// left meanwhile, or the record could not be changed.
Task<bool> Control::join(Child& c, ChildId id) {
  // Before it is its turn: as long as the last in-sync child is away nothing is sealed, and that one may need the turn.
  const bool outlived = co_await outlast_its_seal(c, id);
  if (!outlived) co_return false;
  const Semaphore::Permit turn = co_await in_sync_turn_.acquire(no_deadline, stop_.token());
  if (!turn || c.phase != Phase::open || c.id != id) co_return false;
  c.joining = true;
  auto count_it = [&](CoreState& s) { s.set_mode(id, Mode::joining); };
  co_await tell_cores(count_it);
  if (c.phase != Phase::open || c.id != id) co_return false;
  c.recorded_healthy = true;
  const Status recorded = co_await keeper_.persist(no_deadline, stop_.token());
  if (recorded.code() == Errc::fenced) co_await fence();
  if (!recorded.ok() || c.phase != Phase::open || c.id != id) co_return false;
  c.joining = false;
  co_await make_readable(c, id);
  co_return true;
}

Task<void> Control::make_readable(Child& c, ChildId id) {
  c.in_sync = true;
  c.catching_up = false;
  const bool recorded = co_await retire_absent();
  if (!recorded) co_return;
  auto read_it = [&](CoreState& s) { s.set_mode(id, Mode::in_sync); };
  co_await tell_cores(read_it);
  // What it was given counts as changed until it is sealed.
  if (c.epochs != nullptr) scope_.spawn(settle_now());
}

// A seal that the device brought along from another life would count for this volume from the moment that the
// record calls it healthy: ours has to be higher by then. False when it left, or the nexus ends.
Task<bool> Control::outlast_its_seal(Child& c, ChildId id) {
  while (c.epochs != nullptr && c.epoch_state.sealed > sealed_) {
    const bool settled = co_await settle_once();
    if (c.phase != Phase::open || c.id != id || stopping_ || fenced_) co_return false;
    if (!settled) co_await home_.sleep(options_.retry_longest, stop_.token());
  }
  co_return true;
}

Task<void> Control::fence() {
  if (fenced_) co_return;
  fenced_ = true;
  auto close_core = [](CoreState& s) { s.fence(); };
  if (!states_.empty()) co_await tell_cores(close_core);  // else it is being opened, and that ends with it
  for (const auto& c : children_) {
    if (c->job) c->job->stop();
  }
  HF_LOG(error, "nexus", "fenced: nothing is acknowledged any more", {"nexus", params_.name});
  changed(nullptr);
}

// The last in-sync child could not be opened again, and now another one is in sync. Nothing was acknowledged
// meanwhile; before anything is, the record says who has it. False: it does not, and the nexus ends.
Task<bool> Control::retire_absent() {
  bool any = false;
  for (const auto& c : children_) {
    if (c->phase != Phase::open || !c->in_sync || c->device != nullptr) continue;
    any = true;
    c->fault = fault_for(c->suspended_by);
    c->in_sync_through = sealed_;
    c->settled.reset();
    c->missed = DirtyMap(geometry_.block_bytes, geometry_.block_count);
    c->phase = Phase::closed;
    c->in_sync = c->recorded_healthy = c->suspended = false;
    c->left.set();  // it went with the opening that could not be replaced
    ++counters_.retired_children;
    changed(c.get());
  }
  if (!any) co_return true;
  const Status s = co_await keeper_.persist(no_deadline, stop_.token());
  if (s.code() == Errc::fenced) co_await fence();
  if (!s.ok()) co_return false;
  for (const auto& c : children_) {
    if (c->phase == Phase::closed) c->settled.set();
  }
  want_heal();
  co_return true;
}

// The last in-sync child never leaves the record; its device is closed and opened again while its I/O is
// held.
Task<Status> Control::reopen_last(Child& c) {
  // No other child joins meanwhile: a write that it completes would miss this one. One that does may wait for the
  // store; the turn of the API's operations is not kept for so long.
  const Semaphore::Permit turn = co_await in_sync_turn_.acquire(home_.now() + join_patience, stop_.token());
  if (!turn) {
    co_return Error(Errc::busy,
                    fmt::format("another child of {} is about to be recorded as healthy; try again "
                                "when it is",
                                label()));
  }
  if (!c.suspended) co_return Status();  // it answers again, or another one took its place
  if (in_sync_count() > 1) {
    begin_leave(c, fault_for(c.suspended_by));
    co_return Status();
  }
  if (c.device != nullptr) cache_lost();
  const ChildId old = c.id;
  auto drop = [&](CoreState& s) { s.leave(old, c.key, false, true); };
  co_await tell_cores(drop);
  auto there = [&](Reactor& core) -> Task<void> { return state_of(core).drain(old); };
  co_await run_on_all(home_, cores_, there);
  co_await close_device(c);
  c.suspended = true;  // it may have answered once more meanwhile: that opening is gone
  Status opened = co_await open_device(c);
  if (opened.ok()) opened = check_fits(c.geometry(), geometry_.block_bytes, geometry_.block_count);
  if (opened.ok() && lost_its_past(c, c.told)) {
    opened = Error(Errc::failed_precondition,
                   fmt::format("child '{}' came back without what was written to it", c.uri));
  }
  if (opened.ok()) opened = co_await open_channels(c);
  if (opened.ok()) opened = co_await admit(c, Mode::in_sync);
  if (!opened.ok()) {
    c.epochs = nullptr;  // nor is it told an epoch now, which would hide that it has lost its past
    const ChildId half_open = c.id;
    auto undo = [&](Reactor& core) -> Task<void> { return state_of(core).drain(half_open); };
    co_await run_on_all(home_, cores_, undo);
    co_await close_device(c);
    changed(&c);
    want_heal();
    co_return opened;
  }
  changed(&c);
  co_return Status();
}

Task<void> Control::device_event(ChildId id, DeviceEvent event) {
  switch (event) {
    case DeviceEvent::failed: {
      const Child* c = find(id);
      if (c != nullptr && is_last(*c)) cache_lost();
      co_await child_failed(id, Errc::not_connected);
      co_return;
    }
    case DeviceEvent::removed: {
      Child* c = find(id);
      const bool may_leave = c != nullptr && c->phase == Phase::open && !is_last(*c);
      if (may_leave) begin_leave(*c, std::nullopt);
      if (!may_leave) co_await child_failed(id, Errc::not_connected);
      co_return;
    }
    case DeviceEvent::recovered:
      child_recovered(id);
      co_return;
    case DeviceEvent::resized: {
      const Child* c = find(id);
      if (c != nullptr && c->device != nullptr) {
        HF_LOG(info, "nexus", "device of a child changed its size", {"child", c->uri},
               {"bytes", c->device->geometry().size_bytes()});
      }
      co_return;
    }
    case DeviceEvent::reservations_changed:
      co_await check_reservation(id);
      co_return;
  }
}

}  // namespace holdfast::nexus
