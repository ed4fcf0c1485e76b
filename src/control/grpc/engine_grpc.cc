#include "control/grpc/engine_grpc.h"

#include <algorithm>
#include <map>
#include <utility>

#include <fmt/format.h>

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
#include "mayastor/v1/test.grpc.pb.h"
#include "rpc/unary.h"
#include "rt/stop.h"
#include "rt/wait.h"

namespace holdfast::control {
namespace {

namespace v1 = mayastor::v1;
namespace own = holdfast::v1;
using google::protobuf::Empty;
template <class Service>
using Async = typename Service::Stub::async;

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
  Task<Status> destroy_pool(PoolId pool) override;
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

// ---- reading

Task<Status> GrpcEngine::read_pools(std::vector<PoolState>& into) {
  HF_CO_TRY(const auto reply,
            co_await ask(*stubs_->pool_extras->async(), &Async<own::PoolRpc>::ListPoolDetails,
                         own::ListPoolDetailsRequest(), timeouts_.read));
  for (const auto& pool : reply.pools()) into.push_back(pool_of(node_, pool));
  co_return Status();
}

Task<Status> GrpcEngine::read_records(std::vector<own::ReplicaRecord>& into) {
  own::ListReplicaRecordsRequest request;
  request.set_with_records(true);
  for (;;) {
    HF_CO_TRY(auto reply,
              co_await ask(*stubs_->record->async(), &Async<own::ReplicaRecordRpc>::ListReplicaRecords,
                           request, timeouts_.read));
    for (auto& record : *reply.mutable_records()) into.push_back(std::move(record));
    if (!reply.has_next() || reply.records().empty()) co_return Status();
    request.set_after(reply.next());
  }
}

Task<Result<Registration>> GrpcEngine::info() {
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->host->async(), &Async<v1::HostRpc>::GetMayastorInfo,
                                           Empty(), timeouts_.read));
  co_return registration_of(reply);
}

Task<Result<std::optional<EngineReport>>> GrpcEngine::observe(Tell tell) {
  own::GetReportRequest request;
  if (tell == Tell::news) {
    request.set_instance(instance_);
    request.set_revision(revision_);
  }
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->report->async(), &Async<own::ReportRpc>::GetReport,
                                           std::move(request), timeouts_.read));
  if (reply.unchanged()) co_return std::optional<EngineReport>();
  EngineReport report = report_of(node_, reply);
  instance_ = report.engine.instance;
  revision_ = reply.revision();
  co_return std::optional<EngineReport>(std::move(report));
}

Task<Result<std::vector<BlockDeviceInfo>>> GrpcEngine::block_devices(bool all) {
  v1::ListBlockDevicesRequest request;
  request.set_all(all);
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->host->async(), &Async<v1::HostRpc>::ListBlockDevices,
                                           std::move(request), timeouts_.read));
  std::vector<BlockDeviceInfo> devices;
  for (const auto& device : reply.devices()) devices.push_back(block_device_of(device));
  co_return devices;
}

Task<Result<std::string>> GrpcEngine::json_rpc(std::string method, std::string params) {
  v1::JsonRpcRequest request;
  request.set_method(std::move(method));
  request.set_params(std::move(params));
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->json->async(), &Async<v1::JsonRpc>::JsonRpcCall,
                                           std::move(request), timeouts_.nexus));
  co_return reply.result();
}

// ---- pools

Task<Result<std::optional<PoolState>>> GrpcEngine::find_pool(PoolId pool) {
  std::vector<PoolState> all;
  HF_CO_CHECK(co_await read_pools(all));
  for (PoolState& one : all) {
    if (one.id == pool) co_return std::optional<PoolState>(std::move(one));
  }
  co_return std::optional<PoolState>();
}

