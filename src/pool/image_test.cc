#include "pool/image.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pool/image_format.h"
#include "pool/invariants.h"
#include "pool/testing/image_bytes.h"

namespace holdfast::pool {
namespace {

using testing_support::image_of;
using testing_support::load_image;

// A State that is built record by record.
struct Builder {
  explicit Builder(std::uint32_t cluster_bytes, std::uint32_t clusters) : state(cluster_bytes) {
    apply(AddDiskRecord{DiskRecord{0, Uuid::from_name("disk"), "file:///d"}, Segment{0, clusters, 0, 0}});
  }
  ~Builder() { state.settle(effects); }
  void apply(const Record& record) {
    state.apply(record, effects);
    state.settle(effects);
  }
  VolumeId create(std::uint64_t size, VolumeId source = VolumeId::none) {
    VolumeSpec spec;
    spec.id = state.next_id();
    spec.name = "v" + std::to_string(to_index(spec.id));
    spec.uuid = Uuid::from_name(spec.name);
    spec.size_bytes = size;
    if (const StateVolume* of = state.find(source)) {
      spec.kind = of->spec().kind == VolumeKind::volume ? VolumeKind::snapshot : VolumeKind::volume;
      spec.source = source;
      spec.source_uuid = of->spec().uuid;
    }
    apply(CreateRecord{spec});
    return spec.id;
  }
  void write(VolumeId volume, std::uint32_t index, std::uint16_t first, std::uint16_t count) {
    apply(WriteRecord{volume, index, Cluster{next++}, first, count});
  }
  State state;
  Effects effects;
  std::uint32_t next = 0;
};

std::vector<std::byte> small_image() {
  Builder b(64 * KiB, 1000);
  const VolumeId v = b.create(600 * 64 * KiB);
  b.write(v, 0, 0, 16);
  b.write(v, 1, 0, 16);
  b.write(v, 5, 3, 4);
  b.write(v, 599, 0, 16);
  b.apply(EpochRecord{v, 7, 3});
  b.apply(RegionRecord{v, 1, 3, 6});
  b.apply(AttributesRecord{v, {{"k", "v"}}});
  const VolumeId s = b.create(600 * 64 * KiB, v);
  b.write(v, 1, 5, 1);
  const VolumeId c = b.create(600 * 64 * KiB, s);
  b.write(c, 5, 4, 8);
  return image_of(b.state);
}

std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  char digits[3];
  for (const std::byte b : bytes) {
    std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned>(b));
    text += digits;
  }
  return text;
}

std::string hex(const Uuid& uuid) { return hex(std::as_bytes(std::span(uuid.bytes))); }

// The example of docs/format/pool.md.
TEST(Image, BytesAreThoseOfTheFormat) {
  Builder b(64 * KiB, 100);
  const VolumeId v = b.create(2 * 64 * KiB);
  b.apply(EpochRecord{v, 2, 1});
  b.apply(RegionRecord{v, 0, 1, 2});
  b.write(v, 0, 0, 16);
  b.create(2 * 64 * KiB, v);
  b.write(v, 0, 1, 2);
  std::string expected =
      "2000000001000000 4846535441543031 01000000 00000100 03000000 01000000 01000000 02000000 "
      "2100000002000000 0000 0900 00000000 " +
      hex(Uuid::from_name("disk")) +
      " 66696c653a2f2f2f64 "
      "1000000003000000 00000000 64000000 00000000 0000 0000 "
      "6200000004000000 01000000 00 00 0200 00000000 00000000 " +
      hex(Uuid::from_name("v1")) + std::string(32, '0') +
      "0000020000000000 0000000000000000 02000000 01000000 00000000 00000000" + std::string(32, '0') +
      "7631 "
      "6200000004000000 02000000 01 00 0200 01000000 00000000 " +
      hex(Uuid::from_name("v2")) + hex(Uuid::from_name("v1")) +
      "0000020000000000 0000000000000000 00000000 00000000 00000000 00000000" + std::string(32, '0') +
      "7632 "
      "2400000005000000 00000000 0000 0100 0000 0100 01000000 00000000 0600000000000000 ffff000000000000 "
      "1400000006000000 01000000 01000000 00000000 01000000 00000000 "
      "1400000007000000 01000000 01000000 00000000 01000000 02000000 "
      "1000000005000000 01000000 0100 0000 0000 0100 00000000 "
      "1400000006000000 02000000 01000000 00000000 01000000 01000000 "
      "1000000008000000 d501000000000000 02000000 00000000";
  std::erase(expected, ' ');
  EXPECT_EQ(hex(image_of(b.state)), expected);
}

