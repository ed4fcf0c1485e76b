#include <bit>
#include <string>
#include <utility>
#include <vector>

#include "pool/codec.h"
#include "pool/image.h"
#include "pool/image_format.h"
#include "pool/memory_limit.h"

namespace holdfast::pool {
namespace {

using wire::ItemType;

constexpr std::uint64_t volume_bytes = 1024;  // of one without a map, about

// Bits of the last word that are beyond the blocks of a cluster.
std::uint64_t beyond(std::uint32_t blocks) noexcept {
  return blocks % 64 == 0 ? 0 : ~((std::uint64_t{1} << (blocks % 64)) - 1);
}

}  // namespace

class ImageReader::Impl {
 public:
  Impl(Head head, std::uint64_t map_bytes_max) : head_(std::move(head)), limit_(map_bytes_max) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    // Those that a map has are the state's.
    for (const LeafInfo& info : leaves_) {
      if (info.leaf->owners() == 0) delete info.leaf;
    }
  }

  Status feed(std::span<const std::byte> bytes) {
    pending_.insert(pending_.end(), bytes.begin(), bytes.end());
    std::size_t used = 0;
    while (pending_.size() - used >= sizeof(wire::ItemHeader)) {
      const std::span<const std::byte> rest = std::span(pending_).subspan(used);
      const auto header = load<wire::ItemHeader>(rest);
      if (header.bytes > wire::item_bytes_max || header.rsvd != 0) {
        return Error(Errc::bad_format, "image: no item is at byte " + std::to_string(offset_));
      }
      const std::size_t length = sizeof header + header.bytes;
      if (rest.size() < length) break;
      const auto type = static_cast<ItemType>(header.type.get());
      HF_CHECK(see_head(type));
      ByteReader from(rest.subspan(sizeof header, header.bytes), "item");
      Status taken = take(type, from);
      if (taken.ok()) taken = from.end();
      if (!taken.ok()) return taken.error().with_context("image at byte " + std::to_string(offset_));
      effects_.retired.clear();  // arrays that grew; nobody else looks at them
      used += length;
      offset_ += length;
    }
    pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(used));
    return Status();
  }

  Result<std::unique_ptr<State>> finish() {
    if (!ended_ || !pending_.empty()) {
      return Error(Errc::bad_format, "image: it does not end at byte " + std::to_string(offset_));
    }
    leaves_.clear();
    state_->recount_reserved();
    return std::move(state_);
  }

 private:
  struct LeafInfo {
    Leaf* leaf;
    std::uint32_t slot;      // in every map that has it
    std::uint32_t last = 0;  // entry that is mapped
  };

  Status see_head(ItemType next) {
    if (state_ == nullptr || head_seen_ || next <= ItemType::segment) return Status();
    head_seen_ = true;
    return head_ ? head_(*state_) : Status();
  }

  Status take(ItemType type, ByteReader& from) {
    if (ended_) return from.bad("it lies behind the end");
    if ((state_ == nullptr) != (type == ItemType::image)) return from.bad("it is out of order");
    switch (type) {
      case ItemType::image:
        return take_start(from);
      case ItemType::disk:
        return take_disk_item(from);
      case ItemType::segment:
        return take_segment_item(from);
      case ItemType::volume:
        return take_volume(from);
      case ItemType::leaf:
        return take_leaf(from);
      case ItemType::map:
        return take_map(from);
      case ItemType::epochs:
        return take_epochs(from);
      case ItemType::end:
        return take_end(from);
    }
    return from.bad("it has no known type");
  }

  Status take_start(ByteReader& from) {
    HF_TRY(start_, from.take<wire::ImageStart>());
    if (start_.magic != wire::ImageStart::magic_value) return from.bad("no image begins so");
    if (start_.version != wire::image_version) return from.bad("its version is not known to this release");
    const std::uint32_t bytes = start_.cluster_bytes;
    if (!is_power_of_two(bytes) || bytes < cluster_bytes_min || bytes > cluster_bytes_max) {
      return from.bad("no such cluster size");
    }
    if (start_.next_id == 0) return from.bad("no such volume id");
    state_ = std::make_unique<State>(bytes);
    state_->next_id_ = VolumeId{start_.next_id.get()};
    return Status();
  }

  bool head_is_complete() const {
    return state_->disks_.size() == start_.disks && state_->segments().size() == start_.segments &&
           state_->volumes_.size() == start_.volumes;
  }

  Status take_disk_item(ByteReader& from) {
    HF_TRY(DiskRecord disk, take_disk(from));
    if (head_seen_ || !state_->segments().empty() || disk.index != state_->disks_.size()) {
      return from.bad("a disk is out of order");
    }
    for (const DiskRecord& other : state_->disks_) {
      if (other.uuid == disk.uuid) return from.bad("two disks have one UUID");
    }
    state_->disks_.push_back(std::move(disk));
    return Status();
  }

  Status take_segment_item(ByteReader& from) {
    HF_TRY(const Segment segment, take_segment(from));
    if (head_seen_) return from.bad("a segment is out of order");
    if (segment.disk >= state_->disks_.size()) return from.bad("a segment is on no disk");
    HF_CHECK(state_->check_segment(segment));
    state_->clusters_.add_segment(state_->context(effects_), segment);
    return Status();
  }

  Status take_volume(ByteReader& from) {
    HF_TRY(VolumeSpec spec, take_spec(from));
    const auto& volumes = state_->volumes_;
    if (!leaves_.empty() || map_volume_ != VolumeId::none) return from.bad("a volume is out of order");
    if (spec.id >= state_->next_id_ || (!volumes.empty() && spec.id <= volumes.rbegin()->first)) {
      return from.bad("the ids of volumes are out of order");
    }
    HF_CHECK(state_->check_spec(spec));
    const bool snapshot = spec.kind == VolumeKind::snapshot;
    if ((spec.source == VolumeId::none) != spec.source_uuid.is_nil() || spec.source >= spec.id ||
        (snapshot && spec.source == VolumeId::none)) {
      return from.bad("no such source");
    }
    if (const StateVolume* source = state_->find(spec.source)) {
      const bool of_snapshot = source->spec().kind == VolumeKind::snapshot;
      if (source->spec().uuid != spec.source_uuid || of_snapshot == snapshot) {
        return from.bad("the source of a volume is another one");
      }
    }
    HF_CHECK(limit_.charge(*state_, volume_bytes));
    state_->reserved_ += spec.thick ? state_->clusters_of(spec) : 0;
    state_->insert(std::make_unique<StateVolume>(std::move(spec)));
    return Status();
  }

  Status take_cluster(ByteReader& from, std::uint32_t cluster) {
    if (cluster >= state_->clusters_.size()) return from.bad("a cluster is beyond the disks");
    state_->clusters_.add(Cluster{cluster});
    return Status();
  }

  Status take_leaf(ByteReader& from) {
    HF_TRY(const auto w, from.take<wire::Leaf>());
    if (!head_is_complete()) return from.bad("disks, segments or volumes are missing");
    if (w.number != leaves_.size()) return from.bad("a leaf is out of order");
    if (w.runs > Leaf::entries || w.partials > Leaf::entries || w.runs + w.partials == 0) {
      return from.bad("a leaf has no such length");
    }
    // Each run may be of clusters far from the others.
    const std::uint64_t counts = (std::uint64_t{w.runs} + 2 * w.partials) * ClusterCounts::chunk_bytes;
    const std::uint64_t partials = w.partials * Partial::memory(state_->blocks_per_cluster(), true);
    HF_CHECK(limit_.charge(*state_, sizeof(Leaf) + partials + counts));
    leaves_.push_back(LeafInfo{Leaf::make(state_->map_memory_, state_->pin_.generation).release(), 0});
    LeafInfo& info = leaves_.back();
    info.leaf->set_maybe_shares(true);  // usage() looks, once
    for (std::uint32_t i = 0; i < w.runs; ++i) HF_CHECK(take_run(from, info));
    std::uint32_t next = 0;
    for (std::uint32_t i = 0; i < w.partials; ++i) HF_CHECK(take_partial(from, info, next));
    return Status();
  }

  Status take_run(ByteReader& from, LeafInfo& info) {
    HF_TRY(const auto run, from.take<wire::LeafRun>());
    const std::uint32_t first = run.first, end = first + run.count;
    const bool ordered = info.leaf->totals().mapped == 0 || first > info.last;
    if (run.count == 0 || end > Leaf::entries || !ordered) return from.bad("clusters are out of order");
    if (run.cluster > clusters_max - run.count) return from.bad("a cluster is beyond the disks");
    for (std::uint32_t at = first; at < end; ++at) {
      const std::uint32_t cluster = run.cluster + (at - first);
      HF_CHECK(take_cluster(from, cluster));
      info.leaf->set(at, Entry::whole(Cluster{cluster}));
    }
    info.last = end - 1;
    return Status();
  }

  Status take_partial(ByteReader& from, LeafInfo& info, std::uint32_t& next) {
    HF_TRY(const auto w, from.take<wire::LeafPartial>());
    const std::uint32_t at = w.at, blocks = state_->blocks_per_cluster();
    if (at < next || at >= Leaf::entries || info.leaf->get(at).mapped()) {
      return from.bad("partial clusters are out of order");
    }
    next = at + 1;
    const bool behind = w.flags == wire::LeafPartial::flag_behind;
    if (w.flags > wire::LeafPartial::flag_behind || (!behind && w.behind != 0)) {
      return from.bad("reserved bits are set");
    }
    if (behind && w.behind == w.cluster) return from.bad("a cluster is behind itself");
    HF_CHECK(take_cluster(from, w.cluster));
    if (behind) HF_CHECK(take_cluster(from, w.behind));
    PartialMemory& memory = state_->map_memory_.partials();
    auto made = behind ? Partial::make(memory, Cluster{w.cluster.get()}, Cluster{w.behind.get()})
                       : Partial::make(memory, Cluster{w.cluster.get()});
    Partial& partial = *made;
    info.leaf->set(at, Entry::of(made.release()));
    info.last = std::max(info.last, at);
    HF_TRY(const auto own, from.bytes(partial.words() * sizeof(le64)));
    HF_TRY(const auto valid, from.bytes(behind ? partial.words() * sizeof(le64) : 0));
    for (std::uint32_t i = 0; i < partial.words(); ++i) {
      const std::uint64_t own_word = load<le64>(own.subspan(i * sizeof(le64)));
      const std::uint64_t valid_word = behind ? load<le64>(valid.subspan(i * sizeof(le64))).get() : 0;
      if (i + 1 == partial.words() && ((own_word | valid_word) & beyond(blocks)) != 0) {
        return from.bad("blocks are beyond their cluster");
      }
      partial.set_words(i, own_word, valid_word);
    }
    const std::uint32_t own_blocks = partial.own_blocks();
    if (own_blocks == 0 || own_blocks == blocks) return from.bad("a partial cluster is none");
    if (behind && !partial.needs_behind()) return from.bad("a cluster is behind another one for nothing");
    return Status();
  }

  // Maps and epochs come volume by volume, the map of each first.
  Result<StateVolume*> take_volume_of_runs(ByteReader& from, ItemType type, std::uint32_t& runs) {
    HF_TRY(const auto w, from.take<wire::Runs>());
    if (!head_is_complete()) return from.bad("disks, segments or volumes are missing");
    const VolumeId id{w.volume.get()};
    StateVolume* volume = state_->get(id);
    if (volume == nullptr) return from.bad("it is of no volume");
    const bool same = id == map_volume_;
    if (id < map_volume_ || (same && type < map_type_)) return from.bad("it is out of order");
    if (!same || type != map_type_) next_ = 0;
    map_volume_ = id;
    map_type_ = type;
    if (w.runs == 0 || w.runs > wire::runs_per_item_max) return from.bad("it has no such length");
    runs = w.runs;
    return volume;
  }

  Status take_map(ByteReader& from) {
    std::uint32_t runs = 0;
    HF_TRY(StateVolume* const volume, take_volume_of_runs(from, ItemType::map, runs));
    const std::uint64_t clusters = state_->clusters_of(volume->spec());
    const std::uint64_t slots = (clusters + Leaf::entries - 1) / Leaf::entries;
    for (; runs > 0; --runs) {
      HF_TRY(const auto run, from.take<wire::MapRun>());
      const std::uint64_t end = std::uint64_t{run.first} + run.count;
      if (run.count == 0 || run.first < next_ || end > slots) return from.bad("leaves are out of order");
      if (std::uint64_t{run.leaf} + run.count > leaves_.size()) return from.bad("no such leaf");
      HF_CHECK(limit_.charge(*state_, MemoryLimit::slots_cost(end, run.count)));
      for (std::uint32_t i = 0; i < run.count; ++i) {
        LeafInfo& info = leaves_[run.leaf + i];
        const std::uint32_t slot = run.first + i;
        if (info.leaf->owners() == 0) info.slot = slot;
        if (info.slot != slot) return from.bad("a leaf is at two places");
        if (std::uint64_t{slot} * Leaf::entries + info.last >= clusters) {
          return from.bad("clusters are behind the end of the volume");
        }
        volume->map_.adopt(state_->map_context(effects_), slot, *info.leaf);
      }
      next_ = end;
    }
    return Status();
  }

  Status take_epochs(ByteReader& from) {
    std::uint32_t runs = 0;
    HF_TRY(StateVolume* const volume, take_volume_of_runs(from, ItemType::epochs, runs));
    const VolumeSpec& spec = volume->spec();
    if (spec.kind == VolumeKind::snapshot) return from.bad("a snapshot has no epochs");
    const std::uint64_t regions = regions_of(spec.size_bytes);
    for (; runs > 0; --runs) {
      HF_TRY(const auto run, from.take<wire::EpochRun>());
      const std::uint64_t end = std::uint64_t{run.first} + run.count;
      if (run.count == 0 || run.first < next_ || end > regions) return from.bad("regions are out of order");
      if (run.epoch == 0 || run.epoch > spec.epoch) return from.bad("regions are of an epoch to come");
      const std::uint64_t chunks = run.count / RegionEpochs::chunk_regions;
      HF_CHECK(limit_.charge(
          *state_,
          RegionEpochs::run_bytes_max + MemoryLimit::slots_cost(end / RegionEpochs::chunk_regions, chunks)));
      volume->epochs_.raise(state_->context(effects_), run.first, run.count, run.epoch);
      next_ = end;
    }
    return Status();
  }

  Status take_end(ByteReader& from) {
    HF_TRY(const auto w, from.take<wire::ImageEnd>());
    if (!head_is_complete()) return from.bad("disks, segments or volumes are missing");
    if (w.bytes != offset_ || w.leaves != leaves_.size() || w.rsvd != 0)
      return from.bad("something is missing");
    for (const LeafInfo& info : leaves_) {
      if (info.leaf->owners() == 0) return from.bad("a leaf is in no map");
    }
    ended_ = true;
    return Status();
  }

  std::vector<std::byte> pending_;
  std::uint64_t offset_ = 0;  // of the first byte of pending_ in the image
  wire::ImageStart start_;
  std::unique_ptr<State> state_;
  std::vector<LeafInfo> leaves_;
  Effects effects_;
  const Head head_;
  MemoryLimit limit_;
  bool head_seen_ = false;
  // The item with runs before this one, and where its last run ended.
  VolumeId map_volume_ = VolumeId::none;
  ItemType map_type_ = ItemType::map;
  std::uint64_t next_ = 0;
  bool ended_ = false;
};

ImageReader::ImageReader(Head head, std::uint64_t map_bytes_max)
    : impl_(std::make_unique<Impl>(std::move(head), map_bytes_max)) {}
ImageReader::~ImageReader() = default;
Status ImageReader::feed(std::span<const std::byte> bytes) { return impl_->feed(bytes); }
Result<std::unique_ptr<State>> ImageReader::finish() { return impl_->finish(); }

}  // namespace holdfast::pool
