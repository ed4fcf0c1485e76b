// ControlCluster: agents of the control plane on simulated machines, engines that are models, a store in memory.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "control/agent.h"
#include "control/testing/fake_engines.h"
#include "rt/stop.h"
#include "sim/control/store.h"
#include "sim/node.h"
#include "sim/world.h"

namespace holdfast::sim {

class ControlCluster {
 public:
  static constexpr unsigned agent_count = 2;

  ControlCluster(std::uint64_t seed, unsigned engines, bool verbose);
  ~ControlCluster();

  World& world() noexcept { return world_; }
  control::fake::FakeEngines& engines() noexcept { return *engines_; }
  control::fake::Fleet& fleet() { return engines_->fleet(); }
  StoreTrouble& store_trouble() noexcept { return store_trouble_; }
  store::MemoryStore& store() noexcept { return *store_; }
  const std::vector<control::NodeId>& nodes() const noexcept { return node_ids_; }

  void start_agent(unsigned index);
  void crash_agent(unsigned index);
  bool agent_runs(unsigned index) const noexcept { return agents_[index].agent != nullptr; }
  control::Agent* agent(unsigned index) noexcept { return agents_[index].agent.get(); }
  Node& agent_node(unsigned index) noexcept { return *agents_[index].node; }
  // One that leads and is ready; nullptr when there is none.
  control::Agent* leader() noexcept;
  // Runs op(agent) on the reactor of an agent, the one that leads if there is one. Gives the number of its start, 0
  // when no agent runs; the operation never ends when that run crashes.
  using Operation = std::function<Task<void>(control::Agent&)>;
  std::uint64_t on_agent(Operation op);
  bool run_is_alive(std::uint64_t start) const noexcept;

  void log(const std::string& text);
  void fail(std::string why);
  const std::vector<std::string>& failures() const noexcept { return failures_; }

 private:
  struct AgentSlot {
    Node* node = nullptr;
    std::uint64_t start = 0;
    std::unique_ptr<TroubledKv> kv;
    std::unique_ptr<control::fake::FakeDirectory> directory;
    std::unique_ptr<control::Agent> agent;
    std::unique_ptr<StopSource> stop;
  };
  void heartbeats();
  void send_heartbeat(const control::NodeId& id, unsigned agent);

  const bool verbose_;
  World world_;
  StoreTrouble store_trouble_;
  SimReactor* ether_;  // where the store and the engines are
  std::unique_ptr<store::MemoryStore> store_;
  std::unique_ptr<StoreRecords> records_;
  std::unique_ptr<control::fake::FakeEngines> engines_;
  std::vector<control::NodeId> node_ids_;
  std::vector<AgentSlot> agents_;
  std::vector<std::string> failures_;
  std::uint64_t starts_ = 0;
};

}  // namespace holdfast::sim
