// Goal: no header field of a PDU is believed before it was judged, and each wrong one has its fatal error
// status. Method: start from a good header of every type, change one field, expect the fault that the
// specification names.
#include "nvme/pdu.h"

#include <array>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/prng.h"

namespace holdfast::nvme {
namespace {

constexpr PduLimits running{Phase::running, false, false, 0, 8192, 1 << 20};
constexpr PduLimits digests{Phase::running, true, true, 0, 8192, 1 << 20};
constexpr PduLimits set_up{Phase::set_up, false, false, 0, 8192, 1 << 20};

constexpr CommonHeader header(PduType type, unsigned hlen, unsigned pdo, std::uint32_t plen,
                              unsigned flags = 0) {
  return {static_cast<std::uint8_t>(type), static_cast<std::uint8_t>(flags), static_cast<std::uint8_t>(hlen),
          static_cast<std::uint8_t>(pdo), plen};
}
constexpr Fault field(std::uint32_t offset) { return {Fes::invalid_header_field, offset}; }
constexpr std::uint32_t type_field = 0, flags_field = 1, hlen_field = 2, pdo_field = 3, plen_field = 4;

struct Good {
  const char* what;
  CommonHeader ch;
  Role sender;
  PduLimits limits;
  std::uint32_t data_start, data_bytes;
};
const Good good[] = {
    {"ICReq", header(PduType::ic_req, 128, 0, 128), Role::host, set_up, 128, 0},
    {"ICResp", header(PduType::ic_resp, 128, 0, 128), Role::controller, set_up, 128, 0},
    {"H2CTermReq", header(PduType::h2c_term_req, 24, 0, 48), Role::host, running, 24, 24},
    {"H2CTermReq, largest", header(PduType::h2c_term_req, 24, 0, 152), Role::host, set_up, 24, 128},
    {"H2CTermReq never has digests", header(PduType::h2c_term_req, 24, 0, 48), Role::host, digests, 24, 24},
    {"C2HTermReq", header(PduType::c2h_term_req, 24, 0, 48), Role::controller, running, 24, 24},
    {"command", header(PduType::capsule_cmd, 72, 0, 72), Role::host, running, 72, 0},
    {"command, PDO without data means nothing", header(PduType::capsule_cmd, 72, 72, 72), Role::host, running,
     72, 0},
    {"command with data", header(PduType::capsule_cmd, 72, 72, 72 + 4096), Role::host, running, 72, 4096},
    {"command, all it may carry", header(PduType::capsule_cmd, 72, 72, 72 + 8192), Role::host, running, 72,
     8192},
    {"command, padded", header(PduType::capsule_cmd, 72, 128, 128 + 512), Role::host, running, 128, 512},
    {"command, digests", header(PduType::capsule_cmd, 72, 76, 76 + 512 + 4, 3), Role::host, digests, 76, 512},
    {"command without data, digests", header(PduType::capsule_cmd, 72, 0, 76, 1), Role::host, digests, 76, 0},
    {"response", header(PduType::capsule_resp, 24, 0, 24), Role::controller, running, 24, 0},
    {"H2CData", header(PduType::h2c_data, 24, 24, 24 + (1 << 20), flag_last_pdu), Role::host, running, 24,
     1 << 20},
    {"H2CData, digests", header(PduType::h2c_data, 24, 28, 28 + 512 + 4, 3), Role::host, digests, 28, 512},
    {"C2HData", header(PduType::c2h_data, 24, 24, 24 + 4096, flag_last_pdu | flag_success), Role::controller,
     running, 24, 4096},
    {"R2T", header(PduType::r2t, 24, 0, 24), Role::controller, running, 24, 0},
    {"R2T, digest", header(PduType::r2t, 24, 0, 28, 1), Role::controller, digests, 28, 0},
};

TEST(PduCheck, AcceptsWhatTheSpecificationAllows) {
  for (const Good& g : good) {
    const PduCheck c = check(g.ch, g.sender, g.limits);
    ASSERT_TRUE(c.ok()) << g.what << ": " << name(c.fault().fes) << " at " << c.fault().fei;
    EXPECT_EQ(static_cast<std::uint8_t>(c.shape().type), g.ch.pdu_type) << g.what;
    EXPECT_EQ(c.shape().data_start, g.data_start) << g.what;
    EXPECT_EQ(c.shape().data_bytes, g.data_bytes) << g.what;
    EXPECT_EQ(c.shape().plen, g.ch.plen) << g.what;
    EXPECT_EQ(c.shape().hlen, g.ch.hlen) << g.what;
  }
}

TEST(PduCheck, EveryTypeFromTheWrongSide) {
  for (const Good& g : good) {
    const Role other = g.sender == Role::host ? Role::controller : Role::host;
    EXPECT_EQ(check(g.ch, other, g.limits).fault(), field(type_field)) << g.what;
  }
}

TEST(PduCheck, EveryTypeInTheWrongPhase) {
  for (const Good& g : good) {
    PduLimits other = g.limits;
    other.phase = g.limits.phase == Phase::running ? Phase::set_up : Phase::running;
    const bool any_time = g.ch.pdu_type == 2 || g.ch.pdu_type == 3;
    const PduCheck c = check(g.ch, g.sender, other);
    EXPECT_EQ(c.fault().fes, any_time ? Fes::none : Fes::sequence_error) << g.what;
  }
}

TEST(PduCheck, EveryWrongHeaderLength) {
  for (const Good& g : good) {
    for (unsigned hlen = 0; hlen < 256; ++hlen) {
      CommonHeader ch = g.ch;
      ch.hlen = static_cast<std::uint8_t>(hlen);
      const PduCheck c = check(ch, g.sender, g.limits);
      if (hlen == g.ch.hlen) {
        EXPECT_TRUE(c.ok());
      } else {
        EXPECT_EQ(c.fault(), field(hlen_field)) << g.what << " hlen " << hlen;
      }
    }
  }
}

TEST(PduCheck, UnknownTypes) {
  for (unsigned type = 0; type < 256; ++type) {
    if (rule_of(static_cast<std::uint8_t>(type)) != nullptr) continue;
    CommonHeader ch = header(PduType::capsule_cmd, 72, 0, 72);
    ch.pdu_type = static_cast<std::uint8_t>(type);
    EXPECT_EQ(check(ch, Role::host, running).fault(), field(type_field)) << type;
  }
}

struct Bad {
  const char* what;
  CommonHeader ch;
  Role sender;
  PduLimits limits;
  Fault want;
};
constexpr PduLimits aligned{Phase::running, false, false, 15, 8192, 1 << 20};  // data at multiples of 64
const Bad bad[] = {
    {"shorter than its header", header(PduType::capsule_cmd, 72, 0, 71), Role::host, running,
     field(plen_field)},
    {"length zero", header(PduType::capsule_cmd, 72, 0, 0), Role::host, running, field(plen_field)},
    {"no room for the header digest", header(PduType::capsule_cmd, 72, 0, 72, 1), Role::host, digests,
     field(plen_field)},
    {"ICReq too long", header(PduType::ic_req, 128, 0, 129), Role::host, set_up, field(plen_field)},
    {"ICReq too short", header(PduType::ic_req, 128, 0, 127), Role::host, set_up, field(plen_field)},
    {"R2T with data", header(PduType::r2t, 24, 24, 28), Role::controller, running, field(plen_field)},
    {"response with data", header(PduType::capsule_resp, 24, 24, 512), Role::controller, running,
     field(plen_field)},
    {"terminate request too long", header(PduType::h2c_term_req, 24, 0, 153), Role::host, running,
     field(plen_field)},
    {"data inside the header", header(PduType::capsule_cmd, 72, 68, 4096), Role::host, running,
     field(pdo_field)},
    {"data without offset", header(PduType::capsule_cmd, 72, 0, 4096), Role::host, running, field(pdo_field)},
    {"data inside the digest", header(PduType::capsule_cmd, 72, 72, 4096, 3), Role::host, digests,
     field(pdo_field)},
    {"data beyond the end", header(PduType::capsule_cmd, 72, 80, 80), Role::host, running, field(pdo_field)},
    {"data not at a dword", header(PduType::capsule_cmd, 72, 73, 4096), Role::host, running,
     field(pdo_field)},
    {"data not aligned as agreed", header(PduType::capsule_cmd, 72, 72, 4096), Role::host, aligned,
     field(pdo_field)},
    {"only a digest behind the header", header(PduType::capsule_cmd, 72, 76, 80, 3), Role::host, digests,
     field(plen_field)},
    {"capsule too large", header(PduType::capsule_cmd, 72, 72, 72 + 8193), Role::host, running,
     field(plen_field)},
    {"capsule of 4 GiB", header(PduType::capsule_cmd, 72, 72, 0xffffffff), Role::host, running,
     field(plen_field)},
    {"H2CData beyond MAXH2CDATA",
     header(PduType::h2c_data, 24, 24, 24 + (1 << 20) + 4),
     Role::host,
     running,
     {Fes::data_limit_exceeded, 0}},
    {"C2HData beyond what a host asks for",
     header(PduType::c2h_data, 24, 24, 24 + (1 << 20) + 4),
     Role::controller,
     running,
     {Fes::data_out_of_range, 0}},
    {"H2CData without data", header(PduType::h2c_data, 24, 24, 24), Role::host, running, field(plen_field)},
    {"C2HData without data", header(PduType::c2h_data, 24, 24, 24), Role::controller, running,
     field(plen_field)},
    {"header digest missing", header(PduType::capsule_cmd, 72, 0, 76, 0), Role::host, digests,
     field(flags_field)},
    {"header digest not agreed", header(PduType::capsule_cmd, 72, 0, 76, 1), Role::host, running,
     field(flags_field)},
    {"data digest missing", header(PduType::capsule_cmd, 72, 76, 1024, 1), Role::host, digests,
     field(flags_field)},
    {"data digest not agreed", header(PduType::h2c_data, 24, 24, 1024, 2), Role::host, running,
     field(flags_field)},
    // Of several wrong fields the one with the lowest offset is named.
    {"type and all the rest", header(PduType::r2t, 0, 1, 0, 0xff), Role::host, running, field(type_field)},
    {"header digest missing, and HLEN", header(PduType::capsule_cmd, 71, 0, 76, 0), Role::host, digests,
     field(flags_field)},
    {"data digest missing, and PDO", header(PduType::capsule_cmd, 72, 72, 1024, 1), Role::host, digests,
     field(flags_field)},
    {"HLEN and PLEN", header(PduType::capsule_cmd, 71, 0, 0), Role::host, running, field(hlen_field)},
    {"PDO and PLEN", header(PduType::capsule_cmd, 72, 68, 0xffffffff), Role::host, running, field(pdo_field)},
};

TEST(PduCheck, RefusesEachBrokenField) {
  for (const Bad& b : bad) EXPECT_EQ(check(b.ch, b.sender, b.limits).fault(), b.want) << b.what;
}

TEST(PduCheck, OnlyTheLengthOfATerminateRequestIsIgnored) {
  for (const std::uint32_t plen : {0u, 23u, 153u, 0xffffffffu}) {
    const CommonHeader ch = header(PduType::h2c_term_req, 24, 0, plen);
    EXPECT_TRUE(is_ignored(ch, check(ch, Role::host, running).fault())) << plen;
    const CommonHeader other = header(PduType::c2h_term_req, 24, 0, plen);
    EXPECT_TRUE(is_ignored(other, check(other, Role::controller, running).fault())) << plen;
  }
  const CommonHeader hlen = header(PduType::h2c_term_req, 25, 0, 24);
  EXPECT_FALSE(is_ignored(hlen, check(hlen, Role::host, running).fault()));
  const CommonHeader command = header(PduType::capsule_cmd, 72, 0, 0);
  EXPECT_FALSE(is_ignored(command, check(command, Role::host, running).fault()));
}

// Whatever the 8 bytes are, an accepted header never names more than the limits allow.
TEST(PduCheck, AcceptedLengthsAreWithinTheLimits) {
  Prng prng(1);
  for (int i = 0; i < 200'000; ++i) {
    std::array<std::byte, sizeof(CommonHeader)> raw;
    for (auto& b : raw) b = static_cast<std::byte>(prng.next());
    auto ch = load<CommonHeader>(raw);
    // Random lengths would nearly all be refused at once: bring them near the interesting values.
    ch.pdu_type = static_cast<std::uint8_t>(prng.below(10));
    if (const PduRule* rule = rule_of(ch.pdu_type); rule != nullptr && prng.chance(7, 8))
      ch.hlen = rule->hlen;
    if (prng.chance(1, 2)) ch.plen = static_cast<std::uint32_t>(prng.below(10'000));
    if (prng.chance(1, 2)) ch.pdo = static_cast<std::uint8_t>(prng.below(40) * 4);
    const PduLimits& limits = prng.chance(1, 2) ? running : digests;
    const PduCheck c = check(ch, prng.chance(1, 2) ? Role::host : Role::controller, limits);
    if (!c.ok()) continue;
    const PduShape& s = c.shape();
    EXPECT_LE(s.data_bytes, limits.data_max);
    EXPECT_GE(s.data_start, s.hlen);
    EXPECT_EQ(s.data_start + s.data_bytes + (s.has_data_digest ? 4 : 0), s.plen);
    EXPECT_LE(s.head_bytes(), 255u);
  }
}

TEST(IcCheck, Parameters) {
  IcReq req{};
  EXPECT_EQ(check(req), std::nullopt);
  req.hpda = 31;
  EXPECT_EQ(check(req), std::nullopt);
  req.hpda = 32;
  EXPECT_EQ(check(req), (Fault{Fes::invalid_header_field, 10}));
  req.hpda = 0;
  req.pfv = 1;
  EXPECT_EQ(check(req), (Fault{Fes::unsupported_parameter, 8}));

  IcResp resp{};
  resp.maxh2cdata = 4096;
  EXPECT_EQ(check(resp), std::nullopt);
  resp.maxh2cdata = 4095;
  EXPECT_EQ(check(resp), (Fault{Fes::invalid_header_field, 12}));
  resp.maxh2cdata = 5002;
  EXPECT_EQ(check(resp), (Fault{Fes::invalid_header_field, 12}));
  resp.maxh2cdata = 4096;
  resp.cpda = 32;
  EXPECT_EQ(check(resp), (Fault{Fes::invalid_header_field, 10}));
}

TEST(TermReq, CarriesTheHeaderInError) {
  std::array<std::byte, 200> header_bytes{};
  header_bytes[0] = std::byte{0x55};
  const TermReqPdu pdu = make_term_req(Role::controller, {Fes::invalid_header_field, 4}, header_bytes);
  EXPECT_EQ(pdu.size, 24u + 128u) << "at most 128 bytes of the header come back";
  const auto req = load<TermReq>(pdu.span());
  EXPECT_EQ(req.ch.pdu_type, 3);
  EXPECT_EQ(req.ch.plen, pdu.size);
  EXPECT_EQ(req.fes, 1);
  EXPECT_EQ(req.fei, 4u);
  EXPECT_EQ(pdu.span()[24], std::byte{0x55});
  const PduCheck c = check(req.ch, Role::controller, running);
  EXPECT_TRUE(c.ok()) << "we would accept our own";
}

TEST(DataOffset, AlignedForTheReceiver) {
  EXPECT_EQ(data_offset(24, false, 0), 24u);
  EXPECT_EQ(data_offset(24, true, 0), 28u);
  EXPECT_EQ(data_offset(24, false, 15), 64u);
  EXPECT_EQ(data_offset(72, true, 31), 128u);
}

}  // namespace
}  // namespace holdfast::nvme
