#include "cli/conformance/connection.h"

#include <algorithm>

#include <fmt/format.h>

namespace holdfast::cli::conformance {
namespace {

constexpr std::uint32_t plen_max = 32u << 20;  // nothing that a case asks for is larger
// NVMe/TCP 1.0, 3.5: how long a controller may wait for the host to end the connection, and a little.
constexpr Nanos host_ends_time = 32s;

std::string list_of(std::initializer_list<std::uint16_t> statuses) {
  std::string text;
  for (const std::uint16_t s : statuses) text += (text.empty() ? "" : " or ") + sc::text(s);
  return text;
}

}  // namespace

Connection::Connection(Test& test) : test_(test) {
  if (!test.ok()) return;
  auto socket = test.network().connect(test.answer_deadline());
  if (!socket.ok()) {
    test.error(fmt::format("no connection to {}: {}", test.network().target().to_string(),
                           socket.error().message()));
    return;
  }
  socket_ = std::move(socket).value();
}

void Connection::send(View pdu) {
  if (!test_.ok() || !socket_) return;
  test_.note_sent(pdu);
  // A target that ended the connection is seen, and judged, where its answer is awaited.
  socket_->send(pdu, test_.answer_deadline());
}

void Connection::shutdown() noexcept {
  if (socket_) socket_->shutdown();
}

Pdu Connection::take_pdu(Nanos deadline, bool must) {
  if (!test_.ok() || !socket_) return {};
  const auto incomplete = [&](std::string_view what) {
    if (!socket_->inbox().empty()) {
      test_.fail(fmt::format("{}, {} bytes into a PDU", what, socket_->inbox().size()));
    } else if (must) {
      test_.fail(fmt::format("expected a PDU, but {}", what));
    }
    return Pdu();
  };
  constexpr const char* ended = "the target ended the connection";
  constexpr const char* silent = "nothing more came in time";
  if (test_.over()) return incomplete("the time of the case is over");
  if (!socket_->wait(8, deadline)) return incomplete(silent);
  if (socket_->inbox().size() < 8) return incomplete(ended);
  const std::uint32_t plen = u32(socket_->inbox(), pdu::at_plen);
  const std::uint8_t type = u8(socket_->inbox(), 0);
  test_.note_received(slice(socket_->inbox(), 0, plen));
  if (plen < 8 || plen > plen_max) {
    test_.fail(fmt::format("{}: PLEN of {} bytes", pdu::name(type), plen));
    return {};
  }
  if (!socket_->wait(plen, std::max(deadline, test_.answer_deadline()))) return incomplete(silent);
  if (socket_->inbox().size() < plen) return incomplete(ended);
  Pdu pdu;
  pdu.raw.assign(socket_->inbox().begin(), socket_->inbox().begin() + plen);
  socket_->take(plen);
  test_.note_received(pdu.raw);
  if (std::string fault = fault_of(pdu, is_set_up_ ? &agreed_ : nullptr); !fault.empty()) {
    test_.fail(std::move(fault));
    return {};
  }
  if (pdu.type() == pdu::c2h_term) socket_->end_sending();  // the host's part
  return pdu;
}

Pdu Connection::receive() { return take_pdu(test_.answer_deadline(), true); }
Pdu Connection::receive_within(Nanos time) { return take_pdu(test_.deadline_in(time), false); }

bool Connection::ends_within(Nanos time) {
  if (!socket_) return false;
  Nanos deadline = test_.deadline_in(time);
  for (;;) {
    if (skip_received()) deadline = std::max(deadline, test_.deadline_in(host_ends_time));
    if (socket_->ended()) return true;
    if (test_.now() >= deadline || !socket_->wait(socket_->inbox().size() + 1, deadline)) return false;
  }
}

bool Connection::skip_received() {
  bool terminated = false;
  while (socket_->inbox().size() >= 8) {
    const std::uint32_t plen = u32(socket_->inbox(), pdu::at_plen);
    const bool is_pdu = plen >= 8 && plen <= plen_max;
    if (is_pdu && socket_->inbox().size() < plen) break;
    if (is_pdu && u8(socket_->inbox(), 0) == pdu::c2h_term) {
      socket_->end_sending();
      terminated = true;
    }
    socket_->take(is_pdu ? plen : socket_->inbox().size());
  }
  return terminated;
}

void Connection::stays_silent(Nanos time) {
  const Pdu pdu = receive_within(time);
  if (pdu) test_.fail(fmt::format("expected nothing, got {}", pdu::name(pdu.type())));
  if (test_.ok() && socket_ && socket_->ended())
    test_.fail("expected nothing, but the target ended the connection");
}

bool Connection::set_up(const IcReq& req) {
  send(make_ic_req(req));
  const Pdu resp = receive();
  if (!resp) return false;
  if (resp.type() == pdu::c2h_term) {
    test_.fail(fmt::format("ICReq: expected ICResp, got C2HTermReq ({})",
                           pdu::fes_name(u16(resp.raw, pdu::at_fes))));
    return false;
  }
  if (!test_.equal("ICResp: PDU type", resp.type(), pdu::ic_resp)) return false;
  const std::uint8_t dgst = u8(resp.raw, 11);
  agreed_.header_digest = (dgst & 1) != 0;
  agreed_.data_digest = (dgst & 2) != 0;
  agreed_.hpda = req.hpda;
  agreed_.cpda = u8(resp.raw, 10);
  agreed_.maxh2cdata = u32(resp.raw, 12);
  agreed_.maxr2t = req.maxr2t;
  is_set_up_ = true;
  test_.equal("ICResp: PFV", u16(resp.raw, 8), 0);
  test_.expect((dgst & ~req.dgst) == 0, "ICResp: it turns on digests that ICReq did not ask for");
  test_.expect(agreed_.cpda <= 31, fmt::format("ICResp: CPDA {} is more than 31", agreed_.cpda));
  test_.expect(
      agreed_.maxh2cdata >= 4096 && agreed_.maxh2cdata % 4 == 0,
      fmt::format("ICResp: MAXH2CDATA {} is not a multiple of 4, at least 4096", agreed_.maxh2cdata));
  return test_.ok();
}

void Connection::expect_end() {
  if (!test_.ok()) return;
  // Time enough for a target that waits for the host to end the connection first.
  if (!ends_within(test_.settings().timeout + 2s))
    test_.fail("expected the end of the connection, but it stays");
}

void Connection::expect_terminated(std::uint16_t fes, std::int64_t fei) {
  if (!test_.ok()) return;
  Pdu pdu;
  do pdu = receive_within(test_.settings().timeout);
  while (pdu && pdu.type() != pdu::c2h_term);  // what was answered before the wrong PDU is no finding
  if (!test_.ok()) return;
  if (!pdu) {
    const bool ended = socket_ && socket_->ended();
    test_.fail(fmt::format("expected C2HTermReq with FES {} ({}), {}", fes, pdu::fes_name(fes),
                           ended ? "the connection ended without one" : "nothing came"));
    return;
  }
  const std::uint16_t got = u16(pdu.raw, pdu::at_fes);
  const std::uint32_t got_fei = u32(pdu.raw, pdu::at_fei);
  if (got != fes) {
    test_.fail(fmt::format("C2HTermReq: FES expected {} ({}), got {} ({}, FEI {})", fes, pdu::fes_name(fes),
                           got, pdu::fes_name(got), got_fei));
  } else if (fei >= 0 && got_fei != fei) {
    test_.fail(fmt::format("C2HTermReq: FEI expected {}, got {}", fei, got_fei));
  }
  expect_end();
}

Bytes Connection::capsule(const Command& command) const {
  Bytes head(8);
  append(head, command.sqe());
  return make_pdu(pdu::command, std::move(head), command.in_capsule() ? View(command.data()) : View(), 0,
                  agreed_);
}

std::uint16_t Connection::submit(Command command) {
  if (command.id() == 0) {
    do ++last_cid_;
    while (last_cid_ == 0 || pending_.contains(last_cid_));
    command.cid(last_cid_);
  }
  const std::uint16_t cid = command.id();
  send(capsule(command));
  pending_.insert_or_assign(cid, Pending{std::move(command), {}, 0, false});
  return cid;
}

Answer Connection::await(std::uint16_t cid) {
  Answer answer = await_within(cid, test_.settings().timeout);
  if (!answer.arrived && test_.ok()) {
    const bool ended = socket_ && socket_->ended();
    test_.fail(ended ? "expected a response, but the target ended the connection"
                     : "expected a response, but none came in time");
  }
  return answer;
}

Answer Connection::await_within(std::uint16_t cid, Nanos time) {
  Answer answer;
  const auto it = pending_.find(cid);
  if (it == pending_.end()) return answer;
  const Nanos deadline = test_.deadline_in(time);
  while (test_.ok() && !it->second.answer.arrived) {
    const Pdu pdu = take_pdu(deadline, false);
    if (!pdu) break;
    take(pdu);
  }
  if (!it->second.answer.arrived) return answer;
  answer = std::move(it->second.answer);
  pending_.erase(it);
  return answer;
}

void Connection::take(const Pdu& pdu) {
  switch (pdu.type()) {
    case pdu::response:
      return take_response(pdu);
    case pdu::c2h_data:
      return take_data(pdu);
    case pdu::r2t:
      return take_r2t(pdu);
    case pdu::c2h_term:
      return test_.fail(fmt::format("expected a response, got C2HTermReq ({}, FEI {})",
                                    pdu::fes_name(u16(pdu.raw, pdu::at_fes)), u32(pdu.raw, pdu::at_fei)));
    default:
      return test_.fail(fmt::format("expected a response, got {}", pdu::name(pdu.type())));
  }
}

void Connection::take_response(const Pdu& pdu) {
  const std::uint16_t cid = u16(pdu.raw, 20);
  const auto it = pending_.find(cid);
  if (it == pending_.end() || it->second.answer.arrived)
    return test_.fail(fmt::format("a response with CID {:#x}, which no command of ours has", cid));
  Answer& a = it->second.answer;
  const std::uint16_t status = u16(pdu.raw, 22);
  a.arrived = true;
  a.status = status >> 1 & 0x7ff;
  a.more = (status >> 14 & 1) != 0;
  a.dnr = (status >> 15 & 1) != 0;
  a.dw0 = u32(pdu.raw, 8);
  a.dw1 = u32(pdu.raw, 12);
  a.sqhd = u16(pdu.raw, 16);
  a.cid = cid;
  const bool sends_data = !it->second.command.in_capsule() && !it->second.command.data().empty();
  if (a.status == sc::success && sends_data && it->second.asked != it->second.command.data().size())
    test_.fail(fmt::format("success, but of {} bytes of command data only {} were asked for",
                           it->second.command.data().size(), it->second.asked));
}

void Connection::take_data(const Pdu& pdu) {
  const auto it = pending_.find(u16(pdu.raw, pdu::at_cccid));
  if (it == pending_.end() || it->second.answer.arrived)
    return test_.fail(
        fmt::format("C2HData: CCCID {:#x}, which no command of ours has", u16(pdu.raw, pdu::at_cccid)));
  Answer& a = it->second.answer;
  const std::uint32_t length = u32(it->second.command.sqe(), 32);
  const std::uint32_t datao = u32(pdu.raw, pdu::at_datao);
  const View data = pdu.data();
  ++a.c2h_pdus;
  if (it->second.data_over) return test_.fail("C2HData: more of them follow the one with LAST_PDU");
  if (datao != a.data.size())
    return test_.fail(fmt::format("C2HData: DATAO expected {}, got {}", a.data.size(), datao));
  if (datao + data.size() > length)
    return test_.fail(
        fmt::format("C2HData: {} bytes, the command's buffer has {}", datao + data.size(), length));
  append(a.data, data);
  const bool last = (pdu.flags() & pdu::last) != 0;
  it->second.data_over = last;
  if (a.data.size() == length && !last) return test_.fail("C2HData: the last PDU has no LAST_PDU flag");
  if ((pdu.flags() & pdu::success) == 0) return;
  if (!last) return test_.fail("C2HData: SUCCESS flag without LAST_PDU");
  if (!flow_control_disabled) return test_.fail("C2HData: SUCCESS flag, although SQ flow control is in use");
  a.by_success = a.arrived = true;
  a.cid = it->first;
}

void Connection::take_r2t(const Pdu& pdu) {
  const auto it = pending_.find(u16(pdu.raw, pdu::at_cccid));
  if (it == pending_.end() || it->second.answer.arrived)
    return test_.fail(
        fmt::format("R2T: CCCID {:#x}, which no command of ours has", u16(pdu.raw, pdu::at_cccid)));
  Pending& p = it->second;
  const std::uint32_t r2to = u32(pdu.raw, pdu::at_datao), r2tl = u32(pdu.raw, pdu::at_datal);
  const std::uint16_t ttag = u16(pdu.raw, pdu::at_ttag);
  const std::size_t have = p.command.in_capsule() ? 0 : p.command.data().size();
  ++p.answer.r2ts;
  if (r2tl == 0 || std::size_t{r2to} + r2tl > have) {
    return test_.fail(fmt::format("R2T: asks for {} bytes from {}, the command has {}", r2tl, r2to, have));
  }
  if (r2to != p.asked) return test_.fail(fmt::format("R2T: R2TO expected {}, got {}", p.asked, r2to));
  p.asked += r2tl;
  for (std::uint32_t done = 0; done < r2tl && test_.ok();) {
    const std::uint32_t n = std::min(r2tl - done, std::max(4096u, agreed_.maxh2cdata));
    const View piece = slice(p.command.data(), r2to + done, n);
    done += n;
    send(make_h2c_data(it->first, ttag, r2to + done - n, piece, done == r2tl, agreed_));
  }
}

bool Connection::expect_status(std::string_view what, const Answer& answer,
                               std::initializer_list<std::uint16_t> wanted) {
  if (!answer.arrived) return false;  // that is a finding already
  if (std::find(wanted.begin(), wanted.end(), answer.status) != wanted.end()) return true;
  test_.fail(fmt::format("{}: expected {}, got {}", what, list_of(wanted), sc::text(answer.status)));
  return false;
}

bool Connection::refuses_id(std::uint16_t cid) {
  const Pdu p = receive();
  if (!p) return false;
  const unsigned status = p.type() == pdu::response ? u16(p.raw, 22) >> 1 & 0x7ffu : sc::success;
  if (status == sc::id_conflict) return test_.equal("CID", u16(p.raw, 20), cid);
  test_.not_supported("identifiers in use are not looked for");
  return false;
}

bool Connection::expect_refused(std::string_view what, const Answer& answer) {
  if (!answer.arrived) return false;
  if (answer.status != sc::success) return true;
  test_.fail(fmt::format("{}: expected a failure, got success", what));
  return false;
}

}  // namespace holdfast::cli::conformance
