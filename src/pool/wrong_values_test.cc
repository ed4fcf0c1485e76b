// Metadata with right checksums and wrong values, as a bug or an attacker may leave it: each is refused with a text
// that names the pool or disk and what is wrong, before anything is written; nothing ends the process.
#include <functional>
#include <limits>
#include <string>
#include <variant>
#include <vector>

#include "pool/check.h"
#include "pool/image_format.h"
#include "pool/testing/disk_editor.h"
#include "pool/testing/pool_bench.h"
#include "pool/testing/pool_exercise.h"

namespace holdfast::pool {
namespace {

using testing_support::BenchParams;
using testing_support::Bytes;
using testing_support::DiskEditor;
using testing_support::PoolBench;
using testing_support::PoolExercise;
using testing_support::uuid_of;

constexpr std::uint64_t u64_max = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t disk_bytes = 4 * MiB;
constexpr std::uint32_t u32_max = std::numeric_limits<std::uint32_t>::max();

// A pool that ended without a word, with a checkpoint and commits after it.
struct WrongValues : testing::Test {
  explicit WrongValues(unsigned count = 1) : bench(params(count)), disk(bench.disk(0)) {
    BlockDevice& v = bench.volume("v", 256 * KiB);
    bench.volume("thick", 128 * KiB, true);
    write(v, 0, 64 * KiB);
    EXPECT_EQ(bench.snapshot("v", "s"), Errc::ok);
    write(v, 4096, 4096);
    EXPECT_EQ(bench.clone("s", "c"), Errc::ok);
    EXPECT_TRUE(bench.machine.run(v.epochs()->announce(7)).ok());
    write(v, 128 * KiB, 4096);
    EXPECT_TRUE(bench.machine.run(bench.pool->checkpoint()).ok());
    write(v, 192 * KiB, 4096);
    EXPECT_TRUE(bench.machine.run(bench.pool->set_attributes(uuid_of("v"), {{"a", "b"}})).ok());
    crash();
  }
  static BenchParams params(unsigned count) {
    BenchParams p;
    p.disks = count;
    p.disk_bytes = disk_bytes;
    return p;
  }
  void write(BlockDevice& device, std::uint64_t offset, std::size_t length) {
    testing_support::OpenChannel channel(bench.machine, device);
    EXPECT_EQ(channel.write(offset / 512, testing_support::filled(length, 0x5a)), Errc::ok);
  }
  void crash() {
    for (std::size_t i = 0; i < bench.paths.size(); ++i) {
      disks.emplace_back(disk_bytes);
      bench.disk(i).peek(0, disks.back());
    }
    bench.close();
    restore();
  }
  void restore() {
    for (std::size_t i = 0; i < disks.size(); ++i) bench.disk(i).poke(0, disks[i]);
  }
  void change_label(const std::function<void(wire::Superblock&)>& change) {
    wire::Superblock w = disk.label();
    change(w);
    disk.put_label(w);
  }
  void change_commit(const std::function<void(wire::CommitHeader&)>& change) {
    auto commit = disk.commit(0);
    ASSERT_TRUE(commit);
    auto header = commit->header();
    change(header);
    store(std::span(commit->bytes), header);
    disk.put_commit(*commit);
  }
  // The first item of this type, without its header.
  template <Wire T>
  void change_item(wire::ItemType type, const std::function<void(T&)>& change) {
    Bytes image = disk.image();
    for (std::size_t at = 0; at < image.size();) {
      const auto header = load<wire::ItemHeader>(std::span(image).subspan(at));
      at += sizeof header;
      if (header.type == static_cast<std::uint16_t>(type)) {
        auto item = load<T>(std::span(image).subspan(at));
        change(item);
        store(std::span(image).subspan(at), item);
        return disk.put_image(image);
      }
      at += header.bytes;
    }
    FAIL() << "no such item";
  }
  Result<std::unique_ptr<Pool>> try_open() {
    return bench.machine.run(
        Pool::open(bench.machine.registry, bench.paths, "p", std::nullopt, bench.options, nullptr));
  }
  // Opening refuses it and changes nothing; the check finds it.
  void expect_refused(const std::vector<std::string>& parts) {
    std::vector<Bytes> before = disks;
    for (std::size_t i = 0; i < disks.size(); ++i) bench.disk(i).peek(0, before[i]);
    auto opened = try_open();
    EXPECT_FALSE(opened.ok()) << parts.back();
    if (opened.ok()) {
      EXPECT_TRUE(bench.machine.run(opened.value()->close()).ok());
      return;
    }
    EXPECT_TRUE(opened.code() == Errc::bad_format || opened.code() == Errc::failed_precondition);
    for (const std::string& part : parts)
      EXPECT_NE(opened.error().message().find(part), std::string::npos) << opened.error().message();
    for (std::size_t i = 0; i < disks.size(); ++i) {
      Bytes after(disks[i].size());
      bench.disk(i).peek(0, after);
      EXPECT_TRUE(after == before[i]) << "disk " << i << " was written: " << parts.back();
    }
    auto checked = bench.machine.run(check_pool(bench.machine.registry, bench.paths, true));
    ASSERT_TRUE(checked.ok()) << checked.error().message();
    EXPECT_FALSE(checked.value().findings.empty()) << parts.back();
  }
  void refused(const std::vector<std::string>& parts) {
    expect_refused(parts);
    restore();
  }
  // It opens, is used, and is clean afterwards.
  void opens_and_works(const char* what) {
    auto opened = try_open();
    ASSERT_TRUE(opened.ok()) << what << ": " << opened.error().message();
    exercise(*opened.value());
    EXPECT_TRUE(bench.machine.run(opened.value()->close()).ok());
    auto checked = bench.machine.run(check_pool(bench.machine.registry, bench.paths, false));
    ASSERT_TRUE(checked.ok());
    EXPECT_TRUE(checked.value().findings.empty()) << what << ": " << checked.value().findings.front();
    restore();
  }
  void exercise(Pool& pool) {
    const auto run = [this](auto task) { return bench.machine.run(std::move(task)); };
    PoolExercise(pool, bench.machine.home(), run).all();
  }

