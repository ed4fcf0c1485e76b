// One run of simulated agents over simulated engines: users, guests and faults, then quiet, then the last checks: what
// is equals what is wanted, nobody was told what is not, nothing is orphaned, no acknowledged write is lost.
#pragma once

#include <cstdint>
#include <string>

#include "sim/cluster/run.h"

namespace holdfast::sim {

RunResult run_control_seed(std::uint64_t seed, bool verbose);
std::string describe_control_seed(std::uint64_t seed);

}  // namespace holdfast::sim
