#include "nvmf/initiator/remote_epochs.h"

#include <bit>
#include <utility>
#include <vector>

#include "base/units.h"

namespace holdfast::nvmf::host {
namespace {

using nvme::VendorFunction;
using nvme::VendorOpcode;

// Far more than any device of ours; keeps arithmetic with a hostile target's numbers in range.
constexpr std::uint64_t regions_max = std::uint64_t{1} << 32;
constexpr std::uint64_t region_bytes_max = 1 * GiB;

class RemoteEpochs final : public EpochClient {
 public:
  explicit RemoteEpochs(PathGroup& paths) noexcept : paths_(paths) {}

  Task<Result<EpochState>> state() override;
  Task<Status> announce(std::uint32_t epoch) override {
    return act("Announce Epoch", VendorFunction::announce_epoch, epoch);
  }
  Task<Status> seal(std::uint32_t epoch) override {
    return act("Seal Epoch", VendorFunction::seal_epoch, epoch);
  }
  Task<Result<RegionBitmap>> changed_since(std::uint32_t epoch, std::uint64_t first,
                                           std::uint64_t count) override {
    VendorCommand command("Changed Regions", VendorOpcode::get, VendorFunction::changed_since);
    command.sqe.cdw13 = epoch;
    co_return co_await regions(command, first, count);
  }
  Task<Result<RegionBitmap>> allocated(std::uint64_t first, std::uint64_t count) override {
    VendorCommand command("Allocated Regions", VendorOpcode::get, VendorFunction::allocated);
    co_return co_await regions(command, first, count);
  }

 private:
  Task<Status> act(const char* what, VendorFunction function, std::uint32_t epoch) {
    VendorCommand command(what, VendorOpcode::act, function);
    command.sqe.cdw13 = epoch;
    co_return co_await paths_.run(command);
  }
  Task<Result<RegionBitmap>> regions(VendorCommand& command, std::uint64_t first, std::uint64_t count);

  PathGroup& paths_;
};

Task<Result<EpochState>> RemoteEpochs::state() {
  nvme::EpochStateData data{};
  VendorCommand command("Epoch State", VendorOpcode::get, VendorFunction::epoch_state);
  command.data = std::as_writable_bytes(std::span<nvme::EpochStateData, 1>(&data, 1));
  HF_CO_CHECK(co_await paths_.run(command));
  EpochState state;
  state.current = data.current;
  state.sealed = data.sealed;
  state.region_bytes = data.region_bytes;
  state.regions = data.regions;
  if (!std::has_single_bit(state.region_bytes) || state.region_bytes > region_bytes_max ||
      state.regions > regions_max || state.sealed > state.current) {
    co_return Error(Errc::protocol, "Epoch State: the target's answer cannot be");
  }
  co_return state;
}

Task<Result<RegionBitmap>> RemoteEpochs::regions(VendorCommand& command, std::uint64_t first,
                                                 std::uint64_t count) {
  if (count > regions_per_call_max) co_return Error(Errc::invalid_argument);
  RegionBitmap bits(first, count);
  if (count == 0) co_return bits;
  command.sqe.cdw14 = static_cast<std::uint32_t>(first);
  command.sqe.cdw15 = static_cast<std::uint32_t>(first >> 32);
  command.data = std::as_writable_bytes(std::span(bits.words));
  HF_CO_CHECK(co_await paths_.run(command));
  // What lies beyond what was asked for is no region of the caller's.
  if (count % 64 != 0) bits.words.back() &= (std::uint64_t{1} << (count % 64)) - 1;
  co_return bits;
}

class RemoteSnapshots final : public SnapshotClient {
 public:
  explicit RemoteSnapshots(PathGroup& paths) noexcept : paths_(paths) {}

  Task<Status> create(SnapshotRequest request) override {
    nvme::SnapshotData wanted;
    wanted.name = std::move(request.name);
    wanted.uuid = request.uuid;
    wanted.attributes = std::move(request.attributes);
    HF_CO_TRY(std::vector<std::byte> data, nvme::encode(wanted));
    VendorCommand command("Create Snapshot", VendorOpcode::put, VendorFunction::create_snapshot);
    command.data = data;
    co_return co_await paths_.run(command);
  }

 private:
  PathGroup& paths_;
};

}  // namespace

std::unique_ptr<EpochClient> make_remote_epochs(PathGroup& paths) {
  return std::make_unique<RemoteEpochs>(paths);
}
std::unique_ptr<SnapshotClient> make_remote_snapshots(PathGroup& paths) {
  return std::make_unique<RemoteSnapshots>(paths);
}

}  // namespace holdfast::nvmf::host