// A map that is long and almost empty is written in many short turns, most of which give nothing.
TEST(Image, LongMapsAreWrittenInTurns) {
  Builder b(64 * KiB, 100);
  const VolumeId v = b.create(volume_clusters_max * 64 * KiB);
  b.write(v, static_cast<std::uint32_t>(volume_clusters_max - 1), 0, 16);
  ImageWriter writer(b.state);
  std::vector<std::byte> bytes, piece(64 * KiB);
  std::size_t turns = 0;
  for (; !writer.done(); ++turns) {
    const std::size_t n = writer.next(piece);
    bytes.insert(bytes.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(n));
  }
  writer.finish(b.effects);
  EXPECT_GT(turns, 10u);
  const auto loaded = load_image(bytes);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  EXPECT_TRUE(loaded.value()->find(v)->map().find(volume_clusters_max - 1).whole());
}

// Leaves that are large to look through and short to write: it is the looking that takes the time of a turn.
TEST(Image, FullLeavesAreWrittenInTurns) {
  constexpr std::uint32_t leaves = 600, clusters = leaves * Leaf::entries;
  constexpr std::size_t leaf_bytes =
      sizeof(wire::ItemHeader) + sizeof(wire::Leaf) + sizeof(wire::LeafRun);  // one run in each
  Builder b(64 * KiB, clusters);
  const VolumeId v = b.create(std::uint64_t{clusters} * 64 * KiB);
  for (std::uint32_t i = 0; i < clusters; ++i) b.write(v, i, 0, 16);
  ImageWriter writer(b.state);
  std::vector<std::byte> piece(64 * KiB);
  std::size_t most = 0, all = 0;
  while (!writer.done()) {
    const std::size_t n = writer.next(piece);
    most = std::max(most, n);
    all += n;
  }
  writer.finish(b.effects);
  EXPECT_GT(all, leaves * leaf_bytes);
  EXPECT_LE(most, 300 * leaf_bytes);  // the first has the head of the image, too
}

TEST(Image, ManyRunsAreSeveralItems) {
  Builder b(64 * KiB, 5000);
  const VolumeId v = b.create(std::uint64_t{2} * 4500 * Leaf::entries * 64 * KiB);
  b.apply(EpochRecord{v, 3, 0});
  for (std::uint32_t i = 0; i < 4500; ++i) {
    b.write(v, 2 * i * Leaf::entries, 0, 16);
    b.apply(RegionRecord{v, 2 * i, 1, 1 + i % 2});
  }
  const std::vector<std::byte> image = image_of(b.state);
  std::map<wire::ItemType, int> items;
  std::span<const std::byte> rest(image);
  while (!rest.empty()) {
    const auto header = load<wire::ItemHeader>(rest);
    ++items[static_cast<wire::ItemType>(header.type.get())];
    rest = rest.subspan(sizeof header + header.bytes);
  }
  EXPECT_EQ(items[wire::ItemType::map], 2);
  EXPECT_EQ(items[wire::ItemType::epochs], 2);
  const auto loaded = load_image(image);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  EXPECT_TRUE(image_of(*loaded.value()) == image);
}

