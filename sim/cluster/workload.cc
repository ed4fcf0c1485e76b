#include "sim/cluster/workload.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "sim/cluster/engines.h"

namespace holdfast::sim {

namespace {

Task<Status> read_blocks(SimReactor& core, Channel& channel, std::uint64_t block_bytes, std::uint64_t first,
                         std::uint64_t count, std::vector<Value>& values) {
  Buffer buffer = co_await core.buffers().acquire(count * block_bytes);
  // What the device leaves untouched must not look like data.
  std::fill_n(buffer.data(), buffer.size(), std::byte{0xee});
  const IoVec vec = buffer.vec();
  HF_CO_CHECK(co_await channel.read(Lba{first}, IoVecs(&vec, 1)));
  for (std::uint64_t i = 0; i < count; ++i) {
    values.push_back(read_stamp(buffer.span().subspan(i * block_bytes, block_bytes), first + i));
  }
  co_return Status();
}

// Reads, and lets the history judge.
Task<bool> judged_read(Cluster& cluster, SimReactor& core, Channel& channel, std::uint64_t first,
                       std::uint64_t count) {
  const std::uint64_t block_bytes = cluster.host().geometry().block_bytes;
  const auto op = cluster.history().begin_read(first, count);
  std::vector<Value> values;
  const Status s = co_await read_blocks(core, channel, block_bytes, first, count, values);
  if (!s.ok()) {
    cluster.history().fail_read(op);
    cluster.note(fmt::format("read {}+{}: {}", first, count, s.error().message()));
    co_return false;
  }
  const std::string wrong = cluster.history().end_read(op, values);
  if (!wrong.empty()) cluster.fail("a read returned what no legal order of the writes allows:\n" + wrong);
  cluster.note(fmt::format("read {}+{}", first, count));
  co_return true;
}

}  // namespace

Workload::Workload(Cluster& cluster)
    : cluster_(cluster),
      swarm_(cluster.swarm()),
      random_(cluster.world().fork_random()),
      left_(swarm_.operations) {}

void Workload::start() {
  for (unsigned i = 0; i < swarm_.queue_depth; ++i) {
    const unsigned core = i % swarm_.host_cores;
    ++slots_running_;
    cluster_.world().spawn(cluster_.host().process().core(core), slot(core));
  }
}

Task<void> Workload::slot(unsigned core_index) {
  SimReactor& core = cluster_.host().process().core(core_index);
  Channel& channel = cluster_.host().channel(core_index);
  while (left_ > 0 && cluster_.failures().empty()) {
    --left_;
    const Nanos began = core.now();
    const bool ok = co_await operation(core, channel);
    if (swarm_.store_only && (!ok || core.now() - began > 1s))
      cluster_.fail("P9: an operation failed or waited while only the store was out");
    ++finished_;
    if (!ok) {
      ++failed_;
      co_await core.sleep(50ms);
    }
    const auto pause = static_cast<std::uint64_t>(swarm_.pause_max.count());
    if (random_.chance(1, swarm_.bursts ? 16 : 2)) co_await core.sleep(Nanos(random_.below(pause)));
  }
  --slots_running_;
}

Workload::Range Workload::draw_range() {
  const std::uint64_t blocks = cluster_.history().block_count();
  const std::uint64_t count = random_.between(1, swarm_.operation_blocks_max);
  std::uint64_t most = blocks - count;
  if (swarm_.hot_blocks > 0 && random_.chance(7, 8)) most = std::min(most, swarm_.hot_blocks);
  return {random_.between(0, most), count};
}

bool Workload::disputed(const Range& range, unsigned core) const {
  return std::any_of(changes_.begin(), changes_.end(), [&](const Change& c) {
    return c.core != core && range.first < c.range.first + c.range.count &&
           c.range.first < range.first + range.count;
  });
}

Task<Workload::Range> Workload::draw_change(SimReactor& core) {
  Range range = draw_range();
  for (unsigned attempt = 1; disputed(range, core.core()); ++attempt) {
    if (attempt % 8 == 0) co_await core.sleep(1ms);
    range = draw_range();
  }
  co_return range;
}

Task<bool> Workload::operation(SimReactor& core, Channel& channel) {
  unsigned n =
      static_cast<unsigned>(random_.below(swarm_.read_weight + swarm_.write_weight + swarm_.zeroes_weight +
                                          swarm_.deallocate_weight + swarm_.flush_weight));
  if (n < swarm_.read_weight) co_return co_await read(core, channel, draw_range());
  n -= swarm_.read_weight;
  if (n < swarm_.flush_weight) co_return co_await flush(channel);
  n -= swarm_.flush_weight;
  const Range range = co_await draw_change(core);
  const Claim claim(*this, range, core.core());
  if (n < swarm_.zeroes_weight) co_return co_await clear(channel, range, false);
  n -= swarm_.zeroes_weight;
  if (n < swarm_.deallocate_weight) co_return co_await clear(channel, range, true);
  co_return co_await write(core, channel, range);
}

Task<bool> Workload::read(SimReactor& core, Channel& channel, Range range) {
  co_return co_await judged_read(cluster_, core, channel, range.first, range.count);
}

Task<bool> Workload::write(SimReactor& core, Channel& channel, Range range) {
  const std::uint64_t block_bytes = cluster_.host().geometry().block_bytes;
  Buffer buffer = co_await core.buffers().acquire(range.count * block_bytes);
  const Value value = cluster_.next_write();
  for (std::uint64_t i = 0; i < range.count; ++i) {
    stamp_block(buffer.span().subspan(i * block_bytes, block_bytes), value, range.first + i);
  }
  const auto op = cluster_.history().begin_write(range.first, range.count, value);
  const IoVec vec = buffer.vec();
  const Durable durable = random_.chance(1, 8) ? Durable::yes : Durable::no;
  const Status s = co_await channel.write(Lba{range.first}, IoVecs(&vec, 1), durable);
  cluster_.history().end_write(op, s.ok(), durable == Durable::yes);
  cluster_.note(fmt::format("write {} to {}+{}: {}", value, range.first, range.count,
                            s.ok() ? "ok" : s.error().message()));
  if (s.ok()) cluster_.check_acknowledged(range.first, range.count, value);
  co_return s.ok();
}

Task<bool> Workload::clear(Channel& channel, Range range, bool deallocate) {
  const auto& can = cluster_.host().capabilities();
  if (deallocate ? !can.deallocate : !can.write_zeroes) co_return true;
  const bool zeroes = !deallocate || cluster_.host().geometry().deallocated_reads_zero;
  const Value value = zeroes ? value_zeroes : value_any;
  const auto op = cluster_.history().begin_write(range.first, range.count, value);
  const BlockRange blocks{Lba{range.first}, range.count};
  bool ok = false;
  if (deallocate) {
    const Status s = co_await channel.deallocate(blocks);
    ok = s.ok();
  } else {
    const Unmap unmap = random_.chance(1, 2) ? Unmap::yes : Unmap::no;
    const Status s = co_await channel.write_zeroes(blocks, unmap, Durable::no);
    ok = s.ok();
  }
  cluster_.history().end_write(op, ok);
  cluster_.note(fmt::format("{} {}+{}: {}", deallocate ? "deallocate" : "write zeroes", range.first,
                            range.count, ok ? "ok" : "failed"));
  if (ok && zeroes) cluster_.check_acknowledged(range.first, range.count, value);
  co_return ok;
}

Task<bool> Workload::flush(Channel& channel) {
  const auto op = cluster_.history().begin_flush();
  const Status s = co_await channel.flush();
  if (!s.ok() && cluster_.recorded_healthy_count() == 1) {
    cluster_.history().lose_flush(op);
  } else {
    cluster_.history().end_flush(op, s.ok());
  }
  cluster_.note(s.ok() ? "flush: ok" : "flush: " + s.error().message());
  co_return s.ok();
}

Task<bool> Workload::read_all(Cluster& cluster) {
  Host& host = cluster.host();
  const std::uint64_t blocks = cluster.history().block_count();
  const std::uint64_t piece = 128 * KiB / host.geometry().block_bytes;
  for (std::uint64_t first = 0; first < blocks; first += piece) {
    const std::uint64_t count = std::min(piece, blocks - first);
    const bool ok = co_await judged_read(cluster, host.process().core(0), host.channel(0), first, count);
    if (!ok) co_return false;
  }
  co_return true;
}

}  // namespace holdfast::sim
