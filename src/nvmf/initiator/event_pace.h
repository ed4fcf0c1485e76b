// EventPace: how fast the events of one target are heard. A target may have something to tell all the time, and each
// event costs commands and lines of the log; a burst is heard at once, the rest of an interval waits for its end.
// Nothing is lost: the target keeps what it has to tell, and tells it once.
#pragma once

#include "rt/time.h"

namespace holdfast::nvmf::host {

class EventPace {
 public:
  static constexpr unsigned events_at_once = 32;
  static constexpr Nanos interval = 100ms;

  // An event was handled: how long to wait before the next one is asked for; zero as a rule.
  Nanos pause(Nanos now) noexcept {
    if (now >= until_) {
      until_ = now + interval;
      events_ = 0;
    }
    return ++events_ > events_at_once ? until_ - now : Nanos{0};
  }

 private:
  unsigned events_ = 0;  // in the interval that ends at until_
  Nanos until_{0};
};

}  // namespace holdfast::nvmf::host