// The engine tells a pool that is there on the same disks by AlreadyExists, whether it could open it or not.
Task<Result<PoolState>> GrpcEngine::open_or_make(NewPool r, bool make) {
  std::optional<Error> refused;
  if (!make) {
    v1::ImportPoolRequest request;
    request.set_name(r.pool);
    if (r.uuid) request.mutable_uuid()->set_value(r.uuid->to_string());
    for (const auto& disk : r.disks) request.add_disks(disk);
    auto reply = co_await ask(*stubs_->pool->async(), &Async<v1::PoolRpc>::ImportPool, std::move(request),
                              timeouts_.pool);
    if (reply.ok()) co_return pool_of(node_, reply.value());
    refused.emplace(reply.error());
  } else {
    own::CreatePoolRequest request;
    request.set_name(r.pool);
    if (r.uuid) request.set_uuid(r.uuid->to_string());
    for (const auto& disk : r.disks) request.add_disks(disk);
    if (r.cluster_bytes) request.set_cluster_size(*r.cluster_bytes);
    request.set_force(r.overwrite);
    auto reply = co_await ask(*stubs_->pool_extras->async(), &Async<own::PoolRpc>::CreatePool,
                              std::move(request), timeouts_.pool);
    if (reply.ok()) co_return pool_of(node_, reply.value());
    refused.emplace(reply.error());
  }
  if (kind_of(*refused) != Kind::already_exists) co_return *refused;
  HF_CO_TRY(auto there, co_await find_pool(r.pool));
  const bool same = there && (!r.uuid || *r.uuid == there->uuid);
  if (!same) co_return *refused;
  if (there->status != PoolStatus::online && there->status != PoolStatus::degraded)
    co_return refusal(Kind::internal,
                      fmt::format("node {}: pool '{}' is not open: {}", node_, r.pool, there->reason));
  co_return std::move(*there);
}

Task<Result<PoolState>> GrpcEngine::create_pool(NewPool request) {
  return open_or_make(std::move(request), true);
}
Task<Result<PoolState>> GrpcEngine::import_pool(NewPool request) {
  return open_or_make(std::move(request), false);
}

Task<Status> GrpcEngine::destroy_pool(PoolId pool) {
  v1::DestroyPoolRequest request;
  request.set_name(std::move(pool));
  HF_CO_CHECK(co_await ask(*stubs_->pool->async(), &Async<v1::PoolRpc>::DestroyPool, std::move(request),
                           timeouts_.pool));
  co_return Status();
}

Task<Status> GrpcEngine::export_pool(PoolId pool) {
  v1::ExportPoolRequest request;
  request.set_name(std::move(pool));
  const auto done = co_await ask(*stubs_->pool->async(), &Async<v1::PoolRpc>::ExportPool, std::move(request),
                                 timeouts_.pool);
  if (done.ok() || kind_of(done.error()) == Kind::not_found) co_return Status();
  co_return done.error();
}

Task<Result<PoolState>> GrpcEngine::add_disk(PoolId pool, std::string disk) {
  own::AddDiskRequest request;
  request.set_pool(pool);
  request.set_disk(std::move(disk));
  auto done = co_await ask(*stubs_->pool_extras->async(), &Async<own::PoolRpc>::AddDisk, std::move(request),
                           timeouts_.pool);
  if (done.ok()) co_return pool_of(node_, done.value());
  if (kind_of(done.error()) != Kind::already_exists) co_return done.error();
  HF_CO_TRY(auto there, co_await find_pool(std::move(pool)));
  if (!there) co_return done.error();
  co_return std::move(*there);
}

Task<Result<PoolState>> GrpcEngine::grow_pool(PoolId pool) {
  v1::GrowPoolRequest request;
  request.set_name(std::move(pool));
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->pool->async(), &Async<v1::PoolRpc>::GrowPool,
                                           std::move(request), timeouts_.pool));
  co_return pool_of(node_, reply.current_pool());
}

// ---- replicas

Task<Result<std::optional<ReplicaState>>> GrpcEngine::find_replica(Uuid replica) {
  v1::ListReplicaOptions request;
  request.mutable_uuid()->set_value(replica.to_string());
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->replica->async(), &Async<v1::ReplicaRpc>::ListReplicas,
                                           std::move(request), timeouts_.read));
  if (reply.replicas().empty()) co_return std::optional<ReplicaState>();
  co_return std::optional<ReplicaState>(replica_of(node_, reply.replicas(0)));
}

