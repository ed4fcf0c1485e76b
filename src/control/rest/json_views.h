// What the service shows, as JSON: the schemas of REST API v0, field by field (docs: api/openapi.yaml). Optional
// fields that have no value are left out. `Detail::v1` adds our own fields, which API v0's clients do not know.
#pragma once

#include <string>
#include <vector>

#include "control/rest/json_reader.h"
#include "control/service.h"

namespace holdfast::control::rest {

enum class Detail : std::uint8_t { v0, v1 };

// "2024-05-01T12:00:00.000000001Z".
std::string timestamp(UnixNanos at);

Json node_json(const NodeView& view, Detail detail);
Json pool_json(const PoolView& view, Detail detail);
// `node` is used when no engine reports the replica.
Json replica_json(const ReplicaView& view, const NodeId& node);
Json nexus_json(const NexusView& view);
Json children_json(const NexusView& view);
Json volume_json(const VolumeView& view, Detail detail);
Json snapshot_json(const SnapshotView& view);
Json app_node_json(const AppNodeView& view);
Json rebuild_history_json(const RebuildHistory& history);
Json block_device_json(const BlockDeviceInfo& device);
Json impact_json(const Impact& impact);
Json adopt_json(const AdoptReport& report);
Json event_json(const Event& event);

Json specs_json(const Specs& specs);
// What engines report of nexuses, pools and replicas.
Json states_json(const Observed& observed);

template <class List, class View>
Json list_json(const List& list, View view) {
  Json json = Json::array();
  for (const auto& one : list) json.push_back(view(one));
  return json;
}

// {"entries":[...],"next_token":N}
template <class T, class View>
Json page_json(const Page<T>& page, View view) {
  Json json = {{"entries", list_json(page.entries, view)}};
  if (page.next) json["next_token"] = *page.next;
  return json;
}

}  // namespace holdfast::control::rest
