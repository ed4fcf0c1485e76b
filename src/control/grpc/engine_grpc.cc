#include "control/grpc/engine_grpc.h"

#include <utility>

#include "control/grpc/engine_client.h"

namespace holdfast::control {

Task<Result<Registration>> GrpcEngine::info() {
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->host->async(), &Async<v1::HostRpc>::GetMayastorInfo,
                                           google::protobuf::Empty(), timeouts_.read));
  co_return registration_of(reply);
}

Task<Result<std::optional<EngineReport>>> GrpcEngine::observe(Tell tell) {
  own::GetReportRequest request;
  if (tell == Tell::news) {
    request.set_instance(instance_);
    request.set_revision(revision_);
  }
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->report->async(), &Async<own::ReportRpc>::GetReport,
                                           std::move(request), timeouts_.read));
  if (reply.unchanged()) co_return std::optional<EngineReport>();
  EngineReport report = report_of(node_, reply);
  instance_ = report.engine.instance;
  revision_ = reply.revision();
  co_return std::optional<EngineReport>(std::move(report));
}

Task<Result<std::vector<BlockDeviceInfo>>> GrpcEngine::block_devices(bool all) {
  v1::ListBlockDevicesRequest request;
  request.set_all(all);
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->host->async(), &Async<v1::HostRpc>::ListBlockDevices,
                                           std::move(request), timeouts_.read));
  std::vector<BlockDeviceInfo> devices;
  for (const auto& device : reply.devices()) devices.push_back(block_device_of(device));
  co_return devices;
}

Task<Result<std::string>> GrpcEngine::json_rpc(std::string method, std::string params) {
  v1::JsonRpcRequest request;
  request.set_method(std::move(method));
  request.set_params(std::move(params));
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->json->async(), &Async<v1::JsonRpc>::JsonRpcCall,
                                           std::move(request), timeouts_.nexus));
  co_return reply.result();
}

GrpcDirectory::GrpcDirectory(Reactor& home, std::optional<rpc::Tls> tls, EngineTimeouts timeouts)
    : home_(home), tls_(std::move(tls)), timeouts_(timeouts) {}

std::unique_ptr<Engine> GrpcDirectory::connect(const NodeId& node, const std::string& endpoint) {
  return std::make_unique<GrpcEngine>(home_, node, endpoint, tls_ ? &*tls_ : nullptr, timeouts_);
}

}  // namespace holdfast::control
