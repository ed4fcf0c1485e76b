// Identify (NVMe Base 2.0, section 5.17; NVM Command Set 1.0, section 4.1.5).
#include "nvme/identify.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "nvme/reservation.h"
#include "nvme/vendor.h"
#include "nvmf/target/controller.h"
#include "nvmf/target/subsystem.h"

namespace holdfast::nvmf::target {

using nvme::Cns;
using nvme::CommandStatus;
using nvme::permanent;
using nvme::StatusCode;

namespace {

constexpr std::uint32_t memory_page_bytes = 4096;  // CAP.MPSMIN
static_assert(std::has_single_bit(transfer_bytes_max / memory_page_bytes));

void set_u128(std::uint8_t (&field)[16], std::uint64_t value) noexcept {
  const le64 low(value);
  std::memcpy(field, &low, sizeof low);
}

// What every kind of controller says.
nvme::IdentifyController common(const Controller& c) {
  const SubsystemConfig& subsystem = c.subsystem().config();
  const TargetConfig& target = c.subsystem().registry().config();
  nvme::IdentifyController id{};
  nvme::set_ascii(id.sn, subsystem.serial);
  nvme::set_ascii(id.mn, subsystem.model);
  nvme::set_ascii(id.fr, target.firmware);
  id.mdts = static_cast<std::uint8_t>(std::countr_zero(transfer_bytes_max / memory_page_bytes));
  id.cntlid = c.cntlid();
  id.ver = nvme::version_2_0;
  id.ctratt = nvme::ctratt_host_id_128 | nvme::ctratt_traffic_based_keep_alive;
  id.acl = Controller::aborts_max - 1;
  id.aerl = async_event_requests_max - 1;
  id.elpe = Controller::errors_max - 1;
  id.lpa = nvme::lpa_extended_data;
  id.avscc = 1;          // our own commands have the form of the specification
  id.kas = 10;           // one second
  id.rtd3e = 5'000'000;  // microseconds that a shutdown may take: what Linux waits anyhow
  id.maxcmd = static_cast<std::uint16_t>(target.queue_entries_max);
  id.sgls = nvme::sgls_supported | nvme::sgls_offset | nvme::sgls_transport;
  subsystem.nqn.copy(id.subnqn, nvme::nqn_length_max);
  id.ioccsz = (sizeof(nvme::Sqe) + capsule_data_bytes) / 16;
  id.iorcsz = sizeof(nvme::Cqe) / 16;
  id.msdbd = 1;
  id.ofcs = nvme::ofcs_disconnect;
  nvme::TargetRun run{};
  run.magic = nvme::TargetRun::magic_value;
  const Uuid& uuid = c.subsystem().run();
  std::memcpy(run.run, uuid.bytes.data(), uuid.bytes.size());
  std::memcpy(id.vs, &run, sizeof run);
  return id;
}

nvme::IdentifyController controller(const Controller& c) {
  nvme::IdentifyController id = common(c);
  if (c.is_discovery()) {
    id.cntrltype = static_cast<std::uint8_t>(nvme::ControllerType::discovery);
    id.oaes = nvme::oaes_discovery_change;
    return id;
  }
  const bool ana = c.subsystem().config().ana_reporting;
  const TargetConfig& target = c.subsystem().registry().config();
  id.cntrltype = static_cast<std::uint8_t>(nvme::ControllerType::io);
  id.cmic = static_cast<std::uint8_t>(nvme::cmic_multi_port | nvme::cmic_multi_controller |
                                      (ana ? nvme::cmic_ana : 0));
  id.oaes = nvme::oaes_namespace_attribute | (ana ? nvme::oaes_ana_change : 0);
  id.crdt1 = target.crdt[0];
  id.crdt2 = target.crdt[1];
  id.crdt3 = target.crdt[2];
  id.frmw = 0x3;  // one firmware slot, read only
  id.lpa |= nvme::lpa_smart_per_namespace | nvme::lpa_command_effects;
  if (ana) {
    id.anatt = 10;
    id.anacap = nvme::anacap_optimized | nvme::anacap_non_optimized | nvme::anacap_inaccessible |
                nvme::anacap_persistent_loss | nvme::anacap_change;
    id.anagrpmax = nsid_max;
    id.nanagrpid = nsid_max;
  }
  id.sqes = 0x66;
  id.cqes = 0x44;
  id.nn = nsid_max;
  id.mnan = nsid_max;
  id.oncs = nvme::oncs_compare | nvme::oncs_dataset_management | nvme::oncs_write_zeroes |
            nvme::oncs_save_features | nvme::oncs_timestamp | nvme::oncs_verify | nvme::oncs_copy |
            nvme::oncs_reservations;
  id.ocfs = nvme::ocfs_format_0;
  id.fuses = nvme::fuses_compare_and_write;
  id.acwu = fused_bytes_max / 4096 - 1;  // of the largest blocks that a namespace may have
  // Whether or not the devices of today cache: one of tomorrow may, and a flush of what does not costs
  // nothing.
  id.vwc = nvme::vwc_present | nvme::vwc_flush_all_supported;
  return id;
}

nvme::IdentifyNamespace describe(const Subsystem& subsystem, const Subsystem::Namespace& ns) {
  const Geometry& g = ns.geometry;
  nvme::IdentifyNamespace id{};
  id.nsze = id.ncap = g.block_count;
  const bool reachable = ns.config.ana_state == nvme::AnaState::optimized ||
                         ns.config.ana_state == nvme::AnaState::non_optimized;
  if (reachable) id.nuse = g.block_count;  // else it is not told (NVM Command Set 1.0, 2.1.1)
  id.nmic = nvme::nmic_shared;
  id.dlfeat = static_cast<std::uint8_t>((g.deallocated_reads_zero ? nvme::dlfeat_reads_zero : 0) |
                                        (ns.capabilities.write_zeroes ? nvme::dlfeat_deac_supported : 0));
  if (g.optimal_io_blocks > 1 && g.optimal_io_blocks <= 0x10000) {
    id.nsfeat |= nvme::nsfeat_optimal_sizes;
    id.npwg = id.npwa = id.nows = static_cast<std::uint16_t>(g.optimal_io_blocks - 1);
  }
  id.nsfeat |= nvme::nsfeat_atomic_sizes;
  id.nawun = id.nawupf =
      static_cast<std::uint16_t>(std::clamp<std::uint32_t>(g.atomic_write_blocks, 1, 0x10000) - 1);
  id.nacwu = static_cast<std::uint16_t>(fused_bytes_max / g.block_bytes - 1);
  if (ns.guard != nullptr) {
    id.rescap = static_cast<std::uint8_t>(nvme::rescap_all_types | nvme::rescap_iekey |
                                          (ns.guard->can_persist() ? nvme::rescap_persist : 0));
  }
  id.mssrl = static_cast<std::uint16_t>(copy_range_bytes_max / g.block_bytes);
  id.mcl = copy_bytes_max / g.block_bytes;
  id.msrc = copy_ranges_max - 1;
  set_u128(id.nvmcap, g.size_bytes());
  if (subsystem.config().ana_reporting) id.anagrpid = ns.config.nsid;
  id.nsattr = ns.capabilities.read_only ? nvme::nsattr_write_protected : 0;
  std::memcpy(id.nguid, ns.config.uuid.bytes.data(), sizeof id.nguid);
  id.lbaf[0].lbads = static_cast<std::uint8_t>(std::countr_zero(g.block_bytes));
  nvme::VendorNamespace own{};
  own.magic = nvme::VendorNamespace::magic_value;
  own.features = (ns.device.epochs() != nullptr ? nvme::VendorNamespace::has_epochs : 0) |
                 (ns.device.snapshots() != nullptr ? nvme::VendorNamespace::has_snapshots : 0);
  std::memcpy(id.vs, &own, sizeof own);
  return id;
}

nvme::IdentifyNamespaceIndependent describe_independent(const Subsystem& subsystem,
                                                        const Subsystem::Namespace& ns) {
  const nvme::IdentifyNamespace full = describe(subsystem, ns);
  nvme::IdentifyNamespaceIndependent id{};
  id.nmic = full.nmic;
  id.rescap = full.rescap;
  id.anagrpid = full.anagrpid;
  id.nsattr = full.nsattr;
  id.nstat = 1;  // ready
  return id;
}

CommandStatus active_namespaces(const Subsystem& subsystem, std::uint32_t after, std::span<std::byte> into) {
  if (after >= 0xfffffffe) return permanent(StatusCode::invalid_namespace);
  nvme::NamespaceList list{};
  std::size_t n = 0;
  const auto& all = subsystem.namespaces();
  for (auto it = all.upper_bound(after); it != all.end() && n < std::size(list.nsid); ++it)
    list.nsid[n++] = it->first;
  store(into, list);
  return {};
}

// Of all controllers of the subsystem: each reaches every namespace.
void controllers_from(const Subsystem& subsystem, std::uint16_t first, std::span<std::byte> into) {
  nvme::ControllerList list{};
  const auto& all = subsystem.controllers();
  std::uint16_t n = 0;
  for (auto it = all.lower_bound(first); it != all.end() && n < std::size(list.cntlid); ++it)
    list.cntlid[n++] = it->first;
  list.count = n;
  store(into, list);
}

// The NVM command set is the only one.
void command_sets(std::span<std::byte> into) {
  nvme::CommandSetCombinations sets{};
  sets.vector[0] = 1u << static_cast<unsigned>(nvme::Csi::nvm);
  store(into, sets);
}

void put_descriptor(std::span<std::byte>& into, nvme::NamespaceIdType type,
                    std::span<const std::uint8_t> id) {
  nvme::NamespaceIdDescriptor d{};
  d.nidt = static_cast<std::uint8_t>(type);
  d.nidl = static_cast<std::uint8_t>(id.size());
  store(into, d);
  std::memcpy(into.data() + sizeof d, id.data(), id.size());
  into = into.subspan(sizeof d + id.size());
}

void descriptors(const Subsystem::Namespace& ns, std::span<std::byte> into) {
  put_descriptor(into, nvme::NamespaceIdType::nguid, ns.config.uuid.bytes);
  put_descriptor(into, nvme::NamespaceIdType::uuid, ns.config.uuid.bytes);
  const std::uint8_t csi[] = {static_cast<std::uint8_t>(nvme::Csi::nvm)};
  put_descriptor(into, nvme::NamespaceIdType::csi, csi);
}

// CNS values about one namespace.
CommandStatus identify_namespace(const Subsystem& subsystem, Cns cns, std::uint32_t nsid,
                                 std::span<std::byte> into) {
  const Subsystem::Namespace* ns = subsystem.find(nsid);
  if (ns == nullptr) {
    // An identifier that could be active, but is not, reads as zeroes (sections 5.17.2.5 and 5.17.2.8; NVM
    // Command Set 1.0, sections 4.1.5.1 and 4.1.5.5); it has no descriptors.
    const bool is_structure = cns != Cns::namespace_descriptors;
    const bool inactive = is_structure && nsid >= 1 && nsid <= nsid_max;
    return inactive ? CommandStatus() : permanent(StatusCode::invalid_namespace);
  }
  if (cns == Cns::namespace_nvm || cns == Cns::allocated_namespace) store(into, describe(subsystem, *ns));
  if (cns == Cns::namespace_descriptors) descriptors(*ns, into);
  if (cns == Cns::namespace_independent) store(into, describe_independent(subsystem, *ns));
  return {};  // CNS 05h: no protection information, so zeroes
}

}  // namespace

CommandStatus identify(const Controller& c, const nvme::Sqe& sqe, std::span<std::byte> into) {
  const auto args = nvme::IdentifyArgs::unpack(sqe.cdw10, sqe.cdw11);
  const Subsystem& subsystem = c.subsystem();
  if (c.is_discovery() && args.cns != Cns::controller) return permanent(StatusCode::invalid_field);
  const bool is_nvm = args.csi == static_cast<std::uint8_t>(nvme::Csi::nvm);
  switch (args.cns) {
    case Cns::controller:
      store(into, controller(c));
      return {};
    case Cns::active_namespaces:
    case Cns::allocated_namespaces:  // namespaces are not attached one by one: every one that there is, is
                                     // active
      return active_namespaces(subsystem, sqe.nsid, into);
    case Cns::active_namespaces_csi:
      if (!is_nvm) return permanent(StatusCode::invalid_field);
      return active_namespaces(subsystem, sqe.nsid, into);
    case Cns::namespace_nvm:
    case Cns::allocated_namespace:
    case Cns::namespace_descriptors:
    case Cns::namespace_independent:
      return identify_namespace(subsystem, args.cns, sqe.nsid, into);
    case Cns::namespace_csi:
      if (!is_nvm) return permanent(StatusCode::invalid_field);
      return identify_namespace(subsystem, args.cns, sqe.nsid, into);
    case Cns::controller_csi:
      if (!is_nvm) return permanent(StatusCode::invalid_field);
      return {};  // no limits beyond MDTS: zeroes
    case Cns::attached_controllers:
      if (subsystem.find(sqe.nsid) == nullptr) return permanent(StatusCode::invalid_namespace);
      controllers_from(subsystem, args.cntid, into);
      return {};
    case Cns::controllers:
      controllers_from(subsystem, args.cntid, into);
      return {};
    case Cns::command_sets:
      command_sets(into);
      return {};
    case Cns::nvm_set_list:
      break;
  }
  return permanent(StatusCode::invalid_field);
}

}  // namespace holdfast::nvmf::target
