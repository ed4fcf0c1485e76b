// AgentRig: one agent over a store in memory and a model of engines, in simulated time. For tests of the shell.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "control/agent.h"
#include "control/testing/fake_engines.h"
#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"
#include "store/memory_kv.h"

namespace holdfast::control::fake {

inline constexpr std::uint64_t gib = std::uint64_t{1} << 30;

// Of a pool that AgentRig::add_node made.
inline NodeId node_of(const PoolId& pool) { return pool.substr(0, pool.rfind('-')); }

// Membership records where the agent looks for them.
class SharedRecords final : public Records {
 public:
  explicit SharedRecords(store::MemoryStore& store) : store_(store) {}
  Result<std::optional<nexus::StoredRecord>> load(const std::string& key) override {
    const store::RangeRequest request(key);
    HF_TRY(const auto found, store_.state().range(request));
    if (found.kvs.empty()) return std::optional<nexus::StoredRecord>();
    nexus::StoredRecord stored;
    HF_TRY(stored.record, nexus::parse_record(found.kvs.front().value));
    stored.revision = static_cast<std::uint64_t>(found.kvs.front().mod_revision);
    return std::optional(std::move(stored));
  }
  Result<std::uint64_t> swap(const std::string& key, std::uint64_t expected,
                             const nexus::Record& next) override {
    store::Txn txn;
    txn.when(store::Compare::mod_revision_is(key, static_cast<store::Revision>(expected)));
    txn.then(store::PutRequest(key, nexus::to_json(next)));
    HF_TRY(const auto done, store_.state().txn(txn));
    if (!done.succeeded) return Error(Errc::fenced, "another owner changed the record " + key);
    store_.changed();
    return static_cast<std::uint64_t>(done.revision);
  }

 private:
  store::MemoryStore& store_;
};

class AgentRig {
 public:
  explicit AgentRig(Options options = Options(), std::uint64_t seed = 1)
      : world(seed),
        reactor(world.add_node("agent").start().core(0)),
        store(reactor),
        kv(reactor, store),
        records(store),
        engines(reactor, records),
        directory(engines, reactor),
        options_(checked(std::move(options))) {
    start_agent();
  }
  ~AgentRig() {
    stop_agent();
    world.run(reactor, kv.close());
    world.run(reactor, engines.idle());
    world.run_for(1ms);
  }

  void start_agent() {
    agent = std::make_unique<Agent>(reactor, kv, directory, options_);
    stop_ = std::make_unique<StopSource>();
    running_ = true;
    world.spawn(reactor, run_agent());
    until([&] { return agent->leading() && agent->ready(); });
  }
  void stop_agent() {
    stop_->request_stop();
    until([&] { return !running_; });
    agent.reset();
  }

  // A node with pools of so many bytes each; the names of the pools are "<node>-a", "<node>-b", ...
  void add_node(const NodeId& node, unsigned pools = 1, std::uint64_t bytes = 10 * gib) {
    engines.fleet().add(node);
    must(agent->register_node(engines.fleet().registration(engines.fleet().machine(node))));
    until([&] { return agent->observed().node_known(node); });
    for (unsigned p = 0; p < pools; ++p) {
      CreatePool pool;
      pool.pool = fmt::format("{}-{:c}", node, 'a' + p);
      pool.node = node;
      pool.disks = {"/dev/" + pool.pool};
      engines.fleet().add_disk(node, pool.disks[0], bytes);
      must(agent->create_pool(pool));
    }
  }
  VolumeSpec create_volume(const std::string& name, std::uint32_t replicas, std::uint64_t bytes = gib,
                           bool thin = false) {
    return must(agent->create_volume(volume_request(name, replicas, bytes, thin))).spec;
  }
  static CreateVolume volume_request(const std::string& name, std::uint32_t replicas,
                                     std::uint64_t bytes = gib, bool thin = false) {
    CreateVolume request;
    request.volume = Uuid::from_name(name);
    request.replicas = replicas;
    request.size_bytes = bytes;
    request.thin = thin;
    return request;
  }
  VolumeView publish(const Uuid& volume, const NodeId& node = "") {
    PublishVolume request;
    request.volume = volume;
    if (!node.empty()) request.node = node;
    return must(agent->publish_volume(request));
  }
  VolumeView volume(const Uuid& id) { return agent->volume(id).value(); }
  const VolumeSpec& spec(const Uuid& id) { return agent->specs().volumes.at(id); }
  VolumeStatus status(const Uuid& id) { return volume(id).state.status; }
  // The pools of its replicas, sorted.
  std::vector<PoolId> pools_of(const Uuid& id) {
    std::vector<PoolId> pools;
    for (const auto& [uuid, r] : volume(id).state.replicas) pools.push_back(*r.pool);
    std::sort(pools.begin(), pools.end());
    return pools;
  }
  Uuid replica_on(const Uuid& id, const NodeId& node) {
    for (const auto& [uuid, r] : volume(id).state.replicas) {
      if (r.node == node) return uuid;
    }
    panic("there is no replica on that node");
  }
  // A guest writes everywhere on the volume.
  void write_all(const Uuid& id) {
    const VolumeTarget target = *spec(id).target;
    Fleet& fleet = engines.fleet();
    for (unsigned region = 0; region < region_count; ++region) {
      const Status written = fleet.write(fleet.machine(target.node), target.nexus, region);
      HF_ASSERT(written.ok());
    }
  }

