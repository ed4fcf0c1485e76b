#include "nvmf/initiator/identify.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "base/units.h"

namespace holdfast::nvmf::host {
namespace {

constexpr std::uint64_t nlb_max = 65536;  // blocks of one command: NLB is 16 bits, zero based
constexpr std::uint32_t sgl_capsule_unit = 16;
constexpr std::uint32_t event_requests_max = 4;
constexpr Nanos retry_delay_max = 60s;                // a controller may ask for 6553 s
constexpr std::size_t ana_page_bytes = 4096;          // which every controller transfers
constexpr std::size_t ana_log_bytes_max = 256 * KiB;  // far more groups than we look through

// A page-sized answer, off the coroutine's frame.
template <class T>
struct Page {
  std::unique_ptr<T> data = std::make_unique<T>();
  Page() = default;
  T* operator->() const noexcept { return data.get(); }
  std::span<std::byte> span() const noexcept {
    return std::as_writable_bytes(std::span<T, 1>(data.get(), 1));
  }
};

// 2^exponent pages of CAP.MPSMIN in bytes; 0 (no limit) and absurd values give `most`.
std::uint32_t pages_to_bytes(std::uint8_t exponent, const nvme::Cap& cap, std::uint32_t most) noexcept {
  const unsigned shift = exponent + 12u + cap.mpsmin;
  if (exponent == 0 || shift >= 31) return most;
  return std::min(most, std::uint32_t{1} << shift);
}

Status check_controller(const nvme::IdentifyController& id) {
  const auto type = static_cast<nvme::ControllerType>(id.cntrltype);
  if (type == nvme::ControllerType::discovery || type == nvme::ControllerType::administrative)
    return Error(Errc::not_supported,
                 "the controller has no namespaces for I/O: name a storage subsystem's NQN");
  if ((id.sgls.get() & 3) == 0) return Error(Errc::not_supported, "the controller does not support SGLs");
  if ((id.sqes & 15) > 6 || (id.sqes >> 4) < 6 || (id.cqes & 15) > 4 || (id.cqes >> 4) < 4)
    return Error(Errc::not_supported, "the controller's queue entry sizes are not 64 and 16 bytes");
  return Status();
}

void take_capabilities(const nvme::IdentifyController& id, ControllerInfo& info) {
  const std::uint16_t oncs = id.oncs;
  info.compare = (oncs & nvme::oncs_compare) != 0;
  info.deallocate = (oncs & nvme::oncs_dataset_management) != 0;
  info.reservations = (oncs & nvme::oncs_reservations) != 0;
  info.write_zeroes = (oncs & nvme::oncs_write_zeroes) != 0;
  info.volatile_cache = (id.vwc & nvme::vwc_present) != 0;
  info.keep_alive = id.kas.get() != 0;
  info.keep_alive_unit = 100ms * id.kas.get();
  info.traffic_keeps_alive = (id.ctratt & nvme::ctratt_traffic_based_keep_alive) != 0;
  info.ana = (id.cmic & nvme::cmic_ana) != 0;
  info.events = id.oaes;
  info.ana_transition_max = std::chrono::seconds(id.anatt);
  const std::array<std::uint32_t, 4> delays{0, id.crdt1.get(), id.crdt2.get(), id.crdt3.get()};
  for (std::size_t i = 1; i < delays.size(); ++i) {
    info.retry_delays[i] = std::min<Nanos>(100ms * delays[i], retry_delay_max);
    info.delays_retries = info.delays_retries || delays[i] != 0;
  }
  info.event_requests = std::min<std::uint32_t>(id.aerl + 1u, event_requests_max);
}

// Limits of commands without data, where the controller reports them; older ones do not know the structure.
Task<void> take_nvm_limits(Admin& admin, const nvme::Cap& cap, ControllerInfo& info) {
  info.zeroes_blocks_max = nlb_max;
  info.deallocate_blocks_max = std::numeric_limits<std::uint32_t>::max();
  const Page<nvme::IdentifyControllerNvm> nvm;
  const auto csi = static_cast<std::uint8_t>(nvme::Csi::nvm);
  const Status read = co_await admin.identify(nvme::Cns::controller_csi, 0, csi, nvm.span());
  if (!read.ok()) co_return;
  // In bytes of the smallest block, so that the limit holds for every block size.
  const std::uint32_t zeroes_bytes = pages_to_bytes(nvm->wzsl, cap, 0x40000000);
  info.zeroes_blocks_max = std::min<std::uint64_t>(nlb_max, std::max<std::uint32_t>(zeroes_bytes / 4096, 1));
  if (nvm->dmrsl.get() != 0) info.deallocate_blocks_max = nvm->dmrsl;
}

Task<Result<std::uint32_t>> find_namespace(Admin& admin, const RemoteConfig& remote) {
  const std::uint32_t from = remote.nsid ? *remote.nsid - 1 : 0;
  const Page<nvme::NamespaceList> list;
  HF_CO_CHECK(co_await admin.identify(nvme::Cns::active_namespaces, from, 0, list.span()));
  const std::uint32_t first = list->nsid[0];
  if (first == 0 && !remote.nsid)
    co_return Error(Errc::not_found, "subsystem '" + remote.nqn + "' has no namespace");
  if (remote.nsid && first != *remote.nsid)
    co_return Error(Errc::not_found,
                    "subsystem '" + remote.nqn + "' has no namespace " + std::to_string(*remote.nsid));
  co_return first;
}

Uuid uuid_of(const std::byte* bytes) noexcept {
  Uuid uuid;
  std::memcpy(uuid.bytes.data(), bytes, uuid.bytes.size());
  return uuid;
}

void take_descriptors(std::span<const std::byte> list, NamespaceInfo& info) noexcept {
  constexpr std::size_t header = sizeof(nvme::NamespaceIdDescriptor);
  while (list.size() >= header) {
    const auto d = load<nvme::NamespaceIdDescriptor>(list);
    if (d.nidt == 0 || d.nidl > list.size() - header) return;
    const std::byte* id = list.data() + header;
    const auto type = static_cast<nvme::NamespaceIdType>(d.nidt);
    if (type == nvme::NamespaceIdType::uuid && d.nidl == 16) info.uuid = uuid_of(id);
    if (type == nvme::NamespaceIdType::nguid && d.nidl == 16) info.nguid = uuid_of(id);
    list = list.subspan(header + d.nidl);
  }
}

Status take_format(const nvme::IdentifyNamespace& ns, NamespaceInfo& info) {
  const unsigned index = (ns.flbas & 15u) | (ns.nlbaf >= 16 ? (ns.flbas >> 5 & 3u) << 4 : 0u);
  const nvme::LbaFormat& format = ns.lbaf[index];
  if (format.lbads < 9 || format.lbads > 12)
    return Error(Errc::not_supported, "the namespace's block size is 2^" + std::to_string(format.lbads) +
                                          ": must be 512 to 4096 bytes");
  if (format.ms.get() != 0)
    return Error(Errc::not_supported, "the namespace is formatted with " + std::to_string(format.ms.get()) +
                                          " bytes of metadata per block: format it without");
  info.geometry.block_bytes = std::uint32_t{1} << format.lbads;
  info.geometry.block_count = ns.nsze;
  if (ns.nsze.get() == 0 || ns.nsze.get() > (std::uint64_t{1} << 63) / info.geometry.block_bytes)
    return Error(Errc::not_supported,
                 "the namespace's size of " + std::to_string(ns.nsze.get()) + " blocks is not usable");
  return Status();
}

void take_geometry(const nvme::IdentifyNamespace& ns, NamespaceInfo& info) noexcept {
  Geometry& geometry = info.geometry;
  const bool sizes = (ns.nsfeat & nvme::nsfeat_optimal_sizes) != 0;
  geometry.optimal_io_blocks = sizes ? ns.npwg.get() + 1u : 0u;
  geometry.atomic_write_blocks = ns.nawupf.get() + 1u;
  geometry.buffer_alignment = 1;
  geometry.deallocated_reads_zero = (ns.dlfeat & 7) == nvme::dlfeat_reads_zero;
  info.zeroes_may_deallocate = (ns.dlfeat & nvme::dlfeat_deac_supported) != 0;
  info.ana_group = ns.anagrpid;
  const auto own = load<nvme::VendorNamespace>(std::as_bytes(std::span(ns.vs)));
  const std::uint32_t features = own.magic == nvme::VendorNamespace::magic_value ? own.features.get() : 0;
  info.epochs = (features & nvme::VendorNamespace::has_epochs) != 0;
  info.snapshots = (features & nvme::VendorNamespace::has_snapshots) != 0;
}

Status check_uuid(const NamespaceInfo& info, const RemoteConfig& remote) {
  if (!remote.uuid || *remote.uuid == info.uuid || *remote.uuid == info.nguid) return Status();
  return Error(Errc::not_found, "namespace " + std::to_string(info.nsid) + " of '" + remote.nqn +
                                    "' has uuid " + info.uuid.to_string() + ", not " +
                                    remote.uuid->to_string());
}

}  // namespace

Task<Result<ControllerInfo>> identify_controller(Admin& admin, const nvme::Cap& cap,
                                                 const InitiatorConfig& config) {
  const Page<nvme::IdentifyController> id;
  HF_CO_CHECK(co_await admin.identify(nvme::Cns::controller, 0, 0, id.span()));
  HF_CO_CHECK(check_controller(*id.data));
  ControllerInfo info;
  info.cntlid = id->cntlid;
  info.serial = nvme::ascii(id->sn);
  info.model = nvme::ascii(id->mn);
  info.firmware = nvme::ascii(id->fr);
  info.transfer_bytes_max = pages_to_bytes(id->mdts, cap, config.max_transfer_bytes);
  const std::uint64_t capsule = std::uint64_t{id->ioccsz.get()} * sgl_capsule_unit;
  if (id->icdoff.get() == 0 && capsule > sizeof(nvme::Sqe))
    info.in_capsule_bytes =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(capsule - sizeof(nvme::Sqe), 1 * MiB));
  // One entry more than commands in flight: a ring that is never full (NVMe Base 2.0, section 3.3.1.2).
  info.queue_entries = std::min<std::uint32_t>(config.queue_depth + 1, cap.mqes + 1u);
  if (id->maxcmd.get() != 0)
    info.queue_entries = std::min<std::uint32_t>(info.queue_entries, id->maxcmd.get() + 1u);
  if (info.queue_entries < 2) co_return Error(Errc::not_supported, "the controller's queues hold no command");
  take_capabilities(*id.data, info);
  const auto run = load<nvme::TargetRun>(std::as_bytes(std::span(id->vs)));
  if (run.magic == nvme::TargetRun::magic_value) info.run = uuid_of(std::as_bytes(std::span(run.run)).data());
  co_await take_nvm_limits(admin, cap, info);
  co_return info;
}

