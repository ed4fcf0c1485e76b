// Volumes, their snapshots, rebuilds and events.
#include <algorithm>
#include <ctime>
#include <limits>

#include "control/rest/json_parts.h"
#include "control/rest/json_views.h"

namespace holdfast::control::rest {
namespace {

Json labelled_json(const LabelledTopology& topology) {
  Json json = {{"exclusion", topology.exclusion}, {"inclusion", topology.inclusion}};
  put_unless_empty(json, "affinity_key", topology.affinity);
  return json;
}

Json topology_json(const Topology& topology) {
  Json json = Json::object();
  if (topology.explicit_nodes) {
    json["node_topology"]["explicit"] = {{"allowed_nodes", topology.explicit_nodes->allowed_nodes},
                                         {"preferred_nodes", topology.explicit_nodes->preferred_nodes}};
  }
  if (topology.nodes) json["node_topology"]["labelled"] = labelled_json(*topology.nodes);
  if (topology.pools) json["pool_topology"]["labelled"] = labelled_json(*topology.pools);
  return json;
}

Json target_json(const VolumeTarget& target) {
  Json json = {{"node", target.node}, {"protocol", name(target.protocol)}};
  if (!target.frontends.empty()) {
    json["frontend_nodes"] = list_json(target.frontends, [](const FrontendNode& node) {
      return Json{{"name", node.name}, {"nqn", node.nqn}};
    });
  }
  return json;
}

Json replica_topology_json(const ReplicaTopology& replica, Detail detail) {
  Json json = Json::object();
  put(json, "node", replica.node);
  put(json, "pool", replica.pool);
  json["state"] = name(replica.status);
  put(json, "child-status", replica.child_status);
  const bool shown = replica.child_reason && *replica.child_reason != ChildReason::none &&
                     (detail == Detail::v1 || *replica.child_reason == ChildReason::out_of_space);
  if (shown) json["child-status-reason"] = name(*replica.child_reason);
  if (replica.usage) {
    json["usage"] = {{"capacity", replica.usage->capacity_bytes},
                     {"allocated", replica.usage->allocated_bytes},
                     {"allocated_snapshots", replica.usage->allocated_snapshots_bytes},
                     {"allocated_all_snapshots", replica.usage->allocated_all_snapshots_bytes}};
  }
  put(json, "rebuild-progress", replica.rebuild_percent);
  if (detail == Detail::v1) json["healthy"] = replica.healthy;
  return json;
}

Json volume_state_json(const VolumeState& state, Detail detail) {
  Json json = {{"uuid", state.uuid.to_string()}, {"size", state.size_bytes}, {"status", name(state.status)}};
  if (detail == Detail::v1) put_unless_empty(json, "reason", state.reason);
  if (state.target) json["target"] = nexus_state_json(*state.target);
  json["replica_topology"] = Json::object();
  for (const auto& [uuid, replica] : state.replicas) {
    json["replica_topology"][uuid.to_string()] = replica_topology_json(replica, detail);
  }
  if (state.usage) {
    json["usage"] = {{"capacity", state.usage->capacity_bytes},
                     {"allocated", state.usage->allocated_bytes},
                     {"allocated_replica", state.usage->allocated_replica_bytes},
                     {"allocated_snapshots", state.usage->allocated_snapshots_bytes},
                     {"allocated_all_snapshots", state.usage->allocated_all_snapshots_bytes},
                     {"total_allocated", state.usage->total_allocated_bytes},
                     {"total_allocated_replicas", state.usage->total_allocated_replicas_bytes},
                     {"total_allocated_snapshots", state.usage->total_allocated_snapshots_bytes}};
  }
  return json;
}

Json moves_json(const std::vector<ReplicaMove>& moves) {
  return list_json(moves, [](const ReplicaMove& move) {
    Json json = {{"from", move.from.to_string()}};
    put(json, "pool", move.pool);
    put(json, "to", move.to);
    return json;
  });
}

Json part_json(const ReplicaSnapshotSpec& part, const std::vector<SnapshotState>& reported) {
  Json json = {{"uuid", part.uuid.to_string()},
               {"source_id", part.replica.to_string()},
               {"pool_id", part.pool},
               {"pool_uuid", part.pool_uuid.value_or(Uuid{}).to_string()}};
  const auto online = std::find_if(reported.begin(), reported.end(),
                                   [&](const SnapshotState& state) { return state.uuid == part.uuid; });
  if (online == reported.end()) return {{"offline", std::move(json)}};
  json["pool_id"] = online->pool;
  json["pool_uuid"] = online->pool_uuid.to_string();
  json["timestamp"] = timestamp(online->taken);
  json["size"] = online->size_bytes;
  json["allocated_size"] = online->allocated_bytes;
  json["predecessor_alloc_size"] = online->referenced_bytes;
  return {{"online", std::move(json)}};
}

// Those of a snapshot that was taken, without copies that are being made.
std::vector<ReplicaSnapshotSpec> whole_parts(const SnapshotSpec& spec) {
  std::vector<ReplicaSnapshotSpec> parts = spec.parts();
  if (spec.status != SpecStatus::created) return parts;
  std::erase_if(parts, [](const ReplicaSnapshotSpec& p) { return p.status != SpecStatus::created; });
  return parts;
}

Json transactions_json(const SnapshotSpec& spec) {
  Json json = Json::object();
  for (const auto& [id, parts] : spec.transactions) {
    json[id] = list_json(parts, [](const ReplicaSnapshotSpec& part) {
      return Json{{"uuid", part.uuid.to_string()},
                  {"source_id", part.replica.to_string()},
                  {"status", name(part.status)}};
    });
  }
  return json;
}

}  // namespace

std::string timestamp(UnixNanos at) {
  constexpr std::int64_t second = 1'000'000'000;
  const std::int64_t fraction = (at % second + second) % second;
  const std::time_t seconds = (at - fraction) / second;
  std::tm calendar{};
  gmtime_r(&seconds, &calendar);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z", calendar.tm_year + 1900,
                     calendar.tm_mon + 1, calendar.tm_mday, calendar.tm_hour, calendar.tm_min,
                     calendar.tm_sec, fraction);
}

