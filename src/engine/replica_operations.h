// What the calls about replicas do, on the home core. Each that changes something holds the lock of its pool.
#pragma once

#include <optional>
#include <string>

#include "engine/engine.h"
#include "engine/pool_operations.h"
#include "mayastor/v1/replica.pb.h"

namespace holdfast::engine {

// A replica, clone or snapshot whose pool no other operation works on meanwhile.
struct LockedVolume {
  KeyedLocks::Lock lock;
  Pools::Known* known;
  pool::VolumeView volume;
  LockedVolume(KeyedLocks::Lock l, Pools::Known& k, pool::VolumeView v) noexcept
      : lock(std::move(l)), known(&k), volume(std::move(v)) {}
};
// The pool that a request about a volume may name besides it.
struct NamedPool {
  std::string uuid_or_name;  // empty: the request names none
};
// `what` begins error texts: "replica", "snapshot". Errors: not_found; failed_precondition when it is not
// there but may be in a pool that is not open. It may not when an open pool is named.
Task<Result<LockedVolume>> lock_volume(Engine& engine, const char* what, Uuid uuid,
                                       const NamedPool* named = nullptr);
// Ends its export, and destroys it; what fails leaves both. Errors: busy, those of the pool.
Task<Status> destroy_volume(Engine& engine, const LockedVolume& locked);
// Errors: already_exists when a volume or snapshot of any pool has the name or the UUID. Of what is to be a snapshot in
// `snapshot_in`: snapshots of other pools may have the name.
Status check_unused(Engine& engine, const std::string& name, const Uuid& uuid,
                    const Pools::Known* snapshot_in = nullptr);
// Errors: failed_precondition when there is no such pool, or it is not open; miscompare when the volume is in another.
Status check_pool(Engine& engine, const NamedPool& named);
Status check_in_pool(const NamedPool& named, const char* what, const LockedVolume& locked);
template <class Request>
NamedPool named_pool(const Request& request) {
  if (request.has_pool_name()) return NamedPool{request.pool_name()};
  if (request.has_pool_uuid()) return NamedPool{request.pool_uuid()};
  return NamedPool{};
}

namespace replica_operations {

namespace v1 = mayastor::v1;
namespace own = holdfast::v1;

Task<Result<v1::Replica>> create(Engine& engine, const v1::CreateReplicaRequest& request);
Task<Result<google::protobuf::Empty>> destroy(Engine& engine, const v1::DestroyReplicaRequest& request);
Task<Result<v1::ListReplicasResponse>> list(Engine& engine, const v1::ListReplicaOptions& request);
Task<Result<v1::Replica>> share(Engine& engine, const v1::ShareReplicaRequest& request);
Task<Result<v1::Replica>> unshare(Engine& engine, const v1::UnshareReplicaRequest& request);
Task<Result<v1::Replica>> resize(Engine& engine, const v1::ResizeReplicaRequest& request);
Task<Result<v1::Replica>> set_entity_id(Engine& engine, const v1::SetReplicaEntityIdRequest& request);

Task<Result<v1::Replica>> revert(Engine& engine, const own::RevertReplicaRequest& request);
Task<Result<own::DiffSnapshotsResponse>> diff(Engine& engine, const own::DiffSnapshotsRequest& request);
Task<Result<own::ReplicaEpochs>> epochs(Engine& engine, const own::GetReplicaEpochsRequest& request);

}  // namespace replica_operations
}  // namespace holdfast::engine
