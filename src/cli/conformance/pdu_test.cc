// What is wrong with a PDU is seen, and what is right is left alone.
#include "cli/conformance/pdu.h"

#include <gtest/gtest.h>

namespace holdfast::cli::conformance {
namespace {

Agreed digests() {
  Agreed a;
  a.header_digest = a.data_digest = true;
  return a;
}

Bytes c2h(const Agreed& agreed, std::uint32_t bytes) {
  Bytes head(24);
  put32(head, pdu::at_datal, bytes);
  Agreed host = agreed;
  host.cpda = agreed.hpda;  // made as the controller makes it
  return make_pdu(pdu::c2h_data, std::move(head), pattern(bytes, 1), pdu::last, host);
}

TEST(Pdu, RightOnes) {
  for (const std::uint8_t hpda : {std::uint8_t{0}, std::uint8_t{15}}) {
    for (Agreed agreed : {Agreed(), digests()}) {
      agreed.hpda = hpda;
      const Pdu data{c2h(agreed, 512)};
      EXPECT_EQ(fault_of(data, &agreed), "");
      EXPECT_EQ(data.data().size(), 512u);
      EXPECT_EQ(data.pdo() % ((hpda + 1) * 4), 0);
      EXPECT_EQ(fault_of(Pdu{make_pdu(pdu::response, Bytes(24), {}, 0, agreed)}, &agreed), "");
    }
  }
}

TEST(Pdu, WrongOnes) {
  const Agreed plain;
  const Agreed with = digests();
  const Bytes data = c2h(plain, 512), digested = c2h(with, 512);
  const struct {
    const char* what;
    Bytes bytes;
    const Agreed* agreed;
  } cases[] = {
      {"unknown type", with8(data, 0, 0x0a), &plain},
      {"a host's type", with8(data, 0, pdu::h2c_data), &plain},
      {"HLEN", with8(data, pdu::at_hlen, 23), &plain},
      {"PDO in the header", with8(data, pdu::at_pdo, 20), &plain},
      {"PDO behind the end", with8(data, pdu::at_pdo, 255), &plain},
      {"PDO not aligned", with8(data, pdu::at_pdo, 26), &plain},
      {"DATAL", with32(data, pdu::at_datal, 508), &plain},
      {"DATAL of 4 GiB", with32(data, pdu::at_datal, 0xffffffff), &plain},
      {"digests that are off", digested, &plain},
      {"no digests, which are on", data, &with},
      {"header digest", with8(digested, 24, u8(digested, 24) ^ 1u), &with},
      {"data digest", with8(digested, digested.size() - 1, u8(digested, digested.size() - 1) ^ 1u), &with},
      {"data", with8(digested, 100, u8(digested, 100) ^ 1u), &with},
      {"before ICResp", data, nullptr},
      {"a response that is too long", make_pdu(pdu::response, Bytes(24), Bytes(4), 0, plain), &plain},
      {"too short for anything", Bytes(8), &plain},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.what);
    EXPECT_NE(fault_of(Pdu{c.bytes}, c.agreed), "");
  }
}

TEST(Pdu, FieldsBeyondTheEndAreZero) {
  const Bytes three = {1, 2, 3};
  EXPECT_EQ(u16(three, 1), 0x0302);
  EXPECT_EQ(u16(three, 2), 0);
  EXPECT_EQ(u64(three, 0), 0u);
  EXPECT_TRUE(slice(three, 9, 4).empty());
  EXPECT_EQ(slice(three, 1, 99).size(), 2u);
  EXPECT_EQ(hex(three, 2), "01 02 ... (3 bytes)");
}

}  // namespace
}  // namespace holdfast::cli::conformance
