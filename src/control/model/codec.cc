#include "control/model/codec.h"

#include <algorithm>
#include <concepts>
#include <type_traits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace holdfast::control {
namespace {

using Json = nlohmann::json;

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;

// fields(v, spec) tells every field of a spec to v: the one description that writing and reading share.
template <class V, class Op>
void fields(V& v, Pending<Op>& s) {
  v("operation", s.operation), v("result", s.result);
}
template <class V>
void fields(V& v, NodeFeatures& s) {
  v("ana", s.ana), v("logical_volume_manager", s.logical_volume_manager);
  v("snapshot_rebuild", s.snapshot_rebuild), v("rdma", s.rdma), v("rebuilds_ancestry", s.rebuilds_ancestry);
}
template <class V>
void fields(V& v, Drain& s) {
  v("replicas", s.replicas);
}
template <class V>
void fields(V& v, NodeSpec& s) {
  v("id", s.id), v("grpc_endpoint", s.grpc_endpoint), v("labels", s.labels), v("nqn", s.nqn);
  v("version", s.version), v("features", s.features), v("cordons", s.cordons), v("drains", s.drains);
  v("drained", s.drained), v("draining_since", s.draining_since);
}
template <class V>
void fields(V& v, PoolSpec& s) {
  v("id", s.id), v("node", s.node), v("disks", s.disks), v("labels", s.labels);
  v("cluster_bytes", s.cluster_bytes), v("status", s.status), v("operation", s.operation);
  v("cordons", s.cordons), v("evacuating", s.evacuating), v("unsure_until", s.unsure_until);
}
template <class V>
void fields(V& v, ReplicaOwners& s) {
  v("volume", s.volume), v("nexuses", s.nexuses);
}
template <class V>
void fields(V& v, ReplicaFill& s) {
  v("since", s.since), v("begun", s.begun);
}
template <class V>
void fields(V& v, ReplicaSpec& s) {
  v("uuid", s.uuid), v("size_bytes", s.size_bytes), v("pool", s.pool), v("pool_uuid", s.pool_uuid);
  v("thin", s.thin), v("share", s.share), v("allowed_hosts", s.allowed_hosts), v("managed", s.managed);
  v("owners", s.owners), v("clone_of", s.clone_of), v("kind", s.kind), v("status", s.status);
  v("released_by", s.released_by), v("unsure_until", s.unsure_until), v("operation", s.operation);
  v("fill", s.fill), v("in_sync_through", s.in_sync_through);
}
template <class V>
void fields(V& v, NexusChildSpec& s) {
  v("uri", s.uri), v("replica", s.replica);
}
template <class V>
void fields(V& v, ControllerIds& s) {
  v("min", s.min), v("max", s.max);
}
template <class V>
void fields(V& v, NexusSpec& s) {
  v("uuid", s.uuid), v("name", s.name), v("node", s.node), v("size_bytes", s.size_bytes);
  v("children", s.children), v("share", s.share), v("allowed_hosts", s.allowed_hosts), v("owner", s.owner);
  v("reservation_key", s.reservation_key), v("controller_ids", s.controller_ids), v("shut_down", s.shut_down);
  v("status", s.status), v("unsure_until", s.unsure_until), v("operation", s.operation);
}
template <class V>
void fields(V& v, LabelledTopology& s) {
  v("exclusion", s.exclusion), v("inclusion", s.inclusion), v("affinity", s.affinity);
}
template <class V>
void fields(V& v, ExplicitTopology& s) {
  v("allowed_nodes", s.allowed_nodes), v("preferred_nodes", s.preferred_nodes);
}
template <class V>
void fields(V& v, Topology& s) {
  v("explicit_nodes", s.explicit_nodes), v("nodes", s.nodes), v("pools", s.pools);
}
template <class V>
void fields(V& v, FrontendNode& s) {
  v("name", s.name), v("nqn", s.nqn);
}
template <class V>
void fields(V& v, VolumeTarget& s) {
  v("node", s.node), v("nexus", s.nexus), v("protocol", s.protocol), v("frontends", s.frontends);
}
template <class V>
void fields(V& v, ContentSource& s) {
  v("snapshot", s.snapshot), v("volume", s.volume);
}
template <class V>
void fields(V& v, PendingVolumeOp& s) {
  v("operation", s.operation), v("result", s.result), v("size_bytes", s.size_bytes);
  v("replicas", s.replicas), v("nexus", s.nexus);
}
template <class V>
void fields(V& v, ReplicaMove& s) {
  v("from", s.from), v("pool", s.pool), v("to", s.to);
}
template <class V>
void fields(V& v, VolumeSpec& s) {
  v("uuid", s.uuid), v("size_bytes", s.size_bytes), v("num_replicas", s.num_replicas);
  v("self_heal", s.self_heal), v("thin", s.thin), v("as_thin", s.as_thin), v("labels", s.labels);
  v("topology", s.topology), v("affinity_group", s.affinity_group), v("content_source", s.content_source);
  v("max_snapshots", s.max_snapshots), v("target", s.target), v("repair", s.repair),
      v("publish_context", s.publish_context);
  v("publish_count", s.publish_count), v("moves", s.moves), v("status", s.status);
  v("operation", s.operation);
}
template <class V>
void fields(V& v, ReplicaSnapshotSpec& s) {
  v("uuid", s.uuid), v("replica", s.replica), v("pool", s.pool), v("pool_uuid", s.pool_uuid);
  v("status", s.status), v("unsure_until", s.unsure_until);
}
template <class V>
void fields(V& v, SnapshotSpec& s) {
  v("uuid", s.uuid), v("volume", s.volume), v("status", s.status), v("size_bytes", s.size_bytes);
  v("taken", s.taken), v("transaction", s.transaction), v("transactions", s.transactions);
}
template <class V>
void fields(V& v, AppNodeSpec& s) {
  v("id", s.id), v("endpoint", s.endpoint), v("labels", s.labels);
}

class Writer {
 public:
  template <class T>
  void operator()(const char* field, T& value) {
    if constexpr (is_optional<T>) {
      if (value) out_[field] = json_of(*value);
    } else {
      out_[field] = json_of(value);
    }
  }
  template <class T>
  static Json object(const T& value) {
    Writer w;
    fields(w, const_cast<T&>(value));  // a Writer only reads
    return std::move(w.out_);
  }

