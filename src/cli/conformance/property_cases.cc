// Controller properties, enabling, resetting and shutting down.
#include <fmt/format.h>

#include "cli/conformance/session.h"
#include "cli/conformance/suite.h"

namespace holdfast::cli::conformance {
namespace {

constexpr std::uint32_t cc_shn_normal = 1u << 14, cc_shn_abrupt = 2u << 14, cc_shn_mask = 3u << 14;
constexpr std::uint32_t csts_rdy = 1, csts_cfs = 2, csts_shst_mask = 12, csts_shst_complete = 8;

SessionOptions disabled() {
  SessionOptions o;
  o.enable = false;
  return o;
}

void cap(Test& t) {
  Session s(t, disabled());
  const std::uint64_t v = s.property(prop::cap, true);
  if (!t.ok()) return;
  t.expect((v & 0xffff) >= 1, "CAP.MQES is 0: queues have at least two entries");
  t.expect((v >> 16 & 1) == 1, "CAP.CQR is 0: queues over Fabrics are contiguous");
  t.equal("CAP.DSTRD", v >> 32 & 15, 0);
  t.expect((v >> 37 & 0xff) != 0, "CAP.CSS is 0: no command set is there");
  t.expect((v >> 48 & 15) <= (v >> 52 & 15),
           fmt::format("CAP.MPSMIN {} is larger than MPSMAX {}", v >> 48 & 15, v >> 52 & 15));
  t.equal("CAP, reserved bits 23:19", v >> 19 & 31, 0);
  t.expect((v >> 24 & 0xff) > 0, "CAP.TO is 0");
}

void vs(Test& t) {
  Session s(t);
  const auto v = static_cast<std::uint32_t>(s.property(prop::vs));
  if (!t.ok()) return;
  t.expect((v >> 16) >= 1 && (v >> 16) <= 2, fmt::format("VS {:#x}: no such version", v));
  t.equal("VER of identify data", u32(s.controller(), 80), v);
}

void initial_state(Test& t) {
  Session s(t, disabled());
  t.equal("CC.EN", s.property(prop::cc) & 1, 0);
  t.equal("CSTS.RDY and CFS", s.property(prop::csts) & 3, 0);
}

void enable(Test& t) {
  Session s(t);
  t.equal("CC.EN", s.property(prop::cc) & 1, 1);
  t.equal("CC as it was set", s.property(prop::cc), s.enabling_cc());
  t.equal("CSTS", s.property(prop::csts) & 0xf, csts_rdy);
}

void admin_before_enable(Test& t) {
  Session s(t, disabled());
  const Answer a = s.identify(0x01);
  s.admin().expect_refused("Identify before CC.EN", a);
}

void reset(Test& t) {
  Session s(t);
  s.admin().expect_good("Property Set of CC without EN", s.property_set(prop::cc, s.enabling_cc() & ~1u));
  const std::uint32_t csts = s.wait_csts(csts_rdy, 0);
  if (t.ok() && (csts & csts_rdy) != 0) t.fail("CSTS.RDY stays after CC.EN was cleared");
}

void reset_ends_queues(Test& t) {
  Session s(t);
  const auto queue = s.io_queue();
  const Command read = s.read_command(0, 1);
  s.admin().expect_good("Property Set of CC without EN", s.property_set(prop::cc, s.enabling_cc() & ~1u));
  s.wait_csts(csts_rdy, 0);
  const std::uint16_t cid = queue->submit(read);
  const Answer a = queue->await_within(cid, 2s);
  t.expect(!a.good(), "an I/O queue of before the reset still executes commands");
}

void enable_again(Test& t) {
  Session s(t);
  s.admin().expect_good("Property Set of CC without EN", s.property_set(prop::cc, s.enabling_cc() & ~1u));
  s.wait_csts(csts_rdy, 0);
  s.enable();
  const auto queue = s.io_queue();
  queue->expect_good("Read after the controller was enabled again", queue->execute(s.read_command(0, 1)));
}

void shutdown(Test& t, std::uint32_t shn) {
  Session s(t);
  s.admin().expect_good("Property Set of CC.SHN", s.property_set(prop::cc, s.enabling_cc() | shn));
  const std::uint32_t csts = s.wait_csts(csts_shst_mask, csts_shst_complete);
  if (t.ok()) t.equal("CSTS.SHST", csts & csts_shst_mask, csts_shst_complete);
}

void shutdown_reset(Test& t) {
  Session s(t);
  s.property_set(prop::cc, s.enabling_cc() | cc_shn_normal);
  s.wait_csts(csts_shst_mask, csts_shst_complete);
  s.admin().expect_good("Property Set of CC without EN",
                        s.property_set(prop::cc, s.enabling_cc() & ~1u & ~cc_shn_mask));
  const std::uint32_t csts = s.wait_csts(csts_rdy | csts_shst_mask, 0);
  if (t.ok()) t.equal("CSTS.RDY and SHST after a reset", csts & (csts_rdy | csts_shst_mask), 0u);
}

// CC with a field that the controller cannot do: it must not say that it is ready.
void wrong_cc(Test& t, std::uint32_t (*change)(std::uint32_t cc)) {
  Session s(t, disabled());
  const Answer a = s.property_set(prop::cc, change(s.enabling_cc()));
  if (!a.arrived || a.status != sc::success) return;
  t.sleep(200ms);
  const std::uint64_t csts = s.property(prop::csts);
  t.expect((csts & csts_rdy) == 0 || (csts & csts_cfs) != 0,
           fmt::format("CSTS {:#x}: the controller is ready with a CC that it cannot do", csts));
}

// What SQES requires a host learns once the controller is ready: it may be judged where a queue is made.
void wrong_entry_size(Test& t) {
  Session s(t, disabled());
  const Answer a = s.property_set(prop::cc, (s.enabling_cc() & ~0xf0000u) | 2u << 16);
  if (!a.arrived || a.status != sc::success) return;
  t.sleep(200ms);
  const std::uint64_t csts = s.property(prop::csts);
  if ((csts & csts_rdy) == 0 || (csts & csts_cfs) != 0) return;
  const auto c = s.wire();
  c->expect_refused("Connect of an I/O queue with entries of 4 bytes",
                    c->execute(connect_command(s.parameters(1))));
}

void get(Test& t, std::uint32_t offset, bool is_8_bytes, const char* what) {
  Session s(t, disabled());
  s.admin().expect_status(what, s.property_get(offset, is_8_bytes), {sc::invalid_field});
}

void set(Test& t, std::uint32_t offset, const char* what) {
  Session s(t, disabled());
  const std::uint64_t before = s.property(prop::csts);
  const Answer a = s.property_set(offset, 0xffffffff);
  s.admin().expect_refused(what, a);
  t.equal("CSTS behind it", s.property(prop::csts), before);
}

// Reserved offsets read as zero, or are refused.
void reserved(Test& t) {
  Session s(t, disabled());
  for (const std::uint32_t offset : {0x18u, 0x80u, 0xf00u, 0xffcu}) {
    const Answer a = s.property_get(offset);
    if (!a.arrived) return;
    if (a.status == sc::success)
      t.equal(fmt::format("property {:#x}", offset), a.dw0, 0);
    else
      s.admin().expect_status(fmt::format("Property Get of {:#x}", offset), a, {sc::invalid_field});
  }
}

void on_io_queue(Test& t) {
  Session s(t);
  const auto queue = s.io_queue();
  Command c = fabrics_command(fabrics::property_get);
  const Answer a = queue->execute(c.set8(40, 0).set32(44, prop::vs));
  // Invalid field by the specification; that 7Fh is no opcode of I/O queues is what targets in the field say.
  queue->expect_status("Property Get on an I/O queue", a, {sc::invalid_field, sc::invalid_opcode});
}

}  // namespace

void add_property_cases(Cases& to) {
  const auto add = [&](const char* id, const char* title, Spec spec, const char* section,
                       const char* requirement, std::function<void(Test&)> run) {
    to.push_back({std::string("base.controller.") + id, title, spec, section, requirement, Level::mandatory,
                  false, std::move(run)});
  };
  add("cap", "CAP", Spec::base, "3.1.3.1", "Fields of CAP are within their ranges, reserved bits are zero",
      cap);
  add("vs", "VS", Spec::base, "3.1.3.2", "VS is a version that exists, and the one of identify data", vs);
  add("initial", "State after Connect", Spec::base, "3.1.3.5, 3.1.3.6",
      "A new controller is disabled and not ready", initial_state);
  add("enable", "Enabling", Spec::base, "3.5.2, 3.1.3.6",
      "CSTS.RDY follows CC.EN, and CC reads as it was set", enable);
  add("disabled-admin", "An admin command before CC.EN", Spec::base, "3.5.2",
      "A controller that is not enabled executes Fabrics commands only", admin_before_enable);
  add("reset", "Controller reset", Spec::base, "3.7.2", "CSTS.RDY is cleared after CC.EN was", reset);
  add("reset-queues", "I/O queues end with a reset", Spec::base, "3.7.2", "A reset deletes the I/O queues",
      reset_ends_queues);
  add("reset-enable", "Enabling again", Spec::base, "3.7.2, 3.5.2",
      "After a reset the controller can be enabled again", enable_again);
  add("shutdown", "Normal shutdown", Spec::base, "3.6.2", "CSTS.SHST tells when the shutdown is complete",
      [](Test& t) { shutdown(t, cc_shn_normal); });
  add("shutdown-abrupt", "Abrupt shutdown", Spec::base, "3.6.2",
      "CSTS.SHST tells when the shutdown is complete", [](Test& t) { shutdown(t, cc_shn_abrupt); });
  add("shutdown-reset", "A reset after a shutdown", Spec::base, "3.6.2, 3.7.2", "It clears CSTS.SHST",
      shutdown_reset);
  constexpr const char* cc_section = "3.1.3.5";
  add("cc-css", "CC.CSS that is reserved", Spec::base, cc_section,
      "The controller does not become ready with it",
      [](Test& t) { wrong_cc(t, [](std::uint32_t cc) { return (cc & ~0x70u) | 3u << 4; }); });
  add("cc-mps", "CC.MPS over CAP.MPSMAX", Spec::base, cc_section,
      "The controller does not become ready with it",
      [](Test& t) { wrong_cc(t, [](std::uint32_t cc) { return cc | 0xfu << 7; }); });
  add("cc-iosqes", "CC.IOSQES of 4 bytes", Spec::base, cc_section,
      "The controller does not become ready with it, or makes no I/O queue", wrong_entry_size);
  constexpr const char* get_section = "6.5 (Property Get)";
  constexpr const char* set_section = "6.6 (Property Set)";
  add("get-cap-4", "CAP read as 4 bytes", Spec::fabrics, get_section,
      "A property is read in its size: invalid field",
      [](Test& t) { get(t, prop::cap, false, "Property Get of CAP with 4 bytes"); });
  add("get-vs-8", "VS read as 8 bytes", Spec::fabrics, get_section,
      "A property is read in its size: invalid field",
      [](Test& t) { get(t, prop::vs, true, "Property Get of VS with 8 bytes"); });
  add("get-reserved", "Properties that do not exist", Spec::fabrics, get_section,
      "They read as zero, or are refused as an invalid field", reserved);
  add("set-vs", "Setting VS", Spec::fabrics, set_section, "A read-only property cannot be set",
      [](Test& t) { set(t, prop::vs, "Property Set of VS"); });
  add("set-csts", "Setting CSTS", Spec::fabrics, set_section, "CSTS cannot be set",
      [](Test& t) { set(t, prop::csts, "Property Set of CSTS"); });
  add("set-reserved", "Setting a property that does not exist", Spec::fabrics, set_section, "It is refused",
      [](Test& t) { set(t, 0xf00, "Property Set of F00h"); });
  add("io-queue", "Property Get on an I/O queue", Spec::fabrics, get_section,
      "Properties are for the admin queue: invalid field", on_io_queue);
}

}  // namespace holdfast::cli::conformance
