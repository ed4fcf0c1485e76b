#include "base/duration.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/units.h"

namespace holdfast {
namespace {

using std::chrono::nanoseconds;

constexpr nanoseconds longest = std::chrono::hours(24 * 365);

struct Unit {
  std::string_view name;
  nanoseconds length;
};
constexpr std::array<Unit, 8> units = {{
    {"", std::chrono::seconds(1)},
    {"us", std::chrono::microseconds(1)},
    {"ms", std::chrono::milliseconds(1)},
    {"s", std::chrono::seconds(1)},
    {"m", std::chrono::minutes(1)},
    {"min", std::chrono::minutes(1)},
    {"h", std::chrono::hours(1)},
    {"d", std::chrono::hours(24)},
}};

constexpr std::string_view digits = "0123456789";

// The first `end` characters of `from`, or all of it; they are taken off it.
std::string_view take(std::string_view& from, std::size_t end) {
  const std::string_view taken = from.substr(0, end);
  from.remove_prefix(taken.size());
  return taken;
}

}  // namespace

Result<nanoseconds> parse_duration(std::string_view text) {
  const auto wrong = [text] {
    return Error(Errc::invalid_argument,
                 fmt::format("'{}' is not a duration: give 90, 500ms, 90s, 2m or 1h30m, at most 365d", text));
  };
  nanoseconds total{0};
  for (std::string_view rest = text; !rest.empty();) {
    const auto number = parse_number(take(rest, rest.find_first_not_of(digits)));
    const std::string_view name = take(rest, rest.find_first_of("0123456789 "));
    take(rest, rest.find_first_not_of(' '));
    const auto* const unit =
        std::find_if(units.begin(), units.end(), [&](const Unit& u) { return u.name == name; });
    if (!number.ok() || unit == units.end()) return wrong();
    const auto fits = static_cast<std::uint64_t>((longest - total) / unit->length);
    if (number.value() > fits) return wrong();
    total += static_cast<std::int64_t>(number.value()) * unit->length;
  }
  if (total == nanoseconds(0)) return wrong();
  return total;
}

std::string duration_text(nanoseconds duration) {
  std::string text;
  for (const std::string_view name : {"d", "h", "m", "s", "ms", "us"}) {
    const auto* const unit =
        std::find_if(units.begin(), units.end(), [name](const Unit& u) { return u.name == name; });
    const auto number = duration / unit->length;
    if (number == 0) continue;
    text += fmt::format("{}{}", number, name);
    duration -= number * unit->length;
  }
  return text.empty() ? "0s" : text;
}

}  // namespace holdfast
