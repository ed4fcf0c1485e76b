#include "block/uri.h"

#include <algorithm>

#include "base/units.h"

namespace holdfast {

namespace {

constexpr std::size_t text_bytes_max = 4096;

Error bad(std::string_view text, const std::string& why) {
  return Error(Errc::invalid_argument,
               "'" + std::string(text.substr(0, 200)) + "' is not a device URI: " + why);
}

bool is_scheme_character(char c, bool first) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
  return !first && ((c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.');
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Result<std::string> parse_scheme(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == std::string_view::npos || text.substr(colon, 3) != "://")
    return bad(text, "expected SCHEME:///NAME, as in malloc:///disk0?size_mb=64");
  std::string scheme(text.substr(0, colon));
  for (std::size_t i = 0; i < scheme.size(); ++i) {
    if (!is_scheme_character(scheme[i], i == 0))
      return bad(text, "the scheme has a character it may not have");
    if (scheme[i] >= 'A' && scheme[i] <= 'Z') scheme[i] = static_cast<char>(scheme[i] - 'A' + 'a');
  }
  if (scheme.empty()) return bad(text, "the scheme is missing");
  return scheme;
}

Status parse_query(std::string_view text, std::string_view query, std::map<std::string, std::string>& into) {
  while (!query.empty()) {
    const auto end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    const auto equals = std::min(pair.find('='), pair.size());
    auto key = percent_decode(pair.substr(0, equals));
    if (!key.ok()) return bad(text, key.error().message());
    auto value = percent_decode(pair.substr(std::min(equals + 1, pair.size())));
    if (!value.ok()) return bad(text, value.error().message());
    if (key.value().empty()) return bad(text, "a parameter has no name");
    if (!into.emplace(key.value(), value.value()).second)
      return bad(text, "parameter '" + key.value() + "' is given twice");
  }
  return Status();
}

Error bad_value(const Uri& uri, const std::string& key, const std::string& value, const char* wanted) {
  return Error(Errc::invalid_argument,
               "'" + uri.text + "': parameter '" + key + "' is '" + value + "', but must be " + wanted);
}

}  // namespace

Result<std::string> percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      const int high = i + 1 < text.size() ? hex_digit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) return Error(Errc::invalid_argument, "'%' is not followed by two hex digits");
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      return Error(Errc::invalid_argument, "it has a control character");
    out += c;
  }
  return out;
}

std::string percent_encode(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~").find(c) != std::string_view::npos;
    if (plain) {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += digits[byte >> 4];
    out += digits[byte & 15];
  }
  return out;
}

Result<Uri> Uri::parse(std::string_view text) {
  if (text.size() > text_bytes_max) return bad(text, "it is longer than 4096 characters");
  Uri uri;
  uri.text = text;
  HF_TRY(uri.scheme, parse_scheme(text));
  std::string_view rest = text.substr(uri.scheme.size() + 3);
  if (rest.find('#') != std::string_view::npos) return bad(text, "it has a '#': write %23 if a name has one");
  const auto mark = std::min(rest.find('?'), rest.size());
  std::string_view query = rest.substr(std::min(mark + 1, rest.size()));
  rest = rest.substr(0, mark);
  const auto slash = std::min(rest.find('/'), rest.size());
  uri.authority = rest.substr(0, slash);
  auto controls = percent_decode(uri.authority);
  if (!controls.ok()) return bad(text, controls.error().message());
  auto path = percent_decode(rest.substr(slash));
  if (!path.ok()) return bad(text, path.error().message());
  uri.path = std::move(path).value();
  HF_CHECK(parse_query(text, query, uri.query));
  return uri;
}

std::optional<std::string> UriParameters::take(const std::string& key) {
  asked_.insert(key);
  auto node = left_.extract(key);
  if (node.empty()) return std::nullopt;
  return std::move(node.mapped());
}

Result<std::optional<std::uint64_t>> UriParameters::take_number(const std::string& key) {
  const auto text = take(key);
  if (!text) return std::optional<std::uint64_t>();
  auto number = parse_number(*text);
  if (!number.ok()) return bad_value(uri_, key, *text, "a number");
  return std::optional<std::uint64_t>(number.value());
}

Result<std::optional<std::uint64_t>> UriParameters::take_size(const std::string& key) {
  const auto text = take(key);
  if (!text) return std::optional<std::uint64_t>();
  auto size = parse_size(*text);
  if (!size.ok()) return bad_value(uri_, key, *text, "a size in bytes, or with a unit such as 64MiB");
  return std::optional<std::uint64_t>(size.value());
}

Result<std::optional<Uuid>> UriParameters::take_uuid() {
  const auto text = take("uuid");
  if (!text) return std::optional<Uuid>();
  auto uuid = Uuid::parse(*text);
  if (!uuid.ok()) return bad_value(uri_, "uuid", *text, "a UUID of 36 characters");
  if (uuid.value().is_nil()) return bad_value(uri_, "uuid", *text, "a UUID that is not all zeroes");
  return std::optional<Uuid>(uuid.value());
}

Result<bool> UriParameters::take_flag(const std::string& key) {
  const auto text = take(key);
  if (!text) return false;
  if (text->empty() || *text == "1" || *text == "true") return true;
  if (*text == "0" || *text == "false") return false;
  return bad_value(uri_, key, *text, "true or false");
}

Status UriParameters::finish() const {
  if (left_.empty()) return Status();
  std::string known;
  for (const auto& key : asked_) known.append(known.empty() ? "" : ", ").append(key);
  return Error(Errc::invalid_argument, "'" + uri_.text + "': scheme '" + uri_.scheme +
                                           "' has no parameter '" + left_.begin()->first + "' (it has " +
                                           (known.empty() ? "none" : known) + ")");
}

}  // namespace holdfast
