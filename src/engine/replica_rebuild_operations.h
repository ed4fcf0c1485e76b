// What the calls of ReplicaRebuildRpc do, on the home core.
#pragma once

#include "engine/engine.h"
#include "holdfast/v1/rebuild.pb.h"

namespace holdfast::engine::replica_rebuild_operations {

namespace own = holdfast::v1;
namespace v1 = mayastor::v1;

Task<Result<own::ReplicaRebuild>> create(Engine& engine, const own::RebuildReplicaRequest& request);
Task<Result<own::ListReplicaRebuildsResponse>> list(Engine& engine,
                                                    const own::ListReplicaRebuildsRequest& request);
Task<Result<google::protobuf::Empty>> destroy(Engine& engine,
                                              const own::DestroyReplicaRebuildRequest& request);
Task<Result<v1::Nexus>> add_child(Engine& engine, const own::AddChildNexusRequest& request);
Task<Result<own::Epochs>> epochs(Engine& engine, const own::GetEpochsRequest& request);
Task<Result<own::ListRegionEpochsResponse>> region_epochs(Engine& engine,
                                                          const own::ListRegionEpochsRequest& request);

}  // namespace holdfast::engine::replica_rebuild_operations
