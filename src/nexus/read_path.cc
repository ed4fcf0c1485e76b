// Reads: from the child that is expected to answer first, then from the others.
#include "nexus/core_state.h"
#include "nexus/io_count.h"
#include "rt/cross_core.h"

namespace holdfast::nexus {
namespace {

constexpr unsigned repairs_max = 8;  // waiting or under way per core; more are left to the next read

// Expected time until an answer. A child that was never asked is asked first. A remote one must be this much
// quicker than a local one to be preferred: it also costs the network.
std::int64_t expected(Nanos average, unsigned waiting, bool local) noexcept {
  const std::int64_t one = average.count() * (waiting + 1);
  return local ? one : one + one / 4;
}

bool may_read(const CoreChild& c, const Span& span) noexcept {
  return c.mode == Mode::in_sync || (c.mode == Mode::catching_up && !c.behind.any(span.first, span.count));
}

}  // namespace

CoreChild* CoreState::pick_reader(const Span& span, const IdSet& tried) noexcept {
  CoreChild* best = nullptr;
  std::int64_t best_time = 0;
  for (const auto& c : members_) {
    if (!may_read(*c, span) || tried.has(c->id)) continue;
    const std::int64_t time = expected(c->read_average, c->reads, c->local);
    if (best == nullptr || time < best_time || (time == best_time && c->local && !best->local)) {
      best = c.get();
      best_time = time;
    }
  }
  // Those that are passed over seem a little quicker each time, so that a child that has recovered is asked
  // again some day.
  for (const auto& c : members_) {
    if (c.get() != best) c->read_average -= c->read_average / 1024;
  }
  return best;
}

Task<Status> CoreState::read_from(CoreChild& c, Lba first, IoVecs into) {
  const Busy busy(c);
  ++c.reads;
  const Nanos began = core_.now();
  const Lba at{to_blocks(first) + volume_.data_start};
  Status s = co_await c.channel->read(at, into);
  --c.reads;
  const Nanos took = std::max(core_.now() - began, Nanos(1));
  c.read_average = c.read_average == Nanos(0) ? took : c.read_average + (took - c.read_average) / 16;
  co_return s;
}

Task<Status> CoreState::read(Lba first, IoVecs into) {
  HF_CO_CHECK(admit());
  const Span blocks{to_blocks(first), total_bytes(into) / volume_.block_bytes};
  const std::uint64_t end = volume_.block_count;
  if (blocks.first > end || blocks.count > end - blocks.first) co_return Error(Errc::out_of_range);
  if (blocks.count == 0) co_return Status();
  const Inside inside(*this);
  const Nanos began = core_.now();
  IdSet tried;
  IdSet bad;  // children with a media error in this range
  Patience patience;
  for (;;) {
    if (fenced_ || stopped_) break;
    CoreChild* c = pick_reader(blocks, tried);
    if (c == nullptr) {
      // Nobody else has these blocks: a medium's error is the answer, a lost path may come back.
      if (!bad.empty()) break;
      tried.clear();
      const bool again = co_await wait_for_change(patience);
      if (!again) break;
      continue;
    }
    const ChildId id = c->id;
    const bool doubted = c->doubted;
    const Status s = co_await read_from(*c, first, into);
    if (s.ok() && !fenced_) {
      if (!tried.empty()) ++counters_.read_failovers;
      if (!bad.empty()) repair_later(bad, blocks);
      if (CoreChild* now = find(id); now != nullptr && doubted) {
        now->doubted = false;
        scope_.spawn(report_recovered(id));
      }
      ++counters_.io.read_ops;
      counters_.io.read_bytes += total_bytes(into);
      latencies_.read.add(core_.now() - began);
      co_return Status();
    }
    if (s.ok()) break;
    tried.add(id);
    if (s.code() == Errc::io_error) {
      bad.add(id);
    } else {
      const Verdict verdict = co_await report(id, s.code());
      if (is_fencing(s.code())) {
        ++counters_.io.errors;
        co_return Error(Errc::fenced);
      }
      if (verdict == Verdict::kept && !is_path_error(s.code())) {
        ++counters_.io.errors;
        co_return Error(s.code());
      }
    }
  }
  ++counters_.io.errors;
  HF_CO_CHECK(admit());
  co_return Error(bad.empty() ? Errc::not_connected : Errc::io_error);
}

void CoreState::repair_later(const IdSet& bad, const Span& blocks) {
  for (const auto& c : members_) {
    if (c->mode != Mode::in_sync || !bad.has(c->id) || repairs_ >= repairs_max) continue;
    ++repairs_;
    scope_.spawn(repair_task(c->id, blocks));
  }
}

Task<void> CoreState::repair_task(ChildId id, Span blocks) {
  auto tell = [&]() -> Task<void> { return sink_.repair(id, blocks); };
  co_await run_on(core_, home_, tell);
  --repairs_;
}

Task<Status> CoreState::child_read(ChildId id, Span blocks, IoVecs into) {
  CoreChild* c = find(id);
  if (c == nullptr) co_return Error(Errc::not_connected);
  co_return co_await read_from(*c, Lba{blocks.first}, into);
}

ChildId CoreState::pick_source(const IdSet& tried) const noexcept {
  const CoreChild* best = nullptr;
  for (const auto& c : members_) {
    if (c->mode != Mode::in_sync || tried.has(c->id)) continue;
    const bool better = best == nullptr || (c->local && !best->local) ||
                        (c->local == best->local && c->read_average < best->read_average);
    if (better) best = c.get();
  }
  return best == nullptr ? ChildId{0} : best->id;
}

}  // namespace holdfast::nexus
