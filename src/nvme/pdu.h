// NVMe/TCP PDU headers and the rules by which a received header is judged.
// Source: NVM Express TCP Transport Specification 1.0, section 3.6.2 (PDU definitions) and section 3.5
// (errors). A receiver calls check() on the 8 byte common header before it reads a body byte or sizes a
// buffer; what it gets back are lengths within its own limits, or the reason for a terminate connection
// request.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/endian.h"
#include "nvme/cqe.h"
#include "nvme/sqe.h"

namespace holdfast::nvme {

enum class PduType : std::uint8_t {
  ic_req = 0x00,
  ic_resp = 0x01,
  h2c_term_req = 0x02,
  c2h_term_req = 0x03,
  capsule_cmd = 0x04,
  capsule_resp = 0x05,
  h2c_data = 0x06,
  c2h_data = 0x07,
  r2t = 0x09,
};
enum class Role : std::uint8_t { host, controller };

// Bits of CommonHeader::flags.
inline constexpr std::uint8_t flag_header_digest = 1u << 0;  // HDGSTF
inline constexpr std::uint8_t flag_data_digest = 1u << 1;    // DDGSTF
inline constexpr std::uint8_t flag_last_pdu = 1u << 2;  // H2CData, C2HData: the last of its R2T or command
inline constexpr std::uint8_t flag_success = 1u << 3;   // C2HData: stands for a response with status 0

struct CommonHeader {
  std::uint8_t pdu_type, flags;
  std::uint8_t hlen;  // bytes of the header, without its digest
  std::uint8_t pdo;   // offset of the data from the start of the PDU; 0 without data
  le32 plen;          // bytes of the whole PDU
};
static_assert(Wire<CommonHeader> && sizeof(CommonHeader) == 8);
HF_FIELD(CommonHeader, plen, 4);

struct IcReq {
  CommonHeader ch;
  le16 pfv;           // 0: the only PDU format version
  std::uint8_t hpda;  // the host wants data at multiples of (hpda + 1) * 4 bytes
  std::uint8_t dgst;  // dgst_header, dgst_data
  le32 maxr2t;        // R2Ts in flight per command - 1
  std::uint8_t rsvd16[112];
};
static_assert(Wire<IcReq> && sizeof(IcReq) == 128);
HF_FIELD(IcReq, pfv, 8);
HF_FIELD(IcReq, hpda, 10);
HF_FIELD(IcReq, dgst, 11);
HF_FIELD(IcReq, maxr2t, 12);

struct IcResp {
  CommonHeader ch;
  le16 pfv;
  std::uint8_t cpda;
  std::uint8_t dgst;
  le32 maxh2cdata;  // data bytes in one H2CData PDU: at least 4096, a multiple of 4
  std::uint8_t rsvd16[112];
};
static_assert(Wire<IcResp> && sizeof(IcResp) == 128);
HF_FIELD(IcResp, maxh2cdata, 12);

inline constexpr std::uint8_t dgst_header = 1u << 0;
inline constexpr std::uint8_t dgst_data = 1u << 1;
inline constexpr std::uint8_t pda_max = 31;
inline constexpr std::uint32_t maxh2cdata_min = 4096;

// Fatal error status, and what its FEI field says.
enum class Fes : std::uint16_t {
  none = 0,
  invalid_header_field = 1,   // FEI: offset of the field from the start of the PDU
  sequence_error = 2,         // a PDU that may not come now, or data that does not follow the data before it
  header_digest_error = 3,    // FEI: the digest received
  data_out_of_range = 4,      // data beyond its command or R2T
  data_limit_exceeded = 5,    // to a host: H2CData over MAXH2CDATA; to a controller: R2Ts over MAXR2T
  unsupported_parameter = 6,  // FEI: offset of the parameter
};
const char* name(Fes fes) noexcept;
struct Fault {
  Fes fes = Fes::none;
  std::uint32_t fei = 0;

