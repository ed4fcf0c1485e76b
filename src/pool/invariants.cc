#include "pool/invariants.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

namespace holdfast::pool {
namespace {

constexpr std::size_t lines_max = 100;

class Lines {
 public:
  void add(std::string line) {
    if (lines_.size() < lines_max) lines_.push_back(std::move(line));
  }
  template <class... Parts>
  void of(VolumeId volume, const Parts&... parts) {
    std::string line = "volume " + std::to_string(to_index(volume)) + ": ";
    (line.append(parts), ...);
    add(std::move(line));
  }
  std::vector<std::string> take() { return std::move(lines_); }

 private:
  std::vector<std::string> lines_;
};

std::string text(std::uint64_t n) { return std::to_string(n); }

// A value for each cluster that has one, in a pool of any size.
template <class T>
class PerCluster {
 public:
  explicit PerCluster(std::uint32_t clusters) : chunks_((std::size_t{clusters} + chunk - 1) / chunk) {}
  T& operator[](Cluster cluster) {
    std::vector<T>& values = chunks_[to_index(cluster) / chunk];
    if (values.empty()) values.resize(chunk);
    return values[to_index(cluster) % chunk];
  }
  T get(Cluster cluster) const {
    const std::vector<T>& values = chunks_[to_index(cluster) / chunk];
    return values.empty() ? T{} : values[to_index(cluster) % chunk];
  }

 private:
  static constexpr std::uint32_t chunk = ClusterCounts::chunk_clusters;
  std::vector<std::vector<T>> chunks_;
};

void check_partial(const Partial& partial, VolumeId volume, std::uint32_t blocks, Lines& lines) {
  const std::uint32_t own = partial.own_blocks();
  const std::string cluster = "cluster " + text(to_index(partial.cluster()));
  if (partial.blocks() != blocks) lines.of(volume, cluster, " has blocks of another size");
  if (own == 0) lines.of(volume, cluster, " is mapped and has no block");
  if (own == blocks) lines.of(volume, cluster, " has all blocks and is called partial");
  if (partial.has_behind() && !partial.needs_behind()) {
    lines.of(volume, cluster, " has another one behind it for nothing");
  }
  if (partial.has_behind() && partial.behind() == partial.cluster()) {
    lines.of(volume, cluster, " is behind itself");
  }
}

// What all leaves say together.
class Recount {
 public:
  Recount(const State& state, Lines& lines)
      : state_(state), lines_(lines), counts_(state.clusters().size()) {}

  void add_fallen() {
    for (const Leaf* leaf : state_.fallen()) {
      if (++owners_[leaf] == 1) add(*leaf, VolumeId::none);
    }
  }

  void add(const StateVolume& volume) {
    const VolumeMap& map = volume.map();
    std::uint64_t mapped = 0, partials = 0, behinds = 0, end = 0;
    for (std::size_t slot = 0; slot < map.leaves(); ++slot) {
      const Leaf* leaf = map.leaf(slot);
      if (leaf == nullptr) continue;
      if (++owners_[leaf] == 1) add(*leaf, volume.spec().id);
      mapped += leaf->totals().mapped;
      partials += leaf->totals().partials;
      behinds += leaf->totals().behinds;
      for (std::uint32_t at = 0; at < Leaf::entries; ++at) {
        if (leaf->get(at).mapped()) end = std::uint64_t{slot} * Leaf::entries + at + 1;
      }
    }
    const VolumeId id = volume.spec().id;
    if (mapped != map.entries() || partials != map.partials() || behinds != map.behinds()) {
      lines_.of(id, "its totals are not those of its leaves");
    }
    if (end > volume.spec().size_bytes / state_.cluster_bytes()) lines_.of(id, "clusters lie behind its end");
  }

  void compare() {
    for (const auto& [leaf, owners] : owners_) {
      if (leaf->owners() != owners) {
        lines_.add("a leaf has " + text(leaf->owners()) + " owners and is in " + text(owners) + " maps");
      }
    }
    const ClusterCounts& clusters = state_.clusters();
    std::uint64_t names = 0, free = clusters.size();
    for (std::uint32_t c = 0; c < clusters.size(); ++c) {
      const std::optional<Cluster> used = clusters.find_used(c, clusters.size());
      if (!used) break;
      c = to_index(*used);
      names += counts_.get(*used);
      --free;
      if (clusters.count(*used) == counts_.get(*used)) continue;
      lines_.add("cluster " + text(c) + " is named " + text(counts_.get(*used)) + " times and counts as " +
                 text(clusters.count(*used)));
    }
    if (names != names_) lines_.add("clusters are named that count as free");
    if (clusters.free_clusters() != free) lines_.add("the sum of free clusters is wrong");
  }

 private:
  void add(const Leaf& leaf, VolumeId volume) {
    std::uint32_t mapped = 0, partials = 0, behinds = 0;
    for (std::uint32_t at = 0; at < Leaf::entries; ++at) {
      const Entry entry = leaf.get(at);
      if (!entry.mapped()) continue;
      ++mapped;
      name(entry.cluster(), volume);
      const Partial* partial = entry.partial();
      if (partial == nullptr) continue;
      ++partials;
      check_partial(*partial, volume, state_.blocks_per_cluster(), lines_);
      if (!partial->has_behind()) continue;
      ++behinds;
      name(partial->behind(), volume);
    }
    const Leaf::Totals& totals = leaf.totals();
    // One that fell may have fallen for that.
    if (mapped == 0 && volume != VolumeId::none) lines_.of(volume, "a leaf has nothing in it");
    if (mapped != totals.mapped || partials != totals.partials || behinds != totals.behinds) {
      lines_.of(volume, "the totals of a leaf are not those of its entries");
    }
  }

