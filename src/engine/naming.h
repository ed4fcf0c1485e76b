// Names that control planes and hosts know devices by: NQNs, serial numbers, share URIs, and the bounds on
// names that arrive by the API.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/uuid.h"
#include "rt/io.h"

namespace holdfast::engine {

inline constexpr std::string_view nqn_prefix = "nqn.2019-05.io.openebs:";
inline constexpr std::string_view model_number = "Holdfast NVMe controller";
// An NQN has at most 223 bytes (NVM Express base specification 2.0, 4.5).
inline constexpr std::size_t nqn_bytes_max = 223;
inline constexpr std::size_t name_bytes_max = nqn_bytes_max - nqn_prefix.size();
inline constexpr std::size_t allowed_hosts_max = 64;

// The subsystem of a nexus or device. A name that does not fit (a path) is shown with '-' for what an NQN in
// a URI cannot have; one that is too long, by its UUID.
std::string subsystem_nqn(std::string_view name, const Uuid& uuid);
// What hosts see as the identity of a nexus: one that is named by the UUID of its volume is that volume, on
// whatever engine, so that both are paths to one disk while it moves; any other is itself.
Uuid nexus_identity(std::string_view name, const Uuid& nexus);
// What this engine's initiator presents to others.
std::string node_host_nqn(std::string_view node_name);
// "DCS" and 17 hexadecimal digits of the SHA-256 of the UUID's text: the same on every engine.
std::string serial_number(const Uuid& uuid);
// nvmf://address:port/nqn, followed by ?uuid= when `uuid` is given.
std::string share_uri(const Endpoint& at, std::string_view nqn, const Uuid* uuid = nullptr);
// bdev:///name?uuid=
std::string local_uri(std::string_view name, const Uuid& uuid);

// Errors: invalid_argument. A name may be shown in a URI and in an NQN: printable ASCII without space and URI
// delimiters. `what` begins the text: "nexus name".
Status check_name(std::string_view what, std::string_view name);
Status check_host_nqn(std::string_view nqn);

}  // namespace holdfast::engine
