// What engines say and are told, between the messages of mayastor.v1 and the model.
#pragma once

#include <string>

#include <grpcpp/support/status.h>

#include "control/engine.h"
#include "holdfast/v1/pool.pb.h"
#include "holdfast/v1/report.pb.h"
#include "mayastor/v1/host.pb.h"
#include "mayastor/v1/nexus.pb.h"
#include "mayastor/v1/pool.pb.h"
#include "mayastor/v1/replica.pb.h"
#include "mayastor/v1/snapshot.pb.h"

namespace holdfast::control {

// Under the Kind of the code, the node's name before its text.
Error error_of(const NodeId& node, const grpc::Status& status);

// What cannot be read (an id that is no UUID) is left out or nil: an engine may have what this agent never made.
PoolState pool_of(const NodeId& node, const mayastor::v1::Pool& pool);
PoolState pool_of(const NodeId& node, const holdfast::v1::PoolDetail& detail);
ReplicaState replica_of(const NodeId& node, const mayastor::v1::Replica& replica);
NexusState nexus_of(const NodeId& node, const mayastor::v1::Nexus& nexus);
SnapshotState snapshot_of(const NodeId& node, const mayastor::v1::SnapshotInfo& snapshot);
EngineReport report_of(const NodeId& node, const holdfast::v1::Report& report);
Registration registration_of(const mayastor::v1::MayastorInfoResponse& info);
BlockDeviceInfo block_device_of(const mayastor::v1::BlockDevice& device);
RebuildRecord rebuild_of(const mayastor::v1::RebuildHistoryRecord& record);
RebuildRecord rebuild_of(const std::string& uri, const mayastor::v1::RebuildStatsResponse& stats);

UnixNanos unix_nanos(const google::protobuf::Timestamp& time) noexcept;
mayastor::v1::ShareProtocol share_of(Protocol protocol) noexcept;

}  // namespace holdfast::control
