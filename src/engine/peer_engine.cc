#include "engine/peer_engine.h"

#include <utility>

#include <fmt/format.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "rpc/async_stub.h"

namespace holdfast::engine {

namespace v1 = mayastor::v1;
namespace own = holdfast::v1;

namespace {

constexpr Nanos call_timeout = 5s;

using rpc::Async;

Error to_error(const grpc::Status& status, const std::string& endpoint) {
  std::string text = fmt::format("engine {}: {}", endpoint, status.error_message());
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return Error(Errc::not_connected, std::move(text));
    case grpc::StatusCode::NOT_FOUND:
      return Error(Errc::not_found, std::move(text));
    case grpc::StatusCode::FAILED_PRECONDITION:
      return Error(Errc::failed_precondition, std::move(text));
    default:
      return Error(Errc::protocol, std::move(text));
  }
}

std::shared_ptr<grpc::Channel> channel_to(const std::string& endpoint) {
  grpc::ChannelArguments args;
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // the cluster is on this network, whatever http_proxy says
  return grpc::CreateCustomChannel(endpoint, grpc::InsecureChannelCredentials(), args);
}

}  // namespace

PeerEngine::PeerEngine(Reactor& home, std::string endpoint)
    : home_(home),
      endpoint_(std::move(endpoint)),
      channel_(channel_to(endpoint_)),
      replicas_(v1::ReplicaRpc::NewStub(channel_)),
      snapshots_(v1::SnapshotRpc::NewStub(channel_)),
      pools_(own::PoolRpc::NewStub(channel_)),
      rebuilds_(own::ReplicaRebuildRpc::NewStub(channel_)) {}

template <class Stub, class Request, class Reply>
Task<Result<Reply>> PeerEngine::ask(Stub& stub, rpc::detail::Method<Stub, Request, Reply> method,
                                    std::type_identity_t<Request> request) {
  const rpc::CallOptions options(call_timeout);
  auto answer = co_await rpc::call(home_, stub, method, std::move(request), options);
  if (!answer.status.ok()) co_return to_error(answer.status, endpoint_);
  co_return std::move(answer.reply);
}

Task<Result<std::vector<v1::SnapshotInfo>>> PeerEngine::snapshots(Uuid replica) {
  v1::ListSnapshotsRequest request;
  request.set_source_uuid(replica.to_string());
  HF_CO_TRY(auto reply,
            co_await ask(*snapshots_->async(), &Async<v1::SnapshotRpc>::ListSnapshot, std::move(request)));
  auto& found = *reply.mutable_snapshots();
  std::vector<v1::SnapshotInfo> all(std::make_move_iterator(found.begin()),
                                    std::make_move_iterator(found.end()));
  co_return all;
}

Task<Result<v1::Replica>> PeerEngine::find(Uuid uuid) {
  v1::ListReplicaOptions request;
  request.mutable_uuid()->set_value(uuid.to_string());
  HF_CO_TRY(auto reply,
            co_await ask(*replicas_->async(), &Async<v1::ReplicaRpc>::ListReplicas, std::move(request)));
  if (reply.replicas_size() != 1) {
    co_return Error(Errc::not_found, fmt::format("engine {}: there is no replica or snapshot {}", endpoint_,
                                                 uuid.to_string()));
  }
  co_return std::move(*reply.mutable_replicas(0));
}

Task<Result<v1::Replica>> PeerEngine::share(Uuid uuid, std::vector<std::string> hosts) {
  v1::ShareReplicaRequest request;
  request.set_uuid(uuid.to_string());
  request.set_share(v1::ShareProtocol::NVMF);
  for (auto& host : hosts) request.add_allowed_hosts(std::move(host));
  return ask(*replicas_->async(), &Async<v1::ReplicaRpc>::ShareReplica, std::move(request));
}

Task<Status> PeerEngine::unshare(Uuid uuid) {
  v1::UnshareReplicaRequest request;
  request.set_uuid(uuid.to_string());
  const auto done =
      co_await ask(*replicas_->async(), &Async<v1::ReplicaRpc>::UnshareReplica, std::move(request));
  if (!done.ok()) co_return done.error();
  co_return Status();
}

Task<Result<own::DiffSnapshotsResponse>> PeerEngine::diff(std::optional<Uuid> earlier, Uuid later,
                                                          std::uint64_t offset) {
  own::DiffSnapshotsRequest request;
  if (earlier) request.set_earlier(earlier->to_string());
  request.set_later(later.to_string());
  request.set_offset(offset);
  return ask(*pools_->async(), &Async<own::PoolRpc>::DiffSnapshots, std::move(request));
}

Task<Result<own::Epochs>> PeerEngine::epochs(Uuid uuid) {
  own::GetEpochsRequest request;
  request.set_uuid(uuid.to_string());
  return ask(*rebuilds_->async(), &Async<own::ReplicaRebuildRpc>::GetEpochs, std::move(request));
}

Task<Result<own::ListRegionEpochsResponse>> PeerEngine::region_epochs(Uuid replica, std::uint64_t first) {
  own::ListRegionEpochsRequest request;
  request.set_uuid(replica.to_string());
  request.set_first(first);
  return ask(*rebuilds_->async(), &Async<own::ReplicaRebuildRpc>::ListRegionEpochs, std::move(request));
}

}  // namespace holdfast::engine
