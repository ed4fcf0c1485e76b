// Reads the JSON of a request strictly: every field by name and kind, and nothing but those. The first fault is
// kept, so that a parser reads straight down and asks once, at the end, whether all was well:
//
//   ObjectReader in(body);
//   request.size_bytes = in.number("size");
//   request.thin = in.flag("thin");
//   HF_CHECK(in.finish());
//
// Errors are of Kind::deserialize and name the field and what was expected: "policy.self_heal: expected true or
// false, got a string". A field that is null counts as not there.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/uuid.h"
#include "control/model/enums.h"

namespace holdfast::control::rest {

using Json = nlohmann::ordered_json;

// Nesting deeper than 32 is refused. Errors: deserialize.
Result<Json> parse_json(std::string_view text);
// Text of a JSON value; bytes that are not UTF-8 are replaced.
std::string to_text(const Json& json);
// "a string", "null", ...
std::string_view kind_name(const Json& value) noexcept;

class ObjectReader {
 public:
  static constexpr std::uint64_t any = std::numeric_limits<std::int64_t>::max();

  // `json` outlives the reader. Not an object: that is the fault.
  explicit ObjectReader(const Json& json, std::string where = "");

  std::string text(std::string_view key);
  std::optional<std::string> optional_text(std::string_view key);
  bool flag(std::string_view key);
  std::optional<bool> optional_flag(std::string_view key);
  std::uint64_t number(std::string_view key, std::uint64_t max = any);
  std::optional<std::uint64_t> optional_number(std::string_view key, std::uint64_t max = any);
  std::vector<std::string> texts(std::string_view key);
  std::vector<std::string> optional_texts(std::string_view key);  // none: empty
  std::map<std::string, std::string> text_map(std::string_view key);
  std::map<std::string, std::string> optional_text_map(std::string_view key);  // none: empty
  template <Named E>
  E choice(std::string_view key) {
    return find(key, true) == nullptr ? E{} : *optional_choice<E>(key);
  }
  template <Named E>
  std::optional<E> optional_choice(std::string_view key) {
    const auto given = optional_text(key);
    if (!given) return std::nullopt;
    const auto value = parse_name<E>(*given);
    if (!value) fail(key, fmt::format("expected one of {}, got '{:.60}'", names<E>(), *given));
    return value.value_or(E{});
  }
  // Reads the object of that key, if it is there: `read` is not called when it is not.
  void object(std::string_view key, const std::function<void(ObjectReader&)>& read);
  void optional_object(std::string_view key, const std::function<void(ObjectReader&)>& read);
  bool has(std::string_view key) { return find(key, false) != nullptr; }

  // A fault of the whole that the caller found.
  void fail(std::string_view key, std::string what);
  // The first fault: one of those above, or a field that nobody asked for.
  Status finish();

 private:
  template <Named E>
  static std::string names() {
    std::string text;
    for (const auto& one : Names<E>::values) text += (text.empty() ? "" : ", ") + std::string(one);
    return text;
  }
  std::string path(std::string_view key) const;
  // Null counts as not there; what is required and not there is a fault.
  const Json* find(std::string_view key, bool required);
  void expected(std::string_view key, std::string_view what, const Json& got);
  std::string to_string(std::string_view key, const Json& value);
  std::optional<std::uint64_t> to_number(std::string_view key, const Json* value, std::uint64_t max);
  std::vector<std::string> to_texts(std::string_view key, const Json* value);
  std::map<std::string, std::string> to_map(std::string_view key, const Json* value);

  const Json& json_;
  const std::string where_;
  std::vector<std::string> asked_;
  std::optional<Error> fault_;
};

}  // namespace holdfast::control::rest
