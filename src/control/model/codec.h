// Specs as the store keeps them: JSON, {"schema":1,...}.
//
// Reading: a field that is missing has its default, one that is not known is ignored, a wrong type or name is an
// error that says where. A record of a newer schema is refused: its agent is newer than this one.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.h"
#include "control/model/specs.h"
#include "control/model/state.h"

namespace holdfast::control {

inline constexpr int spec_schema = 1;
// A longer record is not read, so none is written.
inline constexpr std::size_t spec_bytes_max = 1 << 20;

std::string to_json(const NodeSpec& spec);
std::string to_json(const PoolSpec& spec);
std::string to_json(const ReplicaSpec& spec);
std::string to_json(const NexusSpec& spec);
std::string to_json(const VolumeSpec& spec);
std::string to_json(const SnapshotSpec& spec);
std::string to_json(const AppNodeSpec& spec);

// `key` is where the record was found, for the text of an error. Errors: bad_format, naming key and field.
template <class Spec>
Result<Spec> parse_spec(std::string_view key, std::string_view json);

template <>
Result<NodeSpec> parse_spec(std::string_view key, std::string_view json);
template <>
Result<PoolSpec> parse_spec(std::string_view key, std::string_view json);
template <>
Result<ReplicaSpec> parse_spec(std::string_view key, std::string_view json);
template <>
Result<NexusSpec> parse_spec(std::string_view key, std::string_view json);
template <>
Result<VolumeSpec> parse_spec(std::string_view key, std::string_view json);
template <>
Result<SnapshotSpec> parse_spec(std::string_view key, std::string_view json);
template <>
Result<AppNodeSpec> parse_spec(std::string_view key, std::string_view json);

// The membership record that the targets of a volume keep (docs/format/store.md). The one written
// here is that of a new volume, all of whose replicas are alike: a replica that is not in it is never taken for one
// that holds data.
std::string first_membership(const std::vector<Uuid>& replicas);
std::string to_json(const Membership& membership);
Result<Membership> parse_membership(std::string_view key, std::string_view json);
// The record as it is, but for one replica.
Result<std::string> membership_without(std::string_view key, std::string_view json, const Uuid& replica);

}  // namespace holdfast::control
