// One run of a device with several paths: workload and faults, then healing, then the last checks.
#pragma once

#include <cstdint>
#include <string>

#include "sim/cluster/run.h"

namespace holdfast::sim {

// As run_seed() and describe_seed() for clusters.
RunResult run_paths_seed(std::uint64_t seed, bool verbose);
std::string describe_paths_seed(std::uint64_t seed);

}  // namespace holdfast::sim
