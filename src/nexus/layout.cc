#include "nexus/layout.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/units.h"

namespace holdfast::nexus {
namespace {

// Blocks before and after the data partition that no volume gets.
std::uint64_t overhead_blocks(std::uint32_t block_bytes) noexcept {
  const std::uint64_t tail = (tail_bytes + block_bytes - 1) / block_bytes;
  return data_start_block(block_bytes) + tail + 1;  // last usable block = count - tail - 2
}

Error too_small(const ChildGeometry& child, std::uint64_t needed_bytes) {
  return Error(
      Errc::invalid_argument,
      fmt::format("child '{}' is too small: needs {} ({} bytes), has {} ({} bytes); use a larger "
                  "device or a smaller volume",
                  child.uri, format_size(needed_bytes), needed_bytes,
                  format_size(child.block_count * child.block_bytes), child.block_count * child.block_bytes));
}

}  // namespace

Result<std::uint64_t> usable_blocks(const ChildGeometry& child, std::uint64_t requested_bytes) {
  if (requested_bytes == 0)
    return Error(Errc::invalid_argument, "size of the nexus is zero; give the size of the volume in bytes");
  if (requested_bytes % child.block_bytes != 0) {
    return Error(Errc::invalid_argument,
                 fmt::format("size {} is not a multiple of the block size {} of child '{}'", requested_bytes,
                             child.block_bytes, child.uri));
  }
  const std::uint64_t overhead = overhead_blocks(child.block_bytes);
  const std::uint64_t requested = requested_bytes / child.block_bytes;
  if (child.block_count < requested || child.block_count <= overhead) {
    return too_small(child, std::max(requested_bytes, (overhead + 1) * child.block_bytes));
  }
  return std::min(requested, child.block_count - overhead);
}

Result<std::uint64_t> volume_blocks(const std::vector<ChildGeometry>& children,
                                    std::uint64_t requested_bytes) {
  if (children.empty())
    return Error(Errc::invalid_argument, "a nexus needs at least one child; give one child URI or more");
  std::uint64_t least = ~std::uint64_t{0};
  for (const auto& child : children) {
    if (child.block_bytes != children.front().block_bytes) {
      return Error(
          Errc::invalid_argument,
          fmt::format("mixed block sizes: child '{}' has {} bytes, child '{}' has {}; all children "
                      "of a nexus need the same",
                      children.front().uri, children.front().block_bytes, child.uri, child.block_bytes));
    }
    HF_TRY(const std::uint64_t blocks, usable_blocks(child, requested_bytes));
    least = std::min(least, blocks);
  }
  return least;
}

Status check_fits(const ChildGeometry& child, std::uint32_t block_bytes, std::uint64_t blocks) {
  if (child.block_bytes != block_bytes) {
    return Error(Errc::invalid_argument,
                 fmt::format("mixed block sizes: the nexus has {} bytes, child '{}' has {}", block_bytes,
                             child.uri, child.block_bytes));
  }
  const std::uint64_t needed = blocks + overhead_blocks(block_bytes);
  if (child.block_count < needed) return too_small(child, needed * block_bytes);
  return Status();
}

}  // namespace holdfast::nexus
