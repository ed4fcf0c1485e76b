// NVMe/TCP PDUs by their offsets (NVMe/TCP 1.0, section 3.6.2), right ones and wrong ones.
#pragma once

#include <cstdint>
#include <string>

#include "cli/conformance/bytes.h"

namespace holdfast::cli::conformance {

namespace pdu {
// PDU types, byte 0.
inline constexpr std::uint8_t ic_req = 0x00, ic_resp = 0x01, h2c_term = 0x02, c2h_term = 0x03, command = 0x04,
                              response = 0x05, h2c_data = 0x06, c2h_data = 0x07, r2t = 0x09;
// FLAGS, byte 1.
inline constexpr std::uint8_t hdgstf = 1, ddgstf = 2, last = 4, success = 8;
// Offsets in the common header, and in what follows.
inline constexpr std::size_t at_flags = 1, at_hlen = 2, at_pdo = 3, at_plen = 4;
inline constexpr std::size_t at_cccid = 8, at_ttag = 10, at_datao = 12, at_datal = 16;
inline constexpr std::size_t at_fes = 8, at_fei = 10;
// Fatal error status, FES.
inline constexpr std::uint16_t fes_field = 1, fes_sequence = 2, fes_header_digest = 3, fes_range = 4,
                               fes_limit = 5, fes_parameter = 6;

const char* name(std::uint8_t type) noexcept;
const char* fes_name(std::uint16_t fes) noexcept;
}  // namespace pdu

// What a connection agreed on in ICReq and ICResp.
struct Agreed {
  bool header_digest = false;
  bool data_digest = false;
  std::uint8_t hpda = 0, cpda = 0;  // alignment of data in units of 4 bytes, minus one
  std::uint32_t maxh2cdata = 4096;
  std::uint32_t maxr2t = 0;  // R2Ts per command, minus one
};

// One PDU as it was received.
struct Pdu {
  Bytes raw;

  explicit operator bool() const noexcept { return !raw.empty(); }
  std::uint8_t type() const noexcept { return u8(raw, 0); }
  std::uint8_t flags() const noexcept { return u8(raw, pdu::at_flags); }
  std::uint8_t hlen() const noexcept { return u8(raw, pdu::at_hlen); }
  std::uint8_t pdo() const noexcept { return u8(raw, pdu::at_pdo); }
  // Without its digest. Empty when the header places it outside of the PDU.
  View data() const noexcept;
};

// A PDU of the type: header `head` (all of it, the common header is filled in here), digests as agreed, data
// where CPDA wants it.
Bytes make_pdu(std::uint8_t type, Bytes head, View data, std::uint8_t flags, const Agreed& agreed);

struct IcReq {
  std::uint16_t pfv = 0;
  std::uint8_t hpda = 0;
  std::uint8_t dgst = 0;  // bit 0 header, bit 1 data
  std::uint32_t maxr2t = 0;
};
Bytes make_ic_req(const IcReq& req);
Bytes make_h2c_data(std::uint16_t cccid, std::uint16_t ttag, std::uint32_t datao, View data, bool last,
                    const Agreed& agreed);

// Copies of a PDU with one field changed. The header digest is not made anew.
Bytes with8(Bytes pdu, std::size_t at, unsigned value);
Bytes with16(Bytes pdu, std::size_t at, unsigned value);
Bytes with32(Bytes pdu, std::size_t at, std::uint32_t value);

// What is wrong with a controller's PDU, by its header, digests and what was agreed; empty when nothing is.
// Before ICResp came, `agreed` is null.
std::string fault_of(const Pdu& pdu, const Agreed* agreed);

}  // namespace holdfast::cli::conformance
