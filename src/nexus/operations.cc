// The operations of the API on a nexus that is open. One at a time; failures of children do not wait.
#include <algorithm>

#include <fmt/format.h>

#include "base/log.h"
#include "nexus/control.h"
#include "nexus/layout.h"

namespace holdfast::nexus {
namespace {

// How long an operation waits for a departing child's device before it says busy.
constexpr Nanos close_patience = 5s;

Task<Status> rescan(Child& c) {
  const DeviceCall call(c);
  co_return co_await c.device->rescan();
}

}  // namespace

Status Control::usable() const {
  if (stopping_ || stopped_) return Error(Errc::failed_precondition, label() + " is shut down");
  if (fenced_) {
    return Error(Errc::fenced, fmt::format("{} is fenced: another nexus has taken over its children or its "
                                           "membership record '{}'; destroy it here",
                                           label(), keeper_.key()));
  }
  return Status();
}

Status Control::not_the_last(const Child& c) const {
  const bool another = std::any_of(children_.begin(), children_.end(), [&](const auto& other) {
    return other.get() != &c && other->in_sync && other->phase == Phase::open;
  });
  if (another) return Status();
  return Error(Errc::failed_precondition,
               fmt::format("child '{}' is the last healthy child of {}; add another and wait for its rebuild "
                           "first",
                           c.uri, label()));
}

Task<Status> Control::wait_recorded(Child& c) {
  co_await c.left.wait();
  const Wake woken = co_await c.settled.wait(home_.now() + options_.hold_timeout);
  if (fenced_) co_return usable();
  if (woken == Wake::timed_out) {
    co_return Error(
        Errc::not_connected,
        fmt::format("child '{}' is out of service, but the store has not recorded it yet; it will "
                    "when it answers",
                    c.uri));
  }
  co_return Status();
}

Task<Status> Control::add_child(std::string uri, bool norebuild, std::uint32_t in_sync_through) {
  const Semaphore::Permit turn = co_await ops_.acquire();
  HF_CO_CHECK(usable());
  co_return co_await add_locked(std::move(uri), norebuild, in_sync_through);
}

Task<Status> Control::add_locked(std::string uri, bool norebuild, std::uint32_t in_sync_through) {
  if (find(uri) != nullptr) co_return Status();
  if (children_.size() >= children_max) {
    co_return Error(
        Errc::failed_precondition,
        fmt::format("{} has {} children, the most that it can have; remove one", label(), children_.size()));
  }
  children_.push_back(std::make_unique<Child>(home_, uri, ChildKey{next_key_++}));
  Child& c = *children_.back();
  c.removing = true;  // not in the record before it is known to fit
  Status s = co_await open_device(c);
  if (s.ok()) s = check_fits(c.geometry(), geometry_.block_bytes, geometry_.block_count);
  if (s.ok()) s = co_await open_channels(c);
  if (!s.ok()) s = of_child(s.error());
  std::optional<ChildRecord> former;
  if (s.ok()) former = recall_former(c);
  if (s.ok()) believe(c, in_sync_through);
  if (s.ok()) {
    c.removing = false;
    s = co_await keeper_.persist(home_.now() + options_.hold_timeout);
  }
  if (s.ok()) s = co_await admit(c, Mode::rebuilding);
  if (!s.ok()) {
    c.removing = true;
    const ChildId id = c.id;
    auto undo = [&](Reactor& core) -> Task<void> { return state_of(core).drain(id); };
    co_await run_on_all(home_, cores_, undo);
    co_await unreserve(c);
    co_await close_device(c);
    erase(c);
    if (former) former_.push_back(std::move(*former));
    if (s.code() == Errc::fenced) co_await fence();
    co_return s.error().with_context(fmt::format("child '{}' was not added to {}", uri, label()));
  }
  if (!norebuild && !stopping_) co_await launch_rebuild(c);
  changed(&c);
  co_return Status();
}

Task<Status> Control::remove_child(std::string uri) {
  const Semaphore::Permit turn = co_await ops_.acquire();
  HF_CO_CHECK(usable());
  Child* c = find(uri);
  if (c == nullptr) co_return Status();
  co_return co_await remove_locked(*c);
}

Task<Status> Control::remove_locked(Child& c) {
  if (children_.size() == 1) {
    co_return Error(
        Errc::failed_precondition,
        fmt::format("child '{}' is the only child of {}; destroy the nexus instead", c.uri, label()));
  }
  HF_CO_CHECK(not_the_last(c));
  const bool recorded = c.recorded_healthy;
  c.removing = true;
  if (c.phase == Phase::open) begin_leave(c, std::nullopt);
  HF_CO_CHECK(co_await wait_recorded(c));
  if (!recorded) {  // its departure changed nothing in the record
    const Status s = co_await keeper_.persist(home_.now() + options_.hold_timeout);
    if (s.code() == Errc::fenced) co_await fence();
    HF_CO_CHECK(usable());
    if (!s.ok()) {
      co_return Error(Errc::not_connected,
                      fmt::format("child '{}' is out of service, but the store has not recorded its removal "
                                  "yet; repeat the request",
                                  c.uri));
    }
  }
  const Wake closed = co_await c.closed.wait(home_.now() + options_.hold_timeout);
  if (closed == Wake::timed_out) {
    co_return Error(Errc::busy,
                    fmt::format("the device of child '{}' is still closing; repeat the request", c.uri));
  }
  auto forget = [key = c.key](CoreState& s) { s.forget_missed(key); };
  co_await tell_cores(forget);
  erase(c);
  changed(nullptr);
  co_return Status();
}

Task<Status> Control::take_offline(std::string uri, Fault fault) {
  const Semaphore::Permit turn = co_await ops_.acquire();
  HF_CO_CHECK(usable());
  HF_CO_TRY(Child * c, named(uri));
  co_return co_await offline_locked(*c, fault);
}

Task<Status> Control::offline_locked(Child& c, Fault fault) {
  if (c.phase == Phase::open) {
    HF_CO_CHECK(not_the_last(c));
    begin_leave(c, fault);
  } else if (!c.fault || may_come_back(*c.fault)) {
    c.fault = fault;
    c.fault_time = home_.wall_now();
    changed(&c);
  }
  HF_CO_CHECK(co_await wait_recorded(c));
  co_await c.closed.wait(home_.now() + close_patience);
  co_return Status();
}

Task<Status> Control::online_child(std::string uri) {
  const Semaphore::Permit turn = co_await ops_.acquire();
  HF_CO_CHECK(usable());
  HF_CO_TRY(Child * c, named(uri));
  co_return co_await online_locked(*c);
}

Task<Status> Control::online_locked(Child& c) {
  if (c.phase == Phase::open) {
    if (c.suspended) co_return co_await reopen_last(c);
    if (!c.in_sync && !c.job) co_await launch_rebuild(c);
    co_return Status();
  }
  if (c.fault && !may_come_back(*c.fault)) {
    co_return Error(
        Errc::failed_precondition,
        fmt::format("child '{}' left for good ({}); remove it and add it again", c.uri, name(*c.fault)));
  }
  const Wake closed = co_await c.closed.wait(home_.now() + close_patience);
  if (closed == Wake::timed_out) {
    co_return Error(Errc::busy, fmt::format("child '{}' is still leaving: operations have not ended, or the "
                                            "store has not recorded it; try again",
                                            c.uri));
  }
  if (c.removing)
    co_return Error(Errc::failed_precondition, fmt::format("child '{}' is being removed", c.uri));
  Status s = co_await open_device(c);
  if (s.ok()) s = check_fits(c.geometry(), geometry_.block_bytes, geometry_.block_count);
  if (s.ok()) s = co_await open_channels(c);
  if (s.ok()) s = co_await admit(c, Mode::rebuilding);
  if (!s.ok()) {
    const ChildId id = c.id;
    auto undo = [&](Reactor& core) -> Task<void> { return state_of(core).drain(id); };
    co_await run_on_all(home_, cores_, undo);
    co_await close_device(c);
    co_return s;
  }
  if (!stopping_) co_await launch_rebuild(c);
  changed(&c);
  co_return Status();
}

Task<Status> Control::start_rebuild(std::string uri) {
  const Semaphore::Permit turn = co_await ops_.acquire();
  HF_CO_CHECK(usable());
  HF_CO_TRY(Child * c, named(uri));
  if (c->job) co_return Status();
  if (c->phase != Phase::open) {
    co_return Error(
        Errc::failed_precondition,
        fmt::format("child '{}' is not in service; bring it online, which starts its rebuild", uri));
  }
  if (c->in_sync)
    co_return Error(Errc::failed_precondition, fmt::format("child '{}' is in sync already", uri));
  co_await launch_rebuild(*c);
  co_return Status();
}

Task<Status> Control::stop_rebuild(std::string uri) {
  const Semaphore::Permit turn = co_await ops_.acquire();
  HF_CO_CHECK(usable());
  HF_CO_TRY(RebuildJob * job, job_named(uri));
  job->stop();
  const Wake ended = co_await find(uri)->job_ended.wait(home_.now() + options_.hold_timeout);
  if (ended == Wake::signalled) co_return Status();
  co_return Error(
      Errc::not_connected,
      fmt::format("the rebuild of child '{}' has not ended yet: a device or the store does not answer; "
                  "it will when that does",
                  uri));
}

Task<Status> Control::pause_rebuild(std::string uri) {
  const Semaphore::Permit turn = co_await ops_.acquire();
  HF_CO_CHECK(usable());
  HF_CO_TRY(RebuildJob * job, job_named(uri));
  job->pause();
  co_return Status();
}

Task<Status> Control::resume_rebuild(std::string uri) {
  const Semaphore::Permit turn = co_await ops_.acquire();
  HF_CO_CHECK(usable());
  HF_CO_TRY(RebuildJob * job, job_named(uri));
  job->resume();
  co_return Status();
}

Task<Status> Control::resize(std::uint64_t size_bytes) {
  const Semaphore::Permit turn = co_await ops_.acquire();
  HF_CO_CHECK(usable());
  co_return co_await resize_locked(size_bytes);
}

Task<Status> Control::resize_locked(std::uint64_t size_bytes) {
  if (size_bytes == params_.size_bytes) co_return Status();
  if (size_bytes < params_.size_bytes) {
    co_return Error(Errc::invalid_argument, fmt::format("{} has {} bytes and cannot shrink to {}", label(),
                                                        params_.size_bytes, size_bytes));
  }
  if (size_bytes % geometry_.block_bytes != 0) {
    co_return Error(Errc::invalid_argument, fmt::format("size {} is not a multiple of the block size {}",
                                                        size_bytes, geometry_.block_bytes));
  }
  std::vector<ChildGeometry> geometries;
  for (const auto& c : children_) {
    if (c->device == nullptr || c->phase != Phase::open) continue;
    const Status scanned = co_await rescan(*c);
    const bool known = scanned.ok();
    if (c->phase != Phase::open) continue;  // it left meanwhile
    if (!known) {
      co_return Error(Errc::not_connected, fmt::format("{} cannot ask child '{}' for its size: {}", label(),
                                                       c->uri, scanned.error().message()));
    }
    geometries.push_back(c->geometry());
  }
  const auto blocks = volume_blocks(geometries, size_bytes);
  if (!blocks.ok()) {
    co_return Error(Errc::failed_precondition, blocks.error().message() + " (grow the children first)");
  }
  if (blocks.value() <= geometry_.block_count) {
    co_return Error(Errc::failed_precondition,
                    fmt::format("the children of {} have not grown; grow them first", label()));
  }
  geometry_.block_count = blocks.value();
  auto grow = [&](CoreState& s) { s.resize(geometry_.block_count); };
  co_await tell_cores(grow);
  for (const auto& c : children_) {
    if (c->missed) c->missed->grow(geometry_.block_count);
  }
  params_.size_bytes = size_bytes;
  device_->raise(DeviceEvent::resized);
  co_return Status();
}

namespace {

constexpr Nanos shutdown_flush_max = 5s;

// Asks the operations at a child to end, at a time, unless it is gone by then.
class GiveUp final : Timer {
 public:
  GiveUp(Reactor& home, CoreState& state, ChildId id, Nanos when) noexcept
      : home_(home), state_(state), id_(id) {
    home_.arm(*this, when);
  }
  ~GiveUp() { home_.disarm(*this); }

