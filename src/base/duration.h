// Durations as people write them: "30s", "500ms", "2min", "1h30m", "1h 30m"; a bare number means seconds.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "base/error.h"

namespace holdfast {

// The sum of numbers with us, ms, s, m or min, h, d. More than 0, at most 365 days. Errors: invalid_argument, naming
// the text.
Result<std::chrono::nanoseconds> parse_duration(std::string_view text);

// As parse_duration() takes it: "1h30m". What is less than a microsecond is left out; "0s" when nothing else is left.
std::string duration_text(std::chrono::nanoseconds duration);

}  // namespace holdfast
