#include "agent/registration_server.h"

#include <chrono>
#include <utility>

#include <fmt/format.h>
#include <grpcpp/client_context.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include "control/model/kind.h"
#include "mayastor/v1/registration.grpc.pb.h"
#include "rpc/channel.h"
#include "rpc/home_call.h"

namespace holdfast::agent {
namespace {

namespace v1 = mayastor::v1;

// Every engine calls each few seconds, and a call takes no time.
constexpr int threads_max = 16;
constexpr int message_bytes_max = 64 << 10;
constexpr int header_bytes_max = 16 << 10;
// Engines wait for five seconds.
constexpr std::chrono::milliseconds forward_patience{3000};
constexpr const char* forwarded_by = "holdfast-forwarded-by";

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

// Sends what came here on to the agent that leads.
class Leader {
 public:
  Leader(std::string agent, const std::optional<rpc::Tls>& tls) : agent_(std::move(agent)), tls_(tls) {}

  // By a connection of its own: an engine calls every few seconds only, and leaders change.
  template <class Call>
  grpc::Status ask(const std::string& at, const Call& call) const {
    const auto stub = v1::Registration::NewStub(rpc::connect(at, tls_ ? &*tls_ : nullptr, {}));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + forward_patience);
    context.AddMetadata(forwarded_by, agent_);
    const grpc::Status status = call(*stub, context);
    if (status.ok()) return status;
    return {status.error_code(), fmt::format("the agent that leads, at {}: {}", at, status.error_message())};
  }

 private:
  const std::string agent_;
  const std::optional<rpc::Tls>& tls_;
};

class RegistrationService final : public v1::Registration::Service {
 public:
  RegistrationService(rpc::HomePort& port, control::Service& service, const Leader& leader)
      : port_(port), service_(service), leader_(leader) {}

  grpc::Status Register(grpc::ServerContext* context, const v1::RegisterRequest* request,
                        google::protobuf::Empty* reply) override {
    const auto at = another_leads(*context);
    if (!at) return register_here(context, request, reply);
    // A node that is new is known here, too, once the store says so; one that is known has told that it lives.
    google::protobuf::Empty unused;
    static_cast<void>(register_here(context, request, &unused));
    return leader_.ask(*at, [&](v1::Registration::Stub& stub, grpc::ClientContext& to) {
      return stub.Register(&to, *request, reply);
    });
  }
  grpc::Status Deregister(grpc::ServerContext* context, const v1::DeregisterRequest* request,
                          google::protobuf::Empty* reply) override {
    const auto at = another_leads(*context);
    const grpc::Status here = deregister_here(context, request, reply);
    if (!at) return here;
    return leader_.ask(*at, [&](v1::Registration::Stub& stub, grpc::ClientContext& to) {
      return stub.Deregister(&to, *request, reply);
    });
  }

 private:
  grpc::Status register_here(grpc::ServerContext* context, const v1::RegisterRequest* request,
                             google::protobuf::Empty* reply) {
    auto work = [&service = service_, registration = to_registration(*request)]() mutable {
      return answered(service.register_node(std::move(registration)));
    };
    return rpc::call_home(port_, *context, reply, to_status, std::move(work));
  }
  grpc::Status deregister_here(grpc::ServerContext* context, const v1::DeregisterRequest* request,
                               google::protobuf::Empty* reply) {
    auto work = [&service = service_, id = request->id()]() mutable {
      return answered(service.deregister_node(std::move(id)));
    };
    return rpc::call_home(port_, *context, reply, to_status, std::move(work));
  }

  // Where the leader registers engines, while that is not this agent. Nobody sends on what was sent on already.
  std::optional<std::string> another_leads(const grpc::ServerContext& context) {
    if (context.client_metadata().contains(forwarded_by)) return std::nullopt;
    auto work = [&service = service_]() { return leader_elsewhere(service); };
    const auto leader = rpc::ask_home<std::string>(port_, forward_patience, std::move(work));
    if (!leader || leader->empty()) return std::nullopt;
    return leader;
  }
  static Task<std::string> leader_elsewhere(control::Service& service) {
    if (service.leading()) co_return std::string();
    co_return service.leader_registration().value_or(std::string());
  }

  rpc::HomePort& port_;
  control::Service& service_;
  const Leader& leader_;
};

}  // namespace

struct RegistrationServer::Parts {
  Parts(Settings given, rpc::HomePort& port, control::Service& control)
      : settings(std::move(given)), leader(settings.agent, settings.tls), service(port, control, leader) {}
  const Settings settings;
  Leader leader;
  RegistrationService service;
  std::unique_ptr<grpc::Server> server;
};

RegistrationServer::RegistrationServer(std::unique_ptr<Parts> parts) noexcept : parts_(std::move(parts)) {}

Result<std::unique_ptr<RegistrationServer>> RegistrationServer::start(Settings settings, rpc::HomePort& port,
                                                                      control::Service& service) {
  auto parts = std::make_unique<Parts>(std::move(settings), port, service);
  const Endpoint& at = parts->settings.at;
  const auto& tls = parts->settings.tls;
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
  builder.AddListeningPort(at.to_string(), rpc::server_credentials(tls ? &*tls : nullptr), &bound);
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
