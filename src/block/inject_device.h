// InjectDevice: passes everything on to the device below, and plays faults on the way: errors, delays,
// corruption.
#pragma once

#include <memory>
#include <vector>

#include "block/block_device.h"
#include "block/injection.h"
#include "block/registry.h"

namespace holdfast {

class InjectDevice final : public BlockDevice, DeviceObserver {
 public:
  // Keeps the claim. `destroy_below`: the device below was made for this one and goes with it.
  InjectDevice(Identity identity, DeviceRegistry& registry, DeviceClaim below, bool destroy_below);

  const Geometry& geometry() const noexcept override { return below_.device().geometry(); }
  const Capabilities& capabilities() const noexcept override;
  Task<Result<std::unique_ptr<Channel>>> open_channel(Reactor& core) override;
  Task<IoStats> stats() override { return below_.device().stats(); }
  Task<Status> rescan() override { return below_.device().rescan(); }
  // Not injected into.
  EpochClient* epochs() noexcept override { return below_.device().epochs(); }
  SnapshotClient* snapshots() noexcept override { return below_.device().snapshots(); }
  Task<void> close() override;

  // From now on, on every core, in the order of adding. Home core; gives the number that remove() takes.
  Task<std::uint64_t> add(Injection injection);
  // Errors: not_found.
  Task<Status> remove(std::uint64_t id);

  // The injections of one core; only that core touches them.
  std::vector<ActiveInjection>& active(unsigned core) noexcept { return active_[core]; }

 private:
  void on_device_event(BlockDevice&, DeviceEvent event) noexcept override { raise(event); }

  DeviceRegistry& registry_;
  DeviceClaim below_;
  const bool destroy_below_;
  Capabilities capabilities_;
  std::vector<std::vector<ActiveInjection>> active_;
  std::uint64_t last_id_ = 0;
};

// inject://DEVICE?...: DEVICE is the name of a device, or a percent-encoded URI that makes one.
DeviceRegistry::Scheme inject_scheme(DeviceRegistry& registry);

}  // namespace holdfast
