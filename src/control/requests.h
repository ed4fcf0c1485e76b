// What users ask of the service. Coroutine arguments: make a named object and move it in (style: g++ 12 destroys
// aggregate temporaries of an awaiting statement twice).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "control/model/specs.h"

namespace holdfast::control {

struct CreatePool {
  PoolId pool;
  NodeId node;
  std::vector<std::string> disks;
  Labels labels;
  std::optional<std::uint32_t> cluster_bytes;
};

struct CreateReplica {
  Uuid replica;
  PoolId pool;
  std::optional<NodeId> node;  // checked when given
  std::uint64_t size_bytes = 0;
  bool thin = false;
  Protocol share = Protocol::none;
  std::vector<std::string> allowed_hosts;
};

struct CreateNexus {
  Uuid nexus;
  NodeId node;
  std::vector<std::string> children;  // URIs
  std::uint64_t size_bytes = 0;
};

struct CreateVolume {
  Uuid volume;
  std::uint64_t size_bytes = 0;
  std::uint32_t replicas = 1;
  bool self_heal = true;
  bool thin = false;
  Topology topology;
  Labels labels;
  std::optional<std::string> affinity_group;
  std::optional<std::uint32_t> max_snapshots;
};

struct PublishVolume {
  Uuid volume;
  std::map<std::string, std::string> publish_context;
  Protocol protocol = Protocol::nvmf;
  std::optional<NodeId> node;                // none: the scheduler chooses
  bool republish = false;                    // replace a target that was lost
  bool reuse_existing = true;                // with republish: on the same node, if it is back
  std::optional<std::string> frontend_node;  // an app node, or the name of a node: it alone may connect
};

// Purges are refused while they would lose data, unless that is accepted.
struct Purge {
  bool accept_volume_loss = false;
  bool accept_snapshot_loss = false;
};

struct MoveReplica {
  Uuid volume;
  Uuid replica;
  std::optional<PoolId> pool;  // none: the scheduler chooses
};

// How an engine introduces itself, and that it lives.
struct Registration {
  NodeId id;
  std::string grpc_endpoint;
  std::string instance;  // another after each start of the process
  std::string nqn;
  std::string version;
  NodeFeatures features;
  bool operator==(const Registration&) const = default;
};

}  // namespace holdfast::control
