#include "nexus/dirty_map.h"

#include <bit>

namespace holdfast::nexus {

void DirtyMap::mark_all() {
  for (std::uint64_t r = 0; r < regions_; ++r) set(r);
}

void DirtyMap::clear_region(std::uint64_t index) noexcept {
  if (!region(index)) return;
  (*pages_[index / page_regions])[index % page_regions / 64] &= ~(std::uint64_t{1} << (index % 64));
  --marked_;
}

void DirtyMap::clear() noexcept {
  for (auto& page : pages_) page.reset();
  marked_ = 0;
}

void DirtyMap::merge(const DirtyMap& other) {
  HF_ASSERT(other.blocks_per_region_ == blocks_per_region_ && other.regions_ <= regions_);
  for (std::uint64_t r = other.next(0); r < other.regions_; r = other.next(r + 1)) set(r);
}

DirtyMap DirtyMap::copy() const {
  DirtyMap made;
  made.blocks_per_region_ = blocks_per_region_;
  made.regions_ = regions_;
  made.marked_ = marked_;
  for (const auto& page : pages_) made.pages_.push_back(page ? std::make_unique<Page>(*page) : nullptr);
  return made;
}

void DirtyMap::grow(std::uint64_t block_count) {
  const std::uint64_t regions = (block_count + blocks_per_region_ - 1) / blocks_per_region_;
  HF_ASSERT(regions >= regions_);
  regions_ = regions;
  pages_.resize((regions + page_regions - 1) / page_regions);
}

std::uint64_t DirtyMap::next(std::uint64_t from) const noexcept {
  while (from < regions_) {
    const auto& page = pages_[from / page_regions];
    if (!page) {
      from = (from / page_regions + 1) * page_regions;
      continue;
    }
    const std::uint64_t word = (*page)[from % page_regions / 64] >> (from % 64);
    if (word != 0) return from + static_cast<std::uint64_t>(std::countr_zero(word));
    from = (from / 64 + 1) * 64;
  }
  return regions_;
}

}  // namespace holdfast::nexus
