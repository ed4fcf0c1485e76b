// The operations of the REST API: method, path and what is done. Their parameters and answers are described in
// api/openapi.yaml, whose paths and names (operationId) are these; a test compares the two.
//
// They run on threads of the server.
#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "control/rest/home.h"
#include "control/rest/json_reader.h"
#include "control/rest/parameters.h"
#include "http/server.h"
#include "http/target.h"

namespace holdfast::control::rest {

class Watches;

struct Call {
  Home& home;
  Parameters& parameters;
  const http::Target& target;
  const http::Request& request;
  std::chrono::milliseconds patience;  // for changes
  Watches& watches;
  const std::string& version;  // of the agent

  template <class Work>
  auto read(Work work) const {
    return home.read(std::move(work));
  }
  template <class Work>
  auto change(Work work) const {
    return home.change(patience, std::move(work));
  }
};

// What is sent with status 200; without a body, 204.
struct Answer {
  std::optional<Json> body;
  std::optional<http::Reply> reply;  // instead: something else than JSON
};
inline Answer no_content() { return {}; }

struct Operation {
  const char* method;
  const char* path;  // see http::PathTemplate
  const char* id;
  // The answer is waited for at least so long, unless minima are switched off.
  std::chrono::milliseconds patience_min;
  Result<Answer> (*run)(Call& call);
};

// What changes a pool, a replica and so on may take on a healthy cluster (docs/reference/rest.md).
inline constexpr std::chrono::seconds no_minimum{0};
inline constexpr std::chrono::seconds replica_patience{15};
inline constexpr std::chrono::seconds pool_patience{20};
inline constexpr std::chrono::seconds nexus_patience{30};
inline constexpr std::chrono::seconds volume_patience{30};

std::span<const Operation> nexus_operations();
std::span<const Operation> node_operations();
std::span<const Operation> pool_operations();
std::span<const Operation> replica_operations();
std::span<const Operation> volume_operations();
std::span<const Operation> snapshot_operations();
std::span<const Operation> cluster_operations();  // specs, states, app nodes, events

std::vector<Operation> all_operations();

}  // namespace holdfast::control::rest
