#include "rt/timer.h"

namespace holdfast {

void TimerQueue::arm(Timer& t, Nanos when) {
  disarm(t);
  t.when_ = when;
  t.order_ = order_++;
  heap_.push_back(&t);
  t.slot_ = heap_.size() - 1;
  sift_up(t.slot_);
}

void TimerQueue::disarm(Timer& t) noexcept {
  if (!t.armed()) return;
  const std::size_t hole = t.slot_;
  HF_ASSERT(hole < heap_.size() && heap_[hole] == &t);
  Timer& last = *heap_.back();
  heap_.pop_back();
  t.slot_ = Timer::not_queued;
  if (&last == &t) return;
  place(hole, last);
  sift_up(hole);
  sift_down(last.slot_);
}

Timer* TimerQueue::pop_due(Nanos now) noexcept {
  if (heap_.empty() || heap_.front()->when_ > now) return nullptr;
  Timer* first = heap_.front();
  disarm(*first);
  return first;
}

void TimerQueue::sift_up(std::size_t slot) noexcept {
  Timer& t = *heap_[slot];
  while (slot > 0) {
    const std::size_t parent = (slot - 1) / 2;
    if (!before(t, *heap_[parent])) break;
    place(slot, *heap_[parent]);
    slot = parent;
  }
  place(slot, t);
}

void TimerQueue::sift_down(std::size_t slot) noexcept {
  Timer& t = *heap_[slot];
  for (;;) {
    std::size_t child = 2 * slot + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && before(*heap_[child + 1], *heap_[child])) ++child;
    if (!before(*heap_[child], t)) break;
    place(slot, *heap_[child]);
    slot = child;
  }
  place(slot, t);
}

}  // namespace holdfast