Task<Result<ReplicaState>> GrpcEngine::create_replica(NewReplica r) {
  v1::CreateReplicaRequest request;
  request.set_name(r.replica.to_string());
  request.set_uuid(r.replica.to_string());
  request.set_pooluuid(r.pool);
  request.set_size(r.size_bytes);
  request.set_thin(r.thin);
  request.set_share(share_of(r.share));
  for (const auto& host : r.allowed_hosts) request.add_allowed_hosts(host);
  if (!r.entity_id.empty()) request.set_entity_id(r.entity_id);
  auto made = co_await ask(*stubs_->replica->async(), &Async<v1::ReplicaRpc>::CreateReplica,
                           std::move(request), timeouts_.replica);
  if (made.ok()) co_return replica_of(node_, made.value());
  if (kind_of(made.error()) != Kind::already_exists) co_return made.error();
  HF_CO_TRY(const auto there, co_await find_replica(r.replica));
  const bool same = there && there->pool == r.pool && there->size_bytes == r.size_bytes &&
                    there->thin == r.thin && there->kind == ReplicaKind::regular;
  if (!same) co_return made.error();
  if (r.share == Protocol::none) co_return co_await unshare_replica(r.replica);
  co_return co_await share_replica(r.replica, std::move(r.allowed_hosts));
}

Task<Status> GrpcEngine::destroy_replica(Uuid replica, PoolId pool) {
  v1::DestroyReplicaRequest request;
  request.set_uuid(replica.to_string());
  request.set_pool_name(std::move(pool));
  const auto done = co_await ask(*stubs_->replica->async(), &Async<v1::ReplicaRpc>::DestroyReplica,
                                 std::move(request), timeouts_.replica);
  if (done.ok() || kind_of(done.error()) == Kind::not_found) co_return Status();
  co_return done.error();
}

Task<Result<ReplicaState>> GrpcEngine::share_replica(Uuid replica, std::vector<std::string> hosts) {
  v1::ShareReplicaRequest request;
  request.set_uuid(replica.to_string());
  request.set_share(v1::NVMF);
  for (const auto& host : hosts) request.add_allowed_hosts(host);
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->replica->async(), &Async<v1::ReplicaRpc>::ShareReplica,
                                           std::move(request), timeouts_.replica));
  co_return replica_of(node_, reply);
}

Task<Result<ReplicaState>> GrpcEngine::unshare_replica(Uuid replica) {
  v1::UnshareReplicaRequest request;
  request.set_uuid(replica.to_string());
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->replica->async(), &Async<v1::ReplicaRpc>::UnshareReplica,
                                           std::move(request), timeouts_.replica));
  co_return replica_of(node_, reply);
}

Task<Result<ReplicaState>> GrpcEngine::resize_replica(Uuid replica, std::uint64_t size_bytes) {
  v1::ResizeReplicaRequest request;
  request.set_uuid(replica.to_string());
  request.set_requested_size(size_bytes);
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->replica->async(), &Async<v1::ReplicaRpc>::ResizeReplica,
                                           std::move(request), timeouts_.replica));
  co_return replica_of(node_, reply);
}

Task<Result<ReplicaState>> GrpcEngine::set_replica_entity(Uuid replica, std::string entity_id) {
  v1::SetReplicaEntityIdRequest request;
  request.set_uuid(replica.to_string());
  request.set_entity_id(std::move(entity_id));
  HF_CO_TRY(const auto reply,
            co_await ask(*stubs_->replica->async(), &Async<v1::ReplicaRpc>::SetReplicaEntityId,
                         std::move(request), timeouts_.replica));
  co_return replica_of(node_, reply);
}

