#include "engine/replica_operations.h"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "engine/naming.h"
#include "engine/nexus_messages.h"
#include "engine/pool_messages.h"
#include "engine/sharing.h"

namespace holdfast::engine {

using google::protobuf::Empty;

namespace {

Error bad(std::string text) { return Error(Errc::invalid_argument, std::move(text)); }

constexpr std::size_t entity_id_bytes_max = 1024;

Status check_entity_id(const std::string& id) {
  if (id.size() <= entity_id_bytes_max) return Status();
  return bad(fmt::format("entity_id: {} bytes, at most {} are allowed", id.size(), entity_id_bytes_max));
}

// NONE leaves a replica where it is.
Status check_share(mayastor::v1::ShareProtocol protocol) {
  if (protocol == mayastor::v1::ShareProtocol::NONE) return Status();
  return check_protocol(protocol);
}

std::string joined(const std::vector<std::string>& hosts) { return fmt::format("{}", fmt::join(hosts, ",")); }

mayastor::v1::Replica describe(Engine& engine, const Pools::Known& known, const Uuid& uuid) {
  const auto now = known.pool->find(uuid);
  HF_ASSERT(now.ok());  // its pool is locked
  return replica_message(engine.exports(), known, now.value());
}

}  // namespace

Task<Result<LockedVolume>> lock_volume(Engine& engine, const char* what, Uuid uuid, const NamedPool* named) {
  const auto seen = engine.pools().find_volume(uuid);
  const auto* said = named == nullptr ? nullptr : engine.pools().find(named->uuid_or_name);
  const bool is_known = said != nullptr && said->pool != nullptr;
  if (!seen) {
    if (const auto* closed = is_known ? nullptr : engine.pools().closed_one()) {
      co_return Error(Errc::failed_precondition,
                      fmt::format("{} {} is in no open pool, and pool '{}' is not open: {}", what,
                                  uuid.to_string(), closed->name, closed->reason));
    }
    co_return Error(Errc::not_found, fmt::format("there is no {} {}", what, uuid.to_string()));
  }
  // A copy in another pool may have the UUID of its original.
  const bool is_there = is_known && said->pool->find(uuid).ok();
  HF_CO_TRY(auto locked, co_await lock_open_pool(engine, is_there ? said->name : seen->known->name));
  auto volume = locked.known->pool->find(uuid);
  if (!volume.ok())
    co_return Error(Errc::not_found, fmt::format("there is no {} {}", what, uuid.to_string()));
  co_return LockedVolume(std::move(locked.lock), *locked.known, std::move(volume).value());
}

Status check_unused(Engine& engine, const std::string& name, const Uuid& uuid,
                    const Pools::Known* snapshot_in) {
  if (const auto other = engine.pools().find_volume(uuid)) {
    return Error(Errc::already_exists, fmt::format("uuid: {} is that of '{}' in pool '{}'", uuid.to_string(),
                                                   other->volume.spec.name, other->known->name));
  }
  for (const Pools::Known* known : engine.pools().list()) {
    if (known->pool == nullptr) continue;
    const auto other = known->pool->find(name);
    if (!other.ok()) continue;
    if (snapshot_in != nullptr && snapshot_in != known && is_snapshot(other.value().spec)) continue;
    return Error(Errc::already_exists,
                 fmt::format("name: '{}' exists already, in pool '{}'", name, known->name));
  }
  return Status();
}

Status check_pool(Engine& engine, const NamedPool& named) {
  if (named.uuid_or_name.empty()) return Status();
  const auto* known = engine.pools().find(named.uuid_or_name);
  if (known == nullptr) {
    return Error(Errc::failed_precondition,
                 fmt::format("there is no pool '{}'", named.uuid_or_name.substr(0, name_bytes_max)));
  }
  if (known->pool == nullptr) {
    return Error(Errc::failed_precondition,
                 fmt::format("pool '{}' is not open: {}", known->name, known->reason));
  }
  return Status();
}

Status check_in_pool(const NamedPool& named, const char* what, const LockedVolume& locked) {
  const std::string& wanted = named.uuid_or_name;
  if (wanted.empty() || wanted == locked.known->name || wanted == locked.known->uuid.to_string())
    return Status();
  return Error(Errc::miscompare,
               fmt::format("{} {} is in pool '{}', not in '{}'", what, locked.volume.spec.uuid.to_string(),
                           locked.known->name, wanted.substr(0, name_bytes_max)));
}

Task<Status> destroy_volume(Engine& engine, const LockedVolume& locked) {
  const pool::VolumeSpec& spec = locked.volume.spec;
  const std::string name = device_name(*locked.known, spec);
  HF_CO_TRY(const auto device, co_await engine.locks().acquire(engine.lock_key(name)));
  HF_CO_CHECK(co_await engine.pools().end_export(*locked.known, spec));
  Status gone = co_await locked.known->pool->destroy_volume(spec.uuid);
  if (!gone.ok() && !text_of(spec.attributes, attribute::shared).empty()) {
    const Status shared = co_await engine.pools().share_again(*locked.known, spec);
    shared.ignore("the error that matters is why it is still there");
  }
  co_return gone;
}

namespace replica_operations {
namespace {

// Of a replica or clone; a snapshot is no replica to those who change it.
Task<Result<LockedVolume>> lock_replica(Engine& engine, const std::string& text,
                                        const NamedPool* named = nullptr) {
  HF_CO_TRY(const Uuid uuid, to_uuid("uuid", text));
  HF_CO_TRY(auto locked, co_await lock_volume(engine, "replica", uuid, named));
  if (is_snapshot(locked.volume.spec)) {
    co_return bad(fmt::format("uuid: {} is the snapshot '{}', not a replica", text, locked.volume.spec.name));
  }
  co_return locked;
}

Result<pool::VolumeParams> to_params(const v1::CreateReplicaRequest& request,
                                     const std::vector<std::string>& hosts) {
  pool::VolumeParams params;
  HF_CHECK(check_name("replica name", request.name()));
  params.name = request.name();
  HF_TRY(params.uuid, to_uuid("uuid", request.uuid()));
  if (params.uuid.is_nil()) return bad("uuid: the nil UUID names nothing");
  if (request.size() == 0) return bad("size: 0 bytes");
  params.size_bytes = request.size();
  params.thick = !request.thin();
  HF_CHECK(check_share(request.share()));
  HF_CHECK(check_entity_id(request.entity_id()));
  if (!request.entity_id().empty()) params.attributes[attribute::entity_id] = request.entity_id();
  if (!hosts.empty()) params.attributes[attribute::allowed_hosts] = joined(hosts);
  if (request.share() == v1::ShareProtocol::NVMF) params.attributes[attribute::shared] = "nvmf";
  return params;
}

// A pool that a request to create names is part of its environment: not there is no error of its own.
Task<Result<LockedPool>> lock_pool_for(Engine& engine, const std::string& uuid_or_name) {
  auto locked = co_await lock_open_pool(engine, uuid_or_name);
  if (locked.code() == Errc::not_found) co_return Error(Errc::failed_precondition, locked.error().message());
  co_return locked;
}

Status check_size(const pool::PoolView& view, const pool::VolumeParams& params) {
  if (!params.thick && params.size_bytes > view.capacity_bytes) {
    return bad(fmt::format("size: {} bytes are more than pool '{}' has: {}", params.size_bytes, view.name,
                           view.capacity_bytes));
  }
  return Status();
}

}  // namespace

Task<Result<v1::Replica>> create(Engine& engine, const v1::CreateReplicaRequest& request) {
  HF_CO_TRY(const auto hosts, allowed_hosts(request.allowed_hosts()));
  HF_CO_TRY(auto params, to_params(request, hosts));
  const Uuid uuid = params.uuid;
  // Two pools do not know each other: a UUID that is being used in one is taken for all.
  HF_CO_TRY(const auto unique, co_await engine.locks().acquire(Pools::lock_key_of_new(uuid)));
  HF_CO_TRY(auto locked, co_await lock_pool_for(engine, request.pooluuid()));
  Pools::Known& known = *locked.known;
  HF_CO_CHECK(check_unused(engine, params.name, uuid));
  HF_CO_CHECK(check_size(known.pool->view(), params));
  HF_CO_TRY(const auto made, co_await known.pool->create_volume(std::move(params)));
  if (request.share() == v1::ShareProtocol::NVMF) {
    const Status shared = co_await engine.pools().share_again(known, made.spec);
    if (!shared.ok()) {
      const LockedVolume whole(std::move(locked.lock), known, made);
      const Status undone = co_await destroy_volume(engine, whole);
      undone.ignore("the error that matters is that of the export");
      co_return shared.error();
    }
  }
  co_return describe(engine, known, uuid);
}

Task<Result<Empty>> destroy(Engine& engine, const v1::DestroyReplicaRequest& request) {
  const NamedPool named = named_pool(request);
  HF_CO_CHECK(check_pool(engine, named));
  HF_CO_TRY(auto locked, co_await lock_replica(engine, request.uuid(), &named));
  HF_CO_CHECK(check_in_pool(named, "replica", locked));
  HF_CO_CHECK(co_await destroy_volume(engine, locked));
  co_return Empty();
}

namespace {

bool wanted_kind(const v1::ListReplicaOptions& request, const pool::VolumeSpec& spec) {
  if (!request.has_query()) return true;
  if (is_snapshot(spec)) return request.query().snapshot();
  return is_clone(spec) ? request.query().clone() : request.query().replica();
}

bool wants_our_type(const v1::ListReplicaOptions& request) {
  const auto& types = request.pooltypes();
  return types.empty() || std::find(types.begin(), types.end(), v1::PoolType::Lvs) != types.end();
}

}  // namespace

Task<Result<v1::ListReplicasResponse>> list(Engine& engine, const v1::ListReplicaOptions& request) {
  HF_CO_TRY(const auto uuid, to_uuid_if(request.has_uuid(), "uuid", request.uuid().value()));
  HF_CO_TRY(const auto pool_uuid, to_uuid_if(request.has_pooluuid(), "pooluuid", request.pooluuid().value()));
  v1::ListReplicasResponse reply;
  if (!wants_our_type(request)) co_return reply;
  for (const Pools::Known* known : engine.pools().list()) {
    if (known->pool == nullptr) continue;
    if (request.has_poolname() && request.poolname().value() != known->name) continue;
    if (pool_uuid && *pool_uuid != known->uuid) continue;
    const std::uint32_t cluster_bytes = known->pool->view().cluster_bytes;
    for (const auto& volume : known->pool->volumes()) {
      if (request.has_name() && request.name().value() != volume.spec.name) continue;
      if (uuid && *uuid != volume.spec.uuid) continue;
      if (wanted_kind(request, volume.spec)) {
        *reply.add_replicas() = replica_message(engine.exports(), *known, cluster_bytes, volume);
      }
    }
  }
  co_return reply;
}

Task<Result<v1::Replica>> share(Engine& engine, const v1::ShareReplicaRequest& request) {
  HF_CO_CHECK(check_protocol(request.share()));
  HF_CO_TRY(auto hosts, allowed_hosts(request.allowed_hosts()));
  HF_CO_TRY(const Uuid uuid, to_uuid("uuid", request.uuid()));
  HF_CO_TRY(auto locked, co_await lock_volume(engine, "replica", uuid));  // or a snapshot, for others to read
  Pools::Known& known = *locked.known;
  HF_CO_TRY(BlockDevice * of, Pools::device_of(known, locked.volume.spec));
  BlockDevice& device = *of;
  std::optional<Exports::Request> before;
  if (const auto* shared = engine.exports().find(device.name())) {
    before.emplace();
    before->allowed_hosts = shared->allowed_hosts;
  }
  const std::string text = joined(hosts);
  Exports::Request how;
  how.allowed_hosts = std::move(hosts);
  HF_CO_CHECK(co_await engine.exports().share(device, std::move(how)));
  pool::Attributes changes;
  changes[attribute::shared] = "nvmf";
  changes[attribute::allowed_hosts] = text;
  const Status kept = co_await known.pool->set_attributes(uuid, std::move(changes));
  if (!kept.ok()) {
    Task<Status> undo =
        before ? engine.exports().share(device, std::move(*before)) : engine.exports().unshare(device.name());
    const Status undone = co_await undo;
    undone.ignore("the error that matters is that of the pool");
    co_return kept.error();
  }
  co_return describe(engine, known, uuid);
}

Task<Result<v1::Replica>> unshare(Engine& engine, const v1::UnshareReplicaRequest& request) {
  HF_CO_TRY(const Uuid uuid, to_uuid("uuid", request.uuid()));
  HF_CO_TRY(auto locked, co_await lock_volume(engine, "replica", uuid));
  const pool::VolumeSpec& spec = locked.volume.spec;
  if (!text_of(spec.attributes, attribute::shared).empty()) {
    pool::Attributes changes;
    changes[attribute::shared] = "";
    changes[attribute::allowed_hosts] = "";
    HF_CO_CHECK(co_await locked.known->pool->set_attributes(spec.uuid, std::move(changes)));
  }
  HF_CO_CHECK(co_await engine.exports().unshare(device_name(*locked.known, spec)));
  co_return describe(engine, *locked.known, spec.uuid);
}

Task<Result<v1::Replica>> resize(Engine& engine, const v1::ResizeReplicaRequest& request) {
  if (request.requested_size() == 0) co_return bad("requested_size: 0 bytes");
  HF_CO_TRY(auto locked, co_await lock_replica(engine, request.uuid()));
  const pool::VolumeSpec& spec = locked.volume.spec;
  const Uuid uuid = spec.uuid;
  const std::uint64_t wanted = request.requested_size();
  const bool shrinks =
      wanted < spec.size_bytes && spec.size_bytes - wanted >= locked.known->pool->view().cluster_bytes;
  DeviceClaim nobody_else;
  // What is cut off is gone, also what a nexus has acknowledged.
  if (BlockDevice* device = shrinks ? locked.known->pool->device(uuid) : nullptr) {
    auto claim = engine.devices().claim(*device, "a resize", DeviceUse::sole);
    if (!claim.ok()) {
      co_return Error(
          Errc::busy,
          fmt::format(
              "requested_size: replica '{}' of pool '{}' has {} bytes and does not shrink while it is "
              "used; unshare it or remove it from its nexus first: {}",
              spec.name, locked.known->name, spec.size_bytes, claim.error().message()));
    }
    nobody_else = std::move(claim).value();
  }
  HF_CO_CHECK(co_await locked.known->pool->resize_volume(uuid, request.requested_size()));
  co_return describe(engine, *locked.known, uuid);
}

Task<Result<v1::Replica>> set_entity_id(Engine& engine, const v1::SetReplicaEntityIdRequest& request) {
  HF_CO_CHECK(check_entity_id(request.entity_id()));
  HF_CO_TRY(auto locked, co_await lock_replica(engine, request.uuid()));
  const Uuid uuid = locked.volume.spec.uuid;
  pool::Attributes changes;
  changes[attribute::entity_id] = request.entity_id();
  HF_CO_CHECK(co_await locked.known->pool->set_attributes(uuid, std::move(changes)));
  co_return describe(engine, *locked.known, uuid);
}

Task<Result<v1::Replica>> revert(Engine& engine, const own::RevertReplicaRequest& request) {
  HF_CO_TRY(const Uuid snapshot, to_uuid("snapshot_uuid", request.snapshot_uuid()));
  HF_CO_TRY(auto locked, co_await lock_replica(engine, request.uuid()));
  const Uuid uuid = locked.volume.spec.uuid;
  HF_CO_CHECK(co_await locked.known->pool->revert_volume(uuid, snapshot));
  co_return describe(engine, *locked.known, uuid);
}

Task<Result<own::DiffSnapshotsResponse>> diff(Engine& engine, const own::DiffSnapshotsRequest& request) {
  constexpr std::size_t ranges_max = 16384;  // of 20 bytes at most: well below gRPC's 4 MiB
  HF_CO_TRY(const auto earlier, to_uuid_if(request.has_earlier(), "earlier", request.earlier()));
  HF_CO_TRY(const Uuid later, to_uuid("later", request.later()));
  HF_CO_TRY(const auto locked, co_await lock_volume(engine, "snapshot or replica", later));
  const std::size_t wanted =
      request.count() == 0 ? ranges_max : std::min<std::size_t>(request.count(), ranges_max);
  HF_CO_TRY(const auto ranges, locked.known->pool->diff(earlier, later, request.offset(), wanted));
  own::DiffSnapshotsResponse reply;
  for (const auto& range : ranges) {
    auto* r = reply.add_ranges();
    r->set_offset(range.offset);
    r->set_length(range.length);
  }
  if (ranges.size() == wanted) reply.set_next_offset(ranges.back().offset + ranges.back().length);
  co_return reply;
}

Task<Result<own::ReplicaEpochs>> epochs(Engine& engine, const own::GetReplicaEpochsRequest& request) {
  HF_CO_TRY(auto locked, co_await lock_replica(engine, request.uuid()));
  HF_CO_TRY(BlockDevice * device, Pools::device_of(*locked.known, locked.volume.spec));
  EpochClient* epochs = device->epochs();
  if (epochs == nullptr) {
    co_return Error(Errc::failed_precondition, fmt::format("replica {} keeps no epochs", request.uuid()));
  }
  HF_CO_TRY(const auto state, co_await epochs->state());
  own::ReplicaEpochs reply;
  reply.set_current(state.current);
  reply.set_sealed(state.sealed);
  reply.set_region_size(state.region_bytes);
  reply.set_regions(state.regions);
  std::uint64_t changed = 0;
  for (std::uint64_t from = 0; from < state.regions;) {
    const std::uint64_t count = std::min(state.regions - from, EpochClient::regions_per_call_max);
    HF_CO_TRY(const auto bitmap, co_await epochs->changed_since(state.sealed, from, count));
    for (const std::uint64_t word : bitmap.words) changed += static_cast<std::uint64_t>(std::popcount(word));
    from += count;
  }
  reply.set_regions_since_sealed(changed);
  co_return reply;
}

}  // namespace replica_operations
}  // namespace holdfast::engine
