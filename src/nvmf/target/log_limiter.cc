#include "nvmf/target/log_limiter.h"

#include <utility>

namespace holdfast::nvmf::target {

bool LogLimiter::admit(Nanos now, std::uint64_t& left_out) noexcept {
  if (now >= next_) {
    tokens_ = burst_;
    next_ = now + 1s;
  }
  if (tokens_ == 0) {
    ++left_out_;
    return false;
  }
  // After a burst only one line a second, so that a flood stays a trickle.
  tokens_ = left_out_ > 0 ? 0 : tokens_ - 1;
  left_out = std::exchange(left_out_, 0);
  return true;
}

}  // namespace holdfast::nvmf::target
