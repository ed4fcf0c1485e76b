// RFC 4122 UUID: 16 bytes in the order in which the text form shows them.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/prng.h"

namespace holdfast {

struct Uuid {
  std::array<std::uint8_t, 16> bytes{};

  // Accepts the 36 character form, in upper or lower case. Errors: invalid_argument, naming the text.
  static Result<Uuid> parse(std::string_view text);
  // Version 4, from the given generator.
  static Uuid random(Prng& prng) noexcept;
  // Version 8, from a 128 bit hash of the text: the same text gives the same UUID in every run.
  static Uuid from_name(std::string_view text) noexcept;

  std::string to_string() const;  // lower case
  bool is_nil() const noexcept { return *this == Uuid{}; }
  auto operator<=>(const Uuid&) const = default;  // NOLINT(modernize-use-nullptr): a 0 of the compiler
};

}  // namespace holdfast
