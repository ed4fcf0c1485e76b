// Random records against a plain model: what each block of each volume contains, and which clusters hold it. Written
// the way a volume writes: in place where it may, else to another cluster. Images are taken while the state
// changes, and the state is opened again from them and the records since.
#include <algorithm>
#include <array>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "base/prng.h"
#include "pool/image.h"
#include "pool/invariants.h"
#include "pool/state.h"
#include "pool/testing/image_bytes.h"

namespace holdfast::pool {
namespace {

constexpr std::uint32_t cluster_bytes = 64 * KiB;
constexpr std::uint32_t blocks = cluster_bytes / block_bytes;
using Token = std::uint64_t;  // what a block contains; 0: zeroes
constexpr Token poison = ~Token{0};

struct ModelVolume {
  std::map<std::uint64_t, Token> blocks;  // not zero
  std::map<std::uint64_t, std::uint32_t> epochs;
};

using testing_support::image_of;
using testing_support::load_image;

class World {
 public:
  explicit World(std::uint64_t seed)
      : prng_(seed), state_(std::make_unique<State>(cluster_bytes)), lazy_(seed % 2 == 1) {
    DiskRecord disk;
    disk.uuid = Uuid::random(prng_);
    apply(AddDiskRecord{disk, Segment{0, 300, 0, 0}});
    checkpoint();
  }

  void run(int steps) {
    for (int i = 0; i < steps && !testing::Test::HasFailure(); ++i) step();
    verify();
    reopen();
    verify();
  }

 private:
  void apply(const Record& record) {
    std::vector<std::byte> bytes;
    encode(record, bytes);
    std::span<const std::byte> rest(bytes);
    const Result<Record> read = decode(rest);
    ASSERT_TRUE(read.ok()) << read.error().message();
    const Status may = state_->check(read.value());
    ASSERT_TRUE(may.ok()) << may.error().message();
    state_->apply_lazily(read.value(), effects_);
    if (!lazy_) take_apart_all();
    journal_.insert(journal_.end(), bytes.begin(), bytes.end());
  }

  void step() {
    const std::uint64_t dice = prng_.below(100);
    if (dice < 50) return write();
    if (dice < 55) return complete();
    if (dice < 60) return unmap();
    if (dice < 65) return trim();
    if (dice < 69) return create();
    if (dice < 76) return create_from(VolumeKind::snapshot);
    if (dice < 79) return create_from(VolumeKind::volume);
    if (dice < 83) return remove();
    if (dice < 85) return revert();
    if (dice < 87) return resize();
    if (dice < 90) return epoch();
    if (dice < 91) return grow();
    if (dice < 93) return take_apart();
    if (dice < 96) return settle();
    if (dice < 98) return checkpoint_while_it_changes();
    if (dice < 99) return reopen();
    verify();
  }

  const StateVolume* pick(bool writable) {
    std::vector<const StateVolume*> all;
    for (const auto& [id, volume] : state_->volumes()) {
      if (!writable || volume->spec().kind == VolumeKind::volume) all.push_back(volume.get());
    }
    return all.empty() ? nullptr : all[prng_.below(all.size())];
  }
  ModelVolume& model(const StateVolume& volume) { return model_[volume.spec().id]; }
  // Near the beginning, mostly; sometimes far away, in another leaf.
  std::uint32_t pick_index(const StateVolume& volume) {
    const std::uint64_t clusters = volume.spec().size_bytes / cluster_bytes;
    const std::uint64_t within = prng_.chance(9, 10) ? std::min<std::uint64_t>(clusters, 6) : clusters;
    return static_cast<std::uint32_t>(prng_.below(within));
  }
  BlockSpan pick_span(const StateVolume& volume) {
    const std::uint32_t index = pick_index(volume);
    if (prng_.chance(1, 4)) return BlockSpan{index, 0, blocks};
    const auto first = static_cast<std::uint32_t>(prng_.below(blocks));
    return BlockSpan{index, first, static_cast<std::uint32_t>(prng_.between(1, blocks - first))};
  }
  Token& disk(Cluster cluster, std::uint32_t block) {
    return disk_[std::uint64_t{to_index(cluster)} * blocks + block];
  }
  Token read(const ClusterView& view, std::uint32_t block) {
    const BlockRun run = view.run(block, blocks - block);
    return run.source == BlockSource::zero ? 0 : disk(run.cluster, block);
  }

