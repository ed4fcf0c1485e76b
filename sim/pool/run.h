// Crashes of a pool at every step of its metadata: a sequence of operations is run once on disks that write down
// what is done to them; each moment of it is then made into crashed disks in several ways, and on each of these the
// pool must be whole (docs/format/pool.md, "Recovery"): it is found without a breach of the format, it opens, what
// was acknowledged is there, and no volume has a byte that was never written to it (P4, P5).
//
// Seeds 1 to crash_sequences are all sequences of one to three operations; larger ones are long random sequences. In half
// of these, disks fail operations, too; what holds then is in error_run.cc, and while the pool is made in make_run.cc. In
// half of them volumes have epochs (epoch_run.cc).
// After a crash of each run the pool goes on from there, and crashes again.
#pragma once

#include <cstdint>
#include <string>

#include "sim/cluster/run.h"

namespace holdfast::sim {

inline constexpr std::uint64_t crash_operations = 12;
inline constexpr std::uint64_t crash_sequences = crash_operations + crash_operations * crash_operations +
                                                 crash_operations * crash_operations * crash_operations;

// As run_seed() and describe_seed() for clusters.
RunResult run_pool_seed(std::uint64_t seed, bool verbose);
std::string describe_pool_seed(std::uint64_t seed);

}  // namespace holdfast::sim
