// SpinWindow: how long an idle core polls before it sleeps. A processor that sleeps is back some microseconds after
// the event, a virtual one 20 to 50, which is much beside what a disk takes. So a core polls longer while a disk
// owes it an answer, as long as such answers come in that time: not for one that takes milliseconds. Answers of peers
// are not waited for so: a peer may need this very processor to give them.
#pragma once

#include <algorithm>

#include "rt/time.h"

namespace holdfast::uring {

class SpinWindow {
 public:
  // While an answer is due the window is so many times as long.
  static constexpr int patience = 4;

  // spin: when nothing is due.
  explicit SpinWindow(Nanos spin) noexcept : spin_(spin) {}

  // How long to poll after the last event.
  Nanos length(bool answer_due) const noexcept { return answer_due && score_ > 0 ? spin_ * patience : spin_; }
  // A wait ended so long after the last event; polling or asleep.
  void waited(Nanos time, bool answer_due) noexcept {
    if (!answer_due || time <= spin_) return;
    score_ = time <= spin_ * patience ? std::min(score_ + 1, score_max) : std::max(score_ - miss, 0);
  }

 private:
  // Two of three answers have to come within the longer window. A window that became short can become long again, since
  // the time of a sleep counts, too.
  static constexpr int score_max = 8, miss = 2;

  const Nanos spin_;
  int score_ = score_max;
};

}  // namespace holdfast::uring