  void write() {
    const StateVolume* volume = pick(true);
    if (volume == nullptr) return;
    BlockSpan span = pick_span(*volume);
    std::array<Token, blocks> content{};
    const ClusterView view = volume->map().find(span.index);
    for (std::uint32_t b = 0; b < blocks; ++b) content[b] = read(view, b);
    for (std::uint32_t b = span.first; b < span.first + span.count; ++b) content[b] = ++token_;
    const bool in_place = state_->exclusive(view);
    const bool recorded = !in_place || !view.owns(span.first, span.count);
    Cluster to{};
    if (in_place) {
      to = view.own();
    } else {
      const auto from = static_cast<std::uint32_t>(prng_.below(state_->clusters().size()));
      auto free = state_->clusters().find_free(from, state_->clusters().size());
      if (!free) free = state_->clusters().find_free(0, from);
      if (!free) return settle();
      to = *free;
      state_->clusters().hold(to);
      if (view.has_behind()) span = BlockSpan{span.index, 0, blocks};
    }
    for (std::uint32_t b = span.first; b < span.first + span.count; ++b) disk(to, b) = content[b];
    if (recorded) {
      apply(WriteRecord{volume->spec().id, span.index, to, static_cast<std::uint16_t>(span.first),
                        static_cast<std::uint16_t>(span.count)});
    }
    if (!in_place) state_->clusters().release(to);
    for (std::uint32_t b = span.first; b < span.first + span.count; ++b) {
      set(model(*volume), std::uint64_t{span.index} * blocks + b, content[b]);
    }
  }
  static void set(ModelVolume& model, std::uint64_t block, Token token) {
    if (token == 0) {
      model.blocks.erase(block);
    } else {
      model.blocks[block] = token;
    }
  }
  static void zero(ModelVolume& model, std::uint64_t first, std::uint64_t end) {
    model.blocks.erase(model.blocks.lower_bound(first), model.blocks.lower_bound(end));
  }

  void complete() {
    const StateVolume* volume = pick(false);
    if (volume == nullptr) return;
    const std::uint32_t index = pick_index(*volume);
    const ClusterView view = volume->map().find(index);
    if (!view.has_behind()) return;
    for (std::uint32_t b = 0; b < blocks; ++b) {
      if (!view.owns(b, 1)) disk(view.own(), b) = read(view, b);
    }
    apply(CompleteRecord{volume->spec().id, index});
  }
  void unmap() {
    const StateVolume* volume = pick(true);
    if (volume == nullptr) return;
    const std::uint32_t first = pick_index(*volume);
    const std::uint64_t left = volume->spec().size_bytes / cluster_bytes - first;
    const std::uint64_t count =
        prng_.chance(1, 10) ? left : prng_.between(1, std::min<std::uint64_t>(left, 3));
    apply(UnmapRecord{volume->spec().id, first, static_cast<std::uint32_t>(count)});
    zero(model(*volume), std::uint64_t{first} * blocks, (first + count) * blocks);
  }
  void trim() {
    const StateVolume* volume = pick(true);
    if (volume == nullptr) return;
    const BlockSpan span = pick_span(*volume);
    if (volume->map().find(span.index).has_behind()) return;
    apply(TrimRecord{volume->spec().id, span.index, static_cast<std::uint16_t>(span.first),
                     static_cast<std::uint16_t>(span.count)});
    const std::uint64_t first = std::uint64_t{span.index} * blocks + span.first;
    zero(model(*volume), first, first + span.count);
  }

