#include <algorithm>
#include <cstring>
#include <vector>

#include "pool/codec.h"
#include "pool/image.h"
#include "pool/image_format.h"

namespace holdfast::pool {
namespace {

using wire::ItemType;

// Slots looked at before next() lets others have their turn: a leaf that is not in the cache costs 0.1 us.
constexpr std::size_t slots_per_turn = 8192;
// What it costs to write a leaf, in slots; each of its Partials is one more.
constexpr std::size_t slots_per_leaf = 32;

std::size_t begin(std::vector<std::byte>& to, ItemType type) {
  return begin_item(to, static_cast<std::uint16_t>(type));
}

std::vector<wire::LeafRun> whole_runs(const Leaf& leaf) {
  std::vector<wire::LeafRun> runs;
  std::uint32_t next_at = 0, next_cluster = 0;
  for (std::uint32_t at = 0; at < Leaf::entries; ++at) {
    const Entry entry = leaf.get(at);
    if (!entry.is_whole()) continue;
    const std::uint32_t cluster = to_index(entry.cluster());
    if (!runs.empty() && at == next_at && cluster == next_cluster) {
      runs.back().count = static_cast<std::uint16_t>(runs.back().count + 1);
    } else {
      runs.push_back(wire::LeafRun{static_cast<std::uint16_t>(at), 1, cluster});
    }
    next_at = at + 1;
    next_cluster = cluster + 1;
  }
  return runs;
}

void put_leaf(std::vector<std::byte>& to, const Leaf& leaf, std::uint32_t number) {
  const std::size_t item = begin(to, ItemType::leaf);
  const std::vector<wire::LeafRun> runs = whole_runs(leaf);
  put(to, wire::Leaf{number, static_cast<std::uint16_t>(runs.size()), leaf.totals().partials});
  for (const wire::LeafRun& run : runs) put(to, run);
  for (std::uint32_t at = 0; at < Leaf::entries; ++at) {
    const Partial* partial = leaf.get(at).partial();
    if (partial == nullptr) continue;
    const bool behind = partial->has_behind();
    put(to, wire::LeafPartial{static_cast<std::uint16_t>(at),
                              behind ? wire::LeafPartial::flag_behind : std::uint16_t{0},
                              to_index(partial->cluster()), behind ? to_index(partial->behind()) : 0});
    for (std::uint32_t w = 0; w < partial->words(); ++w) put(to, le64(partial->own_word(w)));
    for (std::uint32_t w = 0; behind && w < partial->words(); ++w) put(to, le64(partial->behind_word(w)));
  }
  end_item(to, item);
}

template <class Run>
void put_runs(std::vector<std::byte>& to, ItemType type, VolumeId volume, std::vector<Run>& runs) {
  if (runs.empty()) return;
  const std::size_t item = begin(to, type);
  put(to, wire::Runs{to_index(volume), static_cast<std::uint32_t>(runs.size())});
  for (const Run& run : runs) put(to, run);
  end_item(to, item);
  runs.clear();
}

}  // namespace

class ImageWriter::Impl {
 public:
  explicit Impl(State& state) : state_(state) {
    HF_ASSERT(!state.pin_.active);
    ++state.pin_.generation;
    state.pin_.active = true;
    put_head();
    for (const auto& [id, volume] : state.volumes_) {
      volumes_.push_back(Pinned{id, volume->map().array(), volume->epochs().array()});
    }
  }

  std::size_t next(std::span<std::byte> to) {
    std::size_t filled = take(to);
    for (turn_ = 0; filled < to.size() && !ended_ && turn_ < slots_per_turn;) {
      step();
      filled += take(to.subspan(filled));
    }
    return filled;
  }

  bool done() const noexcept { return ended_ && taken_ == buffer_.size(); }

  void finish(Effects& effects) {
    HF_ASSERT(!finished_);
    finished_ = true;
    state_.pin_.active = false;
    for (auto& kept : state_.pin_.kept) effects.retired.push_back(std::move(kept));
    state_.pin_.kept.clear();
  }

  bool finished() const noexcept { return finished_; }

 private:
  struct Pinned {
    VolumeId id;
    const SlotArray* leaves;
    const SlotArray* epochs;
  };
  enum class Part : std::uint8_t { map, epochs };

