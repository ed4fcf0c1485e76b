#include "engine/pool_messages.h"

#include <algorithm>
#include <chrono>

#include "base/units.h"
#include "base/utf8.h"
#include "engine/naming.h"

namespace holdfast::engine {

namespace v1 = mayastor::v1;
namespace own = holdfast::v1;

namespace {

v1::PoolState state_of(pool::PoolStatus status) {
  switch (status) {
    case pool::PoolStatus::online:
      return v1::PoolState::POOL_ONLINE;
    case pool::PoolStatus::degraded:
      return v1::PoolState::POOL_DEGRADED;
    case pool::PoolStatus::faulted:
      return v1::PoolState::POOL_FAULTED;
  }
  return v1::PoolState::POOL_UNKNOWN;
}

std::uint64_t microseconds(Nanos time) {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(time).count());
}

v1::Pool from_view(const pool::PoolView& view) {
  v1::Pool p;
  p.set_name(view.name);
  p.set_uuid(view.uuid.to_string());
  for (const auto& disk : view.disks) p.add_disks(disk.uri);
  p.set_state(state_of(view.status));
  p.set_capacity(view.capacity_bytes);
  // As others see it: what is set aside for replicas that are not thin is nobody else's.
  p.set_used(view.used_bytes + view.reserved_bytes);
  p.set_pooltype(v1::PoolType::Lvs);
  p.set_committed(view.committed_bytes);
  p.set_cluster_size(view.cluster_bytes);
  p.set_disk_capacity(view.disk_bytes);
  // The metadata that has room of its own is the journal.
  p.set_page_size(pool::block_bytes);
  auto* metadata = p.mutable_md_info();
  metadata->set_md_page_size(pool::block_bytes);
  metadata->set_md_pages(view.journal_bytes / pool::block_bytes);
  metadata->set_md_used_pages(view.journal_used_bytes / pool::block_bytes);
  return p;
}

// Of a pool that is not open only what is remembered can be said.
v1::Pool from_memory(const Pools::Known& known) {
  v1::Pool p;
  p.set_name(known.name);
  p.set_uuid(known.uuid.to_string());
  p.mutable_disks()->Add(known.disks.begin(), known.disks.end());
  p.set_state(v1::PoolState::POOL_FAULTED);
  p.set_pooltype(v1::PoolType::Lvs);
  return p;
}

own::PoolDisk disk_message(const pool::DiskView& view) {
  own::PoolDisk d;
  d.set_uri(view.uri);
  d.set_uuid(view.uuid.to_string());
  d.set_device(view.device);
  d.set_state(state_of(view.status));
  d.set_size(view.size_bytes);
  d.set_capacity(view.capacity_bytes);
  d.set_used(view.used_bytes);
  d.set_read_errors(view.read_errors);
  d.set_write_errors(view.write_errors);
  d.set_stalls(view.stalls);
  d.set_state_reason(view.status_reason);
  return d;
}

v1::ReplicaSpaceUsage usage_message(std::uint32_t cluster_bytes, const pool::VolumeView& volume) {
  const pool::Usage& usage = volume.usage;
  // What lies in snapshots below is counted there. What a thick replica has set aside is its own.
  const std::uint64_t own_bytes = usage.exclusive + usage.reserved;
  v1::ReplicaSpaceUsage u;
  u.set_capacity_bytes(volume.spec.size_bytes);
  u.set_cluster_size(cluster_bytes);
  u.set_allocated_bytes(own_bytes);
  u.set_allocated_bytes_snapshots(volume.ancestor_bytes);
  if (cluster_bytes > 0) {
    u.set_num_clusters(volume.spec.size_bytes / cluster_bytes);
    u.set_num_allocated_clusters(own_bytes / cluster_bytes);
    u.set_num_allocated_clusters_snapshots(volume.ancestor_bytes / cluster_bytes);
  }
  // Of a clone: without what it was born with.
  if (is_clone(volume.spec)) {
    u.set_allocated_bytes_snapshot_from_clone(volume.ancestor_bytes -
                                              std::min(volume.ancestor_bytes, volume.inherited_bytes));
  }
  return u;
}

}  // namespace

v1::Pool pool_message(const Pools::Known& known) {
  return known.pool == nullptr ? from_memory(known) : from_view(known.pool->view());
}

