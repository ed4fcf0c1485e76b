// Reservation Register, Acquire, Release and Report (NVMe Base 2.0, sections 7.2 to 7.5). The namespace's
// guard, on the home core, does what they say.
#include <algorithm>
#include <cstring>
#include <vector>

#include "nvme/reservation.h"
#include "nvmf/target/connection.h"
#include "nvmf/target/io_commands.h"
#include "rt/cross_core.h"

namespace holdfast::nvmf::target {

using nvme::CommandStatus;
using nvme::IoKind;
using nvme::IoOpcode;
using nvme::permanent;
using nvme::StatusCode;

namespace {

template <Wire T>
T data_of(const Request& r) noexcept {
  return load<T>(std::span<const std::byte>(r.vec.data, r.vec.size));
}

RegisterRequest register_request(const Request& r) noexcept {
  const auto keys = data_of<nvme::ReservationRegisterData>(r);
  RegisterRequest request;
  request.action = static_cast<RegisterAction>(nvme::reservation_action(r.sqe.cdw10));
  request.ignore_existing = (r.sqe.cdw10 & nvme::cdw10_ignore_existing_key) != 0;
  request.persist = static_cast<PersistChange>(nvme::reservation_persistence(r.sqe.cdw10));
  request.current_key = keys.crkey;
  request.new_key = keys.nrkey;
  return request;
}

AcquireRequest acquire_request(const Request& r) noexcept {
  const auto keys = data_of<nvme::ReservationAcquireData>(r);
  AcquireRequest request;
  request.action = static_cast<AcquireAction>(nvme::reservation_action(r.sqe.cdw10));
  request.type = static_cast<ReservationType>(nvme::reservation_type(r.sqe.cdw10));
  request.key = keys.crkey;
  request.preempt_key = keys.prkey;
  return request;
}

ReleaseRequest release_request(const Request& r) noexcept {
  ReleaseRequest request;
  request.action = static_cast<ReleaseAction>(nvme::reservation_action(r.sqe.cdw10));
  request.type = static_cast<ReservationType>(nvme::reservation_type(r.sqe.cdw10));
  request.key = data_of<nvme::ReservationReleaseData>(r).crkey;
  return request;
}

std::uint32_t data_bytes(IoOpcode opcode) noexcept {
  return opcode == IoOpcode::reservation_release ? sizeof(nvme::ReservationReleaseData)
                                                 : sizeof(nvme::ReservationAcquireData);
}
static_assert(sizeof(nvme::ReservationAcquireData) == sizeof(nvme::ReservationRegisterData));

std::vector<std::byte> status_data(const ReservationReport& report) {
  std::vector<std::byte> out(sizeof(nvme::ReservationStatusHeader) +
                             report.registrants.size() * sizeof(nvme::RegisteredController));
  nvme::ReservationStatusHeader header{};
  header.gen = report.generation;
  header.rtype = static_cast<std::uint8_t>(report.type);
  header.regctl = static_cast<std::uint16_t>(report.registrants.size());
  header.ptpls = report.persists ? 1 : 0;
  std::span<std::byte> to(out);
  store(to, header);
  to = to.subspan(sizeof header);
  for (const Registrant& r : report.registrants) {
    nvme::RegisteredController entry{};
    entry.cntlid = nvme::RegisteredController::cntlid_dynamic;
    entry.rcsts = r.holder ? nvme::RegisteredController::rcsts_holder : 0;
    entry.rkey = r.key;
    std::memcpy(entry.hostid, r.host.bytes.data(), sizeof entry.hostid);
    store(to, entry);
    to = to.subspan(sizeof entry);
  }
  return out;
}

}  // namespace

void IoCommands::start_reservation(Request& r, const NamespaceView& ns) {
  if (ns.guard == nullptr) return connection_.complete(r, permanent(StatusCode::invalid_command_opcode));
  HF_ASSERT(!host_id_.is_nil());  // Registry::connect; registrations are known by it
  const auto opcode = static_cast<IoOpcode>(r.sqe.opc);
  if (opcode == IoOpcode::reservation_report) {
    const std::uint64_t bytes = (std::uint64_t{r.sqe.cdw10} + 1) * 4;
    CommandStatus status = connection_.check_reply(r, bytes);
    if (bytes > transfer_bytes_max) status = permanent(StatusCode::invalid_field);
    // Over fabrics host identifiers have 128 bits, and only the extended data has room for them.
    if ((r.sqe.cdw11 & nvme::cdw11_extended_data) == 0) {
      status = permanent(StatusCode::host_identifier_inconsistent);
    }
    if (!status.ok()) return connection_.complete(r, status);
    return scope_.spawn(report_reservation(r, static_cast<std::uint32_t>(bytes)));
  }
  const std::uint32_t bytes = data_bytes(opcode);
  CommandStatus status = connection_.prepare_host_data(r, bytes);
  const bool ignore_key = (r.sqe.cdw10 & nvme::cdw10_ignore_existing_key) != 0;
  if (ignore_key && opcode != IoOpcode::reservation_register) status = permanent(StatusCode::invalid_field);
  if (!status.ok()) return connection_.complete(r, status);
  scope_.spawn(change_reservation(r, bytes));
}

// The namespace is held only when the data is there: a host that does not send it keeps nobody from removing it.
Task<void> IoCommands::change_reservation(Request& r, std::uint32_t bytes) {
  const bool got = co_await connection_.fetch_host_data(r, bytes);
  if (!got) co_return;
  NamespaceView* const ns = still_there(r);
  if (ns == nullptr) co_return;
  const Gate::Hold hold = ns->gate.enter_aside();
  Reactor& home = connection_.context().registry().home();
  auto at_home = [&]() -> Task<Status> { return apply_reservation(r, *ns->guard); };
  const Status status = co_await run_on(connection_.reactor(), home, at_home);
  if (status.ok()) co_return connection_.complete(r, CommandStatus());
  connection_.complete(r, nvme::to_nvme(status.code(), IoKind::other));
}

// On the home core.
Task<Status> IoCommands::apply_reservation(const Request& r, ReservationGuard& guard) {
  const auto opcode = static_cast<IoOpcode>(r.sqe.opc);
  if (opcode == IoOpcode::reservation_register) return guard.register_key(host_id_, register_request(r));
  if (opcode == IoOpcode::reservation_acquire) return guard.acquire(host_id_, acquire_request(r));
  return guard.release(host_id_, release_request(r));
}

Task<void> IoCommands::report_reservation(Request& r, std::uint32_t bytes) {
  const bool got = co_await connection_.replace_buffer(r, bytes);
  if (!got) co_return;
  NamespaceView* const ns = still_there(r);
  if (ns == nullptr) co_return;
  const Gate::Hold hold = ns->gate.enter_aside();
  ReservationReport report;
  auto at_home = [&]() -> Task<void> {
    report = ns->guard->report();
    co_return;
  };
  co_await run_on(connection_.reactor(), connection_.context().registry().home(), at_home);
  const std::vector<std::byte> data = status_data(report);
  const std::size_t copied = std::min(data.size(), r.vec.size);
  std::memset(r.vec.data, 0, r.vec.size);
  std::memcpy(r.vec.data, data.data(), copied);
  connection_.complete_with_data(r);
}

}  // namespace holdfast::nvmf::target