  // What is small is written at once; the rest is found through the arrays.
  void put_head() {
    std::size_t item = begin(buffer_, ItemType::image);
    const auto count = [](const auto& things) { return static_cast<std::uint32_t>(things.size()); };
    put(buffer_, wire::ImageStart{wire::ImageStart::magic_value, wire::image_version, state_.cluster_bytes_,
                                  to_index(state_.next_id_), count(state_.disks_), count(state_.segments()),
                                  count(state_.volumes_)});
    end_item(buffer_, item);
    for (const DiskRecord& disk : state_.disks_) {
      item = begin(buffer_, ItemType::disk);
      put_disk(buffer_, disk);
      end_item(buffer_, item);
    }
    for (const Segment& segment : state_.segments()) {
      item = begin(buffer_, ItemType::segment);
      put_segment(buffer_, segment);
      end_item(buffer_, item);
    }
    for (const auto& [id, volume] : state_.volumes_) {
      item = begin(buffer_, ItemType::volume);
      put_spec(buffer_, volume->spec());
      end_item(buffer_, item);
    }
  }

  std::size_t take(std::span<std::byte> to) {
    const std::size_t n = std::min(to.size(), buffer_.size() - taken_);
    if (n > 0) std::memcpy(to.data(), buffer_.data() + taken_, n);
    taken_ += n;
    if (taken_ == buffer_.size() && !ended_) {
      before_ += taken_;
      buffer_.clear();
      taken_ = 0;
    }
    return n;
  }

  void step() {
    if (volume_ == volumes_.size()) return put_end();
    if (part_ == Part::map) {
      step_map(volumes_[volume_]);
    } else {
      step_epochs(volumes_[volume_]);
    }
  }

  // Up to one leaf, or a turn's worth of slots.
  void step_map(const Pinned& volume) {
    const std::size_t slots = volume.leaves != nullptr ? volume.leaves->size() : 0;
    for (; slot_ < slots && turn_ < slots_per_turn; ++turn_) {
      const auto* leaf = reinterpret_cast<const Leaf*>(volume.leaves->get(slot_++));
      if (leaf == nullptr) continue;
      const bool is_new = leaf->mark().generation != state_.pin_.generation;
      if (is_new) {
        leaf->set_mark(Leaf::Mark{state_.pin_.generation, leaves_});
        put_leaf(buffer_, *leaf, leaves_++);
        turn_ += slots_per_leaf + leaf->totals().partials;
      }
      add_run(static_cast<std::uint32_t>(slot_ - 1), leaf->mark().number);
      if (map_runs_.size() == wire::runs_per_item_max) put_runs(buffer_, ItemType::map, volume.id, map_runs_);
      if (is_new) return;
    }
    if (slot_ < slots) return;
    put_runs(buffer_, ItemType::map, volume.id, map_runs_);
    part_ = Part::epochs;
    region_ = 0;
  }

  void add_run(std::uint32_t slot, std::uint32_t leaf) {
    if (!map_runs_.empty()) {
      wire::MapRun& last = map_runs_.back();
      if (last.first + last.count == slot && last.leaf + last.count == leaf) {
        last.count = last.count + 1;
        return;
      }
    }
    map_runs_.push_back(wire::MapRun{slot, 1, leaf});
  }

  void step_epochs(const Pinned& volume) {
    std::vector<wire::EpochRun> runs;
    while (runs.size() < wire::runs_per_item_max) {
      const RegionEpochs::Run run = RegionEpochs::next_run(volume.epochs, region_);
      if (run.count == 0) break;
      runs.push_back(wire::EpochRun{static_cast<std::uint32_t>(run.first),
                                    static_cast<std::uint32_t>(run.count), run.epoch});
      region_ = run.first + run.count;
    }
    ++turn_;
    if (!runs.empty()) return put_runs(buffer_, ItemType::epochs, volume.id, runs);
    ++volume_;
    part_ = Part::map;
    slot_ = 0;
  }

  void put_end() {
    const std::uint64_t bytes = before_ + buffer_.size();
    const std::size_t item = begin(buffer_, ItemType::end);
    put(buffer_, wire::ImageEnd{bytes, leaves_, 0});
    end_item(buffer_, item);
    ended_ = true;
  }

  State& state_;
  std::vector<Pinned> volumes_;
  std::vector<std::byte> buffer_;
  std::size_t taken_ = 0;     // of the buffer
  std::uint64_t before_ = 0;  // bytes given before the buffer
  std::size_t volume_ = 0, slot_ = 0;
  std::uint64_t region_ = 0;
  Part part_ = Part::map;
  std::vector<wire::MapRun> map_runs_;
  std::uint32_t leaves_ = 0;
  std::size_t turn_ = 0;
  bool ended_ = false, finished_ = false;
};

ImageWriter::ImageWriter(State& state) : impl_(std::make_unique<Impl>(state)) {}
ImageWriter::~ImageWriter() { HF_ASSERT(impl_->finished()); }
std::size_t ImageWriter::next(std::span<std::byte> to) { return impl_->next(to); }
bool ImageWriter::done() const noexcept { return impl_->done(); }
void ImageWriter::finish(Effects& effects) { impl_->finish(effects); }

}  // namespace holdfast::pool
