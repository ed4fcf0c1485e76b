// Reservations, seen by two hosts.
#include <algorithm>

#include <fmt/format.h>

#include "cli/conformance/reservation_hosts.h"
#include "cli/conformance/suite.h"

namespace holdfast::cli::conformance {
namespace {

unsigned registrants(View report) { return u16(report, 5); }
unsigned type_of(View report) { return u8(report, 4); }

// A namespace has what its controller has, or less.
void rescap(Test& t) {
  Host h(t, 1);
  const unsigned cap = u8(h.s.ns(), 31);
  t.expect((cap & 0x7f) == 0 || h.s.has_oncs(5),
           fmt::format("RESCAP {:#x}, although ONCS bit 5 (reservations) is clear", cap));
}

void report_empty(Test& t) {
  Two h(t);
  const Bytes r = h.a.report();
  if (!t.ok()) return;
  t.equal("RTYPE without a reservation", type_of(r), 0u);
  t.equal("REGCTL without a registrant", registrants(r), 0u);
}

void registers(Test& t) {
  Two h(t);
  const Bytes before = h.a.report();
  h.register_both();
  const Bytes r = h.b.report();
  if (!t.ok()) return;
  t.equal("REGCTL", registrants(r), 2u);
  t.expect(u32(r, 0) != u32(before, 0), "GEN did not move with two registrations");
  bool seen_a = false, seen_b = false;
  for (std::size_t i = 0; i < registrants(r); ++i) {
    const View e = slice(r, 64 + i * 64, 64);
    const bool is_a = u64(e, 8) == key_a;
    (is_a ? seen_a : seen_b) = true;
    const Host& owner = is_a ? h.a : h.b;
    t.equal("key", u64(e, 8), is_a ? key_a : key_b);
    t.equal("RCSTS of a registrant that holds nothing", u8(e, 2), 0);
    t.equal_bytes("host identifier", slice(e, 16, 16), owner.s.parameters(0).hostid);
  }
  t.expect(seen_a && seen_b, "a registrant is missing");
}

void register_again(Test& t) {
  Two h(t);
  h.a.good("Register", h.a.register_key(0, key_a));
  h.a.good("Register with the same key", h.a.register_key(0, key_a));
  h.a.refused("Register with another key", h.a.register_key(0, key_a + 1));
}

void replace(Test& t) {
  Two h(t);
  h.a.good("Register", h.a.register_key(0, key_a));
  h.a.refused("Replace with a wrong current key", h.a.register_key(key_b, key_a + 1, do_replace));
  h.a.good("Replace", h.a.register_key(key_a, key_a + 1, do_replace));
  h.a.good("Replace back with IEKEY", h.a.register_key(0, key_a, do_replace | ignore_key));
  const Bytes r = h.a.report();
  if (t.ok()) t.equal("key", u64(r, 72), key_a);
}

void unregister(Test& t) {
  Two h(t);
  h.register_both();
  h.a.refused("Unregister with a wrong key", h.a.register_key(key_b, 0, do_unregister));
  h.a.good("Unregister", h.a.register_key(key_a, 0, do_unregister));
  h.a.refused("Unregister again", h.a.register_key(key_a, 0, do_unregister));
  const Bytes r = h.b.report();
  if (t.ok()) t.equal("REGCTL", registrants(r), 1u);
}

void acquire_unregistered(Test& t) {
  Two h(t);
  h.a.refused("Acquire without a registration", h.a.acquire(key_a, 1));
}

void acquire_wrong_key(Test& t) {
  Two h(t);
  h.register_both();
  h.a.refused("Acquire with another's key", h.a.acquire(key_b, 1));
}

void acquire_held(Test& t) {
  Two h(t);
  h.register_both();
  h.a.good("Acquire", h.a.acquire(key_a, 1));
  h.a.good("Acquire again by the holder", h.a.acquire(key_a, 1));
  h.a.refused("Acquire of another type by the holder", h.a.acquire(key_a, 2));
  h.b.refused("Acquire by another", h.b.acquire(key_b, 1));
  const Bytes r = h.b.report();
  if (t.ok()) t.equal("RTYPE", type_of(r), 1u);
}

void acquire_type_reserved(Test& t) {
  Two h(t);
  h.register_both();
  for (const unsigned type : {0u, 7u})
    h.a.queue->expect_status(fmt::format("Acquire of type {}", type), h.a.acquire(key_a, type),
                             {sc::invalid_field});
}

// Who may do what, for each type (NVMe Base 2.0, section 8.19: command behaviour table).
void access(Test& t, unsigned type) {
  Two h(t);
  if (!t.ok()) return;
  if (!t.needs((u8(h.a.s.ns(), 31) >> type & 1) != 0, fmt::format("RESCAP has not got type {}", type)))
    return;
  const bool exclusive = type == 2 || type == 4 || type == 6;
  const bool registrants_write = type >= 3;
  const auto judge = [](Host& host, std::string_view what, const Answer& a, bool allowed) {
    allowed ? host.good(what, a) : host.refused(what, a);
  };
  h.a.good("Register of A", h.a.register_key(0, key_a));
  h.a.good("Acquire by A", h.a.acquire(key_a, type));
  h.a.good("Write by the holder", h.a.write());
  h.a.good("Read by the holder", h.a.read());
  judge(h.b, "Read by a host that is not registered", h.b.read(), !exclusive);
  judge(h.b, "Write by a host that is not registered", h.b.write(), false);
  h.b.good("Register of B", h.b.register_key(0, key_b));
  judge(h.b, "Read by another registrant", h.b.read(), !exclusive || registrants_write);
  judge(h.b, "Write by another registrant", h.b.write(), registrants_write);
}

// Every command that changes data is a write.
void other_writes(Test& t) {
  Two h(t);
  h.a.good("Register of A", h.a.register_key(0, key_a));
  h.a.good("Acquire of write exclusive by A", h.a.acquire(key_a, 1));
  if (h.b.s.has_oncs(3))
    h.b.refused("Write Zeroes by another",
                h.b.queue->execute(io_command(io::write_zeroes, h.b.s.nsid(), 0, 1)));
  if (h.b.s.has_oncs(2)) {
    Bytes range(16);
    put32(range, 4, 1);
    Command c(io::dataset_management);
    h.b.refused("Deallocate by another",
                h.b.queue->execute(h.b.s.carry(c.nsid(h.b.s.nsid()).dw(11, 4), std::move(range))));
  }
  h.b.refused("Flush by another", h.b.queue->execute(Command(io::flush).nsid(h.b.s.nsid())));
}

void release(Test& t) {
  Two h(t);
  h.register_both();
  h.a.good("Acquire", h.a.acquire(key_a, 1));
  h.a.queue->expect_status("Release of another type", h.a.release(key_a, 2), {sc::invalid_field});
  h.b.good("Release by a registrant that holds nothing", h.b.release(key_b, 1));
  h.b.refused("Write by B, which the reservation still fences", h.b.write());
  h.a.good("Release", h.a.release(key_a, 1));
  h.b.good("Write by B once it is released", h.b.write());
}

void clear(Test& t) {
  Two h(t);
  h.register_both();
  h.a.good("Acquire", h.a.acquire(key_a, 1));
  h.b.good("Clear by B", h.b.release(key_b, 0, do_clear));
  const Bytes r = h.b.report();
  if (!t.ok()) return;
  t.equal("RTYPE", type_of(r), 0u);
  t.equal("REGCTL", registrants(r), 0u);
}

void preempt(Test& t, std::uint32_t action) {
  Two h(t);
  h.register_both();
  h.a.good("Acquire by A", h.a.acquire(key_a, 1));
  h.b.good("Preempt by B", h.b.acquire(key_b, 2, action, key_a));
  const Bytes r = h.b.report();
  if (t.ok()) {
    t.equal("RTYPE", type_of(r), 2u);
    t.equal("REGCTL", registrants(r), 1u);
    t.equal("key of the registrant that is left", u64(r, 72), key_b);
    t.equal("RCSTS of the holder", u8(r, 66) & 1u, 1u);
  }
  h.a.refused("Write by A, which was preempted", h.a.write());
  h.a.refused("Release by A, which was preempted", h.a.release(key_a, 1));
}

void unregister_releases(Test& t) {
  Two h(t);
  h.register_both();
  h.a.good("Acquire", h.a.acquire(key_a, 1));
  h.a.good("Unregister of the holder", h.a.register_key(key_a, 0, do_unregister));
  h.b.good("Write by B once the holder is gone", h.b.write());
  const Bytes r = h.b.report();
  if (t.ok()) t.equal("RTYPE", type_of(r), 0u);
}

// All registrants: everyone holds it, until the last one goes.
void all_registrants(Test& t) {
  Two h(t);
  if (!t.ok() || !t.needs((u8(h.a.s.ns(), 31) >> 5 & 1) != 0, "RESCAP has not got type 5")) return;
  h.register_both();
  h.a.good("Acquire", h.a.acquire(key_a, 5));
  h.b.good("Acquire by B, which holds it already", h.b.acquire(key_b, 5));
  h.a.good("Unregister of A", h.a.register_key(key_a, 0, do_unregister));
  const Bytes r = h.b.report();
  if (t.ok()) t.equal("RTYPE with one registrant left", type_of(r), 5u);
  h.a.refused("Write by A, which is not registered any more", h.a.write());
  h.b.good("Unregister of B", h.b.register_key(key_b, 0, do_unregister));
  const Bytes empty = h.b.report();
  if (t.ok()) t.equal("RTYPE with no registrant left", type_of(empty), 0u);
}

void survives_disconnect(Test& t) {
  Two h(t);
  {
    Host again(t, 1);
    again.good("Register of A over another controller", again.register_key(0, key_a));
    again.good("Acquire", again.acquire(key_a, 1));
  }
  t.sleep(200ms);
  h.b.refused("Write by B once A's controller is gone", h.b.write());
  h.a.good("Write by A over another controller", h.a.write());
}

void report_format(Test& t) {
  Host h(t, 1);
  if (!has_reservations(h.s)) return;
  Command c(io::resv_report);
  const Answer a = h.queue->execute(
      c.nsid(h.s.nsid()).dw(10, reservation_report_bytes / 4 - 1).dw(11, 0).reads(reservation_report_bytes));
  h.queue->expect_status("Reservation Report of 64 bit host identifiers", a, {0x018});
}

}  // namespace

void add_reservation_cases(Cases& to) {
  const auto add = [&](const char* id, const char* title, const char* section, const char* requirement,
                       std::function<void(Test&)> run, bool writes = true) {
    to.push_back({std::string("base.reservation.") + id, title, Spec::base, section, requirement,
                  Level::optional, writes, std::move(run)});
  };
  constexpr const char* registering = "7.3, 8.19 (Reservation Register)";
  constexpr const char* acquiring = "7.2, 8.19 (Reservation Acquire)";
  constexpr const char* releasing = "7.4, 8.19 (Reservation Release)";
  constexpr const char* reporting = "7.5, 8.19 (Reservation Report)";
  add("rescap", "RESCAP", "8.19", "A namespace with reservations has a controller with reservations", rescap,
      false);
  add("report-format", "A report of short host identifiers", reporting,
      "Hosts over Fabrics have 128 bits: host identifier inconsistent format", report_format, false);
  add("report-empty", "A report without registrants", reporting, "It says so", report_empty);
  add("register", "Two hosts register", registering,
      "The report has each with its key and host identifier; GEN moves", registers);
  add("register-again", "Registering again", registering, "The same key succeeds, another one is a conflict",
      register_again);
  add("replace", "Replacing a key", registering, "It takes the current key, or IEKEY", replace);
  add("unregister", "Unregistering", registering, "It takes the current key, and works once", unregister);
  add("unregister-holder", "The holder unregisters", registering, "The reservation is released",
      unregister_releases);
  add("acquire-unregistered", "Acquire without a registration", acquiring, "A conflict",
      acquire_unregistered);
  add("acquire-key", "Acquire with a wrong key", acquiring, "A conflict", acquire_wrong_key);
  add("acquire-held", "Acquire of what another holds", acquiring, "A conflict; the holder may repeat itself",
      acquire_held);
  add("acquire-type", "Acquire of a type that does not exist", acquiring, "Invalid field",
      acquire_type_reserved);
  for (const unsigned type : {1u, 2u, 3u, 4u, 5u, 6u}) {
    static constexpr const char* names[] = {"",
                                            "Write exclusive",
                                            "Exclusive access",
                                            "Write exclusive, registrants only",
                                            "Exclusive access, registrants only",
                                            "Write exclusive, all registrants",
                                            "Exclusive access, all registrants"};
    const std::string id = fmt::format("access-{}", type);
    add(id.c_str(), names[type], "8.19 (command behaviour)",
        "Reads and writes of holder, registrant and others are as the table says",
        [type](Test& t) { access(t, type); });
  }
  add("access-others", "Other commands that change data", "8.19 (command behaviour)",
      "Flush, Write Zeroes and Dataset Management are fenced as Write is", other_writes);
  add("release", "Release", releasing, "Only the holder's release of the right type ends a reservation",
      release);
  add("clear", "Clear", releasing, "Any registrant may clear: no reservation and no registrant is left",
      clear);
  add("preempt", "Preempt", acquiring,
      "The key's owner loses reservation and registration to the preempting host",
      [](Test& t) { preempt(t, do_preempt); });
  add("preempt-abort", "Preempt and abort", acquiring, "The same, and its commands are aborted",
      [](Test& t) { preempt(t, do_preempt_abort); });
  add("all-registrants", "All registrants", "8.19",
      "Every registrant is a holder, until the last one unregisters", all_registrants);
  add("disconnect", "The holder's controller goes", "8.19",
      "Registration and reservation belong to the host, not to its controller", survives_disconnect);
}

}  // namespace holdfast::cli::conformance