  VolumeSpec new_spec() {
    VolumeSpec spec;
    spec.id = state_->next_id();
    spec.uuid = Uuid::random(prng_);
    spec.name = "volume-" + std::to_string(to_index(spec.id));
    if (prng_.chance(1, 2)) spec.attributes["key"] = std::string(prng_.between(1, 9), 'x');
    return spec;
  }
  void create() {
    VolumeSpec spec = new_spec();
    spec.thick = prng_.chance(1, 2);
    spec.size_bytes = (prng_.chance(1, 3) ? prng_.between(500, 1600) : prng_.between(1, 40)) * cluster_bytes;
    apply(CreateRecord{spec});
    model_[spec.id];
  }
  void create_from(VolumeKind kind) {
    const StateVolume* source = pick(false);
    if (source == nullptr || state_->volumes().size() > 12) return;
    if ((source->spec().kind == VolumeKind::snapshot) == (kind == VolumeKind::snapshot)) return;
    VolumeSpec spec = new_spec();
    spec.kind = kind;
    spec.source = source->spec().id;
    spec.source_uuid = source->spec().uuid;
    spec.thick = kind == VolumeKind::volume && prng_.chance(1, 2);
    spec.size_bytes =
        source->spec().size_bytes + (kind == VolumeKind::volume ? prng_.below(3) * cluster_bytes : 0);
    apply(CreateRecord{spec});
    model_[spec.id].blocks = model(*source).blocks;
  }
  void remove() {
    const StateVolume* volume = pick(false);
    if (volume == nullptr) return;
    const VolumeId id = volume->spec().id;
    apply(DeleteRecord{id});
    model_.erase(id);
  }
  void resize() {
    const StateVolume* volume = pick(true);
    if (volume == nullptr) return;
    const std::uint64_t clusters = prng_.chance(1, 3) ? prng_.between(500, 1600) : prng_.between(1, 40);
    apply(ResizeRecord{volume->spec().id, clusters * cluster_bytes});
    zero(model(*volume), clusters * blocks, ~std::uint64_t{0});
    cut_epochs(model(*volume), clusters);
  }
  static void cut_epochs(ModelVolume& model, std::uint64_t clusters) {
    const std::uint64_t end = regions_of(clusters * cluster_bytes);
    model.epochs.erase(model.epochs.lower_bound(end), model.epochs.end());
  }
  void revert() {
    const StateVolume* volume = pick(true);
    const StateVolume* snapshot = pick(false);
    if (volume == nullptr || snapshot->spec().kind != VolumeKind::snapshot) return;
    ModelVolume& to = model(*volume);
    const ModelVolume before = to;
    apply(RevertRecord{volume->spec().id, snapshot->spec().id});
    to.blocks = model(*snapshot).blocks;
    cut_epochs(to, snapshot->spec().size_bytes / cluster_bytes);
    // Regions whose content is another one are of the new epoch; those that may be are free to be.
    const std::uint32_t epoch = volume->spec().epoch;
    const std::uint64_t regions = regions_of(volume->spec().size_bytes);
    constexpr std::uint64_t region_blocks = region_bytes / block_bytes;
    for (std::uint64_t region = 0; epoch != 0 && region < regions; ++region) {
      const std::uint32_t now = volume->epochs().get(region);
      bool differs = false;
      const std::uint64_t end =
          std::min((region + 1) * region_blocks, volume->spec().size_bytes / block_bytes);
      for (std::uint64_t b = region * region_blocks; b < end; ++b) {
        differs = differs || token(before, b) != token(to, b);
      }
      const auto old = to.epochs.find(region);
      const std::uint32_t was = old != to.epochs.end() ? old->second : 0;
      ASSERT_TRUE(now == epoch || (!differs && now == was)) << region;
      if (now != 0) to.epochs[region] = now;
    }
  }
  static Token token(const ModelVolume& model, std::uint64_t block) {
    const auto at = model.blocks.find(block);
    return at != model.blocks.end() ? at->second : 0;
  }
  void epoch() {
    const StateVolume* volume = pick(true);
    if (volume == nullptr) return;
    const VolumeSpec& spec = volume->spec();
    if (spec.epoch == 0 || prng_.chance(1, 3)) {
      return apply(
          EpochRecord{spec.id, spec.epoch + 1, static_cast<std::uint32_t>(prng_.below(spec.epoch + 1))});
    }
    const std::uint64_t regions = regions_of(spec.size_bytes);
    const std::uint64_t first = prng_.below(regions), count = prng_.between(1, regions - first);
    const auto epoch = static_cast<std::uint32_t>(prng_.between(1, spec.epoch));
    apply(RegionRecord{spec.id, static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(count), epoch});
    for (std::uint64_t r = first; r < first + count; ++r) {
      std::uint32_t& region = model(*volume).epochs[r];
      region = std::max(region, epoch);
    }
  }
  void grow() {
    const auto disk = static_cast<std::uint16_t>(prng_.below(state_->disks().size() + 1));
    const std::uint64_t there = state_->clusters().disk_clusters(disk);
    const Segment segment{state_->clusters().size(), static_cast<std::uint32_t>(prng_.between(1, 5000)), disk,
                          static_cast<std::uint32_t>(there)};
    if (disk < state_->disks().size()) return apply(GrowRecord{segment});
    if (disk >= 4) return;
    apply(AddDiskRecord{DiskRecord{disk, Uuid::random(prng_), "uri"}, segment});
  }
  void take_apart() {
    const std::size_t most = prng_.below(600);
    const bool one = prng_.chance(1, 2);
    const std::size_t there = state_->fallen().size();
    const std::size_t taken = state_->take_apart(most, one, effects_);
    ASSERT_TRUE(taken <= most || (one && state_->fallen().size() == there - 1)) << taken << " of " << most;
  }
  void take_apart_all() { state_->take_apart(~std::size_t{0}, true, effects_); }
  void settle() {
    for (const ClusterRun& run : effects_.freed) {
      for (std::uint32_t i = 0; i < run.count; ++i) {
        for (std::uint32_t b = 0; b < blocks; ++b) disk(Cluster{to_index(run.first) + i}, b) = poison;
      }
    }
    while (!state_->settle_some(effects_, prng_.between(1, 40))) {
    }
  }

