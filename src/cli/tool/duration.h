// Durations on the command line.
#pragma once

#include <string>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace holdfast::cli {

// An option that takes a duration (base/duration.h) into seconds.
CLI::Option* add_duration(CLI::App& to, const std::string& name, double& seconds, const std::string& about);

}  // namespace holdfast::cli
