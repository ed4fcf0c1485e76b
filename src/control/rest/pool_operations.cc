#include <utility>

#include "control/rest/bodies.h"
#include "control/rest/json_views.h"
#include "control/rest/operations.h"

namespace holdfast::control::rest {
namespace {

template <Detail detail>
Json view_json(const PoolView& view) {
  return pool_json(view, detail);
}
Answer pool_answer(const PoolView& view) { return {pool_json(view, Detail::v0), {}}; }
Answer pool_answer_v1(const PoolView& view) { return {pool_json(view, Detail::v1), {}}; }

const NodeId& node_of(const PoolView& view) {
  static const NodeId none;
  if (view.spec) return view.spec->node;
  return view.state ? view.state->node : none;
}

Result<PoolView> find_on_node(const Service& service, const PoolId& pool, const NodeId& node) {
  HF_CHECK(service.node(node));
  HF_TRY(auto view, service.pool(pool));
  if (node_of(view) == node) return view;
  return refusal(Kind::not_found,
                 fmt::format("pool '{:.63}' is on node '{}', not on '{}'", pool, node_of(view), node));
}

template <Detail detail>
Result<Answer> get_pools(Call& call) {
  HF_TRY(const auto volume, call.parameters.query_uuid("volume_id"));
  HF_CHECK(call.parameters.finish());
  HF_TRY(const auto views, call.read([volume](const Service& service) -> Result<std::vector<PoolView>> {
    if (!volume) return service.pools();
    HF_CHECK(service.volume(*volume));
    return service.pools_of_volume(*volume);
  }));
  return Answer{list_json(views, view_json<detail>), {}};
}

template <Detail detail>
Result<Answer> get_pool(Call& call) {
  HF_TRY(const auto view, call.read([id = call.parameters.text("pool_id")](const Service& service) {
    return service.pool(id);
  }));
  return Answer{view_json<detail>(view), {}};
}

Result<Answer> get_node_pools(Call& call) {
  HF_TRY(
      const auto views,
      call.read([id = call.parameters.text("id")](const Service& service) -> Result<std::vector<PoolView>> {
        HF_CHECK(service.node(id));
        return service.pools_of_node(id);
      }));
  return Answer{list_json(views, view_json<Detail::v0>), {}};
}

Result<Answer> get_node_pool(Call& call) {
  HF_TRY(const auto view,
         call.read([node = call.parameters.text("node_id"), pool = call.parameters.text("pool_id")](
                       const Service& service) { return find_on_node(service, pool, node); }));
  return pool_answer(view);
}

Result<Answer> put_node_pool(Call& call) {
  HF_TRY(auto request, parse_create_pool(call.request.body));
  request.node = call.parameters.text("node_id");
  request.pool = call.parameters.text("pool_id");
  HF_TRY(const auto view, call.change([request = std::move(request)](Service& service) mutable {
    return service.create_pool(std::move(request));
  }));
  return pool_answer(view);
}

Result<Answer> delete_pool(Call& call) {
  HF_CHECK(call.change([id = call.parameters.text("pool_id")](Service& service) {
    return service.delete_pool(id, std::nullopt);
  }));
  return no_content();
}

Result<Answer> delete_node_pool(Call& call) {
  HF_CHECK(call.change([id = call.parameters.text("pool_id"), node = call.parameters.text("node_id")](
                           Service& service) { return service.delete_pool(id, node); }));
  return no_content();
}

Result<Answer> put_label(Call& call) {
  HF_TRY(const auto overwrite, call.parameters.query_flag("overwrite", false));
  HF_CHECK(call.parameters.finish());
  HF_TRY(const auto view,
         call.change([id = call.parameters.text("pool_id"), key = call.parameters.text("key"),
                      value = call.parameters.text("value"), overwrite](Service& service) {
           return service.label_pool(id, key, value, overwrite);
         }));
  return pool_answer(view);
}

Result<Answer> delete_label(Call& call) {
  HF_TRY(const auto view, call.change([id = call.parameters.text("id"), key = call.parameters.text("key")](
                                          Service& service) { return service.unlabel_pool(id, key); }));
  return pool_answer(view);
}

template <bool on>
Result<Answer> set_cordon(Call& call) {
  HF_TRY(const auto view, call.change([id = call.parameters.text("pool_id"),
                                       label = call.parameters.text("label")](Service& service) {
    return on ? service.cordon_pool(id, label) : service.uncordon_pool(id, label);
  }));
  return pool_answer_v1(view);
}

template <bool on>
Result<Answer> set_evacuate(Call& call) {
  HF_TRY(const auto view, call.change([id = call.parameters.text("pool_id")](Service& service) {
    return service.evacuate_pool(id, on);
  }));
  return pool_answer_v1(view);
}

Result<Answer> put_grow(Call& call) {
  HF_TRY(const auto view, call.change([id = call.parameters.text("pool_id")](Service& service) {
    return service.grow_pool(id);
  }));
  return pool_answer_v1(view);
}

Result<Answer> get_purge(Call& call) {
  HF_TRY(const auto impact, call.read([id = call.parameters.text("pool_id")](const Service& service) {
    return service.purge_pool_impact(id);
  }));
  return Answer{impact_json(impact), {}};
}

Result<Answer> delete_purge(Call& call) {
  Purge purge;
  HF_TRY(purge.accept_volume_loss, call.parameters.query_flag("accept_volume_loss", false));
  HF_TRY(purge.accept_snapshot_loss, call.parameters.query_flag("accept_snapshot_loss", false));
  HF_CHECK(call.parameters.finish());
  HF_CHECK(call.change([id = call.parameters.text("pool_id"), purge](Service& service) {
    return service.purge_pool(id, purge);
  }));
  return no_content();
}

constexpr Operation operations[] = {
    {"GET", "/v0/pools", "get_pools", no_minimum, get_pools<Detail::v0>},
    {"GET", "/v0/pools/{pool_id}", "get_pool", no_minimum, get_pool<Detail::v0>},
    {"DELETE", "/v0/pools/{pool_id}", "del_pool", pool_patience, delete_pool},
    {"GET", "/v0/nodes/{id}/pools", "get_node_pools", no_minimum, get_node_pools},
    {"GET", "/v0/nodes/{node_id}/pools/{pool_id}", "get_node_pool", no_minimum, get_node_pool},
    {"PUT", "/v0/nodes/{node_id}/pools/{pool_id}", "put_node_pool", pool_patience, put_node_pool},
    {"DELETE", "/v0/nodes/{node_id}/pools/{pool_id}", "del_node_pool", pool_patience, delete_node_pool},
    {"PUT", "/v0/pools/{pool_id}/label/{key}={value}", "put_pool_label", no_minimum, put_label},
    {"DELETE", "/v0/pools/{id}/label/{key...}", "del_pool_label", no_minimum, delete_label},
    {"GET", "/v1/pools", "get_pools_v1", no_minimum, get_pools<Detail::v1>},
    {"GET", "/v1/pools/{pool_id}", "get_pool_v1", no_minimum, get_pool<Detail::v1>},
    {"PUT", "/v1/pools/{pool_id}/cordon/{label}", "put_pool_cordon", no_minimum, set_cordon<true>},
    {"DELETE", "/v1/pools/{pool_id}/cordon/{label}", "del_pool_cordon", no_minimum, set_cordon<false>},
    {"PUT", "/v1/pools/{pool_id}/evacuate", "put_pool_evacuate", no_minimum, set_evacuate<true>},
    {"DELETE", "/v1/pools/{pool_id}/evacuate", "del_pool_evacuate", no_minimum, set_evacuate<false>},
    {"PUT", "/v1/pools/{pool_id}/grow", "put_pool_grow", pool_patience, put_grow},
    {"GET", "/v1/pools/{pool_id}/purge", "get_pool_purge", no_minimum, get_purge},
    {"DELETE", "/v1/pools/{pool_id}/purge", "del_pool_purge", pool_patience, delete_purge},
};

}  // namespace

std::span<const Operation> pool_operations() { return operations; }

}  // namespace holdfast::control::rest
