// What the calls about pools do, on the home core. Each that changes something holds the lock of its pool.
#pragma once

#include <string>

#include "engine/engine.h"
#include "holdfast/v1/pool.pb.h"
#include "mayastor/v1/pool.pb.h"

namespace holdfast::engine {

// A pool that no other operation works on meanwhile.
struct LockedPool {
  KeyedLocks::Lock lock;
  Pools::Known* known;
  LockedPool(KeyedLocks::Lock l, Pools::Known& k) noexcept : lock(std::move(l)), known(&k) {}
};
// By UUID or name. Errors: not_found; resource_exhausted when too many wait for it.
Task<Result<LockedPool>> lock_pool(Engine& engine, std::string uuid_or_name);
// The same for what needs the pool's content. Errors: failed_precondition when it is not open.
Task<Result<LockedPool>> lock_open_pool(Engine& engine, std::string uuid_or_name);

namespace pool_operations {

namespace v1 = mayastor::v1;
namespace own = holdfast::v1;

Task<Result<v1::Pool>> create(Engine& engine, const v1::CreatePoolRequest& request);
Task<Result<v1::Pool>> import(Engine& engine, const v1::ImportPoolRequest& request);
Task<Result<google::protobuf::Empty>> destroy(Engine& engine, const v1::DestroyPoolRequest& request);
Task<Result<google::protobuf::Empty>> export_pool(Engine& engine, const v1::ExportPoolRequest& request);
Task<Result<v1::ListPoolsResponse>> list(Engine& engine, const v1::ListPoolOptions& request);
Task<Result<v1::GrowPoolResponse>> grow(Engine& engine, const v1::GrowPoolRequest& request);

Task<Result<own::PoolDetail>> create_by_force(Engine& engine, const own::CreatePoolRequest& request);
Task<Result<own::ListPoolDetailsResponse>> list_details(Engine& engine,
                                                        const own::ListPoolDetailsRequest& request);
Task<Result<own::PoolDetail>> add_disk(Engine& engine, const own::AddDiskRequest& request);
Task<Result<own::PoolDetail>> set_thresholds(Engine& engine, const own::SetPoolThresholdsRequest& request);
Task<Result<own::PoolDetail>> reset_disk_health(Engine& engine, const own::ResetDiskHealthRequest& request);

}  // namespace pool_operations
}  // namespace holdfast::engine
