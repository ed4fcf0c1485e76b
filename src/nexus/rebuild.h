// What a rebuild shows: states, statistics and history records, with the fields of mayastor.v1
// (api/mayastor/v1/nexus.proto).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/units.h"
#include "rt/time.h"

namespace holdfast::nexus {

// Values of mayastor.v1 RebuildJobState.
enum class RebuildState : std::uint8_t {
  init = 0,
  rebuilding = 1,
  stopped = 2,
  paused = 3,
  failed = 4,
  completed = 5,
};
std::string_view name(RebuildState state) noexcept;  // "init", "rebuilding", ...

struct RebuildStats {
  RebuildState state = RebuildState::init;
  std::uint64_t blocks_total = 0;        // of the volume
  std::uint64_t blocks_recovered = 0;    // known to be right at the destination: copied, or never missed
  std::uint64_t blocks_transferred = 0;  // read from the source by this job
  std::uint64_t blocks_remaining = 0;    // still to copy
  std::uint64_t progress_percent = 0;    // of what had to be copied: 0 to 100
  std::uint64_t blocks_per_task = 0;     // of a whole window
  std::uint32_t block_size = 0;          // bytes
  std::uint64_t tasks_total = 0;         // windows that may be under way at once
  std::uint64_t tasks_active = 0;
  bool is_partial = false;  // copies only what the destination missed
  WallTime start_time{};
};

struct RebuildRecord {
  std::string child_uri;   // destination
  std::string source_uri;  // the last one used
  RebuildState state = RebuildState::init;
  std::uint64_t blocks_total = 0;
  std::uint64_t blocks_recovered = 0;
  std::uint64_t blocks_transferred = 0;
  std::uint64_t blocks_remaining = 0;
  std::uint64_t blocks_per_task = 0;
  std::uint32_t block_size = 0;
  bool is_partial = false;
  WallTime start_time{};
  WallTime end_time{};
};

struct RebuildOptions {
  std::uint32_t window_bytes = 1 * MiB;  // a multiple of 64 KiB, at most BufferPool::piece_bytes_max
  unsigned windows_in_flight = 4;        // per job
};

}  // namespace holdfast::nexus
