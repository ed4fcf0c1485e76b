// The discovery service.
#include <algorithm>

#include <fmt/format.h>

#include "cli/conformance/session.h"
#include "cli/conformance/suite.h"

namespace holdfast::cli::conformance {
namespace {

constexpr std::uint8_t discovery_log = 0x70;
constexpr std::uint32_t entry_bytes = 1024;

SessionOptions discovery() {
  SessionOptions o;
  o.subsystem = discovery_nqn;
  return o;
}

// The whole page; with at most 63 entries, which is enough to judge their form.
Bytes whole_log(Session& s) {
  const std::uint64_t records = u64(s.log_data(discovery_log, entry_bytes, 0), 8);
  const auto entries = static_cast<std::uint32_t>(std::min<std::uint64_t>(records, 63));
  return s.log_data(discovery_log, (entries + 1) * entry_bytes, 0);
}

void connects(Test& t) {
  Session s(t, discovery());
  t.equal("CNTLID of identify data", u16(s.controller(), 78), s.cntlid());
}

void identify(Test& t) {
  Session s(t, discovery());
  const Bytes& c = s.controller();
  if (!t.ok()) return;
  if (u32(c, 80) >= 0x00010400) t.equal("CNTRLTYPE", u8(c, 111), 2);
  const std::string nqn = text_of(slice(c, 768, 256));
  if (nqn != discovery_nqn) {  // a unique Discovery Service NQN: it is good for Connect, too
    SessionOptions o;
    o.subsystem = nqn.empty() ? "?" : nqn;
    Session by_name(t, o);
    t.equal_text("SUBNQN", text_of(slice(by_name.controller(), 768, 256)), nqn);
  }
  t.expect((u8(c, 261) >> 2 & 1) != 0, "LPA bit 2 (extended data) is clear: a long log page cannot be read");
}

void header(Test& t) {
  Session s(t, discovery());
  const Bytes log = whole_log(s);
  if (!t.ok()) return;
  t.equal("RECFMT", u16(log, 16), 0);
  t.expect(is_zero(slice(log, 18, entry_bytes - 18)),
           "bytes 1023:18 of the header are reserved, but not zero");
}

void entries(Test& t) {
  Session s(t, discovery());
  const Bytes log = whole_log(s);
  for (std::size_t at = entry_bytes; at < log.size() && t.ok(); at += entry_bytes) {
    const View e = slice(log, at, entry_bytes);
    const unsigned trtype = u8(e, 0), adrfam = u8(e, 1), subtype = u8(e, 2);
    t.expect(trtype >= 1 && (trtype <= 3 || trtype >= 0xfe), fmt::format("TRTYPE {}", trtype));
    t.expect(adrfam <= 4 || adrfam >= 0xfe, fmt::format("ADRFAM {}", adrfam));
    t.expect(subtype >= 1 && subtype <= 3, fmt::format("SUBTYPE {}", subtype));
    const unsigned cntlid = u16(e, 6);
    t.expect(cntlid == 0xffff || cntlid == 0xfffe || cntlid <= 0xffef, fmt::format("CNTLID {:#x}", cntlid));
    t.expect(u16(e, 8) >= 32, fmt::format("ASQSZ {} is less than 32", u16(e, 8)));
    t.expect(!text_of(slice(e, 256, 256)).empty() && u8(e, 256 + 255) == 0,
             "SUBNQN is empty, or not ended by a zero");
    t.expect(!text_of(slice(e, 512, 256)).empty(), "TRADDR is empty");
  }
}

void names_subsystem(Test& t) {
  Session s(t, discovery());
  const std::uint64_t records = u64(s.log_data(discovery_log, entry_bytes, 0), 8);
  constexpr std::uint64_t records_max = 65536;  // one Get Log Page each
  if (t.ok()) t.expect(records <= records_max, fmt::format("NUMREC is {}", records));
  bool found = false;
  for (std::uint64_t i = 1; i <= records && !found && t.ok(); ++i) {
    const Bytes entry = s.log_data(discovery_log, entry_bytes, 0, i * entry_bytes);
    found = t.ok() && text_of(slice(entry, 256, 256)) == t.settings().subsystem;
  }
  if (t.ok())
    t.expect(found, fmt::format("no entry for {}, which this host can connect to", t.settings().subsystem));
}

// In parts, as a host with small buffers reads it.
void in_parts(Test& t) {
  Session s(t, discovery());
  const Bytes whole = whole_log(s);
  Bytes parts;
  for (std::uint64_t at = 0; at < whole.size() && t.ok(); at += 512)
    append(parts, s.log_data(discovery_log, 512, 0, at));
  if (t.ok()) t.equal_bytes("the page read in parts", parts, whole);
}

void generation_stays(Test& t) {
  Session s(t, discovery());
  const Bytes first = s.log_data(discovery_log, entry_bytes, 0);
  const Bytes second = s.log_data(discovery_log, entry_bytes, 0);
  if (t.ok()) t.equal("GENCTR of a second look", u64(second, 0), u64(first, 0));
}

void no_io_queues(Test& t) {
  Session s(t, discovery());
  const auto c = s.wire();
  const Answer a = c->execute(connect_command(s.parameters(1)));
  c->expect_refused("Connect of an I/O queue of a discovery controller", a);
}

void no_io_commands(Test& t) {
  Session s(t, discovery());
  Command c(admin::identify);
  const Answer a = s.admin().execute(c.nsid(1).dw(10, 0).reads(4096));
  if (!a.arrived) return;
  if (a.status == sc::success) t.expect(is_zero(a.data), "a discovery controller describes a namespace");
}

void other_log_pages(Test& t) {
  Session s(t);
  s.admin().expect_status("the discovery log page of an I/O controller",
                          s.log_page(discovery_log, entry_bytes, 0), {sc::invalid_log, sc::invalid_field});
}

void keep_alive(Test& t) {
  SessionOptions o = discovery();
  o.kato = 30000;
  Session s(t, o);
  const Answer a = s.admin().execute(Command(admin::keep_alive));
  if (!t.needs(a.arrived && a.status != sc::invalid_opcode, "no Keep Alive")) return;
  s.admin().expect_good("Keep Alive", a);
}

}  // namespace

void add_discovery_cases(Cases& to) {
  const auto add = [&](const char* id, const char* title, const char* section, const char* requirement,
                       void (*run)(Test&), Level level = Level::mandatory) {
    to.push_back({std::string("fabrics.discovery.") + id, title, Spec::fabrics, section, requirement, level,
                  false, run});
  };
  constexpr const char* controller_section = "3.1.2.3 (discovery controller)";
  constexpr const char* log_section = "5.16.1.23 (discovery log page)";
  add("connect", "Connecting to the discovery service", controller_section,
      "The well-known discovery NQN names a controller", connects);
  add("identify", "Identify data of a discovery controller", controller_section,
      "It says that it is one, and that log pages are read in parts", identify);
  add("header", "Header of the log page", log_section, "Record format 0, reserved bytes zero", header);
  add("entries", "Entries of the log page", log_section, "Fields are within their ranges", entries);
  add("subsystem", "The subsystem is named", log_section, "The log page names what the host can connect to",
      names_subsystem);
  add("parts", "The log page in parts", log_section, "Parts of the page are what the whole is", in_parts);
  add("generation", "Generation counter", log_section, "GENCTR stays while nothing changes",
      generation_stays);
  add("io-queue", "No I/O queues", controller_section, "A discovery controller has no I/O queues",
      no_io_queues);
  add("namespace", "No namespaces", controller_section, "A discovery controller has no namespaces",
      no_io_commands);
  add("elsewhere", "Not for I/O controllers", log_section, "An I/O controller has no discovery log page",
      other_log_pages);
  add("keep-alive", "Keep alive of a discovery controller", controller_section,
      "A persistent discovery connection is kept alive", keep_alive, Level::optional);
}

}  // namespace holdfast::cli::conformance
