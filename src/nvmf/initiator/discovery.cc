#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>
#include <utility>

#include "nvmf/initiator/initiator.h"
#include "nvmf/initiator/session.h"

namespace holdfast::nvmf {
namespace {

constexpr std::uint64_t entries_max = 4096;
constexpr unsigned tries_max = 5;  // the log changed while it was read

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

// The whole log of one generation: read again when it changed meanwhile.
Task<Result<std::vector<DiscoveryEntry>>> read_log(host::Admin& admin) {
  const auto raw = std::make_unique<nvme::DiscoveryLogEntry>();
  const auto bytes = std::as_writable_bytes(std::span<nvme::DiscoveryLogEntry, 1>(raw.get(), 1));
  for (unsigned tries = 0; tries < tries_max; ++tries) {
    HF_CO_TRY(const nvme::DiscoveryLogHeader before, co_await read_header(admin));
    std::vector<DiscoveryEntry> entries;
    for (std::uint64_t i = 0; i < before.numrec.get(); ++i) {
      const std::uint64_t offset = sizeof(nvme::DiscoveryLogHeader) + i * sizeof(nvme::DiscoveryLogEntry);
      HF_CO_CHECK(co_await admin.log_page(nvme::LogPage::discovery, 0, offset, true, bytes));
      entries.push_back(entry_of(*raw));
    }
    HF_CO_TRY(const nvme::DiscoveryLogHeader after, co_await read_header(admin));
    if (after.genctr.get() == before.genctr.get() && after.numrec.get() == before.numrec.get())
      co_return entries;
  }
  co_return Error(Errc::busy, "the discovery log keeps changing: try again");
}

}  // namespace

Task<Result<std::vector<DiscoveryEntry>>> discover(Reactor& reactor, Endpoint at, InitiatorConfig config,
                                                   StopToken stop) {
  complete_identity(config);
  config.keep_alive = Nanos{0};
  const Nanos deadline = reactor.now() + config.connect_timeout;
  const std::string where = "discovery service at " + at.to_string();
  HF_CO_TRY(const std::vector<Endpoint> addresses, co_await host::resolve_host(reactor, at));
  Error last(Errc::not_found);
  for (const Endpoint& to : addresses) {
    auto opened = co_await host::AdminSession::open(reactor, to, std::string(nvme::discovery_nqn), config,
                                                    nullptr, deadline, stop);
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

}  // namespace holdfast::nvmf