Task<Result<NamespaceInfo>> identify_namespace(Admin& admin, const ControllerInfo& controller,
                                               const RemoteConfig& remote) {
  NamespaceInfo info;
  HF_CO_TRY(info.nsid, co_await find_namespace(admin, remote));
  const Page<nvme::IdentifyNamespace> ns;
  HF_CO_CHECK(co_await admin.identify(nvme::Cns::namespace_nvm, info.nsid, 0, ns.span()));
  HF_CO_CHECK(take_format(*ns.data, info));
  take_geometry(*ns.data, info);
  info.nguid = uuid_of(reinterpret_cast<const std::byte*>(ns->nguid));
  const Page<nvme::NamespaceList> descriptors;  // any page will do
  const Status listed =
      co_await admin.identify(nvme::Cns::namespace_descriptors, info.nsid, 0, descriptors.span());
  if (listed.ok()) {
    take_descriptors(descriptors.span(), info);
  } else if (listed.code() != Errc::invalid_argument && listed.code() != Errc::not_supported) {
    co_return listed.error();  // it has one, and the UUID may be there
  }
  if (info.uuid.is_nil()) info.uuid = info.nguid;
  HF_CO_CHECK(check_uuid(info, remote));
  info.capabilities.flush = true;
  info.capabilities.write_zeroes = controller.write_zeroes;
  info.capabilities.deallocate = controller.deallocate;
  info.capabilities.compare = true;  // read and compared here where the controller cannot
  info.capabilities.volatile_cache = controller.volatile_cache;
  info.capabilities.read_only = (ns->nsattr & nvme::nsattr_write_protected) != 0;
  co_return info;
}

