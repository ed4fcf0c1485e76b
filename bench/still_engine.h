// Engines that have what they were given and do nothing: the agent is what is measured.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control/engine.h"

namespace holdfast::control::figures {

class StillEngine final : public Engine {
 public:
  // The report outlives it.
  explicit StillEngine(const EngineReport& report) : report_(report) {}

  Task<Result<std::optional<EngineReport>>> observe(Tell tell) override {
    std::optional<EngineReport> now;
    if (tell == Tell::news && told_) co_return now;
    now = report_;
    for (ReplicaState& r : now->replicas) {
      const auto record = records_.find(r.uuid);
      r.record = record == records_.end() ? 0 : record->second;
    }
    told_ = true;
    co_return now;
  }
  Task<Result<Registration>> info() override { co_return Registration(report_.engine); }
  Task<void> close() override { co_return; }

  Task<Result<std::vector<BlockDeviceInfo>>> block_devices(bool) override {
    return refuse<std::vector<BlockDeviceInfo>>();
  }
  Task<Result<std::string>> json_rpc(std::string, std::string) override { return refuse<std::string>(); }
  Task<Result<PoolState>> create_pool(NewPool) override { return refuse<PoolState>(); }
  Task<Result<PoolState>> import_pool(NewPool) override { return refuse<PoolState>(); }
  Task<Status> destroy_pool(PoolId, std::optional<Uuid>) override { return refuse(); }
  Task<Status> export_pool(PoolId) override { return refuse(); }
  Task<Result<PoolState>> add_disk(PoolId, std::string) override { return refuse<PoolState>(); }
  Task<Result<PoolState>> grow_pool(PoolId) override { return refuse<PoolState>(); }
  Task<Result<ReplicaState>> create_replica(NewReplica) override { return refuse<ReplicaState>(); }
  Task<Status> destroy_replica(Uuid, PoolId) override { return refuse(); }
  Task<Result<ReplicaState>> share_replica(Uuid, std::vector<std::string>) override {
    return refuse<ReplicaState>();
  }
  Task<Result<ReplicaState>> unshare_replica(Uuid) override { return refuse<ReplicaState>(); }
  Task<Result<ReplicaState>> resize_replica(Uuid, std::uint64_t) override { return refuse<ReplicaState>(); }
  Task<Result<ReplicaState>> set_replica_entity(Uuid, std::string) override { return refuse<ReplicaState>(); }
  Task<Result<ReplicaState>> revert_replica(Uuid, Uuid) override { return refuse<ReplicaState>(); }
  Task<Result<EpochState>> replica_epochs(Uuid) override { return refuse<EpochState>(); }
  Task<Status> set_replica_record(Uuid replica, std::string, std::uint64_t digest) override {
    records_[replica] = digest;
    told_ = false;
    co_return Status();
  }
  Task<Result<std::vector<KeptRecord>>> replica_records() override {
    return refuse<std::vector<KeptRecord>>();
  }
  Task<Result<WipeOutcome>> wipe_replica(Uuid, PoolId, WipeMethod) override { return refuse<WipeOutcome>(); }
  Task<Result<NexusState>> create_nexus(NewNexus) override { return refuse<NexusState>(); }
  Task<Status> destroy_nexus(Uuid) override { return refuse(); }
  Task<Result<NexusState>> shutdown_nexus(Uuid) override { return refuse<NexusState>(); }
  Task<Result<NexusState>> share_nexus(Uuid, std::vector<std::string>) override {
    return refuse<NexusState>();
  }
  Task<Result<NexusState>> unshare_nexus(Uuid) override { return refuse<NexusState>(); }
  Task<Result<NexusState>> resize_nexus(Uuid, std::uint64_t) override { return refuse<NexusState>(); }
  Task<Result<AnaState>> ana_state(Uuid) override { return refuse<AnaState>(); }
  Task<Result<NexusState>> set_ana_state(Uuid, AnaState) override { return refuse<NexusState>(); }
  Task<Result<NexusState>> add_child(Uuid, std::string, bool, std::uint32_t) override {
    return refuse<NexusState>();
  }
  Task<Result<NexusState>> remove_child(Uuid, std::string) override { return refuse<NexusState>(); }
  Task<Result<NexusState>> online_child(Uuid, std::string) override { return refuse<NexusState>(); }
  Task<Result<NexusState>> fault_child(Uuid, std::string, bool) override { return refuse<NexusState>(); }
  Task<Status> start_rebuild(Uuid, std::string) override { return refuse(); }
  Task<Status> stop_rebuild(Uuid, std::string) override { return refuse(); }
  Task<Status> pause_rebuild(Uuid, std::string) override { return refuse(); }
  Task<Status> resume_rebuild(Uuid, std::string) override { return refuse(); }
  Task<Result<RebuildRecord>> rebuild(Uuid, std::string) override { return refuse<RebuildRecord>(); }
  Task<Result<std::vector<RebuildRecord>>> rebuild_history(Uuid) override {
    return refuse<std::vector<RebuildRecord>>();
  }
  Task<Result<SnapshotState>> create_snapshot(NewReplicaSnapshot) override { return refuse<SnapshotState>(); }
  Task<Result<NexusSnapshotOutcome>> create_nexus_snapshot(NewNexusSnapshot) override {
    return refuse<NexusSnapshotOutcome>();
  }
  Task<Status> destroy_snapshot(Uuid, PoolId) override { return refuse(); }
  Task<Result<ReplicaState>> clone_snapshot(Uuid, Uuid) override { return refuse<ReplicaState>(); }
  Task<Status> start_fill(NewFill) override { return refuse(); }
  Task<Result<std::optional<FillState>>> fill(Uuid) override { return refuse<std::optional<FillState>>(); }
  Task<Status> end_fill(Uuid) override { return refuse(); }
  Task<Result<DiffPage>> diff_snapshots(std::optional<Uuid>, Uuid, std::uint64_t) override {
    return refuse<DiffPage>();
  }

 private:
  static Error refusal_of_all() { return refusal(Kind::unimplemented, "this engine stands still"); }
  template <class T>
  static Task<Result<T>> refuse() {
    co_return refusal_of_all();
  }
  static Task<Status> refuse() { co_return refusal_of_all(); }

  const EngineReport& report_;
  std::map<Uuid, std::uint64_t> records_;
  bool told_ = false;  // all of it
};

class StillDirectory final : public EngineDirectory {
 public:
  explicit StillDirectory(const std::map<NodeId, EngineReport>& reports) : reports_(reports) {}
  std::unique_ptr<Engine> connect(const NodeId& node, const std::string&) override {
    return std::make_unique<StillEngine>(reports_.at(node));
  }

 private:
  const std::map<NodeId, EngineReport>& reports_;
};

}  // namespace holdfast::control::figures
