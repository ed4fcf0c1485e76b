// What the calls about I/O counters do, on the home core.
#pragma once

#include "engine/engine.h"
#include "mayastor/v1/stats.pb.h"

namespace holdfast::engine {

namespace stats_operations {

namespace v1 = mayastor::v1;

Task<Result<v1::PoolIoStatsResponse>> pools(Engine& engine, const v1::ListStatsOption& request);
Task<Result<v1::NexusIoStatsResponse>> nexuses(Engine& engine, const v1::ListStatsOption& request);
Task<Result<v1::ReplicaIoStatsResponse>> replicas(Engine& engine, const v1::ListStatsOption& request);
// All of them but those of what is being worked on. Errors: resource_exhausted, with the name of one of these.
Task<Result<google::protobuf::Empty>> reset(Engine& engine, const google::protobuf::Empty& request);

}  // namespace stats_operations
}  // namespace holdfast::engine
