#include "nexus/rebuild_job.h"

#include <algorithm>
#include <span>

#include <fmt/format.h>

#include "base/zeroes.h"
#include "rt/when_all.h"

namespace holdfast::nexus {
namespace {

// So much is copied before the destination is flushed: what an interrupted job has to copy again at most.
constexpr std::uint64_t checkpoint_regions = 1 * GiB / region_bytes;

}  // namespace

RebuildJob::RebuildJob(Reactor& home, RebuildHost& host, std::string destination_uri, ChildId destination,
                       DirtyMap todo, std::uint64_t total_blocks, bool partial, const NexusOptions& options)
    : home_(home),
      host_(host),
      destination_uri_(std::move(destination_uri)),
      destination_(destination),
      options_(options),
      block_bytes_(host.home_state().volume().block_bytes),
      total_blocks_(total_blocks),
      partial_(partial),
      start_(home.wall_now()),
      remaining_(std::move(todo)),
      unflushed_(block_bytes_, total_blocks),
      todo_regions_(remaining_.marked()),
      changed_(home) {}

RebuildJob::~RebuildJob() { HF_ASSERT(active_ == 0); }

void RebuildJob::pause() noexcept {
  paused_ = true;
  state_ = RebuildState::paused;
}

void RebuildJob::resume() noexcept {
  paused_ = false;
  state_ = RebuildState::rebuilding;
  changed_.wake_all();
}

void RebuildJob::stop() noexcept {
  stopping_ = true;
  changed_.wake_all();
}

void RebuildJob::fail(Error why) noexcept {
  if (!failed_) error_ = std::move(why);
  failed_ = true;
  changed_.wake_all();
}

Task<RebuildJob::End> RebuildJob::run() {
  if (!paused_) state_ = RebuildState::rebuilding;
  std::vector<Task<void>> workers;
  for (unsigned i = 0; i < std::max(1U, options_.rebuild.windows_in_flight); ++i) workers.push_back(worker());
  co_await when_all(std::span(workers));
  if (!ending()) co_await checkpoint();
  if (failed_) co_return End::failed;
  co_return stopping_ ? End::stopped : End::copied;
}

// The next marked regions that lie together, at most a window of them.
std::optional<RebuildJob::Window> RebuildJob::next_window() noexcept {
  const std::uint64_t longest = std::max<std::uint64_t>(1, options_.rebuild.window_bytes / region_bytes);
  Window w;
  w.first_region = remaining_.next(cursor_);
  if (w.first_region >= remaining_.regions()) return std::nullopt;
  // Windows end at multiples of their size, so that a full copy and a partial one cut the volume alike.
  const std::uint64_t end = std::min((w.first_region / longest + 1) * longest, remaining_.regions());
  std::uint64_t last = w.first_region + 1;
  while (last < end && remaining_.region(last)) ++last;
  w.regions = last - w.first_region;
  cursor_ = last;
  const std::uint64_t per_region = remaining_.blocks_per_region();
  w.blocks.first = w.first_region * per_region;
  w.blocks.count = std::min(last * per_region, total_blocks_) - w.blocks.first;
  return w;
}

Task<void> RebuildJob::worker() {
  while (!ending()) {
    if (paused_) {
      co_await changed_.wait();
      continue;
    }
    const auto window = next_window();
    if (!window) co_return;
    ++active_;
    const bool copied = co_await copy_window(*window);
    --active_;
    if (!copied) continue;
    for (std::uint64_t r = 0; r < window->regions; ++r) {
      remaining_.clear_region(window->first_region + r);
      const std::uint64_t block = (window->first_region + r) * remaining_.blocks_per_region();
      unflushed_.mark(block, 1);
    }
    transferred_blocks_ += window->blocks.count;
    if (unflushed_.marked() >= checkpoint_regions) co_await checkpoint();
  }
}

// What was copied before the flush began is durable after it.
Task<bool> RebuildJob::checkpoint() {
  DirtyMap flushed = std::move(unflushed_);
  unflushed_ = DirtyMap(block_bytes_, total_blocks_);
  const Status s = co_await host_.home_state().child_flush(destination_);
  if (s.ok()) co_return true;
  unflushed_.merge(flushed);
  fail(s.error().with_context("flush of the destination"));
  co_return false;
}

// The memory is taken before the lock: host writes that wait for the window may hold all the rest.
Task<bool> RebuildJob::copy_window(const Window& w) {
  const Buffer buffer = co_await home_.buffers().acquire(w.blocks.count * block_bytes_);
  Nanos pause = options_.retry_first;
  while (!ending()) {
    std::deque<RangeTracker::Entry> entries;
    co_await host_.lock_window(w.blocks, entries);
    const Copy copied = co_await copy_locked(w, buffer.vec());
    if (copied == Copy::done) co_await host_.window_copied(destination_, w.blocks);
    co_await host_.unlock_window(entries);
    if (copied == Copy::done) co_return true;
    if (copied == Copy::failed) co_return false;
    // The last in-sync child is away for now: the host waits for it, so does the copy.
    co_await changed_.wait(home_.now() + pause);
    pause = std::min(pause * 2, options_.retry_longest);
  }
  co_return false;
}

Task<RebuildJob::Copy> RebuildJob::copy_locked(const Window& w, IoVec buffer) {
  const IoVecs vecs(&buffer, 1);
  const Copy got = co_await read_source(w, vecs);
  if (got != Copy::done) co_return got;
  CoreState& state = host_.home_state();
  const bool zero = state.child_can_zero(destination_) && is_zero(std::span(buffer.data, buffer.size));
  Task<Status> put =
      zero ? state.child_zero(destination_, w.blocks) : state.child_write(destination_, w.blocks, vecs);
  const Status written = co_await put;
  if (written.ok()) co_return Copy::done;
  fail(written.error().with_context(fmt::format("write to '{}'", destination_uri_)));
  co_return Copy::failed;
}

Task<RebuildJob::Copy> RebuildJob::read_source(const Window& w, IoVecs into) {
  CoreState& state = host_.home_state();
  IdSet tried;
  Errc last = Errc::not_connected;
  for (;;) {
    const ChildId source = state.pick_source(tried);
    if (source == ChildId{0}) break;
    source_uri_ = host_.uri_of(source);
    const Status s = co_await state.child_read(source, w.blocks, into);
    if (s.ok()) co_return Copy::done;
    last = s.code();
    tried.add(source);
    co_await host_.source_failed(source, last);
  }
  if (is_path_error(last)) co_return Copy::again;
  Error why(last);
  fail(why.with_context(fmt::format("read of blocks {} to {} from every source, last '{}'", w.blocks.first,
                                    w.blocks.first + w.blocks.count - 1, source_uri_)));
  co_return Copy::failed;
}

DirtyMap RebuildJob::left_over() const {
  DirtyMap left = remaining_.copy();
  left.merge(unflushed_);
  return left;
}

RebuildStats RebuildJob::stats() const {
  RebuildStats s;
  s.state = state_;
  s.blocks_total = total_blocks_;
  s.blocks_remaining = std::min(remaining_.marked() * remaining_.blocks_per_region(), total_blocks_);
  s.blocks_recovered = total_blocks_ - s.blocks_remaining;
  s.blocks_transferred = transferred_blocks_;
  s.progress_percent = todo_regions_ == 0 ? 100 : (todo_regions_ - remaining_.marked()) * 100 / todo_regions_;
  s.blocks_per_task = options_.rebuild.window_bytes / block_bytes_;
  s.block_size = block_bytes_;
  s.tasks_total = options_.rebuild.windows_in_flight;
  s.tasks_active = active_;
  s.is_partial = partial_;
  s.start_time = start_;
  return s;
}

RebuildRecord RebuildJob::record(RebuildState end) const {
  const RebuildStats s = stats();
  RebuildRecord r;
  r.child_uri = destination_uri_;
  r.source_uri = source_uri_;
  r.state = end;
  r.blocks_total = s.blocks_total;
  r.blocks_recovered = s.blocks_recovered;
  r.blocks_transferred = s.blocks_transferred;
  r.blocks_remaining = s.blocks_remaining;
  r.blocks_per_task = s.blocks_per_task;
  r.block_size = s.block_size;
  r.is_partial = partial_;
  r.start_time = start_;
  r.end_time = home_.wall_now();
  return r;
}

}  // namespace holdfast::nexus