  PoolBench bench;
  DiskEditor disk;
  std::vector<Bytes> disks;  // as the crash left them
};

struct WrongValuesOfTwo : WrongValues {
  WrongValuesOfTwo() : WrongValues(2) {}
};

TEST_F(WrongValues, NothingChangedWorks) { opens_and_works("as it was"); }

TEST_F(WrongValues, CountersThatWouldWrap) {
  const std::pair<const char*, le64 wire::Superblock::*> counters[] = {
      {"the sequence of", &wire::Superblock::sequence},
      {"the incarnation of", &wire::Superblock::incarnation},
      {"the recovered sequence of", &wire::Superblock::recovered_sequence},
  };
  for (const auto& counter : counters) {
    change_label([&counter](wire::Superblock& w) { w.*counter.second = u64_max; });
    refused({"/dev/d0", "the superblock is damaged", counter.first});
  }
  change_label([](wire::Superblock& w) { w.root.sequence = u64_max; });
  refused({"/dev/d0", "the checkpoint's sequence of 18446744073709551615 is impossible"});
  change_label([](wire::Superblock& w) { w.root.journal_position = u64_max - 4095; });
  refused({"/dev/d0", "the checkpoint's position of 18446744073709547520 is impossible"});
}

TEST_F(WrongValues, NamesAndIdentitiesInTheLabel) {
  change_label([](wire::Superblock& w) { w.name[0] = 0x1b; });
  refused({"/dev/d0", "the name has control characters"});
  change_label([](wire::Superblock& w) { std::memset(w.instance, 0, sizeof w.instance); });
  refused({"/dev/d0", "instance is nil"});
  change_label([](wire::Superblock& w) { std::memset(w.pool_uuid, 0, sizeof w.pool_uuid); });
  refused({"/dev/d0", "the pool's UUID is nil"});
  change_label([](wire::Superblock& w) { std::memset(w.disk_uuid, 0, sizeof w.disk_uuid); });
  refused({"/dev/d0", "the disk's UUID is nil"});
  change_label([](wire::Superblock& w) {
    w.disk_count = 2;
    std::memcpy(w.members[1], w.members[0], sizeof w.members[1]);
  });
  refused({"/dev/d0", "names one of them twice"});
  change_label([](wire::Superblock& w) {
    w.disk_count = 2;
    w.members[1][3] = 9;
  });
  refused({"pool 'p'", "the label of disk 0 names a disk 1", "does not know"});
}

TEST_F(WrongValues, CopiesThatContradictEachOther) {
  wire::Superblock w = disk.label();
  w.recovered_sequence = w.recovered_sequence + 1;
  disk.put_copy(w, 1);
  refused({"/dev/d0", "its two copies contradict each other"});
  w = disk.label();
  w.sequence = w.sequence + 1;
  w.instance[0] ^= 1;
  disk.put_copy(w, 1);
  refused({"/dev/d0", "its two copies contradict each other"});
}

TEST_F(WrongValues, PlacesBeyondTheDisk) {
  change_label([](wire::Superblock& w) { w.disk_bytes = u64_max, w.data_offset = u64_max - 4095; });
  refused({"disk '/dev/d0' has become smaller", "4 MiB"});
  change_label([](wire::Superblock& w) { w.root.first_cluster = u32_max; });
  refused({"pool 'p'", "the checkpoint", "beyond the end of its disk"});
  change_item<wire::Segment>(wire::ItemType::segment, [](wire::Segment& s) { s.count = s.count + 1; });
  refused({"pool 'p'", "disk '/dev/d0' has become smaller", "clusters up to number"});
}

TEST_F(WrongValues, ACheckpointThatLiesInDataOrOutside) {
  std::uint32_t last = 0;
  change_item<wire::Segment>(wire::ItemType::segment,
                             [&last](wire::Segment& s) { s.count = last = s.count - 1; });
  const Bytes image = disk.image();
  const wire::ImagePieceHeader piece = disk.piece();
  change_label([last](wire::Superblock& w) { w.root.first_cluster = last; });
  disk.put_image(image, piece);
  refused({"pool 'p'", "the checkpoint lies in cluster", "/dev/d0", "is not of the pool"});
  const std::uint32_t lies_in = disk.label().root.first_cluster;
  const Record over = WriteRecord{VolumeId{1}, 3, Cluster{lies_in}, 0, 16};
  disk.put_records(*disk.commit(1), std::span(&over, 1));
  refused({"pool 'p'", "the checkpoint lies in cluster", "/dev/d0", "has data of a volume"});
}

TEST_F(WrongValues, ImagesThatCannotBe) {
  const Bytes whole = disk.image();
  // Without disks: the items of the start and the end alone, which fit each other.
  Bytes empty(whole.begin(), whole.begin() + sizeof(wire::ItemHeader) + sizeof(wire::ImageStart));
  auto start = load<wire::ImageStart>(std::span(empty).subspan(sizeof(wire::ItemHeader)));
  start.disks = start.segments = start.volumes = 0;
  store(std::span(empty).subspan(sizeof(wire::ItemHeader)), start);
  const wire::ImageEnd end{empty.size(), 0, 0};
  const wire::ItemHeader header{sizeof end, static_cast<std::uint16_t>(wire::ItemType::end), 0};
  const auto header_bytes = bytes_of(header), end_bytes = bytes_of(end);
  empty.insert(empty.end(), header_bytes.begin(), header_bytes.end());
  empty.insert(empty.end(), end_bytes.begin(), end_bytes.end());
  disk.put_image(empty);
  change_label(
      [](wire::Superblock& w) { w.root.sequence = w.root.sequence + 100, w.recovered_sequence = 0; });
  auto piece = disk.piece();
  piece.sequence = disk.label().root.sequence;
  disk.put_piece(piece);
  refused({"pool 'p'", "names a disk 0", "does not know"});

  change_item<wire::ImageStart>(wire::ItemType::image, [](wire::ImageStart& s) { s.next_id = 0; });
  refused({"pool 'p'", "image at byte 0", "no such volume id"});
  change_item<wire::Spec>(wire::ItemType::volume, [](wire::Spec& s) { s.size_bytes = u64_max; });
  refused({"pool 'p'", "a volume has no such size"});
  change_item<wire::MapRun>(wire::ItemType::map, [](wire::MapRun& r) { r.count = u32_max; });
  refused({"pool 'p'", "image at byte"});
}

TEST_F(WrongValues, ReservedBytesOfAPiece) {
  auto piece = disk.piece();
  piece.rsvd[13] = 1;
  disk.put_piece(piece);
  refused({"pool 'p'", "damaged in piece 0", "reserved bytes are set"});
  piece = disk.piece();
  piece.next_cluster = 1;
  disk.put_piece(piece);
  refused({"pool 'p'", "damaged in piece 0", "it leads on"});
}

TEST_F(WrongValues, CommitsThatNoPoolWrites) {
  change_commit([](wire::CommitHeader& h) { h.flags = 2; });
  refused({"/dev/d0", "of the journal is wrong", "reserved flags"});
  change_commit([](wire::CommitHeader& h) { h.record_bytes = u32_max; });
  refused({"/dev/d0", "of the journal is wrong", "its length"});
  change_commit([](wire::CommitHeader& h) { h.record_bytes = h.record_bytes - 1; });
  refused({"/dev/d0", "of the journal is wrong", "bytes behind its records"});
  change_commit([](wire::CommitHeader& h) { h.durable_sequence = h.sequence; });
  refused({"/dev/d0", "of the journal is wrong", "durable before"});
}

TEST_F(WrongValues, RecordsThatCannotBe) {
  const auto refuse = [this](const Record& record, const std::string& why) {
    disk.put_records(*disk.commit(1), std::span(&record, 1));
    refused({"pool 'p'", "/dev/d0", "of the journal is wrong", why});
  };
  refuse(SettledRecord{u64_max}, "settled before it is written");
  refuse(SettledRecord{disk.commit(1)->header().sequence}, "settled before it is written");
  refuse(WriteRecord{VolumeId{1}, 4, Cluster{1}, 0, 16}, "behind its end");
  refuse(WriteRecord{VolumeId{1}, 3, Cluster{u32_max}, 0, 16}, "beyond the disks");
  refuse(GrowRecord{Segment{disk.label().root.first_cluster, 4, 0, 0}}, "segment");
  refuse(RevertRecord{VolumeId{1}, VolumeId{1}}, "is no snapshot");
  refuse(EpochRecord{VolumeId{1}, 7, 8}, "sealed");
}

// What the disk says it has grown by is not there.
TEST_F(WrongValues, AGrowthBeyondTheDisk) {
  std::uint32_t clusters = 0;
  change_item<wire::Segment>(wire::ItemType::segment, [&clusters](wire::Segment& s) { clusters = s.count; });
  const Record grown = GrowRecord{Segment{clusters, clusters_max - clusters, 0, clusters}};
  disk.put_records(*disk.commit(1), std::span(&grown, 1));
  refused({"pool 'p'", "disk '/dev/d0' has become smaller"});
}

// Disks that are missing are named together, whether the checkpoint knows them or the journal.
TEST_F(WrongValues, ADiskThatTheJournalAddedIsMissing) {
  std::uint32_t clusters = 0;
  change_item<wire::Segment>(wire::ItemType::segment, [&clusters](wire::Segment& s) { clusters = s.count; });
  const Record added[] = {
      AddDiskRecord{DiskRecord{1, Uuid::from_name("x"), "x"}, Segment{clusters, 100, 1, 0}},
      WriteRecord{VolumeId{1}, 3, Cluster{clusters + 7}, 0, 16},
      AddDiskRecord{DiskRecord{2, Uuid::from_name("y"), "y"}, Segment{clusters + 100, 100, 2, 0}}};
  disk.put_records(*disk.commit(1), added);
  refused({"pool 'p'", "disk 1", "last seen as 'x'", "disk 2", "last seen as 'y'", "missing"});
}

// Numbers that are used up end what needs a further one, not the pool.
TEST_F(WrongValues, NumbersThatAreUsedUp) {
  change_item<wire::ImageStart>(wire::ItemType::image, [](wire::ImageStart& s) { s.next_id = u32_max; });
  change_item<wire::Spec>(wire::ItemType::volume, [](wire::Spec& s) { s.epoch = u32_max; });
  auto opened = try_open();
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  Pool& pool = *opened.value();
  VolumeParams params;
  params.name = "w";
  params.uuid = uuid_of("w");
  params.size_bytes = 64 * KiB;
  const auto made = bench.machine.run(pool.create_volume(params));
  EXPECT_EQ(made.code(), Errc::failed_precondition);
  EXPECT_NE(made.error().message().find("all volume ids are used"), std::string::npos);
  const Status reverted = bench.machine.run(pool.revert_volume(uuid_of("v"), uuid_of("s")));
  EXPECT_EQ(reverted.code(), Errc::failed_precondition);
  EXPECT_NE(reverted.error().message().find("it has had all epochs"), std::string::npos);
  exercise(pool);
  EXPECT_TRUE(bench.machine.run(pool.close()).ok());
  opened = try_open();
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  EXPECT_TRUE(bench.machine.run(opened.value()->close()).ok());
}

TEST_F(WrongValuesOfTwo, DisksThatDoNotFitEachOther) {
  DiskEditor second(bench.disk(1));
  wire::Superblock w = second.label();
  w.cluster_bytes = 128 * KiB;
  second.put_label(w);
  refused({"/dev/d0", "/dev/d1", "has clusters of", "64 KiB", "128 KiB"});
  w = second.label();
  w.data_offset = w.disk_bytes = 5 * MiB;
  second.put_label(w);
  refused({"disk '/dev/d1' has become smaller"});
  wire::Superblock first = disk.label();
  std::memcpy(first.disk_uuid, second.label().disk_uuid, sizeof first.disk_uuid);
  std::memcpy(first.members[0], first.disk_uuid, sizeof first.disk_uuid);
  std::memset(first.members[1], 3, sizeof first.members[1]);
  second.put_label(first);
  refused({"/dev/d0", "/dev/d1", "are both disk 0"});
}

// The image of an empty pool of one disk, which came in so many segments.
Bytes image_of_segments(const Bytes& image, std::size_t count) {
  Bytes made;
  const auto put = [&made](const auto& part) {
    const auto bytes = bytes_of(part);
    made.insert(made.end(), bytes.begin(), bytes.end());
  };
  for (std::size_t at = 0; at < image.size();) {
    const auto header = load<wire::ItemHeader>(std::span(image).subspan(at));
    const auto body = std::span(image).subspan(at + sizeof header, header.bytes);
    at += sizeof header + header.bytes;
    const auto type = static_cast<wire::ItemType>(header.type.get());
    if (type == wire::ItemType::image) {
      auto start = load<wire::ImageStart>(body);
      start.segments = static_cast<std::uint32_t>(count);
      put(header);
      put(start);
    } else if (type == wire::ItemType::segment) {
      auto segment = load<wire::Segment>(body);
      const std::uint32_t clusters = segment.count;
      for (std::uint32_t i = 0; i < count; ++i) {
        segment.first = segment.disk_first = i;
        segment.count = i + 1 < count ? 1 : clusters - i;
        put(header);
        put(segment);
      }
    } else if (type == wire::ItemType::end) {
      const wire::ImageEnd end{made.size(), 0, 0};
      put(header);
      put(end);
    } else {
      made.insert(made.end(), image.begin() + (body.data() - image.data()) - sizeof header,
                  image.begin() + (body.data() - image.data()) + header.bytes);
    }
  }
  return made;
}

TEST(WrongNumbers, OfSegments) {
  BenchParams params;
  params.cluster_bytes = 2 * MiB;
  params.disk_bytes = 150 * GiB;
  PoolBench bench(params);
  bench.close();
  DiskEditor disk(bench.disk(0));
  const Bytes image = disk.image();
  const auto open = [&bench] {
    return bench.machine.run(
        Pool::open(bench.machine.registry, bench.paths, "p", std::nullopt, bench.options, nullptr));
  };
  disk.put_image(image_of_segments(image, segments_max + 1));
  const auto refused = open();
  EXPECT_EQ(refused.code(), Errc::bad_format);
  EXPECT_NE(refused.error().message().find("too many segments"), std::string::npos);
  disk.put_image(image_of_segments(image, segments_max));
  auto opened = open();
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  bench.pool = std::move(opened).value();
  bench.disk(0).resize(151 * GiB);
  EXPECT_EQ(bench.machine.run(bench.pool->grow()).code(), Errc::resource_exhausted);
  bench.add_disk(GiB);
  EXPECT_EQ(bench.machine.run(bench.pool->add_disk("/dev/d1", false)).code(), Errc::resource_exhausted);
}

// Every byte of the metadata has another value in turn, under a right checksum: it is refused, or it is another pool,
// which works as any does.
TEST_F(WrongValues, EveryByte) {
  unsigned opened = 0, refused = 0;
  const auto try_it = [&](const char* what, std::size_t at) {
    auto before = bench.machine.run(check_pool(bench.machine.registry, bench.paths, false));
    ASSERT_TRUE(before.ok()) << what << ' ' << at;
    const bool clean = before.value().findings.empty();
    auto pool = try_open();
    // One that a newer release made may only be read, which needs data in its place.
    const bool may_refuse = !clean || before.value().superblock.read_only();
    EXPECT_TRUE(pool.ok() || may_refuse) << what << ' ' << at << ": " << pool.error().message();
    ++(pool.ok() ? opened : refused);
    if (pool.ok()) {
      exercise(*pool.value());
      EXPECT_TRUE(bench.machine.run(pool.value()->close()).ok());
      auto after = bench.machine.run(check_pool(bench.machine.registry, bench.paths, false));
      ASSERT_TRUE(after.ok());
      EXPECT_TRUE(!clean || after.value().findings.empty()) << what << ' ' << at;
    }
    restore();
  };
  const auto other = [](std::byte b, std::size_t at) { return b ^ static_cast<std::byte>(1 << at * 5 % 8); };
  const std::size_t name = offsetof(wire::Superblock, name);
  for (std::size_t at = offsetof(wire::Superblock, sequence); at < 1000; at += at < name ? 1 : 17) {
    if (at == name) continue;  // another pool, which is refused by its name
    wire::Superblock w = disk.label();
    auto* const bytes = reinterpret_cast<std::byte*>(&w);
    bytes[at] = other(bytes[at], at);
    disk.put_label(w);
    try_it("label", at);
  }
  const std::size_t image_bytes = disk.image().size();
  for (std::size_t at = 0; at < image_bytes; ++at) {
    Bytes image = disk.image();
    image[at] = other(image[at], at);
    disk.put_image(image);
    try_it("image", at);
  }
  for (unsigned number = 0; disk.commit(number); ++number) {
    for (std::size_t at = 8; at < 192; ++at) {
      auto commit = disk.commit(number);
      commit->bytes[at] = other(commit->bytes[at], at);
      disk.put_commit(std::move(*commit));
      try_it("commit", at);
    }
  }
  EXPECT_GT(opened, 100u);
  EXPECT_GT(refused, 100u);
}

}  // namespace
}  // namespace holdfast::pool
