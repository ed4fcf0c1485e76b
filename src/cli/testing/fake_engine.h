// An engine that answers what a test tells it to, on a real socket. For tests of this folder only.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "cli/engine_commands.h"
#include "cli/tool/tool.h"
#include "holdfast/v1/pool.grpc.pb.h"
#include "holdfast/v1/rebuild.grpc.pb.h"
#include "mayastor/v1/bdev.grpc.pb.h"
#include "mayastor/v1/host.grpc.pb.h"
#include "mayastor/v1/nexus.grpc.pb.h"
#include "mayastor/v1/pool.grpc.pb.h"
#include "mayastor/v1/replica.grpc.pb.h"
#include "mayastor/v1/snapshot.grpc.pb.h"
#include "mayastor/v1/snapshot_rebuild.grpc.pb.h"
#include "mayastor/v1/stats.grpc.pb.h"
#include "mayastor/v1/test.grpc.pb.h"

namespace holdfast::cli {

namespace api = mayastor::v1;

// What a fake call does: fills the answer, returns the status.
template <class Request, class Answer>
using Handler = std::function<grpc::Status(const Request&, Answer&)>;

// One overridden method that passes the call to a member `on_<method>`; a test that sets none gets
// UNIMPLEMENTED.
#define HF_FAKE(method, Request, Answer)                                                       \
  Handler<Request, Answer> on_##method;                                                        \
  grpc::Status method(grpc::ServerContext*, const Request* request, Answer* answer) override { \
    if (!on_##method) return {grpc::StatusCode::UNIMPLEMENTED, #method " is not faked"};       \
    return on_##method(*request, *answer);                                                     \
  }

class FakeBdevs : public api::BdevRpc::Service {
 public:
  HF_FAKE(Create, api::CreateBdevRequest, api::CreateBdevResponse)
  HF_FAKE(Destroy, api::DestroyBdevRequest, google::protobuf::Empty)
  HF_FAKE(List, api::ListBdevOptions, api::ListBdevResponse)
  HF_FAKE(Share, api::BdevShareRequest, api::BdevShareResponse)
  HF_FAKE(Unshare, api::BdevUnshareRequest, google::protobuf::Empty)
};

class FakeNexuses : public api::NexusRpc::Service {
 public:
  HF_FAKE(CreateNexus, api::CreateNexusRequest, api::CreateNexusResponse)
  HF_FAKE(DestroyNexus, api::DestroyNexusRequest, google::protobuf::Empty)
  HF_FAKE(ResizeNexus, api::ResizeNexusRequest, api::ResizeNexusResponse)
  HF_FAKE(ListNexus, api::ListNexusOptions, api::ListNexusResponse)
  HF_FAKE(ShutdownNexus, api::ShutdownNexusRequest, api::ShutdownNexusResponse)
  HF_FAKE(PublishNexus, api::PublishNexusRequest, api::PublishNexusResponse)
  HF_FAKE(UnpublishNexus, api::UnpublishNexusRequest, api::UnpublishNexusResponse)
  HF_FAKE(GetNvmeAnaState, api::GetNvmeAnaStateRequest, api::GetNvmeAnaStateResponse)
  HF_FAKE(SetNvmeAnaState, api::SetNvmeAnaStateRequest, api::SetNvmeAnaStateResponse)
  HF_FAKE(AddChildNexus, api::AddChildNexusRequest, api::AddChildNexusResponse)
  HF_FAKE(RemoveChildNexus, api::RemoveChildNexusRequest, api::RemoveChildNexusResponse)
  HF_FAKE(FaultNexusChild, api::FaultNexusChildRequest, api::FaultNexusChildResponse)
  HF_FAKE(ChildOperation, api::ChildOperationRequest, api::ChildOperationResponse)
  HF_FAKE(StartRebuild, api::StartRebuildRequest, api::StartRebuildResponse)
  HF_FAKE(StopRebuild, api::StopRebuildRequest, api::StopRebuildResponse)
  HF_FAKE(PauseRebuild, api::PauseRebuildRequest, api::PauseRebuildResponse)
  HF_FAKE(ResumeRebuild, api::ResumeRebuildRequest, api::ResumeRebuildResponse)
  HF_FAKE(GetRebuildState, api::RebuildStateRequest, api::RebuildStateResponse)
  HF_FAKE(GetRebuildStats, api::RebuildStatsRequest, api::RebuildStatsResponse)
  HF_FAKE(GetRebuildHistory, api::RebuildHistoryRequest, api::RebuildHistoryResponse)
};

class FakeHost : public api::HostRpc::Service {
 public:
  HF_FAKE(GetMayastorInfo, google::protobuf::Empty, api::MayastorInfoResponse)
  HF_FAKE(ListBlockDevices, api::ListBlockDevicesRequest, api::ListBlockDevicesResponse)
  HF_FAKE(GetMayastorResourceUsage, google::protobuf::Empty, api::GetMayastorResourceUsageResponse)
  HF_FAKE(ListNvmeControllers, google::protobuf::Empty, api::ListNvmeControllersResponse)
  HF_FAKE(StatNvmeController, api::StatNvmeControllerRequest, api::StatNvmeControllerResponse)
};

class FakePools : public api::PoolRpc::Service {
 public:
  HF_FAKE(CreatePool, api::CreatePoolRequest, api::Pool)
  HF_FAKE(DestroyPool, api::DestroyPoolRequest, google::protobuf::Empty)
  HF_FAKE(ExportPool, api::ExportPoolRequest, google::protobuf::Empty)
  HF_FAKE(ImportPool, api::ImportPoolRequest, api::Pool)
  HF_FAKE(ListPools, api::ListPoolOptions, api::ListPoolsResponse)
  HF_FAKE(GrowPool, api::GrowPoolRequest, api::GrowPoolResponse)
};

class FakePoolExtras : public v1::PoolRpc::Service {
 public:
  HF_FAKE(CreatePool, v1::CreatePoolRequest, v1::PoolDetail)
  HF_FAKE(ListPoolDetails, v1::ListPoolDetailsRequest, v1::ListPoolDetailsResponse)
  HF_FAKE(AddDisk, v1::AddDiskRequest, v1::PoolDetail)
  HF_FAKE(SetPoolThresholds, v1::SetPoolThresholdsRequest, v1::PoolDetail)
  HF_FAKE(ResetDiskHealth, v1::ResetDiskHealthRequest, v1::PoolDetail)
  HF_FAKE(DiffSnapshots, v1::DiffSnapshotsRequest, v1::DiffSnapshotsResponse)
  HF_FAKE(RevertReplica, v1::RevertReplicaRequest, api::Replica)
  HF_FAKE(GetReplicaEpochs, v1::GetReplicaEpochsRequest, v1::ReplicaEpochs)
};

class FakeReplicas : public api::ReplicaRpc::Service {
 public:
  HF_FAKE(CreateReplica, api::CreateReplicaRequest, api::Replica)
  HF_FAKE(DestroyReplica, api::DestroyReplicaRequest, google::protobuf::Empty)
  HF_FAKE(ListReplicas, api::ListReplicaOptions, api::ListReplicasResponse)
  HF_FAKE(ShareReplica, api::ShareReplicaRequest, api::Replica)
  HF_FAKE(UnshareReplica, api::UnshareReplicaRequest, api::Replica)
  HF_FAKE(ResizeReplica, api::ResizeReplicaRequest, api::Replica)
  HF_FAKE(SetReplicaEntityId, api::SetReplicaEntityIdRequest, api::Replica)
};

class FakeSnapshots : public api::SnapshotRpc::Service {
 public:
  HF_FAKE(CreateReplicaSnapshot, api::CreateReplicaSnapshotRequest, api::CreateReplicaSnapshotResponse)
  HF_FAKE(CreateNexusSnapshot, api::NexusCreateSnapshotRequest, api::NexusCreateSnapshotResponse)
  HF_FAKE(ListSnapshot, api::ListSnapshotsRequest, api::ListSnapshotsResponse)
  HF_FAKE(DestroySnapshot, api::DestroySnapshotRequest, google::protobuf::Empty)
  HF_FAKE(CreateSnapshotClone, api::CreateSnapshotCloneRequest, api::Replica)
  HF_FAKE(ListSnapshotClone, api::ListSnapshotCloneRequest, api::ListSnapshotCloneResponse)
};

class FakeSnapshotRebuilds : public api::SnapshotRebuildRpc::Service {
 public:
  HF_FAKE(CreateSnapshotRebuild, api::CreateSnapshotRebuildRequest, api::SnapshotRebuild)
  HF_FAKE(ListSnapshotRebuild, api::ListSnapshotRebuildRequest, api::ListSnapshotRebuildResponse)
  HF_FAKE(DestroySnapshotRebuild, api::DestroySnapshotRebuildRequest, google::protobuf::Empty)
};

class FakeReplicaRebuilds : public v1::ReplicaRebuildRpc::Service {
 public:
  HF_FAKE(RebuildReplica, v1::RebuildReplicaRequest, v1::ReplicaRebuild)
  HF_FAKE(ListReplicaRebuilds, v1::ListReplicaRebuildsRequest, v1::ListReplicaRebuildsResponse)
  HF_FAKE(DestroyReplicaRebuild, v1::DestroyReplicaRebuildRequest, google::protobuf::Empty)
  HF_FAKE(AddChildNexus, v1::AddChildNexusRequest, api::Nexus)
};

class FakeStats : public api::StatsRpc::Service {
 public:
  HF_FAKE(GetPoolIoStats, api::ListStatsOption, api::PoolIoStatsResponse)
  HF_FAKE(GetNexusIoStats, api::ListStatsOption, api::NexusIoStatsResponse)
  HF_FAKE(GetReplicaIoStats, api::ListStatsOption, api::ReplicaIoStatsResponse)
  HF_FAKE(ResetIoStats, google::protobuf::Empty, google::protobuf::Empty)
};

// Streams what a test has put here.
class FakeTests : public api::TestRpc::Service {
 public:
  HF_FAKE(GetFeatures, google::protobuf::Empty, api::TestFeatures)
  HF_FAKE(AddFaultInjection, api::AddFaultInjectionRequest, google::protobuf::Empty)
  HF_FAKE(RemoveFaultInjection, api::RemoveFaultInjectionRequest, google::protobuf::Empty)
  HF_FAKE(ListFaultInjections, api::ListFaultInjectionsRequest, api::ListFaultInjectionsReply)
  grpc::Status WipeReplica(grpc::ServerContext*, const api::WipeReplicaRequest* request,
                           grpc::ServerWriter<api::WipeReplicaResponse>* writer) override {
    asked = *request;
    for (const auto& message : messages) writer->Write(message);
    return end;
  }
  api::WipeReplicaRequest asked;
  std::vector<api::WipeReplicaResponse> messages;
  grpc::Status end;
};

#undef HF_FAKE

class EngineCommandsTest : public testing::Test {
 protected:
  EngineCommandsTest() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(url_, grpc::InsecureServerCredentials());
    builder.RegisterService(&bdevs);
    builder.RegisterService(&nexuses);
    builder.RegisterService(&host);
    builder.RegisterService(&pools);
    builder.RegisterService(&pool_extras);
    builder.RegisterService(&replicas);
    builder.RegisterService(&snapshots);
    builder.RegisterService(&snapshot_rebuilds);
    builder.RegisterService(&replica_rebuilds);
    builder.RegisterService(&stats);
    builder.RegisterService(&tests);
    server_ = builder.BuildAndStart();
  }
  ~EngineCommandsTest() override { server_->Shutdown(); }

  // Runs `holdfast engine <arguments>` against the fake. Text goes to `out` and `err`.
  int run(std::vector<std::string> arguments) {
    out.clear();
    err.clear();
    std::ostringstream out_stream, err_stream;
    Tool tool(out_stream, err_stream, live);
    add_engine_commands(tool);
    arguments.insert(arguments.begin(), {"engine", "--bind", url_});
    const int status = tool.run(std::move(arguments));
    out = out_stream.str();
    err = err_stream.str();
    return status;
  }

  FakeBdevs bdevs;
  FakeNexuses nexuses;
  FakeHost host;
  FakePools pools;
  FakePoolExtras pool_extras;
  FakeReplicas replicas;
  FakeSnapshots snapshots;
  FakeSnapshotRebuilds snapshot_rebuilds;
  FakeReplicaRebuilds replica_rebuilds;
  FakeStats stats;
  FakeTests tests;
  std::string out, err;
  bool live = false;

 private:
  std::string url_ = "unix:/tmp/holdfast-fake-engine-" + std::to_string(getpid());
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace holdfast::cli
