// RangeLock: exclusive ranges of one volume, for what changes its map. Overlapping ranges are had one after the
// other, in the order in which they were asked for; disjoint ones together. One reactor.
#pragma once

#include <cstdint>
#include <map>
#include <utility>

#include "rt/reactor.h"
#include "rt/task.h"
#include "rt/wait.h"

namespace holdfast::pool {

class RangeLock {
 public:
  explicit RangeLock(Reactor& home) noexcept : home_(home) {}
  RangeLock(const RangeLock&) = delete;
  RangeLock& operator=(const RangeLock&) = delete;
  ~RangeLock() { HF_ASSERT(held_.empty() && waiting_first_ == nullptr); }

  // A range that is held until the object is destroyed.
  class [[nodiscard]] Hold {
   public:
    Hold() noexcept = default;
    Hold(Hold&& o) noexcept : lock_(std::exchange(o.lock_, nullptr)), first_(o.first_) {}
    Hold& operator=(Hold&& o) noexcept {
      if (this != &o) {
        release();
        lock_ = std::exchange(o.lock_, nullptr);
        first_ = o.first_;
      }
      return *this;
    }
    ~Hold() { release(); }
    void release() noexcept {
      if (RangeLock* lock = std::exchange(lock_, nullptr)) lock->give_back(first_);
    }

   private:
    friend class RangeLock;
    Hold(RangeLock& lock, std::uint64_t first) noexcept : lock_(&lock), first_(first) {}
    RangeLock* lock_ = nullptr;
    std::uint64_t first_ = 0;
  };

  // count > 0.
  Task<Hold> acquire(std::uint64_t first, std::uint64_t count);
  // Whether nobody has it or waits for it.
  bool free(std::uint64_t first, std::uint64_t count) const noexcept {
    return !overlaps_held(first, first + count) && !overlaps_waiting(first, first + count, nullptr);
  }

 private:
  // Lives in the frame of the coroutine that waits.
  struct Waiter {
    explicit Waiter(Reactor& home) noexcept : granted(home) {}
    std::uint64_t first = 0;
    std::uint64_t end = 0;
    Event granted;
    Waiter* next = nullptr;
  };

  bool overlaps_held(std::uint64_t first, std::uint64_t end) const noexcept;
  bool overlaps_waiting(std::uint64_t first, std::uint64_t end, const Waiter* until) const noexcept;
  void give_back(std::uint64_t first) noexcept;

  Reactor& home_;
  std::map<std::uint64_t, std::uint64_t> held_;  // first -> end; disjoint
  Waiter* waiting_first_ = nullptr;              // oldest first
  Waiter* waiting_last_ = nullptr;
};

}  // namespace holdfast::pool
