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
#include "mayastor/v1/bdev.grpc.pb.h"
#include "mayastor/v1/host.grpc.pb.h"
#include "mayastor/v1/nexus.grpc.pb.h"

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

#undef HF_FAKE

class EngineCommandsTest : public testing::Test {
 protected:
  EngineCommandsTest() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(url_, grpc::InsecureServerCredentials());
    builder.RegisterService(&bdevs);
    builder.RegisterService(&nexuses);
    builder.RegisterService(&host);
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
  std::string out, err;
  bool live = false;

 private:
  std::string url_ = "unix:/tmp/holdfast-fake-engine-" + std::to_string(getpid());
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace holdfast::cli
