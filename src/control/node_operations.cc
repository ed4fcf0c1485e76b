// Nodes and app nodes: registered, labelled, cordoned, drained.
#include <fmt/format.h>

#include "control/agent.h"
#include "control/label_changes.h"
#include "control/model/validate.h"

namespace holdfast::control {

Result<NodeSpec> Agent::find_node(const NodeId& id) const {
  const auto found = specs().nodes.find(id);
  if (found == specs().nodes.end())
    return refusal(Kind::not_found, fmt::format("node {} is not registered", id));
  return found->second;
}

Task<Status> Agent::register_node(Registration r) {
  HF_CO_CHECK(check_node_id(r.id));
  HF_CO_CHECK(check_endpoint(r.grpc_endpoint));
  if (!r.nqn.empty()) HF_CO_CHECK(check_nqn(r.nqn));
  const auto known = specs().nodes.find(r.id);
  const bool same = known != specs().nodes.end() && known->second.grpc_endpoint == r.grpc_endpoint &&
                    known->second.nqn == r.nqn && known->second.version == r.version &&
                    known->second.features == r.features;
  if (!same) {
    HF_CO_TRY(const Op op, co_await begin(node_guard(r.id)));
    NodeSpec spec;
    const auto found = specs().nodes.find(r.id);
    if (found != specs().nodes.end()) spec = found->second;
    spec.id = r.id;
    spec.grpc_endpoint = r.grpc_endpoint;
    spec.nqn = r.nqn;
    spec.version = r.version;
    spec.features = r.features;
    HF_CO_CHECK(co_await commit_put(op, std::move(spec)));
  }
  nodes_.heartbeat(r);
  co_return Status();
}

Task<Status> Agent::deregister_node(NodeId id) {
  nodes_.departed(id);
  co_return Status();
}

Task<Result<NodeView>> Agent::cordon_node(NodeId id, std::string label) {
  HF_CO_CHECK(check_cordon_label(label));
  HF_CO_TRY(const Op op, co_await begin(node_guard(id)));
  HF_CO_TRY(NodeSpec spec, find_node(id));
  if (spec.cordons.contains(label)) co_return node(id);
  if (spec.drains.contains(label)) {
    co_return refusal(Kind::failed_precondition,
                      fmt::format("node {} is drained with label {}: cordon it with another", id, label));
  }
  spec.cordons.insert(label);
  HF_CO_CHECK(co_await commit_put(op, std::move(spec)));
  co_return node(id);
}

Task<Result<NodeView>> Agent::uncordon_node(NodeId id, std::string label) {
  HF_CO_TRY(const Op op, co_await begin(node_guard(id)));
  HF_CO_TRY(NodeSpec spec, find_node(id));
  if (spec.cordons.erase(label) + spec.drains.erase(label) == 0) {
    co_return refusal(Kind::failed_precondition, fmt::format("node {} has no cordon or drain {}", id, label));
  }
  if (spec.drains.empty()) {
    spec.drained = false;
    spec.draining_since = 0;
  }
  HF_CO_CHECK(co_await commit_put(op, std::move(spec)));
  co_return node(id);
}

Task<Result<NodeView>> Agent::drain_node(NodeId id, std::string label, bool replicas) {
  HF_CO_CHECK(check_cordon_label(label));
  HF_CO_TRY(const Op op, co_await begin(node_guard(id)));
  HF_CO_TRY(NodeSpec spec, find_node(id));
  if (spec.cordons.contains(label)) {
    co_return refusal(Kind::failed_precondition,
                      fmt::format("node {} is cordoned with label {}: drain it with another", id, label));
  }
  const auto known = spec.drains.find(label);
  if (known != spec.drains.end() && known->second.replicas == replicas) co_return node(id);
  if (spec.drains.empty()) spec.draining_since = unix_now();
  spec.drains[label].replicas = replicas;
  spec.drained = false;
  HF_CO_CHECK(co_await commit_put(op, std::move(spec)));
  events_.add("Node", "StateChange", id, id, fmt::format("node {} is being drained ({})", id, label));
  co_return node(id);
}

Task<Result<NodeView>> Agent::label_node(NodeId id, std::string key, std::string value, bool overwrite) {
  HF_CO_CHECK(check_label(key, value));
  HF_CO_TRY(const Op op, co_await begin(node_guard(id)));
  HF_CO_TRY(NodeSpec spec, find_node(id));
  HF_CO_CHECK(set_label(spec.labels, "node " + id, key, value, overwrite));
  HF_CO_CHECK(co_await commit_put(op, std::move(spec)));
  co_return node(id);
}

Task<Result<NodeView>> Agent::unlabel_node(NodeId id, std::string key) {
  HF_CO_TRY(const Op op, co_await begin(node_guard(id)));
  HF_CO_TRY(NodeSpec spec, find_node(id));
  HF_CO_CHECK(remove_label(spec.labels, "node " + id, key));
  HF_CO_CHECK(co_await commit_put(op, std::move(spec)));
  co_return node(id);
}

Result<Impact> Agent::purge_node_impact(NodeId id) const {
  HF_TRY(const NodeSpec spec, find_node(id));
  std::vector<PoolId> pools;
  for (const auto& [pool, p] : specs().pools) {
    if (p.node == spec.id) pools.push_back(pool);
  }
  return impact_of(pools, id);
}

Task<Result<std::vector<BlockDeviceInfo>>> Agent::block_devices(NodeId node, bool all) {
  HF_CO_CHECK(find_node(node));
  HF_CO_TRY(Engine * engine, nodes_.online_engine(node));
  co_return co_await engine->block_devices(all);
}

Task<Result<std::string>> Agent::json_rpc(NodeId node, std::string method, std::string params) {
  HF_CO_CHECK(find_node(node));
  HF_CO_TRY(Engine * engine, nodes_.online_engine(node));
  co_return co_await engine->json_rpc(std::move(method), std::move(params));
}

// ---- app nodes

Task<Result<AppNodeView>> Agent::register_app_node(AppNodeSpec spec) {
  HF_CO_CHECK(check_node_id(spec.id));
  HF_CO_CHECK(check_endpoint(spec.endpoint));
  HF_CO_CHECK(check_labels(spec.labels));
  const auto known = specs().app_nodes.find(spec.id);
  if (known == specs().app_nodes.end() || known->second != spec) {
    HF_CO_TRY(const Op op, co_await begin("app_node/" + spec.id));
    HF_CO_CHECK(co_await commit_put(op, spec));
  }
  app_nodes_seen_[spec.id] = home_.now();
  co_return app_node(spec.id);
}

Task<Status> Agent::deregister_app_node(std::string id) {
  HF_CO_TRY(const Op op, co_await begin("app_node/" + id));
  const auto found = specs().app_nodes.find(id);
  if (found == specs().app_nodes.end()) {
    co_return refusal(Kind::not_found, fmt::format("app node {} is not registered", id));
  }
  HF_CO_CHECK(co_await commit_remove(op, found->second));
  app_nodes_seen_.erase(id);
  co_return Status();
}

}  // namespace holdfast::control