  void checkpoint() {
    image_ = image_of(*state_);
    journal_.clear();
  }
  // The image that is written while the state changes is that of the moment when it was begun.
  void checkpoint_while_it_changes() {
    if (in_image_) return;
    in_image_ = true;
    std::vector<std::byte> expected = image_of(*state_), got;
    journal_.clear();
    ImageWriter writer(*state_);
    std::vector<std::byte> piece(prng_.between(1, 2000));
    while (!writer.done()) {
      const std::size_t n = writer.next(piece);
      got.insert(got.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(n));
      if (prng_.chance(2, 3)) step();
    }
    ASSERT_TRUE(got == expected);
    writer.finish(effects_);
    image_ = std::move(expected);
    in_image_ = false;
  }
  // A state from image and records is the state that made them.
  void reopen() {
    if (in_image_) return;
    take_apart_all();
    settle();
    Result<std::unique_ptr<State>> loaded = load_image(image_, prng_.between(1, 5000));
    ASSERT_TRUE(loaded.ok()) << loaded.error().message();
    ASSERT_TRUE(image_of(*loaded.value()) == image_);
    Effects effects;
    for (std::span<const std::byte> rest(journal_); !rest.empty();) {
      const Result<Record> record = decode(rest);
      ASSERT_TRUE(record.ok());
      const Status may = loaded.value()->check(record.value());
      ASSERT_TRUE(may.ok()) << may.error().message();
      loaded.value()->apply(record.value(), effects);
      loaded.value()->settle(effects);
    }
    state_->recount_reserved();
    loaded.value()->recount_reserved();
    ASSERT_EQ(state_->reserved_clusters(), loaded.value()->reserved_clusters());
    checkpoint();
    ASSERT_TRUE(image_of(*loaded.value()) == image_);
    state_ = std::move(loaded).value();
  }

