// Pieces of JSON that several views share.
#pragma once

#include <optional>
#include <string>
#include <type_traits>

#include "control/model/specs.h"
#include "control/model/state.h"
#include "control/rest/json_reader.h"

namespace holdfast::control::rest {

template <class T>
Json value_json(const T& value) {
  if constexpr (std::is_same_v<T, Uuid>) {
    return value.to_string();
  } else if constexpr (std::is_enum_v<T>) {
    return name(value);
  } else {
    return value;
  }
}

// Adds the field when there is a value.
template <class T>
void put(Json& json, const char* key, const std::optional<T>& value) {
  if (value) json[key] = value_json(*value);
}
// The same for text and maps, which are left out when empty.
template <class T>
void put_unless_empty(Json& json, const char* key, const T& value) {
  if (!value.empty()) json[key] = value;
}

template <class Pending>
void put_operation(Json& json, const std::optional<Pending>& pending) {
  if (!pending) return;
  Json operation = {{"operation", name(pending->operation)}};
  put(operation, "result", pending->result);
  json["operation"] = std::move(operation);
}

Json uuids_json(const std::vector<Uuid>& uuids);
// Of a nexus, as engines report it.
Json nexus_state_json(const NexusState& state);
Json pool_state_json(const PoolState& state);
Json replica_state_json(const ReplicaState& state);
Json volume_spec_json(const VolumeSpec& spec, std::uint32_t num_snapshots);
Json pool_spec_json(const PoolSpec& spec);

}  // namespace holdfast::control::rest
