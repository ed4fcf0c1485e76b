#include "base/units.h"

#include <array>
#include <charconv>
#include <limits>

#include <fmt/format.h>

namespace holdfast {
namespace {

Error bad(std::string_view text, const char* why) {
  return Error(Errc::invalid_argument, fmt::format("'{}' is not a size: {}", text.substr(0, 64), why));
}

// 0 for an unknown unit.
std::uint64_t unit_bytes(std::string_view unit) noexcept {
  if (unit.empty() || unit == "B") return 1;
  constexpr std::string_view letters = "KMGTP";
  const auto power = letters.find(unit[0] == 'k' ? 'K' : unit[0]);
  if (power == std::string_view::npos) return 0;
  const auto rest = unit.substr(1);
  std::uint64_t base = 0;
  if (rest.empty() || rest == "i" || rest == "iB") base = 1024;
  if (rest == "B") base = 1000;
  std::uint64_t bytes = base;
  for (std::size_t i = 0; i < power; ++i) bytes *= base;
  return bytes;
}

}  // namespace

Result<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t n = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (ec != std::errc{} || end != text.data() + text.size()) {
    return Error(Errc::invalid_argument, fmt::format("'{}' is not a number", text.substr(0, 64)));
  }
  return n;
}

Result<std::uint64_t> parse_size(std::string_view text) {
  std::uint64_t n = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (ec == std::errc::result_out_of_range) return bad(text, "too large");
  if (ec != std::errc{}) return bad(text, "it must start with a number");
  auto unit = text.substr(static_cast<std::size_t>(end - text.data()));
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  const std::uint64_t factor = unit_bytes(unit);
  if (factor == 0) return bad(text, "the unit must be one of B, KiB, MiB, GiB, TiB, PiB");
  if (n > std::numeric_limits<std::uint64_t>::max() / factor) return bad(text, "too large");
  return n * factor;
}

std::string format_size(std::uint64_t bytes) {
  static constexpr std::array<const char*, 6> units = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  std::size_t unit = 0;
  double value = static_cast<double>(bytes);
  for (; value >= 1024 && unit + 1 < units.size(); ++unit) value /= 1024;
  auto text = fmt::format("{:.2f}", value);
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text.pop_back();
  return text + " " + units[unit];
}

}  // namespace holdfast
