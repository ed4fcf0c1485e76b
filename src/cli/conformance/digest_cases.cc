// NVMe/TCP: header and data digests.
#include <fmt/format.h>

#include "cli/conformance/data_flow.h"
#include "cli/conformance/suite.h"

namespace holdfast::cli::conformance {
namespace {

constexpr std::uint8_t header = 1, data = 2;

SessionOptions with_digests(std::uint8_t dgst, bool enable = true) {
  SessionOptions o;
  o.ic.dgst = dgst;
  o.enable = enable;
  return o;
}

// not_supported() unless the target agreed to all of them.
bool agreed_to(Session& s, std::uint8_t dgst) {
  const Agreed& a = s.admin().agreed();
  const bool all = ((dgst & header) == 0 || a.header_digest) && ((dgst & data) == 0 || a.data_digest);
  return s.test().needs(all, "ICResp does not agree to these digests");
}

// Received PDUs are judged digest by digest, so commands that work say it all.
void works_with(Test& t, std::uint8_t dgst) {
  Session s(t, with_digests(dgst));
  if (!agreed_to(s, dgst)) return;
  s.controller();
  const auto queue = s.io_queue();
  const Answer a = queue->execute(s.read_command(0, 8));
  queue->expect_good("Read", a);
  t.equal("bytes read", a.data.size(), std::size_t{8} * s.block_bytes());
}

void with_alignment(Test& t) {
  SessionOptions o = with_digests(header | data);
  o.ic.hpda = 15;
  Session s(t, o);
  if (agreed_to(s, header | data)) s.controller();
}

Bytes a_command(const Connection& c) {
  Command command = fabrics_command(fabrics::property_get);
  return c.capsule(command.set8(40, 0).set32(44, prop::vs).cid(77));
}

void wrong_header_digest(Test& t) {
  Session s(t, with_digests(header));
  if (!agreed_to(s, header)) return;
  Bytes pdu = a_command(s.admin());
  pdu[72] ^= 1;
  s.admin().send(pdu);
  s.admin().expect_end();
}

void wrong_header_digest_report(Test& t) {
  Session s(t, with_digests(header));
  if (!agreed_to(s, header)) return;
  Bytes pdu = a_command(s.admin());
  pdu[72] ^= 1;
  s.admin().send(pdu);
  s.admin().expect_terminated(pdu::fes_header_digest, u32(pdu, 72));
}

void no_header_digest_flag(Test& t) {
  Session s(t, with_digests(header));
  if (!agreed_to(s, header)) return;
  Agreed without = s.admin().agreed();
  without.header_digest = false;
  Command command = fabrics_command(fabrics::property_get);
  Bytes head(8);
  append(head, command.set8(40, 0).set32(44, prop::vs).cid(77).sqe());
  s.admin().send(make_pdu(pdu::command, std::move(head), {}, 0, without));
  s.admin().expect_end();
}

void unagreed_header_digest_flag(Test& t) {
  Session s(t);
  s.admin().send(with8(a_command(s.admin()), pdu::at_flags, pdu::hdgstf));
  s.admin().expect_end();
}

void expect_transport_error(Test& t, const Pdu& answer) {
  const auto status = static_cast<std::uint16_t>(u16(answer.raw, 22) >> 1 & 0x7ff);
  t.expect(status == sc::transient_transport,
           fmt::format("status: expected {}, got {}", sc::text(sc::transient_transport), sc::text(status)));
}

// A data digest error fails the command only: the connection and its other commands go on.
void wrong_data_digest_in_capsule(Test& t) {
  Session s(t, with_digests(data));
  if (!agreed_to(s, data)) return;
  const auto queue = s.wire();
  Bytes pdu = queue->capsule(connect_command(s.parameters(1)).cid(9));
  pdu.back() ^= 1;
  queue->send(pdu);
  const Pdu answer = queue->receive();
  if (!answer || !t.equal("PDU type", answer.type(), pdu::response)) return;
  expect_transport_error(t, answer);
  queue->expect_good("the same Connect again", queue->execute(connect_command(s.parameters(1))));
}

void wrong_data_digest(Test& t) {
  DataFlow flow(t, 4096, with_digests(data));
  if (!t.ok() || !agreed_to(flow.session(), data)) return;
  Bytes pdu = flow.h2c_all();
  pdu.back() ^= 1;
  flow.queue().send(pdu);
  const Pdu answer = flow.queue().receive();
  if (!answer || !t.equal("PDU type", answer.type(), pdu::response)) return;
  expect_transport_error(t, answer);
  flow.queue().expect_good("Read behind it", flow.queue().execute(flow.session().read_command(0, 1)));
}

}  // namespace

void add_digest_cases(Cases& to) {
  const auto add = [&](const char* id, const char* title, const char* requirement,
                       std::function<void(Test&)> run) {
    to.push_back({std::string("tcp.digest.") + id, title, Spec::tcp, "3.3.1.1, 3.5 (digest errors)",
                  requirement, Level::optional, false, std::move(run)});
  };
  add("header", "Header digests", "Every PDU carries the CRC-32C of its header, once both sides agreed",
      [](Test& t) { works_with(t, header); });
  add("data", "Data digests", "Every PDU with data carries the CRC-32C of its data, once both sides agreed",
      [](Test& t) { works_with(t, data); });
  add("both", "Header and data digests", "Both digests together",
      [](Test& t) { works_with(t, header | data); });
  add("aligned", "Digests and aligned data",
      "The padding that HPDA asks for stands between the header digest and the data", with_alignment);
  add("header-wrong", "A wrong header digest", "A header digest error ends the connection",
      wrong_header_digest);
  add("header-wrong-report", "A wrong header digest: C2HTermReq",
      "A header digest error is reported by FES 3, with the digest received in FEI",
      wrong_header_digest_report);
  add("header-missing", "HDGSTF is clear, although it was agreed",
      "A PDU without the agreed digest ends the connection", no_header_digest_flag);
  add("header-unagreed", "HDGSTF is set, although it was not agreed",
      "A PDU with a digest that was not agreed ends the connection", unagreed_header_digest_flag);
  add("data-wrong-capsule", "A wrong data digest of in-capsule data",
      "A data digest error fails the command: transient transport error; the connection goes on",
      wrong_data_digest_in_capsule);
  add("data-wrong", "A wrong data digest of H2CData",
      "A data digest error fails the command: transient transport error; the connection goes on",
      wrong_data_digest);
}

}  // namespace holdfast::cli::conformance
