// Sizes as people write them: "4096", "4KiB", "1 MiB", "2G" (binary units; KB and kB mean 1000).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace holdfast {

inline constexpr std::uint64_t KiB = 1024;
inline constexpr std::uint64_t MiB = 1024 * KiB;
inline constexpr std::uint64_t GiB = 1024 * MiB;
inline constexpr std::uint64_t TiB = 1024 * GiB;

// Bytes. Errors: invalid_argument, naming the text (not a number, unknown unit, over 2^64 - 1).
Result<std::uint64_t> parse_size(std::string_view text);
// A decimal number with nothing before or after it. Errors: invalid_argument.
Result<std::uint64_t> parse_number(std::string_view text);
// The largest binary unit that keeps the number at least 1, two decimals at most: "1.5 GiB".
std::string format_size(std::uint64_t bytes);

constexpr bool is_power_of_two(std::uint64_t n) noexcept { return n != 0 && (n & (n - 1)) == 0; }
constexpr std::uint64_t round_up(std::uint64_t n, std::uint64_t unit) noexcept {
  return (n + unit - 1) / unit * unit;
}

}  // namespace holdfast
