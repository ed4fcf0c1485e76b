// Get Log Page.
#include <algorithm>

#include <fmt/format.h>

#include "cli/conformance/session.h"
#include "cli/conformance/suite.h"

namespace holdfast::cli::conformance {
namespace {

constexpr std::uint8_t supported = 0x00, errors = 0x01, smart = 0x02, firmware = 0x03, changed = 0x04,
                       effects = 0x05, reservation = 0x80;

void supported_pages(Test& t) {
  Session s(t);
  const Answer a = s.log_page(supported, 1024);
  if (!a.arrived) return;
  if (a.status != sc::success && u32(s.controller(), 80) < 0x00020000)
    return t.not_supported("a log page of NVMe 2.0, the controller is of before");
  s.admin().expect_good("Get Log Page 00h", a);
  for (const std::uint8_t lid : {supported, errors, smart, firmware})
    t.expect((u32(a.data, lid * std::size_t{4}) & 1) != 0,
             fmt::format("log page {:02x}h is missing in the list", lid));
}

// What the list names can be read; nothing else can.
void supported_pages_true(Test& t) {
  Session s(t);
  const Answer a = s.log_page(supported, 1024);
  if (!t.needs(a.good(), "log page 00h is refused")) return;
  for (const std::uint8_t lid : {errors, smart, firmware, changed, effects, reservation}) {
    const bool listed = (u32(a.data, lid * std::size_t{4}) & 1) != 0;
    const Answer page = s.log_page(lid, 64, lid == reservation || lid == changed ? 0 : nsid_all, 0, 0, true);
    if (!page.arrived) return;
    t.expect(page.good() == listed, fmt::format("log page {:02x}h is {}listed, and answered with {}", lid,
                                                listed ? "" : "not ", sc::text(page.status)));
  }
}

void error_log(Test& t) {
  Session s(t);
  const std::uint32_t entries = u8(s.controller(), 262) + 1u;
  const Bytes log = s.log_data(errors, std::min(entries, 64u) * 64);
  std::uint64_t last = ~std::uint64_t{0};
  for (std::size_t at = 0; at < log.size() && t.ok(); at += 64) {
    const std::uint64_t n = u64(log, at);
    t.expect(n == 0 || n < last, "error counts do not fall from entry to entry");
    last = n;
  }
}

void error_log_grows(Test& t) {
  Session s(t);
  const std::uint64_t before = u64(s.log_data(errors, 64), 0);
  const Answer wrong = s.get_feature(0x5f);
  s.admin().expect_refused("Get Features of 5Fh", wrong);
  if (!wrong.arrived || !wrong.more)
    return t.not_supported("a refused command does not set More: nothing is logged");
  t.expect(u64(s.log_data(errors, 64), 0) > before, "More is set, but the error log has no new entry");
}

void smart_log(Test& t) {
  Session s(t);
  const Bytes log = s.log_data(smart, 512);
  if (!t.ok()) return;
  t.expect((u8(log, 0) & 0xc0) == 0, fmt::format("critical warning {:#x} has reserved bits", u8(log, 0)));
  t.expect(u8(log, 3) <= 100, fmt::format("available spare is {} %", u8(log, 3)));
  t.expect(u8(log, 4) <= 100, fmt::format("available spare threshold is {} %", u8(log, 4)));
  t.expect(is_zero(slice(log, 232, 280)), "bytes 511:232 are reserved, but not zero");
}

void smart_counts(Test& t) {
  Session s(t);
  const Bytes before = s.log_data(smart, 512);
  const auto queue = s.io_queue();
  for (int i = 0; i < 4; ++i) queue->expect_good("Read", queue->execute(s.read_command(0, 1)));
  const Bytes after = s.log_data(smart, 512);
  if (!t.ok()) return;
  t.expect(u64(after, 64) >= u64(before, 64) + 4,
           fmt::format("host read commands: {} before four reads, {} behind them", u64(before, 64),
                       u64(after, 64)));
}

void firmware_log(Test& t) {
  Session s(t);
  const Bytes log = s.log_data(firmware, 512);
  if (!t.ok()) return;
  const unsigned active = u8(log, 0) & 7;
  t.expect(active >= 1 && active <= 7, fmt::format("active slot {}", active));
  t.equal_bytes("revision of the active slot, and FR", slice(log, 8 * active, 8),
                slice(s.controller(), 64, 8));
}

void changed_log(Test& t) {
  Session s(t);
  if (!t.needs((u32(s.controller(), 92) >> 8 & 1) != 0, "OAES bit 8 (namespace attribute notices) is clear"))
    return;
  s.log_data(changed, 4096);
  const Bytes again = s.log_data(changed, 4096);
  t.equal("first entry once the page was read", u32(again, 0), 0u);
}

void effects_log(Test& t) {
  Session s(t);
  if (!t.needs((u8(s.controller(), 261) >> 1 & 1) != 0, "LPA bit 1 (command effects) is clear")) return;
  const Bytes log = s.log_data(effects, 4096);
  if (!t.ok()) return;
  const auto needs = [&](std::size_t at, const char* what) {
    t.expect((u32(log, at) & 1) != 0, fmt::format("{} is not in the command effects log", what));
  };
  needs(admin::identify * 4u, "Identify");
  needs(admin::get_log_page * 4u, "Get Log Page");
  needs(admin::get_features * 4u, "Get Features");
  needs(admin::set_features * 4u, "Set Features");
  needs(1024 + io::read * 4u, "Read");
  const struct {
    unsigned oncs;
    std::uint8_t opcode;
    const char* name;
  } optional[] = {{0, io::compare, "Compare"},
                  {2, io::dataset_management, "Dataset Management"},
                  {3, io::write_zeroes, "Write Zeroes"},
                  {5, io::resv_register, "Reservation Register"},
                  {7, io::verify, "Verify"},
                  {8, io::copy, "Copy"}};
  for (const auto& o : optional) {
    const bool listed = (u32(log, 1024 + o.opcode * std::size_t{4}) & 1) != 0;
    t.expect(listed == s.has_oncs(o.oncs),
             fmt::format("{}: command effects log and ONCS bit {} differ", o.name, o.oncs));
  }
}

void reservation_log(Test& t) {
  Session s(t);
  if (!s.needs_oncs(5, "reservations")) return;
  const Bytes log = s.log_data(reservation, 64, 0);
  if (t.ok() && u8(log, 8) == 0) t.expect(u32(log, 12) == 0, "an empty notification names a namespace");
}

void offset(Test& t) {
  Session s(t);
  if (!t.needs((u8(s.controller(), 261) >> 2 & 1) != 0, "LPA bit 2 (extended data) is clear")) return;
  const Bytes whole = s.log_data(firmware, 512);
  const Bytes part = s.log_data(firmware, 64, nsid_all, 64);
  t.equal_bytes("64 bytes from offset 64", part, slice(whole, 64, 64));
}

void offset_odd(Test& t) {
  Session s(t);
  if (!t.needs((u8(s.controller(), 261) >> 2 & 1) != 0, "LPA bit 2 (extended data) is clear")) return;
  const Answer a = s.log_page(firmware, 64, nsid_all, 66);
  // Bits 1:0 need not be looked at; then they count as zero.
  if (a.good()) {
    t.equal_bytes("offset 66, taken as 64", a.data, s.log_data(firmware, 64, nsid_all, 64));
  } else {
    s.admin().expect_status("Get Log Page from offset 66", a, {sc::invalid_field});
  }
}

void offset_behind(Test& t) {
  Session s(t);
  if (!t.needs((u8(s.controller(), 261) >> 2 & 1) != 0, "LPA bit 2 (extended data) is clear")) return;
  s.admin().expect_status("Get Log Page behind the end", s.log_page(smart, 64, nsid_all, 1u << 20),
                          {sc::invalid_field});
}

void unknown(Test& t) {
  Session s(t);
  s.admin().expect_status("Get Log Page 7Fh", s.log_page(0x7f, 512), {sc::invalid_log, sc::invalid_field});
}

void sgl_too_small(Test& t) {
  Session s(t);
  Command c(admin::get_log_page);
  c.nsid(nsid_all).dw(10, smart | 127u << 16).reads(64);
  const Answer a = s.admin().execute(std::move(c));
  s.admin().expect_status("512 bytes of log page into an SGL of 64", a, {sc::sgl_length, sc::invalid_field});
}

}  // namespace

void add_log_cases(Cases& to) {
  const auto add = [&](const char* id, const char* title, const char* section, const char* requirement,
                       std::function<void(Test&)> run, Level level = Level::mandatory) {
    to.push_back({std::string("base.log.") + id, title, Spec::base, section, requirement, level, false,
                  std::move(run)});
  };
  add("supported", "Supported log pages", "5.16.1.1",
      "A controller of NVMe 2.0 lists its log pages, and has the mandatory ones", supported_pages);
  add("supported-true", "The list of log pages is true", "5.16.1.1",
      "What is listed is there, what is not is refused", supported_pages_true, Level::optional);
  add("error", "Error information", "5.16.1.2", "Entries go from the newest to the oldest", error_log);
  add("error-more", "More and the error log", "5.16.1.2", "A status with More has an entry in the error log",
      error_log_grows, Level::optional);
  add("smart", "SMART / health", "5.16.1.3", "Fields are within their ranges, reserved bytes are zero",
      smart_log);
  add("smart-counts", "Host read commands", "5.16.1.3", "The count follows the commands of hosts",
      smart_counts);
  add("firmware", "Firmware slots", "5.16.1.4", "The active slot has the revision of identify data",
      firmware_log);
  add("changed", "Changed namespaces", "5.16.1.5", "Reading the page empties it", changed_log,
      Level::optional);
  add("effects", "Command effects", "5.16.1.6", "It agrees with ONCS, and has the mandatory commands",
      effects_log, Level::optional);
  add("reservation", "Reservation notifications", "5.16.1.24", "Without a notification the page is empty",
      reservation_log, Level::optional);
  add("offset", "Log page offset", "5.16", "A part of a page is what the whole page has there", offset,
      Level::optional);
  add("offset-odd", "An offset that is no dword", "5.16",
      "It is refused: invalid field, or its bits 1:0 count as zero", offset_odd, Level::optional);
  add("offset-behind", "An offset behind the end", "5.16", "It is refused: invalid field", offset_behind,
      Level::optional);
  add("unknown", "A log page that does not exist", "5.16",
      "It is refused: invalid log page, or invalid field", unknown);
  add("sgl", "An SGL smaller than the transfer", "5.16, 4.1.2", "It is refused: data SGL length invalid",
      sgl_too_small);
}

}  // namespace holdfast::cli::conformance
