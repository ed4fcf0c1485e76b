#include "pool/volume_map.h"

#include <algorithm>
#include <memory>

namespace holdfast::pool {
namespace {

std::size_t slot_of(std::uint32_t index) noexcept { return index / Leaf::entries; }
std::uint32_t at_of(std::uint32_t index) noexcept { return index % Leaf::entries; }

template <class Visit>
void each_cluster(const Leaf& leaf, const Visit& visit) {
  for (std::uint32_t at = 0; at < Leaf::entries; ++at) {
    const Entry entry = leaf.get(at);
    if (!entry.mapped()) continue;
    visit(entry.cluster());
    if (entry.has_behind()) visit(entry.partial()->behind());
  }
}

}  // namespace

void take_apart(const MapContext& context, Leaf& leaf) {
  if (leaf.owners() == 2) {
    leaf.hold();  // before there is one owner less: the other one may not write in place yet
    context.effects.unshared_leaves.push_back(&leaf);
  }
  leaf.remove_owner();
  if (leaf.owners() > 0) return;
  each_cluster(leaf, [&context](Cluster c) { context.counts.remove(c, context.effects); });
  context.retire(std::unique_ptr<Leaf>(&leaf), leaf.stamp());
}

VolumeMap::~VolumeMap() {
  for (std::size_t slot = 0; slot < leaves_.size(); ++slot) {
    Leaf* leaf = leaf_at(slot);
    if (leaf == nullptr) continue;
    leaf->remove_owner();
    if (leaf->owners() == 0) delete leaf;
  }
}

const char* VolumeMap::check_write(const ClusterCounts& counts, std::uint32_t blocks_per_cluster,
                                   BlockSpan span, Cluster cluster) const noexcept {
  if (span.count == 0 || span.first + span.count > blocks_per_cluster) return "no such blocks in a cluster";
  if (to_index(cluster) >= counts.size()) return "the cluster is beyond the disks";
  const Leaf* leaf = leaf_at(slot_of(span.index));
  const Entry entry = leaf != nullptr ? leaf->get(at_of(span.index)) : Entry();
  if (!entry.mapped() || entry.cluster() != cluster) {
    if (counts.count(cluster) != 0) return "the cluster is in use";
    const bool two_steps = entry.has_behind() && span.count < blocks_per_cluster;
    return two_steps ? "two clusters would be behind the new one" : nullptr;
  }
  if (entry.is_whole() || entry.partial()->owns(span.first, span.count)) return nullptr;
  const bool exclusive = leaf->owners() == 1 && counts.count(cluster) == 1;
  return exclusive ? nullptr : "blocks would be added to a shared cluster";
}

const char* VolumeMap::check_complete(std::uint32_t index) const noexcept {
  const Leaf* leaf = leaf_at(slot_of(index));
  return leaf != nullptr && leaf->get(at_of(index)).has_behind() ? nullptr : "nothing is behind the cluster";
}

const char* VolumeMap::check_trim(std::uint32_t index) const noexcept {
  return check_complete(index) == nullptr ? "something is behind the cluster" : nullptr;
}

void VolumeMap::count(const Leaf& leaf, bool add) noexcept {
  const auto change = [add](std::uint64_t& to, std::uint64_t n) { to = add ? to + n : to - n; };
  change(entries_, leaf.totals().mapped);
  change(partials_, leaf.totals().partials);
  change(behinds_, leaf.totals().behinds);
}

void VolumeMap::set(const MapContext& context, Leaf& leaf, std::uint32_t at, Entry entry) {
  std::unique_ptr<Partial> old(leaf.get(at).partial());
  count(leaf, false);
  leaf.set(at, entry);
  count(leaf, true);
  // The leaf is not seen by a checkpoint, so neither is this.
  if (old != nullptr) context.effects.retired.push_back(std::move(old));
}

Leaf& VolumeMap::replace_with_copy(const MapContext& context, std::size_t slot, Leaf& old) {
  std::unique_ptr<Leaf> copy = old.copy(context.pin.generation, context.memory);
  Leaf& made = *copy;
  made.add_owner();
  if (old.owners() > 1) {
    each_cluster(old, [&context](Cluster c) { context.counts.add(c); });
    made.set_maybe_shares(true);
    old.set_maybe_shares(true);
  } else {
    // What is not settled for the old one is not for this one either.
    for (std::uint32_t holds = old.holds(); holds > 0; --holds) {
      made.hold();
      context.effects.unshared_leaves.push_back(&made);
    }
  }
  leaves_.changeable(context, slot + 1).set(slot, reinterpret_cast<std::uintptr_t>(copy.release()));
  old.remove_owner();
  if (old.owners() == 0) context.retire(std::unique_ptr<Leaf>(&old), old.stamp());
  return made;
}

Leaf& VolumeMap::changeable(const MapContext& context, std::size_t slot) {
  Leaf* leaf = leaf_at(slot);
  if (leaf != nullptr) {
    const bool as_it_is = leaf->owners() == 1 && !context.pin.holds(leaf->stamp());
    return as_it_is ? *leaf : replace_with_copy(context, slot, *leaf);
  }
  auto made = Leaf::make(context.memory, context.pin.generation);
  made->add_owner();
  leaves_.changeable(context, slot + 1).set(slot, reinterpret_cast<std::uintptr_t>(made.get()));
  return *made.release();
}

void VolumeMap::drop_leaf(const MapContext& context, std::size_t slot) {
  Leaf* leaf = leaf_at(slot);
  count(*leaf, false);
  leaves_.changeable(context, slot + 1).set(slot, 0);
  context.fallen.push_back(leaf);
}

void VolumeMap::replace(const MapContext& context, Leaf& leaf, std::uint32_t at, Entry by, bool keep_own) {
  const Entry old = leaf.get(at);
  const bool had_behind = old.has_behind();
  const Cluster own = old.mapped() ? old.cluster() : Cluster{};
  const Cluster behind = had_behind ? old.partial()->behind() : Cluster{};
  const bool drop_own = old.mapped() && !keep_own;
  // First the new entry: a reader on another core sees one or the other, never nothing.
  set(context, leaf, at, by);
  if (drop_own) context.counts.remove(own, context.effects);
  if (had_behind) context.counts.remove(behind, context.effects);
}

void VolumeMap::write(const MapContext& context, BlockSpan span, Cluster cluster) {
  Leaf& leaf = changeable(context, slot_of(span.index));
  const Entry entry = leaf.get(at_of(span.index));
  if (entry.mapped() && entry.cluster() == cluster) return write_more(context, leaf, span);
  write_new(context, leaf, span, cluster);
}

void VolumeMap::write_new(const MapContext& context, Leaf& leaf, BlockSpan span, Cluster cluster) {
  const std::uint32_t at = at_of(span.index), blocks = context.blocks_per_cluster;
  const Entry old = leaf.get(at);
  context.counts.add(cluster);
  if (span.count == blocks) return replace(context, leaf, at, Entry::whole(cluster), false);
  if (old.mapped()) {
    auto made = Partial::make(context.memory.partials(), cluster, old.cluster());
    made->set_own(span.first, span.count, true);
    if (const Partial* former = old.partial()) {
      for (std::uint32_t w = 0; w < made->words(); ++w) {
        made->set_words(w, made->own_word(w), former->own_word(w));
      }
    } else {
      made->set_behind_valid(0, blocks);
    }
    // What was own is behind now, and counts as before.
    if (made->needs_behind()) return replace(context, leaf, at, Entry::of(made.release()), true);
  }
  auto made = Partial::make(context.memory.partials(), cluster);
  made->set_own(span.first, span.count, true);
  replace(context, leaf, at, Entry::of(made.release()), false);
}

void VolumeMap::write_more(const MapContext& context, Leaf& leaf, BlockSpan span) {
  const std::uint32_t at = at_of(span.index), blocks = context.blocks_per_cluster;
  Partial* partial = leaf.get(at).partial();
  if (partial == nullptr) return;
  partial->set_own(span.first, span.count, true);
  if (partial->own_blocks() == blocks) {
    replace(context, leaf, at, Entry::whole(partial->cluster()), true);
  } else if (partial->has_behind() && !partial->needs_behind()) {
    auto made = Partial::make(context.memory.partials(), partial->cluster());
    for (std::uint32_t w = 0; w < made->words(); ++w) made->set_words(w, partial->own_word(w), 0);
    replace(context, leaf, at, Entry::of(made.release()), true);
  }
}

void VolumeMap::complete(const MapContext& context, std::uint32_t index) {
  Leaf& leaf = changeable(context, slot_of(index));
  replace(context, leaf, at_of(index), Entry::whole(leaf.get(at_of(index)).cluster()), true);
}

void VolumeMap::trim(const MapContext& context, BlockSpan span) {
  const std::uint32_t at = at_of(span.index), blocks = context.blocks_per_cluster;
  if (!find(span.index).mapped()) return;
  Leaf& leaf = changeable(context, slot_of(span.index));
  Partial* partial = leaf.get(at).partial();
  if (partial == nullptr && span.count < blocks) {
    auto made = Partial::make(context.memory.partials(), leaf.get(at).cluster());
    made->set_own(0, blocks, true);
    made->set_own(span.first, span.count, false);
    return set(context, leaf, at, Entry::of(made.release()));
  }
  if (partial != nullptr) {
    partial->set_own(span.first, span.count, false);
    if (partial->own_blocks() > 0) return;
  }
  replace(context, leaf, at, Entry(), false);
  if (leaf.totals().mapped == 0) drop_leaf(context, slot_of(span.index));
}

void VolumeMap::unmap(const MapContext& context, std::uint64_t first, std::uint64_t count) {
  const std::uint64_t end = std::min(first + count, std::uint64_t{leaves_.size()} * Leaf::entries);
  for (std::uint64_t index = first; index < end;) {
    const std::size_t slot = index / Leaf::entries;
    const std::uint64_t slot_first = std::uint64_t{slot} * Leaf::entries;
    const auto low = static_cast<std::uint32_t>(index - slot_first);
    const auto high = static_cast<std::uint32_t>(std::min<std::uint64_t>(end - slot_first, Leaf::entries));
    index = slot_first + high;
    const Leaf* there = leaf(slot);
    if (there == nullptr) continue;
    const bool all = low == 0 && high == Leaf::entries;
    std::uint32_t inside = all ? there->totals().mapped : 0;
    for (std::uint32_t at = low; at < high && !all; ++at) inside += there->get(at).mapped() ? 1 : 0;
    if (inside == there->totals().mapped) {
      drop_leaf(context, slot);
    } else if (inside > 0) {
      Leaf& changed = changeable(context, slot);
      for (std::uint32_t at = low; at < high; ++at) {
        if (changed.get(at).mapped()) replace(context, changed, at, Entry(), false);
      }
    }
  }
}

void VolumeMap::clear(const MapContext& context) {
  for (std::size_t slot = 0; slot < leaves_.size(); ++slot) {
    if (Leaf* leaf = leaf_at(slot)) context.fallen.push_back(leaf);
  }
  leaves_.clear(context);
  entries_ = behinds_ = partials_ = 0;
}

void VolumeMap::share(const MapContext& context, const VolumeMap& source) {
  leaves_.copy_from(context, source.leaves_);
  for (std::size_t slot = 0; slot < leaves_.size(); ++slot) {
    if (Leaf* leaf = leaf_at(slot)) leaf->add_owner();
  }
  entries_ = source.entries_;
  behinds_ = source.behinds_;
  partials_ = source.partials_;
}

void VolumeMap::adopt(const MapContext& context, std::size_t slot, Leaf& leaf) {
  leaves_.changeable(context, slot + 1).set(slot, reinterpret_cast<std::uintptr_t>(&leaf));
  leaf.add_owner();
  count(leaf, true);
}

std::uint64_t VolumeMap::exclusive(const ClusterCounts& counts, std::uint64_t first, std::uint64_t end,
                                   bool with_behind) const noexcept {
  std::uint64_t sum = 0;
  end = std::min(end, std::uint64_t{leaves_.size()} * Leaf::entries);
  while (first < end) {
    const std::uint64_t slot_first = first / Leaf::entries * Leaf::entries;
    const Leaf* leaf = leaf_at(first / Leaf::entries);
    const auto low = static_cast<std::uint32_t>(first - slot_first);
    const auto high = static_cast<std::uint32_t>(std::min<std::uint64_t>(end - slot_first, Leaf::entries));
    first = slot_first + high;
    if (leaf == nullptr || leaf->owners() > 1) continue;
    const bool all = low == 0 && high == Leaf::entries;
    if (all && !leaf->maybe_shares()) {
      sum += leaf->totals().mapped + (with_behind ? leaf->totals().behinds : 0);
      continue;
    }
    bool shares = false;
    for (std::uint32_t at = low; at < high; ++at) {
      const Entry entry = leaf->get(at);
      if (!entry.mapped()) continue;
      const bool own = counts.count(entry.cluster()) == 1;
      const bool behind = entry.has_behind() && counts.count(entry.partial()->behind()) == 1;
      shares = shares || !own || (entry.has_behind() && !behind);
      sum += (own ? 1 : 0) + (with_behind && behind ? 1 : 0);
    }
    if (all && !shares) leaf->set_maybe_shares(false);
  }
  return sum;
}

std::uint64_t VolumeMap::common(const VolumeMap& other) const noexcept {
  std::uint64_t sum = 0;
  for (std::size_t slot = 0; slot < std::min(leaves_.size(), other.leaves_.size()); ++slot) {
    const Leaf* a = leaf(slot);
    const Leaf* b = other.leaf(slot);
    if (a == nullptr || b == nullptr) continue;
    if (a == b) {
      sum += a->totals().mapped + a->totals().behinds;
      continue;
    }
    for (std::uint32_t at = 0; at < Leaf::entries; ++at) {
      const Entry mine = a->get(at), theirs = b->get(at);
      if (!mine.mapped() || !theirs.mapped()) continue;
      const auto has = [&theirs](Cluster c) {
        return theirs.cluster() == c || (theirs.has_behind() && theirs.partial()->behind() == c);
      };
      sum += has(mine.cluster()) ? 1 : 0;
      sum += mine.has_behind() && has(mine.partial()->behind()) ? 1 : 0;
    }
  }
  return sum;
}

}  // namespace holdfast::pool
