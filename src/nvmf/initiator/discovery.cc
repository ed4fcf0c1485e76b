#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <memory>
#include <utility>

#include "base/log.h"
#include "nvme/fabrics.h"
#include "nvmf/initiator/initiator.h"
#include "nvmf/initiator/session.h"

namespace holdfast::nvmf {
namespace {

constexpr std::uint64_t entries_max = 4096;
constexpr std::uint64_t entries_at_once = 4;  // of 1 KiB: a page, which every controller transfers
constexpr std::size_t services_max = 16;      // asked by discover_all()
constexpr unsigned tries_max = 5;             // the log changed while it was read

template <std::size_t N>
std::string text_of(const char (&field)[N]) {
  const void* zero = std::memchr(field, 0, N);
  const std::size_t n =
      zero == nullptr ? N : static_cast<std::size_t>(static_cast<const char*>(zero) - field);
  std::string text(field, n);
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

DiscoveryEntry entry_of(const nvme::DiscoveryLogEntry& raw) {
  DiscoveryEntry entry;
  entry.type = static_cast<nvme::SubsystemType>(raw.subtype);
  entry.transport = static_cast<nvme::TransportType>(raw.trtype);
  entry.address.address = text_of(raw.traddr);
  const std::string port = text_of(raw.trsvcid);
  std::from_chars(port.data(), port.data() + port.size(), entry.address.port);
  entry.subnqn = text_of(raw.subnqn);
  entry.port_id = raw.portid;
  entry.cntlid = raw.cntlid;
  return entry;
}

Task<Result<nvme::DiscoveryLogHeader>> read_header(host::Admin& admin) {
  nvme::DiscoveryLogHeader header{};
  const auto bytes = std::as_writable_bytes(std::span<nvme::DiscoveryLogHeader, 1>(&header, 1));
  HF_CO_CHECK(co_await admin.log_page(nvme::LogPage::discovery, 0, 0, false, bytes));
  if (header.recfmt.get() != 0 || header.numrec.get() > entries_max)
    co_return Error(Errc::protocol, "the discovery log has an unknown format or too many entries");
  co_return header;
}

Task<Status> read_entries(host::Admin& admin, std::uint64_t count, std::vector<DiscoveryEntry>& into) {
  using Page = std::array<nvme::DiscoveryLogEntry, entries_at_once>;
  const auto page = std::make_unique<Page>();
  for (std::uint64_t i = 0; i < count; i += entries_at_once) {
    const std::uint64_t n = std::min(entries_at_once, count - i);
    const auto some = std::span(*page).first(n);
    const std::uint64_t offset = sizeof(nvme::DiscoveryLogHeader) + i * sizeof(nvme::DiscoveryLogEntry);
    const auto bytes = std::as_writable_bytes(some);
    HF_CO_CHECK(co_await admin.log_page(nvme::LogPage::discovery, 0, offset, true, bytes));
    for (const nvme::DiscoveryLogEntry& raw : some) into.push_back(entry_of(raw));
  }
  co_return Status();
}

// The whole log of one generation: read again when it changed meanwhile.
Task<Result<std::vector<DiscoveryEntry>>> read_log(host::Admin& admin) {
  for (unsigned tries = 0; tries < tries_max; ++tries) {
    HF_CO_TRY(const nvme::DiscoveryLogHeader before, co_await read_header(admin));
    std::vector<DiscoveryEntry> entries;
    HF_CO_CHECK(co_await read_entries(admin, before.numrec, entries));
    HF_CO_TRY(const nvme::DiscoveryLogHeader after, co_await read_header(admin));
    if (after.genctr.get() == before.genctr.get() && after.numrec.get() == before.numrec.get())
      co_return entries;
  }
  co_return Error(Errc::busy, "the discovery log keeps changing: try again");
}

// A service has no business in making us look up names.
bool is_numeric(const std::string& address) noexcept {
  return !address.empty() && address.find_first_not_of("0123456789abcdefABCDEF.:") == std::string::npos;
}

bool is_same(const DiscoveryEntry& a, const DiscoveryEntry& b) noexcept {
  return a.type == b.type && a.transport == b.transport && a.address == b.address && a.subnqn == b.subnqn;
}

Task<Result<std::vector<DiscoveryEntry>>> ask(Reactor& reactor, Endpoint at, std::string service,
                                              InitiatorConfig config, StopToken stop) {
  complete_identity(config);
  config.keep_alive = Nanos{0};
  const Nanos deadline = reactor.now() + config.connect_timeout;
  const std::string where = "discovery service at " + at.to_string();
  HF_CO_TRY(const std::vector<Endpoint> addresses, co_await host::resolve_host(reactor, at));
  Error last(Errc::not_found);
  for (const Endpoint& to : addresses) {
    auto opened = co_await host::AdminSession::open(reactor, to, service, config, nullptr, deadline, stop);
    if (!opened.ok()) {
      last = opened.error();
      continue;
    }
    const std::unique_ptr<host::AdminSession> session = std::move(opened).value();
    host::Admin admin = session->admin();
    auto entries = co_await read_log(admin);
    co_await session->close();
    if (entries.ok()) co_return entries;
    co_return entries.error().with_context(where);
  }
  co_return last.with_context(where);
}

}  // namespace

Task<Result<std::vector<DiscoveryEntry>>> discover(Reactor& reactor, Endpoint at, InitiatorConfig config,
                                                   StopToken stop) {
  return ask(reactor, std::move(at), std::string(nvme::discovery_nqn), std::move(config), stop);
}

Task<Result<std::vector<DiscoveryEntry>>> discover_all(Reactor& reactor, Endpoint at, InitiatorConfig config,
                                                       StopToken stop) {
  HF_CO_TRY(const std::vector<DiscoveryEntry> first, co_await discover(reactor, at, config, stop));
  std::vector<DiscoveryEntry> all;
  std::vector<DiscoveryEntry> services;  // told of; the first `asked` of them were asked
  std::size_t asked = 0;
  const auto take = [&](const std::vector<DiscoveryEntry>& entries) {
    for (const DiscoveryEntry& e : entries) {
      auto& list = e.type == nvme::SubsystemType::referral ? services : all;
      const auto known = [&e](const DiscoveryEntry& other) { return is_same(e, other); };
      if (std::none_of(list.begin(), list.end(), known) && list.size() < entries_max) list.push_back(e);
    }
  };
  take(first);
  for (; asked < services.size() && asked < services_max && !stop.stop_requested(); ++asked) {
    const DiscoveryEntry service = services[asked];
    const bool usable = service.transport == nvme::TransportType::tcp && service.address.port != 0 &&
                        is_numeric(service.address.address) && !(service.address == at);
    if (!usable) continue;
    const bool named = nvme::is_valid_nqn(service.subnqn);
    std::string nqn = named ? service.subnqn : std::string(nvme::discovery_nqn);
    const auto found = co_await ask(reactor, service.address, std::move(nqn), config, stop);
    if (found.ok()) {
      take(found.value());
    } else {
      HF_LOG(warn, "nvmf", "referral not followed", {"error", found.error()});
    }
  }
  if (asked < services.size())
    HF_LOG(warn, "nvmf", "too many referrals", {"from", at.to_string()}, {"left", services.size() - asked});
  co_return all;
}

}  // namespace holdfast::nvmf
