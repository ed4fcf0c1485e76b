// What goes wrong around agents, drawn from a seed: each run has some of the faults.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sim/control/cluster.h"
#include "sim/control/users.h"

namespace holdfast::sim {

struct FaultPlan {
  static FaultPlan draw(Prng& random);
  std::string to_string() const;

  Nanos interval{0};  // about one fault in each
  bool engine_crash = false;
  bool engine_cut = false;  // from the agents
  bool engine_slow = false;
  bool pool_failed = false;   // its disks do not answer, and it says so
  bool pool_stalled = false;  // they do not answer, and nobody says so
  bool pool_full = false;     // others use its disks, too
  bool data_cut = false;      // between two engines
  bool lost_answers = false;  // and requests, and those that come twice
  bool agent_crash = false;
  bool agent_freeze = false;  // it still believes that it leads
  bool store_down = false;
  bool store_slow = false;
  bool store_lossy = false;
  bool watch_cut = false;
  bool node_loss = false;  // one machine, for ever
};

class Faults {
 public:
  Faults(ControlCluster& cluster, Users& users, FaultPlan plan, std::uint64_t seed);
  void start();
  // No more of them, and all is well again.
  void heal();
  unsigned count() const noexcept { return count_; }

 private:
  void strike();
  void crash_engine();
  void cut_engine();
  void slow_engine();
  void fail_pool();
  void stall_pool();
  void fill_pool();
  void cut_data();
  void lose_answers();
  void crash_agent();
  void freeze_agent();
  void store_down();
  void store_slow();
  void store_lossy();
  void cut_watches();
  void lose_node();
  bool may_be_lost(const control::NodeId& node);
  std::string any_machine();
  std::optional<control::PoolId> any_pool(const control::NodeId& node);
  Nanos draw(Nanos low, Nanos high) {
    return low + Nanos(random_.below(static_cast<std::uint64_t>((high - low).count()) + 1));
  }
  void later(Nanos low, Nanos high, std::function<void()> what);

  ControlCluster& cluster_;
  Users& users_;
  const FaultPlan plan_;
  Prng random_;
  std::vector<void (Faults::*)()> enabled_;
  bool running_ = false;
  unsigned count_ = 0;
};

}  // namespace holdfast::sim
