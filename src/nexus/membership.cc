#include "nexus/membership.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace holdfast::nexus {
namespace {

using nlohmann::json;

constexpr std::size_t record_bytes_max = 64 * 1024;
constexpr std::size_t record_children_max = 64;
constexpr std::size_t child_uuid_bytes_max = 128;
constexpr int depth_max = 8;

Error bad(std::string what) { return Error(Errc::bad_format, "membership record: " + std::move(what)); }

// The parser is recursive: input that nests deeper than any record does is refused before it runs.
bool nests_too_deep(std::string_view text) noexcept {
  int depth = 0;
  for (const char c : text) {
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') --depth;
    if (depth > depth_max) return true;
  }
  return false;
}

Result<std::uint64_t> optional_number(const json& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end()) return std::uint64_t{0};
  if (!it->is_number_unsigned()) return bad(fmt::format("'{}' is not a whole number", key));
  return it->get<std::uint64_t>();
}

Result<ChildRecord> parse_child(const json& object) {
  if (!object.is_object()) return bad("a child is not an object");
  const auto uuid = object.find("uuid");
  const auto healthy = object.find("healthy");
  if (uuid == object.end() || !uuid->is_string()) return bad("a child has no 'uuid' text");
  if (healthy == object.end() || !healthy->is_boolean()) return bad("a child has no 'healthy' boolean");
  ChildRecord child;
  child.uuid = uuid->get<std::string>();
  child.healthy = healthy->get<bool>();
  const bool printable =
      std::all_of(child.uuid.begin(), child.uuid.end(), [](char c) { return c > ' ' && c <= '~'; });
  if (child.uuid.empty() || child.uuid.size() > child_uuid_bytes_max || !printable) {
    return bad("a child's 'uuid' is not 1 to 128 printable characters");
  }
  HF_TRY(child.in_sync_through, optional_number(object, "in_sync_through"));
  return child;
}

Result<Uuid> optional_owner(const json& object) {
  const auto it = object.find("owner");
  if (it == object.end()) return Uuid();
  if (!it->is_string()) return bad("'owner' is not a text");
  auto owner = Uuid::parse(it->get<std::string>());
  if (!owner.ok()) return bad("'owner' is not a UUID");
  return std::move(owner).value();
}

}  // namespace

const ChildRecord* Record::find(std::string_view child_uuid) const noexcept {
  const auto it = std::find_if(children.begin(), children.end(),
                               [&](const ChildRecord& c) { return c.uuid == child_uuid; });
  return it == children.end() ? nullptr : &*it;
}

std::string to_json(const Record& record) {
  json children = json::array();
  for (const auto& child : record.children) {
    children.push_back(
        {{"uuid", child.uuid}, {"healthy", child.healthy}, {"in_sync_through", child.in_sync_through}});
  }
  json object = {{"clean_shutdown", record.clean_shutdown}, {"epoch", record.epoch}, {"children", children}};
  if (!record.owner.is_nil()) object["owner"] = record.owner.to_string();
  return object.dump();
}

Result<Record> parse_record(std::string_view text) {
  if (text.size() > record_bytes_max) return bad("larger than 64 KiB");
  if (nests_too_deep(text)) return bad("nested too deeply");
  const json object = json::parse(text.begin(), text.end(), nullptr, false);
  if (object.is_discarded()) return bad("not JSON");
  if (!object.is_object()) return bad("not an object");
  const auto clean = object.find("clean_shutdown");
  const auto children = object.find("children");
  if (clean == object.end() || !clean->is_boolean()) return bad("no 'clean_shutdown' boolean");
  if (children == object.end() || !children->is_array()) return bad("no 'children' list");
  if (children->size() > record_children_max) return bad("more than 64 children");
  Record record;
  record.clean_shutdown = clean->get<bool>();
  HF_TRY(record.epoch, optional_number(object, "epoch"));
  HF_TRY(record.owner, optional_owner(object));
  for (const auto& entry : *children) {
    HF_TRY(ChildRecord child, parse_child(entry));
    if (record.find(child.uuid) != nullptr) return bad(fmt::format("child '{}' is there twice", child.uuid));
    record.children.push_back(std::move(child));
  }
  return record;
}

}  // namespace holdfast::nexus
