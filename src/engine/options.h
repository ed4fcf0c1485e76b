// The command line of holdfast-engine. docs/reference/engine.md describes every flag for users.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/units.h"
#include "engine/store_membership.h"
#include "pool/disk_health.h"
#include "rt/io.h"
#include "rt/time.h"

namespace holdfast::engine {

inline constexpr std::uint16_t default_grpc_port = 10124;
inline constexpr std::uint16_t default_nvmf_port = 8420;
inline constexpr std::uint16_t default_metrics_port = 9502;
inline constexpr std::uint16_t default_registration_port = 50051;

struct Options {
  std::string node_name;
  Endpoint grpc{"::", default_grpc_port};
  std::vector<Endpoint> nvmf;                           // at least one; the first is the one that URIs show
  std::vector<Endpoint> nvmf_referrals;                 // other discovery services
  std::array<std::uint16_t, 3> crdt{10, 10, 10};        // command retry delay times 1 to 3, units of 100 ms
  Endpoint metrics{"127.0.0.1", default_metrics_port};  // port 0: no metrics
  std::string registration;                             // host:port; empty: no registration
  // host:port under which others reach the gRPC services: never a wildcard address.
  std::string advertised_grpc;
  unsigned cores = 0;  // 0: what the machine allows, at most 4
  Nanos spin{50us};    // negative: polls always
  std::uint64_t memory_bytes = 256 * MiB;
  std::uint64_t descriptors = 0;  // that the process may open; 0: not known
  std::string data_dir = "/var/lib/holdfast";
  StoreAccess store;              // of the membership records; none: they are in the data directory
  Nanos hold_timeout{0};          // 0: the nexus's own default
  Nanos child_latency_budget{0};  // 0: the nexus's own default
  pool::DiskHealthLimits disk_health;
  std::uint64_t pool_map_bytes = 0;  // 0: the pool's own default
  log::Level log_level = log::Level::info;
  log::Format log_format = log::Format::text;
};

// What the options take their defaults from.
struct Surroundings {
  std::function<const char*(const char* name)> environment;  // nullptr when the variable is not set
  std::string hostname;
  std::string version;
};

// Options, or a text for standard output after which the program ends with success (--help, --version).
struct ParsedOptions {
  std::optional<Options> options;
  std::string text;
};

// Errors: invalid_argument, naming the flag and what it takes.
Result<ParsedOptions> parse_options(int argc, const char* const* argv, const Surroundings& surroundings);

}  // namespace holdfast::engine
