// Courtesy: when a core that polls offers its processor to others. Processes that share one answer each other, and who
// polls for an answer keeps the other from giving it until the poll is over. An offer that nobody takes costs about
// a microsecond. But who has work without end keeps the processor for milliseconds once it is his; while there is such
// a neighbour little is offered: a core that sleeps gets the processor back at once when something comes.
#pragma once

#include <algorithm>

#include "rt/time.h"

namespace holdfast::uring {

class Courtesy {
 public:
  // From one offer to the next. It grows while nobody takes them: an offer that ended sooner than `nobody`.
  static constexpr Nanos interval_min = 1us, interval_max = 16us;
  static constexpr Nanos nobody = 2us;
  // Who took an offer that lasted so long would not give the processor back.
  static constexpr Nanos for_good = 500us;
  // Without offers after that; twice as long each time, until somebody has taken one and given the processor back.
  static constexpr Nanos pause_min = 20ms, pause_max = 1s;
  // Who polls in a pause goes to sleep after that: soon enough to have given the processor back.
  static constexpr Nanos poll_max = for_good / 2;

  bool offers(Nanos now) const noexcept { return now >= next_; }
  bool pauses(Nanos now) const noexcept { return now < pause_end_; }
  // An offer lasted from then to then.
  void offered(Nanos from, Nanos to) noexcept {
    const Nanos lasted = to - from;
    if (lasted >= for_good) {
      next_ = pause_end_ = to + pause_;
      pause_ = std::min(pause_ * 2, pause_max);
      return;
    }
    if (lasted >= nobody) pause_ = pause_min;
    interval_ = lasted >= nobody ? interval_min : std::min(interval_ * 2, interval_max);
    next_ = to + interval_;
  }

 private:
  Nanos next_{0}, pause_end_{0};
  Nanos interval_ = interval_min;
  Nanos pause_ = pause_min;
};

}  // namespace holdfast::uring
