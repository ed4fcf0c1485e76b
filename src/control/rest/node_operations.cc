#include <utility>

#include "control/rest/bodies.h"
#include "control/rest/json_views.h"
#include "control/rest/operations.h"

namespace holdfast::control::rest {
namespace {

Answer node_answer(const NodeView& view) { return {node_json(view, Detail::v0), {}}; }
Answer node_answer_v1(const NodeView& view) { return {node_json(view, Detail::v1), {}}; }

Result<Answer> get_nodes(Call& call) {
  HF_TRY(const auto only, call.parameters.query_text("node_id"));
  HF_CHECK(call.parameters.finish());
  HF_TRY(const auto views, call.read([only](const Service& service) -> Result<std::vector<NodeView>> {
    if (!only) return service.nodes();
    auto view = service.node(*only);
    if (view.ok()) return std::vector<NodeView>{std::move(view).value()};
    if (kind_of(view.error()) != Kind::not_found) return view.error();
    return std::vector<NodeView>();
  }));
  return Answer{list_json(views, [](const NodeView& view) { return node_json(view, Detail::v0); }), {}};
}

Result<Answer> get_node(Call& call) {
  HF_TRY(const auto view,
         call.read([id = call.parameters.text("id")](const Service& service) { return service.node(id); }));
  return node_answer(view);
}

Result<Answer> put_cordon(Call& call) {
  HF_TRY(const auto view,
         call.change([id = call.parameters.text("id"), label = call.parameters.text("label")](
                         Service& service) { return service.cordon_node(id, label); }));
  return node_answer(view);
}

Result<Answer> delete_cordon(Call& call) {
  HF_TRY(const auto view,
         call.change([id = call.parameters.text("id"), label = call.parameters.text("label")](
                         Service& service) { return service.uncordon_node(id, label); }));
  return node_answer(view);
}

template <bool v1>
Result<Answer> put_drain(Call& call) {
  bool replicas = false;
  if constexpr (v1) {
    HF_TRY(replicas, call.parameters.query_flag("replicas", false));
    HF_CHECK(call.parameters.finish());
  }
  HF_TRY(const auto view,
         call.change([id = call.parameters.text("id"), label = call.parameters.text("label"),
                      replicas](Service& service) { return service.drain_node(id, label, replicas); }));
  return v1 ? node_answer_v1(view) : node_answer(view);
}

Result<Answer> put_label(Call& call) {
  HF_TRY(const auto overwrite, call.parameters.query_flag("overwrite", false));
  HF_CHECK(call.parameters.finish());
  HF_TRY(const auto view, call.change([id = call.parameters.text("id"), key = call.parameters.text("key"),
                                       value = call.parameters.text("value"), overwrite](Service& service) {
    return service.label_node(id, key, value, overwrite);
  }));
  return node_answer(view);
}

Result<Answer> delete_label(Call& call) {
  HF_TRY(const auto view, call.change([id = call.parameters.text("id"), key = call.parameters.text("key")](
                                          Service& service) { return service.unlabel_node(id, key); }));
  return node_answer(view);
}

Result<Answer> get_block_devices(Call& call) {
  HF_TRY(const auto all, call.parameters.query_flag("all", true));
  HF_CHECK(call.parameters.finish());
  HF_TRY(const auto devices, call.change([node = call.parameters.text("node"), all](Service& service) {
    return service.block_devices(node, all);
  }));
  return Answer{list_json(devices, block_device_json), {}};
}

Result<Answer> put_json_rpc(Call& call) {
  HF_TRY(const Json parameters, parse_json(call.request.body.empty() ? "{}" : call.request.body));
  HF_TRY(const auto text,
         call.change([node = call.parameters.text("node"), method = call.parameters.text("method"),
                      params = to_text(parameters)](Service& service) {
           return service.json_rpc(node, method, params);
         }));
  auto answer = parse_json(text);
  if (!answer.ok()) return refusal(Kind::internal, "the engine's answer is not JSON");
  return Answer{std::move(answer).value(), {}};
}

Result<Answer> get_purge(Call& call) {
  HF_TRY(const auto impact, call.read([id = call.parameters.text("id")](const Service& service) {
    return service.purge_node_impact(id);
  }));
  return Answer{impact_json(impact), {}};
}

Result<Answer> delete_node(Call& call) {
  HF_TRY(const auto purge, call.parameters.query_flag("purge", false));
  Purge accepted;
  HF_TRY(accepted.accept_volume_loss, call.parameters.query_flag("accept_volume_loss", false));
  HF_TRY(accepted.accept_snapshot_loss, call.parameters.query_flag("accept_snapshot_loss", false));
  HF_CHECK(call.parameters.finish());
  const std::optional<Purge> wanted = purge ? std::optional(accepted) : std::nullopt;
  HF_CHECK(call.change([id = call.parameters.text("id"), wanted](Service& service) {
    return service.delete_node(id, wanted);
  }));
  return no_content();
}

constexpr Operation operations[] = {
    {"GET", "/v0/nodes", "get_nodes", no_minimum, get_nodes},
    {"GET", "/v0/nodes/{id}", "get_node", no_minimum, get_node},
    {"PUT", "/v0/nodes/{id}/cordon/{label}", "put_node_cordon", no_minimum, put_cordon},
    {"DELETE", "/v0/nodes/{id}/cordon/{label}", "delete_node_cordon", no_minimum, delete_cordon},
    {"PUT", "/v0/nodes/{id}/drain/{label}", "put_node_drain", no_minimum, put_drain<false>},
    {"PUT", "/v0/nodes/{id}/label/{key}={value}", "put_node_label", no_minimum, put_label},
    {"DELETE", "/v0/nodes/{id}/label/{key...}", "delete_node_label", no_minimum, delete_label},
    {"GET", "/v0/nodes/{node}/block_devices", "get_node_block_devices", no_minimum, get_block_devices},
    {"PUT", "/v0/nodes/{node}/jsongrpc/{method}", "put_node_jsongrpc", no_minimum, put_json_rpc},
    {"PUT", "/v1/nodes/{id}/drain/{label}", "put_node_drain_v1", no_minimum, put_drain<true>},
    {"GET", "/v1/nodes/{id}/purge", "get_node_purge", no_minimum, get_purge},
    {"DELETE", "/v1/nodes/{id}", "del_node", pool_patience, delete_node},
};

}  // namespace

std::span<const Operation> node_operations() { return operations; }

}  // namespace holdfast::control::rest
