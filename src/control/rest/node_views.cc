// Nodes, pools, app nodes and block devices.
#include "control/rest/json_parts.h"
#include "control/rest/json_views.h"

namespace holdfast::control::rest {
namespace {

Json cordon_drain_json(const NodeSpec& spec) {
  if (spec.drains.empty()) return {{"cordonedstate", {{"cordonlabels", spec.cordons}}}};
  Json drain_labels = Json::array();
  for (const auto& [label, drain] : spec.drains) drain_labels.push_back(label);
  const char* state = spec.drained ? "drainedstate" : "drainingstate";
  return {{state, {{"cordonlabels", spec.cordons}, {"drainlabels", std::move(drain_labels)}}}};
}

Json node_spec_json(const NodeSpec& spec, Detail detail) {
  Json json = {{"grpcEndpoint", spec.grpc_endpoint}, {"id", spec.id}, {"labels", spec.labels}};
  if (spec.cordoned()) json["cordondrainstate"] = cordon_drain_json(spec);
  put_unless_empty(json, "node_nqn", spec.nqn);
  put_unless_empty(json, "version", spec.version);
  if (detail == Detail::v1) {
    Json replica_drains = Json::array();
    for (const auto& [label, drain] : spec.drains) {
      if (drain.replicas) replica_drains.push_back(label);
    }
    json["replica_drain_labels"] = std::move(replica_drains);
  }
  return json;
}

Json node_state_json(const NodeState& state) {
  Json json = {{"grpcEndpoint", state.grpc_endpoint}, {"id", state.id}, {"status", name(state.status)}};
  put_unless_empty(json, "node_nqn", state.nqn);
  put_unless_empty(json, "version", state.version);
  return json;
}

}  // namespace

Json uuids_json(const std::vector<Uuid>& uuids) {
  return list_json(uuids, [](const Uuid& uuid) { return uuid.to_string(); });
}

Json node_json(const NodeView& view, Detail detail) {
  Json json = {{"id", view.id}};
  if (view.spec) json["spec"] = node_spec_json(*view.spec, detail);
  if (view.state) json["state"] = node_state_json(*view.state);
  return json;
}

Json pool_spec_json(const PoolSpec& spec) {
  return {{"disks", spec.disks},
          {"id", spec.id},
          {"labels", spec.labels},
          {"node", spec.node},
          {"status", name(spec.status)}};
}

Json pool_state_json(const PoolState& state) {
  return {{"capacity", state.capacity_bytes},
          {"disks", state.disks},
          {"id", state.id},
          {"node", state.node},
          {"status", name(state.status)},
          {"used", state.used_bytes},
          {"committed", state.committed_bytes}};
}

Json pool_json(const PoolView& view, Detail detail) {
  Json json = {{"id", view.id}};
  if (view.spec) json["spec"] = pool_spec_json(*view.spec);
  if (view.state) json["state"] = pool_state_json(*view.state);
  if (detail == Detail::v0) return json;
  if (view.spec) {
    json["spec"]["cordons"] = view.spec->cordons;
    json["spec"]["evacuating"] = view.spec->evacuating;
    put(json["spec"], "cluster_size", view.spec->cluster_bytes);
    put_operation(json["spec"], view.spec->operation);
  }
  if (view.state) {
    json["state"]["uuid"] = view.state->uuid.to_string();
    json["state"]["free"] = view.state->free_bytes();
    json["state"]["cluster_size"] = view.state->cluster_bytes;
    json["state"]["disk_capacity"] = view.state->disk_capacity_bytes;
    put_unless_empty(json["state"], "reason", view.state->reason);
  }
  return json;
}

Json app_node_json(const AppNodeView& view) {
  Json spec = {{"id", view.spec.id}, {"endpoint", view.spec.endpoint}};
  put_unless_empty(spec, "labels", view.spec.labels);
  return {{"id", view.spec.id},
          {"spec", std::move(spec)},
          {"state",
           {{"id", view.spec.id},
            {"endpoint", view.spec.endpoint},
            {"status", view.online ? "Online" : "Offline"}}}};
}

Json block_device_json(const BlockDeviceInfo& device) {
  Json json = {{"available", device.available}, {"connection_type", device.connection_type},
               {"devlinks", device.links},      {"devmajor", device.major},
               {"devminor", device.minor},      {"devname", device.name},
               {"devpath", device.path},        {"devtype", device.type}};
  if (device.filesystem) {
    const auto& mounts = device.filesystem->mountpoints;
    json["filesystem"] = {{"fstype", device.filesystem->type},
                          {"label", device.filesystem->label},
                          {"mountpoint", mounts.empty() ? "" : mounts.front()},
                          {"uuid", device.filesystem->uuid}};
  }
  put(json, "is_rotational", device.rotational);
  json["model"] = device.model;
  if (device.partition) {
    json["partition"] = {{"name", device.partition->name},      {"number", device.partition->number},
                         {"parent", device.partition->parent},  {"scheme", device.partition->scheme},
                         {"typeid", device.partition->type_id}, {"uuid", device.partition->uuid}};
  }
  json["size"] = device.size_blocks;
  return json;
}

Json adopt_json(const AdoptReport& report) {
  Json findings = Json::array();
  for (const Finding& f : report.findings) {
    Json one{{"kind", f.kind}, {"id", f.id}, {"verdict", name(f.verdict)}, {"why", f.why}};
    if (!f.in_sync.empty()) one["in_sync"] = uuids_json(f.in_sync);
    if (!f.stale.empty()) one["stale"] = uuids_json(f.stale);
    findings.push_back(std::move(one));
  }
  return {{"dry_run", report.dry_run}, {"findings", std::move(findings)}};
}

Json impact_json(const Impact& impact) {
  return {{"pools", impact.pools},
          {"replicas", uuids_json(impact.replicas)},
          {"degraded_volumes", uuids_json(impact.degraded_volumes)},
          {"lost_volumes", uuids_json(impact.lost_volumes)},
          {"lost_snapshots", uuids_json(impact.lost_snapshots)},
          {"targets", uuids_json(impact.targets)},
          {"harmless", impact.harmless()}};
}

}  // namespace holdfast::control::rest
