// mayastor.v1.HostRpc: the process and the machine.
#pragma once

#include "engine/block_devices.h"
#include "engine/engine.h"
#include "mayastor/v1/host.grpc.pb.h"

namespace holdfast::engine {

class HostService final : public mayastor::v1::HostRpc::Service {
 public:
  explicit HostService(Engine& engine) : engine_(engine) {}

  grpc::Status GetMayastorInfo(grpc::ServerContext* context, const google::protobuf::Empty* request,
                               mayastor::v1::MayastorInfoResponse* reply) override;
  grpc::Status ListBlockDevices(grpc::ServerContext* context,
                                const mayastor::v1::ListBlockDevicesRequest* request,
                                mayastor::v1::ListBlockDevicesResponse* reply) override;
  grpc::Status GetMayastorResourceUsage(grpc::ServerContext* context, const google::protobuf::Empty* request,
                                        mayastor::v1::GetMayastorResourceUsageResponse* reply) override;
  grpc::Status ListNvmeControllers(grpc::ServerContext* context, const google::protobuf::Empty* request,
                                   mayastor::v1::ListNvmeControllersResponse* reply) override;
  grpc::Status StatNvmeController(grpc::ServerContext* context,
                                  const mayastor::v1::StatNvmeControllerRequest* request,
                                  mayastor::v1::StatNvmeControllerResponse* reply) override;

 private:
  Engine& engine_;
  DiskQuestions disks_;
};

}  // namespace holdfast::engine
