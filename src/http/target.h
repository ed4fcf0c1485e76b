// The target of an HTTP request, "/v0/volumes/UUID?force=true": RFC 3986 sections 2.1, 3.3 and 3.4.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace holdfast::http {

inline constexpr std::size_t target_bytes_max = 8192;

// The query of a target, percent-decoded, '+' read as a space, in the order given.
using Query = std::vector<std::pair<std::string, std::string>>;

struct Target {
  std::vector<std::string> segments;  // of the path, percent-decoded; "/a//b" has an empty one
  std::string raw_query;              // what follows the '?', as it came
  Query query;

  // Errors: invalid_argument, saying what is wrong: not "/...", too long, an incomplete escape, control
  // characters, bytes that are not UTF-8, a parameter without a name.
  static Result<Target> parse(std::string_view text);
};

// Percent-decoding; with `plus_is_space` as forms and queries do it. Errors: invalid_argument.
Result<std::string> decode(std::string_view text, bool plus_is_space);
// The reverse: everything but letters, digits and "-._~" is escaped.
std::string encode(std::string_view text);
// No byte outside well-formed UTF-8 (RFC 3629 section 4).
bool is_utf8(std::string_view text) noexcept;

}  // namespace holdfast::http