Task<Result<ReplicaState>> GrpcEngine::revert_replica(Uuid replica, Uuid snapshot) {
  own::RevertReplicaRequest request;
  request.set_uuid(replica.to_string());
  request.set_snapshot_uuid(snapshot.to_string());
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->pool_extras->async(), &Async<own::PoolRpc>::RevertReplica,
                                           std::move(request), timeouts_.replica));
  co_return replica_of(node_, reply);
}

Task<Result<EpochState>> GrpcEngine::replica_epochs(Uuid replica) {
  own::GetReplicaEpochsRequest request;
  request.set_uuid(replica.to_string());
  HF_CO_TRY(const auto reply,
            co_await ask(*stubs_->pool_extras->async(), &Async<own::PoolRpc>::GetReplicaEpochs,
                         std::move(request), timeouts_.read));
  EpochState state;
  state.current = reply.current();
  state.sealed = reply.sealed();
  state.region_bytes = reply.region_size();
  state.regions = reply.regions();
  state.regions_since_sealed = reply.regions_since_sealed();
  co_return state;
}

// A stream of reports, read by a thread of its own: it takes long, and is rare.
Task<Status> GrpcEngine::set_replica_record(Uuid replica, std::string record, std::uint64_t digest) {
  own::SetReplicaRecordRequest request;
  request.set_uuid(replica.to_string());
  request.set_record(std::move(record));
  request.set_digest(digest);
  HF_CO_CHECK(co_await ask(*stubs_->record->async(), &Async<own::ReplicaRecordRpc>::SetReplicaRecord,
                           std::move(request), timeouts_.replica));
  co_return Status();
}

Task<Result<std::vector<KeptRecord>>> GrpcEngine::replica_records() {
  std::vector<own::ReplicaRecord> all;
  HF_CO_CHECK(co_await read_records(all));
  std::vector<KeptRecord> kept;
  for (auto& record : all) {
    auto uuid = Uuid::parse(record.uuid());
    if (!uuid.ok()) continue;
    kept.emplace_back();
    kept.back().replica = uuid.value();
    kept.back().text = std::move(*record.mutable_record());
    kept.back().epoch = record.epoch();
    kept.back().sealed = record.sealed();
  }
  co_return kept;
}

Task<Result<WipeOutcome>> GrpcEngine::wipe_replica(Uuid replica, PoolId pool, WipeMethod method) {
  struct Cancel final : StopCallback {
    void on_stop() noexcept override { context.TryCancel(); }
    grpc::ClientContext context;
  };
  const Gate::Hold hold = gate_.enter();
  if (!hold) co_return refusal(Kind::aborted, fmt::format("node {}: its client is closed", node_));
  v1::WipeReplicaRequest request;
  request.set_uuid(replica.to_string());
  request.set_pool_name(std::move(pool));
  request.mutable_wipe_options()->mutable_options()->set_wipe_method(
      method == WipeMethod::checksum ? v1::WipeOptions::CHECKSUM : v1::WipeOptions::WRITE_ZEROES);
  Cancel cancel;
  stop_.token().subscribe(cancel);
  WipeOutcome outcome;
  grpc::Status ended;
  const auto stub = v1::TestRpc::NewStub(stubs_->channel);  // of its own: it is used on another thread
  std::function<void()> work = [&] {
    const auto reader = stub->WipeReplica(&cancel.context, request);
    for (v1::WipeReplicaResponse report; reader->Read(&report);) {
      outcome.bytes = report.wiped_bytes();
      if (report.has_crc32()) outcome.crc32c = report.crc32();
    }
    ended = reader->Finish();
  };
  co_await home_.run_blocking(std::move(work));
  if (!ended.ok()) co_return error_of(node_, ended);
  co_return outcome;
}

// ---- nexuses

