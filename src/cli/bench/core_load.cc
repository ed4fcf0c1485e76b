#include "cli/bench/core_load.h"

#include <algorithm>

#include <fmt/format.h>

namespace holdfast::cli {
namespace {

// A device in memory answers without ever suspending: then a lane would keep the core for itself.
constexpr unsigned operations_before_yield = 64;

}  // namespace

CoreLoad::CoreLoad(Reactor& reactor, BenchPlan& plan) noexcept
    : reactor_(reactor),
      plan_(plan),
      workload_(plan.options, plan.units_per_core,
                plan.options.seed + 0x9e3779b97f4a7c15 * (reactor.core() + 1)) {}

CoreLoad::~CoreLoad() { HF_ASSERT(channel_ == nullptr); }

Task<Status> CoreLoad::open(BlockDevice& device) {
  HF_CO_TRY(channel_, co_await device.open_channel(reactor_));
  lanes_.resize(plan_.options.queue_depth);
  for (Lane& lane : lanes_) {
    for (std::uint64_t left = plan_.options.io_bytes; left > 0;) {
      const std::size_t bytes = std::min<std::uint64_t>(left, BufferPool::piece_bytes_max);
      Buffer piece = reactor_.buffers().try_acquire(bytes);
      if (!piece) co_return Error(Errc::resource_exhausted, "no memory for the operations in flight");
      const std::span<std::byte> memory = piece.span();
      std::fill(memory.begin(), memory.end(), std::byte{0x5A});  // not zeroes: some devices treat those apart
      lane.vectors.push_back(piece.vec());
      lane.pieces.push_back(std::move(piece));
      left -= bytes;
    }
  }
  co_return Status();
}

Task<void> CoreLoad::close() {
  lanes_.clear();
  if (channel_ == nullptr) co_return;
  co_await channel_->close();
  channel_.reset();
}

std::uint64_t CoreLoad::offset_of(std::uint64_t unit) const noexcept {
  return plan_.options.offset + (reactor_.core() * plan_.units_per_core + unit) * plan_.options.stride;
}

Lba CoreLoad::lba_of(std::uint64_t unit) const noexcept { return Lba{offset_of(unit) / plan_.block_bytes}; }

void CoreLoad::fail(Error error) noexcept {
  if (!error_) error_ = std::move(error);
  plan_.stop.store(true, std::memory_order_relaxed);
}

// Each device block of the operation carries the pattern of its own.
void CoreLoad::fill(Lane& lane, std::uint64_t unit) noexcept {
  PatternId id{offset_of(unit), plan_.options.run, workload_.generation(unit)};
  for (const IoVec& v : lane.vectors) {
    for (std::size_t at = 0; at < v.size; at += plan_.block_bytes, id.offset += plan_.block_bytes) {
      fill_pattern({v.data + at, plan_.block_bytes}, id);
    }
  }
}

bool CoreLoad::check(const Lane& lane, std::uint64_t unit) {
  PatternId id{offset_of(unit), plan_.options.run, workload_.generation(unit)};
  // A run that also writes knows what it wrote and nothing of the rest; one that only reads expects a pattern
  // everywhere.
  if (id.generation == 0 && plan_.options.writes()) return true;
  for (const IoVec& v : lane.vectors) {
    for (std::size_t at = 0; at < v.size; at += plan_.block_bytes, id.offset += plan_.block_bytes) {
      const std::span<const std::byte> block(v.data + at, plan_.block_bytes);
      const auto wrong = id.generation == 0 ? check_any_pattern(block, id.offset) : check_pattern(block, id);
      if (!wrong) continue;
      fail(Error(Errc::miscompare,
                 fmt::format("block {} (offset {}): {}", id.offset / plan_.block_bytes, id.offset, *wrong)));
      return false;
    }
  }
  LiveCounts::add_one(live_.verified);
  return true;
}

Task<void> CoreLoad::keep_going(Lane& lane, Nanos measure_from, Nanos measure_to) {
  const bool verify = plan_.options.verify;
  unsigned since_yield = 0;
  Nanos begin = reactor_.now();
  while (!plan_.stop.load(std::memory_order_relaxed) && begin < measure_to) {
    const std::optional<BenchOp> op = workload_.next();
    if (!op) break;
    if (verify) {
      if (op->write) fill(lane, op->unit);
      begin = reactor_.now();
    }
    const IoVecs vectors(lane.vectors);
    Task<Status> operation = op->write ? channel_->write(lba_of(op->unit), vectors, Durable::no)
                                       : channel_->read(lba_of(op->unit), vectors);
    const Status done = co_await operation;
    const Nanos end = reactor_.now();
    if (!done.ok()) {
      workload_.ended(*op);
      fail(done.error().with_context(fmt::format("{} of {} bytes at offset {}", op->write ? "write" : "read",
                                                 plan_.options.io_bytes, offset_of(op->unit))));
      break;
    }
    LiveCounts::add_one(op->write ? live_.writes : live_.reads);
    if (end >= measure_from && end < measure_to) (op->write ? writes_ : reads_).record(end - begin);
    const bool right = op->write || !verify || check(lane, op->unit);
    workload_.ended(*op);
    if (!right) break;
    begin = end;
    if (++since_yield == operations_before_yield) {
      since_yield = 0;
      co_await reactor_.yield();
      begin = reactor_.now();
    }
  }
}

Task<Status> CoreLoad::run(Nanos measure_from, Nanos measure_to) {
  TaskScope scope(reactor_);
  for (Lane& lane : lanes_) scope.spawn(keep_going(lane, measure_from, measure_to));
  co_await scope.join();
  if (error_) co_return *error_;
  co_return Status();
}

Task<void> CoreLoad::keep_verifying(Lane& lane) {
  while (!plan_.stop.load(std::memory_order_relaxed) && verify_cursor_ < workload_.units()) {
    const std::uint64_t unit = verify_cursor_++;
    if (workload_.generation(unit) == 0) continue;
    const Status done = co_await channel_->read(lba_of(unit), IoVecs(lane.vectors));
    if (!done.ok()) {
      fail(done.error().with_context(fmt::format("reading back offset {}", offset_of(unit))));
      co_return;
    }
    if (!check(lane, unit)) co_return;
    if (unit % operations_before_yield == 0) co_await reactor_.yield();
  }
}

Task<Status> CoreLoad::verify_written() {
  TaskScope scope(reactor_);
  for (Lane& lane : lanes_) scope.spawn(keep_verifying(lane));
  co_await scope.join();
  if (error_) co_return *error_;
  co_return Status();
}

}  // namespace holdfast::cli
