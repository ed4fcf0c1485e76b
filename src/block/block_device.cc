#include "block/block_device.h"

#include <algorithm>

namespace holdfast {

DeviceObserver::~DeviceObserver() {
  if (device_ != nullptr) device_->unsubscribe(*this);
}

BlockDevice::~BlockDevice() {
  for (auto* observer : observers_) observer->device_ = nullptr;
}

void BlockDevice::subscribe(DeviceObserver& observer) {
  HF_ASSERT(observer.device_ == nullptr);
  observer.device_ = this;
  observers_.push_back(&observer);
}

void BlockDevice::unsubscribe(DeviceObserver& observer) noexcept {
  if (observer.device_ != this) return;
  observer.device_ = nullptr;
  std::erase(observers_, &observer);
}

void BlockDevice::raise(DeviceEvent event) noexcept {
  const auto told = observers_;
  for (auto* observer : told) {
    if (std::find(observers_.begin(), observers_.end(), observer) != observers_.end()) {
      observer->on_device_event(*this, event);
    }
  }
}

Status check_range(const Geometry& geometry, BlockRange range) noexcept {
  const std::uint64_t first = to_blocks(range.first);
  if (first > geometry.block_count || range.count > geometry.block_count - first)
    return Error(Errc::out_of_range);
  return Status();
}

}  // namespace holdfast