Task<Result<NexusState>> GrpcEngine::create_nexus(NewNexus n) {
  v1::CreateNexusRequest request;
  request.set_name(n.name);
  request.set_uuid(n.nexus.to_string());
  request.set_size(n.size_bytes);
  request.set_mincntlid(n.controller_ids.min);
  request.set_maxcntlid(n.controller_ids.max);
  request.set_nexusinfokey(n.membership_key);
  for (const auto& uri : n.children) request.add_children(uri);
  if (n.reservation_key != 0) {
    request.set_resvkey(n.reservation_key);
    request.set_resvtype(v1::ExclusiveAccess);
    request.set_preemptpolicy(v1::Holder);
  }
  return ask_nexus(&Async<v1::NexusRpc>::CreateNexus, std::move(request), timeouts_.nexus);
}

Task<Status> GrpcEngine::destroy_nexus(Uuid nexus) {
  v1::DestroyNexusRequest request;
  request.set_uuid(nexus.to_string());
  const auto done = co_await ask(*stubs_->nexus->async(), &Async<v1::NexusRpc>::DestroyNexus,
                                 std::move(request), timeouts_.nexus);
  if (done.ok() || kind_of(done.error()) == Kind::not_found) co_return Status();
  co_return done.error();
}

Task<Result<NexusState>> GrpcEngine::shutdown_nexus(Uuid nexus) {
  v1::ShutdownNexusRequest request;
  request.set_uuid(nexus.to_string());
  return ask_nexus(&Async<v1::NexusRpc>::ShutdownNexus, std::move(request), timeouts_.nexus_shutdown);
}

Task<Result<NexusState>> GrpcEngine::share_nexus(Uuid nexus, std::vector<std::string> hosts) {
  v1::PublishNexusRequest request;
  request.set_uuid(nexus.to_string());
  request.set_share(v1::NVMF);
  for (const auto& host : hosts) request.add_allowed_hosts(host);
  return ask_nexus(&Async<v1::NexusRpc>::PublishNexus, std::move(request), timeouts_.nexus);
}

Task<Result<NexusState>> GrpcEngine::unshare_nexus(Uuid nexus) {
  v1::UnpublishNexusRequest request;
  request.set_uuid(nexus.to_string());
  return ask_nexus(&Async<v1::NexusRpc>::UnpublishNexus, std::move(request), timeouts_.nexus);
}

Task<Result<NexusState>> GrpcEngine::resize_nexus(Uuid nexus, std::uint64_t size_bytes) {
  v1::ResizeNexusRequest request;
  request.set_uuid(nexus.to_string());
  request.set_requested_size(size_bytes);
  return ask_nexus(&Async<v1::NexusRpc>::ResizeNexus, std::move(request), timeouts_.nexus);
}

Task<Result<AnaState>> GrpcEngine::ana_state(Uuid nexus) {
  v1::GetNvmeAnaStateRequest request;
  request.set_uuid(nexus.to_string());
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->nexus->async(), &Async<v1::NexusRpc>::GetNvmeAnaState,
                                           std::move(request), timeouts_.read));
  switch (reply.ana_state()) {
    case v1::NVME_ANA_OPTIMIZED_STATE:
      co_return AnaState::optimized;
    case v1::NVME_ANA_NON_OPTIMIZED_STATE:
      co_return AnaState::non_optimized;
    default:
      co_return AnaState::inaccessible;
  }
}

Task<Result<NexusState>> GrpcEngine::set_ana_state(Uuid nexus, AnaState state) {
  v1::SetNvmeAnaStateRequest request;
  request.set_uuid(nexus.to_string());
  request.set_ana_state(static_cast<v1::NvmeAnaState>(state));
  return ask_nexus(&Async<v1::NexusRpc>::SetNvmeAnaState, std::move(request), timeouts_.nexus);
}

