// Which regions (64 KiB) of a volume were touched: what a child missed, or what no flush has covered yet.
// Memory is taken in pages when a region in them is first marked (one page covers 2 GiB). One core.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/assert.h"

namespace holdfast::nexus {

inline constexpr std::uint64_t region_bytes = 64 * 1024;

class DirtyMap {
 public:
  DirtyMap() = default;
  DirtyMap(std::uint32_t block_bytes, std::uint64_t block_count)
      : blocks_per_region_(region_bytes / block_bytes) {
    grow(block_count);
  }
  DirtyMap(DirtyMap&&) noexcept = default;
  DirtyMap& operator=(DirtyMap&&) noexcept = default;

  // count > 0, inside the volume.
  void mark(std::uint64_t first_block, std::uint64_t count) {
    HF_ASSERT(count > 0);
    const std::uint64_t last = (first_block + count - 1) / blocks_per_region_;
    for (std::uint64_t r = first_block / blocks_per_region_; r <= last; ++r) set(r);
  }
  void mark_all();
  void clear_region(std::uint64_t region) noexcept;
  void clear() noexcept;
  // Adds the marks of another map of the same volume, which may be shorter.
  void merge(const DirtyMap& other);
  DirtyMap copy() const;
  void grow(std::uint64_t block_count);

  bool region(std::uint64_t index) const noexcept {
    const auto& page = pages_[index / page_regions];
    return page && ((*page)[index % page_regions / 64] >> (index % 64) & 1) != 0;
  }
  // Whether a region that holds one of the blocks is marked. count > 0, inside the volume.
  bool any(std::uint64_t first_block, std::uint64_t count) const noexcept {
    const std::uint64_t last = (first_block + count - 1) / blocks_per_region_;
    return !empty() && next(first_block / blocks_per_region_) <= last;
  }
  // The first marked region at or after `from`; regions() when there is none.
  std::uint64_t next(std::uint64_t from) const noexcept;
  std::uint64_t regions() const noexcept { return regions_; }
  std::uint64_t marked() const noexcept { return marked_; }
  std::uint64_t blocks_per_region() const noexcept { return blocks_per_region_; }
  bool empty() const noexcept { return marked_ == 0; }

 private:
  static constexpr std::uint64_t page_regions = 32768;
  using Page = std::array<std::uint64_t, page_regions / 64>;

  void set(std::uint64_t region) {
    HF_ASSERT(region < regions_);
    auto& page = pages_[region / page_regions];
    if (!page) page = std::make_unique<Page>();
    std::uint64_t& word = (*page)[region % page_regions / 64];
    const std::uint64_t bit = std::uint64_t{1} << (region % 64);
    if ((word & bit) == 0) ++marked_;
    word |= bit;
  }

  std::uint64_t blocks_per_region_ = 1;
  std::uint64_t regions_ = 0;
  std::uint64_t marked_ = 0;
  std::vector<std::unique_ptr<Page>> pages_;
};

}  // namespace holdfast::nexus
