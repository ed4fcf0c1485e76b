#include "pool/state.h"

#include <algorithm>
#include <utility>

#include "pool/diff.h"

namespace holdfast::pool {

namespace {

// What giving a chunk of memory to the system costs, in objects that are settled.
constexpr std::size_t trim_parts = 512;

}  // namespace

State::State(std::uint32_t cluster_bytes)
    : cluster_bytes_(cluster_bytes), map_memory_(cluster_bytes / block_bytes) {
  HF_ASSERT(is_power_of_two(cluster_bytes));
  HF_ASSERT(cluster_bytes >= cluster_bytes_min && cluster_bytes <= cluster_bytes_max);
}

State::~State() {
  HF_ASSERT(!pin_.active);
  for (Leaf* leaf : fallen_) {
    leaf->remove_owner();
    if (leaf->owners() == 0) delete leaf;
  }
}

const StateVolume* State::find(VolumeId id) const noexcept {
  const auto at = volumes_.find(id);
  return at != volumes_.end() ? at->second.get() : nullptr;
}

const StateVolume* State::find(const Uuid& uuid) const noexcept {
  const auto at = by_uuid_.find(uuid);
  return at != by_uuid_.end() ? at->second : nullptr;
}

const StateVolume* State::find(std::string_view name) const noexcept {
  const auto at = by_name_.find(name);
  return at != by_name_.end() ? at->second : nullptr;
}

void State::insert(std::unique_ptr<StateVolume> volume) {
  const VolumeSpec& spec = volume->spec();
  by_uuid_[spec.uuid] = volume.get();
  by_name_[spec.name] = volume.get();
  volumes_[spec.id] = std::move(volume);
}

void State::settle(Effects& effects) {
  for (const ClusterRun& run : effects.freed) clusters_.release(run);
  for (const Cluster cluster : effects.unshared) clusters_.release(cluster);
  for (Leaf* leaf : effects.unshared_leaves) leaf->release();
  effects.freed.clear();
  effects.unshared.clear();
  effects.unshared_leaves.clear();
  effects.retired.clear();
  map_memory_.trim(map_memory_.spare());
}

bool State::settle_some(Effects& effects, std::size_t most) {
  while (!effects.freed.empty() && most > 0) {
    ClusterRun& last = effects.freed.back();
    const auto part = static_cast<std::uint32_t>(std::min<std::size_t>(last.count, most));
    clusters_.release(ClusterRun{Cluster{to_index(last.first) + last.count - part}, part});
    most -= part;
    last.count -= part;
    if (last.count == 0) effects.freed.pop_back();
  }
  for (; !effects.unshared.empty() && most > 0; --most) {
    clusters_.release(effects.unshared.back());
    effects.unshared.pop_back();
  }
  for (; !effects.unshared_leaves.empty() && most > 0; --most) {
    effects.unshared_leaves.back()->release();
    effects.unshared_leaves.pop_back();
  }
  while (!effects.retired.empty() && most > 0) {
    most -= std::min(most, effects.retired.back()->parts());
    effects.retired.pop_back();
  }
  for (; map_memory_.spare() > 0 && most > 0; most -= std::min(most, trim_parts)) map_memory_.trim(1);
  return effects.empty() && map_memory_.spare() == 0;
}

std::size_t State::take_apart(std::size_t most, bool one, Effects& effects) {
  std::size_t taken = 0;
  while (!fallen_.empty()) {
    Leaf& leaf = *fallen_.front();
    const std::size_t inside = leaf.owners() > 1 ? 0 : leaf.totals().mapped + leaf.totals().behinds;
    if (taken + 1 + inside > most && !(one && taken == 0)) break;
    taken += 1 + inside;
    fallen_.pop_front();
    pool::take_apart(map_context(effects), leaf);
  }
  return taken;
}

std::uint64_t State::reserve_of(const StateVolume& volume) const noexcept {
  return volume.spec_.thick ? clusters_of(volume.spec_) - volume.claimed_ : 0;
}

void State::set_claimed(StateVolume& volume, std::uint64_t claimed) noexcept {
  reserved_ -= reserve_of(volume);
  volume.claimed_ = claimed;
  reserved_ += reserve_of(volume);
}

std::uint64_t State::reserved_clusters(VolumeId thick) const noexcept {
  const StateVolume* volume = find(thick);
  return volume != nullptr ? reserve_of(*volume) : 0;
}

std::uint64_t State::recount_reserved() noexcept {
  for (const auto& [id, volume] : volumes_) {
    if (!volume->spec_.thick) continue;
    const std::uint64_t end = clusters_of(volume->spec_);
    set_claimed(*volume, volume->map_.exclusive(clusters_, 0, end, false));
  }
  return reserved_;
}

Usage State::usage(VolumeId id) const noexcept {
  Usage usage;
  const StateVolume* volume = find(id);
  if (volume == nullptr) return usage;
  const VolumeMap& map = volume->map();
  usage.allocated = (map.entries() + map.behinds()) * cluster_bytes_;
  usage.exclusive = map.exclusive(clusters_, 0, clusters_of(volume->spec()), true) * cluster_bytes_;
  usage.shared = usage.allocated - usage.exclusive;
  usage.reserved = reserve_of(*volume) * cluster_bytes_;
  usage.partial_clusters = map.partials();
  return usage;
}

std::uint64_t State::common_bytes(const VolumeSpec& clone) const noexcept {
  const StateVolume* source = find(clone.source);
  if (source == nullptr || clone.kind == VolumeKind::snapshot) return 0;
  return find(clone.id)->map().common(source->map()) * cluster_bytes_;
}

std::vector<ByteRange> State::diff(VolumeId earlier, VolumeId later, std::uint64_t from,
                                   std::size_t ranges_max) const {
  HF_ASSERT(ranges_max > 0);
  std::vector<ByteRange> ranges;
  const StateVolume* a = find(earlier);
  const StateVolume* b = find(later);
  if (b == nullptr) return ranges;
  const auto add = [&ranges, from, ranges_max, this](std::uint64_t index, std::uint32_t first,
                                                     std::uint32_t count) {
    std::uint64_t offset = index * cluster_bytes_ + std::uint64_t{first} * block_bytes;
    const std::uint64_t end = offset + std::uint64_t{count} * block_bytes;
    offset = std::max(offset, from);
    if (offset >= end) return true;
    if (!ranges.empty() && ranges.back().offset + ranges.back().length == offset) {
      ranges.back().length += end - offset;
      return true;
    }
    if (ranges.size() == ranges_max) return false;
    ranges.push_back(ByteRange{offset, end - offset});
    return true;
  };
  diff_maps(a != nullptr ? &a->map() : nullptr, &b->map(), blocks_per_cluster(), from / cluster_bytes_,
            clusters_of(b->spec()), add);
  return ranges;
}

std::size_t State::map_bytes() const noexcept {
  constexpr std::size_t volume_bytes = 1024;
  std::size_t sum = clusters_.memory() + map_memory_.taken();
  for (const auto& [id, volume] : volumes_)
    sum += volume_bytes + volume->epochs_.memory() + volume->map_.memory();
  return sum;
}

std::size_t State::memory() const noexcept {
  std::size_t sum = clusters_.memory();
  for (const Leaf* leaf : fallen_) sum += leaf->memory() / leaf->owners();
  for (const auto& [id, volume] : volumes_) {
    sum += volume->epochs_.memory() + volume->map_.memory();
    for (std::size_t slot = 0; slot < volume->map_.leaves(); ++slot) {
      const Leaf* leaf = volume->map_.leaf(slot);
      // Shared by n maps, it counts as an n-th in each.
      if (leaf != nullptr) sum += leaf->memory() / leaf->owners();
    }
  }
  return sum;
}

}  // namespace holdfast::pool
