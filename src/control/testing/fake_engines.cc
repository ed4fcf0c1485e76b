#include "control/testing/fake_engines.h"

#include <utility>

#include <fmt/format.h>

namespace holdfast::control::fake {

FakeEngines::FakeEngines(Reactor& home, Records& records, FleetOptions fleet, NetworkOptions network)
    : home_(home), network_(network), fleet_(records, fleet), random_(network.seed), scope_(home) {}

Fleet& FakeEngines::fleet() {
  fleet_.advance(home_.now());
  return fleet_;
}

Machine* FakeEngines::machine_at(const std::string& endpoint) {
  for (auto& [node, m] : fleet_.machines()) {
    if (m.endpoint() == endpoint) return &m;
  }
  return nullptr;
}

void FakeEngines::CallBase::run() noexcept {
  if (!back) {
    engines.scope_.spawn(engines.serve(this));
  } else if (abandoned) {
    delete this;
  } else {
    done.set();
  }
}

bool FakeEngines::arrive(CallBase& call) {
  Machine* m = machine_at(call.address);
  const Trouble& trouble = troubles_[call.node];
  if (m == nullptr || !m->running) {
    call.fail(refusal(Kind::unavailable, fmt::format("node {}: connection refused", call.node)));
    return false;
  }
  if (chance(trouble.lose_request)) {
    call.fail(refusal(Kind::unavailable, fmt::format("node {}: connection reset", call.node)));
    return false;
  }
  fleet_.advance(home_.now());
  call.act(*m);
  return true;
}

Task<void> FakeEngines::serve(CallBase* call) {
  ++calls_;
  constexpr Nanos patience_max = 60s;  // longer than any time-out
  Trouble& trouble = troubles_[call->node];
  co_await home_.sleep(one_way() + trouble.slow);
  if (trouble.cut) {
    co_await home_.sleep(patience_max);
    call->fail(refusal(Kind::unavailable, fmt::format("node {}: no route", call->node)));
  } else if (arrive(*call)) {
    const Machine* before = machine_at(call->address);
    const std::uint64_t run = before->runs;
    if (chance(trouble.repeat)) {
      co_await home_.sleep(delay(network_.repeat_after_max));
      arrive(*call);
    }
    co_await home_.sleep(one_way() + trouble.slow_answer);
    const Machine* m = machine_at(call->address);
    bool lost = m == nullptr || !m->running || m->runs != run || chance(trouble.lose_answer);
    if (trouble.lose_next_answers > 0) {
      --trouble.lose_next_answers;
      lost = true;
    }
    if (trouble.cut) co_await home_.sleep(patience_max);
    if (lost) call->fail(refusal(Kind::unavailable, fmt::format("node {}: connection reset", call->node)));
  }
  call->back = true;
  call->here.send(*call);
}

class FakeEngine final : public Engine {
 public:
  FakeEngine(FakeEngines& engines, Reactor& here, NodeId node, std::string endpoint, EngineTimeouts timeouts)
      : engines_(engines),
        here_(here),
        node_(std::move(node)),
        endpoint_(std::move(endpoint)),
        timeouts_(timeouts),
        gate_(here) {}

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
  // act(Fleet&, Machine&) -> Result<T>, and owns what it uses: it may outlive its caller.
  template <class T, class Act>
  struct Call final : FakeEngines::CallBase {
    Call(FakeEngines& e, Reactor& h, std::string a, NodeId n, Act f)
        : CallBase(e, h, std::move(a), std::move(n)), work(std::move(f)) {}
    ~Call() override {
      if (answer) answer->ignore("nobody waits for it");
    }
    void act(Machine& m) override {
      Result<T> done_now = work(engines.fleet_, m);
      if (answer) {
        done_now.ignore("it came twice; the first answer counts");
        return;
      }
      answer.emplace(std::move(done_now));
    }
    void fail(Error error) override {
      if (answer) answer->ignore("it is lost");
      answer.emplace(std::move(error));
    }
    Act work;
    std::optional<Result<T>> answer;
  };
  template <class T, class Act>
  Task<Result<T>> call(Nanos timeout, Act act);