own::PoolDetail pool_detail(const Pools::Known& known) {
  own::PoolDetail d;
  *d.mutable_pool() = pool_message(known);
  d.mutable_thresholds()->set_warning(known.used_percent_warning);
  d.mutable_thresholds()->set_critical(known.used_percent_critical);
  if (known.pool == nullptr) {
    d.set_state_reason(known.reason);
    return d;
  }
  const pool::PoolView view = known.pool->view();
  d.set_state_reason(view.status_reason);
  for (const auto& disk : view.disks) *d.add_disks() = disk_message(disk);
  d.set_reserved(view.reserved_bytes);
  d.set_journal_size(view.journal_bytes);
  d.set_journal_used(view.journal_used_bytes);
  d.set_partial_clusters(view.partial_clusters);
  d.set_commits(view.commits);
  d.set_commit_time_us(microseconds(view.commit_time));
  d.set_checkpoint_time_us(microseconds(view.checkpoint_time));
  return d;
}

v1::Replica replica_message(const Exports& exports, const Pools::Known& known,
                            const pool::VolumeView& volume) {
  return replica_message(exports, known, known.pool->view().cluster_bytes, volume);
}

v1::Replica replica_message(const Exports& exports, const Pools::Known& known, std::uint32_t cluster_bytes,
                            const pool::VolumeView& volume) {
  const pool::VolumeSpec& spec = volume.spec;
  v1::Replica r;
  r.set_name(to_utf8(spec.name));
  r.set_uuid(spec.uuid.to_string());
  r.set_pooluuid(known.uuid.to_string());
  r.set_poolname(known.name);
  r.set_size(spec.size_bytes);
  r.set_thin(!spec.thick);
  r.set_pooltype(v1::PoolType::Lvs);
  r.set_is_snapshot(is_snapshot(spec));
  r.set_is_clone(is_clone(spec));
  if (is_clone(spec)) r.set_snapshot_uuid(spec.source_uuid.to_string());
  if (const auto entity = text_of(spec.attributes, attribute::entity_id); !entity.empty())
    r.set_entity_id(to_utf8(entity));
  r.set_share(v1::ShareProtocol::NONE);
  const std::string device = device_name(known, spec);
  r.set_uri(local_uri(to_utf8(device.empty() ? spec.name : device), spec.uuid));
  if (const auto* shared = exports.find(device)) {
    r.set_share(v1::ShareProtocol::NVMF);
    r.set_uri(shared->uri);
    for (const auto& host : shared->allowed_hosts) r.add_allowed_hosts(to_utf8(host));
  }
  *r.mutable_usage() = usage_message(cluster_bytes, volume);
  return r;
}

v1::SnapshotInfo snapshot_message(const Pools::Known& known, const pool::VolumeView& snapshot) {
  const pool::VolumeSpec& spec = snapshot.spec;
  v1::SnapshotInfo s;
  s.set_snapshot_uuid(spec.uuid.to_string());
  s.set_snapshot_name(to_utf8(spec.name));
  s.set_snapshot_size(snapshot.usage.exclusive);
  s.set_num_clones(snapshot.clones);
  const auto created = parse_number(text_of(spec.attributes, attribute::created));
  *s.mutable_timestamp() = timestamp(created.ok() ? created.value() : spec.created_unix_ns);
  s.set_source_uuid(spec.source_uuid.to_string());
  s.set_source_size(spec.size_bytes);
  s.set_pool_uuid(known.uuid.to_string());
  s.set_pool_name(known.name);
  s.set_entity_id(to_utf8(text_of(spec.attributes, attribute::entity_id)));
  s.set_txn_id(to_utf8(text_of(spec.attributes, attribute::txn_id)));
  s.set_valid_snapshot(true);
  s.set_ready_as_source(false);
  s.set_referenced_bytes(snapshot.usage.shared);
  s.set_discarded_snapshot(false);
  return s;
}

std::string device_name(const Pools::Known& known, const pool::VolumeSpec& spec) {
  const BlockDevice* device = known.pool->device(spec.uuid);
  return device == nullptr ? std::string() : device->name();
}

google::protobuf::Timestamp timestamp(std::uint64_t unix_ns) {
  constexpr std::uint64_t nanos_per_second = 1'000'000'000;
  google::protobuf::Timestamp t;
  t.set_seconds(static_cast<std::int64_t>(unix_ns / nanos_per_second));
  t.set_nanos(static_cast<std::int32_t>(unix_ns % nanos_per_second));
  return t;
}

}  // namespace holdfast::engine
