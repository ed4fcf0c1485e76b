// What `holdfast top` shows: rates from two readings of the counters of all engines. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include <nlohmann/json.hpp>

#include "cli/cluster/prometheus_text.h"
#include "cli/rest/json_view.h"
#include "cli/tool/output.h"

namespace holdfast::cli {

struct IoCounters {
  double reads = 0, read_bytes = 0, writes = 0, written_bytes = 0, errors = 0;
};

// Of one engine at one moment.
struct NodeReading {
  bool answered = false;
  double at = 0;                              // seconds, monotonic
  std::map<std::string, IoCounters> targets;  // by UUID of the nexus
  double busy_seconds = 0;                    // of all cores
  double cpu_seconds = 0;
  double resident_bytes = 0;
  unsigned cores = 0;
};
NodeReading read_node(const std::vector<Sample>& samples, double at);

struct Reading {
  Tree nodes;                                  // of GET /v0/nodes
  Tree volumes;                                // of GET /v0/volumes, all pages
  std::map<std::string, NodeReading> engines;  // by node
};

// Volumes with the busiest first; at most `most` rows.
Table top_volumes(const Output& out, const Reading& before, const Reading& now, std::size_t most);
Table top_nodes(const Output& out, const Reading& before, const Reading& now);
// Both, for programs.
Tree top_tree(const Reading& before, const Reading& now);

// Where an engine's metrics are, from where its gRPC services are. port 0: as far from the usual port as its
// gRPC port is, so that engines of one machine are told apart. "" when the endpoint is none.
std::string metrics_url(const std::string& grpc_endpoint, std::uint32_t port);

}  // namespace holdfast::cli
