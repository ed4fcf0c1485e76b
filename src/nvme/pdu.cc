#include "nvme/pdu.h"

#include <algorithm>

namespace holdfast::nvme {
namespace {

constexpr Fault field_fault(std::size_t offset) noexcept {
  return {Fes::invalid_header_field, static_cast<std::uint32_t>(offset)};
}
constexpr Fault flags_fault = field_fault(offsetof(CommonHeader, flags));
constexpr Fault hlen_fault = field_fault(offsetof(CommonHeader, hlen));
constexpr Fault pdo_fault = field_fault(offsetof(CommonHeader, pdo));
constexpr Fault plen_fault = field_fault(offsetof(CommonHeader, plen));

bool may_come_now(const PduRule& rule, Phase phase) noexcept {
  switch (rule.type) {
    case PduType::ic_req:
    case PduType::ic_resp:
      return phase == Phase::set_up;
    case PduType::h2c_term_req:
    case PduType::c2h_term_req:
      return true;
    case PduType::capsule_cmd:
    case PduType::capsule_resp:
    case PduType::h2c_data:
    case PduType::c2h_data:
    case PduType::r2t:
      return phase == Phase::running;
  }
  return false;
}

// Data over what the receiver takes, by the table of the terminate request (NVMe/TCP 1.0, Figures 22 and 23):
// the data limit is MAXH2CDATA; C2HData that large lies outside of its command; of a capsule the length is wrong.
Fault data_fault(const PduRule& rule) noexcept {
  if (rule.type == PduType::h2c_data) return {Fes::data_limit_exceeded, 0};
  if (rule.type == PduType::c2h_data) return {Fes::data_out_of_range, 0};
  return plen_fault;
}

std::uint32_t data_limit(const PduRule& rule, const PduLimits& limits) noexcept {
  switch (rule.type) {
    case PduType::h2c_term_req:
    case PduType::c2h_term_req:
      return term_req_data_max;
    case PduType::capsule_cmd:
      return limits.capsule_data_max;
    case PduType::h2c_data:
    case PduType::c2h_data:
      return limits.data_max;
    case PduType::ic_req:
    case PduType::ic_resp:
    case PduType::capsule_resp:
    case PduType::r2t:
      return 0;
  }
  return 0;
}

// Which digests the flags have to say, in a PDU with data or without.
bool digests_as_agreed(const PduRule& rule, const CommonHeader& ch, bool has_data,
                       const PduLimits& limits) noexcept {
  if (rule.set_up) return true;
  if (((ch.flags & flag_header_digest) != 0) != limits.header_digest) return false;
  return !has_data || ((ch.flags & flag_data_digest) != 0) == limits.data_digest;
}

// A terminate request has its data right behind the header, whatever PDO says (it is reserved there).
std::uint32_t data_start_of(const PduRule& rule, const CommonHeader& ch) noexcept {
  return rule.set_up ? rule.hlen : ch.pdo;
}

PduCheck check_data(const PduRule& rule, const CommonHeader& ch, std::uint32_t head,
                    const PduLimits& limits) noexcept {
  const std::uint32_t plen = ch.plen;
  const std::uint32_t start = data_start_of(rule, ch);
  const std::uint32_t unit = (limits.pda + 1u) * 4u;
  if (start < head || start >= plen) return pdo_fault;
  if (!rule.set_up && start % unit != 0) return pdo_fault;
  const bool digest = !rule.set_up && limits.data_digest;
  const std::uint32_t tail = digest ? digest_bytes : 0;
  if (plen - start <= tail) return plen_fault;
  const std::uint32_t data = plen - start - tail;
  if (data > data_limit(rule, limits)) return data_fault(rule);
  return PduShape{rule.type, head != rule.hlen, digest, rule.hlen, start, data, plen};
}

}  // namespace

const char* name(Fes fes) noexcept {
  switch (fes) {
    case Fes::none:
      return "none";
    case Fes::invalid_header_field:
      return "invalid PDU header field";
    case Fes::sequence_error:
      return "PDU sequence error";
    case Fes::header_digest_error:
      return "header digest error";
    case Fes::data_out_of_range:
      return "data transfer out of range";
    case Fes::data_limit_exceeded:
      return "data transfer limit exceeded";
    case Fes::unsupported_parameter:
      return "unsupported parameter";
  }
  return "?";
}

const PduRule* rule_of(std::uint8_t pdu_type) noexcept {
  for (const PduRule& rule : pdu_rules) {
    if (static_cast<std::uint8_t>(rule.type) == pdu_type) return &rule;
  }
  return nullptr;
}

PduCheck check(const CommonHeader& ch, Role sender, const PduLimits& limits) noexcept {
  const PduRule* rule = rule_of(ch.pdu_type);
  if (rule == nullptr || rule->sender != sender) return field_fault(offsetof(CommonHeader, pdu_type));
  if (!may_come_now(*rule, limits.phase)) return Fault{Fes::sequence_error, 0};
  // Of several wrong fields the first one is named.
  const std::uint32_t head = rule->hlen + (!rule->set_up && limits.header_digest ? digest_bytes : 0);
  if (!digests_as_agreed(*rule, ch, rule->may_carry_data && ch.plen > head, limits)) return flags_fault;
  if (ch.hlen != rule->hlen) return hlen_fault;
  if (ch.plen < head) return plen_fault;
  if (ch.plen == head) {  // no data: PDO means nothing
    // A data PDU without data would let a peer keep us busy for nothing.
    if (rule->type == PduType::h2c_data || rule->type == PduType::c2h_data) return plen_fault;
    return PduShape{rule->type, head != rule->hlen, false, rule->hlen, head, 0, head};
  }
  if (!rule->may_carry_data) return plen_fault;
  return check_data(*rule, ch, head, limits);
}

bool is_ignored(const CommonHeader& ch, Fault fault) noexcept {
  const auto type = static_cast<PduType>(ch.pdu_type);
  return (type == PduType::h2c_term_req || type == PduType::c2h_term_req) && fault == plen_fault;
}

std::optional<Fault> check(const IcReq& req) noexcept {
  if (req.pfv != 0) return Fault{Fes::unsupported_parameter, offsetof(IcReq, pfv)};
  if (req.hpda > pda_max) return field_fault(offsetof(IcReq, hpda));
  return std::nullopt;
}

std::optional<Fault> check(const IcResp& resp) noexcept {
  if (resp.pfv != 0) return Fault{Fes::unsupported_parameter, offsetof(IcResp, pfv)};
  if (resp.cpda > pda_max) return field_fault(offsetof(IcResp, cpda));
  if (resp.maxh2cdata < maxh2cdata_min || resp.maxh2cdata % 4 != 0)
    return field_fault(offsetof(IcResp, maxh2cdata));
  return std::nullopt;
}

TermReqPdu make_term_req(Role sender, Fault fault, std::span<const std::byte> header_in_error) noexcept {
  TermReqPdu pdu;
  const auto data = header_in_error.first(std::min<std::size_t>(header_in_error.size(), term_req_data_max));
  pdu.size = static_cast<std::uint32_t>(sizeof(TermReq) + data.size());
  TermReq req{};
  req.ch.pdu_type =
      static_cast<std::uint8_t>(sender == Role::host ? PduType::h2c_term_req : PduType::c2h_term_req);
  req.ch.hlen = sizeof(TermReq);
  req.ch.plen = pdu.size;
  req.fes = static_cast<std::uint16_t>(fault.fes);
  req.fei = fault.fei;
  store(pdu.bytes, req);
  std::copy(data.begin(), data.end(), pdu.bytes.begin() + sizeof(TermReq));
  return pdu;
}

}  // namespace holdfast::nvme
