#include "engine/used_device.h"

namespace holdfast::engine {

Task<Status> UsedDevice::open(DeviceRegistry& devices, std::string uri, const char* user, DeviceUse use) {
  devices_ = &devices;
  const bool there = devices.find(uri) != nullptr;
  HF_CO_TRY(device_, co_await devices.create(std::move(uri)));
  ours_ = !there;
  co_return co_await open(devices, *device_, user, use);
}

Task<Status> UsedDevice::open(DeviceRegistry& devices, BlockDevice& device, const char* user, DeviceUse use) {
  devices_ = &devices;
  device_ = &device;
  HF_CO_TRY(claim_, devices.claim(device, user, use));
  HF_CO_TRY(channel_, co_await device.open_channel(devices.cores().home()));
  co_return Status();
}

Task<void> UsedDevice::close() {
  if (channel_ != nullptr) co_await channel_->close();
  channel_.reset();
  claim_.release();
  if (ours_ && device_ != nullptr) {
    const Status gone = co_await devices_->destroy(device_->name());
    gone.ignore("somebody else uses it by now");
  }
  ours_ = false;
  device_ = nullptr;
}

}  // namespace holdfast::engine