Task<Result<NexusState>> GrpcEngine::add_child(Uuid nexus, std::string uri, bool rebuild,
                                               std::uint32_t in_sync_through) {
  own::AddChildNexusRequest request;
  request.set_uuid(nexus.to_string());
  request.set_uri(std::move(uri));
  request.set_norebuild(!rebuild);
  request.set_in_sync_through(in_sync_through);
  const auto reply =
      co_await ask(*stubs_->replica_rebuild->async(), &Async<own::ReplicaRebuildRpc>::AddChildNexus,
                   std::move(request), timeouts_.nexus);
  if (reply.ok()) co_return nexus_of(node_, reply.value());
  if (kind_of(reply.error()) != Kind::already_exists) co_return reply.error();
  v1::ListNexusOptions one;
  one.mutable_uuid()->set_value(nexus.to_string());
  HF_CO_TRY(const auto listed, co_await ask(*stubs_->nexus->async(), &Async<v1::NexusRpc>::ListNexus,
                                            std::move(one), timeouts_.read));
  if (listed.nexus_list().empty()) co_return reply.error();
  co_return nexus_of(node_, listed.nexus_list(0));
}

Task<Result<NexusState>> GrpcEngine::remove_child(Uuid nexus, std::string uri) {
  v1::RemoveChildNexusRequest request;
  request.set_uuid(nexus.to_string());
  request.set_uri(std::move(uri));
  auto removed =
      co_await ask_nexus(&Async<v1::NexusRpc>::RemoveChildNexus, std::move(request), timeouts_.nexus);
  if (removed.ok() || kind_of(removed.error()) != Kind::not_found) co_return removed;
  // Of the two that may be missing only the child is no error.
  v1::ListNexusOptions one;
  one.mutable_uuid()->set_value(nexus.to_string());
  HF_CO_TRY(const auto listed, co_await ask(*stubs_->nexus->async(), &Async<v1::NexusRpc>::ListNexus,
                                            std::move(one), timeouts_.read));
  if (listed.nexus_list().empty()) co_return removed;
  co_return nexus_of(node_, listed.nexus_list(0));
}

Task<Result<NexusState>> GrpcEngine::child_action(Uuid nexus, std::string uri, v1::ChildAction action) {
  v1::ChildOperationRequest request;
  request.set_nexus_uuid(nexus.to_string());
  request.set_uri(std::move(uri));
  request.set_action(action);
  return ask_nexus(&Async<v1::NexusRpc>::ChildOperation, std::move(request), timeouts_.nexus);
}
Task<Result<NexusState>> GrpcEngine::online_child(Uuid nexus, std::string uri) {
  return child_action(nexus, std::move(uri), v1::Online);
}
Task<Result<NexusState>> GrpcEngine::fault_child(Uuid nexus, std::string uri, bool for_good) {
  return child_action(nexus, std::move(uri), for_good ? v1::OfflinePermanent : v1::Offline);
}

// ---- rebuilds

Task<Status> GrpcEngine::start_rebuild(Uuid nexus, std::string uri) {
  return ask_rebuild(&Async<v1::NexusRpc>::StartRebuild, nexus, std::move(uri));
}
Task<Status> GrpcEngine::stop_rebuild(Uuid nexus, std::string uri) {
  return ask_rebuild(&Async<v1::NexusRpc>::StopRebuild, nexus, std::move(uri));
}
Task<Status> GrpcEngine::pause_rebuild(Uuid nexus, std::string uri) {
  return ask_rebuild(&Async<v1::NexusRpc>::PauseRebuild, nexus, std::move(uri));
}
Task<Status> GrpcEngine::resume_rebuild(Uuid nexus, std::string uri) {
  return ask_rebuild(&Async<v1::NexusRpc>::ResumeRebuild, nexus, std::move(uri));
}

Task<Result<RebuildRecord>> GrpcEngine::rebuild(Uuid nexus, std::string uri) {
  v1::RebuildStatsRequest request;
  request.set_nexus_uuid(nexus.to_string());
  request.set_uri(uri);
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->nexus->async(), &Async<v1::NexusRpc>::GetRebuildStats,
                                           std::move(request), timeouts_.read));
  co_return rebuild_of(uri, reply);
}

Task<Result<std::vector<RebuildRecord>>> GrpcEngine::rebuild_history(Uuid nexus) {
  v1::RebuildHistoryRequest request;
  request.set_uuid(nexus.to_string());
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->nexus->async(), &Async<v1::NexusRpc>::GetRebuildHistory,
                                           std::move(request), timeouts_.read));
  std::vector<RebuildRecord> records;
  for (const auto& record : reply.records()) records.push_back(rebuild_of(record));
  co_return records;
}

