// Durations as people write them: "30s", "500ms", "2min"; a bare number means seconds.
#pragma once

#include <chrono>
#include <string_view>

#include "base/error.h"

namespace holdfast {

// More than 0, at most 24 hours. Errors: invalid_argument, naming the text.
Result<std::chrono::nanoseconds> parse_duration(std::string_view text);

}  // namespace holdfast