  constexpr bool operator==(const Fault&) const = default;
};

// H2CTermReq and C2HTermReq: the header, then the header of the PDU in error.
struct TermReq {
  CommonHeader ch;
  le16 fes;
  le32 fei;
  std::uint8_t rsvd14[10];
};
static_assert(Wire<TermReq> && sizeof(TermReq) == 24);
HF_FIELD(TermReq, fes, 8);
HF_FIELD(TermReq, fei, 10);
inline constexpr std::uint32_t term_req_data_max = 128;

struct CapsuleCmd {
  CommonHeader ch;
  Sqe ccsqe;
};
static_assert(Wire<CapsuleCmd> && sizeof(CapsuleCmd) == 72);
HF_FIELD(CapsuleCmd, ccsqe, 8);

struct CapsuleResp {
  CommonHeader ch;
  Cqe rccqe;
};
static_assert(Wire<CapsuleResp> && sizeof(CapsuleResp) == 24);
HF_FIELD(CapsuleResp, rccqe, 8);

struct H2cData {
  CommonHeader ch;
  le16 cccid;         // the command's identifier
  le16 ttag;          // the R2T's tag
  le32 datao, datal;  // offset in the command's data, and bytes
  std::uint8_t rsvd20[4];
};
static_assert(Wire<H2cData> && sizeof(H2cData) == 24);
HF_FIELD(H2cData, ttag, 10);
HF_FIELD(H2cData, datao, 12);
HF_FIELD(H2cData, datal, 16);

struct C2hData {
  CommonHeader ch;
  le16 cccid;
  std::uint8_t rsvd10[2];
  le32 datao, datal;
  std::uint8_t rsvd20[4];
};
static_assert(Wire<C2hData> && sizeof(C2hData) == 24);
HF_FIELD(C2hData, datao, 12);

struct R2t {
  CommonHeader ch;
  le16 cccid, ttag;
  le32 r2to, r2tl;  // the part of the command's data that the host may send
  std::uint8_t rsvd20[4];
};
static_assert(Wire<R2t> && sizeof(R2t) == 24);
HF_FIELD(R2t, r2to, 12);
HF_FIELD(R2t, r2tl, 16);

inline constexpr std::uint32_t digest_bytes = 4;
inline constexpr std::uint32_t header_bytes_max = 128;  // without digest

// One row per PDU type: reader, writer and tests share it.
struct PduRule {
  PduType type;
  Role sender;
  std::uint8_t hlen;
  bool may_carry_data;
  bool set_up;  // ICReq, ICResp and the terminate requests: never with digests
};
inline constexpr std::array<PduRule, 9> pdu_rules{{
    {PduType::ic_req, Role::host, sizeof(IcReq), false, true},
    {PduType::ic_resp, Role::controller, sizeof(IcResp), false, true},
    {PduType::h2c_term_req, Role::host, sizeof(TermReq), true, true},
    {PduType::c2h_term_req, Role::controller, sizeof(TermReq), true, true},
    {PduType::capsule_cmd, Role::host, sizeof(CapsuleCmd), true, false},
    {PduType::capsule_resp, Role::controller, sizeof(CapsuleResp), false, false},
    {PduType::h2c_data, Role::host, sizeof(H2cData), true, false},
    {PduType::c2h_data, Role::controller, sizeof(C2hData), true, false},
    {PduType::r2t, Role::controller, sizeof(R2t), false, false},
}};
// The rule of a type, nullptr for a type that the specification does not define.
const PduRule* rule_of(std::uint8_t pdu_type) noexcept;

// Before the set-up only ICReq (ICResp) and terminate requests may come, afterwards anything else.
enum class Phase : std::uint8_t { set_up, running };

// What the receiver of a PDU agreed to.
struct PduLimits {
  Phase phase = Phase::set_up;
  bool header_digest = false;
  bool data_digest = false;
  std::uint8_t pda = 0;  // data alignment (pda + 1) * 4: CPDA for a host's PDUs, HPDA for a controller's
  std::uint32_t capsule_data_max = 0;  // in-capsule data of a command
  std::uint32_t data_max = 0;          // data of one H2CData or C2HData PDU
};

// The lengths of an acceptable PDU, all derived from its header and within the limits.
struct PduShape {
  PduType type;
  bool has_header_digest;
  bool has_data_digest;
  std::uint32_t hlen;        // header bytes, without digest
  std::uint32_t data_start;  // where data starts; equal to plen without data
  std::uint32_t data_bytes;
  std::uint32_t plen;

  // Bytes up to the first data byte (header, digest, padding).
  constexpr std::uint32_t head_bytes() const noexcept { return data_start; }
};

class PduCheck {
 public:
  constexpr PduCheck(PduShape shape) noexcept : shape_(shape) {}
  constexpr PduCheck(Fault fault) noexcept : fault_(fault) {}

  constexpr bool ok() const noexcept { return fault_.fes == Fes::none; }
  constexpr const PduShape& shape() const noexcept { return shape_; }  // meaningful when ok()
  constexpr const Fault& fault() const noexcept { return fault_; }

 private:
  PduShape shape_{};
  Fault fault_{};
};

// Judges the common header of a PDU that came from `sender`.
PduCheck check(const CommonHeader& ch, Role sender, const PduLimits& limits) noexcept;
// Whether the connection ends with no word about the fault: so with a terminate request whose length is wrong
// (NVMe/TCP 1.0, section 3.5), since two peers that complain of each other's complaints help nobody.
bool is_ignored(const CommonHeader& ch, Fault fault) noexcept;
// Judges the negotiated values of a connection set-up.
std::optional<Fault> check(const IcReq& req) noexcept;
std::optional<Fault> check(const IcResp& resp) noexcept;

// Offset of the first data byte of a PDU that we send: after header and header digest, aligned for the
// receiver.
constexpr std::uint32_t data_offset(std::uint32_t hlen, bool header_digest, std::uint8_t pda) noexcept {
  const std::uint32_t unit = (pda + 1u) * 4u;
  const std::uint32_t head = hlen + (header_digest ? digest_bytes : 0u);
  return (head + unit - 1) / unit * unit;
}

// A whole terminate connection request with the header in error (at most 128 bytes of it) behind it.
struct TermReqPdu {
  std::array<std::byte, sizeof(TermReq) + term_req_data_max> bytes{};
  std::uint32_t size = 0;

  std::span<const std::byte> span() const noexcept { return std::span(bytes).first(size); }
};
TermReqPdu make_term_req(Role sender, Fault fault, std::span<const std::byte> header_in_error) noexcept;

}  // namespace holdfast::nvme