Json volume_spec_json(const VolumeSpec& spec, std::uint32_t num_snapshots) {
  Json json = {{"uuid", spec.uuid.to_string()},
               {"size", spec.size_bytes},
               {"num_replicas", spec.num_replicas},
               {"status", name(spec.status)},
               {"policy", {{"self_heal", spec.self_heal}}},
               {"thin", spec.thin}};
  if (spec.as_thin) json["as_thin"] = true;
  put_unless_empty(json, "labels", spec.labels);
  if (spec.topology != Topology{}) json["topology"] = topology_json(spec.topology);
  if (spec.target) json["target"] = target_json(*spec.target);
  if (spec.affinity_group) json["affinity_group"] = {{"id", *spec.affinity_group}};
  if (spec.content_source) {
    json["content_source"]["snapshot"] = {{"snapshot", spec.content_source->snapshot.to_string()},
                                          {"volume", spec.content_source->volume.to_string()}};
  }
  json["num_snapshots"] = num_snapshots;
  put(json, "max_snapshots", spec.max_snapshots);
  put_operation(json, spec.operation);
  return json;
}

Json volume_json(const VolumeView& view, Detail detail) {
  Json spec = volume_spec_json(view.spec, view.num_snapshots);
  if (detail == Detail::v1) spec["moves"] = moves_json(view.spec.moves);
  return {{"spec", std::move(spec)}, {"state", volume_state_json(view.state, detail)}};
}

Json snapshot_json(const SnapshotView& view) {
  const SnapshotSpec& spec = view.spec;
  Json metadata = {{"status", name(spec.status)}};
  if (spec.taken != 0) metadata["timestamp"] = timestamp(spec.taken);
  metadata["size"] = spec.size_bytes;
  metadata["spec_size"] = spec.size_bytes;
  metadata["total_allocated_size"] = view.total_allocated_bytes;
  metadata["txn_id"] = spec.transaction;
  metadata["transactions"] = transactions_json(spec);
  metadata["num_restores"] = view.num_restores;
  const auto copies = whole_parts(spec);
  metadata["num_snapshot_replicas"] = copies.size();
  Json state = {{"uuid", spec.uuid.to_string()},
                {"allocated_size", view.allocated_bytes},
                {"source_volume", spec.volume.to_string()}};
  if (spec.taken != 0) state["timestamp"] = timestamp(spec.taken);
  // API v0 has the field, and never says true.
  state["ready_as_source"] = false;
  state["replica_snapshots"] =
      list_json(copies, [&](const ReplicaSnapshotSpec& part) { return part_json(part, view.parts); });
  return {{"definition",
           {{"metadata", std::move(metadata)},
            {"spec", {{"uuid", spec.uuid.to_string()}, {"source_volume", spec.volume.to_string()}}}}},
          {"state", std::move(state)}};
}

Json rebuild_history_json(const RebuildHistory& history) {
  const auto record_json = [](const RebuildRecord& record) {
    return Json{{"childUri", record.child_uri},
                {"srcUri", record.source_uri},
                {"rebuildJobState", name(record.status)},
                {"blocksTotal", record.blocks_total},
                {"blocksRecovered", record.blocks_recovered},
                {"blocksTransferred", record.blocks_transferred},
                {"blocksRemaining", record.blocks_remaining},
                {"blockSize", record.block_bytes},
                {"isPartial", record.partial},
                {"startTime", timestamp(record.started)},
                // A rebuild that goes on ends now, as far as anybody knows: the field is not optional.
                {"endTime", timestamp(std::max(record.started, record.ended))}};
  };
  return {{"targetUuid", history.target.to_string()}, {"records", list_json(history.records, record_json)}};
}

Json event_json(const Event& event) {
  Json json = {{"number", event.number},
               {"timestamp", timestamp(static_cast<UnixNanos>(event.at))},
               {"category", event.category},
               {"action", event.action},
               {"resource", event.resource}};
  put_unless_empty(json, "node", event.node);
  json["text"] = event.text;
  json["warning"] = event.warning;
  return json;
}

}  // namespace holdfast::control::rest