 private:
  template <class T>
  static Json json_of(const T& value) {
    if constexpr (Named<T>) {
      return Json(name(value));
    } else if constexpr (std::is_same_v<T, Uuid>) {
      return Json(value.to_string());
    } else if constexpr (std::is_arithmetic_v<T> || std::is_same_v<T, std::string>) {
      return Json(value);
    } else if constexpr (requires { typename T::mapped_type; }) {
      Json all = Json::object();
      for (const auto& [key, one] : value) all[key] = json_of(one);
      return all;
    } else if constexpr (requires { value.begin(); }) {
      Json all = Json::array();
      for (const auto& one : value) all.push_back(json_of(one));
      return all;
    } else {
      return object(value);
    }
  }
  Json out_ = Json::object();
};

// Keeps the first thing that is wrong.
class Reader {
 public:
  explicit Reader(const Json& in, std::string path) : in_(in), path_(std::move(path)) {}

  template <class T>
  void operator()(const char* field, T& value) {
    if (!wrong_.empty()) return;
    const auto found = in_.find(field);
    if (found == in_.end() || found->is_null()) return;
    wrong_ = read(*found, path_.empty() ? field : path_ + "." + field, value);
  }
  std::string wrong() && { return std::move(wrong_); }

  // What is wrong, or nothing.
  template <class T>
  static std::string read(const Json& in, const std::string& path, T& out) {
    if constexpr (is_optional<T>) {
      out.emplace();
      return read(in, path, *out);
    } else if constexpr (Named<T>) {
      const auto parsed = in.is_string() ? parse_name<T>(in.get_ref<const std::string&>()) : std::nullopt;
      if (!parsed) return fmt::format("{} is {}, which is no name for it", path, shown(in));
      out = *parsed;
      return {};
    } else if constexpr (std::is_same_v<T, Uuid>) {
      if (!in.is_string()) return fmt::format("{} is {}, not a UUID", path, shown(in));
      auto parsed = Uuid::parse(in.get_ref<const std::string&>());
      if (!parsed.ok()) return fmt::format("{}: {}", path, parsed.error().message());
      out = parsed.value();
      return {};
    } else if constexpr (std::is_same_v<T, bool>) {
      if (!in.is_boolean()) return fmt::format("{} is {}, not true or false", path, shown(in));
      out = in.get<bool>();
      return {};
    } else if constexpr (std::integral<T>) {
      return read_number(in, path, out);
    } else if constexpr (std::is_same_v<T, std::string>) {
      if (!in.is_string()) return fmt::format("{} is {}, not a text", path, shown(in));
      out = in.get<std::string>();
      return {};
    } else if constexpr (requires { typename T::mapped_type; }) {
      return read_map(in, path, out);
    } else if constexpr (requires { out.begin(); }) {
      return read_list(in, path, out);
    } else {
      if (!in.is_object()) return fmt::format("{} is {}, not an object", path, shown(in));
      Reader r(in, path);
      fields(r, out);
      return std::move(r).wrong();
    }
  }

