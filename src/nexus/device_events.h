// Carries the events of one opened child device to its nexus.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "nexus/control.h"

namespace holdfast::nexus {

// From when the device is opened. What it says before home knows that the child is in the lists of the cores is
// told then.
class Control::DeviceEvents final : public DeviceObserver {
 public:
  DeviceEvents(Control& control, ChildId id) noexcept : control_(control), id_(id) {}
  ChildId id() const noexcept { return id_; }
  // The cores begin to use it: what it loses from here on was written through this opening.
  void expect_use() noexcept { used_ = true; }
  void tell_all() noexcept {
    told_ = true;
    Control& control = control_;
    const ChildId id = id_;
    // What follows from the first may close the device, and this is gone with it.
    for (const DeviceEvent event : std::exchange(early_, {})) tell(control, id, event);
  }
  void on_device_event(BlockDevice&, DeviceEvent event) noexcept override {
    // Who has taken it may be taking the others, which are still to be opened.
    if (told_ || event == DeviceEvent::reservations_changed) return tell(control_, id_, event);
    if (event == DeviceEvent::recovered && !used_) {
      std::erase(early_, DeviceEvent::failed);
    } else if (used_ || std::find(early_.begin(), early_.end(), event) == early_.end()) {
      early_.push_back(event);
    }
  }

 private:
  static void tell(Control& control, ChildId id, DeviceEvent event) noexcept {
    if (!control.stopping_) return control.scope_.spawn(control.device_event(id, event));
    Child* c = control.find(id);
    if (c != nullptr && event == DeviceEvent::failed) c->failed_at_end = true;
  }

  Control& control_;
  const ChildId id_;
  bool used_ = false;
  bool told_ = false;
  std::vector<DeviceEvent> early_;
};

}  // namespace holdfast::nexus
