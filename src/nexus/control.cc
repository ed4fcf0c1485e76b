#include "nexus/control.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/log.h"
#include "nexus/device_events.h"

namespace holdfast::nexus {

Control::Control(DeviceRegistry& registry, MembershipStore& store, NexusParams params, NexusOptions options,
                 NexusObserver* observer)
    : registry_(registry),
      cores_(registry.cores()),
      home_(cores_.home()),
      params_(std::move(params)),
      options_(options),
      observer_(observer),
      keeper_(home_, store,
              params_.membership_key.empty() ? params_.uuid.to_string() : params_.membership_key, options_,
              [this] { return wanted_record(); }),
      epoch_turn_(home_, 1),
      settle_turn_(home_, 1),
      in_sync_turn_(home_, 1),
      ops_(home_, 1),
      scope_(home_) {}

Control::~Control() { HF_ASSERT(!open_ || stopped_); }

std::string Control::label() const { return fmt::format("nexus '{}'", params_.name); }

Child* Control::find(std::string_view uri) const noexcept {
  for (const auto& c : children_) {
    if (c->uri == uri) return c.get();
  }
  return nullptr;
}

Child* Control::find(ChildId id) const noexcept {
  if (id == ChildId{0}) return nullptr;
  for (const auto& c : children_) {
    if (c->id == id) return c.get();
  }
  return nullptr;
}

Result<Child*> Control::named(std::string_view uri) const {
  Child* c = find(uri);
  if (c == nullptr) return Error(Errc::not_found, fmt::format("{} has no child '{}'", label(), uri));
  return c;
}

Result<RebuildJob*> Control::job_named(std::string_view uri) const {
  HF_TRY(Child * c, named(uri));
  if (!c->job)
    return Error(Errc::not_found, fmt::format("{}: child '{}' is not being rebuilt", label(), uri));
  return c->job.get();
}

std::string Control::uri_of(ChildId id) const {
  const Child* c = find(id);
  return c == nullptr ? std::string() : c->uri;
}

unsigned Control::in_sync_count() const noexcept {
  return static_cast<unsigned>(
      std::count_if(children_.begin(), children_.end(), [](const auto& c) { return c->in_sync; }));
}

void Control::erase(Child& c) {
  std::erase_if(children_, [&](const auto& held) { return held.get() == &c; });
}

NexusState Control::state() const noexcept {
  if (stopped_) return NexusState::shutdown;
  if (stopping_) return NexusState::shutting_down;
  if (!open_) return NexusState::degraded;  // section 3.1: Init
  const auto healthy =
      std::count_if(children_.begin(), children_.end(), [](const auto& c) { return c->healthy(); });
  if (fenced_ || healthy == 0) return NexusState::faulted;
  return static_cast<std::size_t>(healthy) == children_.size() ? NexusState::online : NexusState::degraded;
}

NexusView Control::view() const {
  NexusView v;
  v.name = params_.name;
  v.uuid = params_.uuid;
  v.requested_bytes = params_.size_bytes;
  v.capacity_bytes = geometry_.size_bytes();
  v.state = state();
  v.fenced = fenced_;
  v.membership_pending = keeper_.pending();
  v.epoch = keeper_.epoch();
  v.announced_epoch = epoch_;
  v.sealed_epoch = sealed_;
  for (const auto& c : children_) {
    v.children.push_back(view_of(*c));
    if (c->job) ++v.rebuilds;
  }
  return v;
}

void Control::changed(const Child* c) noexcept {
  const NexusState now = state();
  if (observer_ != nullptr) {
    const NexusView v = view();
    if (c != nullptr) observer_->on_child_changed(v, view_of(*c));
    if (now != shown_) observer_->on_state_changed(v, shown_);
  }
  if (now != shown_) HF_LOG(info, "nexus", "state", {"nexus", params_.name}, {"state", name(now)});
  const NexusState before = std::exchange(shown_, now);
  const bool is_open = now != NexusState::shutting_down && now != NexusState::shutdown;
  if (!is_open || device_ == nullptr) return;
  if (now == NexusState::faulted && before != now) device_->raise(DeviceEvent::failed);
  if (now != NexusState::faulted && before == NexusState::faulted) device_->raise(DeviceEvent::recovered);
}

Task<NexusCounters> Control::counters() {
  std::vector<CoreCounters> of_core(cores_.count());
  auto ask = [&](CoreState& s) { of_core[s.reactor().core()] = s.counters(); };
  co_await tell_cores(ask);
  NexusCounters total = counters_;
  for (const auto& c : of_core) {
    total.held_writes += c.held_writes;
    total.held_writes_now += c.held_writes_now;
    total.hold_timeouts += c.hold_timeouts;
    total.read_failovers += c.read_failovers;
  }
  total.membership_swaps = keeper_.swaps();
  total.membership_retries = keeper_.retries();
  co_return total;
}

Task<IoStats> Control::stats() {
  std::vector<IoStats> of_core(cores_.count());
  auto ask = [&](CoreState& s) { of_core[s.reactor().core()] = s.counters().io; };
  co_await tell_cores(ask);
  IoStats total;
  for (const auto& s : of_core) total += s;
  co_return total;
}

Task<IoLatencies> Control::latencies(bool reset) {
  std::vector<IoLatencies> of_core(cores_.count());
  auto ask = [&](CoreState& s) {
    of_core[s.reactor().core()] = s.latencies();
    if (reset) s.reset_latencies();
  };
  co_await tell_cores(ask);
  IoLatencies total;
  for (const auto& l : of_core) total += l;
  co_return total;
}

Result<RebuildStats> Control::rebuild_stats(std::string_view uri) const {
  HF_TRY(const RebuildJob* job, job_named(uri));
  return job->stats();
}

Task<void> Control::lock_window(Span blocks, std::deque<RangeTracker::Entry>& entries) {
  for (unsigned i = 0; i < cores_.count(); ++i) entries.emplace_back(blocks);
  auto there = [&](Reactor& core) -> Task<void> {
    return state_of(core).ranges().lock(entries[core.core()]);
  };
  co_await run_on_all(home_, cores_, there);
}

Task<void> Control::unlock_window(std::deque<RangeTracker::Entry>& entries) {
  auto there = [&](Reactor& core) -> Task<void> {
    state_of(core).ranges().unlock(entries[core.core()]);
    co_return;
  };
  co_await run_on_all(home_, cores_, there);
}

}  // namespace holdfast::nexus
