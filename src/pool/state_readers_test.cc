// Other cores look at maps, epochs and counts while the home core changes them. For ThreadSanitizer above all.
#include <atomic>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/prng.h"
#include "pool/image.h"
#include "pool/invariants.h"
#include "pool/state.h"

namespace holdfast::pool {
namespace {

constexpr std::uint32_t cluster_bytes = 64 * KiB;
constexpr std::uint32_t blocks = cluster_bytes / block_bytes;
constexpr std::uint32_t clusters = 1100;  // of the volume: three leaves
constexpr VolumeId volume_id{1};

// Cluster `index` of the volume is always in a pool cluster whose number is `index` modulo `clusters`; regions only
// ever get newer.
class Home {
 public:
  Home() : state_(cluster_bytes) {
    apply(AddDiskRecord{DiskRecord{0, Uuid::from_name("disk"), ""}, Segment{0, clusters * 400, 0, 0}});
    VolumeSpec spec;
    spec.id = volume_id;
    spec.name = "v";
    spec.uuid = Uuid::from_name("v");
    spec.size_bytes = std::uint64_t{clusters} * cluster_bytes;
    apply(CreateRecord{spec});
    volume_ = state_.find(volume_id);
  }
  ~Home() { state_.settle(effects_); }

  const State& state() const { return state_; }
  const StateVolume& volume() const { return *volume_; }

  void change() {
    const std::uint64_t dice = prng_.below(100);
    if (dice < 70) return write();
    if (dice < 75) return unmap();
    if (dice < 80) return trim();
    if (dice < 84) return snapshot();
    if (dice < 87) return remove();
    if (dice < 95) return epoch();
    checkpoint();
  }

 private:
  void apply(const Record& record) { state_.apply(record, effects_); }
  std::uint32_t index() {
    return static_cast<std::uint32_t>(prng_.chance(1, 2) ? prng_.below(4) : prng_.below(clusters));
  }
  void write() {
    const std::uint32_t at = index();
    const ClusterView view = volume_->map().find(at);
    auto first = static_cast<std::uint16_t>(prng_.below(blocks));
    auto count = static_cast<std::uint16_t>(prng_.between(1, blocks - first));
    if (state_.exclusive(view)) return apply(WriteRecord{volume_id, at, view.own(), first, count});
    if (view.mapped() && view.has_behind()) {
      first = 0;
      count = blocks;
    }
    std::uint32_t to = at;
    while (to < state_.clusters().size() && !state_.clusters().is_free(Cluster{to})) to += clusters;
    if (to < state_.clusters().size()) apply(WriteRecord{volume_id, at, Cluster{to}, first, count});
  }
  void unmap() {
    const std::uint32_t at = index();
    const std::uint64_t most = prng_.chance(1, 20) ? clusters - at : 1;
    apply(UnmapRecord{volume_id, at, static_cast<std::uint32_t>(most)});
  }
  void trim() {
    const std::uint32_t at = index();
    if (!volume_->map().find(at).mapped() || volume_->map().find(at).has_behind()) return;
    apply(TrimRecord{volume_id, at, static_cast<std::uint16_t>(prng_.below(blocks)), 1});
  }
  void snapshot() {
    if (state_.volumes().size() > 8) return;
    VolumeSpec spec = volume_->spec();
    spec.id = state_.next_id();
    spec.kind = VolumeKind::snapshot;
    spec.source = volume_id;
    spec.source_uuid = spec.uuid;
    spec.name = "s" + std::to_string(to_index(spec.id));
    spec.uuid = Uuid::from_name(spec.name);
    apply(CreateRecord{spec});
  }
  void remove() {
    if (state_.volumes().size() > 1) apply(DeleteRecord{state_.volumes().rbegin()->first});
  }
  void epoch() {
    const std::uint32_t now = volume_->spec().epoch;
    const std::uint64_t regions = (std::uint64_t{clusters} * cluster_bytes + MiB - 1) / MiB;
    apply(EpochRecord{volume_id, now + 1, 0});
    const auto first = static_cast<std::uint32_t>(prng_.below(regions));
    const auto count = static_cast<std::uint32_t>(prng_.between(1, regions - first));
    apply(RegionRecord{volume_id, first, count, now + 1});
  }
  // Now and then the pin is there for some changes.
  void checkpoint() {
    if (pinned_) return;
    pinned_ = true;
    ImageWriter writer(state_);
    std::byte piece[1000];
    while (!writer.done()) {
      writer.next(piece);
      change();
    }
    writer.finish(effects_);
    pinned_ = false;
  }

  Prng prng_{1};
  State state_;
  Effects effects_;  // nothing is settled while others look
  const StateVolume* volume_ = nullptr;
  bool pinned_ = false;
};

// Ends with the number of looks.
std::uint64_t look(const Home& home, unsigned seed, const std::atomic<bool>& stop, std::atomic<bool>& wrong) {
  Prng prng(seed);
  std::vector<std::uint32_t> epochs(100);
  std::uint64_t looks = 0;
  for (; !stop.load(std::memory_order_relaxed); ++looks) {
    const auto at = static_cast<std::uint32_t>(prng.chance(1, 2) ? prng.below(4) : prng.below(clusters));
    const ClusterView view = home.volume().map().find(at);
    bool right = !view.mapped() || to_index(view.own()) % clusters == at;
    for (std::uint32_t b = 0; b < blocks && right;) {
      const BlockRun run = view.run(b, blocks - b);
      right = run.blocks > 0 && (run.source == BlockSource::zero || to_index(run.cluster) % clusters == at);
      b += run.blocks;
    }
    right = right && (view.mapped() || !home.state().exclusive(view));
    const std::uint64_t region = prng.below(60);
    const std::uint32_t epoch = home.volume().epochs().get(region);
    right = right && epoch >= epochs[region];
    epochs[region] = epoch;
    if (!right) wrong = true;
  }
  return looks;
}

TEST(StateReaders, OtherCoresSeeOneStateOrTheNext) {
  Home home;
  std::atomic<bool> stop = false, wrong = false;
  std::atomic<std::uint64_t> looks = 0;
  std::vector<std::thread> readers;
  for (unsigned seed = 1; seed <= 2; ++seed) {
    readers.emplace_back([&home, &stop, &wrong, &looks, seed] { looks += look(home, seed, stop, wrong); });
  }
  for (int i = 0; i < 5000; ++i) home.change();
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_FALSE(wrong);
  EXPECT_GT(looks, 0u);
  const std::vector<std::string> breaches = check_invariants(home.state());
  EXPECT_TRUE(breaches.empty()) << breaches[0];
}

}  // namespace
}  // namespace holdfast::pool
