#include "pool/record.h"

#include <algorithm>
#include <string>

#include <gtest/gtest.h>

namespace holdfast::pool {
namespace {

VolumeSpec example_spec() {
  VolumeSpec spec;
  spec.id = VolumeId{7};
  spec.kind = VolumeKind::snapshot;
  spec.source = VolumeId{3};
  spec.source_uuid = Uuid::parse("00112233-4455-6677-8899-aabbccddeeff").value();
  spec.uuid = Uuid::parse("ffeeddcc-bbaa-9988-7766-554433221100").value();
  spec.name = "snap";
  spec.size_bytes = 5 * MiB;
  spec.created_unix_ns = 0x0102030405060708;
  spec.epoch = 9;
  spec.sealed = 8;
  spec.attributes = {{"a", "xyz"}, {"b", std::string(1, '\0')}};
  return spec;
}

std::vector<std::byte> encoded(const Record& record) {
  std::vector<std::byte> bytes;
  encode(record, bytes);
  return bytes;
}

std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte b : bytes) {
    const auto n = static_cast<unsigned>(b);
    text += "0123456789abcdef"[n >> 4];
    text += "0123456789abcdef"[n & 15];
  }
  return text;
}

struct Golden {
  Record record;
  const char* bytes;
};

WriteDataRecord one_block() {
  return WriteDataRecord{WriteRecord{VolumeId{5}, 0x11, Cluster{0x22}, 0x33, 1},
                         std::vector<std::byte>(block_bytes, std::byte{0xab})};
}

const std::string& one_block_bytes() {
  static const std::string bytes = [] {
    std::string text = "101000000e000000 05000000 11000000 22000000 3300 0100 ";
    for (std::uint32_t i = 0; i < block_bytes; ++i) text += "ab";
    return text;
  }();
  return bytes;
}

std::vector<Golden> goldens() {
  const Uuid disk = Uuid::parse("01020304-0506-0708-090a-0b0c0d0e0f10").value();
  const Segment segment{0x10, 0x20, 1, 0x30};
  return {
      {CreateRecord{example_spec()},
       "7a00000001000000 07000000 01 00 0400 03000000 02000000 ffeeddccbbaa99887766554433221100 "
       "00112233445566778899aabbccddeeff 0000500000000000 0807060504030201 09000000 08000000 00000000 "
       "00000000 00000000000000000000000000000000 736e6170 0100000003000000 61 78797a 0100000001000000 62 "
       "00"},
      {DeleteRecord{VolumeId{5}}, "0400000002000000 05000000"},
      {ResizeRecord{VolumeId{5}, 3 * MiB}, "1000000003000000 05000000 00000000 0000300000000000"},
      {AttributesRecord{VolumeId{5}, {{"k", ""}, {"l", "v"}}},
       "1b00000004000000 05000000 02000000 0100000000000000 6b 0100000001000000 6c 76"},
      {RevertRecord{VolumeId{5}, VolumeId{6}}, "0800000005000000 05000000 06000000"},
      {WriteRecord{VolumeId{5}, 0x11, Cluster{0x22}, 0x33, 0x44},
       "1000000006000000 05000000 11000000 22000000 3300 4400"},
      {CompleteRecord{VolumeId{5}, 0x11}, "0800000007000000 05000000 11000000"},
      {UnmapRecord{VolumeId{5}, 0x11, 0x22}, "0c00000008000000 05000000 11000000 22000000"},
      {TrimRecord{VolumeId{5}, 0x11, 1, 2}, "0c00000009000000 05000000 11000000 0100 0200"},
      {RegionRecord{VolumeId{5}, 1, 2, 3}, "100000000a000000 05000000 01000000 02000000 03000000"},
      {EpochRecord{VolumeId{5}, 4, 3}, "0c0000000b000000 05000000 04000000 03000000"},
      {AddDiskRecord{DiskRecord{1, disk, "/dev/x"}, segment},
       "2e0000000c000000 0100 0600 00000000 0102030405060708090a0b0c0d0e0f10 2f6465762f78 10000000 20000000 "
       "30000000 0100 0000"},
      {GrowRecord{segment}, "100000000d000000 10000000 20000000 30000000 0100 0000"},
      {one_block(), one_block_bytes().c_str()},
      {SettledRecord{0x1234}, "080000000f000000 3412000000000000"},
  };
}

