// Goal: the tool finds what is wrong. Method: a table of peers, each wrong in one way, with the case that has
// to fail because of it, and the same case through the same server without the fault, which has to pass.
#include "conformance/broken_peer.h"

#include <functional>
#include <set>
#include <utility>

#include <gtest/gtest.h>

#include "conformance/conformance_run.h"

namespace holdfast::conformance_test {
namespace {

using Change = std::function<void(Relay&, Bytes&)>;

constexpr std::uint8_t ic_resp = 0x01, c2h_term = 0x03, command = 0x04, response = 0x05, c2h_data = 0x07,
                       r2t = 0x09;
constexpr std::uint8_t fabrics = 0x7f, identify = 0x06, get_log = 0x02, get_features = 0x0a,
                       set_features = 0x09;

Change on(std::uint8_t type, std::function<void(Bytes&)> change) {
  return [type, change](Relay&, Bytes& pdu) {
    if (!pdu.empty() && pdu[0] == type) change(pdu);
  };
}
// Responses of commands of that opcode; with a Fabrics type or property where one is given.
Change on_response(std::uint8_t opcode, std::function<void(Bytes&)> change, int fctype = -1,
                   int property = -1) {
  return [=](Relay& relay, Bytes& pdu) {
    if (pdu.empty() || pdu[0] != response) return;
    const Bytes sqe = relay.sqe_of(pdu);
    if (sqe[0] != opcode || (fctype >= 0 && sqe[4] != fctype)) return;
    if (property >= 0 && get32(sqe, 44) != static_cast<std::uint32_t>(property)) return;
    change(pdu);
  };
}
// Data of commands of that opcode whose dword 10 begins with `selector` (CNS, log page, feature).
Change on_data(std::uint8_t opcode, unsigned selector, std::function<void(Bytes&, std::size_t)> change) {
  return [=](Relay& relay, Bytes& pdu) {
    if (pdu.empty() || pdu[0] != c2h_data) return;
    const Bytes sqe = relay.sqe_of(pdu);
    if (sqe[0] == opcode && sqe[40] == selector) change(pdu, pdu[3]);
  };
}
Change property_value(int offset, std::function<std::uint32_t(std::uint32_t)> change) {
  return on_response(
      fabrics, [=](Bytes& p) { put32(p, 8, change(get32(p, 8))); }, 0x04, offset);
}
Change status(std::uint8_t opcode, unsigned to) {
  return on_response(opcode, [to](Bytes& p) { put16(p, 22, to << 1); });
}
bool is_command(const Bytes& pdu, std::uint8_t opcode) {
  return pdu.size() >= 72 && pdu[0] == command && pdu[8] == opcode;
}
// A response that is made here; the target never sees the command.
Change answered_here(std::uint8_t opcode) {
  return [opcode](Relay& relay, Bytes& pdu) {
    if (!is_command(pdu, opcode)) return;
    Bytes made(24);
    made[0] = response;
    made[2] = made[4] = 24;
    put16(made, 20, get16(pdu, 10));
    relay.to_host.insert(relay.to_host.end(), made.begin(), made.end());
    pdu.clear();
  };
}

std::vector<Fault> set_up_faults() {
  return {
      {"PFV 1", "tcp.setup.icresp", on(ic_resp, [](Bytes& p) { p[8] = 1; }), {}},
      {"ICResp flags", "tcp.setup.icresp", on(ic_resp, [](Bytes& p) { p[1] = 1; }), {}},
      {"ICResp reserved", "tcp.setup.icresp-reserved", on(ic_resp, [](Bytes& p) { p[100] = 1; }), {}},
      {"CPDA 40", "tcp.setup.icresp-reserved", on(ic_resp, [](Bytes& p) { p[10] = 40; }), {}},
      {"MAXH2CDATA 1024", "tcp.setup.maxh2cdata", on(ic_resp, [](Bytes& p) { put32(p, 12, 1024); }), {}},
      {"digests unasked", "tcp.setup.no-digests", on(ic_resp, [](Bytes& p) { p[11] = 3; }), {}},
      {"version agreed to",
       "tcp.setup.pfv",
       [](Relay& r, Bytes& p) {
         if (r.answers == 1) p = Bytes(128), p[0] = ic_resp, p[2] = p[4] = 128, put16(p, 8, 0x7fff);
       },
       {},
       true},
      {"data not aligned",
       "tcp.setup.hpda-15",
       {},
       [](Relay&, Bytes& p) {
         if (p[0] == 0) p[10] = 0;
       }},
  };
}

std::vector<Fault> pdu_faults() {
  // Says nothing either: after a report it is the host's turn to end the connection.
  const auto never_ends = [](const char* name, const char* test) {
    return Fault{name, test, on(c2h_term, [](Bytes& p) { p.clear(); }), {}, true};
  };
  return {
      {"unknown type", "base.controller.vs", on(response, [](Bytes& p) { p[0] = 0x15; }), {}},
      {"HLEN", "base.controller.vs", on(response, [](Bytes& p) { p[2] = 32; }), {}},
      {"digest flag", "base.controller.vs", on(response, [](Bytes& p) { p[1] = 1; }), {}},
      {"a reserved flag", "base.controller.vs", on(response, [](Bytes& p) { p[1] |= 4; }), {}},
      {"a reserved flag of data", "base.identify.texts", on(c2h_data, [](Bytes& p) { p[1] |= 0x10; }), {}},
      {"CID", "base.admin.cid", on(response, [](Bytes& p) { p[20] ^= 0x40; }), {}},
      {"phase tag", "base.admin.phase", on(response, [](Bytes& p) { p[22] |= 1; }), {}},
      {"SQHD", "base.admin.sqhd", on(response, [](Bytes& p) { put16(p, 16, 3); }), {}},
      {"SQHD over the size", "base.admin.sqhd-wrap", on(response, [](Bytes& p) { put16(p, 16, 9); }), {}},
      {"each response twice",
       "base.admin.sqhd",
       on(response,
          [](Bytes& p) {
            const Bytes q = p;
            p.insert(p.end(), q.begin(), q.end());
          }),
       {}},
      {"LAST_PDU on every PDU",
       "nvm.integrity.sizes",
       on(c2h_data,
          [](Bytes& p) {
            // Two PDUs of one, both the last.
            if (get32(p, 16) < 8192 || p[3] != 24) return;
            const std::uint32_t half = get32(p, 16) / 2 & ~3u;
            Bytes first(p.begin(), p.begin() + 24 + half), second(p.begin(), p.begin() + 24);
            second.insert(second.end(), p.begin() + 24 + half, p.end());
            put32(second, 12, get32(p, 12) + half);
            put32(second, 16, get32(p, 16) - half);
            put32(first, 16, half);
            first[1] |= 4;
            second[1] |= 4;
            put32(first, 4, static_cast<std::uint32_t>(first.size()));
            put32(second, 4, static_cast<std::uint32_t>(second.size()));
            p = first;
            p.insert(p.end(), second.begin(), second.end());
          }),
       {}},
      {"DATAO", "tcp.data.c2h", on(c2h_data, [](Bytes& p) { put32(p, 12, get32(p, 12) + 4); }), {}},
      {"no LAST_PDU", "tcp.data.c2h", on(c2h_data, [](Bytes& p) { p[1] &= 0xfb; }), {}},
      {"SUCCESS", "tcp.data.no-success", on(c2h_data, [](Bytes& p) { p[1] |= 8; }), {}},
      {"DATAL", "tcp.data.c2h", on(c2h_data, [](Bytes& p) { put32(p, 16, get32(p, 16) - 1); }), {}},
      {"data digest", "tcp.digest.data", on(c2h_data, [](Bytes& p) { p.back() ^= 1; }), {}},
      {"header digest", "tcp.digest.header", on(response, [](Bytes& p) { p.back() ^= 1; }), {}},
      {"R2TL", "tcp.data.r2t", on(r2t, [](Bytes& p) { put32(p, 16, 1u << 24); }), {}},
      {"R2TO",
       "tcp.data.r2t",
       on(r2t,
          [](Bytes& p) {
            put32(p, 12, 512);
            put32(p, 16, 512);
          }),
       {}},
      {"two R2Ts at once",
       "tcp.data.maxr2t",
       on(r2t,
          [](Bytes& p) {
            Bytes q = p;
            const std::uint32_t half = get32(p, 16) / 2;
            put32(p, 16, half);
            put32(q, 12, get32(q, 12) + half);
            put32(q, 16, get32(q, 16) - half);
            p.insert(p.end(), q.begin(), q.end());
          }),
       {}},
      {"one TTAG", "tcp.data.ttag", on(r2t, [](Bytes& p) { put16(p, 10, 7); }), {}},
      {"no C2HTermReq", "tcp.error-report.type", on(c2h_term, [](Bytes& p) { p.clear(); }), {}},
      {"FES", "tcp.error-report.type", on(c2h_term, [](Bytes& p) { p[8] = 2; }), {}},
      {"FEI", "tcp.error-report.hlen", on(c2h_term, [](Bytes& p) { p[10] ^= 8; }), {}},
      {"FEI of one of two FES", "tcp.error-report.icreq-hpda", on(c2h_term, [](Bytes& p) { p[10] = 0; }), {}},
      {"a limit of H2CData for a command",
       "tcp.error-report.plen-huge",
       on(c2h_term, [](Bytes& p) { p[8] = 5; }),
       {}},
      {"data transfer error for a data digest error",
       "tcp.digest.data-wrong-capsule",
       on(response,
          [](Bytes& p) {
            if ((get16(p, 22) >> 1 & 0x7ff) == 0x22) put16(p, 22, 0x04 << 1);
          }),
       {}},
      {"C2HTermReq without the header",
       "tcp.error-report.header",
       on(c2h_term,
          [](Bytes& p) {
            p.resize(24);
            put32(p, 4, 24);
          }),
       {}},
      never_ends("an error that ends nothing", "tcp.error.type"),
      never_ends("a header digest error that ends nothing", "tcp.digest.header-wrong"),
      never_ends("H2CTermReq that ends nothing", "tcp.error.h2ctermreq"),
      never_ends("H2CTermReq of a wrong length that ends nothing", "tcp.error.h2ctermreq-long"),
      never_ends("a second ICReq that ends nothing", "tcp.error.icreq-twice"),
      never_ends("keep alive without an end", "base.admin.keep-alive-expires"),
      never_ends("I/O queues that outlive the admin queue", "fabrics.isolation.admin-gone"),
  };
}

std::vector<Fault> controller_faults() {
  const auto connect_dw0 = [](std::uint32_t to) {
    return on_response(
        fabrics, [to](Bytes& p) { put32(p, 8, to); }, 0x01);
  };
  return {
      {"another CNTLID", "fabrics.connect.cntlid-given", connect_dw0(0x33), {}},
      {"one CNTLID for all", "fabrics.connect.two", connect_dw0(0x33), {}},
      {"IPO", "fabrics.connect.sqsize-zero", connect_dw0(8), {}},
      {"IATTR", "fabrics.connect.subnqn-unknown", connect_dw0(256), {}},
      {"everyone is let in",
       "fabrics.connect.subnqn-unknown",
       on_response(
           fabrics, [](Bytes& p) { put16(p, 22, 0); }, 0x01),
       {}},
      {"hosts without an identifier are let in",
       "fabrics.connect.hostid-zero",
       on_response(
           fabrics, [](Bytes& p) { put16(p, 22, 0); }, 0x01),
       {}},
      {"I/O queues of hosts without an identifier", "fabrics.connect.io-hostid-zero", connect_dw0(8), {}},
      {"CAP.CQR",
       "base.controller.cap",
       property_value(0, [](std::uint32_t v) { return v & ~(1u << 16); }),
       {}},
      {"VS", "base.controller.vs", property_value(8, [](std::uint32_t) { return 0x00010300u; }), {}},
      {"CC", "base.controller.enable", property_value(0x14, [](std::uint32_t v) { return v ^ 0x10; }), {}},
      {"never ready",
       "base.controller.enable",
       property_value(0x1c, [](std::uint32_t v) { return v & ~1u; }),
       {}},
      {"never shut down",
       "base.controller.shutdown",
       property_value(0x1c, [](std::uint32_t v) { return v & ~12u; }),
       {}},
      {"ready for ever",
       "base.controller.reset",
       property_value(0x1c, [](std::uint32_t v) { return v | 1u; }),
       {}},
      {"CAP in any size",
       "base.controller.get-cap-4",
       on_response(
           fabrics, [](Bytes& p) { put16(p, 22, 0); }, 0x04),
       {}},
      {"an event without a reason", "base.admin.event", {}, answered_here(0x0c)},
      {"Abort of anything",
       "base.admin.abort-nothing",
       on_response(0x08, [](Bytes& p) { put32(p, 8, 0); }),
       {}},
      {"any admin opcode", "base.admin.opcodes", status(0x3f, 0), {}},
      {"PRPs", "base.admin.psdt", status(identify, 0x004), {}},
      {"65,536 queues",
       "base.feature.queues-set",
       on_response(set_features, [](Bytes& p) { put32(p, 8, ~0u); }),
       {}},
      {"another host identifier",
       "base.feature.host-id",
       on_data(get_features, 0x81, [](Bytes& p, std::size_t at) { p[at] ^= 1; }),
       {}},
      {"any feature", "base.feature.unknown", status(get_features, 0), {}},
      {"another refusal of the host identifier", "base.feature.host-id-set", status(set_features, 0x02), {}},
  };
}

std::vector<Fault> content_faults() {
  const auto identifies = [](unsigned cns, std::size_t offset, unsigned value) {
    return on_data(identify, cns,
                   [=](Bytes& p, std::size_t at) { p[at + offset] = static_cast<std::uint8_t>(value); });
  };
  const auto logs = [](unsigned lid, std::size_t offset, unsigned value) {
    return on_data(get_log, lid,
                   [=](Bytes& p, std::size_t at) { p[at + offset] = static_cast<std::uint8_t>(value); });
  };
  return {
      {"SN", "base.identify.texts", identifies(1, 5, 7), {}},
      {"SUBNQN", "base.identify.subnqn", identifies(1, 770, 'x'), {}},
      {"SUBNQN that is no UTF-8", "base.identify.subnqn", identifies(1, 770, 0xff), {}},
      {"SQES", "base.identify.entry-sizes", identifies(1, 512, 0x55), {}},
      {"KAS",
       "base.identify.kas",
       on_data(identify, 1, [](Bytes& p, std::size_t at) { put16(p, at + 320, 0); }),
       {}},
      {"CNTRLTYPE", "base.identify.cntrltype", identifies(1, 111, 2), {}},
      {"ICDOFF", "base.identify.fabrics", identifies(1, 1800, 1), {}},
      {"reserved identify bytes", "base.identify.reserved", identifies(1, 1100, 1), {}},
      {"namespaces out of order", "base.identify.active", identifies(2, 8, 1), {}},
      {"NUSE", "base.identify.ns-sizes", identifies(0, 23, 0x7f), {}},
      {"FLBAS", "base.identify.ns-format", identifies(0, 26, 9), {}},
      {"NGUID", "base.identify.ns-descriptors", identifies(0, 104, 0xee), {}},
      {"any CNS", "base.identify.cns-unknown", status(identify, 0), {}},
      {"reserved SMART bytes", "base.log.smart", logs(2, 300, 1), {}},
      {"active firmware slot", "base.log.firmware", logs(3, 0, 0), {}},
      {"command effects",
       "base.log.effects",
       on_data(get_log, 5, [](Bytes& p, std::size_t at) { p[at + 1024 + 8] = 0; }),
       {}},
      {"any log page", "base.log.unknown", status(get_log, 0), {}},
      {"RECFMT", "fabrics.discovery.header", logs(0x70, 16, 1), {}},
      {"SUBTYPE",
       "fabrics.discovery.entries",
       on_data(get_log, 0x70,
               [](Bytes& p, std::size_t at) {
                 if (p.size() > at + 1026) p[at + 1026] = 9;
               }),
       {}},
      {"entries of others",
       "fabrics.discovery.subsystem",
       on_data(get_log, 0x70,
               [](Bytes& p, std::size_t at) {
                 // Of an entry: its names; of the header: zeroes.
                 for (std::size_t i = at + 256; i < p.size(); ++i)
                   if (p[i] == 'm') p[i] = 'n';
               }),
       {}},
  };
}

std::vector<Fault> io_faults() {
  const auto io_read = [](Relay& r, Bytes& p) {
    if (p.empty() || p[0] != c2h_data || r.sqe_of(p)[0] != 2 || r.sqe_of(p)[4] != 1) return false;
    return get32(r.sqe_of(p), 32) >= 512;
  };
  return {
      {"a bit of what is read",
       "nvm.io.write",
       [=](Relay& r, Bytes& p) {
         if (io_read(r, p)) p.back() ^= 1;
       },
       {}},
      {"a bit of large reads",
       "nvm.integrity.sizes",
       [=](Relay& r, Bytes& p) {
         if (p.size() > 30000 && io_read(r, p)) p[30000] ^= 0x80;
       },
       {}},
      {"writes that are lost",
       "nvm.integrity.random",
       {},
       [](Relay& r, Bytes& p) {
         if (p[0] == command && p[8] == 1 && p.size() > 600) answered_here(1)(r, p);
       }},
      {"zeroes that are not written", "nvm.io.write-zeroes", {}, answered_here(8)},
      {"deallocation that goes too far",
       "nvm.io.dsm",
       {},
       [](Relay&, Bytes& p) {
         if (p[0] == command && p[8] == 9 && p.size() >= 72 + 32) put32(p, 72 + 4, 24);
       }},
      {"copies that are not made", "nvm.io.copy", {}, answered_here(0x19)},
      {"Compare of anything", "nvm.io.compare", status(5, 0), {}},
      {"another status", "nvm.error.range-02", status(2, 0x002), {}},
      {"any NSID", "nvm.error.nsid-zero", status(2, 0), {}},
      {"any I/O opcode", "nvm.error.opcode-7e", status(0x7e, 0), {}},
      {"half a response",
       "nvm.io.flush",
       on(response,
          [](Bytes& p) {
            if (p.size() == 24) p.resize(20);
          }),
       {}},
  };
}

std::vector<Fault> reservation_faults() {
  constexpr std::uint8_t report = 0x0e;
  const auto reports = [](std::size_t offset) {
    return on_data(report, 0xff, [=](Bytes& p, std::size_t at) { p[at + offset] = 0; });
  };
  return {
      {"a reservation that fences nobody", "base.reservation.access-1", status(1, 0), {}},
      {"reads that are fenced as writes", "base.reservation.access-1", status(2, 0x083), {}},
      {"a generation that stands still", "base.reservation.register", reports(0), {}},
      {"a type that is not reported", "base.reservation.acquire-held", reports(4), {}},
      {"a preempted host that stays", "base.reservation.preempt", status(1, 0), {}},
      {"keys of others", "base.reservation.unregister", status(0x0d, 0), {}},
  };
}

std::vector<Fault> notice_faults() {
  constexpr std::uint8_t event_request = 0x0c, acquire = 0x11, release = 0x15, notices = 0x80,
                         notice_mask = 0x82;
  const auto entry = [](std::size_t offset, std::uint8_t value) {
    return on_data(get_log, notices, [=](Bytes& p, std::size_t at) {
      if (p[at + 8] != 0) p[at + offset] = value;
    });
  };
  const auto event = [](std::size_t offset, std::uint8_t value) {
    return on_response(event_request, [=](Bytes& p) { p[8 + offset] = value; });
  };
  const auto shared_type = [](Relay&, Bytes& p) {  // write exclusive becomes that of the registrants
    if ((is_command(p, acquire) || is_command(p, release)) && p[49] == 1) p[49] = 3;
  };
  const auto mask_dropped = [](Relay&, Bytes& p) {
    if (is_command(p, set_features) && p[48] == notice_mask) put32(p, 52, 0);
  };
  const auto mask_told = [](Relay& r, Bytes& p) {
    if (p.empty() || p[0] != response) return;
    const Bytes sqe = r.sqe_of(p);
    if (sqe[0] == get_features && sqe[40] == notice_mask) put32(p, 8, 0xe);
  };
  const auto told_at_once = [](Relay& r, Bytes& p) {
    if (!is_command(p, event_request)) return;
    answered_here(event_request)(r, p);
    put32(r.to_host, r.to_host.size() - 24 + 8, 0x00800006);
  };
  return {
      {"notices of nothing", "base.reservation.notice-preempt", entry(8, 0), {}},
      {"notices of another namespace", "base.reservation.notice-preempt", entry(12, 7), {}},
      {"notices that are not counted", "base.reservation.notice-preempt", entry(0, 0), {}},
      {"events of another type", "base.reservation.notice-release", event(0, 2), {}},
      {"events of another log page", "base.reservation.notice-release", event(2, 4), {}},
      {"one kind of notice for all", "base.reservation.notice-clear", entry(8, 1), {}},
      {"notices of every release", "base.reservation.notice-release-quiet", {}, shared_type},
      {"notices of what one did oneself", "base.reservation.notice-own", {}, told_at_once},
      {"a mask that counts for nothing", "base.reservation.notice-mask", mask_told, mask_dropped},
  };
}

class Broken : public testing::Test {
 protected:
  std::string outcome(const Fault& fault, std::string* text = nullptr) {
    BrokenPeer peer(exported().engine().nvmf_port(), fault);
    const std::string target = "nvmf://127.0.0.1:" + std::to_string(peer.port()) + "/" + exported().nqn();
    const ToolRun run =
        run_tool(exported().scratch(), target, {"--destructive", "--timeout", "4", "--test", fault.test});
    if (!run.report.is_object() || run.report["tests"].size() != 1) return "no report: " + run.messages;
    if (text != nullptr) *text = run.report["tests"][0]["text"];
    const std::string got = run.report["tests"][0]["outcome"];
    EXPECT_EQ(run.status, got == "fail" || got == "error" ? 1 : 0);
    return got;
  }
  void expect_found(const std::vector<Fault>& faults) {
    std::set<std::string> tests;
    for (const Fault& f : faults) {
      SCOPED_TRACE(f.name);
      std::string text;
      EXPECT_EQ(outcome(f, &text), "fail") << f.test;
      EXPECT_FALSE(text.empty());
      tests.insert(f.test);
    }
    for (const std::string& t : tests) {
      SCOPED_TRACE(t);
      EXPECT_EQ(outcome(Fault{"none", t.c_str(), {}, {}}), "pass") << "without a fault";
    }
  }
  static Exported& exported() {
    static Exported one;
    return one;
  }
};

TEST_F(Broken, ConnectionSetUp) { expect_found(set_up_faults()); }
TEST_F(Broken, PdusAndTheirFlow) { expect_found(pdu_faults()); }
TEST_F(Broken, Controllers) { expect_found(controller_faults()); }
TEST_F(Broken, WhatTheySay) { expect_found(content_faults()); }
TEST_F(Broken, InputAndOutput) { expect_found(io_faults()); }
TEST_F(Broken, Reservations) { expect_found(reservation_faults()); }
TEST_F(Broken, NoticesOfReservations) { expect_found(notice_faults()); }

TEST_F(Broken, WhatAnotherCaseWroteIsNoPass) {
  const Fault fault{
      "small writes by R2T that go elsewhere", "nvm.integrity.sizes-r2t", {}, [](Relay&, Bytes& p) {
        if (p.size() == 72 && p[0] == command && p[8] == 1 && p[47] == 0x5a && get32(p, 40) <= 8192)
          put32(p, 48, get32(p, 48) + 8192);  // SLBA
      }};
  BrokenPeer peer(exported().engine().nvmf_port(), fault);
  const std::string at = "nvmf://127.0.0.1:" + std::to_string(peer.port()) + "/" + exported().nqn();
  const ToolRun run =
      run_tool(exported().scratch(), at,
               {"--destructive", "--test", "nvm.integrity.sizes", "--test", "nvm.integrity.sizes-r2t"});
  ASSERT_TRUE(run.report.is_object()) << run.messages;
  EXPECT_EQ(run.report["tests"][0]["outcome"], "pass");
  EXPECT_EQ(run.report["tests"][1]["outcome"], "fail");
}

TEST_F(Broken, ATargetMayWaitForTheHostAfterC2HTermReq) {
  for (const char* test : {"tcp.error.type", "tcp.error-report.type", "tcp.error.icreq-twice"})
    EXPECT_EQ(outcome(Fault{"waits for the host's end", test, {}, {}, true}), "pass") << test;
}

TEST_F(Broken, TheToolKeepsToMaxH2CData) {
  for (const char* test : {"tcp.data.one-pdu", "tcp.digest.data-wrong"}) {
    const Fault small{"MAXH2CDATA 4096", test, on(ic_resp, [](Bytes& p) { put32(p, 12, 4096); }),
                      [](Relay&, Bytes& p) {
                        if (p.size() >= 24 && p[0] == 0x06 && get32(p, 16) > 4096) p[0] = 0x15;
                      }};
    EXPECT_EQ(outcome(small), "pass") << test;
  }
  const Fault huge{"MAXH2CDATA of 4 GiB",
                   "tcp.error-data.maxh2cdata",
                   on(ic_resp, [](Bytes& p) { put32(p, 12, 0xfffffffc); }),
                   {}};
  EXPECT_EQ(outcome(huge), "not supported");
}

TEST_F(Broken, WhatIsLeftOpenIsNoFault) {
  const Fault odd{"offset bits ignored", "base.log.offset-odd", {}, [](Relay&, Bytes& p) {
                    if (p.size() >= 72 && p[0] == command && p[8] == get_log) p[56] &= 0xfc;
                  }};
  EXPECT_EQ(outcome(odd), "pass");
  const Fault late{"IOSQES judged by Connect", "base.controller.cc-iosqes", {}, [](Relay&, Bytes& p) {
                     if (p.size() < 72 || p[0] != command || p[8] != fabrics) return;
                     if (p[12] == 0 && get32(p, 52) == 0x14)
                       p[58] = static_cast<std::uint8_t>((p[58] & 0xf0) | 6);
                     if (p[12] == 1 && get16(p, 50) != 0) put16(p, 50, 0xffff);  // refused
                   }};
  EXPECT_EQ(outcome(late), "pass");
  EXPECT_EQ(outcome(Fault{"the host closes", "fabrics.connect.disconnect", {}, {}, true}), "pass");
}

TEST_F(Broken, AHostThatDoesNotReadStopsATargetWithOneThread) {
  Fault one{"sends block all", "fabrics.isolation.slow-reader", {}, {}};
  one.one_sender = true;
  EXPECT_EQ(outcome(one), "fail");
}

TEST_F(Broken, ASmallMdtsIsNoFault) {
  const Change mdts = on_data(identify, 1, [](Bytes& p, std::size_t at) { p[at + 77] = 1; });  // 8 KiB
  const Change refuse = [](Relay& r, Bytes& p) {
    if (p.size() < 72 || p[0] != command || (p[8] != 1 && p[8] != 2) || get32(p, 40) <= 8192) return;
    const std::uint8_t opcode = p[8];
    answered_here(opcode)(r, p);
    put16(r.to_host, r.to_host.size() - 2, 0x002 << 1);  // invalid field
  };
  for (const char* test : {"nvm.integrity.random", "nvm.io.dsm"})
    EXPECT_EQ(outcome(Fault{"MDTS 1", test, mdts, refuse}), "skipped") << test;
}

}  // namespace
}  // namespace holdfast::conformance_test
