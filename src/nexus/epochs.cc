// The epochs of a volume: announced, sealed, and what they say about what a child has (rules: control.h).
#include <algorithm>
#include <span>

#include <fmt/format.h>

#include "base/log.h"
#include "nexus/control.h"
#include "rt/when_all.h"

namespace holdfast::nexus {
namespace {

// A device that is beyond it after so many runs has something else there: it is used without its epochs.
constexpr std::uint32_t epoch_max = std::uint32_t{1} << 31;

// Marks what a device's regions hold of the volume.
void mark_regions(const RegionBitmap& bits, std::uint64_t bytes_of_region, std::uint32_t block_bytes,
                  std::uint64_t block_count, DirtyMap& to) {
  const std::uint64_t per_region = bytes_of_region / block_bytes;
  const std::uint64_t start = data_start_block(block_bytes);
  for (std::uint64_t region = bits.first; region < bits.first + bits.count; ++region) {
    if (!bits.has(region)) continue;
    const std::uint64_t first = region * per_region;
    if (first < start || first - start >= block_count) continue;
    to.mark(first - start, std::min(per_region, block_count - (first - start)));
  }
}

}  // namespace

Task<Status> Control::read_epochs(Child& c) {
  c.epochs = nullptr;
  EpochClient* client = c.device->epochs();
  if (client == nullptr) co_return Status();
  const auto state = co_await client->state();
  if (state.code() == Errc::not_supported) co_return Status();
  if (!state.ok()) co_return state.error().with_context("its epochs");
  const EpochState& found = state.value();
  const bool usable = found.region_bytes > 0 && found.region_bytes % region_bytes == 0 &&
                      data_offset_bytes % found.region_bytes == 0 && found.current < epoch_max;
  if (!usable) {
    HF_LOG(warn, "nexus", "the epochs of a child cannot be used", {"nexus", params_.name}, {"child", c.uri},
           {"epoch", found.current}, {"region", found.region_bytes});
    co_return Status();
  }
  c.epochs = client;
  c.epoch_state = found;
  c.lost = lost_its_past(c, c.told);
  if (!c.lost) co_return Status();
  c.missed.reset();
  c.since.reset();
  c.in_sync_through = 0;
  co_return Status();
}

// Whether a device that kept epochs does not know of an epoch that it was told: it is another one, or was set
// back, and its content with it.
bool Control::lost_its_past(const Child& c, std::uint64_t known) const {
  if (known == 0 || c.epochs == nullptr || c.epoch_state.current >= known) return false;
  HF_LOG(error, "nexus", "a child has lost what was written to it", {"nexus", params_.name}, {"child", c.uri},
         {"epoch", c.epoch_state.current}, {"known", known});
  return true;
}

// The first epoch of this run, above all that any of the children knows.
Task<Status> Control::open_epochs() {
  std::uint64_t highest = std::min<std::uint64_t>(keeper_.epoch(), epoch_max);
  for (const auto& c : children_) {
    if (c->epochs != nullptr) highest = std::max<std::uint64_t>(highest, c->epoch_state.current);
  }
  epoch_ = static_cast<std::uint32_t>(highest + 1);
  for (const auto& c : children_) {
    if (c->epochs == nullptr) continue;
    c->known_from = c->epoch_state.current > 0 ? 0 : epoch_ - 1;
    const Status told = co_await announce_to(*c, epoch_);
    if (!told.ok()) co_return told.error().with_context(fmt::format("epoch of child '{}'", c->uri));
  }
  co_return Status();
}

Task<Status> Control::announce_to(Child& c, std::uint32_t epoch) {
  const DeviceCall call(c);
  Status told = co_await c.epochs->announce(epoch);
  if (told.ok()) c.told = std::max(c.told, epoch);
  co_return told;
}

// Afterwards every child in the lists counts what is written for a new epoch, as does `newcomer`, which is not in
// them yet (may be nullptr). epoch_turn_ is held. Errors: of the newcomer; not_connected while the last in-sync
// child cannot be told.
Task<Status> Control::advance(Child* newcomer) {
  std::uint64_t highest =
      std::max<std::uint64_t>(epoch_, std::min<std::uint64_t>(keeper_.epoch(), epoch_max));
  if (newcomer != nullptr && newcomer->epochs != nullptr) {
    highest = std::max<std::uint64_t>(highest, newcomer->epoch_state.current);
  }
  const auto next = static_cast<std::uint32_t>(highest + 1);
  std::vector<ChildId> told;
  std::vector<Task<Status>> calls;
  for (const auto& c : children_) {
    if (c->epochs == nullptr || (c->phase != Phase::open && c.get() != newcomer)) continue;
    told.push_back(c->id);
    const bool is_newcomer = c.get() == newcomer;
    calls.push_back(is_newcomer ? announce_to(*c, next) : while_it_stays(c->id, announce_to(*c, next)));
  }
  co_await when_all(std::span(calls));
  const ChildId newcomers = newcomer == nullptr ? ChildId{0} : newcomer->id;
  std::optional<Error> failed;
  for (std::size_t i = 0; i < told.size(); ++i) {
    const Status s = calls[i].take();
    if (s.ok()) continue;
    if (told[i] == newcomers) {
      failed = s.error();
      continue;
    }
    const Verdict verdict = co_await child_failed(told[i], s.code());
    if (verdict == Verdict::kept && !failed) failed = Error(Errc::not_connected);
  }
  if (failed) co_return *failed;
  epoch_ = next;
  co_return Status();
}

Task<bool> Control::next_epoch() {
  const Semaphore::Permit turn = co_await epoch_turn_.acquire(no_deadline, stop_.token());
  if (!turn || fenced_) co_return false;
  const Status begun = co_await advance(nullptr);
  co_return begun.ok();
}

bool Control::has_epochs() const noexcept {
  return std::any_of(children_.begin(), children_.end(), [](const auto& c) { return c->epochs != nullptr; });
}

// After a change of the membership. When it fails the next settling tries again.
Task<void> Control::new_epoch() {
  if (!has_epochs() || stopping_) co_return;
  const bool begun = co_await next_epoch();
  if (!begun) HF_LOG(debug, "nexus", "no new epoch", {"nexus", params_.name});
}

// A child that has lost what was written to it does not show it any more once it is told an epoch: the record says it
// before that.
Task<Status> Control::record_losses() {
  HF_CO_CHECK(usable());
  const Status recorded = co_await keeper_.persist(home_.now() + options_.hold_timeout);
  if (recorded.code() == Errc::fenced) co_await fence();
  if (!recorded.ok()) co_return recorded.error();
  for (const auto& c : children_) c->lost = false;
  co_return Status();
}

// Into the lists, with the epoch of the others.
Task<Status> Control::admit(Child& c, Mode mode) {
  if (c.lost) HF_CO_CHECK(co_await record_losses());
  const Semaphore::Permit turn = co_await epoch_turn_.acquire();
  HF_CO_CHECK(co_await advance(&c));
  co_await attach(c, mode);
  co_return Status();
}

// All that the record calls healthy, or may call so, were flushed and are in sync.
bool Control::may_seal(const std::vector<ChildId>& flushed) const {
  if (fenced_) return false;
  return std::all_of(children_.begin(), children_.end(), [&](const auto& c) {
    if (!c->recorded_healthy) return c->settled.is_set();
    return std::find(flushed.begin(), flushed.end(), c->id) != flushed.end();
  });
}

Task<void> Control::seal_children() {
  std::vector<Task<Status>> calls;
  for (const auto& c : children_) {
    const bool wanted = c->epochs != nullptr && c->phase == Phase::open && c->recorded_healthy;
    if (wanted) calls.push_back(while_it_stays(c->id, seal_at(*c, sealed_)));
  }
  co_await when_all(std::span(calls));
  for (auto& call : calls) call.take().ignore("it costs a longer copy after a crash, no more");
}

Task<Status> Control::seal_at(Child& c, std::uint32_t epoch) {
  const DeviceCall call(c);
  Status done = co_await c.epochs->seal(epoch);
  if (done.ok()) co_return done;
  HF_LOG(info, "nexus", "an epoch is not sealed", {"nexus", params_.name}, {"child", c.uri}, {"epoch", epoch},
         {"error", done.error()});
  if (is_fencing(done.code())) co_await fence();
  co_return done;
}

// At the end: all I/O has ended and every healthy child was flushed after it.
Task<void> Control::seal_all() {
  std::vector<ChildId> flushed;
  for (const auto& c : children_) {
    if (c->recorded_healthy) flushed.push_back(c->id);
  }
  if (!may_seal(flushed)) co_return;
  const Semaphore::Permit turn = co_await epoch_turn_.acquire();
  const std::uint32_t ended = epoch_;
  const Status begun = co_await advance(nullptr);
  if (!begun.ok() || !may_seal(flushed)) co_return;
  sealed_ = std::max(sealed_, ended);
  co_await seal_children();
}

// An in-sync child that keeps epochs, and whose regions tell all that changed in those above `since`, if given.
// One that does not answer just now if there is no other. nullptr: there is none.
Child* Control::source_by_epochs(std::optional<std::uint32_t> since) const {
  Child* suspended = nullptr;
  for (const auto& c : children_) {
    const bool keeps_epochs =
        c->epochs != nullptr || (c->suspended && c->told != 0);  // it may have no device then
    const bool tells = keeps_epochs && (!since || c->known_from <= *since);
    if (!tells || c->phase != Phase::open || !c->in_sync) continue;
    if (!c->suspended) return c.get();
    suspended = c.get();
  }
  return suspended;
}

Task<Status> Control::add_regions(Child& c, Which which, std::uint32_t since, DirtyMap& to) {
  const DeviceCall call(c);
  const std::uint64_t bytes_of_region = c.epoch_state.region_bytes;
  const std::uint64_t end =
      (data_start_block(geometry_.block_bytes) + geometry_.block_count) * geometry_.block_bytes;
  const std::uint64_t regions = (end + bytes_of_region - 1) / bytes_of_region;
  for (std::uint64_t at = 0; at < regions; at += EpochClient::regions_per_call_max) {
    const std::uint64_t count = std::min(EpochClient::regions_per_call_max, regions - at);
    if (c.epochs == nullptr) co_return Error(Errc::not_connected);
    Task<Result<RegionBitmap>> ask =
        which == Which::changed ? c.epochs->changed_since(since, at, count) : c.epochs->allocated(at, count);
    HF_CO_TRY(const RegionBitmap bits, co_await ask);
    mark_regions(bits, bytes_of_region, geometry_.block_bytes, geometry_.block_count, to);
  }
  co_return Status();
}

// What may differ between two children that agree on the regions of epochs up to `since`.
Task<Status> Control::add_changes(Child& c, Child& source, std::uint32_t since, DirtyMap& to) {
  HF_CO_CHECK(co_await add_regions(source, Which::changed, since, to));
  co_return co_await add_regions(c, Which::changed, since, to);
}

// What a child of an unknown past has to get to be equal to the source: what either has allocated; and what ever
// changed on the source, so that the child's regions have epochs, too.
Task<Status> Control::add_contents(Child& c, Child& source, DirtyMap& to) {
  HF_CO_CHECK(co_await add_regions(source, Which::allocated, 0, to));
  HF_CO_CHECK(co_await add_regions(source, Which::changed, 0, to));
  co_return co_await add_regions(c, Which::allocated, 0, to);
}

// What a child that is in the lists, for writes, has to get. nullopt: it left meanwhile.
Task<std::optional<DirtyMap>> Control::plan_rebuild(Child& c) {
  DirtyMap todo(geometry_.block_bytes, geometry_.block_count);
  if (c.missed) {
    todo.merge(*c.missed);
    co_return todo;
  }
  const ChildId id = c.id;
  Child* source = c.epochs == nullptr ? nullptr : source_by_epochs(c.since);
  if (source != nullptr && !source->suspended) {
    // A write that began before the child was in the lists may reach the source later, and be in no bitmap yet.
    const Semaphore::Permit turn = co_await settle_turn_.acquire(no_deadline, stop_.token());
    if (!turn) co_return std::nullopt;
    co_await outlast_writes();
    if (c.phase != Phase::open || c.id != id) co_return std::nullopt;
    source = source_by_epochs(c.since);
  }
  // Asked again when the source answers: everything is copied only when nothing else is known.
  if (source != nullptr && source->suspended) {
    begin_leave(c, Fault::rebuild_failed);
    co_return std::nullopt;
  }
  if (source != nullptr && c.epochs != nullptr) {
    Task<Status> ask = c.since ? add_changes(c, *source, *c.since, todo) : add_contents(c, *source, todo);
    const std::uint32_t known_from = source->known_from;
    const Status known = co_await ask;
    const bool complete = known.ok();
    if (c.phase != Phase::open || c.id != id) co_return std::nullopt;
    if (complete && !c.since) c.known_from = known_from;
    if (complete) co_return todo;
    if (known.code() == Errc::not_connected || known.code() == Errc::timed_out) {
      begin_leave(c, Fault::rebuild_failed);
      co_return std::nullopt;
    }
    HF_LOG(info, "nexus", "the whole volume is copied", {"nexus", params_.name}, {"child", c.uri},
           {"reason", known.error()});
  }
  if (c.phase != Phase::open || c.id != id) co_return std::nullopt;
  c.since.reset();
  c.known_from = 0;
  todo.mark_all();
  co_return todo;
}

// A child that was one before, and is given again. What was known of it.
std::optional<ChildRecord> Control::recall_former(Child& c) {
  const auto it =
      std::find_if(former_.begin(), former_.end(), [&](const auto& r) { return r.uuid == c.uuid; });
  if (it == former_.end()) return std::nullopt;
  ChildRecord known = *it;
  former_.erase(it);
  const std::uint64_t through = known.in_sync_through;
  if (c.epochs != nullptr && through > 0 && c.epoch_state.current > through) {
    c.in_sync_through = through;
    c.since = static_cast<std::uint32_t>(through);
  } else if (c.epochs != nullptr) {
    known.in_sync_through = 0;  // it has lost that, and when it is added again it may have been told an epoch
  }
  return known;
}

// A child that was given the volume's content elsewhere. Not beyond what is sealed: in later epochs a write may
// have reached that content's source and not be known to the others as one of that epoch.
void Control::believe(Child& c, std::uint32_t in_sync_through) const {
  const std::uint32_t through = std::min(in_sync_through, sealed_);
  if (c.since || c.epochs == nullptr || through == 0 || c.epoch_state.current <= through) return;
  c.in_sync_through = through;
  c.since = through;
}

Task<void> Control::window_copied(ChildId destination, Span blocks) {
  const Child* c = find(destination);
  if (c == nullptr || !c->catching_up) co_return;
  auto tell = [&](CoreState& s) { s.caught_up(destination, blocks); };
  co_await tell_cores(tell);
}

}  // namespace holdfast::nexus
