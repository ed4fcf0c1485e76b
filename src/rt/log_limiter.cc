#include "rt/log_limiter.h"

#include <utility>

namespace holdfast {

std::optional<std::uint64_t> LogLimiter::admit(Nanos now) noexcept {
  if (now >= next_) {
    tokens_ = burst_;
    next_ = now + 1s;
  }
  if (tokens_ == 0) {
    ++left_out_;
    return std::nullopt;
  }
  // After a burst only one line a second, so that a flood stays a trickle.
  tokens_ = left_out_ > 0 ? 0 : tokens_ - 1;
  return std::exchange(left_out_, 0);
}

}  // namespace holdfast
