#include "pool/cluster_counts.h"

#include <algorithm>
#include <atomic>

namespace holdfast::pool {

// Words: the held bit, and the count.
struct ClusterCounts::Chunk {
  std::atomic<std::uint16_t> words[chunk_clusters] = {};
  std::uint32_t used = 0;  // words that are not 0
};

ClusterCounts::~ClusterCounts() {
  for (std::size_t slot = 0; slot < table_.size(); ++slot) delete chunk(static_cast<std::uint32_t>(slot));
}

ClusterCounts::Chunk* ClusterCounts::chunk(std::uint32_t index) const noexcept {
  return reinterpret_cast<Chunk*>(table_.get(index));
}

ClusterCounts::Chunk& ClusterCounts::make_chunk(std::uint32_t index) {
  if (Chunk* there = chunk(index)) return *there;
  ++chunks_;
  auto made = std::make_unique<Chunk>();
  // The table has its full size since the last segment came, and no checkpoint looks at it.
  table_.array()->set(index, reinterpret_cast<std::uintptr_t>(made.get()));
  return *made.release();
}

std::uint16_t ClusterCounts::word(std::uint32_t cluster) const noexcept {
  HF_ASSERT(cluster < size_);
  const Chunk* at = chunk(cluster / chunk_clusters);
  return at != nullptr ? at->words[cluster % chunk_clusters].load(std::memory_order_relaxed)
                       : std::uint16_t{0};
}

void ClusterCounts::set_word(std::uint32_t cluster, std::uint16_t value) {
  HF_ASSERT(cluster < size_);
  Chunk& at = make_chunk(cluster / chunk_clusters);
  std::atomic<std::uint16_t>& to = at.words[cluster % chunk_clusters];
  const bool was_free = to.load(std::memory_order_relaxed) == 0;
  to.store(value, std::memory_order_release);
  if (was_free == (value == 0)) return;
  const std::uint16_t disk = segments_.size() == 1 ? segments_[0].disk : disk_of(Cluster{cluster});
  if (was_free) {
    ++at.used, --free_, --free_of_disk_[disk];
  } else {
    --at.used, ++free_, ++free_of_disk_[disk];
  }
}

void ClusterCounts::add_segment(const ChangeContext& context, const Segment& segment) {
  HF_ASSERT(segment.first == size_ && segment.count > 0 && segment.count <= clusters_max - size_);
  segments_.push_back(segment);
  size_ += segment.count;
  // At once the whole size, whatever SlotTable thinks of growing: make_chunk() relies on it.
  table_.changeable(context, (std::size_t{size_} + chunk_clusters - 1) / chunk_clusters);
  if (free_of_disk_.size() <= segment.disk) {
    free_of_disk_.resize(segment.disk + std::size_t{1});
    of_disk_.resize(segment.disk + std::size_t{1});
  }
  free_ += segment.count;
  free_of_disk_[segment.disk] += segment.count;
  of_disk_[segment.disk] += segment.count;
}

std::uint16_t ClusterCounts::disk_of(Cluster cluster) const noexcept {
  HF_ASSERT(to_index(cluster) < size_);
  const auto behind = std::upper_bound(segments_.begin(), segments_.end(), to_index(cluster),
                                       [](std::uint32_t c, const Segment& s) { return c < s.first; });
  return std::prev(behind)->disk;
}

std::uint32_t ClusterCounts::count(Cluster cluster) const noexcept {
  const std::uint32_t small = word(to_index(cluster)) & count_mask;
  if (small != count_mask) return small;
  return big_.find(to_index(cluster))->second;
}

std::uint32_t ClusterCounts::holds(Cluster cluster) const noexcept {
  if ((word(to_index(cluster)) & held_bit) == 0) return 0;
  const auto more = holds_.find(to_index(cluster));
  return more == holds_.end() ? 1 : 1 + more->second;
}

bool ClusterCounts::exclusive(Cluster cluster) const noexcept {
  const auto* at = reinterpret_cast<const Chunk*>(table_.get(to_index(cluster) / chunk_clusters));
  return at != nullptr && at->words[to_index(cluster) % chunk_clusters].load(std::memory_order_acquire) == 1;
}

void ClusterCounts::hold(Cluster cluster) {
  const std::uint16_t now = word(to_index(cluster));
  if ((now & held_bit) != 0) {
    ++holds_[to_index(cluster)];
  } else {
    set_word(to_index(cluster), now | held_bit);
  }
}

void ClusterCounts::release(Cluster cluster) {
  const std::uint16_t now = word(to_index(cluster));
  HF_ASSERT((now & held_bit) != 0);
  const auto more = holds_.empty() ? holds_.end() : holds_.find(to_index(cluster));
  if (more == holds_.end()) {
    set_word(to_index(cluster), now & count_mask);
  } else if (--more->second == 0) {
    holds_.erase(more);
  }
}

void ClusterCounts::hold(ClusterRun run) {
  for (std::uint32_t i = 0; i < run.count; ++i) hold(Cluster{to_index(run.first) + i});
}

void ClusterCounts::release(ClusterRun run) {
  for (std::uint32_t i = 0; i < run.count; ++i) release(Cluster{to_index(run.first) + i});
}

void ClusterCounts::add(Cluster cluster) {
  const std::uint32_t index = to_index(cluster);
  const std::uint16_t now = word(index);
  const std::uint32_t small = now & count_mask;
  if (small == count_mask) {
    ++big_.find(index)->second;
    return;
  }
  if (small + 1 == count_mask) big_[index] = count_mask;
  set_word(index, static_cast<std::uint16_t>(now + 1));
}

void ClusterCounts::remove(Cluster cluster, Effects& effects) {
  const std::uint32_t index = to_index(cluster);
  const std::uint16_t now = word(index);
  const std::uint32_t small = now & count_mask;
  HF_ASSERT(small > 0);
  if (small == count_mask) {
    const auto big = big_.find(index);
    if (--big->second >= count_mask) return;
    big_.erase(big);
  }
  if (small > 2) return set_word(index, static_cast<std::uint16_t>(now - 1));
  // Held and counted down at once: at no time does another core see it free or exclusive.
  if ((now & held_bit) != 0) ++holds_[index];
  set_word(index, static_cast<std::uint16_t>((now - 1) | held_bit));
  if (small == 1) {
    effects.add_freed(cluster);
  } else {
    effects.unshared.push_back(cluster);
  }
}

std::uint64_t ClusterCounts::free_clusters(std::uint16_t disk) const noexcept {
  return disk < free_of_disk_.size() ? free_of_disk_[disk] : 0;
}

std::uint64_t ClusterCounts::disk_clusters(std::uint16_t disk) const noexcept {
  return disk < of_disk_.size() ? of_disk_[disk] : 0;
}

std::optional<Cluster> ClusterCounts::find_free(std::uint32_t from, std::uint32_t to) const noexcept {
  HF_ASSERT(to <= size_);
  while (from < to) {
    const Chunk* at = chunk(from / chunk_clusters);
    if (at == nullptr) return Cluster{from};
    const std::uint32_t chunk_first = from - from % chunk_clusters;
    const std::uint32_t end = std::min(to - chunk_first, chunk_clusters);
    if (at->used < chunk_clusters) {
      for (std::uint32_t i = from - chunk_first; i < end; ++i) {
        if (at->words[i].load(std::memory_order_relaxed) == 0) return Cluster{chunk_first + i};
      }
    }
    from = chunk_first + end;
  }
  return std::nullopt;
}

std::optional<Cluster> ClusterCounts::find_used(std::uint32_t from, std::uint32_t to) const noexcept {
  HF_ASSERT(to <= size_);
  while (from < to) {
    const Chunk* at = chunk(from / chunk_clusters);
    const std::uint32_t chunk_first = from - from % chunk_clusters;
    const std::uint32_t end = std::min(to - chunk_first, chunk_clusters);
    if (at != nullptr && at->used > 0) {
      for (std::uint32_t i = from - chunk_first; i < end; ++i) {
        if (at->words[i].load(std::memory_order_relaxed) != 0) return Cluster{chunk_first + i};
      }
    }
    from = chunk_first + end;
  }
  return std::nullopt;
}

std::size_t ClusterCounts::memory() const noexcept { return chunks_ * sizeof(Chunk) + table_.memory(); }

}  // namespace holdfast::pool