  template <class T>
  T run(Task<T> task) {
    return world.run(reactor, std::move(task));
  }
  template <class T>
  T must(Task<Result<T>> task) {
    Result<T> done = run(std::move(task));
    if (!done.ok()) panic(done.error().message().c_str());
    return std::move(done).value();
  }
  void must(Task<Status> task) {
    const Status done = run(std::move(task));
    if (!done.ok()) panic(done.error().message().c_str());
  }
  template <class T>
  Kind refused(Task<Result<T>> task) {
    const Result<T> done = run(std::move(task));
    if (done.ok()) panic("it was not refused");
    last_refusal = done.error().message();
    return kind_of(done.error());
  }
  Kind refused(Task<Status> task) {
    const Status done = run(std::move(task));
    if (done.ok()) panic("it was not refused");
    last_refusal = done.error().message();
    return kind_of(done.error());
  }
  bool until(const std::function<bool()>& done, Nanos limit = std::chrono::minutes(30)) {
    return world.run_until(done, world.now() + limit);
  }
  // Nothing that was released is left, in specs or on engines.
  bool is_clean() {
    const auto released = [](const auto& s) { return s.second.status == SpecStatus::deleting; };
    const Specs& specs = agent->specs();
    if (std::any_of(specs.replicas.begin(), specs.replicas.end(), released)) return false;
    if (std::any_of(specs.nexuses.begin(), specs.nexuses.end(), released)) return false;
    std::size_t copies = 0;
    for (auto& [id, m] : engines.fleet().machines()) {
      for (auto& [pool, p] : m.pools) {
        for (auto& [uuid, c] : p.copies) copies += !c.is_snapshot;
      }
    }
    return copies == specs.replicas.size();
  }

  sim::World world;
  sim::SimReactor& reactor;
  store::MemoryStore store;
  store::MemoryKv kv;
  SharedRecords records;
  FakeEngines engines;
  FakeDirectory directory;
  std::unique_ptr<Agent> agent;
  std::string last_refusal;

 private:
  Task<void> run_agent() {
    co_await agent->run(stop_->token());
    running_ = false;
  }
  static Options checked(Options options) {
    options.check_looks = true;
    return options;
  }
  const Options options_;
  std::unique_ptr<StopSource> stop_;
  bool running_ = false;
};

// With nodes "n1", "n2", ... of one pool each, where nothing that is done may lose data.
class NodesRig : public AgentRig {
 public:
  explicit NodesRig(unsigned nodes = 3, Options options = Options()) : AgentRig(std::move(options)) {
    for (unsigned i = 1; i <= nodes; ++i) add_node(fmt::format("n{}", i));
  }
  ~NodesRig() {
    const auto violations = engines.fleet().violations();
    if (!violations.empty()) panic(violations.front().c_str());
  }
  NodesRig(const NodesRig&) = delete;
  NodesRig& operator=(const NodesRig&) = delete;
};

}  // namespace holdfast::control::fake
