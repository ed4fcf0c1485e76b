// Replicas and nexuses, and the dumps of specs and states.
#include <map>

#include "control/rest/json_parts.h"
#include "control/rest/json_views.h"

namespace holdfast::control::rest {
namespace {

Json child_json(const ChildState& child) {
  Json json = {{"uri", child.uri}, {"state", name(child.status)}};
  // The one reason that clients of API v0 know.
  if (child.reason == ChildReason::out_of_space) json["state_reason"] = name(child.reason);
  put(json, "rebuildProgress", child.rebuild_percent);
  return json;
}

// What is shown of a nexus that no engine reports.
NexusState unreported(const NexusSpec& spec) {
  NexusState state;
  state.uuid = spec.uuid;
  state.node = spec.node;
  state.size_bytes = spec.size_bytes;
  state.status = spec.shut_down ? NexusStatus::shutdown : NexusStatus::unknown;
  state.protocol = spec.share;
  for (const NexusChildSpec& child : spec.children) {
    state.children.emplace_back();
    state.children.back().uri = child.uri;
  }
  return state;
}

NexusState shown_state(const NexusView& view) {
  if (view.state) return *view.state;
  return view.spec ? unreported(*view.spec) : NexusState{};
}

Json space_json(const ReplicaSpace& space) {
  return {{"capacity_bytes", space.capacity_bytes},
          {"allocated_bytes", space.allocated_bytes},
          {"allocated_bytes_snapshots", space.allocated_snapshots_bytes},
          {"allocated_bytes_all_snapshots", space.allocated_all_snapshots_bytes},
          {"cluster_size", space.cluster_bytes},
          {"clusters", space.clusters},
          {"allocated_clusters", space.allocated_clusters}};
}

Json nexus_spec_json(const NexusSpec& spec) {
  Json json = {{"children", list_json(spec.children, [](const NexusChildSpec& child) { return child.uri; })},
               {"managed", spec.owner.has_value()},
               {"node", spec.node}};
  put_operation(json, spec.operation);
  put(json, "owner", spec.owner);
  json["share"] = name(spec.share);
  json["size"] = spec.size_bytes;
  json["status"] = name(spec.status);
  json["uuid"] = spec.uuid.to_string();
  return json;
}

Json replica_spec_json(const ReplicaSpec& spec) {
  Json json = {{"managed", spec.managed}};
  put_operation(json, spec.operation);
  Json owners = {{"nexuses", uuids_json(spec.owners.nexuses)}};
  put(owners, "volume", spec.owners.volume);
  json["owners"] = std::move(owners);
  json["pool"] = spec.pool;
  put(json, "poolUuid", spec.pool_uuid);
  json["share"] = name(spec.share);
  json["size"] = spec.size_bytes;
  json["status"] = name(spec.status);
  json["thin"] = spec.thin;
  json["uuid"] = spec.uuid.to_string();
  json["kind"] = name(spec.kind);
  return json;
}

}  // namespace

Json nexus_state_json(const NexusState& state) {
  return {{"uuid", state.uuid.to_string()},
          {"node", state.node},
          {"size", state.size_bytes},
          {"state", name(state.status)},
          {"children", list_json(state.children, child_json)},
          {"deviceUri", state.device_uri},
          {"rebuilds", state.rebuilds},
          {"protocol", name(state.protocol)}};
}

Json nexus_json(const NexusView& view) { return nexus_state_json(shown_state(view)); }

Json children_json(const NexusView& view) { return list_json(shown_state(view).children, child_json); }

Json replica_state_json(const ReplicaState& state) {
  Json json = {{"uuid", state.uuid.to_string()}, {"node", state.node}, {"pool", state.pool}};
  if (!state.pool_uuid.is_nil()) json["poolUuid"] = state.pool_uuid.to_string();
  json["size"] = state.size_bytes;
  json["thin"] = state.thin;
  json["share"] = name(state.share);
  json["state"] = name(state.status);
  json["uri"] = state.uri;
  json["space"] = space_json(state.space);
  put_unless_empty(json, "allowed-hosts", state.allowed_hosts);
  json["kind"] = name(state.kind);
  return json;
}

Json replica_json(const ReplicaView& view, const NodeId& node) {
  if (view.state) return replica_state_json(*view.state);
  ReplicaState state;
  state.uuid = view.uuid;
  state.node = node;
  if (view.spec) {
    state.pool = view.spec->pool;
    state.pool_uuid = view.spec->pool_uuid.value_or(Uuid{});
    state.size_bytes = view.spec->size_bytes;
    state.thin = view.spec->thin;
    state.share = view.spec->share;
    state.allowed_hosts = view.spec->allowed_hosts;
    state.kind = view.spec->kind;
  }
  Json json = replica_state_json(state);
  json.erase("space");
  return json;
}

Json specs_json(const Specs& specs) {
  std::map<Uuid, std::uint32_t> snapshots;
  for (const auto& [uuid, snapshot] : specs.snapshots) ++snapshots[snapshot.volume];
  Json json = {{"nexuses", Json::array()},
               {"pools", Json::array()},
               {"replicas", Json::array()},
               {"volumes", Json::array()}};
  for (const auto& [uuid, spec] : specs.nexuses) json["nexuses"].push_back(nexus_spec_json(spec));
  for (const auto& [id, spec] : specs.pools) json["pools"].push_back(pool_spec_json(spec));
  for (const auto& [uuid, spec] : specs.replicas) json["replicas"].push_back(replica_spec_json(spec));
  for (const auto& [uuid, spec] : specs.volumes) {
    const auto found = snapshots.find(uuid);
    json["volumes"].push_back(volume_spec_json(spec, found == snapshots.end() ? 0 : found->second));
  }
  return json;
}

Json states_json(const Observed& observed) {
  Json json = {{"nexuses", Json::array()}, {"pools", Json::array()}, {"replicas", Json::array()}};
  for (const auto& [uuid, state] : observed.nexuses) json["nexuses"].push_back(nexus_state_json(state));
  for (const auto& [id, state] : observed.pools) json["pools"].push_back(pool_state_json(state));
  for (const auto& [uuid, state] : observed.replicas) json["replicas"].push_back(replica_state_json(state));
  return json;
}

}  // namespace holdfast::control::rest
