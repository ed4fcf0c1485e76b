// Which ranges of a volume one core is changing, and which windows nobody may change for a moment.
//
// Host writes enter with their range. Overlapping writes of a core go one after the other, so that they end
// in the same order on every child. A rebuild or repair locks a window on every core: from then on writes
// that overlap it wait, and lock() is done when those that were inside have left. No lock, no atomic: each
// core has its own tracker, the rebuild asks each by message.
#pragma once

#include <cstdint>

#include "base/assert.h"
#include "rt/task.h"
#include "rt/wait.h"

namespace holdfast::nexus {

struct Span {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
  bool overlaps(const Span& o) const noexcept { return first < o.first + o.count && o.first < first + count; }
};

class RangeTracker {
 public:
  // A write inside, or a window locked. Lives in the frame of the coroutine that entered it.
  class Entry {
   public:
    Entry() = default;
    explicit Entry(Span s) noexcept : span(s) {}
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    ~Entry() { HF_ASSERT(list_ == nullptr); }
    Span span;

   private:
    friend class RangeTracker;
    struct List {
      Entry* first = nullptr;
      Entry* last = nullptr;
    };
    List* list_ = nullptr;
    Entry* prev_ = nullptr;
    Entry* next_ = nullptr;
  };

  explicit RangeTracker(Reactor& core) noexcept : left_(core) {}
  ~RangeTracker() {
    HF_ASSERT(writes_.first == nullptr && waiting_.first == nullptr && locks_.first == nullptr);
  }

  // True when the write is inside now; false: enter() has to wait.
  bool try_enter(Entry& write) noexcept {
    if (blocked(write.span, nullptr)) return false;
    append(writes_, write);
    return true;
  }
  // Waits for the overlapping windows, and for overlapping writes that came before.
  Task<void> enter(Entry& write);
  void leave(Entry& write) noexcept;

  // The window is closed at once; done when the overlapping writes that were inside have left.
  Task<void> lock(Entry& window);
  void unlock(Entry& window) noexcept;

  bool idle() const noexcept { return writes_.first == nullptr; }

 private:
  static bool any_overlap(const Entry::List& list, const Span& span, const Entry* until) noexcept;
  bool blocked(const Span& span, const Entry* until) const noexcept {
    return any_overlap(locks_, span, nullptr) || any_overlap(writes_, span, nullptr) ||
           any_overlap(waiting_, span, until);
  }
  static void append(Entry::List& list, Entry& e) noexcept;
  static void remove(Entry& e) noexcept;

  Entry::List writes_;
  Entry::List waiting_;  // writes that wait, oldest first
  Entry::List locks_;
  WaitQueue left_;
};

}  // namespace holdfast::nexus