 private:
  static std::string shown(const Json& in) {
    if (in.is_structured()) return in.is_array() ? "a list" : "an object";  // however deep
    return fmt::format("{:.60}", in.dump(-1, ' ', true, Json::error_handler_t::replace));
  }
  template <class T>
  static std::string read_number(const Json& in, const std::string& path, T& out) {
    const bool fits = in.is_number_unsigned()
                          ? std::in_range<T>(in.get<std::uint64_t>())
                          : in.is_number_integer() && std::in_range<T>(in.get<std::int64_t>());
    if (!fits) return fmt::format("{} is {}, not a whole number in range", path, shown(in));
    out = in.is_number_unsigned() ? static_cast<T>(in.get<std::uint64_t>())
                                  : static_cast<T>(in.get<std::int64_t>());
    return {};
  }
  template <class T>
  static std::string read_map(const Json& in, const std::string& path, T& out) {
    if (!in.is_object()) return fmt::format("{} is {}, not an object", path, shown(in));
    for (const auto& [key, value] : in.items()) {
      auto wrong = read(value, fmt::format("{}.{:.60}", path, key), out[key]);
      if (!wrong.empty()) return wrong;
    }
    return {};
  }
  template <class T>
  static std::string read_list(const Json& in, const std::string& path, T& out) {
    if (!in.is_array()) return fmt::format("{} is {}, not a list", path, shown(in));
    for (std::size_t i = 0; i < in.size(); ++i) {
      typename T::value_type one{};
      auto wrong = read(in[i], fmt::format("{}[{}]", path, i), one);
      if (!wrong.empty()) return wrong;
      out.insert(out.end(), std::move(one));
    }
    return {};
  }

  const Json& in_;
  std::string path_;
  std::string wrong_;
};

template <class Spec>
std::string write(const Spec& spec) {
  Json json = Writer::object(spec);
  json["schema"] = spec_schema;
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Copying and writing a tree is recursive.
bool is_deeper(const Json& json, int levels) {
  if (!json.is_structured()) return false;
  return levels == 0 || std::any_of(json.begin(), json.end(),
                                    [levels](const Json& one) { return is_deeper(one, levels - 1); });
}

Error bad(std::string_view key, std::string_view what) {
  return Error(Errc::bad_format, fmt::format("record {}: {}", key, what));
}

Result<Json> parse_object(std::string_view key, std::string_view text) {
  if (text.size() > spec_bytes_max) {
    return bad(key, fmt::format("{} bytes, at most {} are expected", text.size(), spec_bytes_max));
  }
  Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) return bad(key, "not JSON");
  if (!json.is_object()) return bad(key, "not a JSON object");
  return json;
}

template <class Spec>
Result<Spec> read_spec(std::string_view key, std::string_view text) {
  HF_TRY(const Json json, parse_object(key, text));
  int schema = 0;
  const auto found = json.find("schema");
  if (found != json.end()) {
    auto wrong = Reader::read(*found, "schema", schema);
    if (!wrong.empty()) return bad(key, wrong);
  }
  if (schema < 1) return bad(key, "it has no schema version");
  if (schema > spec_schema) {
    return bad(key, fmt::format("schema {} is newer than this agent, which knows {}: upgrade the agent",
                                schema, spec_schema));
  }
  Spec spec;
  auto wrong = Reader::read(json, "", spec);
  if (!wrong.empty()) return bad(key, wrong);
  return spec;
}

}  // namespace

std::string to_json(const NodeSpec& spec) { return write(spec); }
std::string to_json(const PoolSpec& spec) { return write(spec); }
std::string to_json(const ReplicaSpec& spec) { return write(spec); }
std::string to_json(const NexusSpec& spec) { return write(spec); }
std::string to_json(const VolumeSpec& spec) { return write(spec); }
std::string to_json(const SnapshotSpec& spec) { return write(spec); }
std::string to_json(const AppNodeSpec& spec) { return write(spec); }

