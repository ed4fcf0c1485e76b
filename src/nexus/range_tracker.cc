#include "nexus/range_tracker.h"

namespace holdfast::nexus {

bool RangeTracker::any_overlap(const Entry::List& list, const Span& span, const Entry* until) noexcept {
  for (const Entry* e = list.first; e != nullptr && e != until; e = e->next_) {
    if (e->span.overlaps(span)) return true;
  }
  return false;
}

void RangeTracker::append(Entry::List& list, Entry& e) noexcept {
  HF_ASSERT(e.list_ == nullptr);
  e.list_ = &list;
  e.prev_ = list.last;
  e.next_ = nullptr;
  (e.prev_ != nullptr ? e.prev_->next_ : list.first) = &e;
  list.last = &e;
}

void RangeTracker::remove(Entry& e) noexcept {
  HF_ASSERT(e.list_ != nullptr);
  (e.prev_ != nullptr ? e.prev_->next_ : e.list_->first) = e.next_;
  (e.next_ != nullptr ? e.next_->prev_ : e.list_->last) = e.prev_;
  e.list_ = nullptr;
}

Task<void> RangeTracker::enter(Entry& write) {
  append(waiting_, write);
  while (blocked(write.span, &write)) co_await left_.wait();
  remove(write);
  append(writes_, write);
}

void RangeTracker::leave(Entry& write) noexcept {
  remove(write);
  left_.wake_all();
}

Task<void> RangeTracker::lock(Entry& window) {
  append(locks_, window);
  while (any_overlap(writes_, window.span, nullptr)) co_await left_.wait();
}

void RangeTracker::unlock(Entry& window) noexcept {
  remove(window);
  left_.wake_all();
}

}  // namespace holdfast::nexus