  void verify() {
    const std::vector<std::string> breaches = check_invariants(*state_);
    ASSERT_TRUE(breaches.empty()) << breaches[0];
    ASSERT_TRUE(check_places(*state_).empty());
    ASSERT_EQ(model_.size(), state_->volumes().size());
    for (const auto& [id, volume] : state_->volumes()) {
      verify_content(*volume);
      verify_usage(*volume);
    }
    verify_diff();
    const std::uint64_t before = state_->reserved_clusters();
    ASSERT_LE(state_->recount_reserved(), before);
  }
  void verify_content(const StateVolume& volume) {
    const ModelVolume& expected = model(volume);
    const std::uint64_t clusters = volume.spec().size_bytes / cluster_bytes;
    ASSERT_TRUE(expected.blocks.empty() || expected.blocks.rbegin()->first < clusters * blocks);
    for (std::uint64_t index = 0; index < clusters; ++index) {
      const ClusterView view = volume.map().find(static_cast<std::uint32_t>(index));
      if (!view.mapped() && token(expected, index * blocks) == 0 && index > 40) continue;
      for (std::uint32_t b = 0; b < blocks; ++b) {
        ASSERT_EQ(read(view, b), token(expected, index * blocks + b)) << index << ":" << b;
      }
    }
    for (const auto& [region, epoch] : expected.epochs) ASSERT_EQ(volume.epochs().get(region), epoch);
    std::uint64_t regions = 0;
    RegionEpochs::Run run;
    while ((run = RegionEpochs::next_run(volume.epochs().array(), run.first + run.count)).count > 0) {
      regions += run.count;
    }
    ASSERT_EQ(regions, expected.epochs.size());
  }
  std::set<Cluster> named(const StateVolume& volume) {
    std::set<Cluster> clusters;
    for (std::uint32_t index = 0; index < volume.spec().size_bytes / cluster_bytes; ++index) {
      const ClusterView view = volume.map().find(index);
      if (!view.mapped()) continue;
      clusters.insert(view.own());
      if (view.has_behind()) clusters.insert(view.behind());
    }
    return clusters;
  }
  void verify_usage(const StateVolume& volume) {
    const std::set<Cluster> mine = named(volume);
    std::set<Cluster> exclusive = mine;
    for (const auto& [id, other] : state_->volumes()) {
      if (other.get() == &volume) continue;
      for (const Cluster c : named(*other)) exclusive.erase(c);
    }
    const Usage usage = state_->usage(volume.spec().id);
    ASSERT_EQ(usage.allocated, mine.size() * cluster_bytes);
    // What fell and was not taken apart still counts.
    ASSERT_LE(usage.exclusive, exclusive.size() * cluster_bytes);
    if (!state_->has_fallen()) {
      ASSERT_EQ(usage.exclusive, exclusive.size() * cluster_bytes);
    }
    ASSERT_EQ(usage.shared + usage.exclusive, usage.allocated);
  }
  // Exactly the blocks that are not in the same place, however many ranges are asked for at once; and no block that
  // has another content is missing.
  void verify_diff() {
    const StateVolume* a = pick(false);
    const StateVolume* b = pick(false);
    if (a == nullptr) return;
    std::vector<ByteRange> expected;
    for (std::uint64_t at = 0; at < b->spec().size_bytes / block_bytes; ++at) {
      const auto index = static_cast<std::uint32_t>(at / blocks);
      const auto block = static_cast<std::uint32_t>(at % blocks);
      const BlockRun in_a = a->map().find(index).run(block, 1), in_b = b->map().find(index).run(block, 1);
      const bool zero = in_a.source == BlockSource::zero || in_b.source == BlockSource::zero;
      const bool same = zero ? in_a.source == in_b.source : in_a.cluster == in_b.cluster;
      if (same) {
        ASSERT_EQ(token(model(*a), at), token(model(*b), at));
        continue;
      }
      if (expected.empty() || expected.back().offset + expected.back().length != at * block_bytes) {
        expected.push_back(ByteRange{at * block_bytes, 0});
      }
      expected.back().length += block_bytes;
    }
    ASSERT_EQ(state_->diff(a->spec().id, b->spec().id, 0, ~std::size_t{0}), expected);
    std::vector<ByteRange> paged;
    const std::size_t page = prng_.between(1, 4);
    for (std::uint64_t from = 0;;) {
      const std::vector<ByteRange> part = state_->diff(a->spec().id, b->spec().id, from, page);
      paged.insert(paged.end(), part.begin(), part.end());
      if (part.size() < page) break;
      from = part.back().offset + part.back().length;
    }
    ASSERT_EQ(paged, expected);
  }

  Prng prng_;
  std::unique_ptr<State> state_;
  Effects effects_;
  std::map<std::uint64_t, Token> disk_;
  std::map<VolumeId, ModelVolume> model_;
  Token token_ = 0;
  std::vector<std::byte> image_, journal_;  // of the last checkpoint, and the records since
  bool in_image_ = false;
  const bool lazy_;  // leaves that fell are taken apart now and then
};

TEST(StateModel, RandomRecordsMakeWhatTheModelSays) {
  for (std::uint64_t seed = 1; seed <= 1000 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    World(seed).run(60);
  }
  for (std::uint64_t seed = 1; seed <= 20 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE(testing::Message() << "long seed " << seed);
    World(seed).run(1000);
  }
}

}  // namespace
}  // namespace holdfast::pool
