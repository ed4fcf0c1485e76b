// Pools, replicas and snapshots of the model.
#include <algorithm>

#include <fmt/format.h>

#include "control/testing/fleet.h"

namespace holdfast::control::fake {
namespace {

constexpr std::uint64_t default_cluster_bytes = std::uint64_t{1} << 20;

std::uint64_t round_up(std::uint64_t bytes, std::uint64_t unit) { return (bytes + unit - 1) / unit * unit; }

std::uint64_t region_bytes(const Pool& pool, const Copy& copy) {
  return round_up((copy.size_bytes + region_count - 1) / region_count, pool.cluster_bytes);
}

std::uint64_t owned_regions(const Copy& copy) {
  return static_cast<std::uint64_t>(std::count(copy.owned.begin(), copy.owned.end(), true));
}

std::uint64_t allocated_bytes(const Pool& pool, const Copy& copy) {
  if (!copy.thin && !copy.is_snapshot) return round_up(copy.size_bytes, pool.cluster_bytes);
  return owned_regions(copy) * region_bytes(pool, copy);
}

// The layers below a copy, nearest first.
std::vector<const Copy*> ancestors(const Pool& pool, const Copy& copy) {
  std::vector<const Copy*> found;
  for (const auto& [uuid, other] : pool.copies) {
    if (other.is_snapshot && other.made_of == copy.uuid) found.push_back(&other);
  }
  std::sort(found.begin(), found.end(), [](const Copy* a, const Copy* b) { return a->taken > b->taken; });
  return found;
}

}  // namespace

std::uint64_t Pool::used_bytes() const noexcept {
  std::uint64_t used = 0;
  for (const auto& [id_of_copy, copy] : copies) used += allocated_bytes(*this, copy);
  return used;
}

bool Fleet::allocate(Pool& pool, Copy& copy, unsigned region) {
  if (copy.owned[region]) return true;
  // What is thick has its room already, unless a snapshot has taken what was there.
  const bool reserved = !copy.thin && !copy.is_snapshot;
  if (!reserved && pool.free_bytes() < region_bytes(pool, copy)) return false;
  copy.owned[region] = true;
  return true;
}

// ---- states

PoolState Fleet::pool_state(const Machine& m, const Pool& pool) const {
  PoolState s;
  s.id = pool.id;
  s.node = m.node;
  s.uuid = pool.uuid;
  s.disks = pool.disks;
  s.cluster_bytes = pool.cluster_bytes;
  s.status = pool.failed ? PoolStatus::faulted : PoolStatus::online;
  if (pool.failed) s.reason = "its disks do not answer";
  s.capacity_bytes = pool.capacity_bytes;
  s.used_bytes = pool.used_bytes();
  for (const auto& [uuid, copy] : pool.copies) {
    s.committed_bytes += copy.is_snapshot ? allocated_bytes(pool, copy) : copy.size_bytes;
  }
  for (const std::string& disk : pool.disks) s.disk_capacity_bytes += m.disks.at(disk).bytes;
  return s;
}

std::string Fleet::uri_of(const Machine& m, const Copy& copy) const {
  const std::string uuid = copy.uuid.to_string();
  if (copy.share != Protocol::nvmf) return fmt::format("bdev:///{}?uuid={}", copy.name, uuid);
  return fmt::format("nvmf://{}:8420/nqn.2019-05.io.openebs:{}?uuid={}", m.address, copy.name, uuid);
}

ReplicaState Fleet::replica_state(const Machine& m, const Pool& pool, const Copy& copy) const {
  ReplicaState s;
  s.uuid = copy.uuid;
  s.name = copy.name;
  s.node = m.node;
  s.pool = pool.id;
  s.pool_uuid = pool.uuid;
  s.size_bytes = copy.size_bytes;
  s.thin = copy.thin;
  s.share = copy.share;
  s.uri = uri_of(m, copy);
  s.allowed_hosts = copy.allowed_hosts;
  s.status = ReplicaStatus::online;
  s.space.capacity_bytes = copy.size_bytes;
  s.space.allocated_bytes = allocated_bytes(pool, copy);
  for (const Copy* below : ancestors(pool, copy))
    s.space.allocated_snapshots_bytes += allocated_bytes(pool, *below);
  s.space.allocated_all_snapshots_bytes = s.space.allocated_snapshots_bytes;
  s.space.cluster_bytes = pool.cluster_bytes;
  s.space.clusters = copy.size_bytes / pool.cluster_bytes;
  s.space.allocated_clusters = s.space.allocated_bytes / pool.cluster_bytes;
  s.kind = copy.made_of ? ReplicaKind::snapshot_clone : ReplicaKind::regular;
  s.clone_of = copy.made_of;
  s.entity_id = copy.entity_id;
  s.record = copy.record_digest;
  return s;
}

SnapshotState Fleet::snapshot_state(const Machine& m, const Pool& pool, const Copy& copy) const {
  SnapshotState s;
  s.uuid = copy.uuid;
  s.name = copy.name;
  s.node = m.node;
  s.pool = pool.id;
  s.pool_uuid = pool.uuid;
  s.replica = *copy.made_of;
  s.entity_id = copy.entity_id;
  s.transaction = copy.transaction;
  s.size_bytes = copy.size_bytes;
  s.allocated_bytes = allocated_bytes(pool, copy);
  s.taken = copy.taken;
  for (const auto& [uuid, other] : pool.copies) s.clones += !other.is_snapshot && other.made_of == copy.uuid;
  return s;
}

Registration Fleet::registration(const Machine& m) const {
  Registration r;
  r.id = m.node;
  r.grpc_endpoint = m.endpoint();
  r.instance = fmt::format("{}-{}", m.node, m.runs);
  r.nqn = m.nqn;
  r.version = "0.1.0";
  r.features.ana = true;
  r.features.snapshot_rebuild = true;
  r.features.rebuilds_ancestry = true;
  return r;
}

EngineReport Fleet::report(Machine& m) {
  EngineReport all;
  all.engine = registration(m);
  for (const PoolId& id : m.open) {
    const Pool& pool = m.pools.at(id);
    all.pools.push_back(pool_state(m, pool));
    if (pool.failed) continue;
    for (const auto& [uuid, copy] : pool.copies) {
      if (copy.is_snapshot) {
        all.snapshots.push_back(snapshot_state(m, pool, copy));
      } else {
        all.replicas.push_back(replica_state(m, pool, copy));
      }
    }
  }
  for (const auto& [id, n] : m.nexuses) all.nexuses.push_back(nexus_state(m, n));
  return all;
}

// ---- pools

Result<Pool*> Fleet::need_pool(Machine& m, const PoolId& id) {
  if (!m.open.contains(id))
    return refused(m, Kind::failed_precondition, fmt::format("there is no pool '{}'", id));
  Pool* pool = m.open_pool(id);
  if (pool == nullptr) return refused(m, Kind::failed_precondition, fmt::format("pool '{}' is not open", id));
  return pool;
}

Result<PoolState> Fleet::create_pool(Machine& m, const NewPool& request) {
  if (request.disks.empty()) return refused(m, Kind::invalid_argument, "disks: none given");
  const auto known = m.pools.find(request.pool);
  if (known != m.pools.end()) {
    if (known->second.disks != request.disks) {
      return refused(m, Kind::invalid_argument, fmt::format("pool '{}' is on other disks", request.pool));
    }
    return import_pool(m, request);
  }
  Pool pool;
  for (const std::string& disk : request.disks) {
    if (!m.disks.contains(disk) && options_.any_disk) m.disks[disk].bytes = options_.disk_bytes;
    if (!m.disks.contains(disk))
      return refused(m, Kind::invalid_argument, fmt::format("there is no disk '{}'", disk));
    const Disk& d = m.disks[disk];
    if (d.pool && !request.overwrite) {
      return refused(m, Kind::invalid_argument, fmt::format("disk '{}' holds the pool '{}'", disk, *d.pool));
    }
    pool.capacity_bytes += d.bytes;
  }
  for (const std::string& disk : request.disks) {
    if (m.disks[disk].pool) HF_CHECK(destroy_pool(m, *m.disks[disk].pool));
    m.disks[disk].pool = request.pool;
  }
  pool.id = request.pool;
  pool.uuid = request.uuid.value_or(next_uuid("pool"));
  pool.disks = request.disks;
  pool.cluster_bytes = request.cluster_bytes.value_or(default_cluster_bytes);
  pool.capacity_bytes = pool.capacity_bytes / pool.cluster_bytes * pool.cluster_bytes;
  m.open.insert(request.pool);
  return pool_state(m, m.pools[request.pool] = std::move(pool));
}

Result<PoolState> Fleet::import_pool(Machine& m, const NewPool& request) {
  const auto known = m.pools.find(request.pool);
  const bool there = known != m.pools.end() && known->second.disks == request.disks &&
                     (!request.uuid || *request.uuid == known->second.uuid);
  if (!there)
    return refused(m, Kind::invalid_argument, fmt::format("the disks hold no pool '{}'", request.pool));
  if (known->second.failed) return refused(m, Kind::internal, "a disk cannot be read");
  m.open.insert(request.pool);
  return pool_state(m, known->second);
}

Status Fleet::destroy_pool(Machine& m, const PoolId& id) {
  if (!m.open.contains(id)) return refused(m, Kind::not_found, fmt::format("there is no pool '{}'", id));
  HF_TRY(Pool * pool, need_pool(m, id));
  for (const auto& [nexus, n] : m.nexuses) {
    for (const Child& c : n.children) {
      if (c.open && pool->copies.contains(c.replica) && c.uri.starts_with("bdev:"))
        return refused(m, Kind::failed_precondition, fmt::format("a nexus uses pool '{}'", id));
    }
  }
  while (!pool->copies.empty()) {
    check_last_copy(pool->copies.begin()->second, "deleted with its pool");
    pool->copies.erase(pool->copies.begin());
  }
  for (const std::string& disk : pool->disks) m.disks[disk].pool.reset();
  m.open.erase(id);
  m.pools.erase(id);
  return Status();
}

Status Fleet::export_pool(Machine& m, const PoolId& id) {
  m.open.erase(id);
  return Status();
}

Result<PoolState> Fleet::add_pool_disk(Machine& m, const PoolId& id, const std::string& disk) {
  HF_TRY(Pool * pool, need_pool(m, id));
  if (std::find(pool->disks.begin(), pool->disks.end(), disk) != pool->disks.end())
    return pool_state(m, *pool);
  if (!m.disks.contains(disk) && options_.any_disk) m.disks[disk].bytes = options_.disk_bytes;
  if (!m.disks.contains(disk) || m.disks[disk].pool)
    return refused(m, Kind::invalid_argument, fmt::format("disk '{}' is not there, or in use", disk));
  m.disks[disk].pool = id;
  pool->disks.push_back(disk);
  pool->capacity_bytes += m.disks[disk].bytes;
  return pool_state(m, *pool);
}

Result<PoolState> Fleet::grow_pool(Machine& m, const PoolId& id) {
  HF_TRY(Pool * pool, need_pool(m, id));
  std::uint64_t bytes = 0;
  for (const std::string& disk : pool->disks) bytes += m.disks[disk].bytes;
  pool->capacity_bytes = std::max(pool->capacity_bytes, bytes / pool->cluster_bytes * pool->cluster_bytes);
  return pool_state(m, *pool);
}

// ---- replicas

Result<Copy*> Fleet::need_copy(Machine& m, const Uuid& uuid, bool snapshot, Pool** in) {
  Copy* copy = m.find(uuid, in);
  const char* what = snapshot ? "snapshot" : "replica";
  if (copy != nullptr && copy->is_snapshot == snapshot) return copy;
  if (copy != nullptr) return refused(m, Kind::not_found, fmt::format("{} is no {}", uuid.to_string(), what));
  for (const PoolId& id : m.open) {
    if (m.open_pool(id) == nullptr) {
      return refused(
          m, Kind::failed_precondition,
          fmt::format("{} {} is in no open pool, and pool '{}' is not open", what, uuid.to_string(), id));
    }
  }
  return refused(m, Kind::not_found, fmt::format("there is no {} {}", what, uuid.to_string()));
}

Status Fleet::check_unused(Machine& m, const Uuid& uuid, const std::string& name) {
  for (const PoolId& id : m.open) {
    const Pool* pool = m.open_pool(id);
    if (pool == nullptr) continue;
    for (const auto& [other, copy] : pool->copies) {
      if (other != uuid && copy.name != name) continue;
      return refused(m, Kind::already_exists,
                     fmt::format("{} ({}) is taken, in pool '{}'", uuid.to_string(), name, id));
    }
  }
  return Status();
}

Result<ReplicaState> Fleet::create_replica(Machine& m, const NewReplica& request) {
  HF_TRY(Pool * pool, need_pool(m, request.pool));
  Pool* in = nullptr;
  const Copy* there = m.find(request.replica, &in);
  if (there != nullptr) {
    const bool same = in == pool && there->size_bytes == request.size_bytes && there->thin == request.thin &&
                      !there->is_snapshot && !there->made_of;
    if (!same)
      return refused(m, Kind::already_exists, request.replica.to_string() + " exists, and is another");
    return share_replica(m, request.replica, request.share, request.allowed_hosts);
  }
  if (pool->refuses) return refused(m, Kind::resource_exhausted, fmt::format("pool '{}' refuses", pool->id));
  if (request.size_bytes == 0) return refused(m, Kind::invalid_argument, "size: 0 bytes");
  const std::uint64_t thick = request.thin ? 0 : round_up(request.size_bytes, pool->cluster_bytes);
  if (thick > pool->free_bytes()) {
    return refused(m, Kind::resource_exhausted,
                   fmt::format("pool '{}' has {} bytes free", pool->id, pool->free_bytes()));
  }
  if (request.size_bytes > pool->capacity_bytes)
    return refused(m, Kind::invalid_argument, "size: more than the pool has");
  Copy copy;
  copy.uuid = request.replica;
  copy.name = request.replica.to_string();
  copy.size_bytes = request.size_bytes;
  copy.thin = request.thin;
  copy.share = request.share;
  copy.allowed_hosts = request.allowed_hosts;
  std::sort(copy.allowed_hosts.begin(), copy.allowed_hosts.end());
  copy.entity_id = copy.volume = request.entity_id;
  return replica_state(m, *pool, pool->copies[request.replica] = std::move(copy));
}

// What was allocated below goes to what is above it: the next snapshot, or the replica.
void Fleet::drop_copy(Pool& pool, const Uuid& uuid) {
  const Copy gone = pool.copies.at(uuid);
  pool.copies.erase(uuid);
  if (!gone.is_snapshot) return;
  Copy* above = nullptr;
  for (auto& [id, other] : pool.copies) {
    const bool later = other.is_snapshot && other.made_of == gone.made_of && other.taken >= gone.taken;
    if (later && (above == nullptr || other.taken < above->taken)) above = &other;
  }
  const auto replica = pool.copies.find(*gone.made_of);
  if (above == nullptr && replica != pool.copies.end()) above = &replica->second;
  if (above == nullptr) return;
  for (unsigned r = 0; r < region_count; ++r) above->owned[r] = above->owned[r] || gone.owned[r];
}

Status Fleet::destroy_copy(Machine& m, const Uuid& uuid, const PoolId& pool_id, bool snapshot) {
  HF_TRY(Pool * pool, need_pool(m, pool_id));
  Pool* in = nullptr;
  auto found = need_copy(m, uuid, snapshot, &in);
  if (!found.ok() && kind_of(found.error()) == Kind::not_found) return Status();
  if (!found.ok()) return found.error();
  if (in != pool) return refused(m, Kind::aborted, fmt::format("it is in pool '{}'", in->id));
  if (is_filled(m, uuid)) return refused(m, Kind::failed_precondition, uuid.to_string() + " is being filled");
  for (const auto& [id, n] : m.nexuses) {
    for (const Child& c : n.children) {
      if (c.replica == uuid && c.open && c.uri.starts_with("bdev:"))
        return refused(m, Kind::failed_precondition,
                       uuid.to_string() + " is in use by nexus " + id.to_string());
    }
  }
  check_last_copy(*found.value(), "deleted");
  drop_copy(*pool, uuid);
  return Status();
}

Result<ReplicaState> Fleet::share_replica(Machine& m, const Uuid& replica, Protocol share,
                                          std::vector<std::string> hosts) {
  Pool* pool = nullptr;
  HF_TRY(Copy * copy, need_copy(m, replica, false, &pool));
  if (share != Protocol::none && share != Protocol::nvmf)
    return refused(m, Kind::invalid_argument, "share: use NVMF");
  if (is_filled(m, replica))
    return refused(m, Kind::failed_precondition, replica.to_string() + " is being filled");
  std::sort(hosts.begin(), hosts.end());
  copy->share = share;
  copy->allowed_hosts = share == Protocol::none ? std::vector<std::string>() : std::move(hosts);
  return replica_state(m, *pool, *copy);
}

Result<ReplicaState> Fleet::resize_replica(Machine& m, const Uuid& replica, std::uint64_t size_bytes) {
  Pool* pool = nullptr;
  HF_TRY(Copy * copy, need_copy(m, replica, false, &pool));
  if (size_bytes < copy->size_bytes) return refused(m, Kind::invalid_argument, "a replica cannot shrink");
  if (!copy->thin && size_bytes - copy->size_bytes > pool->free_bytes()) {
    return refused(m, Kind::resource_exhausted,
                   fmt::format("pool '{}' has {} bytes free", pool->id, pool->free_bytes()));
  }
  copy->size_bytes = size_bytes;
  return replica_state(m, *pool, *copy);
}

Result<ReplicaState> Fleet::set_replica_entity(Machine& m, const Uuid& replica, std::string entity_id) {
  Pool* pool = nullptr;
  HF_TRY(Copy * copy, need_copy(m, replica, false, &pool));
  copy->entity_id = copy->volume = std::move(entity_id);
  return replica_state(m, *pool, *copy);
}

Status Fleet::set_replica_record(Machine& m, const Uuid& replica, std::string record, std::uint64_t digest) {
  Pool* pool = nullptr;
  HF_TRY(Copy * copy, need_copy(m, replica, false, &pool));
  copy->record = std::move(record);
  copy->record_digest = copy->record.empty() ? 0 : digest;
  return Status();
}

std::vector<KeptRecord> Fleet::replica_records(Machine& m) {
  std::vector<KeptRecord> all;
  for (const PoolId& id : m.open) {
    const Pool* pool = m.open_pool(id);
    if (pool == nullptr) continue;
    for (const auto& [uuid, copy] : pool->copies) {
      if (!copy.is_snapshot) all.push_back({uuid, copy.record, copy.epoch, copy.epoch});
    }
  }
  return all;
}

Result<ReplicaState> Fleet::revert_replica(Machine& m, const Uuid& replica, const Uuid& snapshot) {
  Pool *pool = nullptr, *other = nullptr;
  HF_TRY(Copy * copy, need_copy(m, replica, false, &pool));
  HF_TRY(const Copy* from, need_copy(m, snapshot, true, &other));
  if (pool != other) return refused(m, Kind::invalid_argument, "the snapshot is in another pool");
  if (copy->share != Protocol::none) return refused(m, Kind::failed_precondition, "the replica is shared");
  copy->content = from->content;
  copy->size_bytes = from->size_bytes;
  copy->owned = {};
  return replica_state(m, *pool, *copy);
}

// ---- snapshots

Result<SnapshotState> Fleet::create_snapshot(Machine& m, const NewReplicaSnapshot& request) {
  Pool* pool = nullptr;
  HF_TRY(Copy * copy, need_copy(m, request.replica, false, &pool));
  const Copy* there = m.find(request.snapshot);
  if (there != nullptr && there->is_snapshot && there->made_of == request.replica)
    return snapshot_state(m, *pool, *there);
  HF_CHECK(check_unused(m, request.snapshot, request.name));
  Copy made = *copy;
  made.uuid = request.snapshot;
  made.name = request.name;
  made.share = Protocol::none;
  made.allowed_hosts.clear();
  made.entity_id = request.entity_id;
  made.volume.clear();
  made.made_of = request.replica;
  made.is_snapshot = true;
  made.transaction = request.transaction;
  made.taken = unix_now();
  made.written_through = writes_;
  made.holder = Uuid();
  if (!copy->thin) {  // what it had allocated belongs to the snapshot, and is reserved anew
    for (unsigned r = 0; r < region_count; ++r) made.owned[r] = copy->content[r] != 0 && copy->owned[r];
    if (owned_regions(made) * region_bytes(*pool, *copy) > pool->free_bytes())
      return refused(m, Kind::resource_exhausted, fmt::format("pool '{}' has no room for it", pool->id));
  }
  copy->owned = {};
  return snapshot_state(m, *pool, pool->copies[request.snapshot] = std::move(made));
}

Result<ReplicaState> Fleet::clone_snapshot(Machine& m, const Uuid& snapshot, const Uuid& replica) {
  Pool *pool = nullptr, *in = nullptr;
  HF_TRY(const Copy* from, need_copy(m, snapshot, true, &pool));
  const Copy* there = m.find(replica, &in);
  if (there != nullptr && !there->is_snapshot && there->made_of == snapshot)
    return replica_state(m, *in, *there);
  HF_CHECK(check_unused(m, replica, replica.to_string()));
  Copy made;
  made.uuid = replica;
  made.name = replica.to_string();
  made.size_bytes = from->size_bytes;
  made.thin = true;
  made.made_of = snapshot;
  made.content = from->content;
  return replica_state(m, *pool, pool->copies[replica] = std::move(made));
}

Result<DiffPage> Fleet::diff(Machine& m, const std::optional<Uuid>& earlier, const Uuid& later) {
  Pool* pool = nullptr;
  const Copy* to = m.find(later, &pool);
  if (to == nullptr) return refused(m, Kind::not_found, "there is no " + later.to_string());
  Content before{};
  if (earlier) {
    const Copy* from = m.find(*earlier);
    if (from == nullptr) return refused(m, Kind::not_found, "there is no " + earlier->to_string());
    before = from->content;
  }
  DiffPage page;
  const std::uint64_t bytes = to->size_bytes / region_count;
  for (unsigned r = 0; r < region_count; ++r) {
    if (to->content[r] != before[r]) page.ranges.push_back({r * bytes, bytes});
  }
  return page;
}

}  // namespace holdfast::control::fake
