// Progress of something long, as one line of text.
#pragma once

#include <cstdint>
#include <string>

namespace holdfast::cli {

// Seconds on a clock that only goes forward. For rates and waiting, never for dates.
double monotonic_seconds() noexcept;
// Waits; a signal may end it early.
void sleep_seconds(double seconds) noexcept;

// "#########-----------": `done` of `total`, `width` characters. A total of 0 counts as done.
std::string bar(std::uint64_t done, std::uint64_t total, unsigned width = 30);
// "4 s", "3 min 20 s", "2 h 5 min": what is left of a wait.
std::string format_duration(double seconds);

// Bytes a second over the last few seconds, so that a rate neither jumps nor lags by minutes.
class Rate {
 public:
  // `total` bytes were done at time `at` (monotonic_seconds). Going backwards starts anew.
  void sample(double at, std::uint64_t total) noexcept;
  double per_second() const noexcept { return rate_; }  // 0 until there are two samples

 private:
  static constexpr double half_life_seconds = 2.0;
  double last_at_ = 0;
  std::uint64_t last_total_ = 0;
  double rate_ = 0;
  bool started_ = false;
};

}  // namespace holdfast::cli
