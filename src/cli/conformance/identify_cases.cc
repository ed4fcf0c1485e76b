// Identify: every structure, and that they agree with each other.
#include <algorithm>

#include <fmt/format.h>

#include "cli/conformance/session.h"
#include "cli/conformance/suite.h"

namespace holdfast::cli::conformance {
namespace {

bool is_ascii_field(View field) {
  return std::all_of(field.begin(), field.end(), [](std::uint8_t c) { return c >= 0x20 && c < 0x7f; });
}

void controller_texts(Test& t) {
  Session s(t);
  const Bytes& c = s.controller();
  t.expect(is_ascii_field(slice(c, 4, 20)), "SN is not ASCII filled up with spaces");
  t.expect(is_ascii_field(slice(c, 24, 40)), "MN is not ASCII filled up with spaces");
  t.expect(is_ascii_field(slice(c, 64, 8)), "FR is not ASCII filled up with spaces");
  t.expect(!text_of(slice(c, 4, 20)).empty(), "SN is empty");
  t.expect(!text_of(slice(c, 24, 40)).empty(), "MN is empty");
}

void controller_subnqn(Test& t) {
  Session s(t);
  t.equal_text("SUBNQN", text_of(slice(s.controller(), 768, 256)), s.options().subsystem);
  t.equal("last byte of SUBNQN", u8(s.controller(), 768 + 255), 0);
}

void controller_entry_sizes(Test& t) {
  Session s(t);
  const unsigned sqes = u8(s.controller(), 512), cqes = u8(s.controller(), 513);
  t.expect((sqes & 15) == 6 && (sqes >> 4) >= 6, fmt::format("SQES {:#x}: 64 bytes are required", sqes));
  t.expect((cqes & 15) == 4 && (cqes >> 4) >= 4, fmt::format("CQES {:#x}: 16 bytes are required", cqes));
}

void controller_type(Test& t) {
  Session s(t);
  const auto version = u32(s.controller(), 80);
  const unsigned type = u8(s.controller(), 111);
  if (t.ok() && version < 0x00010400) return t.not_supported("CNTRLTYPE came with NVMe 1.4");
  t.expect(type == 1, fmt::format("CNTRLTYPE of an I/O controller: expected 1, got {}", type));
}

void controller_fabrics(Test& t) {
  Session s(t);
  const Bytes& c = s.controller();
  if (!t.ok()) return;
  t.expect(u32(c, 1792) >= 4, fmt::format("IOCCSZ {} is less than a command", u32(c, 1792)));
  t.expect(u32(c, 1796) >= 1, fmt::format("IORCSZ {} is less than a response", u32(c, 1796)));
  t.equal("ICDOFF, which is 0 over TCP", u16(c, 1800), 0);
  t.expect((u32(c, 536) & 3) != 0, "SGLS: SGLs are not supported");
  t.expect((u32(c, 536) >> 20 & 1) != 0, "SGLS bit 20: no data in capsules");
  t.expect((u32(c, 536) >> 21 & 1) != 0, "SGLS bit 21: no transport SGL data block");
  t.expect(u16(c, 514) != 0, "MAXCMD is 0");
}

void controller_keep_alive(Test& t) {
  Session s(t);
  if (t.ok()) t.expect(u16(s.controller(), 320) != 0, "KAS is 0: keep alive is not supported");
}

void controller_counts(Test& t) {
  Session s(t);
  const Bytes& c = s.controller();
  if (!t.ok()) return;
  t.expect(u32(c, 516) != 0, "NN is 0");
  t.expect(u32(c, 344) >= u32(c, 348) || u32(c, 344) == 0,
           fmt::format("ANAGRPMAX {} is less than NANAGRPID {}", u32(c, 344), u32(c, 348)));
  const std::uint32_t mnan = u32(c, 540);
  t.expect(mnan == 0 || mnan <= u32(c, 516), fmt::format("MNAN {} is more than NN {}", mnan, u32(c, 516)));
}

void controller_temperatures(Test& t) {
  Session s(t);
  const unsigned warn = u16(s.controller(), 266), critical = u16(s.controller(), 268);
  t.expect(warn == 0 || critical == 0 || warn <= critical,
           fmt::format("WCTEMP {} is over CCTEMP {}", warn, critical));
}

void controller_reserved(Test& t) {
  Session s(t);
  const Bytes& c = s.controller();
  t.expect(is_zero(slice(c, 1024, 768)), "bytes 1791:1024 are reserved, but not zero");
  t.expect(is_zero(slice(c, 1807, 241)), "bytes 2047:1807 are reserved, but not zero");
}

void active_list(Test& t) {
  Session s(t);
  const Bytes list = s.identify_data(0x02);
  const std::uint32_t nn = u32(s.controller(), 516);
  std::uint32_t last = 0;
  bool ended = false;
  for (std::size_t i = 0; i < 1024 && t.ok(); ++i) {
    const std::uint32_t id = u32(list, i * 4);
    if (id == 0) {
      ended = true;
      continue;
    }
    t.expect(!ended, "an entry behind the end of the list");
    t.expect(id > last, fmt::format("NSID {} follows NSID {}", id, last));
    t.expect(id <= nn, fmt::format("NSID {} is over NN {}", id, nn));
    last = id;
  }
}

void active_list_from(Test& t) {
  Session s(t);
  const std::uint32_t first = s.nsid();
  const Bytes list = s.identify_data(0x02, first);
  for (std::size_t i = 0; i < 1024 && t.ok(); ++i) {
    const std::uint32_t id = u32(list, i * 4);
    t.expect(id == 0 || id > first, fmt::format("NSID {} is not over the {} that was asked for", id, first));
  }
}

void active_list_reserved(Test& t) {
  Session s(t);
  for (const std::uint32_t nsid : {0xfffffffeu, 0xffffffffu}) {
    const Answer a = s.identify(0x02, nsid);
    s.admin().expect_status(fmt::format("Identify CNS 02h with NSID {:#x}", nsid), a, {sc::invalid_nsid});
  }
}

void ns_sizes(Test& t) {
  Session s(t);
  const Bytes& n = s.ns();
  if (!t.ok()) return;
  const std::uint64_t nsze = u64(n, 0), ncap = u64(n, 8), nuse = u64(n, 16);
  t.expect(nsze > 0, "NSZE is 0");
  t.expect(ncap <= nsze, fmt::format("NCAP {} is more than NSZE {}", ncap, nsze));
  t.expect(nuse <= ncap, fmt::format("NUSE {} is more than NCAP {}", nuse, ncap));
  t.expect((u8(n, 24) & 1) != 0 || ncap == nsze, "NCAP is not NSZE, although the namespace is not thin");
}

void ns_format(Test& t) {
  Session s(t);
  const Bytes& n = s.ns();
  if (!t.ok()) return;
  const unsigned nlbaf = u8(n, 25), flbas = u8(n, 26);
  const unsigned format = (flbas & 15) | (nlbaf > 15 ? flbas >> 5 & 3u : 0u) << 4;
  t.expect(nlbaf <= 63, fmt::format("NLBAF {}", nlbaf));
  t.expect(format <= nlbaf, fmt::format("FLBAS names format {} of {}", format, nlbaf + 1));
  const unsigned lbads = u8(n, 128 + format * 4 + 2);
  t.expect(lbads >= 9, fmt::format("LBADS {}: less than 512 bytes", lbads));
  for (unsigned i = nlbaf + 1; i < 16; ++i) t.equal("an LBA format behind NLBAF", u32(n, 128 + i * 4), 0);
}

void ns_ids(Test& t) {
  Session s(t);
  const Bytes list = s.identify_data(0x03, s.nsid());
  bool any = false;
  for (std::size_t at = 0; at + 4 <= list.size() && t.ok();) {
    const unsigned type = u8(list, at), length = u8(list, at + 1);
    if (type == 0) break;
    const unsigned wanted = type == 1 ? 8 : type == 2 || type == 3 ? 16 : type == 4 ? 1 : length;
    t.equal(fmt::format("NIDL of a descriptor of type {}", type), length, wanted);
    t.equal("reserved bytes of a descriptor", u16(list, at + 2), 0);
    const View id = slice(list, at + 4, length);
    if (type == 2) t.equal_bytes("NGUID in the descriptors", id, slice(s.ns(), 104, 16));
    if (type == 1) t.equal_bytes("EUI64 in the descriptors", id, slice(s.ns(), 120, 8));
    any = any || (type <= 3 && !is_zero(id));
    at += 4 + length;
  }
  t.expect(any, "no EUI64, NGUID or UUID identifies the namespace");
}

void ns_unique(Test& t) {
  Session s(t);
  const Bytes& n = s.ns();
  t.expect(!is_zero(slice(n, 104, 24)) || !is_zero(slice(s.identify_data(0x03, s.nsid()), 0, 64)),
           "the namespace has no unique identifier");
}

void ns_inactive(Test& t) {
  Session s(t);
  const std::uint32_t nn = u32(s.controller(), 516);
  const Bytes list = s.identify_data(0x02);
  std::uint32_t free = 1;
  for (std::size_t i = 0; i < 1024 && u32(list, i * 4) == free; ++i) ++free;
  if (!t.ok()) return;
  if (free > nn) return t.not_supported("every NSID up to NN is active");
  const Answer a = s.identify(0x00, free);
  // Zero filled by NVMe Base 2.0; earlier versions allowed to refuse it.
  if (a.good())
    t.expect(is_zero(a.data), "identify data of an inactive namespace is not zero");
  else
    s.admin().expect_status("Identify of an inactive namespace", a, {sc::invalid_nsid});
}

void ns_invalid(Test& t) {
  Session s(t);
  const std::uint32_t nn = u32(s.controller(), 516);
  if (!t.ok()) return;
  if (nn >= 0xfffffffe) return t.not_supported("NN allows any NSID");
  s.admin().expect_status("Identify of an NSID over NN", s.identify(0x00, nn + 1), {sc::invalid_nsid});
}

// FFFFFFFFh: what all namespaces have in common, where namespace management is there.
void ns_broadcast(Test& t) {
  Session s(t);
  const Answer a = s.identify(0x00, nsid_all);
  if ((u16(s.controller(), 256) >> 3 & 1) != 0)
    s.admin().expect_good("Identify CNS 00h with NSID FFFFFFFFh", a);
  else
    s.admin().expect_status("Identify CNS 00h with NSID FFFFFFFFh, without namespace management", a,
                            {sc::invalid_nsid, sc::success});
}

void ns_multi_path(Test& t) {
  Session s(t);
  const unsigned cmic = u8(s.controller(), 76), nmic = u8(s.ns(), 30);
  if (t.ok() && (nmic & 1) != 0)
    t.expect((cmic & 2) != 0, "the namespace is shared (NMIC), but CMIC has one controller only");
}

void ns_ana_group(Test& t) {
  Session s(t);
  if (!t.needs((u8(s.controller(), 76) >> 3 & 1) != 0, "CMIC bit 3 (ANA) is clear")) return;
  const std::uint32_t group = u32(s.ns(), 92);
  t.expect(group >= 1 && group <= u32(s.controller(), 344),
           fmt::format("ANAGRPID {} is not within ANAGRPMAX {}", group, u32(s.controller(), 344)));
}

void same_over_controllers(Test& t) {
  Session one(t), two(t);
  const Bytes a = one.ns(), b = two.ns();
  t.equal_bytes("NGUID and EUI64 over another controller", slice(b, 104, 24), slice(a, 104, 24));
  t.equal("NSZE over another controller", u64(b, 0), u64(a, 0));
  t.equal_bytes("SN over another controller", slice(two.controller(), 4, 20), slice(one.controller(), 4, 20));
}

void optional_structure(Test& t, std::uint8_t cns, bool of_namespace) {
  Session s(t);
  const Answer a = s.identify(cns, of_namespace ? s.nsid() : 0);
  if (!a.arrived) return;
  const bool is_2_0 = u32(s.controller(), 80) >= 0x00020000;
  if (!is_2_0 && (a.status == sc::invalid_field || a.status == sc::invalid_opcode))
    return t.not_supported("refused by a controller of before NVMe 2.0");
  s.admin().expect_good(fmt::format("Identify CNS {:02x}h", cns), a);
  t.equal("bytes", a.data.size(), 4096);
}

void independent_agrees(Test& t) {
  Session s(t);
  const Answer a = s.identify(0x08, s.nsid());
  if (!t.needs(a.good(), "Identify CNS 08h is refused")) return;
  t.equal("NMIC in both structures", u8(a.data, 1), u8(s.ns(), 30));
  t.equal("RESCAP in both structures", u8(a.data, 2), u8(s.ns(), 31));
  t.equal("ANAGRPID in both structures", u32(a.data, 4), u32(s.ns(), 92));
}

void controller_list(Test& t) {
  Session s(t);
  const Answer a = s.identify(0x13);
  if (!t.needs(a.arrived && a.status != sc::invalid_field, "Identify CNS 13h is refused")) return;
  s.admin().expect_good("Identify CNS 13h", a);
  const unsigned count = u16(a.data, 0);
  unsigned last = 0;
  bool self = false;
  for (unsigned i = 0; i < count && t.ok(); ++i) {
    const unsigned id = u16(a.data, 2 + i * std::size_t{2});
    t.expect(i == 0 || id > last, "the controller list is not ascending");
    last = id;
    self = self || id == s.cntlid();
  }
  t.expect(self, "the controller list lacks this controller");
}

void unknown_cns(Test& t) {
  Session s(t);
  s.admin().expect_status("Identify CNS 7Fh", s.identify(0x7f), {sc::invalid_field});
}

void unknown_csi(Test& t) {
  Session s(t);
  const Answer a = s.identify(0x06, 0, 0, 0x30);  // since NVMe 2.0: the command set does not exist
  s.admin().expect_refused("Identify CNS 06h of command set 30h", a);
}

}  // namespace

void add_identify_cases(Cases& to) {
  const auto add = [&](const char* id, const char* title, const char* section, const char* requirement,
                       std::function<void(Test&)> run, Level level = Level::mandatory) {
    to.push_back({std::string("base.identify.") + id, title, Spec::base, section, requirement, level, false,
                  std::move(run)});
  };
  constexpr const char* c01 = "5.17.2.1 (CNS 01h)";
  add("texts", "Serial number, model, firmware", c01, "SN, MN and FR are ASCII, filled up with spaces",
      controller_texts);
  add("subnqn", "SUBNQN", c01, "SUBNQN is the name that the host connected to, ended by a zero",
      controller_subnqn);
  add("entry-sizes", "SQES and CQES", c01, "Entries of 64 and 16 bytes are required", controller_entry_sizes);
  add("cntrltype", "CNTRLTYPE", c01, "An I/O controller says that it is one", controller_type);
  add("fabrics", "Fabrics fields", c01, "IOCCSZ, IORCSZ, ICDOFF, SGLS and MAXCMD are what NVMe/TCP needs",
      controller_fabrics);
  add("kas", "KAS", c01, "Fabrics controllers have keep alive", controller_keep_alive);
  add("counts", "NN, MNAN, ANA groups", c01, "Counts fit each other", controller_counts);
  add("temperatures", "WCTEMP and CCTEMP", c01, "The warning is not over the critical threshold",
      controller_temperatures);
  add("reserved", "Reserved bytes", c01, "What is not defined is zero", controller_reserved);
  constexpr const char* c02 = "5.17.2.2 (CNS 02h)";
  add("active", "Active namespaces", c02, "The list is ascending, within NN, filled up with zeroes",
      active_list);
  add("active-from", "Active namespaces above one", c02, "The list begins above the NSID that was asked for",
      active_list_from);
  add("active-reserved", "Active namespaces above FFFFFFFEh", c02, "FFFFFFFEh and FFFFFFFFh are refused",
      active_list_reserved);
  constexpr const char* c00 = "5.17.2 (CNS 00h); NVM Command Set 1.0, 4.1.5.1";
  add("ns-sizes", "Namespace sizes", c00, "NUSE <= NCAP <= NSZE, and NSZE is not 0", ns_sizes);
  add("ns-format", "LBA formats", c00, "FLBAS names one of NLBAF + 1 formats, of at least 512 bytes",
      ns_format);
  add("ns-unique", "A unique identifier", c00, "A namespace has an NGUID, an EUI64 or a UUID", ns_unique);
  add("ns-inactive", "An inactive namespace", c00, "Its identify data is zero", ns_inactive);
  add("ns-invalid", "An NSID over NN", c00, "It is refused: invalid namespace", ns_invalid);
  add("ns-broadcast", "NSID FFFFFFFFh", c00,
      "Common capabilities with namespace management, invalid namespace without", ns_broadcast);
  add("ns-shared", "Shared namespaces", c00, "A shared namespace is in a subsystem of several controllers",
      ns_multi_path);
  add("ns-ana", "ANAGRPID", c00, "With ANA a namespace is in a group of 1 to ANAGRPMAX", ns_ana_group,
      Level::optional);
  add("ns-descriptors", "Namespace identification descriptors", "5.17.2.3 (CNS 03h)",
      "Lengths fit the types, and the values those of CNS 00h", ns_ids);
  add("two-controllers", "Two controllers of the subsystem", "3.1, 5.17",
      "Namespace identifiers and serial number are the same over each controller", same_over_controllers);
  add("csi-ns", "Namespace, NVM command set", "5.17.2.5 (CNS 05h)", "A controller of NVMe 2.0 has it",
      [](Test& t) { optional_structure(t, 0x05, true); });
  add("csi-controller", "Controller, NVM command set", "5.17.2.6 (CNS 06h)",
      "A controller of NVMe 2.0 has it", [](Test& t) { optional_structure(t, 0x06, false); });
  add("csi-active", "Active namespaces of the NVM command set", "5.17.2.7 (CNS 07h)",
      "A controller of NVMe 2.0 has it", [](Test& t) { optional_structure(t, 0x07, false); });
  add("independent", "I/O command set independent namespace", "5.17.2.8 (CNS 08h)",
      "A controller of NVMe 2.0 has it", [](Test& t) { optional_structure(t, 0x08, true); });
  add("independent-agrees", "Independent and NVM structure agree", "5.17.2.8 (CNS 08h)",
      "NMIC, RESCAP and ANAGRPID are the same in both", independent_agrees, Level::optional);
  add("controllers", "Controller list", "5.17.2.12 (CNS 13h)",
      "It is ascending, and this controller is in it", controller_list, Level::optional);
  add("cns-unknown", "A CNS that does not exist", "5.17", "It is refused: invalid field", unknown_cns);
  add("csi-unknown", "A command set that does not exist", "5.17", "It is refused", unknown_csi);
}

}  // namespace holdfast::cli::conformance
