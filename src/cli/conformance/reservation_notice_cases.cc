// What a host hears of reservations that others took from it: event requests, and the notification log.
#include <fmt/format.h>

#include "cli/conformance/reservation_hosts.h"
#include "cli/conformance/suite.h"

namespace holdfast::cli::conformance {
namespace {

constexpr std::uint8_t notice_log = 0x80, notice_mask = 0x82;
constexpr std::uint32_t log_bytes = 64;
// Of log entries (NVMe Base 2.0, section 5.16.1.24), and of the bits that mask them (section 5.27.1.26).
enum class Notice : std::uint8_t { none, registration_preempted, released, reservation_preempted };
constexpr std::uint32_t all_notices = 0xe;
// More than any controller keeps for a host that does not read.
constexpr int entries_max = 1024;

Notice type_of(View entry) { return static_cast<Notice>(u8(entry, 8)); }

// One whose notifications the case is about; nothing that was told before is left in its log.
struct Listener {
  explicit Listener(Host& h) : host(h), t(h.s.test()) {
    if (!t.ok()) return;
    const Answer first = host.s.log_page(notice_log, log_bytes);
    if (!t.needs(first.status != sc::invalid_log && first.status != sc::invalid_field,
                 "the controller has no log of reservation notifications"))
      return;
    for (int i = 0; t.ok() && type_of(entry()) != Notice::none; ++i) {
      if (i == entries_max) t.fail("the log of reservation notifications never ends");
    }
    set_mask(0);
    cid = host.s.admin().submit(Command(admin::async_event));
  }

  Bytes entry() {
    Bytes e = host.s.log_data(notice_log, log_bytes);
    e.resize(log_bytes);  // after a finding: none
    return e;
  }
  void set_mask(std::uint32_t notices) {
    host.s.admin().expect_good("Set Features, reservation notification mask",
                               host.s.set_feature(notice_mask, notices, host.s.nsid()));
  }
  void hears(Notice wanted) {
    const Answer a = host.s.admin().await(cid);
    host.s.admin().expect_good("the event request", a);
    if (!t.ok()) return;
    t.equal("event type (I/O command specific status)", a.dw0 & 7, 6u);
    t.equal("event information (reservation log page available)", a.dw0 >> 8 & 0xff, 0u);
    t.equal("log page of the event", a.dw0 >> 16 & 0xff, std::uint32_t{notice_log});
    const Bytes told = entry();
    if (!t.ok()) return;
    t.equal("type of the notification", u8(told, 8), static_cast<std::uint8_t>(wanted));
    t.equal("NSID of the notification", u32(told, 12), host.s.nsid());
    t.expect(u64(told, 0) != 0, "the count of a notification is 0");
    t.equal("further notifications", u8(told, 9), 0);
    if (t.ok()) t.equal("type once all were read", u8(entry(), 8), 0);
  }
  void hears_nothing(std::string_view of) {
    const Answer a = host.s.admin().await_within(cid, 300ms);
    t.expect(!a.arrived || (a.dw0 & 7) != 6, fmt::format("an event although {}", of));
    if (t.ok()) t.equal(fmt::format("type of a notification although {}", of), u8(entry(), 8), 0);
  }

  Host& host;
  Test& t;
  std::uint16_t cid = 0;
};

// Both are registered, and A holds write exclusive.
struct Held : Two {
  explicit Held(Test& test) : Two(test) {
    register_both();
    a.good("Acquire by A", a.acquire(key_a, 1));
  }
  void preempt_by_b() { b.good("Preempt by B", b.acquire(key_b, 1, do_preempt, key_a)); }
  void clear_by_b() { b.good("Clear by B", b.release(key_b, 0, do_clear)); }
};

void registration_preempted(Test& t) {
  Held h(t);
  Listener a(h.a);
  h.preempt_by_b();
  a.hears(Notice::registration_preempted);
}

void released(Test& t) {
  Two h(t);
  if (!t.ok() || !t.needs((u8(h.a.s.ns(), 31) >> 3 & 1) != 0, "RESCAP has not got type 3")) return;
  h.register_both();
  h.a.good("Acquire by A", h.a.acquire(key_a, 3));
  Listener b(h.b);
  h.a.good("Release by A", h.a.release(key_a, 3));
  b.hears(Notice::released);
}

// Those who may not use the namespace while it is held learn of its release by trying.
void released_quietly(Test& t) {
  Held h(t);
  Listener b(h.b);
  h.a.good("Release by A", h.a.release(key_a, 1));
  b.hears_nothing("write exclusive was released, which is told to nobody");
}

void cleared(Test& t) {
  Held h(t);
  Listener a(h.a);
  h.clear_by_b();
  a.hears(Notice::reservation_preempted);
}

void own_doing(Test& t) {
  Held h(t);
  Listener b(h.b);
  h.preempt_by_b();
  h.clear_by_b();
  b.hears_nothing("it was the host's own doing");
}

void masked(Test& t) {
  Held h(t);
  Listener a(h.a);
  a.set_mask(all_notices);
  const Answer mask = h.a.s.get_feature(notice_mask, 0, h.a.s.nsid());
  h.a.s.admin().expect_good("Get Features, reservation notification mask", mask);
  if (t.ok()) t.equal("the mask as it was set", mask.dw0 & all_notices, all_notices);
  h.preempt_by_b();
  a.hears_nothing("the notification is masked");
}

}  // namespace

void add_reservation_notice_cases(Cases& to) {
  constexpr const char* log_section = "8.19, 5.16.1.24 (Reservation Notification)";
  const auto add = [&](const char* id, const char* title, const char* section, const char* requirement,
                       std::function<void(Test&)> run) {
    to.push_back({std::string("base.reservation.notice-") + id, title, Spec::base, section, requirement,
                  Level::optional, true, std::move(run)});
  };
  add("preempt", "A registration is preempted", log_section,
      "Its host gets an event, and the log has registration preempted, once", registration_preempted);
  add("release", "A reservation of registrants is released", log_section,
      "The other registrants hear: reservation released", released);
  add("release-quiet", "A reservation of its holder alone is released", log_section,
      "Nobody is told: the notification is for the types that registrants share", released_quietly);
  add("clear", "A reservation is cleared", log_section, "The other registrants hear: reservation preempted",
      cleared);
  add("own", "A host's own preempt and clear", log_section, "It hears nothing of what it did itself",
      own_doing);
  add("mask", "A masked notification", "5.27.1.26 (Reservation Notification Mask)",
      "It neither raises an event nor is it in the log", masked);
}

}  // namespace holdfast::cli::conformance
