#include "cli/tool/duration.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/units.h"

namespace holdfast::cli {

Result<double> parse_duration(std::string_view text) {
  const auto wrong = [text] {
    return Error(Errc::invalid_argument,
                 fmt::format("'{}' is not a duration: 90, 90s, 2m or 1h30m is wanted", text));
  };
  double total = 0;
  bool any = false;
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] == ' ') {
      ++i;
      continue;
    }
    const auto digits_end = std::min(text.find_first_not_of("0123456789", i), text.size());
    const auto value = parse_number(text.substr(i, digits_end - i));
    if (!value.ok() || value.value() > 1'000'000'000) return wrong();
    const char unit = digits_end < text.size() && text[digits_end] != ' ' ? text[digits_end] : 's';
    const double scale = unit == 's' ? 1 : unit == 'm' ? 60 : unit == 'h' ? 3600 : unit == 'd' ? 86400 : 0;
    if (scale == 0) return wrong();
    total += static_cast<double>(value.value()) * scale;
    any = true;
    i = digits_end + (digits_end < text.size() ? 1 : 0);
  }
  if (!any || total <= 0) return wrong();
  return total;
}

CLI::Option* add_duration(CLI::App& to, const std::string& name, double& seconds, const std::string& about) {
  const auto to_seconds = [](std::string& text) {
    const auto parsed = parse_duration(text);
    if (!parsed.ok()) return parsed.error().message();
    text = fmt::format("{}", parsed.value());
    return std::string();
  };
  return to.add_option(name, seconds, about)
      ->transform(CLI::Validator(to_seconds, "", "duration"))
      ->type_name("DURATION");
}

}  // namespace holdfast::cli
