#include "store/etcd_client.h"

#include <utility>

#include "base/assert.h"
#include "store/etcd_connections.h"
#include "store/etcd_watch.h"
#include "store/request_check.h"
#include "store/wire.h"

namespace holdfast::store {

namespace pb = etcdserverpb;

Result<std::unique_ptr<EtcdClient>> EtcdClient::create(Reactor& home, EtcdOptions options) {
  if (options.endpoints.empty()) return Error(Errc::invalid_argument, "no endpoint of a store is given");
  std::vector<EtcdEndpoint> endpoints;
  for (const std::string& text : options.endpoints) {
    HF_TRY(EtcdEndpoint endpoint, parse_etcd_endpoint(text));
    endpoints.push_back(std::move(endpoint));
  }
  auto connections = std::make_unique<Connections>(home, std::move(options), endpoints);
  return std::unique_ptr<EtcdClient>(new EtcdClient(std::move(connections)));
}

EtcdClient::EtcdClient(std::unique_ptr<Connections> connections) : connections_(std::move(connections)) {}

EtcdClient::~EtcdClient() { HF_ASSERT(connections_->gate().inside() == 0); }

Task<Result<RangeResult>> EtcdClient::range(RangeRequest request) {
  pb::RangeRequest message = wire::write(request);
  HF_CO_TRY(pb::RangeResponse answer,
            co_await connections_->call(&Connections::Member::kv, &pb::KV::Stub::async::Range,
                                        std::move(message), Connections::Repeat::always));
  co_return wire::read(std::move(answer));
}

Task<Result<PutResult>> EtcdClient::put(PutRequest request) {
  pb::PutRequest message = wire::write(std::move(request));
  HF_CO_TRY(pb::PutResponse answer,
            co_await connections_->call(&Connections::Member::kv, &pb::KV::Stub::async::Put,
                                        std::move(message), Connections::Repeat::unsent));
  co_return wire::read(std::move(answer));
}

Task<Result<DeleteResult>> EtcdClient::delete_range(DeleteRequest request) {
  pb::DeleteRangeRequest message = wire::write(request);
  HF_CO_TRY(pb::DeleteRangeResponse answer,
            co_await connections_->call(&Connections::Member::kv, &pb::KV::Stub::async::DeleteRange,
                                        std::move(message), Connections::Repeat::unsent));
  co_return wire::read(std::move(answer));
}

Task<Result<TxnResult>> EtcdClient::txn(Txn request) {
  HF_CO_CHECK(check_reads_now(request));
  const std::size_t then = request.success.size();
  const std::size_t otherwise = request.failure.size();
  pb::TxnRequest message = wire::write(std::move(request));
  HF_CO_TRY(pb::TxnResponse answer,
            co_await connections_->call(&Connections::Member::kv, &pb::KV::Stub::async::Txn,
                                        std::move(message), Connections::Repeat::unsent));
  HF_CO_TRY(TxnResult result, wire::read(std::move(answer)));
  if (result.results.size() != (result.succeeded ? then : otherwise)) {
    co_return Error(Errc::protocol, "the store answered another number of operations than were asked for");
  }
  co_return result;
}

Task<Status> EtcdClient::compact(Revision revision) {
  pb::CompactionRequest message;
  message.set_revision(revision);
  HF_CO_CHECK(co_await connections_->call(&Connections::Member::kv, &pb::KV::Stub::async::Compact,
                                          std::move(message), Connections::Repeat::unsent));
  co_return Status();
}

Task<Result<Lease>> EtcdClient::lease_grant(std::int64_t ttl_s, LeaseId id) {
  pb::LeaseGrantRequest message;
  message.set_ttl(ttl_s);
  message.set_id(id);
  HF_CO_TRY(const pb::LeaseGrantResponse answer,
            co_await connections_->call(&Connections::Member::lease, &pb::Lease::Stub::async::LeaseGrant,
                                        std::move(message), Connections::Repeat::unsent));
  Lease lease;
  lease.id = answer.id();
  lease.ttl_s = answer.ttl();
  if (lease.id == no_lease) co_return Error(Errc::protocol, "the store granted a lease without an id");
  co_return lease;
}

Task<Status> EtcdClient::lease_revoke(LeaseId id) {
  pb::LeaseRevokeRequest message;
  message.set_id(id);
  HF_CO_CHECK(co_await connections_->call(&Connections::Member::lease, &pb::Lease::Stub::async::LeaseRevoke,
                                          std::move(message), Connections::Repeat::unsent));
  co_return Status();
}

Task<Result<LeaseStatus>> EtcdClient::lease_status(LeaseId id, bool want_keys) {
  pb::LeaseTimeToLiveRequest message;
  message.set_id(id);
  message.set_keys(want_keys);
  HF_CO_TRY(const pb::LeaseTimeToLiveResponse answer,
            co_await connections_->call(&Connections::Member::lease, &pb::Lease::Stub::async::LeaseTimeToLive,
                                        std::move(message), Connections::Repeat::always));
  LeaseStatus status;
  status.left_s = answer.ttl();
  status.granted_ttl_s = answer.grantedttl();
  status.keys.assign(answer.keys().begin(), answer.keys().end());
  co_return status;
}

namespace {

// One question and its answer on a stream of their own.
Task<Result<pb::LeaseKeepAliveResponse>> ask(Reactor& home, pb::Lease::Stub& stub, LeaseId id,
                                             rpc::CallOptions options, grpc::Status& ended) {
  rpc::Duplex<pb::LeaseKeepAliveRequest, pb::LeaseKeepAliveResponse> stream(home);
  stream.begin(*stub.async(), &pb::Lease::Stub::async::LeaseKeepAlive, options);
  pb::LeaseKeepAliveRequest request;
  request.set_id(id);
  pb::LeaseKeepAliveResponse answer;
  const bool sent = co_await stream.write(request);
  bool answered = false;
  if (sent) answered = co_await stream.read(answer);
  ended = co_await stream.end();
  if (!answered) co_return Error(Errc::not_connected);
  co_return answer;
}

}  // namespace

Task<Result<std::int64_t>> EtcdClient::lease_keep_alive(LeaseId id) {
  Connections& all = *connections_;
  const Gate::Hold hold = all.gate().enter();
  if (!hold) co_return all.cancelled();
  const Nanos deadline = all.home().now() + all.options().call_timeout;
  for (std::size_t attempt = 1;; ++attempt) {
    Connections::Member& member = all.pick();
    const rpc::CallOptions options = all.call_options(all.patience(Connections::Repeat::always, deadline));
    grpc::Status ended;
    auto answer = co_await ask(all.home(), *member.lease, id, options, ended);
    if (answer.ok() && answer.value().ttl() > 0) co_return answer.value().ttl();
    if (answer.ok()) co_return Error(Errc::not_found, "etcdserver: requested lease not found");
    if (all.closing()) co_return all.cancelled();
    Error error =
        ended.ok() ? Error(Errc::not_connected, "the store ended a stream") : all.error_of(member, ended);
    const bool away = error.code() == Errc::not_connected || error.code() == Errc::timed_out;
    const bool went = co_await all.pause(away, attempt, deadline);
    if (!went) co_return error;
  }
}

Task<Result<EtcdClient::About>> EtcdClient::about() {
  pb::StatusRequest message;
  HF_CO_TRY(
      const pb::StatusResponse answer,
      co_await connections_->call(&Connections::Member::maintenance, &pb::Maintenance::Stub::async::Status,
                                  std::move(message), Connections::Repeat::always));
  About about;
  about.cluster_id = answer.header().cluster_id();
  about.version = answer.version();
  co_return about;
}

Task<Result<std::unique_ptr<Watch>>> EtcdClient::watch(WatchRequest request) {
  const Gate::Hold hold = connections_->gate().enter();
  if (!hold) co_return connections_->cancelled();
  if (request.start_revision == 0) {
    // A member that lags behind the others would begin at its own now.
    RangeRequest any(KeyRange(request.range.key));
    any.count_only = true;
    HF_CO_TRY(const RangeResult now, co_await range(std::move(any)));
    request.start_revision = now.revision + 1;
  }
  auto made = std::make_unique<WatchStream>(*connections_, std::move(request));
  Status begun = co_await made->begin();
  if (!begun.ok()) {
    co_await made->close();
    co_return begun.error();
  }
  std::unique_ptr<Watch> watch = std::move(made);
  co_return watch;
}

Task<void> EtcdClient::close() {
  connections_->request_stop();
  co_await connections_->gate().close();
}

}  // namespace holdfast::store
