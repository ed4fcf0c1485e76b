// Timers of one reactor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/assert.h"
#include "rt/time.h"

namespace holdfast {

// Something that happens at a time. Disarmed before it is destroyed (asserted).
class Timer {
 public:
  // On the reactor's thread, once per arming, at or after the time. Must not block; usually posts a handle.
  virtual void fire() noexcept = 0;
  bool armed() const noexcept { return slot_ != not_queued; }

 protected:
  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { HF_ASSERT(!armed()); }

 private:
  friend class TimerQueue;
  static constexpr std::size_t not_queued = ~std::size_t{0};
  Nanos when_{0};
  std::uint64_t order_ = 0;
  std::size_t slot_ = not_queued;
};

// A binary heap by (time, order of arming): the same calls always fire in the same order.
class TimerQueue {
 public:
  void arm(Timer& t, Nanos when);
  void disarm(Timer& t) noexcept;  // no-op when not armed
  // no_deadline when empty.
  Nanos next() const noexcept { return heap_.empty() ? no_deadline : heap_.front()->when_; }
  bool empty() const noexcept { return heap_.empty(); }
  // Takes out the first timer if it is due at `now`; nullptr otherwise. The caller fires it.
  Timer* pop_due(Nanos now) noexcept;

 private:
  static bool before(const Timer& a, const Timer& b) noexcept {
    return a.when_ != b.when_ ? a.when_ < b.when_ : a.order_ < b.order_;
  }
  void place(std::size_t slot, Timer& t) noexcept {
    heap_[slot] = &t;
    t.slot_ = slot;
  }
  void sift_up(std::size_t slot) noexcept;
  void sift_down(std::size_t slot) noexcept;

  std::vector<Timer*> heap_;
  std::uint64_t order_ = 0;
};

}  // namespace holdfast
