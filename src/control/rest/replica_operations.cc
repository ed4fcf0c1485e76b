#include <utility>

#include "control/rest/bodies.h"
#include "control/rest/json_views.h"
#include "control/rest/operations.h"

namespace holdfast::control::rest {
namespace {

struct ReplicaIds {
  Uuid replica;
  PoolId pool;
  std::optional<NodeId> node;
};

// A replica and the node that its pool is on, which is known also when no engine reports the replica.
struct Placed {
  ReplicaView view;
  NodeId node;
};

Placed place(const Service& service, ReplicaView view) {
  Placed placed{std::move(view), {}};
  if (placed.view.state) {
    placed.node = placed.view.state->node;
  } else if (placed.view.spec) {
    const auto& pools = service.specs().pools;
    const auto pool = pools.find(placed.view.spec->pool);
    if (pool != pools.end()) placed.node = pool->second.node;
  }
  return placed;
}

std::vector<Placed> place_all(const Service& service, std::vector<ReplicaView> views) {
  std::vector<Placed> placed;
  placed.reserve(views.size());
  for (auto& view : views) placed.push_back(place(service, std::move(view)));
  return placed;
}

Json placed_json(const Placed& placed) { return replica_json(placed.view, placed.node); }

const PoolId& pool_of(const ReplicaView& view) { return view.state ? view.state->pool : view.spec->pool; }

// Of "/pools/{pool_id}/replicas/{replica_id}", with and without "/nodes/{node_id}" before it.
template <bool with_node>
Result<ReplicaIds> ids_of(const Call& call) {
  ReplicaIds ids;
  HF_TRY(ids.replica, call.parameters.uuid("replica_id"));
  ids.pool = call.parameters.text("pool_id");
  if constexpr (with_node) ids.node = call.parameters.text("node_id");
  return ids;
}

Result<Placed> find(const Service& service, const ReplicaIds& ids) {
  HF_TRY(auto view, service.replica(ids.replica));
  Placed placed = place(service, std::move(view));
  const PoolId& pool = pool_of(placed.view);
  if (pool == ids.pool && (!ids.node || *ids.node == placed.node)) return placed;
  return refusal(Kind::not_found,
                 fmt::format("replica {} is in pool '{}' on node '{}', not where it was asked for",
                             ids.replica.to_string(), pool, placed.node));
}

Result<Answer> get_replicas(Call& call) {
  HF_TRY(const auto placed,
         call.read([](const Service& service) { return place_all(service, service.replicas()); }));
  return Answer{list_json(placed, placed_json), {}};
}

Result<Answer> get_replica(Call& call) {
  HF_TRY(const auto id, call.parameters.uuid("id"));
  HF_TRY(const auto placed, call.read([id](const Service& service) -> Result<Placed> {
    HF_TRY(auto view, service.replica(id));
    return place(service, std::move(view));
  }));
  return Answer{placed_json(placed), {}};
}

Result<Answer> get_node_replicas(Call& call) {
  HF_TRY(const auto placed,
         call.read([id = call.parameters.text("id")](const Service& service) -> Result<std::vector<Placed>> {
           HF_CHECK(service.node(id));
           return place_all(service, service.replicas_of_node(id));
         }));
  return Answer{list_json(placed, placed_json), {}};
}

Result<Answer> get_node_pool_replicas(Call& call) {
  HF_TRY(const auto placed,
         call.read([node = call.parameters.text("node_id"), pool = call.parameters.text("pool_id")](
                       const Service& service) -> Result<std::vector<Placed>> {
           HF_TRY(const auto view, service.pool(pool));
           const NodeId& at = view.spec ? view.spec->node : view.state->node;
           if (at != node) {
             return refusal(Kind::not_found,
                            fmt::format("pool '{}' is on node '{}', not on '{:.63}'", view.id, at, node));
           }
           return place_all(service, service.replicas_of_pool(pool));
         }));
  return Answer{list_json(placed, placed_json), {}};
}

Result<Answer> get_node_pool_replica(Call& call) {
  HF_TRY(auto ids, ids_of<true>(call));
  HF_TRY(const auto placed,
         call.read([ids = std::move(ids)](const Service& service) { return find(service, ids); }));
  return Answer{placed_json(placed), {}};
}

template <bool with_node>
Result<Answer> put_replica(Call& call) {
  HF_TRY(auto request, parse_create_replica(call.request.body));
  HF_TRY(auto ids, ids_of<with_node>(call));
  request.replica = ids.replica;
  request.pool = std::move(ids.pool);
  request.node = std::move(ids.node);
  HF_TRY(auto view, call.change([request = std::move(request)](Service& service) mutable {
    return service.create_replica(std::move(request));
  }));
  HF_TRY(const auto placed, call.read([view = std::move(view)](const Service& service) mutable {
    return place(service, std::move(view));
  }));
  return Answer{placed_json(placed), {}};
}

template <bool with_node>
Result<Answer> delete_replica(Call& call) {
  HF_TRY(auto ids, ids_of<with_node>(call));
  HF_CHECK(call.change([ids = std::move(ids)](Service& service) {
    return service.delete_replica(ids.replica, ids.pool, ids.node);
  }));
  return no_content();
}

template <bool with_node>
Result<Answer> put_share(Call& call) {
  HF_TRY(auto ids, ids_of<with_node>(call));
  auto hosts = call.parameters.query_list("allowed-hosts");
  HF_CHECK(call.parameters.finish());
  HF_CHECK(call.read([ids](const Service& service) { return find(service, ids); }));
  HF_TRY(auto uri, call.change([ids, hosts = std::move(hosts)](Service& service) mutable {
    return service.share_replica(ids.replica, Protocol::nvmf, std::move(hosts));
  }));
  return Answer{Json(std::move(uri)), {}};
}

template <bool with_node>
Result<Answer> delete_share(Call& call) {
  HF_TRY(auto ids, ids_of<with_node>(call));
  HF_CHECK(call.read([ids](const Service& service) { return find(service, ids); }));
  HF_CHECK(call.change([ids](Service& service) { return service.unshare_replica(ids.replica); }));
  return no_content();
}

#define HF_POOL_REPLICA "/v0/pools/{pool_id}/replicas/{replica_id}"
#define HF_NODE_POOL_REPLICA "/v0/nodes/{node_id}/pools/{pool_id}/replicas/{replica_id}"

constexpr Operation operations[] = {
    {"GET", "/v0/replicas", "get_replicas", no_minimum, get_replicas},
    {"GET", "/v0/replicas/{id}", "get_replica", no_minimum, get_replica},
    {"GET", "/v0/nodes/{id}/replicas", "get_node_replicas", no_minimum, get_node_replicas},
    {"GET", "/v0/nodes/{node_id}/pools/{pool_id}/replicas", "get_node_pool_replicas", no_minimum,
     get_node_pool_replicas},
    {"GET", HF_NODE_POOL_REPLICA, "get_node_pool_replica", no_minimum, get_node_pool_replica},
    {"PUT", HF_NODE_POOL_REPLICA, "put_node_pool_replica", replica_patience, put_replica<true>},
    {"DELETE", HF_NODE_POOL_REPLICA, "del_node_pool_replica", replica_patience, delete_replica<true>},
    {"PUT", HF_NODE_POOL_REPLICA "/share/nvmf", "put_node_pool_replica_share", replica_patience,
     put_share<true>},
    {"DELETE", HF_NODE_POOL_REPLICA "/share", "del_node_pool_replica_share", replica_patience,
     delete_share<true>},
    {"PUT", HF_POOL_REPLICA, "put_pool_replica", replica_patience, put_replica<false>},
    {"DELETE", HF_POOL_REPLICA, "del_pool_replica", replica_patience, delete_replica<false>},
    {"PUT", HF_POOL_REPLICA "/share/nvmf", "put_pool_replica_share", replica_patience, put_share<false>},
    {"DELETE", HF_POOL_REPLICA "/share", "del_pool_replica_share", replica_patience, delete_share<false>},
};

}  // namespace

std::span<const Operation> replica_operations() { return operations; }

}  // namespace holdfast::control::rest
