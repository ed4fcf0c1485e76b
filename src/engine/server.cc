#include "engine/server.h"

#include <chrono>

#include <fmt/format.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

namespace holdfast::engine {
namespace {

// Every call that waits for the home core holds a thread. With KeyedLocks::waiters_max calls at most behind
// one stuck object, several of those still leave threads for all others.
constexpr int threads_max = 96;
constexpr std::size_t memory_bytes_max = 64 << 20;
constexpr int message_bytes_max = 1 << 20;
constexpr int header_bytes_max = 16 << 10;
constexpr int streams_per_connection_max = 64;

// Ends a call of any method with one status.
class Refusal final : public grpc::ServerGenericBidiReactor {
 public:
  explicit Refusal(grpc::Status status) { Finish(std::move(status)); }
  void OnDone() override { delete this; }
};

// Everything that no registered service offers. The services of the contract that this engine lacks are told
// apart from names that nobody ever had.
class OtherServices final : public grpc::CallbackGenericService {
 public:
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override {
    const std::string method = context->method().substr(0, 200);
    const bool ours = method.starts_with("/mayastor.v1.") || method.starts_with("/holdfast.v1.");
    return new Refusal(
        grpc::Status(grpc::StatusCode::UNIMPLEMENTED,
                     ours ? fmt::format("{} is not offered by this engine", method.substr(1))
                          : fmt::format("{} is not a method of mayastor.v1 or holdfast.v1", method)));
  }
};

}  // namespace

struct GrpcServer::Parts {
  Endpoint local;
  OtherServices others;
  std::unique_ptr<grpc::Server> server;
};

GrpcServer::GrpcServer(std::unique_ptr<Parts> parts) noexcept : parts_(std::move(parts)) {}
GrpcServer::~GrpcServer() { stop(); }
const Endpoint& GrpcServer::local() const noexcept { return parts_->local; }

Result<std::unique_ptr<GrpcServer>> GrpcServer::start(const Endpoint& at,
                                                      std::span<grpc::Service* const> services) {
  auto parts = std::make_unique<Parts>();
  parts->local = at;
  grpc::ServerBuilder builder;
  grpc::ResourceQuota quota("holdfast-engine");
  quota.SetMaxThreads(threads_max);
  quota.Resize(memory_bytes_max);
  builder.SetResourceQuota(quota);
  builder.SetMaxReceiveMessageSize(message_bytes_max);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, header_bytes_max);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, streams_per_connection_max);
  // Clients may keep an idle connection alive as often as control planes do.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MIN_POLLERS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MAX_POLLERS, 2);
  for (auto* service : services) builder.RegisterService(service);
  builder.RegisterCallbackGenericService(&parts->others);
  int port = 0;
  builder.AddListeningPort(at.to_string(), grpc::InsecureServerCredentials(), &port);
  parts->server = builder.BuildAndStart();
  if (parts->server == nullptr || port == 0) {
    return Error(Errc::busy,
                 fmt::format("gRPC cannot listen on {}: is it in use, or not an address of this host? "
                             "Choose another with --grpc-ip and --grpc-port",
                             at.to_string()));
  }
  parts->local.port = static_cast<std::uint16_t>(port);
  return std::unique_ptr<GrpcServer>(new GrpcServer(std::move(parts)));
}

void GrpcServer::stop() {
  if (parts_->server == nullptr) return;
  // Answers on their way leave in this time; it also passes when an idle client does not hang up by itself.
  parts_->server->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
  parts_->server->Wait();
  parts_->server.reset();
}

}  // namespace holdfast::engine
