// Any 8 bytes, in any phase and from either side, are judged without a fault of ours; what is accepted keeps
// to the limits. Input: one byte of choices, the common header, then an ICReq or ICResp body.
#include <algorithm>
#include <cstdlib>

#include "nvme/pdu.h"

using namespace holdfast;
using namespace holdfast::nvme;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

template <Wire T>
T body(std::span<const std::byte> in) {
  std::array<std::byte, sizeof(T)> raw{};
  std::copy_n(in.begin(), std::min(in.size(), raw.size()), raw.begin());
  return load<T>(raw);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1 + sizeof(CommonHeader)) return 0;
  const auto in = std::as_bytes(std::span(data, size)).subspan(1);
  PduLimits limits;
  limits.phase = (data[0] & 1) != 0 ? Phase::running : Phase::set_up;
  limits.header_digest = (data[0] & 2) != 0;
  limits.data_digest = (data[0] & 4) != 0;
  limits.pda = (data[0] & 8) != 0 ? pda_max : 0;
  limits.capsule_data_max = 8192;
  limits.data_max = 1 << 20;
  const Role sender = (data[0] & 16) != 0 ? Role::controller : Role::host;

  const auto ch = load<CommonHeader>(in);
  const PduCheck c = check(ch, sender, limits);
  if (c.ok()) {
    const PduShape& s = c.shape();
    require(s.data_bytes <= limits.data_max && s.data_start >= s.hlen && s.head_bytes() <= 255);
    require(s.data_start + s.data_bytes + (s.has_data_digest ? digest_bytes : 0) == s.plen);
    require(s.plen == ch.plen);
  } else {
    require(c.fault().fes <= Fes::unsupported_parameter && c.fault().fei < sizeof(CommonHeader));
    const TermReqPdu term = make_term_req(Role::controller, c.fault(), in);
    require(check(load<CommonHeader>(term.span()), Role::controller, limits).ok());
  }
  const auto req = body<IcReq>(in);
  if (!check(req)) require(req.hpda <= pda_max && req.pfv == 0);
  const auto resp = body<IcResp>(in);
  if (!check(resp)) require(resp.maxh2cdata >= maxh2cdata_min);
  return 0;
}
