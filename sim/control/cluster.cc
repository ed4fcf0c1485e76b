#include "sim/control/cluster.h"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

namespace holdfast::sim {

using namespace control;

namespace {

constexpr Nanos heartbeat_period = 2s;

Options agent_options(unsigned index) {
  Options o;
  o.agent = fmt::format("agent-{}", index);
  o.advertise = fmt::format("http://agent-{}", index);
  o.policy.faulted_wait = 20LL * 1'000'000'000;
  o.policy.drain_wait = 30LL * 1'000'000'000;
  o.lease_ttl_s = 4;
  o.former_run_is_over = index % 2 == 1;
  o.reconcile_period = 5s;
  o.check_looks = true;
  o.poll_period = 3s;
  o.heartbeat_deadline = 6s;
  o.page_limit = 7;
  return o;
}

// A lambda's captures end with its temporary; this frame owns them.
Task<void> run_operation(ControlCluster::Operation op, Agent& agent) { co_await op(agent); }

Task<void> run_agent(Agent& agent, StopToken stop) { co_await agent.run(stop); }

Task<void> heartbeat(Agent& agent, Registration r) {
  (co_await agent.register_node(std::move(r))).ignore("the next one comes soon");
}

}  // namespace

ControlCluster::ControlCluster(std::uint64_t seed, unsigned engines, bool verbose)
    : verbose_(verbose), world_(seed) {
  Node& node = world_.add_node("ether");
  node.start();
  ether_ = &node.process()->core(0);
  store_ = std::make_unique<store::MemoryStore>(*ether_);
  records_ = std::make_unique<StoreRecords>(*store_, store_trouble_);
  fake::FleetOptions fleet_options;
  fleet_options.any_disk = false;
  fake::NetworkOptions network;
  network.seed = seed;
  engines_ = std::make_unique<fake::FakeEngines>(*ether_, *records_, fleet_options, network);
  for (unsigned i = 0; i < engines; ++i) {
    node_ids_.push_back(fmt::format("node-{}", i));
    fleet().add(node_ids_.back());
    for (const char* disk : {"/dev/a", "/dev/b"})
      fleet().add_disk(node_ids_.back(), disk, std::uint64_t{20} << 30);
  }
  for (unsigned i = 0; i < agent_count; ++i) {
    agents_.emplace_back();
    agents_.back().node = &world_.add_node(fmt::format("agent{}", i));
  }
  heartbeats();
}

ControlCluster::~ControlCluster() {
  for (unsigned i = 0; i < agent_count; ++i) {
    if (agent_runs(i)) crash_agent(i);
  }
  // What is under way at engines is under way for ever.
  bury(engines_.release());
  bury(records_.release());
  bury(store_.release());
  world_.node(0).crash(CrashKind::process);
}

void ControlCluster::start_agent(unsigned index) {
  AgentSlot& slot = agents_[index];
  SimReactor& home = slot.node->start().core(0);
  slot.start = ++starts_;
  const std::uint64_t seed = world_.seed() * 1000 + starts_;
  slot.kv = std::make_unique<TroubledKv>(home, *store_, store_trouble_, seed);
  slot.directory = std::make_unique<fake::FakeDirectory>(*engines_, home);
  slot.agent = std::make_unique<Agent>(home, *slot.kv, *slot.directory, agent_options(index));
  slot.stop = std::make_unique<StopSource>();
  world_.spawn(home, run_agent(*slot.agent, slot.stop->token()));
  log(fmt::format("agent {} starts", index));
}

void ControlCluster::crash_agent(unsigned index) {
  AgentSlot& slot = agents_[index];
  bury(slot.agent.release());
  bury(slot.directory.release());
  bury(slot.kv.release());
  bury(slot.stop.release());
  slot.node->crash(CrashKind::process);
  log(fmt::format("agent {} crashes", index));
}

Agent* ControlCluster::leader() noexcept {
  for (AgentSlot& slot : agents_) {
    if (slot.agent != nullptr && slot.agent->leading() && slot.agent->ready()) return slot.agent.get();
  }
  return nullptr;
}

bool ControlCluster::run_is_alive(std::uint64_t start) const noexcept {
  return std::any_of(agents_.begin(), agents_.end(),
                     [&](const AgentSlot& s) { return s.agent != nullptr && s.start == start; });
}

std::uint64_t ControlCluster::on_agent(Operation op) {
  std::vector<unsigned> running, leading;
  for (unsigned i = 0; i < agent_count; ++i) {
    if (!agent_runs(i)) continue;
    running.push_back(i);
    if (agents_[i].agent->leading()) leading.push_back(i);
  }
  const auto& from = leading.empty() ? running : leading;
  if (from.empty()) return 0;
  AgentSlot& slot = agents_[from[world_.random().below(from.size())]];
  world_.spawn(slot.node->process()->core(0), run_operation(std::move(op), *slot.agent));
  return slot.start;
}

void ControlCluster::heartbeats() {
  for (const auto& [id, m] : fleet().machines()) {
    const fake::Trouble& trouble = engines_->trouble(id);
    if (!m.running || trouble.cut) continue;
    for (unsigned i = 0; i < agent_count; ++i) {
      const Nanos delay = trouble.slow + Nanos(world_.random().below(500'000'000));
      world_.after(delay, [this, node = id, i] { send_heartbeat(node, i); });
    }
  }
  world_.after(heartbeat_period, [this] { heartbeats(); });
}

void ControlCluster::send_heartbeat(const NodeId& id, unsigned index) {
  if (!agent_runs(index)) return;
  const auto& machines = fleet().machines();
  const auto m = machines.find(id);
  if (m == machines.end() || !m->second.running || engines_->trouble(id).cut) return;
  AgentSlot& slot = agents_[index];
  world_.spawn(slot.node->process()->core(0), heartbeat(*slot.agent, fleet().registration(m->second)));
}

void ControlCluster::log(const std::string& text) {
  if (verbose_) fmt::print("{:10.3f} {}\n", static_cast<double>(world_.now().count()) / 1e9, text);
}

void ControlCluster::fail(std::string why) {
  log("FAILED: " + why);
  failures_.push_back(std::move(why));
}

}  // namespace holdfast::sim