// ---- snapshots

Task<Result<SnapshotState>> GrpcEngine::create_snapshot(NewReplicaSnapshot s) {
  v1::CreateReplicaSnapshotRequest request;
  request.set_replica_uuid(s.replica.to_string());
  request.set_snapshot_uuid(s.snapshot.to_string());
  request.set_snapshot_name(s.name);
  request.set_entity_id(s.entity_id);
  request.set_txn_id(s.transaction);
  auto made = co_await ask(*stubs_->snapshot->async(), &Async<v1::SnapshotRpc>::CreateReplicaSnapshot,
                           std::move(request), timeouts_.replica_snapshot);
  if (made.ok()) co_return snapshot_of(node_, made.value().snapshot());
  if (kind_of(made.error()) != Kind::already_exists) co_return made.error();
  v1::ListSnapshotsRequest one;
  one.set_snapshot_uuid(s.snapshot.to_string());
  one.set_source_uuid(s.replica.to_string());
  HF_CO_TRY(const auto listed, co_await ask(*stubs_->snapshot->async(), &Async<v1::SnapshotRpc>::ListSnapshot,
                                            std::move(one), timeouts_.read));
  if (listed.snapshots().empty()) co_return made.error();
  co_return snapshot_of(node_, listed.snapshots(0));
}

Task<Result<NexusSnapshotOutcome>> GrpcEngine::create_nexus_snapshot(NewNexusSnapshot s) {
  v1::NexusCreateSnapshotRequest request;
  request.set_nexus_uuid(s.nexus.to_string());
  request.set_entity_id(s.entity_id);
  request.set_txn_id(s.transaction);
  request.set_snapshot_name(s.name);
  for (const auto& part : s.parts) {
    auto* one = request.add_replicas();
    one->set_replica_uuid(part.replica.to_string());
    one->set_snapshot_uuid(part.snapshot.to_string());
  }
  HF_CO_TRY(const auto reply,
            co_await ask(*stubs_->snapshot->async(), &Async<v1::SnapshotRpc>::CreateNexusSnapshot,
                         std::move(request), timeouts_.nexus_snapshot));
  NexusSnapshotOutcome outcome;
  outcome.taken = unix_nanos(reply.snapshot_timestamp());
  for (const auto& done : reply.replicas_done()) {
    auto uuid = Uuid::parse(done.replica_uuid());
    if (!uuid.ok())
      co_return refusal(Kind::internal,
                        fmt::format("node {}: it answered for a replica that is none", node_));
    NexusSnapshotOutcome::Part part;
    part.replica = uuid.value();
    part.sys_errno = static_cast<int>(done.status_code());
    outcome.parts.push_back(part);
  }
  co_return outcome;
}

Task<Status> GrpcEngine::destroy_snapshot(Uuid snapshot, PoolId pool) {
  v1::DestroySnapshotRequest request;
  request.set_snapshot_uuid(snapshot.to_string());
  request.set_pool_name(std::move(pool));
  const auto done = co_await ask(*stubs_->snapshot->async(), &Async<v1::SnapshotRpc>::DestroySnapshot,
                                 std::move(request), timeouts_.replica_snapshot);
  if (done.ok() || kind_of(done.error()) == Kind::not_found) co_return Status();
  co_return done.error();
}

Task<Result<ReplicaState>> GrpcEngine::clone_snapshot(Uuid snapshot, Uuid replica) {
  v1::CreateSnapshotCloneRequest request;
  request.set_snapshot_uuid(snapshot.to_string());
  request.set_clone_name(replica.to_string());
  request.set_clone_uuid(replica.to_string());
  auto made = co_await ask(*stubs_->snapshot->async(), &Async<v1::SnapshotRpc>::CreateSnapshotClone,
                           std::move(request), timeouts_.replica_snapshot);
  if (made.ok()) co_return replica_of(node_, made.value());
  if (kind_of(made.error()) != Kind::already_exists) co_return made.error();
  HF_CO_TRY(auto there, co_await find_replica(replica));
  if (!there || there->clone_of != snapshot) co_return made.error();
  co_return std::move(*there);
}

