// mayastor.v1.NexusRpc: nexuses, their children, their export and their rebuilds.
#pragma once

#include "engine/engine.h"
#include "mayastor/v1/nexus.grpc.pb.h"

namespace holdfast::engine {

class NexusService final : public mayastor::v1::NexusRpc::Service {
 public:
  explicit NexusService(Engine& engine) : engine_(engine) {}

#define HF_NEXUS_RPC(name_, request_, reply_)                                                            \
  grpc::Status name_(grpc::ServerContext* context, const mayastor::v1::request_* request, reply_* reply) \
      override
  HF_NEXUS_RPC(CreateNexus, CreateNexusRequest, mayastor::v1::CreateNexusResponse);
  HF_NEXUS_RPC(DestroyNexus, DestroyNexusRequest, google::protobuf::Empty);
  HF_NEXUS_RPC(ResizeNexus, ResizeNexusRequest, mayastor::v1::ResizeNexusResponse);
  HF_NEXUS_RPC(ListNexus, ListNexusOptions, mayastor::v1::ListNexusResponse);
  HF_NEXUS_RPC(ShutdownNexus, ShutdownNexusRequest, mayastor::v1::ShutdownNexusResponse);
  HF_NEXUS_RPC(PublishNexus, PublishNexusRequest, mayastor::v1::PublishNexusResponse);
  HF_NEXUS_RPC(UnpublishNexus, UnpublishNexusRequest, mayastor::v1::UnpublishNexusResponse);
  HF_NEXUS_RPC(GetNvmeAnaState, GetNvmeAnaStateRequest, mayastor::v1::GetNvmeAnaStateResponse);
  HF_NEXUS_RPC(SetNvmeAnaState, SetNvmeAnaStateRequest, mayastor::v1::SetNvmeAnaStateResponse);
  HF_NEXUS_RPC(AddChildNexus, AddChildNexusRequest, mayastor::v1::AddChildNexusResponse);
  HF_NEXUS_RPC(RemoveChildNexus, RemoveChildNexusRequest, mayastor::v1::RemoveChildNexusResponse);
  HF_NEXUS_RPC(FaultNexusChild, FaultNexusChildRequest, mayastor::v1::FaultNexusChildResponse);
  HF_NEXUS_RPC(ChildOperation, ChildOperationRequest, mayastor::v1::ChildOperationResponse);
  HF_NEXUS_RPC(StartRebuild, StartRebuildRequest, mayastor::v1::StartRebuildResponse);
  HF_NEXUS_RPC(StopRebuild, StopRebuildRequest, mayastor::v1::StopRebuildResponse);
  HF_NEXUS_RPC(PauseRebuild, PauseRebuildRequest, mayastor::v1::PauseRebuildResponse);
  HF_NEXUS_RPC(ResumeRebuild, ResumeRebuildRequest, mayastor::v1::ResumeRebuildResponse);
  HF_NEXUS_RPC(GetRebuildState, RebuildStateRequest, mayastor::v1::RebuildStateResponse);
  HF_NEXUS_RPC(GetRebuildStats, RebuildStatsRequest, mayastor::v1::RebuildStatsResponse);
  HF_NEXUS_RPC(GetRebuildHistory, RebuildHistoryRequest, mayastor::v1::RebuildHistoryResponse);
  HF_NEXUS_RPC(ListRebuildHistory, ListRebuildHistoryRequest, mayastor::v1::ListRebuildHistoryResponse);
#undef HF_NEXUS_RPC

 private:
  Engine& engine_;
};

}  // namespace holdfast::engine
