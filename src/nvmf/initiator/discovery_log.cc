#include "nvmf/initiator/discovery_log.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <memory>

#include "nvme/fabrics.h"

namespace holdfast::nvmf::host {
namespace {

constexpr std::uint64_t entries_at_once = 4;  // of 1 KiB: a page, which every controller transfers
constexpr unsigned tries_max = 5;             // the log changed while it was read

template <std::size_t N>
std::string text_of(const char (&field)[N]) {
  const void* zero = std::memchr(field, 0, N);
  const std::size_t n =
      zero == nullptr ? N : static_cast<std::size_t>(static_cast<const char*>(zero) - field);
  std::string text(field, n);
  while (!text.empty() && text.back() == ' ') text.pop_back();
  // It is shown on terminals.
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
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

Task<Result<nvme::DiscoveryLogHeader>> read_header(Admin& admin) {
  nvme::DiscoveryLogHeader header{};
  const auto bytes = std::as_writable_bytes(std::span<nvme::DiscoveryLogHeader, 1>(&header, 1));
  HF_CO_CHECK(co_await admin.log_page(nvme::LogPage::discovery, 0, 0, false, bytes));
  if (header.recfmt.get() != 0 || header.numrec.get() > discovery_entries_max)
    co_return Error(Errc::protocol, "the discovery log has an unknown format or too many entries");
  co_return header;
}

Task<Status> read_entries(Admin& admin, std::uint64_t count, std::vector<DiscoveryEntry>& into) {
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

// A service has no business in making us look up names.
bool is_numeric(const std::string& address) noexcept {
  return !address.empty() && address.find_first_not_of("0123456789abcdefABCDEF.:") == std::string::npos;
}

}  // namespace

Task<Result<std::vector<DiscoveryEntry>>> read_discovery_log(Admin& admin) {
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

bool has_way(const std::vector<DiscoveryEntry>& list, const DiscoveryEntry& entry) noexcept {
  return std::any_of(list.begin(), list.end(), [&entry](const DiscoveryEntry& other) {
    return entry.type == other.type && entry.transport == other.transport && entry.address == other.address &&
           entry.subnqn == other.subnqn;
  });
}

bool is_usable_referral(const DiscoveryEntry& entry) noexcept {
  return entry.type == nvme::SubsystemType::referral && entry.transport == nvme::TransportType::tcp &&
         entry.address.port != 0 && is_numeric(entry.address.address);
}

std::string service_nqn(const DiscoveryEntry& referral) {
  return nvme::is_valid_nqn(referral.subnqn) ? referral.subnqn : std::string(nvme::discovery_nqn);
}

}  // namespace holdfast::nvmf::host
