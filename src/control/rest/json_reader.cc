#include "control/rest/json_reader.h"

#include <algorithm>
#include <utility>

#include "control/model/kind.h"

namespace holdfast::control::rest {
namespace {

constexpr int depth_max = 32;
// At the end of each object the library looks through all that its parent holds so far, and at each key through those
// before it.
constexpr std::ptrdiff_t values_max = 16'384;
constexpr std::size_t names_shown_max = 60;

}  // namespace

Result<Json> parse_json(std::string_view text) {
  if (std::count(text.begin(), text.end(), ',') >= values_max)
    return refusal(Kind::deserialize, fmt::format("the body has more than {} values", values_max));
  bool too_deep = false;
  const auto limit = [&too_deep](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > depth_max;
    return !too_deep;
  };
  Json json = Json::parse(text, limit, false);
  if (too_deep) return refusal(Kind::deserialize, fmt::format("the body nests deeper than {}", depth_max));
  if (text.empty()) return refusal(Kind::deserialize, "the request has no body; JSON was expected");
  if (json.is_discarded()) return refusal(Kind::deserialize, "the body is not JSON");
  return json;
}

std::string to_text(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string_view kind_name(const Json& value) noexcept {
  switch (value.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "a list";
    case Json::value_t::string:
      return "a string";
    case Json::value_t::boolean:
      return value.get<bool>() ? "true" : "false";
    case Json::value_t::number_integer:
      return "a negative number";
    case Json::value_t::number_unsigned:
      return "a number";
    case Json::value_t::number_float:
      return "a number with a fraction";
    case Json::value_t::binary:
    case Json::value_t::discarded:
      break;
  }
  return "nothing";
}

ObjectReader::ObjectReader(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
  if (!json.is_object()) expected("", "an object", json);
}

std::string ObjectReader::path(std::string_view key) const {
  std::string text = where_;
  if (!text.empty() && !key.empty()) text += '.';
  text += key.substr(0, names_shown_max);
  return text.empty() ? "the body" : text;
}

void ObjectReader::fail(std::string_view key, std::string what) {
  if (!fault_) fault_ = refusal(Kind::deserialize, path(key) + ": " + what);
}

void ObjectReader::expected(std::string_view key, std::string_view what, const Json& got) {
  fail(key, fmt::format("expected {}, got {}", what, kind_name(got)));
}

const Json* ObjectReader::find(std::string_view key, bool required) {
  asked_.emplace_back(key);
  if (!json_.is_object()) return nullptr;
  const auto found = json_.find(std::string(key));
  if (found != json_.end() && !found->is_null()) return &*found;
  if (required) fail(key, "is missing");
  return nullptr;
}

std::string ObjectReader::to_string(std::string_view key, const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  expected(key, "a string", value);
  return "";
}

std::string ObjectReader::text(std::string_view key) {
  const Json* value = find(key, true);
  return value == nullptr ? "" : to_string(key, *value);
}

std::optional<std::string> ObjectReader::optional_text(std::string_view key) {
  const Json* value = find(key, false);
  if (value == nullptr) return std::nullopt;
  return to_string(key, *value);
}

bool ObjectReader::flag(std::string_view key) {
  return find(key, true) != nullptr && optional_flag(key).value_or(false);
}

std::optional<bool> ObjectReader::optional_flag(std::string_view key) {
  const Json* value = find(key, false);
  if (value == nullptr) return std::nullopt;
  if (value->is_boolean()) return value->get<bool>();
  expected(key, "true or false", *value);
  return false;
}

std::optional<std::uint64_t> ObjectReader::to_number(std::string_view key, const Json* value,
                                                     std::uint64_t max) {
  if (value == nullptr) return std::nullopt;
  if (!value->is_number_unsigned()) {
    expected(key, "a whole number", *value);
    return 0;
  }
  const auto number = value->get<std::uint64_t>();
  if (number > max) fail(key, fmt::format("expected at most {}, got {}", max, number));
  return number;
}

std::uint64_t ObjectReader::number(std::string_view key, std::uint64_t max) {
  return to_number(key, find(key, true), max).value_or(0);
}

std::optional<std::uint64_t> ObjectReader::optional_number(std::string_view key, std::uint64_t max) {
  return to_number(key, find(key, false), max);
}

std::vector<std::string> ObjectReader::to_texts(std::string_view key, const Json* value) {
  std::vector<std::string> list;
  if (value == nullptr) return list;
  if (!value->is_array()) {
    expected(key, "a list of strings", *value);
    return list;
  }
  for (std::size_t i = 0; i < value->size(); ++i) {
    list.push_back(to_string(fmt::format("{}[{}]", key, i), (*value)[i]));
  }
  return list;
}

std::vector<std::string> ObjectReader::texts(std::string_view key) { return to_texts(key, find(key, true)); }

std::vector<std::string> ObjectReader::optional_texts(std::string_view key) {
  return to_texts(key, find(key, false));
}

std::map<std::string, std::string> ObjectReader::to_map(std::string_view key, const Json* value) {
  std::map<std::string, std::string> map;
  if (value == nullptr) return map;
  if (!value->is_object()) {
    expected(key, "an object of strings", *value);
    return map;
  }
  for (const auto& [name, one] : value->items()) map[name] = to_string(fmt::format("{}.{}", key, name), one);
  return map;
}

std::map<std::string, std::string> ObjectReader::text_map(std::string_view key) {
  return to_map(key, find(key, true));
}

std::map<std::string, std::string> ObjectReader::optional_text_map(std::string_view key) {
  return to_map(key, find(key, false));
}

void ObjectReader::object(std::string_view key, const std::function<void(ObjectReader&)>& read) {
  if (find(key, true) != nullptr) optional_object(key, read);
}

void ObjectReader::optional_object(std::string_view key, const std::function<void(ObjectReader&)>& read) {
  const Json* value = find(key, false);
  if (value == nullptr) return;
  ObjectReader inner(*value, where_.empty() ? std::string(key) : path(key));
  if (value->is_object()) read(inner);
  const Status finished = inner.finish();
  if (!finished.ok() && !fault_) fault_ = finished.error();
}

Status ObjectReader::finish() {
  if (json_.is_object() && !fault_) {
    for (const auto& [key, value] : json_.items()) {
      if (std::find(asked_.begin(), asked_.end(), key) != asked_.end()) continue;
      std::sort(asked_.begin(), asked_.end());
      asked_.erase(std::unique(asked_.begin(), asked_.end()), asked_.end());
      fail(key, fmt::format("there is no such field here; known are {}", fmt::join(asked_, ", ")));
    }
  }
  if (fault_) return *fault_;
  return Status();
}

}  // namespace holdfast::control::rest
