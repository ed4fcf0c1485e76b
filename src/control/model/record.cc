#include "control/model/record.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "control/model/codec.h"
#include "control/model/kind.h"

namespace holdfast::control {
namespace {

using Json = nlohmann::json;

constexpr int record_schema = 1;
constexpr std::size_t record_bytes_max = 64 << 10;

Error bad(std::string_view key, std::string_view what) {
  return Error(Errc::bad_format, fmt::format("record {}: {}", key, what));
}

// A part of the record, as the text that its own codec reads.
Result<std::string> part(std::string_view key, const Json& in, const char* field) {
  const auto found = in.find(field);
  if (found == in.end() || !found->is_object()) return bad(key, fmt::format("it has no {}", field));
  return found->dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string read_labels(const Json& in, const char* field, Labels& out) {
  const auto found = in.find(field);
  if (found == in.end()) return {};
  if (!found->is_object()) return fmt::format("{} is no object", field);
  for (const auto& [label, value] : found->items()) {
    if (!value.is_string()) return fmt::format("{}.{} is not a text", field, label);
    out[label] = value.get<std::string>();
  }
  return {};
}

Status read_head(std::string_view key, const Json& json, ReplicaRecord& record) {
  const auto schema = json.find("schema");
  if (schema == json.end() || !schema->is_number_integer()) return bad(key, "it has no schema version");
  if (*schema < 1) return bad(key, "its schema version is no positive number");
  if (*schema > record_schema) {
    return bad(key, fmt::format("its schema is newer than this agent, which knows {}: upgrade the agent",
                                record_schema));
  }
  const auto written = json.find("written");
  if (written == json.end() || !written->is_number_integer()) return bad(key, "written is not a number");
  record.written = written->get<UnixNanos>();
  const auto replicas = json.find("replicas");
  if (replicas == json.end() || !replicas->is_array()) return bad(key, "it has no list of replicas");
  for (const Json& one : *replicas) {
    auto uuid = one.is_string() ? Uuid::parse(one.get_ref<const std::string&>()) : Uuid::parse("");
    if (!uuid.ok()) return bad(key, "replicas has something that is no UUID");
    record.replicas.push_back(uuid.value());
  }
  return Status();
}

}  // namespace

std::string to_json(const ReplicaRecord& record) {
  Json replicas = Json::array();
  for (const Uuid& r : record.replicas) replicas.push_back(r.to_string());
  Json json{{"schema", record_schema},
            {"written", record.written},
            {"replicas", std::move(replicas)},
            {"node_labels", record.node_labels},
            {"pool_labels", record.pool_labels},
            {"volume", Json::parse(to_json(record.volume))},
            {"membership", Json::parse(to_json(record.membership))}};
  if (record.target) json["target"] = Json::parse(to_json(*record.target));
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<ReplicaRecord> parse_record(std::string_view key, std::string_view text) {
  if (text.size() > record_bytes_max) return bad(key, fmt::format("{} bytes are too many", text.size()));
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded() || !json.is_object()) return bad(key, "not a JSON object");
  ReplicaRecord record;
  HF_CHECK(read_head(key, json, record));
  for (const auto& [field, into] :
       {std::pair{"node_labels", &record.node_labels}, std::pair{"pool_labels", &record.pool_labels}}) {
    const std::string wrong = read_labels(json, field, *into);
    if (!wrong.empty()) return bad(key, wrong);
  }
  HF_TRY(const std::string volume, part(key, json, "volume"));
  HF_TRY(record.volume, parse_spec<VolumeSpec>(key, volume));
  HF_TRY(const std::string membership, part(key, json, "membership"));
  HF_TRY(record.membership, parse_membership(key, membership));
  if (json.contains("target")) {
    HF_TRY(const std::string target, part(key, json, "target"));
    HF_TRY(record.target, parse_spec<NexusSpec>(key, target));
  }
  return record;
}

Digest& Digest::add(std::string_view text) noexcept {
  constexpr std::uint64_t prime = 0x100'0000'01b3;
  for (const char c : text) {
    value_ ^= static_cast<std::uint8_t>(c);
    value_ *= prime;
  }
  return add(text.size());
}

Digest& Digest::add(std::uint64_t number) noexcept {
  constexpr std::uint64_t prime = 0x100'0000'01b3;
  for (int i = 0; i < 8; ++i, number >>= 8) {
    value_ ^= number & 0xff;
    value_ *= prime;
  }
  return *this;
}

Status check_recordable(const VolumeSpec& wanted) {
  constexpr std::size_t bytes_max = 8 << 10;
  const std::size_t bytes = to_json(wanted).size();
  if (bytes <= bytes_max) return Status();
  return refusal(
      Kind::invalid_argument,
      fmt::format("volume {}: its labels and topology make its specification {} bytes, at most {} are "
                  "allowed: give it less",
                  wanted.uuid.to_string(), bytes, bytes_max));
}

}  // namespace holdfast::control
