// DiskHealth: whether a disk that answers is fit for its pool: how often it failed I/O or stalled lately. One that is
// not makes its pool degraded, until it was quiet for some time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>

#include "rt/time.h"

namespace holdfast::pool {

struct DiskHealthLimits {
  // An operation that takes longer has stalled the disk. Every further time of this length in which one is under way
  // is one more stall; what else stalls meanwhile is the same one.
  Nanos stall_time = std::chrono::seconds(1);
  unsigned stalls = 5;  // so many within the window are too many; 0: any number is accepted
  unsigned errors = 1;  // failed operations, likewise
  Nanos window = std::chrono::minutes(10);
  Nanos quiet = std::chrono::minutes(30);  // so long without one: fit again
};

// Home core of the pool. Times never go back.
class DiskHealth {
 public:
  explicit DiskHealth(const DiskHealthLimits& limits) noexcept : limits_(limits) {}

  void failed(std::uint64_t operations, Nanos now);
  void stalled(Nanos now);
  // Forgets what was long enough ago.
  void refresh(Nanos now);
  // Forgets all.
  void reset();

  bool fit() const noexcept { return !errors_.too_many && !stalls_.too_many; }
  // When refresh() has something to forget; no_deadline: never.
  Nanos refresh_at() const noexcept;
  // What is wrong, with figures, and when it ends; empty when it is fit.
  std::string reason() const;

 private:
  struct Trouble {
    std::deque<Nanos> times;  // within the window before the last one
    std::size_t figure = 0;   // of these, when there were most since the disk was fit
    bool too_many = false;
  };
  static constexpr std::size_t times_max = 1024;  // more are not told apart
  void add(Trouble& trouble, unsigned limit, Nanos now);
  void refresh(Trouble& trouble, Nanos now);

  const DiskHealthLimits limits_;
  Trouble errors_;
  Trouble stalls_;
};

}  // namespace holdfast::pool
