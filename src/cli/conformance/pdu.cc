#include "cli/conformance/pdu.h"

#include <fmt/format.h>

namespace holdfast::cli::conformance {
namespace {

constexpr std::size_t digest_bytes = 4;

// Header bytes of what a controller may send; 0 for everything else.
unsigned header_bytes(std::uint8_t type) noexcept {
  switch (type) {
    case pdu::ic_resp:
      return 128;
    case pdu::c2h_term:
    case pdu::response:
    case pdu::c2h_data:
    case pdu::r2t:
      return 24;
    default:
      return 0;
  }
}

std::size_t aligned(std::size_t at, std::uint8_t pda) noexcept {
  const std::size_t unit = (pda + 1u) * 4u;
  return (at + unit - 1) / unit * unit;
}

std::string fault_of_data(const Pdu& p, const Agreed& agreed, std::size_t head) {
  const bool digest = (p.flags() & pdu::ddgstf) != 0;
  if (digest != agreed.data_digest) {
    return fmt::format("C2HData: DDGSTF is {}, data digests are {}", digest ? 1 : 0,
                       agreed.data_digest ? "on" : "off");
  }
  const std::size_t unit = (agreed.hpda + 1u) * 4u;
  if (p.pdo() < head || p.pdo() % unit != 0)
    return fmt::format("C2HData: PDO {} is not a multiple of {} behind the header of {} bytes", p.pdo(), unit,
                       head);
  const std::size_t tail = digest ? digest_bytes : 0;
  const std::uint32_t datal = u32(p.raw, pdu::at_datal);
  if (p.raw.size() != p.pdo() + std::size_t{datal} + tail) {
    return fmt::format("C2HData: PLEN {} is not PDO {} + DATAL {} + digest {}", p.raw.size(), p.pdo(), datal,
                       tail);
  }
  if (digest && u32(p.raw, p.raw.size() - digest_bytes) != crc32c_of(p.data())) {
    return fmt::format("C2HData: data digest {:#x}, its data has {:#x}",
                       u32(p.raw, p.raw.size() - digest_bytes), crc32c_of(p.data()));
  }
  return {};
}

}  // namespace

namespace pdu {

const char* name(std::uint8_t type) noexcept {
  switch (type) {
    case ic_req:
      return "ICReq";
    case ic_resp:
      return "ICResp";
    case h2c_term:
      return "H2CTermReq";
    case c2h_term:
      return "C2HTermReq";
    case command:
      return "CapsuleCmd";
    case response:
      return "CapsuleResp";
    case h2c_data:
      return "H2CData";
    case c2h_data:
      return "C2HData";
    case r2t:
      return "R2T";
    default:
      return "PDU of an unknown type";
  }
}

const char* fes_name(std::uint16_t fes) noexcept {
  switch (fes) {
    case fes_field:
      return "invalid PDU header field";
    case fes_sequence:
      return "PDU sequence error";
    case fes_header_digest:
      return "header digest error";
    case fes_range:
      return "data transfer out of range";
    case fes_limit:
      return "data transfer or R2T limit exceeded";
    case fes_parameter:
      return "unsupported parameter";
    default:
      return "unknown";
  }
}

}  // namespace pdu

View Pdu::data() const noexcept {
  const std::size_t tail = (flags() & pdu::ddgstf) != 0 ? digest_bytes : 0;
  if (pdo() == 0 || pdo() + tail > raw.size()) return {};
  return slice(raw, pdo(), raw.size() - pdo() - tail);
}

Bytes make_pdu(std::uint8_t type, Bytes head, View data, std::uint8_t flags, const Agreed& agreed) {
  const std::size_t hlen = head.size();
  const bool digests = type != pdu::ic_req && type != pdu::h2c_term;
  const bool hdgst = digests && agreed.header_digest;
  const bool ddgst = digests && agreed.data_digest && !data.empty();
  const std::size_t behind_head = hlen + (hdgst ? digest_bytes : 0);
  const std::size_t pdo = data.empty() ? behind_head : aligned(behind_head, agreed.cpda);
  put8(head, 0, type);
  put8(head, pdu::at_flags, flags | (hdgst ? pdu::hdgstf : 0u) | (ddgst ? pdu::ddgstf : 0u));
  put8(head, pdu::at_hlen, static_cast<unsigned>(hlen));
  put8(head, pdu::at_pdo, data.empty() ? 0 : static_cast<unsigned>(pdo));
  put32(head, pdu::at_plen, static_cast<std::uint32_t>(pdo + data.size() + (ddgst ? digest_bytes : 0)));
  Bytes out = head;
  out.resize(pdo);
  if (hdgst) put32(out, hlen, crc32c_of(head));
  append(out, data);
  if (ddgst) {
    out.resize(out.size() + digest_bytes);
    put32(out, out.size() - digest_bytes, crc32c_of(data));
  }
  return out;
}

Bytes make_ic_req(const IcReq& req) {
  Bytes head(128);
  put16(head, 8, req.pfv);
  put8(head, 10, req.hpda);
  put8(head, 11, req.dgst);
  put32(head, 12, req.maxr2t);
  return make_pdu(pdu::ic_req, std::move(head), {}, 0, Agreed());
}

Bytes make_h2c_data(std::uint16_t cccid, std::uint16_t ttag, std::uint32_t datao, View data, bool last,
                    const Agreed& agreed) {
  Bytes head(24);
  put16(head, pdu::at_cccid, cccid);
  put16(head, pdu::at_ttag, ttag);
  put32(head, pdu::at_datao, datao);
  put32(head, pdu::at_datal, static_cast<std::uint32_t>(data.size()));
  return make_pdu(pdu::h2c_data, std::move(head), data, last ? pdu::last : std::uint8_t{0}, agreed);
}

Bytes with8(Bytes pdu, std::size_t at, unsigned value) {
  put8(pdu, at, value);
  return pdu;
}
Bytes with16(Bytes pdu, std::size_t at, unsigned value) {
  put16(pdu, at, value);
  return pdu;
}
Bytes with32(Bytes pdu, std::size_t at, std::uint32_t value) {
  put32(pdu, at, value);
  return pdu;
}

// The flags that a PDU of a controller may have; all others are reserved (NVMe/TCP 1.0, section 3.6.2).
unsigned flags_of(std::uint8_t type) noexcept {
  if (type == pdu::c2h_data) return pdu::hdgstf | pdu::ddgstf | pdu::last | pdu::success;
  return type == pdu::response || type == pdu::r2t ? pdu::hdgstf : 0u;
}

std::string fault_of(const Pdu& p, const Agreed* agreed) {
  const char* type = pdu::name(p.type());
  const unsigned hlen = header_bytes(p.type());
  if (hlen == 0) return fmt::format("PDU type {:#04x} ({}) is none that a controller sends", p.type(), type);
  if (p.hlen() != hlen) return fmt::format("{}: HLEN expected {}, got {}", type, hlen, p.hlen());
  if ((p.flags() & ~flags_of(p.type())) != 0)
    return fmt::format("{}: flags {:#04x} have reserved ones", type, p.flags());
  if (p.type() == pdu::c2h_term) {
    return p.raw.size() > 152 ? fmt::format("C2HTermReq: PLEN {} is more than 152", p.raw.size())
                              : std::string();
  }
  if (p.type() == pdu::ic_resp) {
    return p.raw.size() != 128 ? fmt::format("ICResp: PLEN expected 128, got {}", p.raw.size())
                               : std::string();
  }
  if (agreed == nullptr) return fmt::format("{} before ICResp", type);
  const bool digest = (p.flags() & pdu::hdgstf) != 0;
  if (digest != agreed->header_digest) {
    return fmt::format("{}: HDGSTF is {}, header digests are {}", type, digest ? 1 : 0,
                       agreed->header_digest ? "on" : "off");
  }
  const std::size_t head = hlen + (digest ? digest_bytes : 0);
  if (p.raw.size() < head)
    return fmt::format("{}: PLEN {} is less than its header of {}", type, p.raw.size(), head);
  if (digest && u32(p.raw, hlen) != crc32c_of(slice(p.raw, 0, hlen))) {
    return fmt::format("{}: header digest {:#x}, its header has {:#x}", type, u32(p.raw, hlen),
                       crc32c_of(slice(p.raw, 0, hlen)));
  }
  if (p.type() == pdu::c2h_data) return fault_of_data(p, *agreed, head);
  if (p.raw.size() != head) return fmt::format("{}: PLEN expected {}, got {}", type, head, p.raw.size());
  return {};
}

}  // namespace holdfast::cli::conformance
