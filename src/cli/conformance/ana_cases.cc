// Asymmetric namespace access: what identify data and log page say.
#include <algorithm>

#include <fmt/format.h>

#include "cli/conformance/session.h"
#include "cli/conformance/suite.h"

namespace holdfast::cli::conformance {
namespace {

constexpr std::uint8_t ana_log = 0x0c;
constexpr std::uint32_t log_bytes = 4096;

bool has_ana(Session& s) {
  return s.test().needs((u8(s.controller(), 76) >> 3 & 1) != 0, "CMIC bit 3 (ANA) is clear");
}

struct Group {
  std::uint32_t id = 0;
  std::uint8_t state = 0;
  std::vector<std::uint32_t> nsids;
};

std::vector<Group> groups_of(Session& s, std::uint8_t lsp) {
  Test& t = s.test();
  const Bytes log = s.log_data(ana_log, log_bytes, 0, 0, lsp);
  std::vector<Group> groups;
  std::size_t at = 16;
  for (unsigned i = 0; i < u16(log, 8) && t.ok(); ++i) {
    Group g;
    g.id = u32(log, at);
    const std::uint32_t count = u32(log, at + 4);
    g.state = u8(log, at + 16) & 15;
    if (at + 32 + std::size_t{count} * 4 > log.size()) return groups;  // the rest is behind what was read
    for (std::uint32_t n = 0; n < count; ++n) g.nsids.push_back(u32(log, at + 32 + n * std::size_t{4}));
    at += 32 + std::size_t{count} * 4;
    groups.push_back(std::move(g));
  }
  return groups;
}

void identify(Test& t) {
  Session s(t);
  if (!has_ana(s)) return;
  const Bytes& c = s.controller();
  t.expect(u8(c, 342) != 0, "ANATT is 0");
  t.expect((u8(c, 343) & 0x1f) != 0, "ANACAP reports no state");
  t.expect(u32(c, 344) >= 1 && u32(c, 348) >= 1 && u32(c, 348) <= u32(c, 344),
           fmt::format("ANAGRPMAX {} and NANAGRPID {}", u32(c, 344), u32(c, 348)));
}

void log(Test& t) {
  Session s(t);
  if (!has_ana(s)) return;
  const auto groups = groups_of(s, 0);
  const unsigned anacap = u8(s.controller(), 343);
  std::uint32_t last = 0;
  for (const Group& g : groups) {
    t.expect(g.id > last, fmt::format("group {} follows group {}", g.id, last));
    t.expect(g.id <= u32(s.controller(), 344), fmt::format("group {} is over ANAGRPMAX", g.id));
    const unsigned bit = g.state == 0x0f ? 4u : g.state - 1u;
    t.expect(g.state != 0 && bit <= 4 && (anacap >> bit & 1) != 0,
             fmt::format("state {:#x} is not one of ANACAP {:#x}", g.state, anacap));
    t.expect(std::is_sorted(g.nsids.begin(), g.nsids.end()), "the namespaces of a group are not ascending");
    last = g.id;
  }
}

void every_namespace(Test& t) {
  Session s(t);
  if (!has_ana(s)) return;
  const auto groups = groups_of(s, 0);
  const std::uint32_t group = u32(s.ns(), 92);
  std::size_t times = 0;
  for (const Group& g : groups) {
    const auto n = static_cast<std::size_t>(std::count(g.nsids.begin(), g.nsids.end(), s.nsid()));
    times += n;
    if (n > 0) t.equal("group of the log page, and ANAGRPID", g.id, group);
  }
  if (t.ok()) t.equal("times that the namespace is in the log page", times, 1);
}

void groups_only(Test& t) {
  Session s(t);
  if (!has_ana(s)) return;
  const auto groups = groups_of(s, 1);
  for (const Group& g : groups) t.equal("namespaces of a group, with RGO", g.nsids.size(), 0);
}

void states_act(Test& t) {
  Session s(t);
  if (!has_ana(s)) return;
  const auto groups = groups_of(s, 0);
  const auto it =
      std::find_if(groups.begin(), groups.end(), [&](const Group& g) { return g.id == u32(s.ns(), 92); });
  if (!t.expect(it != groups.end(), "the namespace's group is not in the log page")) return;
  const auto queue = s.io_queue();
  const Answer a = queue->execute(s.read_command(0, 1));
  if (it->state <= 2)
    queue->expect_good("Read in an optimized or non-optimized group", a);
  else
    queue->expect_status("Read in an inaccessible group", a, {0x301, 0x302, 0x303});
}

void event_bit(Test& t) {
  Session s(t);
  if (!has_ana(s)) return;
  t.expect((u32(s.controller(), 92) >> 11 & 1) != 0, "OAES bit 11 (ANA change notices) is clear");
}

}  // namespace

void add_ana_cases(Cases& to) {
  const auto add = [&](const char* id, const char* title, const char* section, const char* requirement,
                       void (*run)(Test&)) {
    to.push_back({std::string("base.ana.") + id, title, Spec::base, section, requirement, Level::optional,
                  false, run});
  };
  add("identify", "ANA fields of identify data", "8.1, 5.17.2.1",
      "ANATT, ANACAP, ANAGRPMAX and NANAGRPID are there", identify);
  add("log", "ANA log page", "5.16.1.13", "Groups are ascending, in states that ANACAP reports", log);
  add("namespace", "Every namespace is in one group", "5.16.1.13, 8.1", "The log page and ANAGRPID agree",
      every_namespace);
  add("groups-only", "Groups without namespaces", "5.16.1.13 (RGO)", "With RGO no namespaces are listed",
      groups_only);
  add("state", "The state acts", "8.1.3, 8.1.4",
      "I/O succeeds in accessible states, and has a path status in others", states_act);
  add("event", "ANA change notices", "5.17.2.1 (OAES)", "A controller with ANA tells of changes", event_bit);
}

}  // namespace holdfast::cli::conformance
