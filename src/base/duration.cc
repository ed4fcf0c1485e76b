#include "base/duration.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

#include "base/units.h"

namespace holdfast {

Result<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  const auto digits = static_cast<std::size_t>(
      std::find_if_not(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c) != 0; }) -
      text.begin());
  const std::string_view unit = text.substr(digits);
  const auto number = parse_number(text.substr(0, digits));
  std::uint64_t scale = 0;
  if (unit == "us") scale = 1000;
  if (unit == "ms") scale = 1000 * 1000;
  if (unit.empty() || unit == "s") scale = 1000ull * 1000 * 1000;
  if (unit == "min") scale = 60ull * 1000 * 1000 * 1000;
  constexpr auto longest = 24ull * 3600 * 1000 * 1000 * 1000;
  if (!number.ok() || scale == 0 || number.value() == 0 || number.value() > longest / scale) {
    return Error(
        Errc::invalid_argument,
        fmt::format("'{}' is not a duration: give a number with us, ms, s or min, at most 24 h", text));
  }
  return std::chrono::nanoseconds(static_cast<std::int64_t>(number.value() * scale));
}

}  // namespace holdfast
