// Where the volume's data lies on a child, as Mayastor lays it out:
//
//   0 .. 1 MiB        offset, never written
//   1 MiB .. 5 MiB    reserved, never written
//   5 MiB .. end      the data partition; block 0 of the volume is its first block
//   tail              ceil(16 KiB / block) + 1 blocks, kept free for the copy of a partition table
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "block/block_device.h"

namespace holdfast::nexus {

inline constexpr std::uint64_t data_offset_bytes = 5 * 1024 * 1024;
inline constexpr std::uint64_t tail_bytes = 16 * 1024;

// First block of the data partition.
constexpr std::uint64_t data_start_block(std::uint32_t block_bytes) noexcept {
  return data_offset_bytes / block_bytes;
}

struct ChildGeometry {
  std::string uri;
  std::uint32_t block_bytes = 0;
  std::uint64_t block_count = 0;
};

// Blocks that this child can give to a volume of the size asked for. Errors: invalid_argument naming the
// child, what is needed and what there is.
Result<std::uint64_t> usable_blocks(const ChildGeometry& child, std::uint64_t requested_bytes);
// Blocks of a volume on these children: the least of them. Errors: invalid_argument (no children, size zero
// or not a multiple of the block, mixed block sizes, a child too small).
Result<std::uint64_t> volume_blocks(const std::vector<ChildGeometry>& children,
                                    std::uint64_t requested_bytes);
// Whether a child can join a volume of `blocks` blocks. Errors as above.
Status check_fits(const ChildGeometry& child, std::uint32_t block_bytes, std::uint64_t blocks);

}  // namespace holdfast::nexus