// The items of an image, to be changed one by one.
class Items {
 public:
  explicit Items(std::span<const std::byte> image) {
    while (!image.empty()) {
      const std::size_t length = sizeof(wire::ItemHeader) + load<wire::ItemHeader>(image).bytes;
      items_.emplace_back(image.begin(), image.begin() + static_cast<std::ptrdiff_t>(length));
      image = image.subspan(length);
    }
  }
  // The nth item of a type, without its header.
  std::span<std::byte> body(wire::ItemType type, std::size_t nth = 0) {
    return std::span(items_[at(type, nth)]).subspan(sizeof(wire::ItemHeader));
  }
  template <class T>
  void put(wire::ItemType type, std::size_t nth, std::size_t offset, T value) {
    store(body(type, nth).subspan(offset), Le<T>(value));
  }
  void drop(wire::ItemType type, std::size_t nth = 0) {
    items_.erase(items_.begin() + static_cast<std::ptrdiff_t>(at(type, nth)));
  }
  void twice(wire::ItemType type, std::size_t nth = 0) {
    const auto where = items_.begin() + static_cast<std::ptrdiff_t>(at(type, nth));
    const std::vector<std::byte> copy = *where;
    items_.insert(where, copy);
  }
  void swap(wire::ItemType a, wire::ItemType b) { std::swap(items_[at(a, 0)], items_[at(b, 0)]); }
  std::vector<std::byte> bytes() {
    std::vector<std::byte> all;
    for (std::vector<std::byte>& item : items_) {
      const bool end = load<wire::ItemHeader>(item).type == static_cast<std::uint16_t>(wire::ItemType::end);
      if (end) store(std::span(item).subspan(sizeof(wire::ItemHeader)), le64(all.size()));
      all.insert(all.end(), item.begin(), item.end());
    }
    return all;
  }

 private:
  std::size_t at(wire::ItemType type, std::size_t nth) const {
    for (std::size_t i = 0;; ++i) {
      if (load<wire::ItemHeader>(items_[i]).type != static_cast<std::uint16_t>(type)) continue;
      if (nth-- == 0) return i;
    }
  }
  std::vector<std::vector<std::byte>> items_;
};

struct BadImage {
  const char* what;
  void (*change)(Items& items);
  const char* text;
};

