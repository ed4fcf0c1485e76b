#include "pool/superblock.h"

#include <algorithm>
#include <functional>
#include <string>

#include "base/crc32c.h"
#include "pool/testing/pool_machine.h"

namespace holdfast::pool {
namespace {

using testing_support::Bytes;
using testing_support::Machine;
using testing_support::OpenDisk;

Uuid uuid_of(int n) { return Uuid::from_name("u" + std::to_string(n)); }

Superblock first_disk() {
  Superblock s;
  s.sequence = 7;
  s.compatible = 1;
  s.pool_uuid = uuid_of(1);
  s.disk_uuid = uuid_of(2);
  s.instance = uuid_of(3);
  s.cluster_bytes = MiB;
  s.journal_offset = MiB;
  s.journal_bytes = 4 * MiB;
  s.data_offset = 5 * MiB;
  s.disk_bytes = 100 * MiB;
  s.incarnation = 3;
  s.root = Root{9, 8192, 100, 5, 1, {1, 4}};
  s.recovered_sequence = 11;
  s.members = {uuid_of(2), uuid_of(4)};
  s.name = "p";
  return s;
}

Superblock other_disk() {
  Superblock s = first_disk();
  s.disk_uuid = uuid_of(4);
  s.disk_index = 1;
  s.journal_offset = s.journal_bytes = s.incarnation = s.recovered_sequence = 0;
  s.data_offset = MiB;
  s.root = Root();
  s.members.clear();
  return s;
}

Bytes bytes_of(const Superblock& s, unsigned copy = 0) {
  Bytes b(wire::superblock_bytes);
  encode(s, copy, b);
  return b;
}

TEST(Superblock, IsReadAsItWasWritten) {
  for (const Superblock& s : {first_disk(), other_disk()}) {
    for (unsigned copy : {0u, 1u}) {
      auto parsed = parse_superblock(bytes_of(s, copy), copy);
      ASSERT_TRUE(parsed.ok()) << parsed.error().message();
      EXPECT_EQ(parsed.value(), s);
    }
  }
}

TEST(Superblock, EveryFlippedBitIsSeen) {
  const Bytes whole = bytes_of(first_disk());
  for (std::size_t at = 0; at < whole.size(); ++at) {
    Bytes flipped = whole;
    flipped[at] ^= static_cast<std::byte>(1 << at % 8);
    const auto parsed = parse_superblock(flipped, 0);
    EXPECT_EQ(parsed.code(), at < 8 ? Errc::not_found : Errc::bad_format) << at;
  }
}

TEST(Superblock, RefusesWhatCannotBe) {
  struct Case {
    const char* what;
    std::function<void(wire::Superblock&)> change;
    Errc code = Errc::bad_format;
  };
  const Case cases[] = {
      {"newer version", [](auto& w) { w.version = 2; }, Errc::not_supported},
      {"unknown incompatible feature", [](auto& w) { w.incompatible = 4; }, Errc::not_supported},
      {"encrypted", [](auto& w) { w.cipher = 1; }, Errc::not_supported},
      {"the other copy", [](auto& w) { w.copy = 1; }},
      {"reserved bytes", [](auto& w) { w.rsvd2[2559] = 1; }},
      {"reserved flags", [](auto& w) { w.flags = 2; }},
      {"no name", [](auto& w) { w.name_bytes = 0; }},
      {"bytes behind the name", [](auto& w) { w.name[3] = 'x'; }},
      {"long name", [](auto& w) { w.name_bytes = 256; }},
      {"cluster size 0", [](auto& w) { w.cluster_bytes = 0; }},
      {"cluster size 3 MiB", [](auto& w) { w.cluster_bytes = 3 << 20; }},
      {"cluster size 32 MiB", [](auto& w) { w.cluster_bytes = 32 << 20; }},
      {"disk number", [](auto& w) { w.disk_index = disks_max; }},
      {"data before the label's end", [](auto& w) { w.data_offset = 4096; }},
      {"data beyond the disk", [](auto& w) { w.data_offset = 101 * MiB; }},
      {"journal over the data", [](auto& w) { w.journal_bytes = 5 * MiB; }},
      {"journal overflow", [](auto& w) { w.journal_bytes = ~std::uint64_t{4095}; }},
      {"journal too small", [](auto& w) { w.journal_bytes = 4096; }},
      {"image without bytes", [](auto& w) { w.root.image_bytes = 0; }},
      {"image too long", [](auto& w) { w.root.image_bytes = 2 * wire::image_payload_max; }},
      {"never opened", [](auto& w) { w.incarnation = 0; }},
      {"checkpoint position", [](auto& w) { w.root.journal_position = 100; }},
      {"no members", [](auto& w) { w.disk_count = 0; }},
      {"more members than named", [](auto& w) { w.disk_count = 3; }},
      {"image on no member", [](auto& w) { w.root.first_disk = 2; }},
      {"a checkpoint, and unfinished", [](auto& w) { w.incompatible = 1; }},
      {"journal on disk 1", [](auto& w) { w.disk_index = 1; }},
  };
  for (const Case& c : cases) {
    auto w = load<wire::Superblock>(bytes_of(first_disk()));
    c.change(w);
    w.crc32c = 0;
    w.crc32c = crc32c(holdfast::bytes_of(w));
    const auto parsed = parse_superblock(holdfast::bytes_of(w), 0);
    EXPECT_EQ(parsed.code(), c.code) << c.what;
    EXPECT_TRUE(parsed.ok() || !parsed.error().message().empty()) << c.what;
  }
}

TEST(Superblock, FeaturesThatAllowReadingMakeItReadOnly) {
  Superblock s = first_disk();
  s.read_only_compatible = 8;
  auto parsed = parse_superblock(bytes_of(s), 0);
  ASSERT_TRUE(parsed.ok());
  EXPECT_TRUE(parsed.value().read_only());
}

Superblock unfinished_disk() {
  Superblock s = first_disk();
  s.incompatible = incompatible_unfinished;
  s.root = Root();
  s.members.clear();
  return s;
}

TEST(Superblock, UnfinishedItHasNoCheckpoint) {
  auto parsed = parse_superblock(bytes_of(unfinished_disk()), 0);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message();
  EXPECT_TRUE(parsed.value().unfinished());
  EXPECT_EQ(parsed.value(), unfinished_disk());
  EXPECT_FALSE(first_disk().unfinished());
}

TEST(Superblock, WithoutACheckpointItNamesNoMembers) {
  Superblock second = unfinished_disk();
  second.incompatible = 0;
  second.disk_index = 1;
  second.journal_offset = second.journal_bytes = second.incarnation = second.recovered_sequence = 0;
  for (const Superblock& s : {unfinished_disk(), second}) {
    auto w = load<wire::Superblock>(bytes_of(s));
    EXPECT_TRUE(parse_superblock(holdfast::bytes_of(w), 0).ok());
    w.members[0][0] = 1;
    w.crc32c = 0;
    w.crc32c = crc32c(holdfast::bytes_of(w));
    EXPECT_EQ(parse_superblock(holdfast::bytes_of(w), 0).code(), Errc::bad_format);
  }
}

struct LabelTest : testing::Test {
  Machine machine;
  OpenDisk disk{machine, "malloc:///d?size_mb=8"};
  Result<Label> read() { return machine.run(read_label(machine.home(), disk.port())); }
  Status write(Label& label) { return machine.run(write_label(machine.home(), disk.port(), label)); }
};

TEST_F(LabelTest, AbsentWrittenUpdatedErased) {
  EXPECT_EQ(read().code(), Errc::not_found);
  Label label;
  label.superblock = first_disk();
  ASSERT_TRUE(write(label).ok());
  auto found = read();
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found.value().superblock, label.superblock);
  EXPECT_TRUE(found.value().copies_agree);
  EXPECT_EQ(label.superblock.sequence, 8u);
  ASSERT_TRUE(machine.run(wipe_label(disk.port())).ok());
  EXPECT_EQ(read().code(), Errc::not_found);
}

TEST_F(LabelTest, TheLargerSequenceCounts) {
  Superblock older = first_disk(), newer = first_disk();
  newer.sequence = 8;
  for (unsigned copy : {0u, 1u}) {
    disk.write(wire::superblock_offsets[copy], bytes_of(newer, copy));
    disk.write(wire::superblock_offsets[1 - copy], bytes_of(older, 1 - copy));
    auto found = read();
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(found.value().superblock.sequence, 8u);
    EXPECT_EQ(found.value().newest, copy);
    EXPECT_FALSE(found.value().copies_agree);
  }
}

TEST_F(LabelTest, OneCopyIsEnoughAndTheOtherIsWrittenFirst) {
  Label label;
  label.superblock = first_disk();
  for (unsigned damaged : {0u, 1u}) {
    ASSERT_TRUE(write(label).ok());
    disk.write(wire::superblock_offsets[damaged] + 512, Bytes(512, std::byte{0x55}));
    auto found = read();
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(found.value().newest, 1 - damaged);
    EXPECT_FALSE(found.value().copies_agree);
  }
  disk.write(wire::superblock_offsets[0] + 512, Bytes(512, std::byte{0x55}));
  EXPECT_EQ(read().code(), Errc::bad_format);
}

// Whatever of the first copy gets to a disk that had no label, or goes last from one that was erased.
TEST_F(LabelTest, APartOfAnUnfinishedLabelIsNone) {
  for (unsigned copy : {0u, 1u}) {
    for (std::size_t kept = 512; kept < wire::superblock_bytes; kept += 512) {
      Bytes part = bytes_of(unfinished_disk(), copy);
      std::fill(part.begin() + static_cast<std::ptrdiff_t>(kept), part.end(), std::byte{0x55});
      disk.write(wire::superblock_offsets[copy], part);
      disk.write(wire::superblock_offsets[1 - copy], Bytes(wire::superblock_bytes));
      const auto found = read();
      EXPECT_EQ(found.code(), Errc::not_found) << kept;
      EXPECT_NE(found.error().message().find("cut off"), std::string::npos) << found.error().message();
    }
  }
}

// Not beside what was a pool's.
TEST_F(LabelTest, APartOfAnUnfinishedLabelHidesNoDamage) {
  for (unsigned copy : {0u, 1u}) {
    Bytes part = bytes_of(unfinished_disk(), copy);
    part[700] = std::byte{0x55};
    disk.write(wire::superblock_offsets[copy], part);
    disk.write(wire::superblock_offsets[1 - copy], bytes_of(first_disk(), 1 - copy));
    auto found = read();
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(found.value().superblock, first_disk());
    disk.write(wire::superblock_offsets[1 - copy] + 700, Bytes(512, std::byte{0x55}));
    EXPECT_EQ(read().code(), Errc::bad_format);
  }
}

TEST_F(LabelTest, MarkedUnfinishedItSaysSoInBothCopies) {
  const auto mark = [this] { return machine.run(mark_unfinished(machine.home(), disk.port())); };
  ASSERT_TRUE(mark().ok());
  EXPECT_EQ(read().code(), Errc::not_found) << "there was none";
  Label label;
  label.superblock = first_disk();
  ASSERT_TRUE(write(label).ok());
  ASSERT_TRUE(mark().ok());
  auto found = read();
  ASSERT_TRUE(found.ok());
  EXPECT_TRUE(found.value().superblock.unfinished());
  EXPECT_TRUE(found.value().copies_agree);
  // The one that counts would go first, and the other one would count.
  const unsigned older = 1 - found.value().newest;
  disk.write(wire::superblock_offsets[older], bytes_of(first_disk(), older));
  ASSERT_TRUE(mark().ok());
  for (const std::uint64_t offset : wire::superblock_offsets) {
    disk.write(offset, Bytes(wire::superblock_bytes));
    found = read();
    EXPECT_TRUE(!found.ok() || found.value().superblock.unfinished());
  }
}

TEST_F(LabelTest, ANewerReleasesLabelIsNotTakenForADamagedOne) {
  auto w = load<wire::Superblock>(bytes_of(first_disk(), 1));
  w.version = 2;
  w.crc32c = 0;
  w.crc32c = crc32c(holdfast::bytes_of(w));
  const auto newer = holdfast::bytes_of(w);
  disk.write(wire::superblock_offsets[0], bytes_of(first_disk(), 0));
  disk.write(wire::superblock_offsets[1], Bytes(newer.begin(), newer.end()));
  const auto found = read();
  EXPECT_EQ(found.code(), Errc::not_supported);
  EXPECT_NE(found.error().message().find("malloc:///d"), std::string::npos) << found.error().message();
}

}  // namespace
}  // namespace holdfast::pool
