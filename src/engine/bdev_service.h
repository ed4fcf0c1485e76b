// mayastor.v1.BdevRpc: devices by URI, and their export.
#pragma once

#include "engine/engine.h"
#include "mayastor/v1/bdev.grpc.pb.h"

namespace holdfast::engine {

class BdevService final : public mayastor::v1::BdevRpc::Service {
 public:
  explicit BdevService(Engine& engine) : engine_(engine) {}

  grpc::Status Create(grpc::ServerContext* context, const mayastor::v1::CreateBdevRequest* request,
                      mayastor::v1::CreateBdevResponse* reply) override;
  grpc::Status Destroy(grpc::ServerContext* context, const mayastor::v1::DestroyBdevRequest* request,
                       google::protobuf::Empty* reply) override;
  grpc::Status List(grpc::ServerContext* context, const mayastor::v1::ListBdevOptions* request,
                    mayastor::v1::ListBdevResponse* reply) override;
  grpc::Status Share(grpc::ServerContext* context, const mayastor::v1::BdevShareRequest* request,
                     mayastor::v1::BdevShareResponse* reply) override;
  grpc::Status Unshare(grpc::ServerContext* context, const mayastor::v1::BdevUnshareRequest* request,
                       google::protobuf::Empty* reply) override;

 private:
  Engine& engine_;
};

}  // namespace holdfast::engine
