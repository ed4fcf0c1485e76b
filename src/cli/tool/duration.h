// Durations as people write them.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace holdfast::cli {

// "90", "90s", "2m", "1h30m", "1h 30m" in seconds. Errors: invalid_argument, naming the text.
Result<double> parse_duration(std::string_view text);
// An option that takes such a duration into seconds.
CLI::Option* add_duration(CLI::App& to, const std::string& name, double& seconds, const std::string& about);

}  // namespace holdfast::cli
