// One host, one namespace, several paths to it: the initiator and the target with a network that cuts,
// delays, partitions and refuses, and damages what a digest covers; targets that crash, stand still or change their
// ANA state; and a store that all targets share.
//
// What is checked: each operation ends exactly once and within bounds; every read returns what some legal
// order of the writes allows (sim/cluster/history.h; blocks carry the number of their write and their own),
// so nothing is mixed up, lost, or undone by a late try of an older write; with a grace period longer than
// any fault no operation fails.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "nvmf/initiator/config.h"
#include "nvmf/initiator/remote_device.h"
#include "nvmf/target/target.h"
#include "sim/cluster/history.h"
#include "sim/net.h"
#include "sim/node.h"
#include "sim/paths/covered.h"
#include "sim/paths/shared_store.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast::sim {

// What one run is made of, drawn from its seed.
struct PathsSwarm {
  static PathsSwarm draw(std::uint64_t seed);
  std::string to_string() const;

  std::uint64_t seed = 0;
  unsigned targets = 2;
  bool both_families = false;  // IPv4 and IPv6 address of each target: two paths each
  unsigned host_cores = 1, target_cores = 1;
  std::uint64_t blocks = 512;
  unsigned tenants = 4;  // regions; a slot stays in its own
  unsigned slots_per_tenant = 2;
  unsigned operations = 150;
  unsigned operation_blocks_max = 32;
  Nanos pause_max{0};
  nvmf::InitiatorConfig config;
  std::uint32_t h2c_data_bytes_max = 1 << 20;  // of the targets
  LinkOptions link;
  Nanos latency_max{200'000};
  Nanos fault_interval{300'000'000};
  bool cut = false, partition = false, refuse = false, crash = false, freeze = false, stall = false,
       ana = false, path_errors = false;
  bool long_grace = true;         // no operation may fail
  unsigned damage_per_mille = 0;  // of pieces, in bytes that a digest covers
  unsigned hold_per_mille = 0;    // of the sends, whose memory the network holds for a while
};

class PathsRun {
 public:
  PathsRun(const PathsSwarm& swarm, bool verbose);
  PathsRun(const PathsRun&) = delete;
  PathsRun& operator=(const PathsRun&) = delete;
  ~PathsRun();

  void run();
  World& world() noexcept { return world_; }
  const std::vector<std::string>& failures() const noexcept { return failures_; }
  std::uint64_t finished() const noexcept { return finished_; }
  std::uint64_t failed() const noexcept { return failed_; }
  unsigned faults() const noexcept { return faults_; }
  void note(const std::string& line);

 private:
  struct TargetSide {
    Node* node = nullptr;
    PortBehavior behavior;
    std::unique_ptr<SharedDevice> device;
    std::unique_ptr<nvmf::Target> target;
    nvme::AnaState ana = nvme::AnaState::optimized;
    bool changing = false;  // a change of the ANA state is under way
    Nanos steady_until{0};  // it may not stand still again before
  };
  struct Tenant {
    std::uint64_t first = 0, count = 0;
    Nanos quiet_until{0};  // after a failed write: its fate is decided then
    std::list<std::pair<std::uint64_t, std::uint64_t>> changes;  // ranges being written
  };

  void fail(const std::string& why);
  bool over() const { return !failures_.empty(); }

  // Set-up and end (paths.cc).
  bool set_up();
  void start_target(TargetSide& side);
  Task<Status> serve(TargetSide& side);
  nvmf::RemoteConfig remote() const;
  Task<void> open_all(bool& done);
  void shut_down();

  // The workload (paths_workload.cc).
  void start_workload();
  Task<void> slot(unsigned index);
  Task<bool> operation(SimReactor& core, Channel& channel, Tenant& tenant, Prng& random);
  Task<bool> read(Channel& channel, std::uint64_t first, std::uint64_t count);
  Task<bool> change(Channel& channel, Tenant& tenant, std::uint64_t first, std::uint64_t count, bool zeroes);
  void check_store();

  // The faults (paths_faults.cc).
  using Fault = void (PathsRun::*)(TargetSide& side);
  void choose_faults();
  void strike();
  void cut(TargetSide& side);
  void partition(TargetSide& side);
  void refuse(TargetSide& side);
  void freeze(TargetSide& side);
  void stall(TargetSide& side);
  void ana(TargetSide& side);
  void path_errors(TargetSide& side);
  Nanos stand_still(TargetSide& side);
  void end_after(Nanos low, Nanos high, std::function<void()> end);
  void crash(TargetSide& side);
  void change_ana(TargetSide& side, nvme::AnaState state);
  void heal();
  Nanos draw(Nanos low, Nanos high);

  const PathsSwarm swarm_;
  const bool verbose_;
  World world_;
  Prng random_;
  SharedStore store_;
  BlockHistory history_;
  CoveredBytes covered_;
  Node& host_node_;
  Process* host_ = nullptr;
  std::vector<std::unique_ptr<TargetSide>> targets_;
  std::unique_ptr<BlockDevice> device_;
  std::vector<std::unique_ptr<Channel>> channels_;
  std::vector<Tenant> tenants_;
  Value next_value_ = 1;
  unsigned left_ = 0;
  unsigned slots_running_ = 0;
  std::uint64_t finished_ = 0, failed_ = 0;
  std::vector<Fault> enabled_;
  unsigned faults_ = 0;
  bool faulty_ = false;
  bool shut_down_ = false;
  std::vector<std::string> failures_;
};

}  // namespace holdfast::sim
