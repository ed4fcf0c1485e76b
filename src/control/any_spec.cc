#include "control/any_spec.h"

#include <utility>

#include <fmt/format.h>

#include "control/model/codec.h"

namespace holdfast::control {
namespace {

template <class Spec>
struct KindOf;
template <>
struct KindOf<NodeSpec> {
  static constexpr const char* name = "node";
  static std::string id(const NodeSpec& s) { return s.id; }
  static auto& in(Specs& all) { return all.nodes; }
};
template <>
struct KindOf<PoolSpec> {
  static constexpr const char* name = "pool";
  static std::string id(const PoolSpec& s) { return s.id; }
  static auto& in(Specs& all) { return all.pools; }
};
template <>
struct KindOf<ReplicaSpec> {
  static constexpr const char* name = "replica";
  static std::string id(const ReplicaSpec& s) { return s.uuid.to_string(); }
  static auto& in(Specs& all) { return all.replicas; }
};
template <>
struct KindOf<NexusSpec> {
  static constexpr const char* name = "nexus";
  static std::string id(const NexusSpec& s) { return s.uuid.to_string(); }
  static auto& in(Specs& all) { return all.nexuses; }
};
template <>
struct KindOf<VolumeSpec> {
  static constexpr const char* name = "volume";
  static std::string id(const VolumeSpec& s) { return s.uuid.to_string(); }
  static auto& in(Specs& all) { return all.volumes; }
};
template <>
struct KindOf<SnapshotSpec> {
  static constexpr const char* name = "snapshot";
  static std::string id(const SnapshotSpec& s) { return s.uuid.to_string(); }
  static auto& in(Specs& all) { return all.snapshots; }
};
template <>
struct KindOf<AppNodeSpec> {
  static constexpr const char* name = "app_node";
  static std::string id(const AppNodeSpec& s) { return s.id; }
  static auto& in(Specs& all) { return all.app_nodes; }
};

// The key of a spec in Specs: its UUID where it has one.
template <class Spec>
auto map_key(const Spec& s) {
  if constexpr (requires { s.uuid; }) {
    return s.uuid;
  } else {
    return s.id;
  }
}

// Those that others refer to are in the index; the rest is looked up by name.
template <class Spec>
constexpr bool is_indexed = requires(Index& index, const Spec& s) {
  index.add(s);
};

template <class Spec>
void erase_one(Specs& all, Index& index, News& news, const Spec& gone) {
  auto& map = KindOf<Spec>::in(all);
  const auto found = map.find(map_key(gone));
  if (found == map.end()) return;
  news.of(found->second);
  if constexpr (is_indexed<Spec>) index.remove(found->second);
  map.erase(found);
}

template <class Spec>
void insert_one(Specs& all, Index& index, News& news, Spec spec) {
  const auto [at, is_new] = KindOf<Spec>::in(all).try_emplace(map_key(spec));
  if (!is_new) news.of(at->second);
  news.of(spec);
  if constexpr (is_indexed<Spec>) {
    if (!is_new) index.remove(at->second);
  }
  at->second = std::move(spec);
  if constexpr (is_indexed<Spec>) index.add(at->second);
}

template <class Spec>
Result<AnySpec> parse_as(const std::string& key, const std::string& id, const std::string& value) {
  HF_TRY(Spec spec, parse_spec<Spec>(key, value));
  if (KindOf<Spec>::id(spec) != id)
    return Error(Errc::bad_format, fmt::format("record {} is of another id", key));
  return AnySpec(std::move(spec));
}

// One that has this id and nothing else.
template <class Spec>
std::optional<AnySpec> only_id(const std::string& id) {
  Spec spec;
  if constexpr (requires { spec.uuid; }) {
    auto uuid = Uuid::parse(id);
    if (!uuid.ok()) return std::nullopt;
    spec.uuid = uuid.value();
  } else {
    spec.id = id;
  }
  return spec;
}

}  // namespace

std::string kind_and_id(const AnySpec& any) {
  return std::visit(
      []<class S>(const S& s) { return fmt::format("{}/{}", KindOf<S>::name, KindOf<S>::id(s)); }, any);
}

std::string json_of(const AnySpec& any) {
  return std::visit([](const auto& s) { return to_json(s); }, any);
}

Result<std::optional<AnySpec>> parse_any(const std::string& key, const std::string& kind,
                                         const std::string& id, const std::string& value) {
  const auto as = [](Result<AnySpec> parsed) -> Result<std::optional<AnySpec>> {
    if (!parsed.ok()) return parsed.error();
    return std::optional<AnySpec>(std::move(parsed).value());
  };
  if (kind == "node") return as(parse_as<NodeSpec>(key, id, value));
  if (kind == "pool") return as(parse_as<PoolSpec>(key, id, value));
  if (kind == "replica") return as(parse_as<ReplicaSpec>(key, id, value));
  if (kind == "nexus") return as(parse_as<NexusSpec>(key, id, value));
  if (kind == "volume") return as(parse_as<VolumeSpec>(key, id, value));
  if (kind == "snapshot") return as(parse_as<SnapshotSpec>(key, id, value));
  if (kind == "app_node") return as(parse_as<AppNodeSpec>(key, id, value));
  return std::optional<AnySpec>();  // somebody else's
}

std::optional<AnySpec> only_id(const std::string& kind, const std::string& id) {
  if (kind == "node") return only_id<NodeSpec>(id);
  if (kind == "pool") return only_id<PoolSpec>(id);
  if (kind == "replica") return only_id<ReplicaSpec>(id);
  if (kind == "nexus") return only_id<NexusSpec>(id);
  if (kind == "volume") return only_id<VolumeSpec>(id);
  if (kind == "snapshot") return only_id<SnapshotSpec>(id);
  if (kind == "app_node") return only_id<AppNodeSpec>(id);
  return std::nullopt;  // somebody else's
}

void insert(Specs& all, Index& index, News& news, AnySpec any) {
  std::visit([&]<class S>(S& s) { insert_one(all, index, news, std::move(s)); }, any);
}

void erase(Specs& all, Index& index, News& news, const AnySpec& any) {
  std::visit([&]<class S>(const S& s) { erase_one(all, index, news, s); }, any);
}

}  // namespace holdfast::control