Task<Status> GrpcEngine::start_fill(NewFill fill) {
  own::RebuildReplicaRequest request;
  request.set_replica_uuid(fill.replica.to_string());
  request.set_source_uuid(fill.source.to_string());
  request.set_source_endpoint(fill.source_endpoint);
  for (const auto& copy : fill.copies) {
    auto* one = request.add_snapshots();
    one->set_source_uuid(copy.from.to_string());
    one->set_uuid(copy.to.to_string());
    one->set_name(copy.name);
  }
  HF_CO_CHECK(co_await ask(*stubs_->replica_rebuild->async(), &Async<own::ReplicaRebuildRpc>::RebuildReplica,
                           std::move(request), timeouts_.replica));
  co_return Status();
}

Task<Result<std::optional<FillState>>> GrpcEngine::fill(Uuid replica) {
  own::ListReplicaRebuildsRequest request;
  request.set_replica_uuid(replica.to_string());
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->replica_rebuild->async(),
                                           &Async<own::ReplicaRebuildRpc>::ListReplicaRebuilds,
                                           std::move(request), timeouts_.read));
  if (reply.rebuilds().empty()) co_return std::optional<FillState>();
  const auto& job = reply.rebuilds(0);
  FillState state;
  state.status = job.status() == own::ReplicaRebuild::RUNNING      ? FillStatus::running
                 : job.status() == own::ReplicaRebuild::SUCCESSFUL ? FillStatus::successful
                                                                   : FillStatus::failed;
  auto source = Uuid::parse(job.source_uuid());
  if (source.ok()) state.source = source.value();
  state.error = fmt::format("node {}: {}", node_, job.error());
  state.in_sync_through = job.in_sync_through();
  co_return std::optional<FillState>(std::move(state));
}

Task<Status> GrpcEngine::end_fill(Uuid replica) {
  own::DestroyReplicaRebuildRequest request;
  request.set_replica_uuid(replica.to_string());
  const auto done =
      co_await ask(*stubs_->replica_rebuild->async(), &Async<own::ReplicaRebuildRpc>::DestroyReplicaRebuild,
                   std::move(request), timeouts_.nexus);
  if (!done.ok() && kind_of(done.error()) != Kind::not_found) co_return done.error();
  co_return Status();
}

Task<Result<DiffPage>> GrpcEngine::diff_snapshots(std::optional<Uuid> earlier, Uuid later,
                                                  std::uint64_t offset) {
  own::DiffSnapshotsRequest request;
  if (earlier) request.set_earlier(earlier->to_string());
  request.set_later(later.to_string());
  request.set_offset(offset);
  HF_CO_TRY(const auto reply, co_await ask(*stubs_->pool_extras->async(), &Async<own::PoolRpc>::DiffSnapshots,
                                           std::move(request), timeouts_.replica));
  DiffPage page;
  for (const auto& range : reply.ranges()) {
    ByteRange one;
    one.offset = range.offset();
    one.length = range.length();
    page.ranges.push_back(one);
  }
  if (reply.has_next_offset()) page.next_offset = reply.next_offset();
  co_return page;
}

}  // namespace

GrpcDirectory::GrpcDirectory(Reactor& home, std::optional<rpc::Tls> tls, EngineTimeouts timeouts)
    : home_(home), tls_(std::move(tls)), timeouts_(timeouts) {}

std::unique_ptr<Engine> GrpcDirectory::connect(const NodeId& node, const std::string& endpoint) {
  return std::make_unique<GrpcEngine>(home_, node, endpoint, tls_ ? &*tls_ : nullptr, timeouts_);
}

}  // namespace holdfast::control
