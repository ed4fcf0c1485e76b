#include "nexus/core_state.h"

#include "rt/cross_core.h"

namespace holdfast::nexus {

bool is_path_error(Errc code) noexcept {
  return code == Errc::not_connected || code == Errc::timed_out || code == Errc::cancelled ||
         code == Errc::protocol;
}

CoreState::CoreState(Reactor& core, Reactor& home, FaultSink& sink, Volume volume,
                     const NexusOptions& options)
    : core_(core),
      home_(home),
      sink_(sink),
      volume_(volume),
      options_(options),
      ranges_(core),
      recent_(volume.block_bytes, volume.block_count),
      settling_(volume.block_bytes, volume.block_count),
      generation_idle_(core),
      changed_(core),
      outside_(core),
      scope_(core) {}

CoreState::~CoreState() {
  HF_ASSERT(inside_ == 0 && first_attempt_ == nullptr);
  HF_ASSERT(opened_.empty() && members_.empty() && detached_.empty());
}

Status CoreState::admit() const noexcept {
  if (fenced_) return Error(Errc::fenced);
  if (stopped_) return Error(Errc::not_connected);
  return Status();
}

CoreChild* CoreState::find(ChildId id) const noexcept {
  for (const auto& c : members_) {
    if (c->id == id) return c.get();
  }
  return nullptr;
}

DirtyMap CoreState::attach(ChildId id, ChildKey key, Mode mode) {
  const auto it = std::find_if(opened_.begin(), opened_.end(), [&](const auto& c) { return c->id == id; });
  HF_ASSERT(it != opened_.end() && members_.size() < children_max);
  (*it)->mode = mode;
  members_.push_back(std::move(*it));
  opened_.erase(it);
  DirtyMap missed(volume_.block_bytes, volume_.block_count);
  for (const auto& m : missed_) {
    if (m.key == key) missed.merge(m.map);
  }
  forget_missed(key);
  changed_.wake_all();
  return missed;
}

void CoreState::set_mode(ChildId id, Mode mode) noexcept {
  if (CoreChild* c = find(id)) c->mode = mode;
  changed_.wake_all();
}

void CoreState::set_behind(ChildId id, DirtyMap behind) noexcept {
  if (CoreChild* c = find(id)) c->behind = std::move(behind);
}

void CoreState::caught_up(ChildId id, const Span& span) noexcept {
  CoreChild* c = find(id);
  if (c == nullptr || c->mode != Mode::catching_up) return;
  const std::uint64_t per_region = c->behind.blocks_per_region();
  for (std::uint64_t r = span.first / per_region; r * per_region < span.first + span.count; ++r) {
    c->behind.clear_region(r);
  }
}

void CoreState::doubt(ChildId id) noexcept {
  if (CoreChild* c = find(id)) c->doubted = true;
}

void CoreState::cache_lost() noexcept {
  ++losses_;
  changed_.wake_all();
}

void CoreState::give_up(ChildId id) noexcept {
  if (CoreChild* c = find(id)) c->channel->cancel_all();
}

void CoreState::leave(ChildId id, ChildKey key, bool recorded, bool give_up) {
  const auto it = std::find_if(members_.begin(), members_.end(), [&](const auto& c) { return c->id == id; });
  if (it == members_.end()) return;
  if (give_up) {
    (*it)->cancelled = true;
    (*it)->channel->cancel_all();
  }
  detached_.push_back(std::move(*it));
  members_.erase(it);
  if (recorded) pending_leaves_.push_back(id);
  // It may have missed writes that are under way, and lost what no flush has covered.
  Missed missed;
  missed.key = key;
  missed.map = recent_.copy();
  missed.map.merge(settling_);
  missed_.push_back(std::move(missed));
  for (const Attempt* a = first_attempt_; a != nullptr; a = a->next) clear_if_done(*a);
  changed_.wake_all();
}

void CoreState::settled(ChildId id) noexcept {
  std::erase(pending_leaves_, id);
  changed_.wake_all();
}

Task<void> CoreState::drain(ChildId id) {
  for (auto* list : {&opened_, &detached_}) {
    const auto it = std::find_if(list->begin(), list->end(), [&](const auto& c) { return c->id == id; });
    if (it == list->end()) continue;
    CoreChild& child = **it;
    while (child.operations > 0) co_await child.idle.wait();
    co_await child.channel->close();
    std::erase_if(*list, [&](const auto& c) { return c->id == id; });
  }
}

void CoreState::forget_missed(ChildKey key) {
  std::erase_if(missed_, [&](const Missed& m) { return m.key == key; });
}

void CoreState::fence() noexcept {
  fenced_ = true;
  changed_.wake_all();
}

Task<void> CoreState::stop() {
  stopped_ = true;
  changed_.wake_all();
  while (inside_ > 0) co_await outside_.wait();
  co_await scope_.join();
  core_.disarm(*this);
}

void CoreState::resize(std::uint64_t block_count) {
  volume_.block_count = block_count;
  recent_.grow(block_count);
  settling_.grow(block_count);
  for (auto& c : members_) {
    if (c->mode == Mode::catching_up) c->behind.grow(block_count);
  }
  for (auto& m : missed_) m.map.grow(block_count);
}

Task<void> CoreState::settle_begin() {
  settling_.merge(recent_);  // what an earlier settling that failed has left stays
  recent_.clear();
  const unsigned old = generation_;
  generation_ ^= 1U;
  while (writes_of_generation_[old] > 0) co_await generation_idle_.wait();
}

void CoreState::settle_end() { settling_.clear(); }

void CoreState::mark(const Span& span) {
  const bool first = recent_.empty();
  recent_.mark(span.first, span.count);
  for (auto& m : missed_) m.map.mark(span.first, span.count);
  if (first) scope_.spawn(report_writes());
}

std::vector<ChildId> CoreState::members() const {
  std::vector<ChildId> ids;
  for (const auto& c : members_) ids.push_back(c->id);
  return ids;
}

Task<bool> CoreState::wait_for_change(Patience& p) {
  const Nanos now = core_.now();
  if (p.deadline == no_deadline) {
    p.deadline = now + options_.hold_timeout;
    p.pause = options_.retry_first;
  }
  if (now >= p.deadline) {
    ++counters_.hold_timeouts;
    co_return false;
  }
  const Nanos until = std::min(now + p.pause, p.deadline);
  p.pause = std::min(p.pause * 2, options_.retry_longest);
  co_await changed_.wait(until);
  co_return true;
}

Task<Verdict> CoreState::report(ChildId id, Errc code) {
  auto tell = [&]() -> Task<Verdict> { return sink_.child_failed(id, code); };
  co_return co_await run_on(core_, home_, tell);
}

Task<void> CoreState::report_task(ChildId id, Errc code) { co_await report(id, code); }

template <class Do>
Task<void> CoreState::tell_home(const Do& what) {
  auto there = [&]() -> Task<void> {
    what();
    co_return;
  };
  co_await run_on(core_, home_, there);
}

Task<void> CoreState::report_recovered(ChildId id) {
  auto tell = [&] { sink_.child_recovered(id); };
  co_await tell_home(tell);
}

Task<void> CoreState::report_flush_failed(ChildId id, Errc owed) {
  auto tell = [&] { sink_.flush_failed(id, owed); };
  co_await tell_home(tell);
}

Task<void> CoreState::report_flush_told() {
  auto tell = [&] { sink_.flush_told(); };
  co_await tell_home(tell);
}

Task<void> CoreState::report_writes() {
  auto tell = [&] { sink_.writes_began(); };
  co_await tell_home(tell);
}

void CoreState::watch(Attempt& a) noexcept {
  a.prev = last_attempt_;
  (a.prev != nullptr ? a.prev->next : first_attempt_) = &a;
  last_attempt_ = &a;
  if (!armed()) core_.arm(*this, core_.now() + options_.child_latency_budget / 4);
}

void CoreState::unwatch(Attempt& a) noexcept {
  (a.prev != nullptr ? a.prev->next : first_attempt_) = a.next;
  (a.next != nullptr ? a.next->prev : last_attempt_) = a.prev;
}

// A child is slow when a write older than the budget was answered by an in-sync peer and not by it.
void CoreState::fire() noexcept {
  const Nanos now = core_.now();
  IdSet slow;
  for (const Attempt* a = first_attempt_; a != nullptr; a = a->next) {
    if (now - a->started < options_.child_latency_budget) break;  // oldest first
    const auto* end = a->targets.data() + a->count;
    const bool answered = std::any_of(a->targets.data(), end, [&](const Target& t) {
      const CoreChild* c = t.ended && t.outcome == Errc::ok ? find(t.id) : nullptr;
      return c != nullptr && counts(c->mode);
    });
    if (!answered) continue;
    for (const Target* t = a->targets.data(); t != end; ++t) {
      if (t->ended || t->child->cancelled || slow.has(t->id)) continue;
      slow.add(t->id);
      scope_.spawn(report_task(t->id, Errc::timed_out));
    }
  }
  if (first_attempt_ != nullptr && !armed()) core_.arm(*this, now + options_.child_latency_budget / 4);
}

}  // namespace holdfast::nexus
