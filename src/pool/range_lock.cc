#include "pool/range_lock.h"

#include <iterator>

namespace holdfast::pool {

bool RangeLock::overlaps_held(std::uint64_t first, std::uint64_t end) const noexcept {
  const auto after = held_.lower_bound(end);  // begins beyond the range
  return after != held_.begin() && std::prev(after)->second > first;
}

bool RangeLock::overlaps_waiting(std::uint64_t first, std::uint64_t end, const Waiter* until) const noexcept {
  for (const Waiter* w = waiting_first_; w != until; w = w->next) {
    if (w->first < end && first < w->end) return true;
  }
  return false;
}

Task<RangeLock::Hold> RangeLock::acquire(std::uint64_t first, std::uint64_t count) {
  HF_ASSERT(count > 0);
  const std::uint64_t end = first + count;
  if (!overlaps_held(first, end) && !overlaps_waiting(first, end, nullptr)) {
    held_.emplace(first, end);
    co_return Hold(*this, first);
  }
  Waiter me(home_);
  me.first = first;
  me.end = end;
  if (waiting_last_ == nullptr) {
    waiting_first_ = &me;
  } else {
    waiting_last_->next = &me;
  }
  waiting_last_ = &me;
  co_await me.granted.wait();
  co_return Hold(*this, first);
}

void RangeLock::give_back(std::uint64_t first) noexcept {
  held_.erase(first);
  Waiter** link = &waiting_first_;
  Waiter* before = nullptr;
  while (Waiter* w = *link) {
    if (overlaps_held(w->first, w->end) || overlaps_waiting(w->first, w->end, w)) {
      before = w;
      link = &w->next;
      continue;
    }
    *link = w->next;
    if (waiting_last_ == w) waiting_last_ = before;
    held_.emplace(w->first, w->end);
    w->granted.set();
  }
}

}  // namespace holdfast::pool