  void name(Cluster cluster, VolumeId volume) {
    if (to_index(cluster) < state_.clusters().size()) {
      ++counts_[cluster];
      ++names_;
    } else {
      lines_.of(volume, "cluster ", text(to_index(cluster)), " is beyond the disks");
    }
  }

  const State& state_;
  Lines& lines_;
  std::map<const Leaf*, std::uint32_t> owners_;
  PerCluster<std::uint32_t> counts_;
  std::uint64_t names_ = 0;
};

void check_spec(const State& state, const StateVolume& volume, Lines& lines) {
  const VolumeSpec& spec = volume.spec();
  const bool snapshot = spec.kind == VolumeKind::snapshot;
  if (state.find(spec.id) != &volume || spec.id >= state.next_id()) lines.of(spec.id, "it has no such id");
  if (state.find(spec.uuid) != &volume) lines.of(spec.id, "its UUID is that of another one");
  if (state.find(spec.name) != &volume) lines.of(spec.id, "its name is that of another one");
  if (spec.size_bytes == 0 || spec.size_bytes % state.cluster_bytes() != 0) {
    lines.of(spec.id, "its size is no multiple of the cluster");
  }
  if (spec.sealed > spec.epoch) lines.of(spec.id, "an epoch is sealed that never was");
  if (snapshot && spec.thick) lines.of(spec.id, "a snapshot reserves nothing");
  if (spec.source >= spec.id) lines.of(spec.id, "its source is younger than it is");
  const StateVolume* source = state.find(spec.source);
  if (source != nullptr && (source->spec().kind == VolumeKind::snapshot) == snapshot) {
    lines.of(spec.id, "its source is of the wrong kind");
  }
  if (source != nullptr && source->spec().uuid != spec.source_uuid) {
    lines.of(spec.id, "its source has another UUID");
  }
}

void check_epochs(const StateVolume& volume, Lines& lines) {
  const VolumeSpec& spec = volume.spec();
  const std::uint64_t regions = regions_of(spec.size_bytes);
  RegionEpochs::Run run;
  for (;;) {
    run = RegionEpochs::next_run(volume.epochs().array(), run.first + run.count);
    if (run.count == 0) return;
    if (run.first + run.count > regions) lines.of(spec.id, "regions behind its end have epochs");
    if (run.epoch > spec.epoch) lines.of(spec.id, "regions are of epochs to come");
  }
}

void check_segments(const State& state, Lines& lines) {
  std::uint64_t first = 0;
  std::map<std::uint16_t, std::uint64_t> disk_first;
  for (const Segment& segment : state.segments()) {
    if (segment.disk >= state.disks().size()) lines.add("a segment is on no disk");
    if (segment.first != first || segment.disk_first != disk_first[segment.disk]) {
      lines.add("a segment does not begin where the last one ended");
    }
    first += segment.count;
    disk_first[segment.disk] += segment.count;
  }
  std::set<Uuid> uuids;
  for (const DiskRecord& disk : state.disks()) {
    if (!uuids.insert(disk.uuid).second) lines.add("two disks have one UUID");
  }
}

}  // namespace

std::vector<std::string> check_invariants(const State& state) {
  Lines lines;
  check_segments(state, lines);
  Recount recount(state, lines);
  std::uint64_t reserved = 0;
  for (const auto& [id, volume] : state.volumes()) {
    check_spec(state, *volume, lines);
    check_epochs(*volume, lines);
    recount.add(*volume);
    reserved += state.reserved_clusters(id);
    const std::uint64_t clusters = volume->spec().size_bytes / state.cluster_bytes();
    if (!volume->spec().thick) continue;
    const std::uint64_t own = volume->map().exclusive(state.clusters(), 0, clusters, false);
    if (state.reserved_clusters(id) < clusters - own) lines.of(id, "too few clusters are reserved for it");
  }
  recount.add_fallen();
  if (reserved != state.reserved_clusters()) lines.add("the sum of what is reserved is wrong");
  recount.compare();
  return lines.take();
}

std::vector<std::string> check_places(const State& state) {
  Lines lines;
  std::set<const Leaf*> seen;
  PerCluster<std::uint64_t> places(state.clusters().size());
  const auto name = [&lines, &places](Cluster cluster, std::uint64_t index, VolumeId volume) {
    std::uint64_t& place = places[cluster];
    if (place != 0 && place != index + 1) {
      lines.of(volume, "cluster ", text(to_index(cluster)), " is at ", text(index), " and at ",
               text(place - 1));
    }
    place = index + 1;
  };
  for (const auto& [id, volume] : state.volumes()) {
    for (std::size_t slot = 0; slot < volume->map().leaves(); ++slot) {
      const Leaf* leaf = volume->map().leaf(slot);
      if (leaf == nullptr || !seen.insert(leaf).second) continue;
      for (std::uint32_t at = 0; at < Leaf::entries; ++at) {
        const Entry entry = leaf->get(at);
        if (!entry.mapped()) continue;
        const std::uint64_t index = std::uint64_t{slot} * Leaf::entries + at;
        name(entry.cluster(), index, id);
        if (entry.has_behind()) name(entry.partial()->behind(), index, id);
      }
    }
  }
  return lines.take();
}

}  // namespace holdfast::pool
