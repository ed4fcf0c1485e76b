#include "control/rest/bodies.h"

#include <limits>
#include <utility>

#include "control/rest/json_reader.h"

namespace holdfast::control::rest {
namespace {

constexpr std::uint64_t u8_max = std::numeric_limits<std::uint8_t>::max();
constexpr std::uint64_t u32_max = std::numeric_limits<std::uint32_t>::max();

std::optional<std::uint32_t> narrow(std::optional<std::uint64_t> number) {
  if (!number) return std::nullopt;
  return static_cast<std::uint32_t>(*number);
}

LabelledTopology read_labelled(ObjectReader& in) {
  LabelledTopology topology;
  topology.exclusion = in.text_map("exclusion");
  topology.inclusion = in.text_map("inclusion");
  // Both spellings are in use.
  topology.affinity = in.optional_texts("affinity_key");
  for (auto& key : in.optional_texts("affinitykey")) topology.affinity.push_back(std::move(key));
  return topology;
}

ExplicitTopology read_explicit(ObjectReader& in) {
  ExplicitTopology topology;
  topology.allowed_nodes = in.texts("allowed_nodes");
  topology.preferred_nodes = in.texts("preferred_nodes");
  return topology;
}

Topology read_topology(ObjectReader& in) {
  Topology topology;
  in.optional_object("node_topology", [&](ObjectReader& nodes) {
    nodes.optional_object("explicit", [&](ObjectReader& at) { topology.explicit_nodes = read_explicit(at); });
    nodes.optional_object("labelled", [&](ObjectReader& at) { topology.nodes = read_labelled(at); });
    if (!topology.explicit_nodes && !topology.nodes) nodes.fail("", "expected explicit or labelled");
  });
  in.optional_object("pool_topology", [&](ObjectReader& pools) {
    pools.object("labelled", [&](ObjectReader& at) { topology.pools = read_labelled(at); });
  });
  return topology;
}

}  // namespace

Result<CreatePool> parse_create_pool(std::string_view body) {
  HF_TRY(const Json json, parse_json(body));
  ObjectReader in(json);
  CreatePool request;
  request.disks = in.texts("disks");
  request.labels = in.optional_text_map("labels");
  request.cluster_bytes = narrow(in.optional_number("cluster_size", u32_max));
  HF_CHECK(in.finish());
  return request;
}

Result<CreateReplica> parse_create_replica(std::string_view body) {
  HF_TRY(const Json json, parse_json(body));
  ObjectReader in(json);
  CreateReplica request;
  request.size_bytes = in.number("size");
  request.thin = in.flag("thin");
  request.share = in.optional_choice<Protocol>("share").value_or(Protocol::none);
  request.allowed_hosts = in.optional_texts("allowed-hosts");
  HF_CHECK(in.finish());
  return request;
}

Result<CreateNexus> parse_create_nexus(std::string_view body) {
  HF_TRY(const Json json, parse_json(body));
  ObjectReader in(json);
  CreateNexus request;
  request.children = in.texts("children");
  request.size_bytes = in.number("size");
  HF_CHECK(in.finish());
  return request;
}

Result<CreateVolume> parse_create_volume(std::string_view body) {
  HF_TRY(const Json json, parse_json(body));
  ObjectReader in(json);
  CreateVolume request;
  in.object("policy", [&](ObjectReader& policy) { request.self_heal = policy.flag("self_heal"); });
  request.replicas = static_cast<std::uint32_t>(in.number("replicas", u8_max));
  request.size_bytes = in.number("size");
  request.thin = in.flag("thin");
  in.optional_object("topology", [&](ObjectReader& topology) { request.topology = read_topology(topology); });
  request.labels = in.optional_text_map("labels");
  in.optional_object("affinity_group",
                     [&](ObjectReader& group) { request.affinity_group = group.text("id"); });
  request.max_snapshots = narrow(in.optional_number("max_snapshots", u32_max));
  HF_CHECK(in.finish());
  return request;
}

Result<PublishVolume> parse_publish_volume(std::string_view body) {
  HF_TRY(const Json json, parse_json(body));
  ObjectReader in(json);
  PublishVolume request;
  request.publish_context = in.text_map("publish_context");
  request.protocol = in.choice<Protocol>("protocol");
  request.node = in.optional_text("node");
  request.republish = in.optional_flag("republish").value_or(false);
  request.reuse_existing = in.optional_flag("reuse_existing").value_or(true);
  request.frontend_node = in.optional_text("frontend_node");
  HF_CHECK(in.finish());
  return request;
}

Result<std::uint64_t> parse_resize_volume(std::string_view body) {
  HF_TRY(const Json json, parse_json(body));
  ObjectReader in(json);
  const std::uint64_t size = in.number("size");
  HF_CHECK(in.finish());
  return size;
}

Result<std::uint32_t> parse_volume_property(std::string_view body) {
  HF_TRY(const Json json, parse_json(body));
  ObjectReader in(json);
  const auto max_snapshots = static_cast<std::uint32_t>(in.number("max_snapshots", u32_max));
  HF_CHECK(in.finish());
  return max_snapshots;
}

Result<AppNodeSpec> parse_register_app_node(std::string_view body) {
  HF_TRY(const Json json, parse_json(body));
  ObjectReader in(json);
  AppNodeSpec spec;
  spec.endpoint = in.text("endpoint");
  spec.labels = in.optional_text_map("labels");
  HF_CHECK(in.finish());
  return spec;
}

Result<MoveReplica> parse_move_replica(std::string_view body) {
  HF_TRY(const Json json, parse_json(body.empty() ? "{}" : body));
  ObjectReader in(json);
  MoveReplica request;
  request.pool = in.optional_text("pool");
  HF_CHECK(in.finish());
  return request;
}

Result<AdoptRequest> parse_adopt(std::string_view body) {
  HF_TRY(const Json json, parse_json(body));
  ObjectReader in(json);
  AdoptRequest request;
  request.dry_run = in.flag("dry_run");
  request.skip_conflicts = in.optional_flag("skip_conflicts").value_or(false);
  for (const std::string& text : in.optional_texts("take")) {
    auto replica = Uuid::parse(text);
    if (!replica.ok()) {
      in.fail("take", fmt::format("expected UUIDs of replicas, got '{:.60}'", text));
      break;
    }
    request.take.push_back(replica.value());
  }
  HF_CHECK(in.finish());
  return request;
}

}  // namespace holdfast::control::rest
