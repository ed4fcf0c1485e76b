// What the calls about snapshot rebuilds do, on the home core.
#pragma once

#include "engine/engine.h"
#include "mayastor/v1/snapshot_rebuild.pb.h"

namespace holdfast::engine::snapshot_rebuild_operations {

namespace v1 = mayastor::v1;

Task<Result<v1::SnapshotRebuild>> create(Engine& engine, const v1::CreateSnapshotRebuildRequest& request);
Task<Result<v1::ListSnapshotRebuildResponse>> list(Engine& engine,
                                                   const v1::ListSnapshotRebuildRequest& request);
Task<Result<google::protobuf::Empty>> destroy(Engine& engine,
                                              const v1::DestroySnapshotRebuildRequest& request);

}  // namespace holdfast::engine::snapshot_rebuild_operations
