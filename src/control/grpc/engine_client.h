// A client of one engine: a connection with the stubs of its services. What the calls do: control/engine.h.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "control/engine.h"
#include "control/grpc/messages.h"
#include "holdfast/v1/pool.grpc.pb.h"
#include "holdfast/v1/rebuild.grpc.pb.h"
#include "holdfast/v1/record.grpc.pb.h"
#include "holdfast/v1/report.grpc.pb.h"
#include "mayastor/v1/host.grpc.pb.h"
#include "mayastor/v1/json.grpc.pb.h"
#include "mayastor/v1/nexus.grpc.pb.h"
#include "mayastor/v1/pool.grpc.pb.h"
#include "mayastor/v1/replica.grpc.pb.h"
#include "mayastor/v1/snapshot.grpc.pb.h"
#include "rpc/async_stub.h"
#include "rpc/channel.h"
#include "rpc/unary.h"
#include "rt/stop.h"
#include "rt/wait.h"

namespace holdfast::control {

namespace v1 = mayastor::v1;
namespace own = holdfast::v1;
using rpc::Async;

using Channel = decltype(rpc::connect({}, nullptr, {}));  // gRPC wants it shared with its stubs

// The services of an engine, on one connection.
struct Stubs {
  explicit Stubs(Channel to)
      : channel(std::move(to)),
        host(v1::HostRpc::NewStub(channel)),
        json(v1::JsonRpc::NewStub(channel)),
        pool(v1::PoolRpc::NewStub(channel)),
        pool_extras(own::PoolRpc::NewStub(channel)),
        replica(v1::ReplicaRpc::NewStub(channel)),
        record(own::ReplicaRecordRpc::NewStub(channel)),
        replica_rebuild(own::ReplicaRebuildRpc::NewStub(channel)),
        nexus(v1::NexusRpc::NewStub(channel)),
        snapshot(v1::SnapshotRpc::NewStub(channel)),
        report(own::ReportRpc::NewStub(channel)) {}

  const Channel channel;
  std::unique_ptr<v1::HostRpc::Stub> host;
  std::unique_ptr<v1::JsonRpc::Stub> json;
  std::unique_ptr<v1::PoolRpc::Stub> pool;
  std::unique_ptr<own::PoolRpc::Stub> pool_extras;
  std::unique_ptr<v1::ReplicaRpc::Stub> replica;
  std::unique_ptr<own::ReplicaRecordRpc::Stub> record;
  std::unique_ptr<own::ReplicaRebuildRpc::Stub> replica_rebuild;
  std::unique_ptr<v1::NexusRpc::Stub> nexus;
  std::unique_ptr<v1::SnapshotRpc::Stub> snapshot;
  std::unique_ptr<own::ReportRpc::Stub> report;
};

class GrpcEngine final : public Engine {
 public:
  GrpcEngine(Reactor& home, NodeId node, const std::string& endpoint, const rpc::Tls* tls,
             EngineTimeouts timeouts)
      : home_(home),
        node_(std::move(node)),
        endpoint_(endpoint),
        tls_(tls != nullptr ? std::optional(*tls) : std::nullopt),
        timeouts_(timeouts),
        gate_(home) {
    connect();
  }

  void restarted() override { connect(); }

  Task<Result<std::optional<EngineReport>>> observe(Tell tell) override;
  Task<Result<Registration>> info() override;
  Task<Result<std::vector<BlockDeviceInfo>>> block_devices(bool all) override;
  Task<Result<std::string>> json_rpc(std::string method, std::string params) override;
  Task<Result<PoolState>> create_pool(NewPool request) override;
  Task<Result<PoolState>> import_pool(NewPool request) override;
  Task<Status> destroy_pool(PoolId pool, std::optional<Uuid> uuid) override;
  Task<Status> export_pool(PoolId pool) override;
  Task<Result<PoolState>> add_disk(PoolId pool, std::string disk) override;
  Task<Result<PoolState>> grow_pool(PoolId pool) override;
  Task<Result<ReplicaState>> create_replica(NewReplica request) override;
  Task<Status> destroy_replica(Uuid replica, PoolId pool) override;
  Task<Result<ReplicaState>> share_replica(Uuid replica, std::vector<std::string> allowed_hosts) override;
  Task<Result<ReplicaState>> unshare_replica(Uuid replica) override;
  Task<Result<ReplicaState>> resize_replica(Uuid replica, std::uint64_t size_bytes) override;
  Task<Result<ReplicaState>> set_replica_entity(Uuid replica, std::string entity_id) override;
  Task<Result<ReplicaState>> revert_replica(Uuid replica, Uuid snapshot) override;
  Task<Result<EpochState>> replica_epochs(Uuid replica) override;
  Task<Status> set_replica_record(Uuid replica, std::string record, std::uint64_t digest) override;
  Task<Result<std::vector<KeptRecord>>> replica_records() override;
  Task<Result<WipeOutcome>> wipe_replica(Uuid replica, PoolId pool, WipeMethod method) override;
  Task<Result<NexusState>> create_nexus(NewNexus request) override;
  Task<Status> destroy_nexus(Uuid nexus) override;
  Task<Result<NexusState>> shutdown_nexus(Uuid nexus) override;
  Task<Result<NexusState>> share_nexus(Uuid nexus, std::vector<std::string> allowed_hosts) override;
  Task<Result<NexusState>> unshare_nexus(Uuid nexus) override;
  Task<Result<NexusState>> resize_nexus(Uuid nexus, std::uint64_t size_bytes) override;
  Task<Result<AnaState>> ana_state(Uuid nexus) override;
  Task<Result<NexusState>> set_ana_state(Uuid nexus, AnaState state) override;
  Task<Result<NexusState>> add_child(Uuid nexus, std::string uri, bool rebuild,
                                     std::uint32_t in_sync_through) override;
  Task<Result<NexusState>> remove_child(Uuid nexus, std::string uri) override;
  Task<Result<NexusState>> online_child(Uuid nexus, std::string uri) override;
  Task<Result<NexusState>> fault_child(Uuid nexus, std::string uri, bool for_good) override;
  Task<Status> start_rebuild(Uuid nexus, std::string uri) override;
  Task<Status> stop_rebuild(Uuid nexus, std::string uri) override;
  Task<Status> pause_rebuild(Uuid nexus, std::string uri) override;
  Task<Status> resume_rebuild(Uuid nexus, std::string uri) override;
  Task<Result<RebuildRecord>> rebuild(Uuid nexus, std::string uri) override;
  Task<Result<std::vector<RebuildRecord>>> rebuild_history(Uuid nexus) override;
  Task<Result<SnapshotState>> create_snapshot(NewReplicaSnapshot request) override;
  Task<Result<NexusSnapshotOutcome>> create_nexus_snapshot(NewNexusSnapshot request) override;
  Task<Status> destroy_snapshot(Uuid snapshot, PoolId pool) override;
  Task<Result<ReplicaState>> clone_snapshot(Uuid snapshot, Uuid replica) override;
  Task<Status> start_fill(NewFill request) override;
  Task<Result<std::optional<FillState>>> fill(Uuid replica) override;
  Task<Status> end_fill(Uuid replica) override;
  Task<Result<DiffPage>> diff_snapshots(std::optional<Uuid> earlier, Uuid later,
                                        std::uint64_t offset) override;
  Task<void> close() override {
    stop_.request_stop();
    return gate_.close();
  }

