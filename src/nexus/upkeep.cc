// What a nexus does by itself: rebuilds, read-repair, settling, healing.
#include <algorithm>

#include <fmt/format.h>

#include "base/log.h"
#include "nexus/control.h"

namespace holdfast::nexus {
namespace {

constexpr std::size_t history_max = 64;

}  // namespace

Task<void> Control::launch_rebuild(Child& c) {
  if (c.phase != Phase::open) co_return;  // it failed while it was being attached or recorded
  HF_ASSERT(!c.job && !c.in_sync);
  auto todo = co_await plan_rebuild(c);
  if (!todo || c.phase != Phase::open || stopping_) co_return;
  const bool partial = c.missed.has_value() || c.since.has_value();
  c.job = std::make_unique<RebuildJob>(home_, *this, c.uri, c.id, std::move(*todo), geometry_.block_count,
                                       partial, options_);
  c.job_ended.reset();
  HF_LOG(info, "nexus", "rebuild starts", {"nexus", params_.name}, {"child", c.uri}, {"partial", partial},
         {"blocks", c.job->stats().blocks_remaining});
  if (observer_ != nullptr) observer_->on_rebuild_started(view(), c.job->record(RebuildState::rebuilding));
  scope_.spawn(run_job(c));
}

Task<void> Control::run_job(Child& c) {
  const ChildId id = c.id;
  RebuildJob& job = *c.job;
  const RebuildJob::End end = co_await job.run();
  bool joined = false;
  if (end == RebuildJob::End::copied && c.phase == Phase::open) joined = co_await join(c, id);
  RebuildState state = joined ? RebuildState::completed : RebuildState::stopped;
  const bool left_by_error =
      c.phase != Phase::open && c.fault && *c.fault != Fault::offline && *c.fault != Fault::offline_permanent;
  if (end == RebuildJob::End::failed || (!joined && left_by_error)) state = RebuildState::failed;
  if (state == RebuildState::failed) {
    HF_LOG(warn, "nexus", "rebuild failed", {"nexus", params_.name}, {"child", c.uri},
           {"error", job.error()});
  }
  // Until the volume has settled, what the cores track of a child is everything: epochs know better.
  const bool away = c.phase != Phase::open;
  const bool by_epochs = away ? c.left_unsettled : unsettled_ && c.epochs != nullptr;
  if (by_epochs && away) {
    c.missed.reset();
  } else {
    DirtyMap left_over(geometry_.block_bytes, geometry_.block_count);
    left_over.merge(job.left_over());
    c.missed = std::move(left_over);
    if (!by_epochs) c.since.reset();  // else needed when it leaves before that
  }
  // What has no room needs another place, not another attempt.
  const Fault why = job.error().code() == Errc::out_of_space ? Fault::no_space : Fault::rebuild_failed;
  job_ended(c, state);  // and its job with it
  if (state == RebuildState::failed && c.phase == Phase::open && c.id == id) begin_leave(c, why);
}

void Control::job_ended(Child& c, RebuildState end) {
  c.job->set_state(end);
  const RebuildRecord record = c.job->record(end);
  history_.push_back(record);
  if (history_.size() > history_max) history_.pop_front();
  if (end == RebuildState::completed) ++counters_.rebuilds_completed;
  if (end == RebuildState::failed) ++counters_.rebuilds_failed;
  HF_LOG(info, "nexus", "rebuild ended", {"nexus", params_.name}, {"child", c.uri}, {"state", name(end)},
         {"blocks", record.blocks_transferred});
  c.job.reset();
  if (observer_ != nullptr) observer_->on_rebuild_ended(view(), record);
  c.job_ended.set();
  changed(&c);
}

Task<void> Control::repair(ChildId id, Span blocks) {
  const std::uint64_t piece = BufferPool::piece_bytes_max / geometry_.block_bytes;
  for (std::uint64_t at = 0; at < blocks.count && !stopping_; at += piece) {
    const Span part{blocks.first + at, std::min(piece, blocks.count - at)};
    const auto repaired = co_await repair_piece(id, part);
    if (!repaired.ok()) {
      HF_LOG(warn, "nexus", "read-repair failed", {"nexus", params_.name}, {"child", uri_of(id)},
             {"block", part.first}, {"error", repaired.error()});
      co_await child_failed(id, Errc::io_error);
      co_return;
    }
    if (repaired.value()) ++counters_.read_repairs;
  }
}

// A block that was written and still cannot be read is the end of this child.
Task<Errc> Control::rewrite(ChildId id, Span blocks, IoVecs good) {
  const Status written = co_await home_state().child_repair(id, blocks, good);
  if (!written.ok()) co_return written.code();
  const Status read_back = co_await home_state().child_read(id, blocks, good);
  co_return read_back.code();
}

// The range is locked as in a rebuild, so no host write is overtaken by the older bytes. An error is the
// child's; false: nobody could give the bytes.
Task<Result<bool>> Control::repair_piece(ChildId id, Span blocks) {
  const Buffer buffer = co_await home_.buffers().acquire(blocks.count * geometry_.block_bytes);
  const IoVec vec = buffer.vec();
  const IoVecs vecs(&vec, 1);
  std::deque<RangeTracker::Entry> entries;
  co_await lock_window(blocks, entries);
  CoreState& state = home_state();
  IdSet tried;
  tried.add(id);
  bool got = false;
  for (ChildId source = state.pick_source(tried); source != ChildId{0} && !got;
       source = state.pick_source(tried)) {
    tried.add(source);
    const Status s = co_await state.child_read(source, blocks, vecs);
    got = s.ok();
  }
  Errc refused = Errc::ok;
  if (got) refused = co_await rewrite(id, blocks, vecs);
  co_await unlock_window(entries);
  if (refused != Errc::ok) co_return Error(refused);
  co_return got;
}

void Control::writes_began() noexcept {
  settle_wanted_ = true;
  if (settling_ || stopping_ || options_.settle_interval <= Nanos(0)) return;
  settling_ = true;
  scope_.spawn(settle_task());
}

// What was written while the last epoch ended is settled, and counts to the next one: when nothing more is written that
// one is sealed as well, so that a crash later finds nothing to copy.
Task<void> Control::settle_task() {
  bool trailing = false;
  while (settle_wanted_) {
    settle_wanted_ = false;
    const bool slept = co_await home_.sleep(options_.settle_interval, stop_.token());
    if (!slept || fenced_) break;
    const bool settled = co_await settle_once();
    trailing = settled && !settle_wanted_ && !trailing && has_epochs();
    settle_wanted_ = settle_wanted_ || !settled || trailing;
  }
  settling_ = false;
}

// Afterwards every member has durably what was written before, so a child that leaves has not missed it, and the
// epochs before are sealed. False: to be tried again.
Task<bool> Control::settle_once() {
  const Semaphore::Permit turn = co_await settle_turn_.acquire(no_deadline, stop_.token());
  if (!turn) co_return false;
  const bool begun = co_await next_epoch();
  if (!begun) co_return false;
  const std::uint32_t ended = epoch_ - 1;
  co_await outlast_writes();
  bool all = true;
  std::vector<ChildId> flushed;
  for (const ChildId id : home_state().members()) {
    Task<Status> flush = home_state().child_flush(id);
    const Status s = co_await while_it_stays(id, std::move(flush));
    const Child* known = find(id);
    if (s.ok() && (known == nullptr || !known->flush_lost)) {
      flushed.push_back(id);
      continue;
    }
    const Errc code =
        s.ok() ? Errc::io_error : s.code();  // once another one is in sync it leaves, and is copied to
    const Verdict verdict = co_await child_failed(id, code);
    if (verdict != Verdict::kept) continue;
    all = false;
    if (s.ok() || is_path_error(code)) continue;
    flush_failed(id, Errc::ok);
    co_await owe(code);
  }
  // One that is away, or was opened again meanwhile, has flushed nothing; and a host's flush may have failed while the
  // others were being flushed.
  for (const auto& c : children_) {
    const bool covered = !c->flush_lost && std::find(flushed.begin(), flushed.end(), c->id) != flushed.end();
    if ((c->in_sync || c->joining) && !covered) all = false;
  }
  if (!all) co_return false;
  auto end = [](CoreState& s) { s.settle_end(); };
  co_await tell_cores(end);
  unsettled_ = false;
  if (!may_seal(flushed)) co_return false;
  sealed_ = std::max(sealed_, ended);
  co_await seal_children();
  co_return true;
}

void Control::flush_failed(ChildId id, Errc owed) noexcept {
  if (Child* c = find(id)) c->flush_lost = true;
  if (owed != Errc::ok && !stopping_) scope_.spawn(owe(owed));
}

void Control::flush_told() noexcept {
  if (!stopping_) scope_.spawn(owe(Errc::ok));
}

Task<void> Control::owe(Errc code) {
  auto tell = [code](CoreState& state) { state.owe_flush_error(code); };
  co_await tell_cores(tell);
}

Task<void> Control::settle_now() {
  const bool settled = co_await settle_once();
  if (!settled) writes_began();  // later, then
}

// Done when every write that is under way now has ended. settle_turn_ is held.
Task<void> Control::outlast_writes() {
  auto begin = [&](Reactor& core) -> Task<void> { return state_of(core).settle_begin(); };
  co_await run_on_all(home_, cores_, begin);
}

bool Control::needs_healing(const Child& c) const noexcept {
  if (c.phase == Phase::open) return c.suspended;
  if (c.removing || !c.fault) return false;
  return *c.fault == Fault::io_error || *c.fault == Fault::timed_out || *c.fault == Fault::rebuild_failed;
}

void Control::want_heal() noexcept {
  if (options_.reopen_interval <= Nanos(0) || healing_ || stopping_) return;
  healing_ = true;
  scope_.spawn(heal_task());
}

Task<void> Control::heal_task() {
  for (;;) {
    const bool slept = co_await home_.sleep(options_.reopen_interval, stop_.token());
    if (!slept || fenced_) break;
    std::vector<std::string> uris;
    for (const auto& c : children_) {
      if (needs_healing(*c)) uris.push_back(c->uri);
    }
    if (uris.empty()) break;
    for (const auto& uri : uris) {
      // A shutdown holds the turn while it waits for this task.
      const Semaphore::Permit turn = co_await ops_.acquire(no_deadline, stop_.token());
      Child* c = find(uri);
      if (!turn || c == nullptr || !usable().ok() || !needs_healing(*c)) continue;
      const Status s = co_await online_locked(*c);
      if (!s.ok()) HF_LOG(debug, "nexus", "child not back yet", {"child", uri}, {"error", s.error()});
    }
  }
  healing_ = false;
}

}  // namespace holdfast::nexus
