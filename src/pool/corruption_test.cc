// Damage to the metadata of a small pool, byte by byte: it is refused with a reason, or repaired; nothing else.
#include <array>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "pool/check.h"
#include "pool/format.h"
#include "pool/pool.h"
#include "pool/superblock.h"
#include "pool/testing/pool_bench.h"

namespace holdfast::pool {
namespace {

using testing_support::BenchParams;
using testing_support::Bytes;
using testing_support::PoolBench;
using testing_support::Tracked;

struct Range {
  const char* what;
  std::uint64_t offset;
  std::uint64_t length;
  unsigned step;
};

// A pool of one disk, and its disk as it was at one moment.
struct CorruptionTest : testing::Test {
  CorruptionTest() : bench(params()) {
    bench.volume("v", 128 * KiB);
    bench.volume("w", 128 * KiB);
    remember("v");
    EXPECT_EQ(bench.snapshot("v", "s"), Errc::ok);
    contents["s"] = contents["v"];
    EXPECT_TRUE(bench.machine.run(bench.pool->checkpoint()).ok());
    remember("w");
  }
  static BenchParams params() {
    BenchParams p;
    p.disk_bytes = 4 * MiB;
    return p;
  }
  void remember(const std::string& name) {
    Tracked t(bench, bench.device(name));
    EXPECT_EQ(t.write(4096, 8192), Errc::ok);
    EXPECT_EQ(t.write(68 * KiB, 4096), Errc::ok);
    contents[name] = t.bytes;
  }
  Bytes peek(std::uint64_t offset, std::size_t length) {
    Bytes b(length);
    bench.disk(0).peek(offset, b);
    return b;
  }
  // The label as the pool left it.
  Superblock superblock() {
    Superblock newest;
    for (unsigned copy : {0u, 1u}) {
      auto parsed = parse_superblock(peek(wire::superblock_offsets[copy], wire::superblock_bytes), copy);
      if (parsed.ok() && parsed.value().sequence > newest.sequence) newest = std::move(parsed).value();
    }
    return newest;
  }
  // What opening changes, and this test needs again.
  void save() {
    for (unsigned copy : {0u, 1u})
      labels[copy] = peek(wire::superblock_offsets[copy], wire::superblock_bytes);
    image_at = image_offset();
    image = peek(image_at, 64 + superblock().root.image_bytes);
  }
  void restore() {
    bench.disk(0).poke(image_at, image);
    for (unsigned copy : {0u, 1u}) bench.disk(0).poke(wire::superblock_offsets[copy], labels[copy]);
  }

  // Opens what is there. Every volume that shows is as it was written, or without its last writes.
  std::string try_open(unsigned& opened, unsigned& refused) {
    auto tried = bench.machine.run(
        Pool::open(bench.machine.registry, bench.paths, "p", std::nullopt, bench.options, nullptr));
    if (!tried.ok()) {
      ++refused;
      const Errc code = tried.code();
      const bool known =
          code == Errc::bad_format || code == Errc::not_supported || code == Errc::failed_precondition;
      return known && tried.error().message().size() > 10 ? "" : "refused with " + tried.error().message();
    }
    ++opened;
    bench.pool = std::move(tried).value();
    std::string wrong;
    for (const VolumeView& view : bench.pool->volumes()) {
      const auto expected = contents.find(view.spec.name);
      if (expected == contents.end()) {
        wrong = "a volume " + view.spec.name;
        continue;
      }
      Tracked t(bench, bench.device(view.spec.name));
      const Bytes got = t.channel.content(0, view.spec.size_bytes);
      for (std::size_t i = 0; i < got.size() && wrong.empty(); ++i) {
        if (got[i] != expected->second[i] && got[i] != std::byte{0})
          wrong = "byte " + std::to_string(i) + " of " + view.spec.name;
      }
    }
    if (bench.pool->volumes().size() < 3) wrong = "a volume is missing";
    bench.close();
    return wrong;
  }

