#include "agent/registration_server.h"

#include <chrono>

#include <fmt/format.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include "control/model/kind.h"
#include "mayastor/v1/registration.grpc.pb.h"
#include "rpc/home_call.h"

namespace holdfast::agent {
namespace {

namespace v1 = mayastor::v1;

// Every engine calls each few seconds, and a call takes no time.
constexpr int threads_max = 16;
constexpr int message_bytes_max = 64 << 10;
constexpr int header_bytes_max = 16 << 10;

grpc::Status to_status(const Error& error) {
  using control::Kind;
  const std::string text = error.message();
  switch (control::kind_of(error)) {
    case Kind::deserialize:
    case Kind::invalid_argument:
      return {grpc::StatusCode::INVALID_ARGUMENT, text};
    case Kind::not_found:
      return {grpc::StatusCode::NOT_FOUND, text};
    case Kind::unavailable:
    case Kind::timeout:
    case Kind::failed_persist:
      return {grpc::StatusCode::UNAVAILABLE, text};
    default:
      return {grpc::StatusCode::FAILED_PRECONDITION, text};
  }
}

control::Registration to_registration(const v1::RegisterRequest& request) {
  control::Registration registration;
  registration.id = request.id();
  registration.grpc_endpoint = request.grpc_endpoint();
  registration.instance = request.instance_uuid().value();
  registration.nqn = request.hostnqn().value();
  registration.version = request.version();
  const v1::MayastorFeatures& features = request.features();
  registration.features.ana = features.asymmetricnamespaceaccess();
  registration.features.logical_volume_manager = features.logicalvolumemanager();
  registration.features.snapshot_rebuild = features.snapshotrebuild();
  registration.features.rdma = features.rdmacapableioengine();
  registration.features.rebuilds_ancestry = request.bugfixes().nexusrebuildreplicaancestry();
  return registration;
}

Task<Result<google::protobuf::Empty>> answered(Task<Status> work) {
  HF_CO_CHECK(co_await std::move(work));
  co_return google::protobuf::Empty();
}

class RegistrationService final : public v1::Registration::Service {
 public:
  RegistrationService(rpc::HomePort& port, control::Service& service) : port_(port), service_(service) {}

  grpc::Status Register(grpc::ServerContext* context, const v1::RegisterRequest* request,
                        google::protobuf::Empty* reply) override {
    auto work = [&service = service_, registration = to_registration(*request)]() mutable {
      return answered(service.register_node(std::move(registration)));
    };
    return rpc::call_home(port_, *context, reply, to_status, std::move(work));
  }
  grpc::Status Deregister(grpc::ServerContext* context, const v1::DeregisterRequest* request,
                          google::protobuf::Empty* reply) override {
    auto work = [&service = service_, id = request->id()]() mutable {
      return answered(service.deregister_node(std::move(id)));
    };
    return rpc::call_home(port_, *context, reply, to_status, std::move(work));
  }

 private:
  rpc::HomePort& port_;
  control::Service& service_;
};

}  // namespace

struct RegistrationServer::Parts {
  Parts(rpc::HomePort& port, control::Service& control) : service(port, control) {}
  RegistrationService service;
  std::unique_ptr<grpc::Server> server;
};

RegistrationServer::RegistrationServer(std::unique_ptr<Parts> parts) noexcept : parts_(std::move(parts)) {}

Result<std::unique_ptr<RegistrationServer>> RegistrationServer::start(const Endpoint& at, rpc::HomePort& port,
                                                                      control::Service& service) {
  auto parts = std::make_unique<Parts>(port, service);
  grpc::ServerBuilder builder;
  grpc::ResourceQuota quota("holdfast-agent");
  quota.SetMaxThreads(threads_max);
  builder.SetResourceQuota(quota);
  builder.SetMaxReceiveMessageSize(message_bytes_max);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, header_bytes_max);
  // Engines may keep an idle connection alive as often as they do.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MIN_POLLERS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MAX_POLLERS, 2);
  builder.RegisterService(&parts->service);
  int bound = 0;
  builder.AddListeningPort(at.to_string(), grpc::InsecureServerCredentials(), &bound);
  parts->server = builder.BuildAndStart();
  if (parts->server == nullptr || bound == 0) {
    return Error(Errc::busy,
                 fmt::format("gRPC cannot listen on {}: is it in use, or not an address of this host? "
                             "Choose another with --grpc-server-addr",
                             at.to_string()));
  }
  return std::unique_ptr<RegistrationServer>(new RegistrationServer(std::move(parts)));
}

RegistrationServer::~RegistrationServer() {
  parts_->server->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
  parts_->server->Wait();
}

}  // namespace holdfast::agent
