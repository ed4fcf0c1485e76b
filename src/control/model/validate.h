// What a request may ask for, checked before anything is looked up.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "control/model/specs.h"

namespace holdfast::control {

inline constexpr std::uint64_t volume_bytes_min = std::uint64_t{1} << 20;
inline constexpr std::uint64_t volume_bytes_max = std::uint64_t{1} << 50;
inline constexpr std::uint32_t replicas_max = 255;  // of PUT replica_count; a nexus has fewer children

// All errors are InvalidArgument, naming the field.
Status check_node_id(std::string_view id);
Status check_pool_id(std::string_view id);
Status check_disks(std::string_view pool, const std::vector<std::string>& disks);
// A volume or replica of so many bytes.
Status check_size(std::uint64_t bytes);
Status check_replica_count(std::uint64_t count);
Status check_nqn(std::string_view nqn);
Status check_nqns(const std::vector<std::string>& nqns);
// Cordon and drain labels: 1 to 63 printable characters.
Status check_cordon_label(std::string_view label);
// host:port
Status check_endpoint(std::string_view endpoint);

}  // namespace holdfast::control