  FakeEngines& engines_;
  Reactor& here_;
  const NodeId node_;
  const std::string endpoint_;
  const EngineTimeouts timeouts_;
  std::string instance_;  // of the last report
  std::uint64_t revision_ = 0;
  StopSource stop_;
  Gate gate_;
};

template <class T, class Act>
Task<Result<T>> FakeEngine::call(Nanos timeout, Act act) {
  const Gate::Hold hold = gate_.enter();
  if (!hold) co_return refusal(Kind::aborted, fmt::format("node {}: its client is closed", node_));
  auto* under_way = new Call<T, Act>(engines_, here_, endpoint_, node_, std::move(act));
  engines_.home().send(*under_way);
  const Wake woken = co_await under_way->done.wait(here_.now() + timeout, stop_.token());
  if (woken != Wake::signalled) {
    under_way->abandoned = true;  // deleted when it comes back
    const Kind kind = woken == Wake::stopped ? Kind::aborted : Kind::deadline_exceeded;
    co_return refusal(kind, fmt::format("node {}: no answer within {} ms", node_, timeout / 1ms));
  }
  Result<T> answer = std::move(*under_way->answer);
  delete under_way;
  co_return answer;
}

// ---- reading

Task<Result<std::optional<EngineReport>>> FakeEngine::observe(Tell tell) {
  struct Told {
    std::uint64_t revision;
    std::optional<EngineReport> report;
  };
  const std::uint64_t known = tell == Tell::news ? revision_ : 0;
  const auto act = [known, instance = instance_](Fleet& f, Machine& m) -> Result<Told> {
    EngineReport now = f.report(m);
    if (now != m.told) {
      m.told = now;
      ++m.revision;
    }
    if (known == m.revision && instance == now.engine.instance) return Told{m.revision, std::nullopt};
    ++m.whole_reports;
    return Told{m.revision, std::move(now)};
  };
  HF_CO_TRY(Told told, co_await call<Told>(timeouts_.read, act));
  revision_ = told.revision;
  if (told.report) instance_ = told.report->engine.instance;
  co_return std::move(told.report);
}
Task<Result<Registration>> FakeEngine::info() {
  return call<Registration>(timeouts_.read,
                            [](Fleet& f, Machine& m) { return Result<Registration>(f.registration(m)); });
}
Task<Result<std::vector<BlockDeviceInfo>>> FakeEngine::block_devices(bool all) {
  return call<std::vector<BlockDeviceInfo>>(timeouts_.read, [all](Fleet&, Machine& m) {
    std::vector<BlockDeviceInfo> devices;
    for (const auto& [name, disk] : m.disks) {
      if (disk.pool && !all) continue;
      BlockDeviceInfo d;
      d.name = name;
      d.type = "disk";
      d.size_blocks = disk.bytes / 512;
      d.available = !disk.pool;
      devices.push_back(std::move(d));
    }
    return Result<std::vector<BlockDeviceInfo>>(std::move(devices));
  });
}
Task<Result<std::string>> FakeEngine::json_rpc(std::string method, std::string) {
  return call<std::string>(timeouts_.read, [method](Fleet&, Machine&) -> Result<std::string> {
    return refusal(Kind::unimplemented, "no method " + method);
  });
}

// ---- pools

Task<Result<PoolState>> FakeEngine::create_pool(NewPool request) {
  return call<PoolState>(timeouts_.pool,
                         [r = std::move(request)](Fleet& f, Machine& m) { return f.create_pool(m, r); });
}
Task<Result<PoolState>> FakeEngine::import_pool(NewPool request) {
  return call<PoolState>(timeouts_.pool,
                         [r = std::move(request)](Fleet& f, Machine& m) { return f.import_pool(m, r); });
}
Task<Status> FakeEngine::destroy_pool(PoolId pool, std::optional<Uuid> uuid) {
  return call<void>(timeouts_.pool, [pool, uuid](Fleet& f, Machine& m) -> Status {
    const Pool* there = m.open_pool(pool);
    if (there != nullptr && uuid && there->uuid != *uuid)
      return refusal(Kind::not_found, "pool " + pool + " is another one");
    return f.destroy_pool(m, pool);
  });
}
Task<Status> FakeEngine::export_pool(PoolId pool) {
  return call<void>(timeouts_.pool, [pool](Fleet& f, Machine& m) { return f.export_pool(m, pool); });
}
Task<Result<PoolState>> FakeEngine::add_disk(PoolId pool, std::string disk) {
  return call<PoolState>(timeouts_.pool,
                         [pool, disk](Fleet& f, Machine& m) { return f.add_pool_disk(m, pool, disk); });
}
Task<Result<PoolState>> FakeEngine::grow_pool(PoolId pool) {
  return call<PoolState>(timeouts_.pool, [pool](Fleet& f, Machine& m) { return f.grow_pool(m, pool); });
}

// ---- replicas

Task<Result<ReplicaState>> FakeEngine::create_replica(NewReplica request) {
  return call<ReplicaState>(
      timeouts_.replica, [r = std::move(request)](Fleet& f, Machine& m) { return f.create_replica(m, r); });
}
Task<Status> FakeEngine::destroy_replica(Uuid replica, PoolId pool) {
  return call<void>(timeouts_.replica, [replica, pool](Fleet& f, Machine& m) {
    return f.destroy_copy(m, replica, pool, false);
  });
}
Task<Result<ReplicaState>> FakeEngine::share_replica(Uuid replica, std::vector<std::string> allowed_hosts) {
  return call<ReplicaState>(timeouts_.replica,
                            [replica, hosts = std::move(allowed_hosts)](Fleet& f, Machine& m) {
                              return f.share_replica(m, replica, Protocol::nvmf, hosts);
                            });
}
Task<Result<ReplicaState>> FakeEngine::unshare_replica(Uuid replica) {
  return call<ReplicaState>(timeouts_.replica, [replica](Fleet& f, Machine& m) {
    return f.share_replica(m, replica, Protocol::none, {});
  });
}
Task<Result<ReplicaState>> FakeEngine::resize_replica(Uuid replica, std::uint64_t size_bytes) {
  return call<ReplicaState>(timeouts_.replica,
                            [replica, size_bytes](Fleet& f, Machine& m) -> Result<ReplicaState> {
                              Pool* in = nullptr;
                              if (m.find(replica, &in) != nullptr && in->stalled)
                                return refusal(Kind::deadline_exceeded, "its disks do not answer");
                              return f.resize_replica(m, replica, size_bytes);
                            });
}
Task<Result<ReplicaState>> FakeEngine::set_replica_entity(Uuid replica, std::string entity_id) {
  return call<ReplicaState>(timeouts_.replica, [replica, entity_id](Fleet& f, Machine& m) {
    return f.set_replica_entity(m, replica, entity_id);
  });
}
Task<Result<ReplicaState>> FakeEngine::revert_replica(Uuid replica, Uuid snapshot) {
  return call<ReplicaState>(timeouts_.replica, [replica, snapshot](Fleet& f, Machine& m) {
    return f.revert_replica(m, replica, snapshot);
  });
}
Task<Result<EpochState>> FakeEngine::replica_epochs(Uuid replica) {
  return call<EpochState>(timeouts_.read, [replica](Fleet&, Machine& m) -> Result<EpochState> {
    Pool* in = nullptr;
    if (m.find(replica, &in) != nullptr && in->stalled)
      return refusal(Kind::deadline_exceeded, "its disks do not answer");
    if (m.find(replica) == nullptr)
      return refusal(Kind::not_found, "there is no replica " + replica.to_string());
    EpochState state;
    state.regions = region_count;
    return state;
  });
}
Task<Status> FakeEngine::set_replica_record(Uuid replica, std::string record, std::uint64_t digest) {
  return call<void>(timeouts_.replica, [replica, record, digest](Fleet& f, Machine& m) {
    return f.set_replica_record(m, replica, record, digest);
  });
}
Task<Result<std::vector<KeptRecord>>> FakeEngine::replica_records() {
  using All = std::vector<KeptRecord>;
  return call<All>(timeouts_.read, [](Fleet& f, Machine& m) { return Result<All>(f.replica_records(m)); });
}
Task<Result<WipeOutcome>> FakeEngine::wipe_replica(Uuid replica, PoolId, WipeMethod method) {
  return call<WipeOutcome>(timeouts_.replica, [replica, method](Fleet&, Machine& m) -> Result<WipeOutcome> {
    Copy* copy = m.find(replica);
    if (copy == nullptr) return refusal(Kind::not_found, "there is no replica " + replica.to_string());
    WipeOutcome outcome;
    outcome.bytes = copy->size_bytes;
    if (method == WipeMethod::write_zeroes) copy->content = {};
    if (method == WipeMethod::checksum) outcome.crc32c = static_cast<std::uint32_t>(copy->content[0]);
    return outcome;
  });
}

// ---- nexuses

Task<Result<NexusState>> FakeEngine::create_nexus(NewNexus request) {
  return call<NexusState>(timeouts_.nexus,
                          [r = std::move(request)](Fleet& f, Machine& m) { return f.create_nexus(m, r); });
}
Task<Status> FakeEngine::destroy_nexus(Uuid nexus) {
  return call<void>(timeouts_.nexus, [nexus](Fleet& f, Machine& m) { return f.destroy_nexus(m, nexus); });
}
Task<Result<NexusState>> FakeEngine::shutdown_nexus(Uuid nexus) {
  return call<NexusState>(timeouts_.nexus_shutdown,
                          [nexus](Fleet& f, Machine& m) { return f.shutdown_nexus(m, nexus); });
}
Task<Result<NexusState>> FakeEngine::share_nexus(Uuid nexus, std::vector<std::string> allowed_hosts) {
  return call<NexusState>(timeouts_.nexus, [nexus, hosts = std::move(allowed_hosts)](Fleet& f, Machine& m) {
    return f.share_nexus(m, nexus, true, hosts);
  });
}
Task<Result<NexusState>> FakeEngine::unshare_nexus(Uuid nexus) {
  return call<NexusState>(timeouts_.nexus,
                          [nexus](Fleet& f, Machine& m) { return f.share_nexus(m, nexus, false, {}); });
}
Task<Result<NexusState>> FakeEngine::resize_nexus(Uuid nexus, std::uint64_t size_bytes) {
  return call<NexusState>(timeouts_.nexus, [nexus, size_bytes](Fleet& f, Machine& m) {
    return f.resize_nexus(m, nexus, size_bytes);
  });
}
Task<Result<AnaState>> FakeEngine::ana_state(Uuid nexus) {
  return call<AnaState>(timeouts_.read, [nexus](Fleet& f, Machine& m) -> Result<AnaState> {
    HF_TRY(const Nexus* n, f.find_nexus(m, nexus));
    return n->ana;
  });
}
Task<Result<NexusState>> FakeEngine::set_ana_state(Uuid nexus, AnaState state) {
  return call<NexusState>(timeouts_.nexus,
                          [nexus, state](Fleet& f, Machine& m) { return f.set_ana(m, nexus, state); });
}
Task<Result<NexusState>> FakeEngine::add_child(Uuid nexus, std::string uri, bool rebuild,
                                               std::uint32_t in_sync_through) {
  return call<NexusState>(timeouts_.nexus, [nexus, uri, rebuild, in_sync_through](Fleet& f, Machine& m) {
    return f.add_child(m, nexus, uri, rebuild, in_sync_through);
  });
}
Task<Result<NexusState>> FakeEngine::remove_child(Uuid nexus, std::string uri) {
  return call<NexusState>(timeouts_.nexus,
                          [nexus, uri](Fleet& f, Machine& m) { return f.remove_child(m, nexus, uri); });
}
Task<Result<NexusState>> FakeEngine::online_child(Uuid nexus, std::string uri) {
  return call<NexusState>(timeouts_.nexus,
                          [nexus, uri](Fleet& f, Machine& m) { return f.online_child(m, nexus, uri); });
}
Task<Result<NexusState>> FakeEngine::fault_child(Uuid nexus, std::string uri, bool for_good) {
  return call<NexusState>(timeouts_.nexus, [nexus, uri, for_good](Fleet& f, Machine& m) {
    return f.fault_child(m, nexus, uri, for_good);
  });
}

// ---- rebuilds

Task<Status> FakeEngine::start_rebuild(Uuid nexus, std::string uri) {
  return call<void>(timeouts_.nexus,
                    [nexus, uri](Fleet& f, Machine& m) { return f.start_rebuild(m, nexus, uri); });
}
Task<Status> FakeEngine::stop_rebuild(Uuid nexus, std::string uri) {
  return call<void>(timeouts_.nexus,
                    [nexus, uri](Fleet& f, Machine& m) { return f.stop_rebuild(m, nexus, uri); });
}
Task<Status> FakeEngine::pause_rebuild(Uuid nexus, std::string uri) {
  return call<void>(timeouts_.nexus,
                    [nexus, uri](Fleet& f, Machine& m) { return f.pause_rebuild(m, nexus, uri, true); });
}
Task<Status> FakeEngine::resume_rebuild(Uuid nexus, std::string uri) {
  return call<void>(timeouts_.nexus,
                    [nexus, uri](Fleet& f, Machine& m) { return f.pause_rebuild(m, nexus, uri, false); });
}
Task<Result<RebuildRecord>> FakeEngine::rebuild(Uuid nexus, std::string uri) {
  return call<RebuildRecord>(timeouts_.read,
                             [nexus, uri](Fleet& f, Machine& m) { return f.rebuild(m, nexus, uri); });
}
Task<Result<std::vector<RebuildRecord>>> FakeEngine::rebuild_history(Uuid nexus) {
  using History = std::vector<RebuildRecord>;
  return call<History>(timeouts_.read, [nexus](Fleet& f, Machine& m) -> Result<History> {
    HF_TRY(const Nexus* n, f.find_nexus(m, nexus));
    return n->history;
  });
}

// ---- snapshots

Task<Result<SnapshotState>> FakeEngine::create_snapshot(NewReplicaSnapshot request) {
  return call<SnapshotState>(timeouts_.replica_snapshot, [r = std::move(request)](Fleet& f, Machine& m) {
    return f.create_snapshot(m, r);
  });
}
Task<Result<NexusSnapshotOutcome>> FakeEngine::create_nexus_snapshot(NewNexusSnapshot request) {
  return call<NexusSnapshotOutcome>(timeouts_.nexus_snapshot, [r = std::move(request)](Fleet& f, Machine& m) {
    return f.create_nexus_snapshot(m, r);
  });
}
Task<Status> FakeEngine::destroy_snapshot(Uuid snapshot, PoolId pool) {
  return call<void>(timeouts_.replica_snapshot, [snapshot, pool](Fleet& f, Machine& m) {
    return f.destroy_copy(m, snapshot, pool, true);
  });
}
Task<Result<ReplicaState>> FakeEngine::clone_snapshot(Uuid snapshot, Uuid replica) {
  return call<ReplicaState>(timeouts_.replica_snapshot, [snapshot, replica](Fleet& f, Machine& m) {
    return f.clone_snapshot(m, snapshot, replica);
  });
}
Task<Status> FakeEngine::start_fill(NewFill request) {
  return call<void>(timeouts_.replica,
                    [r = std::move(request)](Fleet& f, Machine& m) { return f.start_fill(m, r); });
}
Task<Result<std::optional<FillState>>> FakeEngine::fill(Uuid replica) {
  return call<std::optional<FillState>>(timeouts_.read,
                                        [replica](Fleet& f, Machine& m) { return f.fill(m, replica); });
}
Task<Status> FakeEngine::end_fill(Uuid replica) {
  return call<void>(timeouts_.nexus, [replica](Fleet& f, Machine& m) { return f.end_fill(m, replica); });
}
Task<Result<DiffPage>> FakeEngine::diff_snapshots(std::optional<Uuid> earlier, Uuid later, std::uint64_t) {
  return call<DiffPage>(timeouts_.read,
                        [earlier, later](Fleet& f, Machine& m) { return f.diff(m, earlier, later); });
}

std::unique_ptr<Engine> FakeDirectory::connect(const NodeId& node, const std::string& endpoint) {
  return std::make_unique<FakeEngine>(engines_, here_, node, endpoint, timeouts_);
}

}  // namespace holdfast::control::fake
