// Carries the events of one opened child device to its nexus.
#pragma once

#include "nexus/control.h"

namespace holdfast::nexus {

class Control::DeviceEvents final : public DeviceObserver {
 public:
  DeviceEvents(Control& control, ChildId id) noexcept : control_(control), id_(id) {}
  ChildId id() const noexcept { return id_; }
  void on_device_event(BlockDevice&, DeviceEvent event) noexcept override {
    if (!control_.stopping_) control_.scope_.spawn(control_.device_event(id_, event));
  }

 private:
  Control& control_;
  const ChildId id_;
};

}  // namespace holdfast::nexus
