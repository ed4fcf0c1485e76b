#include "control/rest/testing/plain_service.h"

#include <utility>

#include <fmt/format.h>

#include "control/model/kind.h"

namespace holdfast::control::rest::testing {
namespace {

constexpr UnixNanos some_time = 1'700'000'000'123'456'789;
constexpr std::uint64_t gib = std::uint64_t{1} << 30;

Uuid uuid(const char* text) { return Uuid::parse(text).value(); }

Error unknown(std::string_view what, std::string_view id) {
  return refusal(Kind::not_found, fmt::format("{} {} does not exist", what, id));
}

template <class Map, class Key>
const typename Map::mapped_type* look_up(const Map& map, const Key& key) {
  const auto found = map.find(key);
  return found == map.end() ? nullptr : &found->second;
}

template <class Map, class Key>
std::optional<typename Map::mapped_type> copy_of(const Map& map, const Key& key) {
  const auto* found = look_up(map, key);
  return found == nullptr ? std::nullopt : std::optional(*found);
}

template <class T>
Page<T> page_of(std::vector<T> all, PageRequest request) {
  Page<T> page;
  const std::uint64_t count = all.size();
  const std::uint64_t first = std::min(request.starting_token, count);
  const std::uint64_t room = request.max_entries == 0 ? count : request.max_entries;
  const std::uint64_t last = count - first > room ? first + room : count;
  for (std::uint64_t i = first; i < last; ++i) page.entries.push_back(std::move(all[i]));
  if (last < count) page.next = last;
  return page;
}

Impact some_impact() {
  Impact impact;
  impact.pools = {pool_id};
  impact.replicas = {uuid(replica_id)};
  impact.lost_volumes = {uuid(volume_id)};
  impact.targets = {uuid(volume_id)};
  return impact;
}

BlockDeviceInfo some_device() {
  BlockDeviceInfo device;
  device.name = "/dev/sdb1";
  device.type = "partition";
  device.model = "disk";
  device.links = {"/dev/disk/by-id/x"};
  device.major = 8;
  device.size_blocks = 2048;
  device.rotational = false;
  device.partition = BlockDeviceInfo::Partition{"/dev/sdb", "p", "gpt", "t", "u", 1};
  device.filesystem = BlockDeviceInfo::Filesystem{"ext4", "label", "u", {"/mnt"}};
  return device;
}

}  // namespace

PlainService::PlainService(Reactor& home) : home_(home), events_(home) {
  fill_cluster();
  fill_volume();
  events_.add("Volume", "Create", volume_id, node_id, "volume was created");
}

void PlainService::fill_cluster() {
  NodeSpec node;
  node.id = node_id;
  node.grpc_endpoint = "10.0.0.1:10124";
  node.labels = {{"zone", "a"}};
  node.nqn = "nqn.2019-05.io.openebs:node-name:node-1";
  node.drains = {{"maintenance", {true}}};
  NodeState node_state;
  node_state.id = node_id;
  node_state.grpc_endpoint = node.grpc_endpoint;
  node_state.status = NodeStatus::online;
  specs_.nodes[node_id] = node;
  observed_.nodes[node_id] = node_state;

  PoolSpec pool;
  pool.id = pool_id;
  pool.node = node_id;
  pool.disks = {"/dev/sdb"};
  pool.status = SpecStatus::created;
  PoolState pool_state;
  pool_state.id = pool_id;
  pool_state.node = node_id;
  pool_state.disks = pool.disks;
  pool_state.capacity_bytes = 100 * gib;
  pool_state.used_bytes = 10 * gib;
  pool_state.status = PoolStatus::degraded;
  pool_state.reason = "a disk is gone";
  specs_.pools[pool_id] = pool;
  observed_.pools[pool_id] = pool_state;
  specs_.app_nodes[app_node_id] = {app_node_id, "10.0.0.9:10199", {{"zone", "a"}}};
}

void PlainService::fill_volume() {
  ReplicaState replica;
  replica.uuid = uuid(replica_id);
  replica.node = node_id;
  replica.pool = pool_id;
  replica.size_bytes = gib;
  replica.uri = child_uri;
  replica.share = Protocol::nvmf;
  replica.status = ReplicaStatus::online;
  observed_.replicas[replica.uuid] = replica;
  ReplicaSpec replica_spec;
  replica_spec.uuid = replica.uuid;
  replica_spec.pool = pool_id;
  replica_spec.owners.volume = uuid(volume_id);
  replica_spec.operation = Pending<ReplicaOp>{ReplicaOp::share, true};
  specs_.replicas[replica.uuid] = replica_spec;

  NexusState nexus;
  nexus.uuid = uuid(nexus_id);
  nexus.node = node_id;
  nexus.size_bytes = gib;
  nexus.status = NexusStatus::degraded;
  nexus.device_uri = "nvmf://10.0.0.1:8420/nqn";
  nexus.protocol = Protocol::nvmf;
  nexus.children.resize(2);
  nexus.children[0].uri = child_uri;
  nexus.children[0].status = ChildStatus::online;
  nexus.children[1].uri = "bdev:///b";
  nexus.children[1].status = ChildStatus::degraded;
  nexus.children[1].reason = ChildReason::out_of_space;
  nexus.children[1].rebuild_percent = 42;
  observed_.nexuses[nexus.uuid] = nexus;
  NexusSpec nexus_spec;
  nexus_spec.uuid = nexus.uuid;
  nexus_spec.node = node_id;
  nexus_spec.owner = uuid(volume_id);
  nexus_spec.children.push_back({child_uri, replica.uuid});
  specs_.nexuses[nexus.uuid] = nexus_spec;

  VolumeSpec volume;
  volume.uuid = uuid(volume_id);
  volume.size_bytes = gib;
  volume.num_replicas = 2;
  volume.labels = {{"a", "b"}};
  volume.topology.nodes = LabelledTopology{{{"zone", ""}}, {{"tier", "fast"}}, {"rack"}};
  volume.topology.pools = LabelledTopology{{}, {{"media", "ssd"}}, {}};
  volume.topology.explicit_nodes = ExplicitTopology{{"node-1"}, {}};
  volume.affinity_group = "group";
  volume.content_source = ContentSource{uuid(snapshot_id), uuid(volume_id)};
  volume.max_snapshots = 7;
  volume.target = VolumeTarget{node_id, nexus.uuid, Protocol::nvmf, {{"app-1", "nqn.a"}}};
  volume.moves = {{replica.uuid, "pool-2", std::nullopt}};
  volume.operation = PendingVolumeOp{VolumeOp::resize, std::nullopt, 2 * gib, std::nullopt, std::nullopt};
  specs_.volumes[volume.uuid] = volume;

  SnapshotSpec snapshot;
  snapshot.uuid = uuid(snapshot_id);
  snapshot.volume = volume.uuid;
  snapshot.status = SpecStatus::created;
  snapshot.size_bytes = gib;
  snapshot.taken = some_time;
  snapshot.transaction = "1";
  snapshot.transactions["1"] = {{uuid(snapshot_id), replica.uuid, pool_id, std::nullopt, SpecStatus::created},
                                {uuid(nexus_id), replica.uuid, pool_id, std::nullopt, SpecStatus::created}};
  specs_.snapshots[snapshot.uuid] = snapshot;
  SnapshotState part;
  part.uuid = uuid(snapshot_id);
  part.pool = pool_id;
  part.taken = some_time;
  observed_.snapshots[part.uuid] = part;
}

template <class T>
Task<Result<T>> PlainService::change(std::string what, Result<T> found) {
  last_ = std::move(what);
  const bool there = found.ok();
  if (delay_ > Nanos{0}) co_await home_.sleep(delay_);
  if (fault_) co_return *fault_;
  if (!there) co_return found.error();
  co_return std::move(found).value();
}

Task<Status> PlainService::done(std::string what, Status found) {
  last_ = std::move(what);
  const bool there = found.ok();
  if (delay_ > Nanos{0}) co_await home_.sleep(delay_);
  if (fault_) co_return *fault_;
  if (!there) co_return found.error();
  co_return Status();
}

namespace {

template <class T>
Status there(Result<T> found) {
  if (found.ok()) return Status();
  return found.error();
}

// The value, if what it is about was found.
template <class Found, class T>
Result<T> if_there(const Result<Found>& found, T value) {
  if (found.ok()) return value;
  return found.error();
}

}  // namespace

// ---- nodes

std::vector<NodeView> PlainService::nodes() const {
  return {{node_id, specs_.nodes.at(node_id), observed_.nodes.at(node_id)}};
}
Result<NodeView> PlainService::node(NodeId id) const {
  if (id != node_id) return unknown("node", id);
  return nodes().front();
}
Task<Result<NodeView>> PlainService::cordon_node(NodeId id, std::string label) {
  return change("cordon_node " + id + " " + label, node(id));
}
Task<Result<NodeView>> PlainService::uncordon_node(NodeId id, std::string label) {
  return change("uncordon_node " + id + " " + label, node(id));
}
Task<Result<NodeView>> PlainService::drain_node(NodeId id, std::string label, bool replicas) {
  return change(fmt::format("drain_node {} {} {}", id, label, replicas), node(id));
}
Task<Result<NodeView>> PlainService::label_node(NodeId id, std::string key, std::string value,
                                                bool overwrite) {
  return change(fmt::format("label_node {} {} {} {}", id, key, value, overwrite), node(id));
}
Task<Result<NodeView>> PlainService::unlabel_node(NodeId id, std::string key) {
  return change("unlabel_node " + id + " " + key, node(id));
}
Task<Status> PlainService::delete_node(NodeId id, std::optional<Purge> purge) {
  const std::string how =
      purge ? fmt::format("{} {}", purge->accept_volume_loss, purge->accept_snapshot_loss) : "empty";
  return done("delete_node " + id + " " + how, there(node(id)));
}
Result<Impact> PlainService::purge_node_impact(NodeId id) const {
  HF_CHECK(node(id));
  return some_impact();
}
Task<Result<std::vector<BlockDeviceInfo>>> PlainService::block_devices(NodeId id, bool all) {
  return change(fmt::format("block_devices {} {}", id, all),
                if_there(node(id), std::vector<BlockDeviceInfo>{some_device()}));
}
Task<Result<std::string>> PlainService::json_rpc(NodeId id, std::string method, std::string params) {
  return change("json_rpc " + id + " " + method + " " + params,
                if_there(node(id), std::string(R"({"answer":42})")));
}

// ---- pools

std::vector<PoolView> PlainService::pools() const {
  return {{pool_id, specs_.pools.at(pool_id), observed_.pools.at(pool_id)}};
}
std::vector<PoolView> PlainService::pools_of_node(const NodeId&) const { return pools(); }
std::vector<PoolView> PlainService::pools_of_volume(const Uuid&) const { return pools(); }
Result<PoolView> PlainService::pool(PoolId id) const {
  if (id != pool_id) return unknown("pool", id);
  return pools().front();
}
Task<Result<PoolView>> PlainService::create_pool(CreatePool request) {
  return change(
      fmt::format("create_pool {} {} {} {} {}", request.pool, request.node, fmt::join(request.disks, ","),
                  request.labels.size(), request.cluster_bytes.value_or(0)),
      pool(request.pool));
}
Task<Status> PlainService::delete_pool(PoolId id, std::optional<NodeId> at) {
  return done("delete_pool " + id + " " + at.value_or("-"), there(pool(id)));
}
Task<Result<PoolView>> PlainService::label_pool(PoolId id, std::string key, std::string value,
                                                bool overwrite) {
  return change(fmt::format("label_pool {} {} {} {}", id, key, value, overwrite), pool(id));
}
Task<Result<PoolView>> PlainService::unlabel_pool(PoolId id, std::string key) {
  return change("unlabel_pool " + id + " " + key, pool(id));
}
Task<Result<PoolView>> PlainService::cordon_pool(PoolId id, std::string label) {
  return change("cordon_pool " + id + " " + label, pool(id));
}
Task<Result<PoolView>> PlainService::uncordon_pool(PoolId id, std::string label) {
  return change("uncordon_pool " + id + " " + label, pool(id));
}
Task<Result<PoolView>> PlainService::evacuate_pool(PoolId id, bool on) {
  return change(fmt::format("evacuate_pool {} {}", id, on), pool(id));
}
Task<Status> PlainService::purge_pool(PoolId id, Purge purge) {
  return done(fmt::format("purge_pool {} {} {}", id, purge.accept_volume_loss, purge.accept_snapshot_loss),
              there(pool(id)));
}
Result<Impact> PlainService::purge_pool_impact(PoolId id) const {
  HF_CHECK(pool(id));
  return some_impact();
}
Task<Result<PoolView>> PlainService::grow_pool(PoolId id) { return change("grow_pool " + id, pool(id)); }

// ---- replicas

std::vector<ReplicaView> PlainService::replicas() const { return {replica(uuid(replica_id)).value()}; }
std::vector<ReplicaView> PlainService::replicas_of_node(const NodeId&) const { return replicas(); }
std::vector<ReplicaView> PlainService::replicas_of_pool(const PoolId&) const { return replicas(); }
Result<ReplicaView> PlainService::replica(Uuid id) const {
  if (look_up(specs_.replicas, id) == nullptr) return unknown("replica", id.to_string());
  return ReplicaView{id, copy_of(specs_.replicas, id), copy_of(observed_.replicas, id)};
}
Task<Result<ReplicaView>> PlainService::create_replica(CreateReplica request) {
  return change(fmt::format("create_replica {} {} {} {} {} {} {}", request.replica.to_string(), request.pool,
                            request.node.value_or("-"), request.size_bytes, request.thin, name(request.share),
                            fmt::join(request.allowed_hosts, ",")),
                replica(request.replica));
}
Task<Status> PlainService::delete_replica(Uuid id, std::optional<PoolId> pool, std::optional<NodeId> node) {
  return done(fmt::format("delete_replica {} {} {}", id.to_string(), pool.value_or("-"), node.value_or("-")),
              there(replica(id)));
}
Task<Result<std::string>> PlainService::share_replica(Uuid id, Protocol protocol,
                                                      std::vector<std::string> hosts) {
  return change(fmt::format("share_replica {} {} {}", id.to_string(), name(protocol), fmt::join(hosts, ",")),
                Result<std::string>(std::string(child_uri)));
}
Task<Status> PlainService::unshare_replica(Uuid id) {
  return done("unshare_replica " + id.to_string(), there(replica(id)));
}

// ---- nexuses

std::vector<NexusView> PlainService::nexuses() const { return {nexus(uuid(nexus_id)).value()}; }
std::vector<NexusView> PlainService::nexuses_of_node(const NodeId&) const { return nexuses(); }
Result<NexusView> PlainService::nexus(Uuid id) const {
  if (look_up(specs_.nexuses, id) == nullptr) return unknown("nexus", id.to_string());
  return NexusView{id, copy_of(specs_.nexuses, id), copy_of(observed_.nexuses, id)};
}
Task<Result<NexusView>> PlainService::create_nexus(CreateNexus request) {
  return change(fmt::format("create_nexus {} {} {} {}", request.nexus.to_string(), request.node,
                            fmt::join(request.children, ","), request.size_bytes),
                nexus(request.nexus));
}
Task<Status> PlainService::delete_nexus(Uuid id, std::optional<NodeId> node) {
  return done("delete_nexus " + id.to_string() + " " + node.value_or("-"), there(nexus(id)));
}
Task<Result<NexusView>> PlainService::add_nexus_child(Uuid id, std::optional<NodeId> node, std::string uri) {
  return change("add_nexus_child " + id.to_string() + " " + node.value_or("-") + " " + uri, nexus(id));
}
Task<Status> PlainService::remove_nexus_child(Uuid id, std::optional<NodeId> node, std::string uri) {
  return done("remove_nexus_child " + id.to_string() + " " + node.value_or("-") + " " + uri,
              there(nexus(id)));
}
Task<Result<std::string>> PlainService::share_nexus(Uuid id, std::optional<NodeId> node, Protocol protocol) {
  return change(fmt::format("share_nexus {} {} {}", id.to_string(), node.value_or("-"), name(protocol)),
                Result<std::string>(std::string("nvmf://10.0.0.1:8420/nqn")));
}
Task<Status> PlainService::unshare_nexus(Uuid id, std::optional<NodeId> node) {
  return done("unshare_nexus " + id.to_string() + " " + node.value_or("-"), there(nexus(id)));
}

// ---- volumes

Page<VolumeView> PlainService::volumes(PageRequest page) const {
  std::vector<VolumeView> all(3, volume(uuid(volume_id)).value());
  return page_of(std::move(all), page);
}
Tally PlainService::tally() const {
  Tally tally;
  for (const VolumeView& view : volumes({}).entries) {
    ++tally.volumes[view.state.status];
    tally.volumes_published += view.spec.target ? 1 : 0;
    tally.volume_bytes += view.spec.size_bytes;
    tally.rebuilds += view.state.target ? view.state.target->rebuilds : 0;
  }
  for (const ReplicaView& view : replicas())
    ++tally.replicas[view.state ? view.state->status : ReplicaStatus::unknown];
  return tally;
}
Result<VolumeView> PlainService::volume(Uuid id) const {
  const auto* spec = look_up(specs_.volumes, id);
  if (spec == nullptr) return unknown("volume", id.to_string());
  VolumeView view;
  view.spec = *spec;
  view.num_snapshots = 1;
  view.state.uuid = id;
  view.state.size_bytes = spec->size_bytes;
  view.state.status = VolumeStatus::degraded;
  view.state.reason = "a replica is rebuilt";
  view.state.target = copy_of(observed_.nexuses, uuid(nexus_id));
  view.state.usage = VolumeUsage{};
  ReplicaTopology& replica = view.state.replicas[uuid(replica_id)];
  replica.node = node_id;
  replica.pool = pool_id;
  replica.status = ReplicaStatus::online;
  replica.child_status = ChildStatus::degraded;
  replica.child_reason = ChildReason::io_failure;
  replica.usage = ReplicaSpace{};
  replica.rebuild_percent = 42;
  return view;
}
Task<Result<VolumeView>> PlainService::create_volume(CreateVolume request) {
  const auto describe = [](const std::optional<LabelledTopology>& t) {
    if (!t) return std::string("-");
    return fmt::format("{}/{}/{}", t->exclusion.size(), t->inclusion.size(), fmt::join(t->affinity, "+"));
  };
  return change(fmt::format("create_volume {} {} {} {} {} nodes={} pools={} labels={} group={} max={}",
                            request.volume.to_string(), request.size_bytes, request.replicas,
                            request.self_heal, request.thin, describe(request.topology.nodes),
                            describe(request.topology.pools), request.labels.size(),
                            request.affinity_group.value_or("-"), request.max_snapshots.value_or(0)),
                volume(request.volume));
}
Task<Status> PlainService::delete_volume(Uuid id) {
  return done("delete_volume " + id.to_string(), there(volume(id)));
}
Task<Result<VolumeView>> PlainService::publish_volume(PublishVolume request) {
  return change(
      fmt::format("publish_volume {} {} {} {} {} {} {}", request.volume.to_string(),
                  request.publish_context.size(), name(request.protocol), request.node.value_or("-"),
                  request.republish, request.reuse_existing, request.frontend_node.value_or("-")),
      volume(request.volume));
}
Task<Result<VolumeView>> PlainService::unpublish_volume(Uuid id, bool force) {
  return change(fmt::format("unpublish_volume {} {}", id.to_string(), force), volume(id));
}
Task<Status> PlainService::destroy_shutdown_targets(Uuid id) {
  return done("destroy_shutdown_targets " + id.to_string(), there(volume(id)));
}
Task<Result<std::string>> PlainService::share_volume(Uuid id, Protocol protocol,
                                                     std::optional<std::string> host) {
  return change(fmt::format("share_volume {} {} {}", id.to_string(), name(protocol), host.value_or("-")),
                if_there(volume(id), std::string("nvmf://10.0.0.1:8420/nqn")));
}
Task<Status> PlainService::unshare_volume(Uuid id) {
  return done("unshare_volume " + id.to_string(), there(volume(id)));
}
Task<Result<VolumeView>> PlainService::set_replica_count(Uuid id, std::uint32_t count) {
  return change(fmt::format("set_replica_count {} {}", id.to_string(), count), volume(id));
}
Task<Result<VolumeView>> PlainService::resize_volume(Uuid id, std::uint64_t size_bytes) {
  return change(fmt::format("resize_volume {} {}", id.to_string(), size_bytes), volume(id));
}
Task<Result<VolumeView>> PlainService::set_max_snapshots(Uuid id, std::uint32_t max) {
  return change(fmt::format("set_max_snapshots {} {}", id.to_string(), max), volume(id));
}
Task<Result<RebuildHistory>> PlainService::rebuild_history(Uuid id) {
  RebuildHistory history;
  history.target = uuid(nexus_id);
  history.records.resize(1);
  history.records[0].started = some_time;
  return change("rebuild_history " + id.to_string(), if_there(volume(id), std::move(history)));
}
Task<Result<VolumeView>> PlainService::move_replica(MoveReplica request) {
  return change(fmt::format("move_replica {} {} {}", request.volume.to_string(), request.replica.to_string(),
                            request.pool.value_or("-")),
                volume(request.volume));
}
Task<Result<VolumeView>> PlainService::clone_volume(Uuid source, CreateVolume request) {
  return change(fmt::format("clone_volume {} {}", source.to_string(), request.volume.to_string()),
                volume(source));
}

// ---- snapshots

Page<SnapshotView> PlainService::snapshots(std::optional<Uuid> id, std::optional<Uuid> volume,
                                           PageRequest page) const {
  auto found = snapshot(id.value_or(uuid(snapshot_id)), volume);
  if (!found.ok()) return {};
  return page_of(std::vector<SnapshotView>(1, std::move(found).value()), page);
}
Result<SnapshotView> PlainService::snapshot(Uuid id, std::optional<Uuid> volume) const {
  const auto* spec = look_up(specs_.snapshots, id);
  if (spec == nullptr || (volume && *volume != spec->volume)) return unknown("snapshot", id.to_string());
  SnapshotView view;
  view.spec = *spec;
  view.parts = {observed_.snapshots.at(id)};
  return view;
}
Task<Result<SnapshotView>> PlainService::create_snapshot(Uuid volume, Uuid id) {
  return change("create_snapshot " + volume.to_string() + " " + id.to_string(), snapshot(id, volume));
}
Task<Status> PlainService::delete_snapshot(Uuid id, std::optional<Uuid> volume) {
  return done("delete_snapshot " + id.to_string() + " " + (volume ? volume->to_string() : "-"),
              there(snapshot(id, volume)));
}
Task<Result<VolumeView>> PlainService::restore_snapshot(Uuid id, CreateVolume request) {
  return change("restore_snapshot " + id.to_string() + " " + request.volume.to_string(),
                volume(request.volume));
}

// ---- app nodes and engines

Page<AppNodeView> PlainService::app_nodes(PageRequest page) const {
  return page_of(std::vector<AppNodeView>(1, app_node(app_node_id).value()), page);
}
Result<AppNodeView> PlainService::app_node(std::string id) const {
  const auto* spec = look_up(specs_.app_nodes, id);
  if (spec == nullptr) return unknown("app node", id);
  return AppNodeView{*spec, true};
}
Task<Result<AppNodeView>> PlainService::register_app_node(AppNodeSpec spec) {
  return change("register_app_node " + spec.id + " " + spec.endpoint, app_node(spec.id));
}
Task<Status> PlainService::deregister_app_node(std::string id) {
  return done("deregister_app_node " + id, there(app_node(id)));
}
Task<Status> PlainService::register_node(Registration registration) {
  return done("register_node " + registration.id, Status());
}
Task<Status> PlainService::deregister_node(NodeId id) { return done("deregister_node " + id, Status()); }

Task<Result<AdoptReport>> PlainService::adopt(AdoptRequest request) {
  AdoptReport report;
  report.dry_run = request.dry_run;
  Finding finding{"volume", volume_id, Verdict::adopted, "1 of 2 replicas hold all data", {}, {}};
  finding.in_sync =
      specs_.replicas.empty() ? std::vector<Uuid>() : std::vector{specs_.replicas.begin()->first};
  report.findings = {finding, {"node", node_id, Verdict::skipped, "it does not answer", {}, {}}};
  return change(fmt::format("adopt {} {} {}", request.dry_run, request.skip_conflicts, request.take.size()),
                Result<AdoptReport>(std::move(report)));
}

}  // namespace holdfast::control::rest::testing
