#include "control/grpc/messages.h"

#include <algorithm>

#include <fmt/format.h>

namespace holdfast::control {

namespace v1 = mayastor::v1;
using grpc::StatusCode;

namespace {

Kind kind_of_code(StatusCode code) noexcept {
  switch (code) {
    case StatusCode::CANCELLED:
    case StatusCode::ABORTED:
      return Kind::aborted;
    case StatusCode::INVALID_ARGUMENT:
      return Kind::invalid_argument;
    case StatusCode::DEADLINE_EXCEEDED:
      return Kind::deadline_exceeded;
    case StatusCode::NOT_FOUND:
      return Kind::not_found;
    case StatusCode::ALREADY_EXISTS:
      return Kind::already_exists;
    case StatusCode::PERMISSION_DENIED:
      return Kind::permission_denied;
    case StatusCode::RESOURCE_EXHAUSTED:
      return Kind::resource_exhausted;
    case StatusCode::FAILED_PRECONDITION:
      return Kind::failed_precondition;
    case StatusCode::OUT_OF_RANGE:
      return Kind::out_of_range;
    case StatusCode::UNIMPLEMENTED:
      return Kind::unimplemented;
    case StatusCode::UNAVAILABLE:
      return Kind::unavailable;
    case StatusCode::UNAUTHENTICATED:
      return Kind::unauthenticated;
    default:
      return Kind::internal;
  }
}

Uuid uuid_of(const std::string& text) noexcept {
  auto parsed = Uuid::parse(text);
  return parsed.ok() ? parsed.value() : Uuid();
}

// The `uuid` of a URI's query.
std::optional<Uuid> uuid_of_uri(std::string_view uri) noexcept {
  const auto query = uri.find('?');
  if (query == std::string_view::npos) return std::nullopt;
  for (std::string_view rest = uri.substr(query + 1); !rest.empty();) {
    const std::string_view one = rest.substr(0, rest.find('&'));
    if (one.starts_with("uuid=")) {
      auto parsed = Uuid::parse(one.substr(std::string_view("uuid=").size()));
      if (parsed.ok()) return parsed.value();
      return std::nullopt;
    }
    rest.remove_prefix(std::min(rest.size(), one.size() + 1));
  }
  return std::nullopt;
}

// Enumerations of the API have the order of ours; a number that we do not know is the first of ours.
template <class E, class Number>
E enum_of(Number number) noexcept {
  const auto n = static_cast<std::size_t>(number);
  return number >= 0 && n < std::size(Names<E>::values) ? static_cast<E>(n) : E{};
}

std::vector<std::string> sorted(const google::protobuf::RepeatedPtrField<std::string>& given) {
  std::vector<std::string> list(given.begin(), given.end());
  std::sort(list.begin(), list.end());
  return list;
}

Protocol protocol_of(v1::ShareProtocol share) noexcept {
  if (share == v1::NVMF) return Protocol::nvmf;
  return share == v1::ISCSI ? Protocol::iscsi : Protocol::none;
}

ChildState child_of(const v1::Child& c) {
  ChildState child;
  child.uri = c.uri();
  child.replica = uuid_of_uri(c.uri());
  child.status = enum_of<ChildStatus>(c.state());
  child.reason = enum_of<ChildReason>(c.state_reason());
  if (c.rebuild_progress() >= 0) child.rebuild_percent = static_cast<std::uint32_t>(c.rebuild_progress());
  if (c.has_fault_timestamp()) child.faulted_at = unix_nanos(c.fault_timestamp());
  child.has_io_log = c.has_io_log();
  return child;
}

}  // namespace

Error error_of(const NodeId& node, const grpc::Status& status) {
  return refusal(kind_of_code(status.error_code()), fmt::format("node {}: {}", node, status.error_message()));
}

UnixNanos unix_nanos(const google::protobuf::Timestamp& time) noexcept {
  constexpr std::int64_t second = 1'000'000'000;
  constexpr std::int64_t seconds_max = std::numeric_limits<std::int64_t>::max() / second - 1;
  return std::clamp<std::int64_t>(time.seconds(), 0, seconds_max) * second +
         std::clamp<std::int64_t>(time.nanos(), 0, second - 1);
}

v1::ShareProtocol share_of(Protocol protocol) noexcept {
  return protocol == Protocol::nvmf ? v1::NVMF : protocol == Protocol::iscsi ? v1::ISCSI : v1::NONE;
}

PoolState pool_of(const NodeId& node, const v1::Pool& p) {
  PoolState pool;
  pool.id = p.name();
  pool.node = node;
  pool.uuid = uuid_of(p.uuid());
  pool.disks.assign(p.disks().begin(), p.disks().end());
  pool.capacity_bytes = p.capacity();
  pool.used_bytes = p.used();
  pool.committed_bytes = p.committed();
  pool.cluster_bytes = p.cluster_size();
  pool.disk_capacity_bytes = p.disk_capacity();
  pool.status = enum_of<PoolStatus>(p.state());
  return pool;
}

PoolState pool_of(const NodeId& node, const holdfast::v1::PoolDetail& detail) {
  PoolState pool = pool_of(node, detail.pool());
  pool.reason = detail.state_reason();
  return pool;
}

ReplicaState replica_of(const NodeId& node, const v1::Replica& r) {
  ReplicaState replica;
  replica.uuid = uuid_of(r.uuid());
  replica.name = r.name();
  replica.node = node;
  replica.pool = r.poolname();
  replica.pool_uuid = uuid_of(r.pooluuid());
  replica.size_bytes = r.size();
  replica.thin = r.thin();
  replica.share = protocol_of(r.share());
  replica.uri = r.uri();
  replica.allowed_hosts = sorted(r.allowed_hosts());
  replica.status = ReplicaStatus::online;
  const auto& usage = r.usage();
  replica.space.capacity_bytes = usage.capacity_bytes();
  replica.space.allocated_bytes = usage.allocated_bytes();
  replica.space.allocated_snapshots_bytes = usage.has_allocated_bytes_snapshot_from_clone()
                                                ? usage.allocated_bytes_snapshot_from_clone()
                                                : usage.allocated_bytes_snapshots();
  replica.space.allocated_all_snapshots_bytes = usage.allocated_bytes_snapshots();
  replica.space.cluster_bytes = usage.cluster_size();
  replica.space.clusters = usage.num_clusters();
  replica.space.allocated_clusters = usage.num_allocated_clusters();
  if (r.is_clone()) replica.kind = ReplicaKind::snapshot_clone;
  if (r.is_snapshot()) replica.kind = ReplicaKind::snapshot;
  if (r.has_snapshot_uuid() && !r.snapshot_uuid().empty()) replica.clone_of = uuid_of(r.snapshot_uuid());
  replica.entity_id = r.entity_id();
  return replica;
}

NexusState nexus_of(const NodeId& node, const v1::Nexus& n) {
  NexusState nexus;
  nexus.uuid = uuid_of(n.uuid());
  nexus.name = n.name();
  nexus.node = node;
  nexus.size_bytes = n.size();
  nexus.status = enum_of<NexusStatus>(n.state());
  for (const auto& c : n.children()) nexus.children.push_back(child_of(c));
  nexus.device_uri = n.device_uri();
  nexus.rebuilds = n.rebuilds();
  nexus.protocol = n.device_uri().empty() ? Protocol::none : Protocol::nvmf;
  nexus.allowed_hosts = sorted(n.allowed_hosts());
  return nexus;
}

SnapshotState snapshot_of(const NodeId& node, const v1::SnapshotInfo& s) {
  SnapshotState snapshot;
  snapshot.uuid = uuid_of(s.snapshot_uuid());
  snapshot.name = s.snapshot_name();
  snapshot.node = node;
  snapshot.pool = s.pool_name();
  snapshot.pool_uuid = uuid_of(s.pool_uuid());
  snapshot.replica = uuid_of(s.source_uuid());
  snapshot.entity_id = s.entity_id();
  snapshot.transaction = s.txn_id();
  snapshot.size_bytes = s.source_size();
  snapshot.allocated_bytes = s.snapshot_size();
  snapshot.referenced_bytes = s.referenced_bytes();
  snapshot.clones = s.num_clones();
  snapshot.taken = unix_nanos(s.timestamp());
  snapshot.valid = s.valid_snapshot();
  snapshot.discarded = s.discarded_snapshot();
  return snapshot;
}

Registration registration_of(const v1::MayastorInfoResponse& info) {
  const auto& told = info.registration_info();
  Registration r;
  r.id = told.id();
  r.grpc_endpoint = told.grpc_endpoint();
  r.instance = told.instance_uuid().value();
  r.nqn = told.hostnqn().value();
  r.version = info.version();
  r.features.ana = told.features().asymmetricnamespaceaccess();
  r.features.logical_volume_manager = told.features().logicalvolumemanager();
  r.features.snapshot_rebuild = told.features().snapshotrebuild();
  r.features.rdma = told.features().rdmacapableioengine();
  r.features.rebuilds_ancestry = told.bugfixes().nexusrebuildreplicaancestry();
  return r;
}

EngineReport report_of(const NodeId& node, const holdfast::v1::Report& told) {
  EngineReport report;
  report.engine = registration_of(told.engine());
  for (const auto& pool : told.pools()) report.pools.push_back(pool_of(node, pool));
  for (const auto& held : told.replicas()) {
    report.replicas.push_back(replica_of(node, held.replica()));
    report.replicas.back().record = held.record_digest();
  }
  for (const auto& nexus : told.nexuses()) report.nexuses.push_back(nexus_of(node, nexus));
  for (const auto& snapshot : told.snapshots()) report.snapshots.push_back(snapshot_of(node, snapshot));
  return report;
}

BlockDeviceInfo block_device_of(const v1::BlockDevice& d) {
  BlockDeviceInfo device;
  device.name = d.devname();
  device.type = d.devtype();
  device.model = d.model();
  device.path = d.devpath();
  device.connection_type = d.connection_type();
  device.links.assign(d.devlinks().begin(), d.devlinks().end());
  device.major = d.devmajor();
  device.minor = d.devminor();
  device.size_blocks = d.size();
  device.available = d.available();
  if (d.has_is_rotational()) device.rotational = d.is_rotational();
  if (d.has_partition()) {
    auto& p = device.partition.emplace(BlockDeviceInfo::Partition());
    p.parent = d.partition().parent();
    p.number = d.partition().number();
    p.name = d.partition().name();
    p.scheme = d.partition().scheme();
    p.type_id = d.partition().typeid_();
    p.uuid = d.partition().uuid();
  }
  if (d.has_filesystem()) {
    auto& f = device.filesystem.emplace();
    f.type = d.filesystem().fstype();
    f.label = d.filesystem().label();
    f.uuid = d.filesystem().uuid();
    f.mountpoints.assign(d.filesystem().mountpoints().begin(), d.filesystem().mountpoints().end());
  }
  return device;
}

RebuildRecord rebuild_of(const v1::RebuildHistoryRecord& r) {
  RebuildRecord record;
  record.child_uri = r.child_uri();
  record.source_uri = r.src_uri();
  record.status = enum_of<RebuildStatus>(r.state());
  record.blocks_total = r.blocks_total();
  record.blocks_recovered = r.blocks_recovered();
  record.blocks_transferred = r.blocks_transferred();
  record.blocks_remaining = r.blocks_remaining();
  record.block_bytes = r.block_size();
  record.partial = r.is_partial();
  record.started = unix_nanos(r.start_time());
  record.ended = unix_nanos(r.end_time());
  return record;
}

RebuildRecord rebuild_of(const std::string& uri, const v1::RebuildStatsResponse& s) {
  RebuildRecord record;
  record.child_uri = uri;
  record.status = RebuildStatus::rebuilding;
  record.blocks_total = s.blocks_total();
  record.blocks_recovered = s.blocks_recovered();
  record.blocks_transferred = s.blocks_transferred();
  record.blocks_remaining = s.blocks_remaining();
  record.block_bytes = s.block_size();
  record.partial = s.is_partial();
  record.started = unix_nanos(s.start_time());
  return record;
}

}  // namespace holdfast::control
