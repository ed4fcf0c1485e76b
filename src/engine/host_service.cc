#include "engine/host_service.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include "engine/answer.h"
#include "engine/block_devices.h"
#include "engine/grpc_status.h"
#include "nvmf/initiator/remote_device.h"

namespace holdfast::engine {

namespace v1 = mayastor::v1;
using google::protobuf::Empty;

namespace {

v1::NvmeControllerState state_of(const nvmf::host::PathGroup& paths) {
  using nvmf::host::ControllerState;
  switch (paths.state()) {
    case ControllerState::connecting:
      return v1::NvmeControllerState::NEW;
    case ControllerState::live:
      return v1::NvmeControllerState::RUNNING;
    case ControllerState::reconnecting:
      // While I/O waits there is hope; once it fails, the device counts as failed.
      return paths.flow() == nvmf::host::IoFlow::failed ? v1::NvmeControllerState::FAULTED
                                                        : v1::NvmeControllerState::INITIALIZING;
    case ControllerState::closed:
      return v1::NvmeControllerState::UNCONFIGURED;
  }
  return v1::NvmeControllerState::UNCONFIGURED;
}

Task<Result<v1::ListNvmeControllersResponse>> list_controllers(Engine& engine, const Empty&) {
  v1::ListNvmeControllersResponse reply;
  for (const auto& [name, entry] : engine.devices().entries()) {
    const auto* remote = entry.device ? nvmf::RemoteDevice::from(*entry.device) : nullptr;
    if (remote == nullptr) continue;
    auto* c = reply.add_controllers();
    c->set_name(name);
    c->set_state(state_of(remote->paths()));
    c->set_size(remote->geometry().block_count);
    c->set_blk_size(remote->geometry().block_bytes);
  }
  co_return reply;
}

Task<Result<v1::StatNvmeControllerResponse>> stat_controller(Engine& engine,
                                                             const v1::StatNvmeControllerRequest& request) {
  const BlockDevice* device = engine.devices().find(request.name());
  if (device == nullptr || nvmf::RemoteDevice::from(*device) == nullptr) {
    co_return Error(Errc::not_found,
                    fmt::format("there is no NVMe controller '{}'", request.name().substr(0, 256)));
  }
  HF_CO_TRY(const IoStats s, co_await engine.devices().stats(device->name()));
  v1::StatNvmeControllerResponse reply;
  auto* stats = reply.mutable_stats();
  stats->set_num_read_ops(s.read_ops);
  stats->set_bytes_read(s.read_bytes);
  stats->set_num_write_ops(s.write_ops);
  stats->set_bytes_written(s.write_bytes);
  stats->set_num_unmap_ops(s.unmap_ops);
  stats->set_bytes_unmapped(s.unmapped_bytes);
  co_return reply;
}

}  // namespace

grpc::Status HostService::GetMayastorInfo(grpc::ServerContext*, const Empty*,
                                          v1::MayastorInfoResponse* reply) {
  const auto& self = engine_.introduction();
  reply->set_version(engine_.version());
  reply->mutable_previous_features()->set_asymmetricnamespaceaccess(
      self.features().asymmetricnamespaceaccess());
  *reply->mutable_registration_info() = self;
  return grpc::Status::OK;
}

grpc::Status HostService::ListBlockDevices(grpc::ServerContext*, const v1::ListBlockDevicesRequest* request,
                                           v1::ListBlockDevicesResponse* reply) {
  auto listed = list_block_devices(request->all(), disks_);
  if (!listed.ok()) return host_status(listed.error());
  for (auto& device : listed.value()) *reply->add_devices() = std::move(device);
  return grpc::Status::OK;
}

grpc::Status HostService::GetMayastorResourceUsage(grpc::ServerContext*, const Empty*,
                                                   v1::GetMayastorResourceUsageResponse* reply) {
  rusage used{};
  if (::getrusage(RUSAGE_SELF, &used) != 0) return host_status(error_from_errno(errno));
  auto* u = reply->mutable_usage();
  u->set_soft_faults(used.ru_minflt);
  u->set_hard_faults(used.ru_majflt);
  u->set_swaps(used.ru_nswap);
  u->set_in_block_ops(used.ru_inblock);
  u->set_out_block_ops(used.ru_oublock);
  u->set_ipc_msg_send(used.ru_msgsnd);
  u->set_ipc_msg_rcv(used.ru_msgrcv);
  u->set_signals(used.ru_nsignals);
  u->set_vol_csw(used.ru_nvcsw);
  u->set_invol_csw(used.ru_nivcsw);
  return grpc::Status::OK;
}

grpc::Status HostService::ListNvmeControllers(grpc::ServerContext* context, const Empty* request,
                                              v1::ListNvmeControllersResponse* reply) {
  return answer(engine_, context, request, reply, host_status, list_controllers);
}

grpc::Status HostService::StatNvmeController(grpc::ServerContext* context,
                                             const v1::StatNvmeControllerRequest* request,
                                             v1::StatNvmeControllerResponse* reply) {
  return answer(engine_, context, request, reply, host_status, stat_controller);
}

}  // namespace holdfast::engine
