// Wiping a replica that nobody uses, chunk by chunk, or summing it up. Home core.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "base/error.h"
#include "block/registry.h"
#include "rt/time.h"

namespace holdfast::engine {

enum class WipeMethod : std::uint8_t { none, write_zeroes, unmap, write_pattern, checksum };

struct WipeParams {
  WipeMethod method = WipeMethod::none;
  std::uint32_t pattern = 0;      // of write_pattern, four bytes in this machine's order
  std::uint64_t chunk_bytes = 0;  // between two reports; 0: all at once
};

struct WipeProgress {
  std::uint64_t total_bytes = 0;
  std::uint64_t chunk_bytes = 0;
  std::uint64_t last_chunk_bytes = 0;
  std::uint64_t total_chunks = 0;
  std::uint64_t wiped_bytes = 0;
  std::uint64_t wiped_chunks = 0;
  Nanos since{0};                       // the start
  std::optional<std::uint32_t> crc32c;  // of what was read so far
};

inline constexpr std::uint64_t wipe_chunks_max = 1024;

// How the work divides into chunks. Errors: invalid_argument: a chunk that is no whole number of blocks or
// larger than the device, or more than wipe_chunks_max of them.
Result<WipeProgress> plan_wipe(const Geometry& geometry, std::uint64_t chunk_bytes);

// Reports once at the start and after each chunk; ends early, with cancelled, when it is not wanted any more, which is
// asked more often. The caller sees to it that the device stays. Errors: busy (it is in use), invalid_argument, those
// of the device.
Task<Status> wipe(DeviceRegistry& devices, BlockDevice& device, WipeParams params,
                  std::function<void(const WipeProgress&)> report, std::function<bool()> wanted);

}  // namespace holdfast::engine
