#include "cli/tool/duration.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/duration.h"

namespace holdfast::cli {

CLI::Option* add_duration(CLI::App& to, const std::string& name, double& seconds, const std::string& about) {
  const auto to_seconds = [](std::string& text) {
    const auto parsed = parse_duration(text);
    if (!parsed.ok()) return parsed.error().message();
    text = fmt::format("{}", std::chrono::duration<double>(parsed.value()).count());
    return std::string();
  };
  return to.add_option(name, seconds, about)
      ->transform(CLI::Validator(to_seconds, "", "duration"))
      ->type_name("DURATION");
}

}  // namespace holdfast::cli
