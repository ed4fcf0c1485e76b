// A device that a job reads or writes: claimed, with a channel on the home core. Home core only.
#pragma once

#include <memory>
#include <string>

#include "block/registry.h"

namespace holdfast::engine {

class UsedDevice {
 public:
  UsedDevice() = default;
  UsedDevice(const UsedDevice&) = delete;
  UsedDevice& operator=(const UsedDevice&) = delete;
  ~UsedDevice() { HF_ASSERT(channel_ == nullptr); }  // close() was awaited

  // The device of a URI; it is made when there is none, and goes with close() then. `user` is told to others that
  // want it. After an error only close() follows. The registry outlives this.
  Task<Status> open(DeviceRegistry& devices, std::string uri, const char* user, DeviceUse use);
  // A device of the registry.
  Task<Status> open(DeviceRegistry& devices, BlockDevice& device, const char* user, DeviceUse use);
  // Ok when it is not open.
  Task<void> close();

  explicit operator bool() const noexcept { return channel_ != nullptr; }
  BlockDevice& device() const noexcept { return *device_; }
  Channel& channel() const noexcept { return *channel_; }

 private:
  DeviceRegistry* devices_ = nullptr;
  BlockDevice* device_ = nullptr;
  bool ours_ = false;  // made by open()
  DeviceClaim claim_;
  std::unique_ptr<Channel> channel_;
};

}  // namespace holdfast::engine
