// NVMe/TCP: setting a connection up.
#include <fmt/format.h>

#include "cli/conformance/session.h"
#include "cli/conformance/suite.h"

namespace holdfast::cli::conformance {
namespace {

constexpr const char* ic_section = "3.1, 3.6.2.2 (ICReq), 3.6.2.3 (ICResp)";

// A connection set up with `req` that serves a whole controller afterwards.
void works_with(Test& t, const IcReq& req) {
  SessionOptions options;
  options.ic = req;
  Session s(t, options);
  t.expect(!s.controller().empty(), "Identify Controller gave nothing");
}

void ic_resp_form(Test& t) {
  Connection c(t);
  c.send(make_ic_req(IcReq()));
  const Pdu resp = c.receive();
  if (!resp) return;
  t.equal("PDU type", resp.type(), pdu::ic_resp);
  t.equal("HLEN", resp.hlen(), 128);
  t.equal("PLEN", resp.raw.size(), 128);
  t.equal("FLAGS", resp.flags(), 0);
  t.equal("PDO", resp.pdo(), 0);
  t.equal("PFV", u16(resp.raw, 8), 0);
}

void ic_resp_reserved(Test& t) {
  Connection c(t);
  c.send(make_ic_req(IcReq()));
  const Pdu resp = c.receive();
  if (!resp) return;
  t.equal("CPDA, reserved bits 7:5", static_cast<std::uint8_t>(u8(resp.raw, 10) >> 5), 0);
  t.equal("DGST, reserved bits 7:2", static_cast<std::uint8_t>(u8(resp.raw, 11) >> 2), 0);
  t.expect(is_zero(slice(resp.raw, 16, 112)), "bytes 127:16 are reserved, but not zero");
}

void max_h2c_data(Test& t) {
  Connection c(t);
  c.set_up();
}

void no_digests_unasked(Test& t) {
  Connection c(t);
  c.set_up();
  t.expect(!c.agreed().header_digest && !c.agreed().data_digest, "digests are on, which were not asked for");
}

void unknown_dgst_bits(Test& t) {
  Connection c(t);
  IcReq req;
  req.dgst = 0xfc;
  c.send(make_ic_req(req));
  const Pdu p = c.receive();  // accepting and refusing a reserved bit are both right
  if (!p || p.type() == pdu::c2h_term) return;
  t.equal("DGST of ICResp", u8(p.raw, 11), 0);
}

// A target may answer a version that it does not know with its own, or refuse it.
void unknown_version(Test& t) {
  Connection c(t);
  IcReq req;
  req.pfv = 0x7fff;
  c.send(make_ic_req(req));
  const Pdu p = c.receive_within(t.settings().timeout);
  if (!t.ok() || !p) return c.expect_end();
  if (p.type() == pdu::c2h_term) {
    const std::uint16_t fes = u16(p.raw, pdu::at_fes);
    t.expect(fes == pdu::fes_parameter || fes == pdu::fes_field,
             fmt::format("C2HTermReq: FES expected {} or {}, got {} ({})", pdu::fes_parameter, pdu::fes_field,
                         fes, pdu::fes_name(fes)));
    t.equal("FEI", u32(p.raw, pdu::at_fei), 8);
    return c.expect_end();
  }
  t.equal("PDU type", p.type(), pdu::ic_resp);
  t.expect(u16(p.raw, 8) != req.pfv, "ICResp agrees to a PDU format that does not exist");
}

void split_everywhere(Test& t) {
  Connection c(t);
  const Bytes req = make_ic_req(IcReq());
  for (std::size_t at = 0; at < req.size(); at += 16) {
    c.send(slice(req, at, 16));
    t.sleep(5ms);
  }
  const Pdu resp = c.receive();
  if (resp) t.equal("PDU type", resp.type(), pdu::ic_resp);
}

void one_byte_at_a_time(Test& t) {
  Session s(t);
  Command c(admin::identify);
  const Bytes capsule = s.admin().capsule(c.dw(10, 1).reads(4096).cid(0x1234));
  for (std::size_t at = 0; at < capsule.size(); ++at) s.admin().send(slice(capsule, at, 1));
  Bytes data;
  for (;;) {
    const Pdu p = s.admin().receive();
    if (!p || p.type() != pdu::c2h_data) {
      if (p) t.equal("PDU type", p.type(), pdu::response);
      break;
    }
    append(data, p.data());
  }
  t.equal("bytes of identify data", data.size(), 4096);
}

void many_in_one_segment(Test& t) {
  Session s(t);
  constexpr std::uint16_t count = 16;
  Bytes all;
  for (std::uint16_t i = 0; i < count; ++i) {
    Command c = fabrics_command(fabrics::property_get);
    append(all,
           s.admin().capsule(c.set8(40, 0).set32(44, prop::vs).cid(static_cast<std::uint16_t>(0x100 + i))));
  }
  s.admin().send(all);
  std::uint32_t seen = 0;
  for (int i = 0; i < count && t.ok(); ++i) {
    const Pdu p = s.admin().receive();
    if (!p || !t.equal("PDU type", p.type(), pdu::response)) return;
    seen |= 1u << (u16(p.raw, 20) & 15);
  }
  t.equal("commands that were answered", seen, 0xffffu);
}

void silent_connections_end(Test& t) {
  Connection c(t);
  t.sleep(200ms);
  c.set_up();  // a pause alone is no reason to end a connection
}

void add_alignments(Cases& to) {
  for (const unsigned hpda : {1u, 3u, 7u, 15u, 31u}) {
    Case c;
    c.id = fmt::format("tcp.setup.hpda-{}", hpda);
    c.title = fmt::format("Data to the host aligned to {} bytes", (hpda + 1) * 4);
    c.spec = Spec::tcp;
    c.section = ic_section;
    c.requirement = "PDO of every C2HData PDU is a multiple of the alignment that HPDA asks for";
    c.run = [hpda](Test& t) {
      IcReq req;
      req.hpda = static_cast<std::uint8_t>(hpda);
      works_with(t, req);
    };
    to.push_back(std::move(c));
  }
}

}  // namespace

void add_tcp_setup_cases(Cases& to) {
  const auto add = [&](const char* id, const char* title, const char* requirement, void (*run)(Test&),
                       const char* section = ic_section) {
    to.push_back({std::string("tcp.setup.") + id, title, Spec::tcp, section, requirement, Level::mandatory,
                  false, run});
  };
  add("icresp", "ICResp answers ICReq",
      "ICReq is answered by an ICResp of 128 bytes with PDU format version 0", ic_resp_form);
  add("icresp-reserved", "Reserved fields of ICResp are zero", "What ICResp does not define is zero",
      ic_resp_reserved);
  add("maxh2cdata", "MAXH2CDATA",
      "MAXH2CDATA is a multiple of 4, and should be at least 4096: hosts in the field refuse less",
      max_h2c_data);
  add("no-digests", "Digests stay off unless asked for", "A digest is enabled only when ICReq asked for it",
      no_digests_unasked);
  add("dgst-reserved", "Reserved digest bits", "Digest types that do not exist are never agreed to",
      unknown_dgst_bits);
  add("pfv", "Unknown PDU format version",
      "A PDU format version that does not exist is not agreed to; a refusal names it (FES 6 or 1, FEI 8)",
      unknown_version);
  add("maxr2t", "Any MAXR2T", "The largest MAXR2T is as good as the smallest", [](Test& t) {
    IcReq req;
    req.maxr2t = 0xffffffff;
    works_with(t, req);
  });
  add("segments", "ICReq in eight segments", "PDU boundaries are independent of TCP segments",
      split_everywhere, "2 (PDUs and TCP segments)");
  add("bytes", "A command capsule byte by byte", "PDU boundaries are independent of TCP segments",
      one_byte_at_a_time, "2 (PDUs and TCP segments)");
  add("batch", "Sixteen capsules in one segment", "PDU boundaries are independent of TCP segments",
      many_in_one_segment, "2 (PDUs and TCP segments)");
  add("pause", "A pause before ICReq", "A host may take a moment before it sends ICReq",
      silent_connections_end);
  add_alignments(to);
}

}  // namespace holdfast::cli::conformance
