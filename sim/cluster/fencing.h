// One run of a take-over: an old nexus that nobody can tell to stop, and a new one that preempts its
// children. What is looked for (promise P2): from the moment that the new nexus is there, the old one
// acknowledges nothing, and nothing that it was asked to do later, or had under way, changes a child; local
// children included.
//
// The old nexus reaches all of its replicas, but not the store: only the reservations can stop it. Its hosts
// go on all the time. Replica engines crash and come back, the old engine freezes, disks stall, connections
// are cut.
#pragma once

#include <cstdint>
#include <string>

#include "sim/cluster/run.h"

namespace holdfast::sim {

// Everything follows from the seed. `verbose`: the history goes to standard output.
RunResult run_fencing_seed(std::uint64_t seed, bool verbose);
// What the seed draws, for people.
std::string describe_fencing_seed(std::uint64_t seed);

}  // namespace holdfast::sim
