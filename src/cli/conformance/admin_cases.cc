// Admin commands: asynchronous events, Abort, keep alive, opcodes and fields of any command.
#include <algorithm>

#include <fmt/format.h>

#include "cli/conformance/session.h"
#include "cli/conformance/suite.h"

namespace holdfast::cli::conformance {
namespace {

void event_waits(Test& t) {
  Session s(t);
  const std::uint16_t cid = s.admin().submit(Command(admin::async_event));
  s.admin().expect_good("Identify beside it", s.identify(0x01));
  const Answer a = s.admin().await_within(cid, 300ms);
  t.expect(!a.arrived,
           fmt::format("an asynchronous event without a reason: {}, DW0 {:#x}", sc::text(a.status), a.dw0));
}

void id_in_use(Test& t) {
  Session s(t);
  const std::uint16_t cid = s.admin().submit(Command(admin::async_event));
  Command identify(admin::identify);
  s.admin().send(s.admin().capsule(identify.dw(10, 1).reads(4096).cid(cid)));
  if (!s.admin().refuses_id(cid)) return;
  s.admin().expect_good("Identify with another", s.identify(0x01));
}

void health_event_waits(Test& t) {
  Session s(t);
  constexpr std::uint32_t warnings = 0x1f;  // feature 0Bh, bits 4:0
  s.admin().expect_good("Set Features, SMART warnings", s.set_feature(0x0b, warnings));
  const Answer set = s.get_feature(0x0b);
  s.admin().expect_good("Get Features, asynchronous events", set);
  if (!t.ok() || !t.equal("SMART warnings as they were set", set.dw0 & warnings, warnings)) return;
  const std::uint8_t critical = u8(s.log_data(0x02, 512), 0);
  const std::uint16_t cid = s.admin().submit(Command(admin::async_event));
  const Answer a = s.admin().await_within(cid, 300ms);
  const bool is_smart = a.arrived && (a.dw0 & 7) == 1;
  if (critical == 0) t.expect(!is_smart, "a SMART event, although the log has no critical warning");
  if (is_smart) t.equal("log page of a SMART event", a.dw0 >> 16 & 0xff, 2u);
}

void event_limit(Test& t) {
  Session s(t);
  const unsigned limit = u8(s.controller(), 259) + 1u;
  if (!t.ok()) return;
  if (limit > 30)
    return t.skip(fmt::format("AERL allows {} requests, which the queue of 32 entries cannot hold", limit));
  for (unsigned i = 0; i < limit; ++i) s.admin().submit(Command(admin::async_event));
  const Answer a = s.admin().execute(Command(admin::async_event));
  s.admin().expect_status(fmt::format("request {} of {}", limit + 1, limit), a, {sc::aer_limit});
}

void abort_event(Test& t) {
  Session s(t);
  const std::uint16_t cid = s.admin().submit(Command(admin::async_event));
  Command c(admin::abort);
  const Answer a = s.admin().execute(c.dw(10, std::uint32_t{cid} << 16));
  s.admin().expect_good("Abort", a);
  if (!t.ok()) return;
  if ((a.dw0 & 1) != 0) return;  // it was not aborted, and says so
  const Answer aborted = s.admin().await(cid);
  s.admin().expect_status("the aborted request", aborted, {sc::abort_requested});
}

void abort_nothing(Test& t) {
  Session s(t);
  Command c(admin::abort);
  const Answer a = s.admin().execute(c.dw(10, 0x7777u << 16));
  s.admin().expect_good("Abort of a command that is not there", a);
  if (t.ok()) t.equal("DW0 bit 0 (not aborted)", a.dw0 & 1, 1u);
}

void abort_unknown_queue(Test& t) {
  Session s(t);
  Command c(admin::abort);
  const Answer a = s.admin().execute(c.dw(10, 0x1234u | 1u << 16));
  if (a.arrived && a.status == sc::success) t.equal("DW0 bit 0 (not aborted)", a.dw0 & 1, 1u);
  s.admin().expect_status("Abort on a queue that is not there", a,
                          {sc::success, sc::invalid_field, sc::invalid_queue_id});
}

// Events end with the association: nobody hears of them later.
void events_after_reset(Test& t) {
  Session s(t);
  const std::uint16_t cid = s.admin().submit(Command(admin::async_event));
  s.admin().expect_good("Property Set of CC without EN", s.property_set(prop::cc, s.enabling_cc() & ~1u));
  s.wait_csts(1, 0);
  s.enable();
  const Answer a = s.admin().await_within(cid, 200ms);
  t.expect(!a.arrived || a.status != sc::success, "an event request of before the reset succeeded behind it");
}

SessionOptions with_kato(std::uint32_t kato) {
  SessionOptions o;
  o.kato = kato;
  return o;
}

void keep_alive(Test& t) {
  Session s(t, with_kato(60000));
  s.admin().expect_good("Keep Alive", s.admin().execute(Command(admin::keep_alive)));
}

// The timer's length as the controller rounds it up, and time for it to act.
Nanos patience(Session& s, std::uint32_t kato) {
  const std::uint32_t unit = std::max(1u, u16(s.controller(), 320) * 100u);
  return std::chrono::milliseconds((kato + unit - 1) / unit * unit * 2) + 3s;
}

void keep_alive_expires(Test& t) {
  constexpr std::uint32_t kato = 1000;
  Session s(t, with_kato(kato));
  const Nanos wait = patience(s, kato);
  if (!t.ok()) return;
  if (wait > 10 * t.settings().timeout) return t.skip("KAS is too coarse for this time-out");
  if (!s.admin().ends_within(wait)) t.fail(fmt::format("KATO {} ms expired, but the connection stays", kato));
}

void keep_alive_keeps(Test& t) {
  constexpr std::uint32_t kato = 2000;
  Session s(t, with_kato(kato));
  for (int i = 0; i < 5; ++i) {
    t.sleep(800ms);
    s.admin().expect_good("Keep Alive", s.admin().execute(Command(admin::keep_alive)));
  }
}

// With traffic based keep alive a command restarts the timer as Keep Alive does.
void traffic_keeps(Test& t) {
  constexpr std::uint32_t kato = 1000;
  Session s(t, with_kato(kato));
  if (!t.needs((u32(s.controller(), 96) >> 6 & 1) != 0, "CTRATT bit 6 (traffic based keep alive) is clear"))
    return;
  const auto queue = s.io_queue();
  for (int i = 0; i < 10; ++i) {
    t.sleep(400ms);
    queue->expect_good("Read", queue->execute(s.read_command(0, 1)));
  }
  s.admin().expect_good("Identify behind it", s.identify(0x01));
}

// The expiry ends the whole association.
void expiry_ends_queues(Test& t) {
  constexpr std::uint32_t kato = 1000;
  Session s(t, with_kato(kato));
  const auto queue = s.io_queue();
  const Nanos wait = patience(s, kato);
  if (!t.ok()) return;
  if (wait > 10 * t.settings().timeout) return t.skip("KAS is too coarse for this time-out");
  if (!queue->ends_within(wait)) t.fail("KATO expired, but the I/O queue's connection stays");
}

void admin_opcodes(Test& t) {
  Session s(t);
  for (const int value : {0x3f, 0x7e, 0xbf}) {
    const auto opcode = static_cast<std::uint8_t>(value);
    const Answer a = s.admin().execute(Command(opcode));
    if (opcode >= 0x80 && a.good()) continue;  // vendor specific
    s.admin().expect_status(fmt::format("admin opcode {:02x}h", opcode), a, {sc::invalid_opcode});
  }
}

// Over Fabrics queues are made by Connect.
void queue_commands(Test& t) {
  Session s(t);
  for (const int value : {0x00, 0x01, 0x04, 0x05}) {
    const auto opcode = static_cast<std::uint8_t>(value);
    const Answer a = s.admin().execute(Command(opcode));
    s.admin().expect_status(fmt::format("admin opcode {:02x}h", opcode), a, {sc::invalid_opcode});
  }
}

void psdt(Test& t) {
  Session s(t);
  Command c(admin::identify);
  c.flags(0x00).dw(10, 1).reads(4096);
  s.admin().expect_status("Identify with PRPs", s.admin().execute(std::move(c)), {sc::invalid_field});
}

void fuse_reserved(Test& t) {
  Session s(t);
  Command c(admin::identify);
  c.flags(0x43).dw(10, 1).reads(4096);
  const Answer a = s.admin().execute(std::move(c));
  s.admin().expect_refused("Identify with FUSE 11b", a);
}

void sgl_type(Test& t, std::uint8_t type) {
  Session s(t);
  Command c(admin::identify);
  c.dw(10, 1).sgl(0, 4096, type);
  const Answer a = s.admin().execute(std::move(c));
  s.admin().expect_status(fmt::format("Identify with an SGL of type {:02x}h", type), a,
                          {sc::sgl_type, sc::invalid_field});
}

void sgl_short(Test& t) {
  Session s(t);
  Command c(admin::identify);
  c.dw(10, 1).reads(512);
  s.admin().expect_status("Identify into an SGL of 512 bytes", s.admin().execute(std::move(c)),
                          {sc::sgl_length, sc::invalid_field});
}

void sgl_offset(Test& t) {
  Session s(t);
  Command c(admin::set_features);
  c.dw(10, 0x16).sgl(1u << 20, 512, Command::sgl_in_capsule).capsule_data(Bytes(512));
  const Answer a = s.admin().execute(std::move(c));
  s.admin().expect_refused("in-capsule data at an offset of 1 MiB", a);
}

void sqhd_moves(Test& t) {
  Session s(t);
  const Answer first = s.property_get(prop::vs);
  const Answer second = s.property_get(prop::vs);
  if (!t.ok()) return;
  t.equal("SQHD behind the next command", second.sqhd, static_cast<std::uint16_t>((first.sqhd + 1) % 32));
}

void sqhd_wraps(Test& t) {
  SessionOptions o;
  o.sqsize = 3;  // four entries
  Session s(t, o);
  for (int i = 0; i < 12; ++i) {
    const Answer a = s.property_get(prop::vs);
    t.expect(!a.arrived || a.sqhd < 4, fmt::format("SQHD {} of a queue of 4 entries", a.sqhd));
  }
}

void phase_tag(Test& t) {
  Session s(t);
  const Command c = fabrics_command(fabrics::property_get);
  s.admin().send(s.admin().capsule(Command(c).set32(44, prop::vs).cid(0x99)));
  const Pdu p = s.admin().receive();
  if (!p || !t.equal("PDU type", p.type(), pdu::response)) return;
  t.equal("phase tag", u16(p.raw, 22) & 1u, 0u);
}

void identifiers(Test& t) {
  Session s(t);
  for (const std::uint16_t cid :
       {std::uint16_t{1}, std::uint16_t{0x7fff}, std::uint16_t{0x8000}, std::uint16_t{0xfffe}}) {
    Command c = fabrics_command(fabrics::property_get);
    s.admin().expect_good(fmt::format("command with CID {:#x}", cid),
                          s.admin().execute(c.set32(44, prop::vs).cid(cid)));
  }
}

void identifier_zero(Test& t) {
  Session s(t);
  Command c = fabrics_command(fabrics::property_get);
  s.admin().send(s.admin().capsule(c.set32(44, prop::vs)));
  const Pdu p = s.admin().receive();
  if (!p || !t.equal("PDU type", p.type(), pdu::response)) return;
  t.equal("CID", u16(p.raw, 20), 0);
}

}  // namespace

void add_admin_cases(Cases& to) {
  const auto add = [&](const char* id, const char* title, const char* section, const char* requirement,
                       std::function<void(Test&)> run, Level level = Level::mandatory) {
    to.push_back({std::string("base.admin.") + id, title, Spec::base, section, requirement, level, false,
                  std::move(run)});
  };
  constexpr const char* event_section = "5.2 (Asynchronous Event Request)";
  add("event", "An asynchronous event request waits", event_section,
      "It is answered when there is an event, not before", event_waits);
  add("event-health", "SMART events", "5.2, 5.27.1.8",
      "Warnings are configured one by one, and none comes without its bit in the log", health_event_waits);
  add("event-limit", "AERL", event_section, "A request over the limit is refused: limit exceeded",
      event_limit);
  add("event-reset", "Event requests and a reset", "5.2, 3.7.2", "They end with the reset",
      events_after_reset);
  constexpr const char* abort_section = "5.1 (Abort)";
  add("abort", "Abort of an event request", abort_section,
      "DW0 tells whether it was aborted; then it ends with abort requested", abort_event);
  add("abort-nothing", "Abort of a command that is not there", abort_section,
      "Abort succeeds and says: not aborted", abort_nothing);
  add("abort-queue", "Abort on a queue that is not there", abort_section, "Nothing is aborted",
      abort_unknown_queue);
  constexpr const char* alive_section = "3.9, 5.18 (Keep Alive)";
  add("keep-alive", "Keep Alive", alive_section, "It succeeds", keep_alive);
  add("keep-alive-expires", "Keep alive time-out", alive_section,
      "A controller that hears nothing ends the association", keep_alive_expires);
  add("keep-alive-queues", "Keep alive time-out and I/O queues", alive_section,
      "The association ends with all its queues", expiry_ends_queues);
  add("keep-alive-keeps", "Keep Alive in time", alive_section, "Keep Alive restarts the timer",
      keep_alive_keeps);
  add("keep-alive-traffic", "Traffic based keep alive", "3.9.4, 5.17.2.1 (CTRATT)",
      "Commands restart the timer", traffic_keeps, Level::optional);
  add("opcodes", "Opcodes that do not exist", "5", "They are refused: invalid opcode", admin_opcodes);
  add("queue-commands", "Create and Delete I/O queues", "5, 6.3 (Connect)",
      "They are not for Fabrics: invalid opcode", queue_commands);
  constexpr const char* sqe_section = "3.3.3.1 (submission queue entry)";
  add("psdt", "PRPs", sqe_section, "Fabrics commands use SGLs only: invalid field", psdt);
  add("fuse", "FUSE on an admin command", sqe_section, "It is refused", fuse_reserved);
  constexpr const char* sgl_section = "4.1.2 (SGLs); NVMe/TCP 1.0, 3.3.2";
  add("sgl-segment", "An SGL segment descriptor", sgl_section,
      "It is not for NVMe/TCP: SGL descriptor type invalid", [](Test& t) { sgl_type(t, 0x20); });
  add("sgl-reserved", "An SGL type that does not exist", sgl_section, "SGL descriptor type invalid",
      [](Test& t) { sgl_type(t, 0xb0); });
  add("sgl-keyed", "A keyed SGL", sgl_section, "It is not for NVMe/TCP: SGL descriptor type invalid",
      [](Test& t) { sgl_type(t, 0x40); });
  add("sgl-short", "An SGL shorter than the data", sgl_section, "Data SGL length invalid", sgl_short);
  add("sgl-offset", "An offset outside of the capsule", sgl_section, "It is refused", sgl_offset);
  constexpr const char* cqe_section = "3.3.3.2 (completion queue entry)";
  add("sqhd", "SQHD", "3.3.1.2, 3.3.3.2", "SQHD moves on by one for each command", sqhd_moves);
  add("sqhd-wrap", "SQHD at the end of the queue", "3.3.1.2, 3.3.3.2", "SQHD begins anew at the queue's size",
      sqhd_wraps);
  add("phase", "Phase tag", cqe_section, "It is 0 over Fabrics", phase_tag);
  add("cid", "Command identifiers", cqe_section,
      "A response has the identifier of its command, whichever that is", identifiers);
  add("cid-in-use", "An identifier that is in use", "3.3.3.1, 3.3.3.2.1 (status 03h)",
      "The second command is refused: command ID conflict", id_in_use, Level::optional);
  add("cid-zero", "Command identifier 0", cqe_section, "It is as good as any other", identifier_zero);
}

}  // namespace holdfast::cli::conformance
