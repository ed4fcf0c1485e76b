// RebuildJob: copies to one destination what it does not have, window by window, while the host goes on
// writing. Home core.
//
// A window is locked on every core while it is copied, so no host write is in it; writes before and after go
// to the destination directly. The destination is never read, and does not count as in sync before
// RebuildHost::join has changed the record.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "nexus/core_state.h"
#include "nexus/dirty_map.h"
#include "nexus/rebuild.h"
#include "rt/reactor.h"
#include "rt/wait.h"

namespace holdfast::nexus {

// What a job asks of the nexus.
class RebuildHost {
 public:
  virtual CoreState& home_state() noexcept = 0;
  virtual Task<void> lock_window(Span blocks, std::deque<RangeTracker::Entry>& entries) = 0;
  virtual Task<void> unlock_window(std::deque<RangeTracker::Entry>& entries) = 0;
  // The destination has these blocks as the source has them; the window is still locked.
  virtual Task<void> window_copied(ChildId destination, Span blocks) = 0;
  // A source failed: a lost path retires it.
  virtual Task<void> source_failed(ChildId source, Errc code) = 0;
  virtual std::string uri_of(ChildId id) const = 0;

 protected:
  ~RebuildHost() = default;
};

class RebuildJob {
 public:
  enum class End : std::uint8_t { copied, stopped, failed };

  // `todo`: the regions to copy. `total_blocks`: of the volume.
  RebuildJob(Reactor& home, RebuildHost& host, std::string destination_uri, ChildId destination,
             DirtyMap todo, std::uint64_t total_blocks, bool partial, const NexusOptions& options);
  ~RebuildJob();

  // Copies everything and flushes the destination.
  Task<End> run();
  // pause() takes effect after the windows under way.
  void pause() noexcept;
  void resume() noexcept;
  void stop() noexcept;
  void set_state(RebuildState state) noexcept { state_ = state; }

  RebuildState state() const noexcept { return state_; }
  ChildId destination() const noexcept { return destination_; }
  RebuildStats stats() const;
  RebuildRecord record(RebuildState end) const;
  // What the destination surely has not got: not copied, or copied and not flushed.
  DirtyMap left_over() const;
  // Why it failed.
  const Error& error() const noexcept { return error_; }

 private:
  struct Window {
    Span blocks;
    std::uint64_t first_region = 0;
    std::uint64_t regions = 0;
  };
  enum class Copy : std::uint8_t { done, again, failed };

  bool ending() const noexcept { return stopping_ || failed_; }
  std::optional<Window> next_window() noexcept;
  Task<void> worker();
  Task<bool> copy_window(const Window& w);
  Task<Copy> copy_locked(const Window& w, IoVec buffer);
  Task<Copy> read_source(const Window& w, IoVecs into);
  Task<bool> checkpoint();
  void fail(Error why) noexcept;

  Reactor& home_;
  RebuildHost& host_;
  const std::string destination_uri_;
  const ChildId destination_;
  const NexusOptions options_;
  const std::uint32_t block_bytes_;
  const std::uint64_t total_blocks_;
  const bool partial_;
  const WallTime start_;
  DirtyMap remaining_;  // not copied
  DirtyMap unflushed_;  // copied, not known to be durable
  std::uint64_t todo_regions_ = 0;
  std::uint64_t cursor_ = 0;  // next region that no worker has taken
  std::uint64_t transferred_blocks_ = 0;
  std::uint64_t active_ = 0;  // windows under way
  RebuildState state_ = RebuildState::init;
  bool paused_ = false;
  bool stopping_ = false;
  bool failed_ = false;
  Error error_{Errc::cancelled};
  std::string source_uri_;
  WaitQueue changed_;
};

}  // namespace holdfast::nexus
