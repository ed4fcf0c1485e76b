// What happens to the processes of a cluster and to the links between them, in an order that a seed gives.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/prng.h"
#include "cluster/rig.h"
#include "soak/user.h"
#include "support/network.h"

namespace holdfast::soak {

class Nemesis {
 public:
  // `volumes` are the cluster's; each is published. `user` asks things of it meanwhile; nullptr: nobody does.
  Nemesis(cluster::Rig& rig, const testing_support::Network& network, std::vector<std::string> volumes,
          User* user, std::uint64_t seed);

  // One or two things at a time, each told on standard output, and undone at its end. Waits before, where a volume
  // would be left without a replica in sync, and sometimes without need, until all volumes are whole.
  void strike();
  std::uint64_t strikes() const noexcept { return strikes_; }
  // Until all volumes have all their replicas in sync. The user holds still meanwhile.
  void wait_whole();
  void forget_user() { user_ = nullptr; }
  // Everything that should run does. A process that ended by itself is a failure of the test.
  void check_alive();

 private:
  using Clock = std::chrono::steady_clock;
  using Time = std::chrono::milliseconds;
  struct Fault {
    std::string what;  // for the log
    std::size_t victim = 0;
    std::function<void()> begin;
    std::function<void()> end;
    Time from{};
    Time to{};
  };
  Fault draw();
  Fault kill_engine(std::size_t i);
  Fault hold_engine(std::size_t i);
  Fault kill_agent();
  Fault hold_agent();
  Fault isolate(std::size_t i);
  Fault cut_from_agent(std::size_t i);
  Fault cut_from_host(std::size_t i);
  Fault cut_apart(std::size_t i, std::size_t j);
  Fault power_cut();
  void carry_out(const std::vector<Fault>& faults);
  // Each volume keeps a replica in sync on a node that none of them strikes.
  bool bearable(const std::vector<Fault>& faults);
  cluster::Rig& rig_;
  const testing_support::Network& network_;
  const std::vector<std::string> volumes_;
  User* user_;
  Prng prng_;
  std::uint64_t strikes_ = 0;
};

}  // namespace holdfast::soak