template <>
Result<NodeSpec> parse_spec(std::string_view key, std::string_view json) {
  return read_spec<NodeSpec>(key, json);
}
template <>
Result<PoolSpec> parse_spec(std::string_view key, std::string_view json) {
  return read_spec<PoolSpec>(key, json);
}
template <>
Result<ReplicaSpec> parse_spec(std::string_view key, std::string_view json) {
  return read_spec<ReplicaSpec>(key, json);
}
template <>
Result<NexusSpec> parse_spec(std::string_view key, std::string_view json) {
  return read_spec<NexusSpec>(key, json);
}
template <>
Result<VolumeSpec> parse_spec(std::string_view key, std::string_view json) {
  return read_spec<VolumeSpec>(key, json);
}
template <>
Result<SnapshotSpec> parse_spec(std::string_view key, std::string_view json) {
  return read_spec<SnapshotSpec>(key, json);
}
template <>
Result<AppNodeSpec> parse_spec(std::string_view key, std::string_view json) {
  return read_spec<AppNodeSpec>(key, json);
}

std::string first_membership(const std::vector<Uuid>& replicas) {
  Membership first;
  first.clean_shutdown = true;
  first.epoch = 1;
  for (const Uuid& r : replicas) first.members.push_back({r, true});
  return to_json(first);
}

std::string to_json(const Membership& membership) {
  Json children = Json::array();
  for (const auto& m : membership.members) {
    children.push_back(
        {{"uuid", m.replica.to_string()}, {"healthy", m.healthy}, {"in_sync_through", m.in_sync_through}});
  }
  Json record{
      {"clean_shutdown", membership.clean_shutdown}, {"epoch", membership.epoch}, {"children", children}};
  if (!membership.owner.is_nil()) record["owner"] = membership.owner.to_string();
  return record.dump();
}

Result<std::string> membership_without(std::string_view key, std::string_view text, const Uuid& replica) {
  HF_TRY(Json json, parse_object(key, text));
  if (is_deeper(json, 8)) return bad(key, "it nests too deeply");
  const auto children = json.find("children");
  if (children == json.end() || !children->is_array()) return bad(key, "it has no list of children");
  Json kept = Json::array();
  for (const Json& child : *children) {
    const auto id = child.is_object() ? child.find("uuid") : child.end();
    const bool leaves = child.is_object() && id != child.end() && *id == replica.to_string();
    if (!leaves) kept.push_back(child);
  }
  *children = std::move(kept);
  // As at every change: of two records of one epoch nobody could tell which is the newer one.
  Json& epoch = json["epoch"];
  epoch = (epoch.is_number_unsigned() ? epoch.get<std::uint64_t>() : std::uint64_t{0}) + 1;
  return json.dump();
}

Result<Membership> parse_membership(std::string_view key, std::string_view text) {
  HF_TRY(const Json json, parse_object(key, text));
  Membership m;
  Reader head(json, "");
  head("clean_shutdown", m.clean_shutdown);
  head("epoch", m.epoch);
  head("owner", m.owner);
  auto wrong = std::move(head).wrong();
  if (!wrong.empty()) return bad(key, wrong);
  const auto children = json.find("children");
  if (children == json.end() || !children->is_array()) return bad(key, "it has no list of children");
  for (std::size_t i = 0; i < children->size(); ++i) {
    const Json& child = (*children)[i];
    if (!child.is_object()) return bad(key, fmt::format("children[{}] is no object", i));
    const auto id = child.find("uuid");
    // What is not a UUID is a child that is no replica of ours.
    auto uuid =
        id != child.end() && id->is_string() ? Uuid::parse(id->get_ref<const std::string&>()) : Uuid();
    if (!uuid.ok() || uuid.value().is_nil()) continue;
    Membership::Member member{uuid.value()};
    Reader r(child, fmt::format("children[{}]", i));
    r("healthy", member.healthy);
    r("in_sync_through", member.in_sync_through);
    wrong = std::move(r).wrong();
    if (!wrong.empty()) return bad(key, wrong);
    m.members.push_back(member);
  }
  return m;
}

}  // namespace holdfast::control
