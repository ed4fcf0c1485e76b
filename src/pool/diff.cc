#include "pool/diff.h"

#include <algorithm>

namespace holdfast::pool {
namespace {

using Visit = std::function<bool(std::uint64_t, std::uint32_t, std::uint32_t)>;

bool same_place(const BlockRun& a, const BlockRun& b) noexcept {
  if (a.source == BlockSource::zero || b.source == BlockSource::zero) return a.source == b.source;
  return a.cluster == b.cluster;
}

bool diff_clusters(Entry earlier, Entry later, std::uint32_t blocks, std::uint64_t index,
                   const Visit& visit) {
  const ClusterView a(earlier, false), b(later, false);
  if (earlier.raw() == later.raw()) return true;  // both whole, both nothing, or one Partial
  std::uint32_t differ_first = 0, differ = 0;
  for (std::uint32_t block = 0; block < blocks;) {
    const BlockRun in_b = b.run(block, blocks - block);
    const BlockRun in_a = a.run(block, in_b.blocks);
    if (same_place(in_a, in_b)) {
      if (differ > 0 && !visit(index, differ_first, differ)) return false;
      differ = 0;
    } else {
      if (differ == 0) differ_first = block;
      differ += in_a.blocks;
    }
    block += in_a.blocks;
  }
  return differ == 0 || visit(index, differ_first, differ);
}

}  // namespace

void diff_maps(const VolumeMap* earlier, const VolumeMap* later, std::uint32_t blocks_per_cluster,
               std::uint64_t index_first, std::uint64_t index_end, const Visit& visit) {
  std::size_t slots = later != nullptr ? later->leaves() : 0;
  if (earlier != nullptr) slots = std::max(slots, earlier->leaves());
  index_end = std::min(index_end, std::uint64_t{slots} * Leaf::entries);
  for (std::uint64_t index = index_first; index < index_end;) {
    const std::size_t slot = index / Leaf::entries;
    const std::uint64_t next = std::min((std::uint64_t{slot} + 1) * Leaf::entries, index_end);
    const Leaf* a = earlier != nullptr ? earlier->leaf(slot) : nullptr;
    const Leaf* b = later != nullptr ? later->leaf(slot) : nullptr;
    if (a == b) {
      index = next;
      continue;
    }
    for (; index < next; ++index) {
      const auto at = static_cast<std::uint32_t>(index % Leaf::entries);
      const Entry in_a = a != nullptr ? a->get(at) : Entry();
      const Entry in_b = b != nullptr ? b->get(at) : Entry();
      if (!diff_clusters(in_a, in_b, blocks_per_cluster, index, visit)) return;
    }
  }
}

}  // namespace holdfast::pool
