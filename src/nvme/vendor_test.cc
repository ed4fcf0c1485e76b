// Snapshot requests: what is encoded is parsed again, and nothing else is.
#include "nvme/vendor.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "base/prng.h"

namespace holdfast::nvme {
namespace {

SnapshotData example() {
  SnapshotData s;
  s.name = "nightly";
  s.uuid = Uuid::from_name("s1");
  s.attributes = {{"entity_id", "volume-7"}, {"txn_id", "42"}, {"empty", ""}};
  return s;
}

TEST(VendorSnapshot, ComesBackAsItWas) {
  for (const auto& s : {SnapshotData(), example()}) {
    const auto data = encode(s);
    ASSERT_TRUE(data.ok());
    EXPECT_EQ(data.value().size() % 4, 0u);
    const auto back = parse_snapshot(data.value());
    ASSERT_TRUE(back.ok()) << back.error().message();
    EXPECT_EQ(back.value(), s);
  }
  SnapshotData large = example();
  large.attributes["spec"] = std::string(vendor_data_bytes_max, 'x');
  EXPECT_EQ(encode(large).code(), Errc::invalid_argument);
}

TEST(VendorSnapshot, GoldenBytes) {
  SnapshotData s;
  s.name = "ab";
  s.uuid.bytes.fill(0x11);
  s.attributes = {{"k", "vw"}};
  const auto data = encode(s);
  ASSERT_TRUE(data.ok());
  const std::uint8_t expected[] = {0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11,
                                   0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 2,    0,    1,    0,
                                   0,    0,    0,    0,    'a',  'b',  1,    0,    0,    0,
                                   2,    0,    0,    0,    'k',  'v',  'w',  0,    0,    0};
  const auto bytes = std::as_bytes(std::span(expected));
  ASSERT_EQ(data.value().size(), bytes.size());
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), data.value().begin()));
}

TEST(VendorSnapshot, DamagedOnesAreRefusedOrReadAsSomethingElse) {
  const auto good = encode(example());
  ASSERT_TRUE(good.ok());
  for (std::size_t length = 0; length < good.value().size(); ++length) {
    const auto cut = std::span(good.value()).first(length);
    const auto parsed = parse_snapshot(cut);
    if (parsed.ok()) {
      EXPECT_EQ(parsed.value(), example()) << "only padding may be missing";
    }
  }
  Prng prng(1);
  for (int i = 0; i < 20000; ++i) {
    auto bad = good.value();
    bad[prng.below(bad.size())] = static_cast<std::byte>(prng.next());
    const auto parsed = parse_snapshot(bad);
    if (!parsed.ok()) {
      EXPECT_EQ(parsed.code(), Errc::invalid_argument);
    }
  }
}

TEST(VendorStatus, KeepsItsMeaning) {
  for (const Errc code : {Errc::ok, Errc::already_exists, Errc::failed_precondition, Errc::bad_format,
                          Errc::out_of_space, Errc::invalid_argument, Errc::not_supported, Errc::out_of_range,
                          Errc::reservation_conflict, Errc::not_connected})
    EXPECT_EQ(vendor_errc(vendor_status(code)), code);
}

}  // namespace
}  // namespace holdfast::nvme