// Volume 1 of 600 clusters: leaf 0 {runs 0..0, partial 1 before another cluster, partial 5}, leaf 1 {87}; snapshot 2:
// leaf 2 {run 0..1, partial 5}, leaf 1; clone 3: leaf 3, leaf 1.
TEST(Image, NonsenseIsRefused) {
  using T = wire::ItemType;
  using u8 = std::uint8_t;
  using u16 = std::uint16_t;
  using u32 = std::uint32_t;
  const BadImage table[] = {
      {"magic", [](Items& i) { i.put<u32>(T::image, 0, 0, 1); }, "no image begins so"},
      {"version", [](Items& i) { i.put<u32>(T::image, 0, 8, 2); }, "version"},
      {"cluster size", [](Items& i) { i.put<u32>(T::image, 0, 12, 65537); }, "cluster size"},
      {"next id", [](Items& i) { i.put<u32>(T::image, 0, 16, 3); }, "ids of volumes"},
      {"start twice", [](Items& i) { i.twice(T::image); }, "out of order"},
      {"disk twice", [](Items& i) { i.twice(T::disk); }, "out of order"},
      {"segment missing", [](Items& i) { i.drop(T::segment); }, "missing"},
      {"segment twice", [](Items& i) { i.twice(T::segment); }, "last one ended"},
      {"volume missing", [](Items& i) { i.drop(T::volume, 2); }, "missing"},
      {"volume twice", [](Items& i) { i.twice(T::volume); }, "out of order"},
      {"disk behind segment", [](Items& i) { i.swap(T::disk, T::segment); }, "on no disk"},
      {"own source", [](Items& i) { i.put<u32>(T::volume, 1, 8, 2); }, "no such volume id"},
      {"source to come", [](Items& i) { i.put<u32>(T::volume, 1, 8, 3); }, "no such source"},
      {"clone of a volume", [](Items& i) { i.put<u32>(T::volume, 2, 8, 1); }, "source of a volume"},
      {"snapshot of nothing", [](Items& i) { i.put<u32>(T::volume, 1, 8, 0); }, "no such source"},
      {"encrypted", [](Items& i) { i.put<u32>(T::volume, 0, 72, 1); }, "encrypted"},
      {"leaf number", [](Items& i) { i.put<u32>(T::leaf, 1, 0, 2); }, "a leaf is out of order"},
      {"empty leaf", [](Items& i) { i.put<u16>(T::leaf, 1, 4, 0); }, "no such length"},
      {"runs out of order", [](Items& i) { i.put<u16>(T::leaf, 2, 8, 5); }, "out of order"},
      {"run too long", [](Items& i) { i.put<u16>(T::leaf, 1, 10, 500); }, "out of order"},
      {"cluster beyond", [](Items& i) { i.put<u32>(T::leaf, 1, 12, 1000); }, "beyond the disks"},
      {"behind itself", [](Items& i) { i.put<u32>(T::leaf, 0, 24, 4); }, "behind itself"},
      {"no own block", [](Items& i) { i.put<u16>(T::leaf, 0, 28, 0); }, "a partial cluster is none"},
      {"all blocks own", [](Items& i) { i.put<u16>(T::leaf, 0, 28, 0xffff); }, "a partial cluster is none"},
      {"block beyond", [](Items& i) { i.put<u8>(T::leaf, 0, 30, 1); }, "beyond their cluster"},
      {"behind for nothing", [](Items& i) { i.put<u16>(T::leaf, 0, 36, 0x20); }, "for nothing"},
      {"leaf in no map", [](Items& i) { i.drop(T::map, 2); }, "in no map"},
      {"map of nothing", [](Items& i) { i.put<u32>(T::map, 0, 0, 9); }, "of no volume"},
      {"map twice", [](Items& i) { i.twice(T::map); }, "out of order"},
      {"epochs before map", [](Items& i) { i.swap(T::map, T::epochs); }, "no such leaf|out of order"},
      {"map beyond", [](Items& i) { i.put<u32>(T::map, 0, 8, 1); }, "out of order"},
      {"no such leaf", [](Items& i) { i.put<u32>(T::map, 0, 16, 1); }, "no such leaf"},
      {"leaf elsewhere", [](Items& i) { i.put<u32>(T::map, 2, 16, 1); }, "two places"},
      {"epoch to come", [](Items& i) { i.put<u32>(T::epochs, 0, 16, 8); }, "epoch to come"},
      {"region beyond", [](Items& i) { i.put<u32>(T::epochs, 0, 8, 36); }, "out of order"},
      {"epochs of a snapshot", [](Items& i) { i.put<u32>(T::epochs, 0, 0, 2); }, "a snapshot has no epochs"},
      {"leaves", [](Items& i) { i.put<u32>(T::end, 0, 8, 5); }, "something is missing"},
      {"no end", [](Items& i) { i.drop(T::end); }, "does not end"},
      {"two ends", [](Items& i) { i.twice(T::end); }, "behind the end"},
  };
  const std::vector<std::byte> image = small_image();
  for (const BadImage& bad : table) {
    SCOPED_TRACE(bad.what);
    Items items(image);
    bad.change(items);
    const auto loaded = load_image(items.bytes());
    ASSERT_EQ(loaded.code(), Errc::bad_format);
    EXPECT_THAT(loaded.error().message(), testing::ContainsRegex(bad.text));
  }
  EXPECT_TRUE(load_image(Items(image).bytes()).ok());
}

// The checkpoint's checksum is the first guard. This is the second one: whatever comes through, comes out as a state
// that keeps its rules, or not at all.
TEST(Image, EachByteChangedIsRefusedOrMakesACleanState) {
  const std::vector<std::byte> image = small_image();
  std::size_t refused = 0, clean = 0;
  for (std::size_t at = 0; at < image.size(); ++at) {
    for (const unsigned flip : {0x01u, 0x02u, 0x10u, 0x80u, 0xffu}) {
      std::vector<std::byte> changed = image;
      changed[at] ^= std::byte(flip);
      const Result<std::unique_ptr<State>> loaded = load_image(changed);
      if (!loaded.ok()) {
        EXPECT_EQ(loaded.code(), Errc::bad_format);
        EXPECT_NE(loaded.error().message().find("byte "), std::string::npos) << loaded.error().message();
        ++refused;
        continue;
      }
      ++clean;
      const std::vector<std::string> breaches = check_invariants(*loaded.value());
      ASSERT_TRUE(breaches.empty()) << "byte " << at << ": " << breaches[0];
    }
  }
  EXPECT_GT(refused, image.size() * 2);
  EXPECT_GT(clean, 100u);  // names, UUIDs, free clusters in the place of others
}

