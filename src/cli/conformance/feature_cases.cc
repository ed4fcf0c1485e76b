// Get Features and Set Features.
#include <fmt/format.h>

#include "cli/conformance/session.h"
#include "cli/conformance/suite.h"

namespace holdfast::cli::conformance {
namespace {

constexpr std::uint8_t arbitration = 0x01, power = 0x02, temperature = 0x04, error_recovery = 0x05,
                       write_cache = 0x06, queues = 0x07, write_atomicity = 0x0a, events = 0x0b,
                       keep_alive = 0x0f, host_id = 0x81, reservation_mask = 0x82;
constexpr std::uint8_t select_default = 1, select_capabilities = 3;

void readable(Test& t, std::uint8_t fid, const char* what) {
  Session s(t);
  s.admin().expect_good(fmt::format("Get Features, {}", what),
                        s.get_feature(fid, 0, fid == error_recovery ? s.nsid() : 0));
}

void number_of_queues(Test& t) {
  Session s(t);
  const Answer set = s.set_feature(queues, 7 | 7u << 16);
  s.admin().expect_good("Set Features, number of queues", set);
  const Answer got = s.get_feature(queues);
  s.admin().expect_good("Get Features, number of queues", got);
  t.expect((set.dw0 & 0xffff) != 0xffff && (set.dw0 >> 16) != 0xffff, "65,536 queues are granted");
  if (t.ok()) t.equal("queues granted, and read back", got.dw0, set.dw0);
}

void number_of_queues_invalid(Test& t) {
  Session s(t);
  s.admin().expect_status("Set Features, 65,536 queues", s.set_feature(queues, 0xffffffff),
                          {sc::invalid_field});
}

void number_of_queues_late(Test& t) {
  Session s(t);
  s.admin().expect_good("Set Features, number of queues", s.set_feature(queues, 3 | 3u << 16));
  const auto queue = s.io_queue();
  s.admin().expect_status("Set Features, number of queues once there are some",
                          s.set_feature(queues, 1 | 1u << 16), {sc::sequence_error});
}

void event_mask(Test& t) {
  Session s(t);
  const std::uint32_t oaes = u32(s.controller(), 92);
  s.admin().expect_good("Set Features, asynchronous events", s.set_feature(events, oaes));
  const Answer got = s.get_feature(events);
  s.admin().expect_good("Get Features, asynchronous events", got);
  if (t.ok()) t.equal("event mask as it was set", got.dw0, oaes);
}

void kato(Test& t) {
  SessionOptions o;
  o.kato = 60000;
  Session s(t, o);
  const Answer got = s.get_feature(keep_alive);
  s.admin().expect_good("Get Features, keep alive timer", got);
  const std::uint32_t unit = u16(s.controller(), 320) * 100u;
  t.expect(got.dw0 >= 60000 && got.dw0 <= 60000 + unit,
           fmt::format("KATO: expected 60000 or up to {} ms more, got {}", unit, got.dw0));
}

void kato_set(Test& t) {
  Session s(t);
  s.admin().expect_good("Set Features, keep alive timer", s.set_feature(keep_alive, 120000));
  const Answer got = s.get_feature(keep_alive);
  const std::uint32_t unit = u16(s.controller(), 320) * 100u;
  s.admin().expect_good("Get Features, keep alive timer", got);
  t.expect(got.dw0 >= 120000 && got.dw0 <= 120000 + unit,
           fmt::format("KATO: expected 120000, got {}", got.dw0));
}

void cache(Test& t) {
  Session s(t);
  if (!t.needs((u8(s.controller(), 525) & 1) != 0, "VWC bit 0 (a volatile write cache) is clear")) return;
  const Answer got = s.get_feature(write_cache);
  s.admin().expect_good("Get Features, volatile write cache", got);
  t.expect((got.dw0 & ~1u) == 0, fmt::format("volatile write cache {:#x} has reserved bits", got.dw0));
}

void cache_absent(Test& t) {
  Session s(t);
  if (!t.needs((u8(s.controller(), 525) & 1) == 0, "there is a volatile write cache")) return;
  s.admin().expect_status("Get Features, volatile write cache, without one", s.get_feature(write_cache),
                          {sc::invalid_field, sc::success});
}

void host_identifier(Test& t) {
  Session s(t);
  const Answer got = s.get_feature(host_id, 0, 0, 16, 1);
  s.admin().expect_good("Get Features, host identifier of 128 bits", got);
  const ConnectParameters p = s.parameters(0);
  t.equal_bytes("host identifier as it was connected with", got.data, p.hostid);
}

void host_identifier_64(Test& t) {
  Session s(t);
  s.admin().expect_status("Get Features, host identifier of 64 bits", s.get_feature(host_id, 0, 0, 16, 0),
                          {sc::invalid_field, sc::sgl_length});
}

void host_identifier_set(Test& t) {
  Session s(t);
  const Answer a = s.set_feature(host_id, 1, 0, pattern(16, 3));
  s.admin().expect_status("Set Features, host identifier", a, {sc::sequence_error});
}

void capabilities(Test& t) {
  Session s(t);
  if (!t.needs((u16(s.controller(), 520) >> 4 & 1) != 0, "ONCS bit 4 (save and select) is clear")) return;
  for (const std::uint8_t fid : {arbitration, power, temperature, queues, events}) {
    const Answer a = s.get_feature(fid, select_capabilities);
    s.admin().expect_good(fmt::format("capabilities of feature {:02x}h", fid), a);
    t.expect((a.dw0 & ~7u) == 0,
             fmt::format("capabilities of feature {:02x}h: {:#x} has reserved bits", fid, a.dw0));
  }
}

void defaults(Test& t) {
  Session s(t);
  if (!t.needs((u16(s.controller(), 520) >> 4 & 1) != 0, "ONCS bit 4 (save and select) is clear")) return;
  const Answer before = s.get_feature(events, select_default);
  s.admin().expect_good("default of the event mask", before);
  s.set_feature(events, u32(s.controller(), 92));
  const Answer after = s.get_feature(events, select_default);
  s.admin().expect_good("default of the event mask", after);
  if (t.ok()) t.equal("default once the current value was set", after.dw0, before.dw0);
}

void not_saveable(Test& t) {
  Session s(t);
  const Answer a = s.set_feature(events, 0, 0, {}, true);
  if (a.good()) return t.not_supported("the event mask can be saved");
  s.admin().expect_status("Set Features with Save", a, {sc::not_saveable, sc::invalid_field});
}

void unknown(Test& t) {
  Session s(t);
  constexpr std::uint8_t reserved = 0x5f;
  s.admin().expect_status("Get Features of 5Fh", s.get_feature(reserved), {sc::invalid_field});
  s.admin().expect_status("Set Features of 5Fh", s.set_feature(reserved, 0), {sc::invalid_field});
}

void not_changeable(Test& t) {
  Session s(t);
  const Answer a = s.set_feature(write_atomicity, 1);
  if (a.good()) return;
  s.admin().expect_status("Set Features, write atomicity", a, {sc::not_changeable, sc::invalid_field});
}

void reservation_mask_all(Test& t) {
  Session s(t);
  const bool has = s.has_oncs(5) && (u8(s.ns(), 31) & 0x7e) != 0;
  if (!t.needs(has, "the namespace has no reservations")) return;
  const Answer a = s.get_feature(reservation_mask, 0, nsid_all);
  s.admin().expect_status("Get Features, reservation mask, NSID FFFFFFFFh", a,
                          {sc::invalid_field, sc::invalid_nsid});
  s.admin().expect_good("Get Features, reservation mask", s.get_feature(reservation_mask, 0, s.nsid()));
}

}  // namespace

void add_feature_cases(Cases& to) {
  const auto add = [&](const char* id, const char* title, const char* section, const char* requirement,
                       std::function<void(Test&)> run, Level level = Level::mandatory) {
    to.push_back({std::string("base.feature.") + id, title, Spec::base, section, requirement, level, false,
                  std::move(run)});
  };
  constexpr const char* there = "It is there in every I/O controller";
  const struct {
    const char* id;
    const char* title;
    std::uint8_t fid;
    const char* section;
  } mandatory[] = {{"arbitration", "Arbitration", arbitration, "5.27.1.1"},
                   {"power", "Power management", power, "5.27.1.2"},
                   {"temperature", "Temperature threshold", temperature, "5.27.1.3"},
                   {"error-recovery", "Error recovery", error_recovery, "NVM Command Set 1.0, 4.1.3.2"},
                   {"queues", "Number of queues", queues, "5.27.1.5"},
                   {"atomicity", "Write atomicity", write_atomicity, "NVM Command Set 1.0, 4.1.3.5"},
                   {"events", "Asynchronous event configuration", events, "5.27.1.8"},
                   {"keep-alive", "Keep alive timer", keep_alive, "5.27.1.12"}};
  for (const auto& m : mandatory) {
    add(m.id, m.title, m.section, there, [m](Test& t) { readable(t, m.fid, m.title); });
  }
  constexpr const char* queue_section = "5.27.1.5 (Number of Queues)";
  add("queues-set", "Asking for queues", queue_section, "What is granted reads back", number_of_queues);
  add("queues-invalid", "Asking for 65,536 queues", queue_section, "FFFFh is refused: invalid field",
      number_of_queues_invalid);
  add("queues-late", "Asking for queues once there are some", queue_section,
      "It is refused: command sequence error", number_of_queues_late);
  add("events-set", "Event mask", "5.27.1.8", "What was set reads back", event_mask);
  add("kato", "KATO of Connect", "5.27.1.12, 3.9", "The timer is what Connect said, rounded up to KAS", kato);
  add("kato-set", "Setting KATO", "5.27.1.12", "What was set reads back, rounded up to KAS", kato_set);
  add("write-cache", "Volatile write cache", "5.27.1.4", "With VWC the feature is there", cache,
      Level::optional);
  add("write-cache-absent", "No volatile write cache", "5.27.1.4", "Without VWC the feature may be refused",
      cache_absent, Level::optional);
  add("host-id", "Host identifier", "5.27.1.25", "It is what Connect said", host_identifier);
  add("host-id-64", "Host identifier of 64 bits", "5.27.1.25", "Over Fabrics it has 128 bits: invalid field",
      host_identifier_64);
  add("host-id-set", "Setting the host identifier", "5.27.1.25",
      "Over Fabrics it comes with Connect only: command sequence error", host_identifier_set);
  add("capabilities", "Feature capabilities", "5.15 (Select 3)", "Bits 2:0 tell what can be done",
      capabilities, Level::optional);
  add("defaults", "Feature defaults", "5.15 (Select 1)", "Setting a feature does not change its default",
      defaults, Level::optional);
  add("save", "Saving what cannot be saved", "5.27", "It is refused: feature not saveable", not_saveable);
  add("unknown", "A feature that does not exist", "5.15, 5.27", "It is refused: invalid field", unknown);
  add("not-changeable", "Changing what cannot be changed", "5.27", "It is refused: feature not changeable",
      not_changeable);
  add("reservation-mask", "Reservation notification mask", "5.27.1.26", "It is per namespace",
      reservation_mask_all, Level::optional);
}

}  // namespace holdfast::cli::conformance
