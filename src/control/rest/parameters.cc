#include "control/rest/parameters.h"

#include <fmt/format.h>

#include "base/assert.h"
#include "base/units.h"
#include "control/model/kind.h"

namespace holdfast::control::rest {
namespace {

Error unexpected(std::string_view name, std::string_view what, std::string_view got) {
  return refusal(Kind::deserialize, fmt::format("{}: expected {}, got '{:.60}'", name, what, got));
}

Result<std::uint64_t> to_number(std::string_view name, const std::string& text, std::uint64_t max) {
  const auto number = parse_number(text);
  if (!number.ok() || number.value() > max) {
    return unexpected(name, fmt::format("a whole number, at most {}", max), text);
  }
  return number.value();
}

}  // namespace

const std::string& Parameters::text(std::string_view name) const {
  const auto found = path_.find(name);
  HF_ASSERT(found != path_.end());
  return found->second;
}

Result<Uuid> Parameters::uuid(std::string_view name) const {
  const auto uuid = Uuid::parse(text(name));
  if (!uuid.ok()) return unexpected(name, "a UUID", text(name));
  return uuid.value();
}

Result<std::uint64_t> Parameters::number(std::string_view name, std::uint64_t max) const {
  return to_number(name, text(name), max);
}

Result<Protocol> Parameters::protocol(std::string_view name) const {
  const auto protocol = parse_name<Protocol>(text(name));
  if (!protocol || (*protocol != Protocol::nvmf && *protocol != Protocol::iscsi)) {
    return unexpected(name, "nvmf or iscsi", text(name));
  }
  return *protocol;
}

Result<std::optional<std::string>> Parameters::single(std::string_view name) {
  const auto values = query_list(name);
  if (values.size() > 1)
    return refusal(Kind::deserialize, fmt::format("{}: is given {} times", name, values.size()));
  if (values.empty()) return std::optional<std::string>();
  return std::optional(values.front());
}

Result<std::optional<std::string>> Parameters::query_text(std::string_view name) { return single(name); }

Result<std::optional<Uuid>> Parameters::query_uuid(std::string_view name) {
  HF_TRY(const auto text, single(name));
  if (!text) return std::optional<Uuid>();
  const auto uuid = Uuid::parse(*text);
  if (!uuid.ok()) return unexpected(name, "a UUID", *text);
  return std::optional(uuid.value());
}

Result<bool> Parameters::query_flag(std::string_view name, bool otherwise) {
  HF_TRY(const auto text, single(name));
  if (!text) return otherwise;
  if (*text != "true" && *text != "false") return unexpected(name, "true or false", *text);
  return *text == "true";
}

Result<std::uint64_t> Parameters::query_number(std::string_view name, std::uint64_t otherwise) {
  HF_TRY(const auto text, single(name));
  if (!text) return otherwise;
  return to_number(name, *text, std::numeric_limits<std::int64_t>::max());
}

std::vector<std::string> Parameters::query_list(std::string_view name) {
  asked_.emplace(name);
  std::vector<std::string> values;
  for (const auto& [key, value] : query_) {
    if (key == name) values.push_back(value);
  }
  return values;
}

Result<PageRequest> Parameters::page() {
  PageRequest page;
  HF_TRY(page.max_entries, query_number("max_entries", 0));
  HF_TRY(page.starting_token, query_number("starting_token", 0));
  return page;
}

Status Parameters::finish() const {
  for (const auto& [key, value] : query_) {
    if (asked_.contains(key)) continue;
    return refusal(Kind::deserialize,
                   fmt::format("there is no query parameter '{:.60}' here; known are: {}", key,
                               asked_.empty() ? "none" : fmt::format("{}", fmt::join(asked_, ", "))));
  }
  return Status();
}

}  // namespace holdfast::control::rest
