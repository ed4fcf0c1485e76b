// LogLimiter: keeps what comes without end, such as hostile peers, from filling the log. A burst, then one line a
// second with a count of what was left out.
#pragma once

#include <cstdint>
#include <optional>

#include "rt/time.h"

namespace holdfast {

class LogLimiter {
 public:
  // So many lines of a second are written before any is left out.
  explicit LogLimiter(unsigned burst = 5) noexcept : burst_(burst), tokens_(burst) {}
  // When a line may be written now: how many were not since the last one.
  std::optional<std::uint64_t> admit(Nanos now) noexcept;

 private:
  const unsigned burst_;
  Nanos next_{0};
  unsigned tokens_;
  std::uint64_t left_out_ = 0;
};

}  // namespace holdfast
