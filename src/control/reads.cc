// What is shown: specs joined with states, in parts.
#include <algorithm>

#include <fmt/format.h>

#include "control/agent.h"
#include "control/plan/status.h"

namespace holdfast::control {
namespace {

// An app node tells of itself every five minutes.
constexpr Nanos app_node_deadline = 11min;

template <class Map, class Key>
auto find_in(const Map& map, const Key& key) -> std::optional<typename Map::mapped_type> {
  const auto found = map.find(key);
  if (found == map.end()) return std::nullopt;
  return found->second;
}

}  // namespace

// ---- nodes

std::vector<NodeView> Agent::nodes() const {
  std::vector<NodeView> all;
  for (const auto& [id, spec] : specs().nodes) all.push_back({id, spec, find_in(observed().nodes, id)});
  return all;
}

Result<NodeView> Agent::node(NodeId id) const {
  HF_TRY(const NodeSpec spec, find_node(id));
  return NodeView{id, spec, find_in(observed().nodes, id)};
}

// ---- pools

PoolView Agent::pool_view(const PoolId& id) const {
  PoolView view{id, find_in(specs().pools, id), find_in(observed().pools, id)};
  if (view.state && !observed().node_online(view.state->node)) view.state.reset();
  return view;
}

std::vector<PoolView> Agent::pools() const {
  std::vector<PoolView> all;
  for (const auto& [id, spec] : specs().pools) all.push_back(pool_view(id));
  for (const auto& [id, state] : observed().pools) {
    if (!specs().pools.contains(id)) all.push_back(pool_view(id));
  }
  return all;
}

std::vector<PoolView> Agent::pools_of_node(const NodeId& node) const {
  std::vector<PoolView> all = pools();
  std::erase_if(all, [&](const PoolView& p) {
    return (p.spec ? p.spec->node : p.state ? p.state->node : "") != node;
  });
  return all;
}

std::vector<PoolView> Agent::pools_of_volume(const Uuid& volume) const {
  std::vector<PoolView> all;
  for (const ReplicaSpec* r : cluster().replicas(volume)) all.push_back(pool_view(r->pool));
  return all;
}

Result<PoolView> Agent::pool(PoolId id) const {
  PoolView view = pool_view(id);
  if (!view.spec && !view.state) return refusal(Kind::not_found, fmt::format("pool {} does not exist", id));
  return view;
}

// ---- replicas and nexuses

ReplicaView Agent::replica_view(const Uuid& id) const {
  ReplicaView view{id, find_in(specs().replicas, id), find_in(observed().replicas, id)};
  if (view.state && !observed().node_online(view.state->node)) view.state->status = ReplicaStatus::unknown;
  return view;
}

std::vector<ReplicaView> Agent::replicas() const {
  std::vector<ReplicaView> all;
  for (const auto& [id, spec] : specs().replicas) all.push_back(replica_view(id));
  for (const auto& [id, state] : observed().replicas) {
    if (!specs().replicas.contains(id)) all.push_back(replica_view(id));
  }
  return all;
}

std::vector<ReplicaView> Agent::replicas_of_node(const NodeId& node) const {
  std::vector<ReplicaView> all = replicas();
  std::erase_if(all, [&](const ReplicaView& r) {
    const auto pool = r.spec ? specs().pools.find(r.spec->pool) : specs().pools.end();
    const bool here =
        (r.state && r.state->node == node) || (pool != specs().pools.end() && pool->second.node == node);
    return !here;
  });
  return all;
}

std::vector<ReplicaView> Agent::replicas_of_pool(const PoolId& pool) const {
  std::vector<ReplicaView> all = replicas();
  std::erase_if(all, [&](const ReplicaView& r) {
    return !((r.spec && r.spec->pool == pool) || (r.state && r.state->pool == pool));
  });
  return all;
}

Result<ReplicaView> Agent::replica(Uuid id) const {
  ReplicaView view = replica_view(id);
  if (view.spec || view.state) return view;
  return refusal(Kind::not_found, fmt::format("replica {} does not exist", id.to_string()));
}

NexusView Agent::nexus_view(const Uuid& id) const {
  NexusView view{id, find_in(specs().nexuses, id), find_in(observed().nexuses, id)};
  if (view.state && !observed().node_online(view.state->node)) view.state->status = NexusStatus::unknown;
  return view;
}

// The spec of one that is gone stays while a request for it may still be on its way, which concerns nobody else.
bool Agent::only_guarded(const NexusSpec& spec) const {
  return spec.status == SpecStatus::deleting && !observed().nexuses.contains(spec.uuid) &&
         observed().node_known(spec.node);
}

std::vector<NexusView> Agent::nexuses() const {
  std::vector<NexusView> all;
  for (const auto& [id, spec] : specs().nexuses) {
    if (!only_guarded(spec)) all.push_back(nexus_view(id));
  }
  for (const auto& [id, state] : observed().nexuses) {
    if (!specs().nexuses.contains(id)) all.push_back(nexus_view(id));
  }
  return all;
}

std::vector<NexusView> Agent::nexuses_of_node(const NodeId& node) const {
  std::vector<NexusView> all = nexuses();
  std::erase_if(all, [&](const NexusView& n) {
    return (n.spec ? n.spec->node : n.state ? n.state->node : "") != node;
  });
  return all;
}

Result<NexusView> Agent::nexus(Uuid id) const {
  NexusView view = nexus_view(id);
  if (view.state || (view.spec && !only_guarded(*view.spec))) return view;
  return refusal(Kind::not_found, fmt::format("nexus {} does not exist", id.to_string()));
}

// ---- pages

namespace {

template <class Spec>
const Spec* spec_of(const ById<Spec>& specs, const std::string& id) {
  const auto uuid = Uuid::parse(id);
  const auto found = uuid.ok() ? specs.find(uuid.value()) : specs.end();
  return found == specs.end() ? nullptr : &found->second;
}
template <class Spec>
const Spec* spec_of(const std::map<std::string, Spec>& specs, const std::string& id) {
  const auto found = specs.find(id);
  return found == specs.end() ? nullptr : &found->second;
}

// `make` gives the view of a spec, or nothing for one that is not asked for.
template <class View, class Specs, class Make>
Page<View> page_of(const CreationOrder& order, const Specs& specs, const PageRequest& request,
                   const Make& make) {
  Page<View> page;
  std::uint64_t skip = request.starting_token >= stable_tokens_from ? 0 : request.starting_token;
  std::uint64_t last = 0;
  for (auto at = order.after(request.starting_token); at != order.places().end(); ++at) {
    const auto* spec = spec_of(specs, at->id);
    if (spec == nullptr || !make.wants(*spec)) continue;
    if (skip > 0) {
      --skip;
      continue;
    }
    const std::uint64_t token = CreationOrder::token_of(*at);
    // Those that one token stands for stay together.
    if (request.max_entries != 0 && page.entries.size() >= request.max_entries && token != last) {
      page.next = last;
      break;
    }
    page.entries.push_back(make.view(*spec));
    last = token;
  }
  return page;
}

// What page_of() makes views with.
template <class Wants, class View>
struct Maker {
  Wants wants;
  View view;
};
template <class Wants, class View>
Maker(Wants, View) -> Maker<Wants, View>;

constexpr auto every_one = [](const auto&) { return true; };

}  // namespace

Page<VolumeView> Agent::volumes(PageRequest request) const {
  const Cluster now = cluster();
  const Maker make{every_one, [&](const VolumeSpec& v) {
                     const auto snapshots = static_cast<std::uint32_t>(now.snapshots(v.uuid).size());
                     return VolumeView{v, volume_state(now, v), snapshots};
                   }};
  return page_of<VolumeView>(registry_.volumes_in_order(), specs().volumes, request, make);
}

Tally Agent::tally() const {
  Tally tally;
  const Cluster now = cluster();
  for (const auto& [id, v] : specs().volumes) {
    const VolumeState state = volume_state(now, v);
    ++tally.volumes[state.status];
    tally.volumes_published += v.target ? 1 : 0;
    tally.volume_bytes += v.size_bytes;
    const VolumeTarget* server = v.server();
    const NexusState* nexus = server != nullptr ? now.known_nexus(server->nexus) : nullptr;
    tally.rebuilds += nexus != nullptr ? nexus->rebuilds : 0;
  }
  for (const auto& [id, state] : observed().replicas)
    ++tally.replicas[observed().node_online(state.node) ? state.status : ReplicaStatus::unknown];
  for (const auto& [id, spec] : specs().replicas) {
    if (!observed().replicas.contains(id)) ++tally.replicas[ReplicaStatus::unknown];
  }
  return tally;
}

Result<VolumeView> Agent::volume(Uuid id) const {
  HF_TRY(VolumeSpec spec, find_volume(id));
  const Cluster now = cluster();
  VolumeState state = volume_state(now, specs().volumes.at(id));
  return VolumeView{std::move(spec), std::move(state), static_cast<std::uint32_t>(now.snapshots(id).size())};
}

SnapshotView Agent::snapshot_view(const SnapshotSpec& spec) const {
  SnapshotView view;
  view.spec = spec;
  const Cluster now = cluster();
  const auto restores = now.index.restores_of_snapshot.find(spec.uuid);
  if (restores != now.index.restores_of_snapshot.end())
    view.num_restores = static_cast<std::uint32_t>(restores->second);
  for (const auto& part : spec.parts()) {
    const auto seen = observed().snapshots.find(part.uuid);
    if (seen == observed().snapshots.end() || !observed().node_online(seen->second.node)) continue;
    view.parts.push_back(seen->second);
    view.allocated_bytes = std::max(view.allocated_bytes, seen->second.allocated_bytes);
  }
  for (const SnapshotSpec* older : now.snapshots(spec.volume)) {
    if (older->taken > spec.taken) continue;
    std::uint64_t most = 0;
    for (const auto& part : older->parts()) {
      const auto seen = observed().snapshots.find(part.uuid);
      if (seen != observed().snapshots.end()) most = std::max(most, seen->second.allocated_bytes);
    }
    view.total_allocated_bytes += most;
  }
  return view;
}

Page<SnapshotView> Agent::snapshots(std::optional<Uuid> snapshot, std::optional<Uuid> volume,
                                    PageRequest request) const {
  const Maker make{[&](const SnapshotSpec& s) {
                     return (!snapshot || *snapshot == s.uuid) && (!volume || *volume == s.volume);
                   },
                   [&](const SnapshotSpec& s) { return snapshot_view(s); }};
  return page_of<SnapshotView>(registry_.snapshots_in_order(), specs().snapshots, request, make);
}

Result<SnapshotView> Agent::snapshot(Uuid id, std::optional<Uuid> volume) const {
  HF_TRY(const SnapshotSpec spec, find_snapshot(id, volume));
  return snapshot_view(spec);
}

Page<AppNodeView> Agent::app_nodes(PageRequest request) const {
  const Maker make{every_one, [&](const AppNodeSpec& a) {
                     const auto seen = app_nodes_seen_.find(a.id);
                     const bool online =
                         seen != app_nodes_seen_.end() && home_.now() - seen->second < app_node_deadline;
                     return AppNodeView{a, online};
                   }};
  return page_of<AppNodeView>(registry_.app_nodes_in_order(), specs().app_nodes, request, make);
}

Result<AppNodeView> Agent::app_node(std::string id) const {
  const auto found = specs().app_nodes.find(id);
  if (found == specs().app_nodes.end()) {
    return refusal(Kind::not_found, fmt::format("app node {} is not registered", id));
  }
  const auto seen = app_nodes_seen_.find(id);
  return AppNodeView{found->second,
                     seen != app_nodes_seen_.end() && home_.now() - seen->second < app_node_deadline};
}

}  // namespace holdfast::control
