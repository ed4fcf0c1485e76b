// How long operations took: what a statistics page shows beside counts and bytes.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "rt/time.h"

namespace holdfast {

// Of operations of one kind that ended well.
struct IoLatency {
  Nanos sum{0};
  Nanos max{0};
  Nanos min{0};  // 0: there was none

  void add(Nanos took) noexcept {
    took = std::max(took, Nanos{1});
    sum += took;
    max = std::max(max, took);
    min = min == Nanos{0} ? took : std::min(min, took);
  }
  IoLatency& operator+=(const IoLatency& o) noexcept {
    sum += o.sum;
    max = std::max(max, o.max);
    if (o.min != Nanos{0}) min = min == Nanos{0} ? o.min : std::min(min, o.min);
    return *this;
  }
};

struct IoLatencies {
  IoLatency read, write, unmap;

  IoLatencies& operator+=(const IoLatencies& o) noexcept {
    read += o.read;
    write += o.write;
    unmap += o.unmap;
    return *this;
  }
};

// Of one device on one core: written by that core, read by any.
class alignas(64) CoreLatencies {
 public:
  void read_took(Nanos t) noexcept { read_.add(t); }
  void write_took(Nanos t) noexcept { write_.add(t); }
  void unmap_took(Nanos t) noexcept { unmap_.add(t); }
  IoLatencies get() const noexcept { return {read_.get(), write_.get(), unmap_.get()}; }
  // That core.
  void reset() noexcept {
    read_.set(IoLatency());
    write_.set(IoLatency());
    unmap_.set(IoLatency());
  }

 private:
  class Kind {
   public:
    // One writer: loads and stores, no locked instruction.
    void add(Nanos took) noexcept {
      IoLatency now = get();
      now.add(took);
      set(now);
    }
    IoLatency get() const noexcept {
      return {sum_.load(std::memory_order_relaxed), max_.load(std::memory_order_relaxed),
              min_.load(std::memory_order_relaxed)};
    }
    void set(const IoLatency& to) noexcept {
      sum_.store(to.sum, std::memory_order_relaxed);
      max_.store(to.max, std::memory_order_relaxed);
      min_.store(to.min, std::memory_order_relaxed);
    }

   private:
    std::atomic<Nanos> sum_{Nanos{0}}, max_{Nanos{0}}, min_{Nanos{0}};
  };
  Kind read_, write_, unmap_;
};

}  // namespace holdfast