TEST(Image, EachTruncationIsRefused) {
  const std::vector<std::byte> image = small_image();
  for (std::size_t length = 0; length < image.size(); ++length) {
    const auto loaded = load_image(std::span(image).first(length));
    ASSERT_EQ(loaded.code(), Errc::bad_format) << length;
  }
  std::vector<std::byte> more = image;
  more.insert(more.end(), image.begin(), image.begin() + 40);
  EXPECT_EQ(load_image(more).code(), Errc::bad_format);
  more.assign(image.begin(), image.end());
  more.push_back(std::byte{0});
  EXPECT_EQ(load_image(more).code(), Errc::bad_format);
}

double milliseconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - since).count();
}

// A volume of 1 TiB whose every cluster is mapped and every region has another epoch.
void fill(Builder& b, VolumeId volume, std::uint32_t clusters) {
  b.apply(EpochRecord{volume, 3, 0});
  for (std::uint32_t i = 0; i < clusters; ++i) {
    b.write(volume, i, 0, 256);
    b.apply(RegionRecord{volume, i, 1, 1 + i % 3});
  }
}

TEST(StateScale, MemoryAndSnapshotOfAVolumeOf1TiB) {
  constexpr std::uint32_t clusters = 1u << 20;
  Builder b(MiB, 2 * clusters);
  const VolumeId v = b.create(TiB);
  fill(b, v, clusters);
  const double per_mib = double(b.state.memory()) / clusters;
  std::printf("memory: %.2f bytes per allocated MiB\n", per_mib);
  EXPECT_LT(per_mib, 16.0);

  auto began = std::chrono::steady_clock::now();
  b.create(TiB, v);
  const double snapshot_ms = milliseconds(began);
  began = std::chrono::steady_clock::now();
  ImageWriter writer(b.state);
  const double pin_ms = milliseconds(began);
  writer.finish(b.effects);
  began = std::chrono::steady_clock::now();
  b.write(v, 77, 0, 1);
  const double copy_ms = milliseconds(began);
  std::printf("snapshot: %.3f ms, first write after it: %.3f ms, beginning a checkpoint: %.3f ms\n",
              snapshot_ms, copy_ms, pin_ms);
  b.apply(DeleteRecord{VolumeId{2}});
  began = std::chrono::steady_clock::now();
  b.state.apply(DeleteRecord{v}, b.effects);
  const double delete_ms = milliseconds(began);
  began = std::chrono::steady_clock::now();
  b.state.settle(b.effects);
  std::printf("deleting: %.1f ms, and %.1f ms until it is free\n", delete_ms, milliseconds(began));
  EXPECT_EQ(b.state.clusters().free_clusters(), 2 * clusters);
  // Generous: other programs run on this machine.
  EXPECT_LT(snapshot_ms, 50);
  EXPECT_LT(pin_ms, 50);
  EXPECT_LT(copy_ms, 50);
}

TEST(StateScale, ImageOf100VolumesWith10SnapshotsEach) {
  constexpr std::uint32_t mapped = 2048;  // clusters of each volume, and 64 written anew after each snapshot
  Builder b(MiB, 100 * (mapped + 10 * 64));
  for (int i = 0; i < 100; ++i) {
    const VolumeId v = b.create(100 * GiB);
    for (std::uint32_t c = 0; c < mapped; ++c) b.write(v, c * 7, 0, 256);
    for (std::uint32_t s = 0; s < 10; ++s) {
      b.create(100 * GiB, v);
      for (std::uint32_t c = 0; c < 64; ++c) b.write(v, (c * 32 + s) * 7, 0, 256);
    }
  }
  const std::vector<std::byte> image = image_of(b.state);
  const auto began = std::chrono::steady_clock::now();
  const auto loaded = load_image(image);
  const double ms = milliseconds(began);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  std::printf("image of %.1f MiB: %.0f ms to load\n", double(image.size()) / MiB, ms);
  EXPECT_LT(ms, 5000);
  EXPECT_EQ(loaded.value()->volumes().size(), 1100u);
  EXPECT_EQ(loaded.value()->clusters().free_clusters(), b.state.clusters().free_clusters());
}

}  // namespace
}  // namespace holdfast::pool
