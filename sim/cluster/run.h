// One run of a simulated cluster: workload and faults, then healing, then the last checks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace holdfast::sim {

struct RunResult {
  std::vector<std::string> failures;  // empty: passed
  std::uint64_t trace = 0;            // equal for equal seeds
  std::uint64_t steps = 0;
  double virtual_seconds = 0;
  std::uint64_t operations = 0;
  std::uint64_t operations_failed = 0;
  unsigned faults = 0;
  std::uint64_t damaged = 0;    // pieces of streams
  std::uint64_t snapshots = 0;  // of more than one replica, which were compared
  std::uint64_t copies = 0;     // rebuilds that were held against what they may copy
  std::uint64_t states = 0;     // crashed disks that were looked at, where a run makes many
};

// Everything follows from the seed. `verbose`: the history goes to standard output.
RunResult run_seed(std::uint64_t seed, bool verbose);
// What the seed draws, for people.
std::string describe_seed(std::uint64_t seed);
// The same with replicas that keep epochs (Swarm::draw_epochs); what is copied after a crash is checked, too.
RunResult run_epochs_seed(std::uint64_t seed, bool verbose);
std::string describe_epochs_seed(std::uint64_t seed);

}  // namespace holdfast::sim
