#include <utility>

#include "control/rest/bodies.h"
#include "control/rest/json_views.h"
#include "control/rest/operations.h"

namespace holdfast::control::rest {
namespace {

struct NexusIds {
  Uuid nexus;
  std::optional<NodeId> node;
};

// Of "/nexuses/{nexus_id}" and "/nodes/{node_id}/nexuses/{nexus_id}".
template <bool with_node>
Result<NexusIds> ids_of(const Call& call) {
  NexusIds ids;
  HF_TRY(ids.nexus, call.parameters.uuid("nexus_id"));
  if constexpr (with_node) ids.node = call.parameters.text("node_id");
  return ids;
}

Result<NexusView> find(const Call& call, const NexusIds& ids) {
  return call.read([ids](const Service& service) -> Result<NexusView> {
    HF_TRY(auto view, service.nexus(ids.nexus));
    const NodeId node = view.state ? view.state->node : view.spec ? view.spec->node : NodeId();
    if (ids.node && *ids.node != node) {
      return refusal(Kind::not_found, fmt::format("nexus {} is on node '{}', not on '{:.63}'",
                                                  ids.nexus.to_string(), node, *ids.node));
    }
    return view;
  });
}

// The URI of a child, which may stand in the path as it is: then its own query has become that of the request. Without
// a scheme it is a device.
std::string child_uri(const Call& call) {
  std::string uri = call.parameters.text("child_id");
  if (!call.target.raw_query.empty()) uri += "?" + call.target.raw_query;
  return uri.find("://") == std::string::npos && uri.find(":/") == std::string::npos ? "aio://" + uri : uri;
}

std::string without_parameters(const std::string& uri) { return uri.substr(0, uri.find('?')); }

Result<Json> find_child(const NexusView& view, const std::string& uri) {
  const Json children = children_json(view);
  for (const Json& child : children) {
    if (child["uri"] == uri) return child;
  }
  for (const Json& child : children) {
    if (without_parameters(child["uri"].get<std::string>()) == without_parameters(uri)) return child;
  }
  return refusal(Kind::not_found, fmt::format("nexus {} has no child {:.200}", view.uuid.to_string(), uri));
}

Result<Answer> get_nexuses(Call& call) {
  HF_TRY(const auto views, call.read([](const Service& service) { return service.nexuses(); }));
  return Answer{list_json(views, nexus_json), {}};
}

Result<Answer> get_node_nexuses(Call& call) {
  HF_TRY(
      const auto views,
      call.read([id = call.parameters.text("id")](const Service& service) -> Result<std::vector<NexusView>> {
        HF_CHECK(service.node(id));
        return service.nexuses_of_node(id);
      }));
  return Answer{list_json(views, nexus_json), {}};
}

template <bool with_node>
Result<Answer> get_nexus(Call& call) {
  HF_TRY(const auto ids, ids_of<with_node>(call));
  HF_TRY(const auto view, find(call, ids));
  return Answer{nexus_json(view), {}};
}

Result<Answer> put_nexus(Call& call) {
  HF_TRY(auto request, parse_create_nexus(call.request.body));
  HF_TRY(request.nexus, call.parameters.uuid("nexus_id"));
  request.node = call.parameters.text("node_id");
  HF_TRY(const auto view, call.change([request = std::move(request)](Service& service) mutable {
    return service.create_nexus(std::move(request));
  }));
  return Answer{nexus_json(view), {}};
}

template <bool with_node>
Result<Answer> delete_nexus(Call& call) {
  HF_TRY(auto ids, ids_of<with_node>(call));
  HF_CHECK(call.change(
      [ids = std::move(ids)](Service& service) { return service.delete_nexus(ids.nexus, ids.node); }));
  return no_content();
}

template <bool with_node>
Result<Answer> get_children(Call& call) {
  HF_TRY(const auto ids, ids_of<with_node>(call));
  HF_TRY(const auto view, find(call, ids));
  return Answer{children_json(view), {}};
}

template <bool with_node>
Result<Answer> get_child(Call& call) {
  HF_TRY(const auto ids, ids_of<with_node>(call));
  HF_TRY(const auto view, find(call, ids));
  HF_TRY(auto child, find_child(view, child_uri(call)));
  return Answer{std::move(child), {}};
}

template <bool with_node>
Result<Answer> put_child(Call& call) {
  HF_TRY(auto ids, ids_of<with_node>(call));
  const std::string uri = child_uri(call);
  HF_TRY(const auto view, call.change([ids = std::move(ids), uri](Service& service) {
    return service.add_nexus_child(ids.nexus, ids.node, uri);
  }));
  HF_TRY(auto child, find_child(view, uri));
  return Answer{std::move(child), {}};
}

template <bool with_node>
Result<Answer> delete_child(Call& call) {
  HF_TRY(auto ids, ids_of<with_node>(call));
  HF_CHECK(call.change([ids = std::move(ids), uri = child_uri(call)](Service& service) {
    return service.remove_nexus_child(ids.nexus, ids.node, uri);
  }));
  return no_content();
}

Result<Answer> put_share(Call& call) {
  HF_TRY(auto ids, ids_of<true>(call));
  HF_TRY(const auto protocol, call.parameters.protocol("protocol"));
  HF_TRY(auto uri, call.change([ids = std::move(ids), protocol](Service& service) {
    return service.share_nexus(ids.nexus, ids.node, protocol);
  }));
  return Answer{Json(std::move(uri)), {}};
}

Result<Answer> delete_share(Call& call) {
  HF_TRY(auto ids, ids_of<true>(call));
  HF_CHECK(call.change(
      [ids = std::move(ids)](Service& service) { return service.unshare_nexus(ids.nexus, ids.node); }));
  return no_content();
}

#define HF_NODE_NEXUS "/v0/nodes/{node_id}/nexuses/{nexus_id}"

constexpr Operation operations[] = {
    {"GET", "/v0/nexuses", "get_nexuses", no_minimum, get_nexuses},
    {"GET", "/v0/nexuses/{nexus_id}", "get_nexus", no_minimum, get_nexus<false>},
    {"DELETE", "/v0/nexuses/{nexus_id}", "del_nexus", nexus_patience, delete_nexus<false>},
    {"GET", "/v0/nexuses/{nexus_id}/children", "get_nexus_children", no_minimum, get_children<false>},
    {"GET", "/v0/nexuses/{nexus_id}/children/{child_id...}", "get_nexus_child", no_minimum, get_child<false>},
    {"PUT", "/v0/nexuses/{nexus_id}/children/{child_id...}", "put_nexus_child", nexus_patience,
     put_child<false>},
    {"DELETE", "/v0/nexuses/{nexus_id}/children/{child_id...}", "del_nexus_child", nexus_patience,
     delete_child<false>},
    {"GET", "/v0/nodes/{id}/nexuses", "get_node_nexuses", no_minimum, get_node_nexuses},
    {"GET", HF_NODE_NEXUS, "get_node_nexus", no_minimum, get_nexus<true>},
    {"PUT", HF_NODE_NEXUS, "put_node_nexus", nexus_patience, put_nexus},
    {"DELETE", HF_NODE_NEXUS, "del_node_nexus", nexus_patience, delete_nexus<true>},
    {"GET", HF_NODE_NEXUS "/children", "get_node_nexus_children", no_minimum, get_children<true>},
    {"GET", HF_NODE_NEXUS "/children/{child_id...}", "get_node_nexus_child", no_minimum, get_child<true>},
    {"PUT", HF_NODE_NEXUS "/children/{child_id...}", "put_node_nexus_child", nexus_patience, put_child<true>},
    {"DELETE", HF_NODE_NEXUS "/children/{child_id...}", "del_node_nexus_child", nexus_patience,
     delete_child<true>},
    {"PUT", HF_NODE_NEXUS "/share/{protocol}", "put_node_nexus_share", nexus_patience, put_share},
    {"DELETE", HF_NODE_NEXUS "/share", "del_node_nexus_share", nexus_patience, delete_share},
};

}  // namespace

std::span<const Operation> nexus_operations() { return operations; }

}  // namespace holdfast::control::rest