  void damage(const Range& range) {
    unsigned opened = 0, refused = 0;
    for (std::uint64_t at = range.offset; at < range.offset + range.length; at += range.step) {
      Bytes one = peek(at, 1);
      Bytes changed = one;
      changed[0] ^= static_cast<std::byte>(1 << (at * 5 + at / 64) % 8);
      bench.disk(0).poke(at, changed);
      const std::string wrong = try_open(opened, refused);
      ASSERT_EQ(wrong, "") << range.what << ", byte " << at - range.offset;
      bench.disk(0).poke(at, one);
      restore();
    }
    RecordProperty(std::string(range.what) + "_opened", static_cast<int>(opened));
    RecordProperty(std::string(range.what) + "_refused", static_cast<int>(refused));
  }
  std::uint64_t image_offset() {
    const Superblock s = superblock();
    return s.data_offset + std::uint64_t{s.root.first.cluster} * s.cluster_bytes;
  }
  // Ends the pool without a word, as a crash does: what is on the disk is what was written until now.
  void crash() {
    std::vector<std::byte> all(params().disk_bytes);
    bench.disk(0).peek(0, all);
    bench.close();
    bench.disk(0).poke(0, all);
    save();
  }

  PoolBench bench;
  std::map<std::string, Bytes> contents;
  std::array<Bytes, 2> labels;
  std::uint64_t image_at = 0;
  Bytes image;
};

TEST_F(CorruptionTest, BytesOfTheMetadata) {
  crash();
  const Superblock s = superblock();
  ASSERT_FALSE(s.clean);
  const std::uint64_t commits = s.root.journal_position % s.journal_bytes + s.journal_offset;
  const Range ranges[] = {
      {"label_a", wire::superblock_offsets[0], 256, 1},
      {"label_a_rest", wire::superblock_offsets[0] + 256, 3840, 61},
      {"label_b", wire::superblock_offsets[1], 256, 1},
      {"label_b_rest", wire::superblock_offsets[1] + 256, 3840, 61},
      {"checkpoint", image_offset(), 64 + s.root.image_bytes, 1},
      {"first_commit", commits, 256, 1},
      {"second_commit", commits + 4096, 256, 1},
      {"last_commit", commits + 8192, 256, 3},
      {"behind", commits + 12288, 256, 7},
  };
  for (const Range& range : ranges) damage(range);
}

// A change that was acknowledged is not dropped because its commit, the newest one, is damaged afterwards. Only in the
// first second it cannot be told from one that a loss of power tore.
TEST_F(CorruptionTest, TheNewestCommit) {
  bench.settle();
  for (const bool rested : {false, true}) {
    const std::string name = rested ? "rested" : "fresh";
    const std::uint64_t before = bench.pool->view().journal_used_bytes;
    bench.volume(name, 128 * KiB);
    contents[name] = Bytes(128 * KiB);
    if (rested) bench.settle();
    crash();
    const Superblock s = superblock();
    const std::uint64_t commit = s.journal_offset + (s.root.journal_position + before) % s.journal_bytes;
    ASSERT_EQ(load<wire::CommitHeader>(peek(commit, sizeof(wire::CommitHeader))).magic,
              wire::CommitHeader::magic_value);
    unsigned opened = 0, refused = 0;
    for (std::uint64_t byte = 0; byte < 4096; byte += byte < 256 ? 5 : 101) {
      const Bytes whole = peek(commit + byte, 1);
      bench.disk(0).poke(commit + byte, Bytes{whole[0] ^ std::byte{0x10}});
      ASSERT_EQ(try_open(opened, refused), "") << name << " " << byte;
      bench.disk(0).poke(commit + byte, whole);
      restore();
    }
    EXPECT_EQ(rested ? opened : refused, 0u) << name;
    EXPECT_GT(rested ? refused : opened, 0u) << name;
    bench.open();
    ASSERT_TRUE(bench.pool->find(name).ok());
  }
}

// All of it, which takes a while: the test `pool_corruption` of ctest runs it.
TEST_F(CorruptionTest, DISABLED_EveryByteOfTheMetadata) {
  crash();
  const Superblock s = superblock();
  const std::uint64_t commits = s.root.journal_position % s.journal_bytes + s.journal_offset;
  const Range ranges[] = {
      {"label_a", wire::superblock_offsets[0], wire::superblock_bytes, 1},
      {"label_b", wire::superblock_offsets[1], wire::superblock_bytes, 1},
      {"checkpoint", image_offset(), 64 + s.root.image_bytes, 1},
      {"commits", commits, std::uint64_t{4} * wire::commit_alignment, 1},
  };
  for (const Range& range : ranges) damage(range);
}

TEST_F(CorruptionTest, TheCheckSeesWhatOpeningWouldRefuse) {
  bench.close();
  save();
  const auto findings = [&] {
    auto checked = bench.machine.run(check_pool(bench.machine.registry, bench.paths, true));
    EXPECT_TRUE(checked.ok());
    return checked.ok() ? checked.value().findings : std::vector<std::string>{"?"};
  };
  EXPECT_TRUE(findings().empty());
  const std::uint64_t at = image_offset() + 70;
  const Bytes whole = peek(at, 1);
  bench.disk(0).poke(at, Bytes{whole[0] ^ std::byte{1}});
  ASSERT_EQ(findings().size(), 1u);
  EXPECT_NE(findings().front().find("checkpoint is damaged"), std::string::npos) << findings().front();
  bench.disk(0).poke(at, whole);
  // One copy of the label is enough; the check tells it apart from two.
  bench.disk(0).poke(100, Bytes{std::byte{0x77}});
  auto checked = bench.machine.run(check_pool(bench.machine.registry, bench.paths, false));
  ASSERT_TRUE(checked.ok());
  EXPECT_TRUE(checked.value().findings.empty());
  ASSERT_EQ(checked.value().notes.size(), 1u);
  EXPECT_NE(checked.value().notes[0].find("label"), std::string::npos);
  bench.disk(0).poke(wire::superblock_offsets[1] + 100, Bytes{std::byte{0x77}});
  ASSERT_EQ(findings().size(), 1u);
  restore();
  EXPECT_TRUE(findings().empty());
}

TEST_F(CorruptionTest, EachStructureCutShort) {
  crash();
  const Superblock whole = superblock();
  const std::pair<const char*, std::function<void(Superblock&)>> cuts[] = {
      {"image", [](Superblock& s) { s.root.image_bytes -= 1; }},
      {"image by half", [](Superblock& s) { s.root.image_bytes /= 2; }},
      {"ring", [](Superblock& s) { s.journal_bytes = Journal::bytes_min; }},
      {"members", [](Superblock& s) { s.members.push_back(Uuid::from_name("x")); }},
  };
  for (const auto& [what, cut] : cuts) {
    Superblock s = whole;
    cut(s);
    for (unsigned copy : {0u, 1u}) {
      Bytes bytes(wire::superblock_bytes);
      encode(s, copy, bytes);
      bench.disk(0).poke(wire::superblock_offsets[copy], bytes);
    }
    unsigned opened = 0, refused = 0;
    EXPECT_EQ(try_open(opened, refused), "") << what;
    restore();
  }
}

TEST(CorruptionOfLabels, OpeningMendsThoseOfEveryDisk) {
  BenchParams params;
  params.disks = 2;
  for (const unsigned copy : {0u, 1u}) {
    PoolBench bench(params);
    bench.close();
    bench.disk(1).poke(wire::superblock_offsets[copy] + 512, Bytes(64, std::byte{0x55}));
    bench.open();
    bench.close();
    auto checked = bench.machine.run(check_pool(bench.machine.registry, bench.paths, false));
    ASSERT_TRUE(checked.ok());
    EXPECT_TRUE(checked.value().notes.empty()) << checked.value().notes.front();
  }
}

TEST(CorruptionOfLabels, ACopyThatCannotBeReadIsAsOneThatIsDamaged) {
  BenchParams params;
  params.disks = 2;
  for (const std::size_t i : {0u, 1u}) {
    for (const std::uint64_t copy : wire::superblock_offsets) {
      PoolBench bench(params);
      bench.close();
      bench.disk(i).faults().bad.push_back({.offset = copy, .length = 4096, .reads = true, .writes = false});
      bench.open();
      bench.disk(i).faults().bad.clear();
      bench.close();
      auto checked = bench.machine.run(check_pool(bench.machine.registry, bench.paths, false));
      ASSERT_TRUE(checked.ok());
      EXPECT_TRUE(checked.value().findings.empty() && checked.value().notes.empty());
    }
  }
}

}  // namespace
}  // namespace holdfast::pool
