#include "http/target.h"

#include <array>
#include <cstdint>

#include <fmt/format.h>

namespace holdfast::http {
namespace {

Error bad_target(std::string_view why) {
  return Error(Errc::invalid_argument, fmt::format("the request's path and query: {}", why));
}

int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

struct Utf8Lead {
  std::size_t further = 0;  // bytes that follow
  std::uint8_t low = 0x80;  // limits of the first of them
  std::uint8_t high = 0xbf;
};

std::optional<Utf8Lead> utf8_lead(std::uint8_t byte) noexcept {
  if (byte < 0x80) return Utf8Lead{};
  if (byte >= 0xc2 && byte <= 0xdf) return Utf8Lead{1, 0x80, 0xbf};
  if (byte == 0xe0) return Utf8Lead{2, 0xa0, 0xbf};
  if (byte == 0xed) return Utf8Lead{2, 0x80, 0x9f};
  if (byte >= 0xe1 && byte <= 0xef) return Utf8Lead{2, 0x80, 0xbf};
  if (byte == 0xf0) return Utf8Lead{3, 0x90, 0xbf};
  if (byte == 0xf4) return Utf8Lead{3, 0x80, 0x8f};
  if (byte >= 0xf1 && byte <= 0xf3) return Utf8Lead{3, 0x80, 0xbf};
  return std::nullopt;
}

Result<Query> parse_query(std::string_view text) {
  Query query;
  while (!text.empty()) {
    const std::string_view pair = text.substr(0, text.find('&'));
    text.remove_prefix(std::min(pair.size() + 1, text.size()));
    if (pair.empty()) continue;
    const auto equals = pair.find('=');
    HF_TRY(auto key, decode(pair.substr(0, equals), true));
    std::string value;
    if (equals != std::string_view::npos) {
      HF_TRY(value, decode(pair.substr(equals + 1), true));
    }
    if (key.empty()) return bad_target("a parameter has no name");
    query.emplace_back(std::move(key), std::move(value));
  }
  return query;
}

}  // namespace

bool is_utf8(std::string_view text) noexcept {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = utf8_lead(static_cast<std::uint8_t>(text[i]));
    if (!lead || text.size() - i <= lead->further) return false;
    for (std::size_t k = 1; k <= lead->further; ++k) {
      const auto byte = static_cast<std::uint8_t>(text[i + k]);
      const std::uint8_t low = k == 1 ? lead->low : 0x80;
      const std::uint8_t high = k == 1 ? lead->high : 0xbf;
      if (byte < low || byte > high) return false;
    }
    i += lead->further + 1;
  }
  return true;
}

Result<std::string> decode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '+' && plus_is_space) {
      c = ' ';
    } else if (c == '%') {
      const int high = text.size() - i > 2 ? hex_digit(text[i + 1]) : -1;
      const int low = text.size() - i > 2 ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) return bad_target("'%' is not followed by two hexadecimal digits");
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    const auto byte = static_cast<std::uint8_t>(c);
    if (byte < 0x20 || byte == 0x7f) return bad_target("a control character is in it");
    out += c;
  }
  if (!is_utf8(out)) return bad_target("it is not UTF-8");
  return out;
}

std::string encode(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<std::uint8_t>(c));
    }
  }
  return out;
}

Result<Target> Target::parse(std::string_view text) {
  if (text.size() > target_bytes_max) {
    return bad_target(fmt::format("more than {} bytes", target_bytes_max));
  }
  if (text.empty() || text.front() != '/') return bad_target("it does not begin with '/'");
  text = text.substr(0, text.find('#'));
  Target target;
  const auto question = text.find('?');
  if (question != std::string_view::npos) {
    target.raw_query = text.substr(question + 1);
    HF_TRY(target.query, parse_query(target.raw_query));
  }
  std::string_view path = text.substr(1, question == std::string_view::npos ? question : question - 1);
  for (;;) {
    const std::string_view segment = path.substr(0, path.find('/'));
    HF_TRY(auto decoded, decode(segment, false));
    target.segments.push_back(std::move(decoded));
    if (segment.size() == path.size()) return target;
    path.remove_prefix(segment.size() + 1);
  }
}

}  // namespace holdfast::http
