// Commands of our own (nvme/vendor.h): what a mirror asks of a replica beyond reading and writing it. They go to
// the namespace's device, on the home core.
#include "nvme/vendor.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "nvme/errc_status.h"
#include "nvmf/target/controller.h"
#include "nvmf/target/subsystem.h"

namespace holdfast::nvmf::target {

using nvme::CommandStatus;
using nvme::permanent;
using nvme::StatusCode;
using nvme::VendorFunction;
using nvme::VendorOpcode;

namespace {

constexpr std::uint32_t cdw12_function = 0xff;

// What each function is.
struct Rule {
  VendorFunction function;
  VendorOpcode opcode;
  ReservedAccess access;    // what a reservation has to allow the host
  std::uint32_t bytes_min;  // of data
  std::uint32_t bytes_max;
};
constexpr std::uint32_t bitmap_bytes_max = EpochClient::regions_per_call_max / 8;
static_assert(bitmap_bytes_max <= nvme::vendor_data_bytes_max);
constexpr Rule rules[] = {
    {VendorFunction::epoch_state, VendorOpcode::get, ReservedAccess::read, sizeof(nvme::EpochStateData),
     sizeof(nvme::EpochStateData)},
    {VendorFunction::announce_epoch, VendorOpcode::act, ReservedAccess::write, 0, 0},
    {VendorFunction::seal_epoch, VendorOpcode::act, ReservedAccess::write, 0, 0},
    {VendorFunction::changed_since, VendorOpcode::get, ReservedAccess::read, 4, bitmap_bytes_max},
    {VendorFunction::allocated, VendorOpcode::get, ReservedAccess::read, 4, bitmap_bytes_max},
    {VendorFunction::create_snapshot, VendorOpcode::put, ReservedAccess::write, sizeof(nvme::SnapshotHeader),
     nvme::vendor_data_bytes_max},
};

// nullptr: the command is not one of ours.
const Rule* rule_of(const nvme::Sqe& sqe) noexcept {
  const auto* const found = std::find_if(std::begin(rules), std::end(rules), [&](const Rule& r) {
    return static_cast<std::uint8_t>(r.opcode) == sqe.opc &&
           static_cast<std::uint32_t>(r.function) == (sqe.cdw12.get() & cdw12_function);
  });
  return found == std::end(rules) ? nullptr : found;
}

std::uint64_t first_region(const nvme::Sqe& sqe) noexcept {
  return sqe.cdw14.get() | std::uint64_t{sqe.cdw15.get()} << 32;
}

Task<Status> epoch_state(EpochClient& epochs, std::span<std::byte> into) {
  HF_CO_TRY(const EpochState state, co_await epochs.state());
  nvme::EpochStateData data{};
  data.current = state.current;
  data.sealed = state.sealed;
  data.region_bytes = state.region_bytes;
  data.regions = state.regions;
  store(into, data);
  co_return Status();
}

// As many bits as the host has room for; those beyond the last region are zero.
Task<Status> region_bits(EpochClient& epochs, const nvme::Sqe& sqe, std::span<std::byte> into) {
  HF_CO_TRY(const EpochState state, co_await epochs.state());
  const std::uint64_t first = first_region(sqe);
  if (first > state.regions) co_return Error(Errc::out_of_range);
  const std::uint64_t count = std::min<std::uint64_t>(into.size() * 8, state.regions - first);
  const bool changed =
      (sqe.cdw12.get() & cdw12_function) == static_cast<unsigned>(VendorFunction::changed_since);
  Task<Result<RegionBitmap>> ask =
      changed ? epochs.changed_since(sqe.cdw13, first, count) : epochs.allocated(first, count);
  HF_CO_TRY(const RegionBitmap bits, co_await ask);
  for (std::uint64_t i = 0; i < count; ++i) {
    if (bits.has(first + i)) into[i / 8] |= std::byte{1} << (i % 8);
  }
  co_return Status();
}

Task<Status> create_snapshot(SnapshotClient& snapshots, std::span<const std::byte> data) {
  HF_CO_TRY(nvme::SnapshotData wanted, nvme::parse_snapshot(data));
  SnapshotRequest request;
  request.name = std::move(wanted.name);
  request.uuid = wanted.uuid;
  request.attributes = std::move(wanted.attributes);
  co_return co_await snapshots.create(std::move(request));
}

Task<Status> run(const nvme::Sqe& sqe, BlockDevice& device, VendorFunction function,
                 std::span<std::byte> data) {
  if (function == VendorFunction::create_snapshot) {
    if (device.snapshots() == nullptr) co_return Error(Errc::not_supported);
    co_return co_await create_snapshot(*device.snapshots(), data);
  }
  EpochClient* const epochs = device.epochs();
  if (epochs == nullptr) co_return Error(Errc::not_supported);
  if (function == VendorFunction::epoch_state) co_return co_await epoch_state(*epochs, data);
  if (function == VendorFunction::announce_epoch) co_return co_await epochs->announce(sqe.cdw13);
  if (function == VendorFunction::seal_epoch) co_return co_await epochs->seal(sqe.cdw13);
  co_return co_await region_bits(*epochs, sqe, data);
}

}  // namespace

AdminTransfer vendor_transfer(const nvme::Sqe& sqe) noexcept {
  AdminTransfer t;
  const Rule* const rule = rule_of(sqe);
  const std::uint64_t bytes = std::uint64_t{sqe.cdw10.get()} * 4;
  if (rule == nullptr) {
    t.status = permanent(StatusCode::invalid_command_opcode);
  } else if (bytes < rule->bytes_min || bytes > rule->bytes_max || sqe.cdw11.get() != 0 ||
             (sqe.cdw12.get() & ~cdw12_function) != 0) {
    t.status = permanent(StatusCode::invalid_field);
  } else if (rule->opcode == VendorOpcode::put) {
    t.to_controller = static_cast<std::uint32_t>(bytes);
  } else {
    t.to_host = static_cast<std::uint32_t>(bytes);
  }
  return t;
}

Task<AdminReply> vendor(Controller& controller, const nvme::Sqe& sqe, std::span<std::byte> data) {
  const Rule* const rule = rule_of(sqe);
  if (rule == nullptr || controller.is_discovery()) co_return permanent(StatusCode::invalid_command_opcode);
  Subsystem::Namespace* const ns = controller.subsystem().find(sqe.nsid);
  if (ns == nullptr) co_return permanent(StatusCode::invalid_namespace);
  if (const CommandStatus ana = ana_status(ns->config.ana_state); !ana.ok()) co_return ana;
  const Gate::Hold hold = ns->uses.enter();  // it is in the table, so it is not being removed
  std::optional<ReservationSlot::Pass> pass;
  if (ns->guard != nullptr) {
    ReservationSlot& slot = ns->guard->at(controller.subsystem().registry().home().core());
    if (!slot.allows(controller.host_id(), rule->access)) {
      co_return nvme::to_nvme(Errc::reservation_conflict, nvme::IoKind::other);
    }
    pass.emplace(slot);
  }
  const Status done = co_await run(sqe, ns->device, rule->function, data);
  co_return done.ok() ? CommandStatus() : nvme::vendor_status(done.code());
}

}  // namespace holdfast::nvmf::target
