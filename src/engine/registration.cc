#include "engine/registration.h"

#include <chrono>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "base/log.h"
#include "mayastor/v1/registration.grpc.pb.h"

namespace holdfast::engine {
namespace {

// As control planes expect: one missed by more than a few intervals counts as gone.
constexpr auto heartbeat_interval = std::chrono::seconds(5);
constexpr auto call_timeout = std::chrono::seconds(5);

std::shared_ptr<grpc::Channel> channel_to(const std::string& endpoint) {
  grpc::ChannelArguments args;
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // the cluster is on this network, whatever http_proxy says
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5'000);
  return grpc::CreateCustomChannel(endpoint, grpc::InsecureChannelCredentials(), args);
}

}  // namespace

class Registration::Client {
 public:
  explicit Client(const std::string& endpoint)
      : stub_(mayastor::v1::Registration::NewStub(channel_to(endpoint))) {}

  grpc::Status say_hello(const mayastor::v1::RegisterRequest& request) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + call_timeout);
    google::protobuf::Empty answer;
    return stub_->Register(&context, request, &answer);
  }
  grpc::Status say_goodbye(const std::string& id) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + call_timeout);
    mayastor::v1::DeregisterRequest request;
    request.set_id(id);
    google::protobuf::Empty answer;
    return stub_->Deregister(&context, request, &answer);
  }

 private:
  std::unique_ptr<mayastor::v1::Registration::Stub> stub_;
};

Registration::Registration(std::string endpoint, mayastor::v1::RegisterRequest request)
    : endpoint_(std::move(endpoint)),
      request_(std::move(request)),
      client_(std::make_unique<Client>(endpoint_)),
      thread_([this] { beat(); }) {}

Registration::~Registration() { stop_heartbeat(); }

void Registration::stop_heartbeat() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Registration::deregister() {
  stop_heartbeat();
  const auto status = client_->say_goodbye(request_.id());
  if (status.ok()) {
    HF_LOG(info, "registration", "deregistered", {"endpoint", endpoint_});
  } else {
    HF_LOG(warn, "registration", "could not deregister; the control plane will miss the heartbeat",
           {"endpoint", endpoint_}, {"error", status.error_message()});
  }
}

void Registration::beat() {
  enum class Seen { nothing, registered, refused } seen = Seen::nothing;
  for (;;) {
    const auto status = client_->say_hello(request_);
    if (status.ok() && seen != Seen::registered) {
      HF_LOG(info, "registration", "registered", {"endpoint", endpoint_}, {"node", request_.id()});
    } else if (!status.ok() && seen != Seen::refused) {
      HF_LOG(warn, "registration", "cannot register; trying again every 5 s", {"endpoint", endpoint_},
             {"error", status.error_message()});
    }
    seen = status.ok() ? Seen::registered : Seen::refused;
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, heartbeat_interval, [this] { return stopping_; })) return;
  }
}

}  // namespace holdfast::engine
