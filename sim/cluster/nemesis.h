// Nemesis: what goes wrong in a run, drawn from its seed, within what a mirror must survive: of the copies
// that hold every acknowledged write at least one stays, and all but dead disks come back.
#pragma once

#include <functional>
#include <vector>

#include "sim/cluster/cluster.h"

namespace holdfast::sim {

class Nemesis {
 public:
  explicit Nemesis(Cluster& cluster);
  void start();
  // No further faults; those that were planned to end by themselves do.
  void stop() noexcept { running_ = false; }
  unsigned faults() const noexcept { return faults_; }

 private:
  using Fault = void (Nemesis::*)();
  void strike();
  void crash_replica();
  void crash(Replica& r, bool power, Nanos longest);
  void hunt_lone_copy();
  void crash_nexus();
  void partition();
  void cut();
  void refuse();
  void freeze();
  void disk_errors();
  void disk_stall();
  void disk_slow();
  void disk_dies();
  void store_outage();
  void meddle();
  void end_nexus();
  void snapshot();
  Replica& any_replica();
  Node& any_node();
  Nanos draw(Nanos low, Nanos high);
  // Ends a temporary fault after a random time.
  void end_after(Nanos low, Nanos high, std::function<void()> end);
  SimDisk& disk_of(const Replica& r) { return r.node->disk(r.disk_path); }

  Cluster& cluster_;
  Prng random_;
  std::vector<Fault> enabled_;
  bool running_ = false;
  Nanos troubled_until_{0};  // the last temporary fault is over then
  Nanos calm_until_{0};      // no faults before
  unsigned faults_ = 0;
};

}  // namespace holdfast::sim