TEST(Record, BytesAreThoseOfTheFormat) {
  for (const Golden& golden : goldens()) {
    const std::vector<std::byte> bytes = encoded(golden.record);
    std::string expected = golden.bytes;
    std::erase(expected, ' ');
    EXPECT_EQ(hex(bytes), expected) << "type " << golden.record.index() + 1;
    std::span<const std::byte> rest(bytes);
    const Result<Record> back = decode(rest);
    ASSERT_TRUE(back.ok()) << back.error().message();
    EXPECT_TRUE(rest.empty());
    EXPECT_EQ(encoded(back.value()), bytes);
  }
}

// Whatever is done to the bytes, a record comes out that is written as it was read, or bad_format.
TEST(Record, TruncatedAndChangedBytesAreRefusedOrAnotherRecord) {
  std::size_t refused = 0, taken = 0;
  const auto try_bytes = [&refused, &taken](const std::vector<std::byte>& bytes) {
    std::span<const std::byte> rest(bytes);
    const Result<Record> record = decode(rest);
    if (!record.ok()) {
      EXPECT_EQ(record.code(), Errc::bad_format);
      EXPECT_FALSE(record.error().message().empty());
      ++refused;
      return;
    }
    ++taken;
    EXPECT_EQ(encoded(record.value()), std::vector<std::byte>(bytes.begin(), bytes.end() - std::ssize(rest)));
  };
  for (const Golden& golden : goldens()) {
    const std::vector<std::byte> bytes = encoded(golden.record);
    for (std::size_t length = 0; length < bytes.size(); ++length) {
      std::span<const std::byte> rest(bytes.data(), length);
      EXPECT_EQ(decode(rest).code(), Errc::bad_format) << length;
    }
    for (std::size_t at = 0; at < std::min<std::size_t>(bytes.size(), 256); ++at) {  // data may be anything
      for (unsigned value = 0; value < 256; ++value) {
        std::vector<std::byte> changed = bytes;
        changed[at] = std::byte(value);
        try_bytes(changed);
      }
    }
  }
  EXPECT_GT(refused, taken / 10);
  EXPECT_GT(taken, 10'000u);
}

struct BadRecord {
  const char* what;
  Record record;
  const char* text;
};

// What no state can make right is refused before there is one.
TEST(Record, NonsenseIsRefused) {
  const auto spec = [](auto change) {
    VolumeSpec s = example_spec();
    change(s);
    return CreateRecord{s};
  };
  const BadRecord table[] = {
      {"no name", spec([](VolumeSpec& s) { s.name.clear(); }), "a text has no such length"},
      {"long name", spec([](VolumeSpec& s) { s.name.assign(256, 'x'); }), "a text has no such length"},
      {"newline in name", spec([](VolumeSpec& s) { s.name = "a\nb"; }), "control characters"},
      {"nil uuid", spec([](VolumeSpec& s) { s.uuid = Uuid(); }), "UUID of a volume is nil"},
      {"no id", spec([](VolumeSpec& s) { s.id = VolumeId::none; }), "no id"},
      {"no size", spec([](VolumeSpec& s) { s.size_bytes = 0; }), "no such size"},
      {"odd size", spec([](VolumeSpec& s) { s.size_bytes = 65537; }), "no such size"},
      {"huge size", spec([](VolumeSpec& s) { s.size_bytes = volume_bytes_max + 64 * KiB; }), "no such size"},
      {"sealed", spec([](VolumeSpec& s) { s.sealed = 10; }), "sealed"},
      {"no key", spec([](VolumeSpec& s) { s.attributes[""] = "x"; }), "a text has no such length"},
      {"no value", spec([](VolumeSpec& s) { s.attributes["x"] = ""; }), "no such length"},
      {"long value", spec([](VolumeSpec& s) { s.attributes["x"].assign(32 * KiB + 1, 'x'); }),
       "no such length"},
      {"long attributes", spec([](VolumeSpec& s) {
         for (const char* key : {"x", "y", "z"}) s.attributes[key].assign(30 * KiB, 'x');
       }),
       "too long together"},
      {"many attributes", spec([](VolumeSpec& s) {
         for (std::size_t i = 0; i <= attributes_max; ++i) s.attributes[std::to_string(i)] = "x";
       }),
       "too many"},
      {"resize to nothing", ResizeRecord{VolumeId{1}, 0}, "no such size"},
      {"no blocks", WriteRecord{VolumeId{1}, 0, Cluster{0}, 0, 0}, "no such blocks"},
      {"less data than blocks",
       WriteDataRecord{WriteRecord{VolumeId{1}, 0, Cluster{0}, 0, 2}, one_block().data}, "too early"},
      {"more data than blocks",
       WriteDataRecord{WriteRecord{VolumeId{1}, 0, Cluster{0}, 0, 1},
                       std::vector<std::byte>(2 * block_bytes)},
       "behind"},
      {"blocks beyond", WriteRecord{VolumeId{1}, 0, Cluster{0}, 4095, 2}, "no such blocks"},
      {"trim nothing", TrimRecord{VolumeId{1}, 0, 0, 0}, "no such blocks"},
      {"trim beyond", TrimRecord{VolumeId{1}, 0, 65535, 65535}, "no such blocks"},
      {"unmap nothing", UnmapRecord{VolumeId{1}, 0, 0}, "no such clusters"},
      {"unmap beyond", UnmapRecord{VolumeId{1}, ~0u, ~0u}, "no such clusters"},
      {"no regions", RegionRecord{VolumeId{1}, 0, 0, 1}, "no such regions"},
      {"epoch 0", RegionRecord{VolumeId{1}, 0, 1, 0}, "no such regions"},
      {"nil disk", AddDiskRecord{DiskRecord{0, Uuid(), ""}, Segment{0, 1, 0, 0}}, "no such disk"},
      {"disk 64", AddDiskRecord{DiskRecord{64, example_spec().uuid, ""}, Segment{0, 1, 64, 0}},
       "no such disk"},
      {"empty segment", GrowRecord{Segment{0, 0, 0, 0}}, "no such segment"},
      {"segment beyond", GrowRecord{Segment{~0u, 2, 0, 0}}, "no such segment"},
  };
  for (const BadRecord& bad : table) {
    SCOPED_TRACE(bad.what);
    const std::vector<std::byte> bytes = encoded(bad.record);
    std::span<const std::byte> rest(bytes);
    const Result<Record> record = decode(rest);
    ASSERT_EQ(record.code(), Errc::bad_format);
    EXPECT_NE(record.error().message().find(bad.text), std::string::npos) << record.error().message();
    EXPECT_NE(record.error().message().find("(byte "), std::string::npos);
  }
}

TEST(Record, AnyUriCanBeKept) {
  AddDiskRecord record{DiskRecord{0, example_spec().uuid, uri_hint("/a\nb" + std::string(5000, 'x'))},
                       Segment{0, 1, 0, 0}};
  const std::vector<std::byte> bytes = encoded(record);
  std::span<const std::byte> rest(bytes);
  ASSERT_TRUE(decode(rest).ok());
  EXPECT_EQ(record.disk.uri.substr(0, 5), "/a?bx");
}

TEST(Record, AttributesAreInOrder) {
  std::vector<std::byte> bytes = encoded(AttributesRecord{VolumeId{5}, {{"k", "1"}, {"l", "2"}}});
  std::swap(bytes[24], bytes[34]);  // the keys
  std::span<const std::byte> rest(bytes);
  EXPECT_EQ(decode(rest).error().message(), "record: attributes out of order (byte 36)");
}

}  // namespace
}  // namespace holdfast::pool
