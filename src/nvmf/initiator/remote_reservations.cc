#include "nvmf/initiator/remote_reservations.h"

#include <cstring>
#include <utility>
#include <vector>

#include "nvme/reservation.h"

namespace holdfast::nvmf::host {
namespace {

// Registrants that a report has room for: more than our own target admits.
constexpr std::size_t registrants_max = 255;

constexpr std::uint32_t action_bits(auto action) noexcept { return static_cast<std::uint32_t>(action); }
constexpr std::uint32_t type_bits(ReservationType type) noexcept {
  return static_cast<std::uint32_t>(type) << 8;
}

Result<ReservationReport> parse(std::span<const std::byte> data) {
  const auto header = load<nvme::ReservationStatusHeader>(data);
  ReservationReport report;
  report.generation = header.gen;
  report.type = static_cast<ReservationType>(header.rtype);
  report.persists = header.ptpls != 0;
  if (report.type != ReservationType::none && !is_valid(report.type)) return Error(Errc::protocol);
  const std::size_t count = header.regctl.get();
  if (count > registrants_max) return Error(Errc::resource_exhausted);
  for (std::size_t i = 0; i < count; ++i) {
    const auto entry = load<nvme::RegisteredController>(
        data.subspan(sizeof header + i * sizeof(nvme::RegisteredController)));
    Registrant r;
    std::memcpy(r.host.bytes.data(), entry.hostid, sizeof entry.hostid);
    r.key = entry.rkey;
    r.holder = (entry.rcsts & nvme::RegisteredController::rcsts_holder) != 0 ||
               is_all_registrants(report.type);  // some targets name one of all holders
    report.registrants.push_back(r);
  }
  return report;
}

class RemoteReservations final : public ReservationClient {
 public:
  RemoteReservations(ReservationPath path, Uuid host) : path_(std::move(path)), host_(host) {}

  Task<Status> register_key(RegisterRequest request) override {
    nvme::ReservationRegisterData keys{};
    keys.crkey = request.current_key;
    keys.nrkey = request.new_key;
    const std::uint32_t cdw10 = action_bits(request.action) |
                                (request.ignore_existing ? nvme::cdw10_ignore_existing_key : 0) |
                                action_bits(request.persist) << 30;
    co_return co_await send(nvme::IoOpcode::reservation_register, cdw10, bytes_of(keys));
  }
  Task<Status> acquire(AcquireRequest request) override {
    nvme::ReservationAcquireData keys{};
    keys.crkey = request.key;
    keys.prkey = request.preempt_key;
    const std::uint32_t cdw10 = action_bits(request.action) | type_bits(request.type);
    co_return co_await send(nvme::IoOpcode::reservation_acquire, cdw10, bytes_of(keys));
  }
  Task<Status> release(ReleaseRequest request) override {
    nvme::ReservationReleaseData keys{};
    keys.crkey = request.key;
    const std::uint32_t cdw10 = action_bits(request.action) | type_bits(request.type);
    co_return co_await send(nvme::IoOpcode::reservation_release, cdw10, bytes_of(keys));
  }
  Task<Result<ReservationReport>> report() override;
  const Uuid& host() const noexcept override { return host_; }
  // Whether it can only the target knows; it refuses the request otherwise.
  bool can_persist() const noexcept override { return true; }

 private:
  Task<Status> send(nvme::IoOpcode opcode, std::uint32_t cdw10, std::span<const std::byte> keys);

  const ReservationPath path_;
  const Uuid host_;
};

Task<Status> RemoteReservations::send(nvme::IoOpcode opcode, std::uint32_t cdw10,
                                      std::span<const std::byte> keys) {
  HF_CO_TRY(CoreIo * path, co_await path_());
  std::vector<std::byte> data(keys.begin(), keys.end());
  const IoVec vec{data.data(), data.size()};
  Command command;
  command.sqe.opc = static_cast<std::uint8_t>(opcode);
  command.sqe.cdw10 = cdw10;
  command.transfer = Transfer::to_controller;
  command.length = static_cast<std::uint32_t>(data.size());
  command.data = IoVecs(&vec, 1);
  const bool cancelled = false;
  co_return co_await path->execute(command, true, cancelled);
}

Task<Result<ReservationReport>> RemoteReservations::report() {
  HF_CO_TRY(CoreIo * path, co_await path_());
  std::vector<std::byte> data(sizeof(nvme::ReservationStatusHeader) +
                              registrants_max * sizeof(nvme::RegisteredController));
  const IoVec vec{data.data(), data.size()};
  Command command;
  command.sqe.opc = static_cast<std::uint8_t>(nvme::IoOpcode::reservation_report);
  command.sqe.cdw10 = static_cast<std::uint32_t>(data.size() / 4 - 1);
  command.sqe.cdw11 = nvme::cdw11_extended_data;
  command.transfer = Transfer::to_host;
  command.length = static_cast<std::uint32_t>(data.size());
  command.data = IoVecs(&vec, 1);
  const bool cancelled = false;
  HF_CO_CHECK(co_await path->execute(command, false, cancelled));
  co_return parse(data);
}

}  // namespace

std::unique_ptr<ReservationClient> make_remote_reservations(ReservationPath path, Uuid host) {
  return std::make_unique<RemoteReservations>(std::move(path), host);
}

}  // namespace holdfast::nvmf::host
