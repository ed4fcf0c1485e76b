// Reads and writes of an exported disk whose every byte is known: each place is written by one worker only, with a
// pattern of its generation, and a read has to give the last generation that was acknowledged. What is lost, or
// written again later, is seen.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace holdfast::e2e {

struct LoadOutcome {
  std::uint64_t operations = 0;
  std::string wrong;  // the first thing; empty when nothing was
};
// Blocks for about so long, in the calling thread's network namespace. The disk is as it was made: zeroes, at least
// 16 MiB.
LoadOutcome run_verified_load(const std::string& uri, std::chrono::milliseconds time);

}  // namespace holdfast::e2e
