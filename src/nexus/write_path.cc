// Everything that changes children: write, write zeroes, deallocate, flush.
#include <span>
#include <utility>

#include "block/durable.h"
#include "nexus/core_state.h"
#include "nexus/io_count.h"
#include "rt/when_all.h"

namespace holdfast::nexus {
namespace {

// Only ever read. A pool buffer would do, but a write that holds buffers must not wait for another.
alignas(4096) std::byte zero_bytes[128 * 1024];

}  // namespace

Task<Status> CoreState::modify(Modify m) {
  HF_CO_CHECK(admit());
  const bool ranged = m.kind != Modify::Kind::flush;
  const std::uint64_t end = volume_.block_count;
  if (ranged && (m.span.first > end || m.span.count > end - m.span.first))
    co_return Error(Errc::out_of_range);
  if (ranged && m.span.count == 0) co_return Status();
  const Inside inside(*this);
  const Nanos began = core_.now();
  RangeTracker::Entry entry(m.span);
  if (ranged && !ranges_.try_enter(entry)) co_await ranges_.enter(entry);
  if (ranged) mark(m.span);
  Way way = enter(ranged ? &entry : nullptr);
  IdSet done;
  unsigned losses = losses_;
  Status outcome = co_await fan_out(m, way, done, losses);
  clear(way);
  if (outcome.ok() && must_hold(done)) outcome = co_await hold_for_membership(done, losses);
  if (outcome.ok() && !ranged && owed_ != Errc::ok) {
    outcome = Error(std::exchange(owed_, Errc::ok));
    scope_.spawn(report_flush_told());
  }
  if (outcome.ok() && fenced_) outcome = Error(Errc::fenced);
  count(m, outcome, core_.now() - began);
  co_return outcome;
}

// Until every in-sync child has it, or the host gets an error. `done` are the openings that have it, `losses` how many
// losses of a cache that was after.
Task<Status> CoreState::fan_out(const Modify& m, Way& way, IdSet& done, unsigned& losses) {
  Patience patience;
  for (;;) {
    const Status admitted = admit();
    if (!admitted.ok()) {
      // A clean end must not call copies equal of which one has it and another has not.
      if (!fenced_) co_await drop_holders(done);
      co_return admitted.error();
    }
    Attempt a;
    a.way = &way;
    a.done = &done;
    a.losses = losses;
    for (const auto& c : members_) {
      if (done.has(c->id)) continue;
      Target& t = a.targets[a.count++];
      t.child = c.get();
      t.id = c->id;
    }
    if (a.count > 0) co_await run_attempt(a, m);
    const Errc refused = co_await judge(a, m, done);
    if (is_fencing(refused)) co_return Error(Errc::fenced);  // elsewhere the volume goes on
    if (way.clear) {                                         // others may have written there since
      if (losses != losses_) co_return Error(Errc::not_connected);
      co_return Status();
    }
    if (losses != losses_) {
      losses = losses_;
      done.clear();
      continue;
    }
    if (complete(done)) co_return Status();
    Errc given_up = refused;
    // Where another one that has it is in sync by now, whoever refused it is not the last, and leaves the next time.
    if (refused == Errc::ok || is_path_error(refused) || has_reader(done)) {
      const bool again = co_await wait_for_change(patience);
      if (again) continue;
      given_up = Errc::not_connected;
    }
    co_await drop_holders(done);
    co_return Error(given_up);
  }
}

// A write that the last in-sync child refused may be on a child that is being rebuilt, whose window of it was
// copied before. That child would differ when it joins, so it leaves, and the range counts as missed. It may have
// joined already: home decides who stays.
Task<void> CoreState::drop_holders(const IdSet& done) {
  std::array<ChildId, children_max> ids{};
  unsigned count = 0;
  for (const auto& c : members_) {
    if (done.has(c->id)) ids[count++] = c->id;
  }
  for (unsigned i = 0; i < count; ++i) co_await report(ids[i], Errc::io_error);
}

CoreState::Way CoreState::enter(RangeTracker::Entry* range) noexcept {
  ++writes_of_generation_[generation_];
  return Way{range, generation_};
}

void CoreState::clear(Way& way) noexcept {
  if (std::exchange(way.clear, true)) return;
  if (--writes_of_generation_[way.generation] == 0) generation_idle_.wake_all();
  if (way.range != nullptr) ranges_.leave(*way.range);
}

// Every one in the lists has it; what is still under way is at children that have left, and may never end. The
// caller's memory waits for that, nobody else.
void CoreState::clear_if_done(const Attempt& a) noexcept {
  IdSet had = *a.done;
  for (unsigned i = 0; i < a.count; ++i) {
    const Target& t = a.targets[i];
    if (t.ended && t.outcome == Errc::ok) {
      had.add(t.id);
    } else if (find(t.id) != nullptr) {
      return;
    }
  }
  if (a.losses == losses_ && complete(had)) clear(*a.way);
}

Task<void> CoreState::run_attempt(Attempt& a, const Modify& m) {
  a.started = core_.now();
  watch(a);
  std::array<Task<Status>, children_max> tasks;
  for (unsigned i = 0; i < a.count; ++i) tasks[i] = child_modify(a, a.targets[i], m);
  const std::span<Task<Status>> all(tasks.data(), a.count);
  co_await when_all(all);
  for (auto& t : all) t.take().ignore("kept in the target");
  unwatch(a);
}

// Reports the failures. Gives the answer of a last in-sync child that stays, ok when there is none.
Task<Errc> CoreState::judge(const Attempt& a, const Modify& m, IdSet& done) {
  Errc refused = Errc::ok;
  for (unsigned i = 0; i < a.count; ++i) {
    const Target& t = a.targets[i];
    if (t.outcome == Errc::ok) {
      done.add(t.id);
      CoreChild* c = find(t.id);
      if (c == nullptr || !c->doubted) continue;
      c->doubted = false;
      scope_.spawn(report_recovered(t.id));
      continue;
    }
    const Verdict verdict = co_await report(t.id, t.outcome);
    if (verdict != Verdict::kept) continue;
    refused = t.outcome;
    if (is_path_error(t.outcome)) continue;
    if (m.kind == Modify::Kind::flush) co_await report_flush_failed(t.id, Errc::ok);
    // Many children make it of a write and a flush; the host has heard of its own data only.
    if (m.durable == Durable::yes && !is_refusal(t.outcome)) co_await report_flush_failed(t.id, t.outcome);
  }
  co_return refused;
}

bool CoreState::complete(const IdSet& done) const noexcept {
  bool any = false;
  for (const auto& c : members_) {
    if (!counts(c->mode)) continue;
    if (!done.has(c->id)) return false;
    any = any || c->mode == Mode::in_sync;
  }
  return any;
}

// Whether an in-sync child has it.
bool CoreState::has_reader(const IdSet& done) const noexcept {
  return std::any_of(members_.begin(), members_.end(),
                     [&](const auto& c) { return c->mode == Mode::in_sync && done.has(c->id); });
}

bool CoreState::must_hold(const IdSet& done) const noexcept {
  return std::any_of(pending_leaves_.begin(), pending_leaves_.end(),
                     [&](ChildId id) { return !done.has(id); });
}

// What the last copy has lost meanwhile is the host's to send again: its range is free, and others may have written
// there since.
Task<Status> CoreState::hold_for_membership(const IdSet& done, unsigned losses) {
  ++counters_.held_writes;
  ++counters_.held_writes_now;
  const Nanos deadline = core_.now() + options_.hold_timeout;
  bool expired = false;
  while (!fenced_ && !stopped_ && !expired && must_hold(done) && losses == losses_) {
    co_await changed_.wait(deadline);
    expired = core_.now() >= deadline;
  }
  --counters_.held_writes_now;
  if (fenced_) co_return Error(Errc::fenced);
  if (losses != losses_) co_return Error(Errc::not_connected);
  if (!must_hold(done)) co_return Status();
  if (expired) ++counters_.hold_timeouts;
  co_return Error(Errc::not_connected);
}

Task<Status> CoreState::child_modify(Attempt& a, Target& t, const Modify& m) {
  const Busy busy(*t.child);
  Status s = co_await issue(*t.child, m);
  t.outcome = s.code();
  t.ended = true;
  if (!detached_.empty()) [[unlikely]]
    clear_if_done(a);
  co_return s;
}

Task<Status> CoreState::issue(CoreChild& c, const Modify& m) {
  const Lba at{m.span.first + volume_.data_start};
  switch (m.kind) {
    case Modify::Kind::write:
      co_return co_await c.channel->write(at, m.data, m.durable);
    case Modify::Kind::zeroes: {
      if (!c.can_zero) co_return co_await write_zero_blocks(c, m.span, m.durable);
      const BlockRange range{at, m.span.count};
      co_return co_await c.channel->write_zeroes(range, m.unmap, m.durable);
    }
    case Modify::Kind::deallocate: {
      // All children read zeroes afterwards, whatever they can do, so that a read gets the same from each.
      const BlockRange range{at, m.span.count};
      if (c.can_deallocate) co_return co_await c.channel->deallocate(range);
      if (c.can_zero) co_return co_await c.channel->write_zeroes(range, Unmap::yes, Durable::no);
      co_return co_await write_zero_blocks(c, m.span, Durable::no);
    }
    case Modify::Kind::flush:
      if (!c.has_cache) co_return Status();
      co_return co_await c.channel->flush();
  }
  co_return Error(Errc::internal);
}

// For a child that has no write zeroes.
Task<Status> CoreState::write_zero_blocks(CoreChild& c, const Span& span, Durable durable) {
  const std::uint64_t piece_blocks = sizeof(zero_bytes) / volume_.block_bytes;
  for (std::uint64_t at = 0; at < span.count; at += piece_blocks) {
    const std::uint64_t blocks = std::min(piece_blocks, span.count - at);
    const IoVec vec{zero_bytes, blocks * volume_.block_bytes};
    const IoVecs vecs(&vec, 1);
    HF_CO_CHECK(co_await c.channel->write(Lba{span.first + at + volume_.data_start}, vecs, durable));
  }
  co_return Status();
}

void CoreState::count(const Modify& m, const Status& s, Nanos took) noexcept {
  if (!s.ok()) {
    ++counters_.io.errors;
    return;
  }
  const std::uint64_t bytes = m.span.count * volume_.block_bytes;
  if (m.kind == Modify::Kind::write || m.kind == Modify::Kind::zeroes) {
    ++counters_.io.write_ops;
    counters_.io.write_bytes += bytes;
    latencies_.write.add(took);
  } else if (m.kind == Modify::Kind::deallocate) {
    ++counters_.io.unmap_ops;
    counters_.io.unmapped_bytes += bytes;
    latencies_.unmap.add(took);
  }
}

Task<Status> CoreState::child_write(ChildId id, Span blocks, IoVecs from) {
  CoreChild* c = find(id);
  if (c == nullptr) co_return Error(Errc::not_connected);
  const Busy busy(*c);
  co_return co_await c->channel->write(Lba{blocks.first + volume_.data_start}, from, Durable::no);
}

Task<Status> CoreState::child_repair(ChildId id, Span blocks, IoVecs from) {
  mark(blocks);
  Way way = enter(nullptr);
  Status s = co_await child_write(id, blocks, from);
  clear(way);
  co_return s;
}

Task<Status> CoreState::child_zero(ChildId id, Span blocks) {
  CoreChild* c = find(id);
  if (c == nullptr) co_return Error(Errc::not_connected);
  const Busy busy(*c);
  const BlockRange range{Lba{blocks.first + volume_.data_start}, blocks.count};
  co_return co_await c->channel->write_zeroes(range, Unmap::yes, Durable::no);
}

Task<Status> CoreState::child_flush(ChildId id) {
  CoreChild* c = find(id);
  if (c == nullptr) co_return Error(Errc::not_connected);
  if (!c->has_cache) co_return Status();
  const Busy busy(*c);
  co_return co_await c->channel->flush();
}

bool CoreState::child_can_zero(ChildId id) const noexcept {
  const CoreChild* c = find(id);
  return c != nullptr && c->can_zero;
}

}  // namespace holdfast::nexus
