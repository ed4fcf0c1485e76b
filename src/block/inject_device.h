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
  ReservationClient* reservations() noexcept override { return below_.device().reservations(); }
  EpochClient* epochs() noexcept override { return below_.device().epochs(); }
  SnapshotClient* snapshots() noexcept override { return below_.device().snapshots(); }
  Task<void> close() override;

  struct Listed {
    std::uint64_t id = 0;
    std::string uri;      // as it was added
    bool active = false;  // would act on an operation that matches now, on some core
  };

  // From now on, on every core, in the order of adding. Home core; gives the number that remove() takes. `uri` is
  // what list() shows.
  Task<std::uint64_t> add(Injection injection, std::string uri = std::string());
  // Errors: not_found.
  Task<Status> remove(std::uint64_t id);
  Task<std::vector<Listed>> list();  // in the order of adding

  // The injections of one core; only that core touches them.
  std::vector<ActiveInjection>& active(unsigned core) noexcept { return active_[core]; }

 private:
  void on_device_event(BlockDevice&, DeviceEvent event) noexcept override { raise(event); }

  DeviceRegistry& registry_;
  DeviceClaim below_;
  const bool destroy_below_;
  Capabilities capabilities_;
  std::vector<std::vector<ActiveInjection>> active_;
  std::vector<Listed> listed_;
  std::uint64_t last_id_ = 0;
};

// DEVICE of inject://DEVICE?.... Errors: invalid_argument.
Result<std::string> inject_target(const Uri& uri);

// What an inject:// URI says. Errors: invalid_argument.
struct InjectionUri {
  std::string target;         // the device that is to fail
  std::string inject_device;  // the name of the one that stands before it, if it does
  Injection injection;
};
Result<InjectionUri> parse_injection(const std::string& uri);

// inject://DEVICE?...: DEVICE is the name of a device, or a percent-encoded URI that makes one.
DeviceRegistry::Scheme inject_scheme(DeviceRegistry& registry);

}  // namespace holdfast
