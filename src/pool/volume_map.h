// VolumeMap: where the clusters of one volume or snapshot are. An array of leaves, as long as its last mapped
// cluster needs; a snapshot or clone has a copy of the array and shares the leaves. A shared leaf is copied before
// it changes, and only then do its clusters count as shared.
//
// Reads never take more than one step behind a cluster: where a new cluster would have to stand before one that has
// something behind it already, the whole cluster is written instead.
#pragma once

#include <cstdint>
#include <deque>

#include "pool/cluster_counts.h"
#include "pool/leaf.h"
#include "pool/slot_array.h"
#include "pool/types.h"

namespace holdfast::pool {

struct MapContext : ChangeContext {
  ClusterCounts& counts;
  std::uint32_t blocks_per_cluster;
  MapMemory& memory;
  // Leaves that maps let go of as a whole. They count as before until take_apart() had them: a volume may have
  // thousands, and a turn of the core is short.
  std::deque<Leaf*>& fallen;
};

// One map less has the leaf; when it was the last one, its clusters are counted down.
void take_apart(const MapContext& context, Leaf& leaf);

// A run of blocks in one cluster of a volume.
struct BlockSpan {
  std::uint32_t index = 0;  // of the cluster in the volume
  std::uint32_t first = 0;
  std::uint32_t count = 0;
};

class VolumeMap {
 public:
  VolumeMap() = default;
  VolumeMap(const VolumeMap&) = delete;
  VolumeMap& operator=(const VolumeMap&) = delete;
  ~VolumeMap();

  // Any core.
  ClusterView find(std::uint32_t index) const noexcept {
    const Leaf* at = leaf(index / Leaf::entries);
    return at != nullptr ? ClusterView(at->get(index % Leaf::entries), at->shared()) : ClusterView();
  }
  const Leaf* leaf(std::size_t slot) const noexcept {
    return reinterpret_cast<const Leaf*>(leaves_.get(slot));
  }

  // Home core.
  std::size_t leaves() const noexcept { return leaves_.size(); }  // slots; not all have a leaf
  std::uint64_t entries() const noexcept { return entries_; }     // mapped clusters
  std::uint64_t behinds() const noexcept { return behinds_; }     // of these, with another one behind
  std::uint64_t partials() const noexcept { return partials_; }   // of these, not wholly own
  const SlotArray* array() const noexcept { return leaves_.array(); }
  std::size_t memory() const noexcept { return leaves_.memory(); }  // bytes, without leaves

  // Why the change cannot be made, or nullptr.
  const char* check_write(const ClusterCounts& counts, std::uint32_t blocks_per_cluster, BlockSpan span,
                          Cluster cluster) const noexcept;
  const char* check_complete(std::uint32_t index) const noexcept;
  const char* check_trim(std::uint32_t index) const noexcept;

  void write(const MapContext& context, BlockSpan span, Cluster cluster);
  void complete(const MapContext& context, std::uint32_t index);
  void trim(const MapContext& context, BlockSpan span);
  void unmap(const MapContext& context, std::uint64_t first, std::uint64_t count);
  // All leaves fall, without a look into any of them.
  void clear(const MapContext& context);
  // The content of another map; this one is empty.
  void share(const MapContext& context, const VolumeMap& source);
  // At loading: a leaf for an empty slot, counted already.
  void adopt(const MapContext& context, std::size_t slot, Leaf& leaf);

  // Clusters that only this map names, of the mapped clusters [first, end); with those behind or without.
  std::uint64_t exclusive(const ClusterCounts& counts, std::uint64_t first, std::uint64_t end,
                          bool with_behind) const noexcept;
  // Clusters, those behind included, that another map has at the same index.
  std::uint64_t common(const VolumeMap& other) const noexcept;

 private:
  Leaf* leaf_at(std::size_t slot) const noexcept { return reinterpret_cast<Leaf*>(leaves_.get(slot)); }
  Leaf& changeable(const MapContext& context, std::size_t slot);
  Leaf& replace_with_copy(const MapContext& context, std::size_t slot, Leaf& old);
  void drop_leaf(const MapContext& context, std::size_t slot);
  // Puts an entry in the place of another one, whose clusters nobody counts for it any more; keep_own: except its
  // own one, which the new entry names.
  void replace(const MapContext& context, Leaf& leaf, std::uint32_t at, Entry by, bool keep_own);
  void set(const MapContext& context, Leaf& leaf, std::uint32_t at, Entry entry);
  void count(const Leaf& leaf, bool add) noexcept;
  void write_new(const MapContext& context, Leaf& leaf, BlockSpan span, Cluster cluster);
  void write_more(const MapContext& context, Leaf& leaf, BlockSpan span);

  SlotTable leaves_;
  std::uint64_t entries_ = 0, behinds_ = 0, partials_ = 0;
};

}  // namespace holdfast::pool
