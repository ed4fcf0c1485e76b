// The devices of a process, by name, and the schemes that make them from URIs. Home core only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "block/block_device.h"
#include "block/reservation_guard.h"
#include "block/uri.h"
#include "rt/reactor.h"
#include "rt/wait.h"

namespace holdfast {

class DeviceRegistry;

// How a user of a device shares it. A device has one user, or one `guarded` and one `exported` user: both ask
// its guard before every operation, so the reservation decides between them.
enum class DeviceUse : std::uint8_t {
  sole,
  guarded,   // holds a reservation and gives way when it loses it: a nexus
  exported,  // checks reservations for every host: the target
};

// Use of a device by a nexus, a share or a bench. While claimed, a device cannot be destroyed, and be claimed
// by others only as DeviceUse says.
class DeviceClaim {
 public:
  DeviceClaim() noexcept = default;
  DeviceClaim(DeviceClaim&& o) noexcept;
  DeviceClaim& operator=(DeviceClaim&& o) noexcept;
  ~DeviceClaim() { release(); }
  void release() noexcept;
  explicit operator bool() const noexcept { return device_ != nullptr; }
  BlockDevice& device() const noexcept { return *device_; }

 private:
  friend class DeviceRegistry;
  DeviceRegistry* registry_ = nullptr;
  BlockDevice* device_ = nullptr;
  DeviceUse use_ = DeviceUse::sole;
};

class DeviceRegistry {
 public:
  // Makes a device from a URI of its scheme; the device is not registered yet.
  using Factory = std::function<Task<Result<std::unique_ptr<BlockDevice>>>(const Uri& uri)>;
  // What to do when a URI names a device that exists already (aio's `rescan`, malloc's `resize`): ok when the
  // URI asked for such a thing and it was done, already_exists otherwise.
  using Refresher = std::function<Task<Status>(const Uri& uri, BlockDevice& existing)>;
  struct Scheme {
    Factory create;
    std::function<Result<std::string>(const Uri& uri)> name;  // the name that the device of this URI has
    Refresher refresh;                                        // may be empty
  };
  struct Entry {
    std::unique_ptr<BlockDevice> device;
    std::string claimed_by;                  // empty: free
    std::map<DeviceUse, std::string> users;  // claimed_by says them all
    std::vector<std::string> aliases;
    std::unique_ptr<Gate> readers;            // calls of stats() under way
    std::unique_ptr<ReservationGuard> guard;  // made when it is first asked for

    void show_users();
  };

  // `reservations` keeps what hosts want to persist through power loss; nullptr: nothing can. Both outlive
  // the registry.
  explicit DeviceRegistry(const Cores& cores, ReservationStore* reservations = nullptr)
      : cores_(cores), reservations_(reservations) {}
  DeviceRegistry(const DeviceRegistry&) = delete;
  DeviceRegistry& operator=(const DeviceRegistry&) = delete;

  void add_scheme(std::string scheme, Scheme makes);
  // Errors: invalid_argument (bad URI, unknown scheme or parameter), already_exists, not_found, busy,
  // io_error. "bdev:///name" and "loopback:///name" give the existing device of that name; its uuid, if
  // given, must match.
  Task<Result<BlockDevice*>> create(std::string uri);
  // By name, alias or URI. Errors: not_found; failed_precondition while claimed.
  Task<Status> destroy(std::string name_or_uri);
  // nullptr when there is none.
  BlockDevice* find(std::string_view name_or_uri) const;
  // Errors: busy, naming who has it.
  Result<DeviceClaim> claim(BlockDevice& device, std::string by, DeviceUse use = DeviceUse::sole);
  // The reservations of a device, taken up from the store when they are asked for first. Valid as long as the
  // device is registered. Errors: not_found; bad_format and those of the store: nobody may use the device
  // then.
  Task<Result<ReservationGuard*>> guard(BlockDevice& device);
  // The device will not come back: nothing is kept of its reservations.
  Task<Status> forget_reservations(const BlockDevice& device);
  // A device that was made elsewhere (a nexus). Errors: already_exists; the caller keeps the device then.
  Result<BlockDevice*> adopt(std::unique_ptr<BlockDevice>&& device);
  // Takes an adopted device out again, without closing it. No call of stats() for it is under way.
  std::unique_ptr<BlockDevice> withdraw(BlockDevice& device);
  // What the device counted. It stays open until the answer is there: destroy() waits. Errors: not_found.
  Task<Result<IoStats>> stats(std::string name);
  const std::map<std::string, Entry, std::less<>>& entries() const noexcept { return devices_; }
  const Cores& cores() const noexcept { return cores_; }
  // Until it is gone, destroy() of the device waits. Empty: the device is not there. Not of adopted devices.
  Gate::Hold keep(const BlockDevice& device) noexcept;
  // Destroys what nobody uses, then what nobody uses any more, but for devices that `spares` is true of.
  Task<void> close_unused(std::function<bool(const BlockDevice&)> spares);
  // Destroys every device, claimed ones last; claims that are left hold nothing any more.
  Task<void> close();

 private:
  friend class DeviceClaim;
  Entry take(const BlockDevice& device);
  Entry* entry_of(const BlockDevice& device) noexcept;
  // The name under which the device of a name, alias or URI is, or would be, registered.
  Result<std::string> name_of(const Uri& uri) const;
  Task<Result<BlockDevice*>> existing(const Uri& uri);
  Task<Result<BlockDevice*>> make(const Uri& uri, const Scheme& scheme, std::string name);

  const Cores& cores_;
  ReservationStore* const reservations_;
  std::map<std::string, Scheme> schemes_;
  std::set<std::string, std::less<>> being_made_;
  std::map<std::string, Entry, std::less<>> devices_;
};

}  // namespace holdfast