// The first page at once: there are targets, Linux's among them, that know no offsets in this log.
Task<Result<nvme::AnaState>> read_ana_state(Admin& admin, std::uint32_t group) {
  std::vector<std::byte> page(ana_page_bytes);
  HF_CO_CHECK(co_await admin.log_page(nvme::LogPage::ana, nvme::nsid_all, 0, false, page));
  const auto header = load<nvme::AnaLogHeader>(page);
  std::uint64_t offset = sizeof header;
  for (unsigned i = 0; i < header.ngrps.get() && offset < ana_log_bytes_max; ++i) {
    nvme::AnaGroupDescriptor d{};
    if (offset + sizeof d <= page.size()) {
      d = load<nvme::AnaGroupDescriptor>(std::span<const std::byte>(page).subspan(offset));
    } else {
      const auto bytes = std::as_writable_bytes(std::span<nvme::AnaGroupDescriptor, 1>(&d, 1));
      HF_CO_CHECK(co_await admin.log_page(nvme::LogPage::ana, nvme::nsid_all, offset, true, bytes));
    }
    if (d.grpid.get() == group) co_return static_cast<nvme::AnaState>(d.state & 15);
    offset += sizeof d + std::uint64_t{d.nnsids.get()} * 4;
  }
  co_return nvme::AnaState::optimized;
}

}  // namespace holdfast::nvmf::host
