#include "engine/snapshot_operations.h"

#include <cerrno>
#include <map>
#include <set>

#include <fmt/format.h>

#include "base/log.h"
#include "engine/naming.h"
#include "engine/nexus_operations.h"
#include "engine/pool_messages.h"
#include "engine/replica_operations.h"

namespace holdfast::engine::snapshot_operations {

using google::protobuf::Empty;

namespace {

Error bad(std::string text) { return Error(Errc::invalid_argument, std::move(text)); }

constexpr std::size_t id_bytes_max = 1024;

// The facts that go with a snapshot.
Result<pool::Attributes> to_attributes(const std::string& entity_id, const std::string& txn_id,
                                       WallTime time) {
  if (entity_id.size() > id_bytes_max || txn_id.size() > id_bytes_max) {
    return bad(fmt::format("entity_id, txn_id: at most {} bytes are allowed", id_bytes_max));
  }
  pool::Attributes attributes;
  if (!entity_id.empty()) attributes[attribute::entity_id] = entity_id;
  if (!txn_id.empty()) attributes[attribute::txn_id] = txn_id;
  attributes[attribute::created] = std::to_string(static_cast<std::uint64_t>(time));
  return attributes;
}

Result<Uuid> to_new_uuid(const char* field, const std::string& text) {
  HF_TRY(const Uuid uuid, to_uuid(field, text));
  if (uuid.is_nil()) return bad(fmt::format("{}: the nil UUID names nothing", field));
  return uuid;
}

Task<Result<LockedVolume>> lock_snapshot(Engine& engine, const std::string& text,
                                         const NamedPool* named = nullptr) {
  HF_CO_TRY(const Uuid uuid, to_uuid("snapshot_uuid", text));
  HF_CO_TRY(auto locked, co_await lock_volume(engine, "snapshot", uuid, named));
  if (!is_snapshot(locked.volume.spec)) {
    co_return Error(Errc::not_found,
                    fmt::format("{} is the replica '{}', not a snapshot", text, locked.volume.spec.name));
  }
  co_return locked;
}

}  // namespace

Task<Result<v1::CreateReplicaSnapshotResponse>> create(Engine& engine,
                                                       const v1::CreateReplicaSnapshotRequest& request) {
  HF_CO_TRY(const Uuid replica, to_uuid("replica_uuid", request.replica_uuid()));
  pool::SnapshotParams params;
  HF_CO_CHECK(check_name("snapshot name", request.snapshot_name()));
  params.name = request.snapshot_name();
  HF_CO_TRY(params.uuid, to_new_uuid("snapshot_uuid", request.snapshot_uuid()));
  const WallTime now = engine.cores().home().wall_now();
  HF_CO_TRY(params.attributes, to_attributes(request.entity_id(), request.txn_id(), now));
  HF_CO_TRY(const auto unique, co_await engine.locks().acquire(Pools::lock_key_of_new(params.uuid)));
  HF_CO_TRY(auto locked, co_await lock_volume(engine, "replica", replica));
  HF_CO_CHECK(check_unused(engine, params.name, params.uuid, locked.known));
  HF_CO_TRY(const auto made, co_await locked.known->pool->create_snapshot(replica, std::move(params)));
  v1::CreateReplicaSnapshotResponse reply;
  reply.set_replica_uuid(replica.to_string());
  *reply.mutable_snapshot() = snapshot_message(*locked.known, made);
  co_return reply;
}

Task<Result<v1::ListSnapshotsResponse>> list(Engine& engine, const v1::ListSnapshotsRequest& request) {
  HF_CO_TRY(const auto source, to_uuid_if(request.has_source_uuid(), "source_uuid", request.source_uuid()));
  HF_CO_TRY(const auto snapshot,
            to_uuid_if(request.has_snapshot_uuid(), "snapshot_uuid", request.snapshot_uuid()));
  v1::ListSnapshotsResponse reply;
  // Snapshots of ours have all their attributes, and one that is destroyed is gone, whatever came from it.
  const auto& query = request.query();
  if ((query.has_invalid() && query.invalid()) || (query.has_discarded() && query.discarded()))
    co_return reply;
  for (const Pools::Known* known : engine.pools().list()) {
    if (known->pool == nullptr) continue;
    for (const auto& volume : known->pool->volumes()) {
      if (!is_snapshot(volume.spec)) continue;
      if (source && *source != volume.spec.source_uuid) continue;
      if (snapshot && *snapshot != volume.spec.uuid) continue;
      *reply.add_snapshots() = snapshot_message(*known, volume);
    }
  }
  co_return reply;
}

Task<Result<Empty>> destroy(Engine& engine, const v1::DestroySnapshotRequest& request) {
  const NamedPool named = named_pool(request);
  HF_CO_CHECK(check_pool(engine, named));
  HF_CO_TRY(auto locked, co_await lock_snapshot(engine, request.snapshot_uuid(), &named));
  HF_CO_CHECK(check_in_pool(named, "snapshot", locked));
  HF_CO_CHECK(co_await destroy_volume(engine, locked));
  co_return Empty();
}

Task<Result<v1::Replica>> create_clone(Engine& engine, const v1::CreateSnapshotCloneRequest& request) {
  pool::SnapshotParams params;
  HF_CO_CHECK(check_name("clone name", request.clone_name()));
  params.name = request.clone_name();
  HF_CO_TRY(params.uuid, to_new_uuid("clone_uuid", request.clone_uuid()));
  const Uuid uuid = params.uuid;
  HF_CO_TRY(const auto unique, co_await engine.locks().acquire(Pools::lock_key_of_new(uuid)));
  HF_CO_TRY(auto locked, co_await lock_snapshot(engine, request.snapshot_uuid()));
  HF_CO_CHECK(check_unused(engine, params.name, uuid));
  const Uuid snapshot = locked.volume.spec.uuid;
  HF_CO_TRY(const auto made, co_await locked.known->pool->create_clone(snapshot, std::move(params)));
  co_return replica_message(engine.exports(), *locked.known, made);
}

Task<Result<v1::ListSnapshotCloneResponse>> list_clones(Engine& engine,
                                                        const v1::ListSnapshotCloneRequest& request) {
  HF_CO_TRY(const auto wanted,
            to_uuid_if(request.has_snapshot_uuid(), "snapshot_uuid", request.snapshot_uuid()));
  v1::ListSnapshotCloneResponse reply;
  for (const Pools::Known* known : engine.pools().list()) {
    if (known->pool == nullptr) continue;
    const std::uint32_t cluster_bytes = known->pool->view().cluster_bytes;
    for (const auto& volume : known->pool->volumes()) {
      if (!is_clone(volume.spec) || (wanted && *wanted != volume.spec.source_uuid)) continue;
      *reply.add_replicas() = replica_message(engine.exports(), *known, cluster_bytes, volume);
    }
  }
  co_return reply;
}

namespace {

// What a control plane is told about one replica: errno values (Linux).
std::uint32_t to_errno(Errc code) {
  switch (code) {
    case Errc::ok:
      return 0;
    case Errc::out_of_space:
      return ENOSPC;
    case Errc::already_exists:
      return EEXIST;
    case Errc::not_found:
      return ENOENT;
    case Errc::busy:
      return EBUSY;
    case Errc::invalid_argument:
      return EINVAL;
    case Errc::not_supported:
      return EOPNOTSUPP;
    case Errc::not_connected:
      return ENOTCONN;
    case Errc::timed_out:
      return ETIMEDOUT;
    case Errc::failed_precondition:
    case Errc::read_only:
    case Errc::fenced:
    case Errc::reservation_conflict:
      return EPERM;
    case Errc::resource_exhausted:
      return ENOMEM;
    case Errc::cancelled:
      return ECANCELED;
    case Errc::io_error:
    case Errc::miscompare:
    case Errc::out_of_range:
    case Errc::protocol:
    case Errc::bad_format:
    case Errc::internal:
      return EIO;
  }
  return EIO;
}

// The children of a nexus by the UUIDs of the replicas that they are.
std::map<Uuid, std::string> children_by_replica(Engine& engine, const nexus::NexusView& view) {
  std::map<Uuid, std::string> children;
  for (const auto& child : view.children) {
    const BlockDevice* device =
        child.device_name.empty() ? nullptr : engine.devices().find(child.device_name);
    if (device != nullptr) {
      children.emplace(device->identity().uuid, child.uri);
    } else if (const auto known = Uuid::parse(child.uuid); known.ok()) {
      children.emplace(known.value(), child.uri);  // its device is closed: it can be skipped
    }
  }
  return children;
}

struct NexusSnapshotPlan {
  std::vector<nexus::ChildSnapshot> snapshots;
  std::vector<std::string> replicas;  // UUIDs, in the same order
  std::vector<std::string> skipped;
};

Result<NexusSnapshotPlan> plan(const v1::NexusCreateSnapshotRequest& request,
                               const pool::Attributes& attributes,
                               const std::map<Uuid, std::string>& children) {
  NexusSnapshotPlan plan;
  std::set<Uuid> seen, used;
  for (const auto& r : request.replicas()) {
    HF_TRY(const Uuid replica, to_uuid("replica_uuid", r.replica_uuid()));
    if (!seen.insert(replica).second)
      return bad(fmt::format("replicas: {} is given twice", r.replica_uuid()));
    const auto child = children.find(replica);
    if (child == children.end()) {
      return Error(Errc::not_found, fmt::format("replicas: {} is no child of the nexus", r.replica_uuid()));
    }
    if (r.skip()) {
      plan.skipped.push_back(r.replica_uuid());
      continue;
    }
    HF_TRY(const Uuid uuid, to_new_uuid("snapshot_uuid", r.snapshot_uuid()));
    if (!used.insert(uuid).second)
      return bad(fmt::format("snapshot_uuid: {} is given twice", r.snapshot_uuid()));
    nexus::ChildSnapshot snapshot;
    snapshot.uri = child->second;
    snapshot.request.name = request.snapshot_name();
    snapshot.request.uuid = uuid;
    snapshot.request.attributes = attributes;
    plan.snapshots.push_back(std::move(snapshot));
    plan.replicas.push_back(r.replica_uuid());
  }
  if (plan.snapshots.empty()) return bad("replicas: none given of which a snapshot is wanted");
  return plan;
}

}  // namespace

Task<Result<v1::NexusCreateSnapshotResponse>> create_for_nexus(
    Engine& engine, const v1::NexusCreateSnapshotRequest& request) {
  HF_CO_CHECK(check_name("snapshot name", request.snapshot_name()));
  HF_CO_TRY(const Uuid uuid, to_uuid("nexus_uuid", request.nexus_uuid()));
  HF_CO_TRY(const auto lock, co_await engine.locks().acquire(Engine::lock_key(uuid)));
  HF_CO_TRY(nexus::Nexus * found, engine.nexuses().find(uuid));
  const WallTime now = engine.cores().home().wall_now();
  HF_CO_TRY(const auto attributes, to_attributes(request.entity_id(), request.txn_id(), now));
  HF_CO_TRY(auto wanted, plan(request, attributes, children_by_replica(engine, found->view())));
  HF_CO_TRY(const auto done, co_await found->snapshot(std::move(wanted.snapshots)));
  v1::NexusCreateSnapshotResponse reply;
  *reply.mutable_nexus() = nexus_operations::describe(engine, *found);
  *reply.mutable_snapshot_timestamp() = to_message(now);
  for (std::size_t i = 0; i < done.size(); ++i) {
    auto* status = reply.add_replicas_done();
    status->set_replica_uuid(wanted.replicas[i]);
    status->set_status_code(to_errno(done[i].outcome));
    if (done[i].outcome == Errc::ok) continue;
    HF_LOG(warn, "engine", "no snapshot of a replica", {"nexus", found->name()},
           {"replica", wanted.replicas[i]}, {"error", done[i].text});
  }
  for (const auto& skipped : wanted.skipped) reply.add_replicas_skipped(skipped);
  co_return reply;
}

}  // namespace holdfast::engine::snapshot_operations
