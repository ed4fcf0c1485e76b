// What the calls about snapshots do, on the home core. Each that changes something holds the lock of its pool,
// or of its nexus.
#pragma once

#include "engine/engine.h"
#include "mayastor/v1/snapshot.pb.h"

namespace holdfast::engine::snapshot_operations {

namespace v1 = mayastor::v1;

Task<Result<v1::CreateReplicaSnapshotResponse>> create(Engine& engine,
                                                       const v1::CreateReplicaSnapshotRequest& request);
Task<Result<v1::NexusCreateSnapshotResponse>> create_for_nexus(Engine& engine,
                                                               const v1::NexusCreateSnapshotRequest& request);
Task<Result<v1::ListSnapshotsResponse>> list(Engine& engine, const v1::ListSnapshotsRequest& request);
Task<Result<google::protobuf::Empty>> destroy(Engine& engine, const v1::DestroySnapshotRequest& request);
Task<Result<v1::Replica>> create_clone(Engine& engine, const v1::CreateSnapshotCloneRequest& request);
Task<Result<v1::ListSnapshotCloneResponse>> list_clones(Engine& engine,
                                                        const v1::ListSnapshotCloneRequest& request);

}  // namespace holdfast::engine::snapshot_operations