 private:
  // One call, as rpc::unary, with the errors of engine.h.
  template <class Stub, class Request, class Reply>
  Task<Result<Reply>> ask(Stub& stub, rpc::detail::Method<Stub, Request, Reply> method,
                          std::type_identity_t<Request> request, Nanos timeout) {
    const Gate::Hold hold = gate_.enter();
    if (!hold) co_return refusal(Kind::aborted, fmt::format("node {}: its client is closed", node_));
    const rpc::CallOptions options(timeout, stop_.token());
    auto answer = co_await rpc::call(home_, stub, method, std::move(request), options);
    if (!answer.status.ok()) co_return error_of(node_, answer.status);
    co_return std::move(answer.reply);
  }
  // For calls that take something away: what is not there has been taken away.
  template <class Stub, class Request, class Reply>
  Task<Status> ask_away(Stub& stub, rpc::detail::Method<Stub, Request, Reply> method,
                        std::type_identity_t<Request> request, Nanos timeout) {
    const auto done = co_await ask(stub, method, std::move(request), timeout);
    if (done.ok() || kind_of(done.error()) == Kind::not_found) co_return Status();
    co_return done.error();
  }
  // For calls whose answer is the nexus.
  template <class Request, class Reply>
  Task<Result<NexusState>> ask_nexus(rpc::detail::Method<Async<v1::NexusRpc>, Request, Reply> method,
                                     std::type_identity_t<Request> request, Nanos timeout) {
    HF_CO_TRY(const auto reply, co_await ask(*stubs_->nexus->async(), method, std::move(request), timeout));
    co_return nexus_of(node_, reply.nexus());
  }
  template <class Request, class Reply>
  Task<Status> ask_rebuild(rpc::detail::Method<Async<v1::NexusRpc>, Request, Reply> method, Uuid nexus,
                           std::string uri) {
    Request request;
    request.set_nexus_uuid(nexus.to_string());
    request.set_uri(std::move(uri));
    HF_CO_CHECK(co_await ask_nexus(method, std::move(request), timeouts_.nexus));
    co_return Status();
  }
  Task<Status> read_pools(std::vector<PoolState>& into);
  Task<Status> read_records(std::vector<own::ReplicaRecord>& into);
  Task<Result<std::optional<PoolState>>> find_pool(PoolId pool);
  Task<Result<std::optional<ReplicaState>>> find_replica(Uuid replica);
  Task<Result<std::optional<NexusState>>> find_nexus(Uuid nexus);
  Task<Result<PoolState>> open_or_make(NewPool request, bool make);
  Task<Result<NexusState>> child_action(Uuid nexus, std::string uri, v1::ChildAction action);

  // On a connection of its own: gRPC would share one that is broken, or waits before it tries again.
  void connect() {
    rpc::ChannelOptions options;
    options.own_connection = true;
    former_ = std::move(stubs_);
    stubs_ = std::make_unique<Stubs>(rpc::connect(endpoint_, tls_ ? &*tls_ : nullptr, options));
  }

  Reactor& home_;
  const NodeId node_;
  const std::string endpoint_;
  const std::optional<rpc::Tls> tls_;
  const EngineTimeouts timeouts_;
  StopSource stop_;
  Gate gate_;
  std::unique_ptr<Stubs> stubs_;
  std::unique_ptr<Stubs> former_;  // of calls that are just being made
  // Of the last report.
  std::string instance_;
  std::uint64_t revision_ = 0;
};

}  // namespace holdfast::control
