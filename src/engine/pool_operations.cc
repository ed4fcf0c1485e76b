#include "engine/pool_operations.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "engine/foreign_data.h"
#include "engine/naming.h"
#include "engine/nexus_messages.h"
#include "engine/pool_messages.h"
#include "engine/stacking.h"

namespace holdfast::engine {

using google::protobuf::Empty;

namespace {

Error bad(std::string text) { return Error(Errc::invalid_argument, std::move(text)); }

Error no_pool(const std::string& uuid_or_name) {
  return Error(Errc::not_found, fmt::format("there is no pool '{}'", uuid_or_name.substr(0, name_bytes_max)));
}

}  // namespace

Task<Result<LockedPool>> lock_pool(Engine& engine, std::string uuid_or_name) {
  const Pools::Known* seen = engine.pools().find(uuid_or_name);
  if (seen == nullptr) co_return no_pool(uuid_or_name);
  const std::string name = seen->name;
  HF_CO_TRY(auto lock, co_await engine.locks().acquire(Pools::lock_key(name)));
  Pools::Known* known = engine.pools().find(name);
  if (known == nullptr) co_return no_pool(name);
  co_return LockedPool(std::move(lock), *known);
}

Task<Result<LockedPool>> lock_open_pool(Engine& engine, std::string uuid_or_name) {
  HF_CO_TRY(auto locked, co_await lock_pool(engine, std::move(uuid_or_name)));
  if (locked.known->pool == nullptr) {
    co_return Error(Errc::failed_precondition,
                    fmt::format("pool '{}' is not open: {}", locked.known->name, locked.known->reason));
  }
  co_return locked;
}

namespace pool_operations {
namespace {

Status check_type(v1::PoolType type) {
  if (type == v1::PoolType::Lvs) return Status();
  if (type == v1::PoolType::Lvm) {
    return Error(Errc::failed_precondition, "pooltype: LVM is not supported; use Lvs");
  }
  return bad(fmt::format("pooltype: {} is not a type; use Lvs", static_cast<int>(type)));
}

template <class Disks>
Result<std::vector<std::string>> to_disks(const Disks& given) {
  if (given.empty()) return bad("disks: none given; a pool needs at least one");
  if (given.size() > static_cast<int>(pool::disks_max)) {
    return bad(fmt::format("disks: {} given, a pool has at most {}", given.size(), pool::disks_max));
  }
  std::vector<std::string> disks;
  for (const auto& disk : given) disks.push_back(disk_uri(disk));
  return disks;
}

template <class Request>
Result<std::optional<Uuid>> to_optional_uuid(const Request& request) {
  std::optional<Uuid> uuid;
  if (!request.has_uuid()) return uuid;
  HF_TRY(uuid, to_uuid("uuid", request.uuid().value()));
  if (uuid->is_nil()) return bad("uuid: the nil UUID names nothing");
  return uuid;
}

// The pool that a request names by its name and, perhaps, its UUID.
template <class Request>
Task<Result<LockedPool>> lock_named(Engine& engine, const Request& request) {
  HF_CO_TRY(const auto uuid, to_optional_uuid(request));
  if (request.name().empty() && !uuid) co_return bad("name: none given");
  const std::string wanted = request.name().empty() ? uuid->to_string() : request.name();
  HF_CO_TRY(auto locked, co_await lock_pool(engine, wanted));
  if (uuid && *uuid != locked.known->uuid) {
    co_return Error(Errc::not_found, fmt::format("pool '{}' has the UUID {}, not {}", locked.known->name,
                                                 locked.known->uuid.to_string(), uuid->to_string()));
  }
  co_return locked;
}

bool same_disks(const Pools::Known& known, std::vector<std::string> disks) {
  std::vector<std::string> others = known.disks;
  std::sort(disks.begin(), disks.end());
  std::sort(others.begin(), others.end());
  return disks == others;
}

bool takes_no_changes(const Pools::Known& known) {
  return known.pool == nullptr || known.pool->view().status == pool::PoolStatus::faulted;
}

// Of a pool that is there already and is asked for again.
Error exists(const Pools::Known& known, const std::vector<std::string>& disks) {
  if (same_disks(known, disks)) {
    return Error(Errc::already_exists,
                 fmt::format("pool '{}' exists already{}", known.name,
                             known.pool == nullptr ? " and is not open: " + known.reason : ""));
  }
  return bad(
      fmt::format("pool '{}' exists already, on other disks: {}", known.name, fmt::join(known.disks, ", ")));
}

Task<Result<Pools::Known*>> create_locked(Engine& engine, pool::PoolParams params) {
  HF_CO_CHECK(check_name("pool name", params.name));
  HF_CO_TRY(const auto lock, co_await engine.locks().acquire(Pools::lock_key(params.name)));
  if (const auto* known = engine.pools().find(params.name)) co_return exists(*known, params.disks);
  if (params.uuid && engine.pools().find(*params.uuid) != nullptr) {
    co_return Error(Errc::already_exists,
                    fmt::format("uuid: pool '{}' has {}", engine.pools().find(*params.uuid)->name,
                                params.uuid->to_string()));
  }
  co_return co_await engine.pools().create(std::move(params));
}

}  // namespace

Task<Result<v1::Pool>> create(Engine& engine, const v1::CreatePoolRequest& request) {
  HF_CO_CHECK(check_type(request.pooltype()));
  pool::PoolParams params;
  params.name = request.name();
  HF_CO_TRY(params.uuid, to_optional_uuid(request));
  HF_CO_TRY(params.disks, to_disks(request.disks()));
  if (request.has_cluster_size() && request.cluster_size() != 0)
    params.cluster_bytes = request.cluster_size();
  HF_CO_TRY(const Pools::Known* known, co_await create_locked(engine, std::move(params)));
  co_return pool_message(*known);
}

Task<Result<own::PoolDetail>> create_by_force(Engine& engine, const own::CreatePoolRequest& request) {
  pool::PoolParams params;
  params.name = request.name();
  if (request.has_uuid()) {
    HF_CO_TRY(params.uuid, to_uuid("uuid", request.uuid()));
    if (params.uuid->is_nil()) co_return bad("uuid: the nil UUID names nothing");
  }
  HF_CO_TRY(params.disks, to_disks(request.disks()));
  if (request.has_cluster_size() && request.cluster_size() != 0)
    params.cluster_bytes = request.cluster_size();
  params.force = request.force();
  HF_CO_TRY(const Pools::Known* known, co_await create_locked(engine, std::move(params)));
  co_return pool_detail(*known);
}

Task<Result<v1::Pool>> import(Engine& engine, const v1::ImportPoolRequest& request) {
  HF_CO_CHECK(check_type(request.pooltype()));
  HF_CO_CHECK(check_name("pool name", request.name()));
  HF_CO_TRY(const auto uuid, to_optional_uuid(request));
  HF_CO_TRY(auto disks, to_disks(request.disks()));
  HF_CO_TRY(const auto lock, co_await engine.locks().acquire(Pools::lock_key(request.name())));
  if (auto* known = engine.pools().find(request.name())) {
    if (!takes_no_changes(*known) || !same_disks(*known, disks)) co_return exists(*known, disks);
    if (uuid && *uuid != known->uuid) {
      co_return bad(fmt::format("uuid: pool '{}' has {}, not {}", known->name, known->uuid.to_string(),
                                uuid->to_string()));
    }
    HF_CO_CHECK(co_await engine.pools().reopen(*known));
    co_return pool_message(*known);
  }
  HF_CO_TRY(const Pools::Known* known,
            co_await engine.pools().import(request.name(), uuid, std::move(disks)));
  co_return pool_message(*known);
}

Task<Result<Empty>> destroy(Engine& engine, const v1::DestroyPoolRequest& request) {
  HF_CO_TRY(auto locked, co_await lock_named(engine, request));
  HF_CO_CHECK(co_await engine.pools().release(*locked.known, true));
  co_return Empty();
}

Task<Result<Empty>> export_pool(Engine& engine, const v1::ExportPoolRequest& request) {
  HF_CO_TRY(auto locked, co_await lock_named(engine, request));
  HF_CO_CHECK(co_await engine.pools().release(*locked.known, false));
  co_return Empty();
}

Task<Result<v1::ListPoolsResponse>> list(Engine& engine, const v1::ListPoolOptions& request) {
  HF_CO_TRY(const auto uuid, to_optional_uuid(request));
  v1::ListPoolsResponse reply;
  if (request.has_pooltype() && request.pooltype().value() != v1::PoolType::Lvs) co_return reply;
  for (const Pools::Known* known : engine.pools().list()) {
    if (request.has_name() && request.name().value() != known->name) continue;
    if (uuid && *uuid != known->uuid) continue;
    *reply.add_pools() = pool_message(*known);
  }
  co_return reply;
}

Task<Result<v1::GrowPoolResponse>> grow(Engine& engine, const v1::GrowPoolRequest& request) {
  HF_CO_TRY(auto locked, co_await lock_named(engine, request));
  if (locked.known->pool == nullptr) {
    co_return Error(Errc::failed_precondition,
                    fmt::format("pool '{}' is not open: {}", locked.known->name, locked.known->reason));
  }
  v1::GrowPoolResponse reply;
  *reply.mutable_previous_pool() = pool_message(*locked.known);
  HF_CO_CHECK(co_await locked.known->pool->grow());
  *reply.mutable_current_pool() = pool_message(*locked.known);
  co_return reply;
}

Task<Result<own::ListPoolDetailsResponse>> list_details(Engine& engine,
                                                        const own::ListPoolDetailsRequest& request) {
  own::ListPoolDetailsResponse reply;
  if (request.has_pool()) {
    const auto* known = engine.pools().find(request.pool());
    if (known == nullptr) co_return no_pool(request.pool());
    *reply.add_pools() = pool_detail(*known);
    co_return reply;
  }
  for (const Pools::Known* known : engine.pools().list()) *reply.add_pools() = pool_detail(*known);
  co_return reply;
}

Task<Result<own::PoolDetail>> add_disk(Engine& engine, const own::AddDiskRequest& request) {
  if (request.disk().empty()) co_return bad("disk: none given");
  HF_CO_TRY(auto locked, co_await lock_open_pool(engine, request.pool()));
  const std::string disk = disk_uri(request.disk());
  const Pools::Known& known = *locked.known;
  const auto is_own = [&known](const BlockDevice& d) { return known.pool->device(d.identity().uuid) == &d; };
  if (reaches(engine, disk, is_own))
    co_return bad(fmt::format("disk {} lies on pool '{}' itself", disk, known.name));
  if (!request.force()) HF_CO_CHECK(co_await check_foreign_data(engine.devices(), disk, "add-disk"));
  HF_CO_CHECK(co_await engine.pools().add_disk(*locked.known, disk, request.force()));
  co_return pool_detail(*locked.known);
}

Task<Result<own::PoolDetail>> set_thresholds(Engine& engine, const own::SetPoolThresholdsRequest& request) {
  const auto& limits = request.thresholds();
  if (limits.warning() < 1 || limits.warning() > limits.critical() || limits.critical() > 100) {
    co_return bad(
        fmt::format("thresholds: warning {} and critical {} are not percents of the capacity, 1 to 100, "
                    "with the warning first",
                    limits.warning(), limits.critical()));
  }
  HF_CO_TRY(auto locked, co_await lock_pool(engine, request.pool()));
  Pools::Known& known = *locked.known;
  const auto warning = std::exchange(known.used_percent_warning, limits.warning());
  const auto critical = std::exchange(known.used_percent_critical, limits.critical());
  const Status kept = co_await engine.pools().remember(known);
  if (!kept.ok()) {
    known.used_percent_warning = warning;
    known.used_percent_critical = critical;
    co_return kept.error();
  }
  if (known.pool != nullptr) known.pool->set_thresholds(limits.warning(), limits.critical());
  co_return pool_detail(known);
}

Task<Result<own::PoolDetail>> reset_disk_health(Engine& engine, const own::ResetDiskHealthRequest& request) {
  HF_CO_TRY(auto locked, co_await lock_open_pool(engine, request.pool()));
  std::optional<std::string> disk;
  if (request.has_disk()) disk = disk_uri(request.disk());
  HF_CO_CHECK(locked.known->pool->reset_disk_health(disk));
  co_return pool_detail(*locked.known);
}

}  // namespace pool_operations
}  // namespace holdfast::engine
