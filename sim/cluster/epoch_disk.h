// EpochDisk: a replica that keeps epochs, over a device that does not. Its table is part of the machine: durable
// at once, so that a region's epoch is known before the first write of that epoch touches it. What the device
// below does with data that was not flushed is its own affair.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/units.h"
#include "block/block_device.h"
#include "block/registry.h"

namespace holdfast::sim {

struct EpochTable {
  static constexpr std::uint64_t region_bytes = 64 * KiB;  // small: many regions in a small volume
  std::uint32_t current = 0;
  std::uint32_t sealed = 0;
  std::vector<std::uint32_t> epochs;  // by region
  std::vector<bool> allocated;

  void fit(std::uint64_t bytes);
  // bytes > 0.
  void mark(std::uint64_t offset, std::uint64_t bytes);
  std::vector<bool> changed_since(std::uint32_t epoch) const;
};

// Over `below`, which becomes its own. The table outlives it.
std::unique_ptr<BlockDevice> make_epoch_disk(BlockDevice::Identity identity, DeviceClaim below,
                                             EpochTable& table);

}  // namespace holdfast::sim