 private:
  void fire() noexcept override { state_.give_up(id_); }
  Reactor& home_;
  CoreState& state_;
  const ChildId id_;
};

}  // namespace

// Whoever has the turn may wait for what only the stop ends.
Task<Status> Control::shutdown() {
  stop_.request_stop();
  const Semaphore::Permit turn = co_await ops_.acquire();
  if (stopped_) co_return Status();
  co_return co_await shutdown_locked();
}

Task<Status> Control::shutdown_locked() {
  stopping_ = true;
  changed(nullptr);
  for (const auto& c : children_) {
    if (c->job) c->job->stop();
  }
  co_await stop_cores();
  for (const auto& c : children_) co_await c->job_ended.wait();
  const Status recorded = co_await record_clean();
  co_await keeper_.stop();
  co_await close_children();
  co_await scope_.join();
  stopped_ = true;
  changed(nullptr);
  if (recorded.ok()) co_return Status();
  HF_LOG(warn, "nexus", "shut down, recorded as unclean", {"nexus", params_.name},
         {"error", recorded.error()});
  co_return recorded.error();
}

Task<void> Control::stop_cores() {
  if (states_.empty()) co_return;
  auto there = [&](Reactor& core) -> Task<void> { return state_of(core).stop(); };
  co_await run_on_all(home_, cores_, there);
}

// A child that cannot be reached does not keep the process from its end.
Task<Status> Control::flush_before_the_end(ChildId id) {
  CoreState& state = home_state();
  const GiveUp bound(home_, state, id, home_.now() + shutdown_flush_max);
  co_return co_await state.child_flush(id);
}

// All I/O has ended. A child that cannot flush is not healthy any more.
Task<Status> Control::record_clean() {
  if (fenced_ || keeper_.fenced()) co_return Error(Errc::fenced);
  bool dropped = false;
  for (const auto& c : children_) {
    if (c->phase != Phase::open || !c->recorded_healthy) continue;
    Status flushed = co_await flush_before_the_end(c->id);
    // What it had not flushed may be gone, whatever the flush says.
    if (flushed.ok() && c->failed_at_end) flushed = Error(Errc::not_connected, "its device failed meanwhile");
    if (flushed.ok() && c->flush_lost && not_the_last(*c).ok())
      flushed = Error(Errc::io_error, "an earlier flush of it failed");
    if (flushed.ok()) continue;
    if (!not_the_last(*c).ok()) {
      c->suspended = c->suspended || is_path_error(flushed.code());
      co_return flushed.error().with_context("flush of the last healthy child");
    }
    c->in_sync = c->joining = c->recorded_healthy = false;
    c->in_sync_through = sealed_;
    dropped = true;
  }
  if (!dropped) co_await seal_all();
  clean_ = true;
  co_return co_await keeper_.persist(home_.now() + options_.shutdown_store_deadline);
}

Task<void> Control::close_children() {
  for (const auto& c : children_) {
    if (c->phase == Phase::leaving) {  // its own task closes it
      co_await c->closed.wait();
      continue;
    }
    const ChildId id = c->id;
    auto drop = [&](CoreState& s) { s.leave(id, c->key, false, false); };
    auto drain = [&](Reactor& core) -> Task<void> { return state_of(core).drain(id); };
    if (!states_.empty()) {
      co_await tell_cores(drop);
      co_await run_on_all(home_, cores_, drain);
    }
    co_await unreserve(*c);
    co_await close_device(*c);
    c->in_sync = c->joining = c->suspended = false;
    c->phase = Phase::closed;
  }
}

}  // namespace holdfast::nexus
