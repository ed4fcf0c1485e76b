// NVMe/TCP: PDUs that a host may not send. Each makes two cases: the connection ends, and C2HTermReq says
// why.
#include <algorithm>

#include <fmt/format.h>

#include "cli/conformance/data_flow.h"
#include "cli/conformance/suite.h"

namespace holdfast::cli::conformance {
namespace {

constexpr int any_fei = -1;

// What C2HTermReq has to say: one of the FES, and the field's offset where the error is in one field.
struct Report {
  std::vector<std::uint16_t> fes;
  int fei = any_fei;
};

void expect_report(Connection& c, const Report& report) {
  Test& t = c.test();
  if (report.fes.size() == 1) return c.expect_terminated(report.fes.front(), report.fei);
  Pdu p;
  do p = c.receive_within(t.settings().timeout);
  while (p && p.type() != pdu::c2h_term);
  if (!t.ok()) return;
  if (!p) return t.fail("expected C2HTermReq, but none came");
  const std::uint16_t fes = u16(p.raw, pdu::at_fes);
  t.expect(std::find(report.fes.begin(), report.fes.end(), fes) != report.fes.end(),
           fmt::format("C2HTermReq: FES expected one of {}, got {} ({})", fmt::join(report.fes, ", "), fes,
                       pdu::fes_name(fes)));
  const std::uint32_t fei = u32(p.raw, pdu::at_fei);
  if (report.fei != any_fei) t.equal("C2HTermReq: FEI", fei, static_cast<std::uint32_t>(report.fei));
  c.expect_end();
}

// Brings a connection to where the wrong PDU comes, and sends it.
using Act = std::function<void(Test&, const std::function<void(Connection&)>& judge)>;
using Wrong = Bytes (*)(const Connection&);

Act before_set_up(Wrong wrong) {
  return [wrong](Test& t, const auto& judge) {
    Connection c(t);
    c.send(wrong(c));
    judge(c);
  };
}
Act after_set_up(Wrong wrong) {
  return [wrong](Test& t, const auto& judge) {
    Connection c(t);
    c.set_up();
    c.send(wrong(c));
    judge(c);
  };
}
// On the admin queue of an enabled controller.
Act on_queue(Wrong wrong) {
  return [wrong](Test& t, const auto& judge) {
    Session s(t);
    s.admin().send(wrong(s.admin()));
    judge(s.admin());
  };
}
Act in_data(Bytes (*wrong)(const DataFlow&)) {
  return [wrong](Test& t, const auto& judge) {
    DataFlow flow(t);
    if (!t.ok()) return;
    flow.queue().send(wrong(flow));
    judge(flow.queue());
  };
}

struct WrongPdu {
  const char* id;
  const char* title;
  const char* section;
  Act act;
  Report report;
};

Bytes a_command(const Connection& c) {
  Command command = fabrics_command(fabrics::property_get);
  return c.capsule(command.set8(40, 0).set32(44, prop::vs).cid(77));
}
Bytes a_command_with_data(const Connection& c) {
  ConnectParameters p;
  Command command = connect_command(p);
  return c.capsule(command.cid(78));
}
Bytes controllers_pdu(const Connection& c, std::uint8_t type, std::size_t hlen) {
  return make_pdu(type, Bytes(hlen), {}, 0, c.agreed());
}

constexpr const char* header_section = "3.6.2.1 (common header), 3.5, 3.6.2.5 (C2HTermReq)";
constexpr const char* sequence_section = "3.5, 3.6.2.5 (C2HTermReq)";
constexpr const char* type_section = "3.3 (PDU types), 3.5, 3.6.2.5 (C2HTermReq)";
constexpr const char* data_section = "3.3.2.2, 3.6.2.8 (H2CData)";

std::vector<WrongPdu> set_up_errors() {
  return {
      {"command-first",
       "A command before ICReq",
       sequence_section,
       before_set_up(a_command),
       {{pdu::fes_sequence}}},
      {"data-first",
       "H2CData before ICReq",
       sequence_section,
       before_set_up(
           [](const Connection& c) { return make_h2c_data(1, 0, 0, pattern(512, 1), true, c.agreed()); }),
       {{pdu::fes_sequence}}},
      {"icreq-twice",
       "A second ICReq",
       sequence_section,
       after_set_up([](const Connection&) { return make_ic_req(IcReq()); }),
       {{pdu::fes_sequence}}},
      {"icreq-type",
       "A PDU type that does not exist, first",
       type_section,
       before_set_up([](const Connection&) { return with8(make_ic_req(IcReq()), 0, 0x42); }),
       {{pdu::fes_field}, 0}},
      {"icreq-hlen",
       "ICReq with a wrong HLEN",
       header_section,
       before_set_up([](const Connection&) { return with8(make_ic_req(IcReq()), pdu::at_hlen, 120); }),
       {{pdu::fes_field}, 2}},
      {"icreq-plen",
       "ICReq with a wrong PLEN",
       header_section,
       before_set_up(
           [](const Connection&) { return with32(make_ic_req(IcReq()), pdu::at_plen, 0x80000000); }),
       {{pdu::fes_field}, 4}},
      {"icreq-hpda",
       "ICReq with HPDA over 31",
       "3.1, 3.6.2.2 (ICReq)",
       before_set_up([](const Connection&) {
         IcReq req;
         req.hpda = 32;
         return make_ic_req(req);
       }),
       {{pdu::fes_field, pdu::fes_parameter}, 10}},
      {"garbage",
       "No PDU at all",
       type_section,
       before_set_up([](const Connection&) { return Bytes(256, 0xff); }),
       {{pdu::fes_field}, 0}},
  };
}

std::vector<WrongPdu> header_errors() {
  return {
      {"type",
       "A PDU type that does not exist",
       type_section,
       on_queue([](const Connection& c) { return with8(a_command(c), 0, 0x0a); }),
       {{pdu::fes_field}, 0}},
      {"hlen",
       "A command with a wrong HLEN",
       header_section,
       on_queue([](const Connection& c) { return with8(a_command(c), pdu::at_hlen, 64); }),
       {{pdu::fes_field}, 2}},
      {"plen-short",
       "A command whose PLEN is less than its header",
       header_section,
       on_queue([](const Connection& c) { return with32(a_command(c), pdu::at_plen, 40); }),
       {{pdu::fes_field}, 4}},
      {"plen-huge",
       "A command whose PLEN is 4 GiB",
       header_section,
       on_queue([](const Connection& c) { return with32(a_command_with_data(c), pdu::at_plen, 0xfffffff0); }),
       {{pdu::fes_field}, 4}},
      {"pdo-inside",
       "Data that begins inside of the header",
       header_section,
       on_queue([](const Connection& c) { return with8(a_command_with_data(c), pdu::at_pdo, 64); }),
       {{pdu::fes_field}, 3}},
      {"pdo-outside",
       "Data that begins behind the end of the PDU",
       header_section,
       on_queue([](const Connection& c) {
         return with32(with8(a_command_with_data(c), pdu::at_pdo, 200), pdu::at_plen, 100);
       }),
       {{pdu::fes_field}}},
      {"icresp",
       "ICResp from a host",
       type_section,
       on_queue([](const Connection& c) { return controllers_pdu(c, pdu::ic_resp, 128); }),
       {{pdu::fes_field, pdu::fes_sequence}}},
      {"response",
       "CapsuleResp from a host",
       type_section,
       on_queue([](const Connection& c) { return controllers_pdu(c, pdu::response, 24); }),
       {{pdu::fes_field, pdu::fes_sequence}}},
      {"c2hdata",
       "C2HData from a host",
       type_section,
       on_queue([](const Connection& c) {
         return make_pdu(pdu::c2h_data, Bytes(24), pattern(64, 1), 0, c.agreed());
       }),
       {{pdu::fes_field, pdu::fes_sequence}}},
      {"r2t",
       "R2T from a host",
       type_section,
       on_queue([](const Connection& c) { return controllers_pdu(c, pdu::r2t, 24); }),
       {{pdu::fes_field, pdu::fes_sequence}}},
      {"data-unasked",
       "H2CData that no R2T asked for",
       data_section,
       on_queue(
           [](const Connection& c) { return make_h2c_data(7, 3, 0, pattern(512, 1), true, c.agreed()); }),
       {{pdu::fes_field, pdu::fes_sequence}}},
  };
}

// Only an R2T of more than MAXH2CDATA tells this limit from its own.
Act over_maxh2cdata() {
  return [](Test& t, const auto& judge) {
    DataFlow flow(t, 1u << 20);
    if (!t.ok()) return;
    const std::uint32_t most = flow.agreed().maxh2cdata;
    if (flow.r2tl() <= most) return t.not_supported("no R2T asks for more than MAXH2CDATA");
    flow.queue().send(flow.h2c(flow.r2to(), most + 4, false));
    judge(flow.queue());
  };
}

std::vector<WrongPdu> data_errors() {
  return {
      {"ttag",
       "H2CData with an unknown TTAG",
       data_section,
       in_data([](const DataFlow& f) {
         return with16(f.h2c(f.r2to(), 512, false), pdu::at_ttag, f.ttag() ^ 0x3fffu);
       }),
       {{pdu::fes_field}, 10}},
      {"cccid",
       "H2CData with another CCCID",
       data_section,
       in_data([](const DataFlow& f) {
         return with16(f.h2c(f.r2to(), 512, false), pdu::at_cccid, f.cid() + 1u);
       }),
       {{pdu::fes_field}, 8}},
      {"datao-skips",
       "H2CData that leaves a gap",
       data_section,
       in_data([](const DataFlow& f) { return f.h2c(f.r2to() + 512, 512, false); }),
       {{pdu::fes_sequence}}},
      {"datao-back",
       "H2CData sent twice",
       data_section,
       in_data([](const DataFlow& f) {
         Bytes twice = f.h2c(f.r2to(), 512, false);
         append(twice, f.h2c(f.r2to(), 512, false));
         return twice;
       }),
       {{pdu::fes_sequence}}},
      {"datao-huge",
       "H2CData near 4 GiB",
       data_section,
       in_data(
           [](const DataFlow& f) { return with32(f.h2c(f.r2to(), 512, true), pdu::at_datao, 0xfffffe00); }),
       {{pdu::fes_range, pdu::fes_sequence}}},
      {"too-much",
       "More data than R2T asked for",
       data_section,
       in_data([](const DataFlow& f) {
         const Bytes more = pattern(f.r2tl() + 4, 1);
         return make_h2c_data(f.cid(), f.ttag(), f.r2to(), more, true, f.agreed());
       }),
       {{pdu::fes_range, pdu::fes_limit}}},
      {"datal",
       "DATAL is not the data's length",
       data_section,
       in_data([](const DataFlow& f) { return with32(f.h2c(f.r2to(), 512, false), pdu::at_datal, 1024); }),
       {{pdu::fes_field, pdu::fes_range, pdu::fes_limit}}},
      {"maxh2cdata",
       "H2CData larger than MAXH2CDATA",
       "3.3.2.2, 3.6.2.3 (ICResp)",
       over_maxh2cdata(),
       {{pdu::fes_limit, pdu::fes_range}}},
  };
}

void add_wrong(Cases& to, const char* group, std::vector<WrongPdu> wrong) {
  for (const WrongPdu& w : wrong) {
    Case ends;
    ends.id = fmt::format("{}.{}", group, w.id);
    ends.title = w.title;
    ends.spec = Spec::tcp;
    ends.section = w.section;
    ends.requirement = "A PDU that breaks the rules ends the connection";
    ends.run = [act = w.act](Test& t) { act(t, [](Connection& c) { c.expect_end(); }); };
    Case reports = ends;
    reports.id = fmt::format("{}-report.{}", group, w.id);
    reports.title = fmt::format("{}: C2HTermReq", w.title);
    std::string fes;
    for (const std::uint16_t f : w.report.fes)
      fes += (fes.empty() ? "" : " or ") + fmt::format("{} ({})", f, pdu::fes_name(f));
    reports.requirement =
        fmt::format("Before it ends the connection the controller says why in C2HTermReq: FES {}{}", fes,
                    w.report.fei == any_fei ? "" : fmt::format(", FEI {}", w.report.fei));
    reports.run = [act = w.act, report = w.report](Test& t) {
      act(t, [&](Connection& c) { expect_report(c, report); });
    };
    to.push_back(std::move(ends));
    to.push_back(std::move(reports));
  }
}

// The header of the PDU in error comes back, so that a host can tell which of its PDUs it was.
void term_carries_header(Test& t) {
  Connection c(t);
  c.set_up();
  const Bytes wrong = with8(a_command(c), pdu::at_hlen, 64);
  c.send(wrong);
  const Pdu p = c.receive_within(t.settings().timeout);
  if (!t.ok()) return;
  if (!p || p.type() != pdu::c2h_term) return t.skip("the target sends no C2HTermReq; see tcp.error-report");
  const View data = slice(p.raw, 24, 128);
  t.expect(data.size() >= 8, "C2HTermReq carries no header of the PDU in error");
  t.equal_bytes("header of the PDU in error", data, slice(wrong, 0, data.size()));
}

Bytes host_term_req(const Connection& c) {
  Bytes head(24);
  put16(head, pdu::at_fes, pdu::fes_sequence);
  return make_pdu(pdu::h2c_term, std::move(head), {}, 0, c.agreed());
}

void host_terminates(Test& t) {
  Session s(t);
  s.admin().send(host_term_req(s.admin()));
  s.admin().expect_end();
}

// It is ignored, so no C2HTermReq comes; the connection ends all the same.
void host_terminates_wrongly(Test& t, std::uint32_t plen) {
  Session s(t);
  Bytes request = host_term_req(s.admin());
  request.resize(plen);
  s.admin().send(with32(std::move(request), pdu::at_plen, plen));
  const Pdu p = s.admin().receive_within(t.settings().timeout);
  if (p) return t.fail(fmt::format("expected the end of the connection, got {}", pdu::name(p.type())));
  s.admin().expect_end();
}

}  // namespace

void add_tcp_error_cases(Cases& to) {
  add_wrong(to, "tcp.error", set_up_errors());
  add_wrong(to, "tcp.error", header_errors());
  add_wrong(to, "tcp.error-data", data_errors());
  // Groups run together: the cases about ends first, then those about reports.
  std::stable_sort(to.begin(), to.end(), [](const Case& a, const Case& b) {
    const auto rank = [](const Case& c) {
      const std::string g = c.group();
      return g == "tcp.error"               ? 1
             : g == "tcp.error-data"        ? 2
             : g == "tcp.error-report"      ? 3
             : g == "tcp.error-data-report" ? 4
                                            : 0;
    };
    return rank(a) < rank(b);
  });
  to.push_back({"tcp.error-report.header", "C2HTermReq carries the header of the PDU in error", Spec::tcp,
                "3.5, 3.6.2.5 (C2HTermReq)", "The data of C2HTermReq is the header of the PDU in error",
                Level::mandatory, false, term_carries_header});
  to.push_back({"tcp.error.h2ctermreq", "H2CTermReq ends the connection", Spec::tcp,
                "3.5, 3.6.2.4 (H2CTermReq)", "A controller that receives H2CTermReq ends the connection",
                Level::mandatory, false, host_terminates});
  const auto add_wrong_length = [&](const char* id, const char* title, std::uint32_t plen) {
    to.push_back({id, title, Spec::tcp, "3.5, 3.6.2.4 (H2CTermReq)",
                  "H2CTermReq with a PLEN under 24 or over 152 is ignored, and the connection ends at once",
                  Level::mandatory, false, [plen](Test& t) { host_terminates_wrongly(t, plen); }});
  };
  add_wrong_length("tcp.error.h2ctermreq-short", "H2CTermReq shorter than its header", 23);
  add_wrong_length("tcp.error.h2ctermreq-long", "H2CTermReq longer than it may be", 153);
}

}  // namespace holdfast::cli::conformance
