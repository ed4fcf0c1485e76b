// Get Log Page (NVMe Base 2.0, section 5.16; discovery log page: section 5.16.1.23).
//
// A page is built whole, then the part that the host asked for is copied; what lies beyond its end reads as
// zeroes.
#include <algorithm>
#include <cstring>
#include <vector>

#include "nvme/log_page.h"
#include "nvme/sqe.h"
#include "nvme/vendor.h"
#include "nvmf/target/controller.h"
#include "nvmf/target/subsystem.h"

namespace holdfast::nvmf::target {

using nvme::CommandStatus;
using nvme::LogPage;
using nvme::permanent;
using nvme::StatusCode;

namespace {

using Bytes = std::vector<std::byte>;

template <Wire T>
void append(Bytes& page, const T& t) {
  const auto bytes = bytes_of(t);
  page.insert(page.end(), bytes.begin(), bytes.end());
}

Bytes supported_pages(const Controller& c) {
  Bytes page(1024);  // a dword for each log identifier; bit 0: supported
  std::vector<LogPage> all{LogPage::supported_pages, LogPage::error};
  if (c.is_discovery()) {
    all.push_back(LogPage::discovery);
  } else {
    all.insert(all.end(), {LogPage::smart, LogPage::firmware_slot, LogPage::changed_namespaces,
                           LogPage::command_effects, LogPage::reservation});
    if (c.subsystem().config().ana_reporting) all.push_back(LogPage::ana);
  }
  for (LogPage lid : all) page[static_cast<std::size_t>(lid) * 4] = std::byte{1};
  return page;
}

Bytes error_log(const Controller& c) {
  Bytes page;
  for (const nvme::ErrorLogEntry& e : c.errors()) append(page, e);
  page.resize(Controller::errors_max * sizeof(nvme::ErrorLogEntry));
  return page;
}

nvme::Counter128 counter(std::uint64_t value) { return {value, 0}; }
// "Thousands of 512 byte units, rounded up."
nvme::Counter128 data_units(std::uint64_t bytes) { return counter((bytes + 511'999) / 512'000); }

Bytes smart_log(const Controller& c, std::uint32_t nsid, const IoStats& stats) {
  nvme::SmartLog log{};
  log.critical_warning = c.subsystem().critical_warning(nsid);
  log.avail_spare = 100;
  log.data_units_read = data_units(stats.read_bytes);
  log.data_units_written = data_units(stats.write_bytes);
  log.host_reads = counter(stats.read_ops);
  log.host_writes = counter(stats.write_ops);
  log.media_errors = counter(stats.errors);
  log.num_err_log_entries = counter(c.error_count());
  log.power_on_hours = counter(static_cast<std::uint64_t>(c.subsystem().registry().age() / 1h));
  Bytes page;
  append(page, log);
  return page;
}

Bytes firmware_log(const Controller& c) {
  nvme::FirmwareSlotLog log{};
  log.afi = 1;
  nvme::set_ascii(log.frs[0], c.subsystem().registry().config().firmware);
  Bytes page;
  append(page, log);
  return page;
}

Bytes changed_namespaces_log(const Controller& c) {
  nvme::ChangedNamespacesLog log{};
  std::size_t n = 0;
  for (std::uint32_t nsid : c.changed_namespaces()) log.nsid[n++] = nsid;  // at most nsid_max, so they fit
  Bytes page;
  append(page, log);
  return page;
}

Bytes effects_log() {
  using nvme::AdminOpcode;
  using nvme::IoOpcode;
  nvme::CommandEffectsLog log{};
  for (AdminOpcode opc : {AdminOpcode::get_log_page, AdminOpcode::identify, AdminOpcode::abort,
                          AdminOpcode::set_features, AdminOpcode::get_features,
                          AdminOpcode::async_event_request, AdminOpcode::keep_alive, AdminOpcode::fabrics}) {
    log.acs[static_cast<std::uint8_t>(opc)] = nvme::effects_supported;
  }
  for (nvme::VendorOpcode opc : {nvme::VendorOpcode::act, nvme::VendorOpcode::put, nvme::VendorOpcode::get}) {
    log.acs[static_cast<std::uint8_t>(opc)] = nvme::effects_supported;
  }
  for (IoOpcode opc : {IoOpcode::flush, IoOpcode::read, IoOpcode::compare, IoOpcode::verify,
                       IoOpcode::reservation_register, IoOpcode::reservation_report,
                       IoOpcode::reservation_acquire, IoOpcode::reservation_release, IoOpcode::fabrics}) {
    log.iocs[static_cast<std::uint8_t>(opc)] = nvme::effects_supported;
  }
  for (IoOpcode opc :
       {IoOpcode::write, IoOpcode::write_zeroes, IoOpcode::dataset_management, IoOpcode::copy}) {
    log.iocs[static_cast<std::uint8_t>(opc)] = nvme::effects_supported | nvme::effects_content_change;
  }
  Bytes page;
  append(page, log);
  return page;
}

// As large as identify lets a host expect, because hosts read all of that in parts.
constexpr std::size_t ana_log_bytes =
    sizeof(nvme::AnaLogHeader) + nsid_max * (sizeof(nvme::AnaGroupDescriptor) + sizeof(le32));

// Each namespace is an ANA group of its own.
Bytes ana_log(const Subsystem& subsystem, bool groups_only) {
  Bytes page;
  nvme::AnaLogHeader header{};
  header.chgcnt = subsystem.ana_changes();
  header.ngrps = static_cast<std::uint16_t>(subsystem.namespaces().size());
  append(page, header);
  for (const auto& [nsid, ns] : subsystem.namespaces()) {
    nvme::AnaGroupDescriptor group{};
    group.grpid = nsid;
    group.nnsids = groups_only ? 0 : 1;
    group.chgcnt = ns->ana_changes;
    group.state = static_cast<std::uint8_t>(ns->config.ana_state);
    append(page, group);
    if (!groups_only) append(page, le32(nsid));
  }
  page.resize(ana_log_bytes);
  return page;
}

nvme::DiscoveryLogEntry discovery_entry(const Endpoint& at, std::uint16_t port_id, nvme::SubsystemType type,
                                        const std::string& nqn) {
  nvme::DiscoveryLogEntry e{};
  e.trtype = static_cast<std::uint8_t>(nvme::TransportType::tcp);
  e.adrfam = static_cast<std::uint8_t>(at.is_ipv6() ? nvme::AddressFamily::ipv6 : nvme::AddressFamily::ipv4);
  e.subtype = static_cast<std::uint8_t>(type);
  e.treq = nvme::treq_no_sq_flow_control;  // secure channel: not specified
  e.portid = port_id;
  e.cntlid = nvme::cntlid_dynamic;
  e.asqsz = 32;
  nvme::set_ascii(e.trsvcid, std::to_string(at.port));
  nvme::nqn_to_field(nqn, e.subnqn);
  nvme::set_ascii(e.traddr, at.address);
  return e;
}

// A host reads where else it can connect; "any address" would tell it nothing, so it gets the one it is
// using. Subsystems first, then the other discovery services.
Bytes discovery_log(const Controller& c) {
  const Registry& registry = c.subsystem().registry();
  Bytes entries;
  std::uint64_t count = 0;
  const Endpoint& reached = c.local();
  for (const auto& [nqn, subsystem] : registry.subsystems()) {
    if (subsystem->is_discovery() || !subsystem->allows(c.host_nqn())) continue;
    for (const ListenAddress& listener : registry.listeners()) {
      // A host that came by IPv4 has no use for "any IPv6 address", and the reverse.
      const bool any = is_wildcard(listener.at);
      if (any && listener.at.is_ipv6() != reached.is_ipv6()) continue;
      const Endpoint at{any ? reached.address : listener.at.address, listener.at.port};
      append(entries, discovery_entry(at, listener.port_id, nvme::SubsystemType::nvm, nqn));
      ++count;
    }
  }
  for (const Referral& referral : registry.referrals()) {
    append(entries, discovery_entry(referral.at, 0, nvme::SubsystemType::referral, referral.nqn));
    ++count;
  }
  nvme::DiscoveryLogHeader header{};
  header.genctr = registry.discovery_generation();
  header.numrec = count;
  Bytes page;
  append(page, header);
  page.insert(page.end(), entries.begin(), entries.end());
  return page;
}

// A host that was told of more entries than there are any more reads zeroes in their place, and then sees by the
// generation that it has to begin anew: a refusal would end its discovery.
Bytes discovery_log_part(Controller& c, std::uint64_t offset) {
  Bytes page = discovery_log(c);
  if (offset == 0) c.set_discovery_bytes_told(page.size());
  page.resize(std::max(page.size(), c.discovery_bytes_told()));
  return page;
}

bool offers(const Controller& c, LogPage lid) {
  const Bytes all = supported_pages(c);
  return all[static_cast<std::size_t>(lid) * 4] != std::byte{0};
}

// The SMART log is of the controller or of one namespace (LPA bit 0), the others are of the controller.
CommandStatus judge_scope(const Controller& c, LogPage lid, std::uint32_t nsid) {
  if (nsid == 0 || nsid == nvme::nsid_all || lid != LogPage::smart) return {};
  return c.subsystem().find(nsid) != nullptr ? CommandStatus() : permanent(StatusCode::invalid_namespace);
}

}  // namespace

Task<CommandStatus> get_log_page(Controller& c, const nvme::Sqe& sqe, std::span<std::byte> into) {
  const auto args = nvme::LogPageArgs::unpack(sqe.cdw10, sqe.cdw11, sqe.cdw12, sqe.cdw13, sqe.cdw14);
  if (args.offset_is_index || args.offset % 4 != 0) co_return permanent(StatusCode::invalid_field);
  if (!offers(c, args.lid)) co_return permanent(StatusCode::invalid_log_page);
  if (const CommandStatus scope = judge_scope(c, args.lid, sqe.nsid); !scope.ok()) co_return scope;
  const bool of_nvm = sqe.cdw14 >> 24 == static_cast<std::uint32_t>(nvme::Csi::nvm);
  if (args.lid == LogPage::command_effects && !of_nvm) co_return permanent(StatusCode::invalid_field);
  Bytes page;
  switch (args.lid) {
    case LogPage::supported_pages:
      page = supported_pages(c);
      break;
    case LogPage::error:
      page = error_log(c);
      break;
    case LogPage::smart: {
      const std::uint32_t nsid = sqe.nsid == 0 ? nvme::nsid_all : sqe.nsid.get();
      const IoStats stats = co_await c.subsystem().stats(nsid);
      page = smart_log(c, nsid, stats);
      break;
    }
    case LogPage::firmware_slot:
      page = firmware_log(c);
      break;
    case LogPage::changed_namespaces:
      page = changed_namespaces_log(c);
      break;
    case LogPage::command_effects:
      page = effects_log();
      break;
    case LogPage::ana:
      page = ana_log(c.subsystem(), (args.lsp & nvme::lsp_ana_groups_only) != 0);
      break;
    case LogPage::discovery:
      page = discovery_log_part(c, args.offset);
      break;
    case LogPage::reservation:
      append(page, c.reservation_log());
      break;
  }
  if (args.offset > page.size()) co_return permanent(StatusCode::invalid_field);
  const std::size_t n = std::min<std::size_t>(into.size(), page.size() - args.offset);
  if (n > 0) std::memcpy(into.data(), page.data() + args.offset, n);
  c.log_was_read(args.lid, args.rae);
  co_return CommandStatus();
}

}  // namespace holdfast::nvmf::target
