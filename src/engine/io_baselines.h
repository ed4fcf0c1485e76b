// Counters of devices since they were set back. Home core.
#pragma once

#include <map>
#include <string>

#include "block/block_device.h"

namespace holdfast::engine {

// Where the counters stood when they were set back. Devices themselves never count backwards.
class IoBaselines {
 public:
  IoStats since_reset(const std::string& device, const IoStats& now);
  void reset(const std::string& device, const IoStats& now) { at_reset_[device] = now; }
  // Those of devices that are gone.
  template <class IsThere>
  void forget_unless(const IsThere& is_there) {
    std::erase_if(at_reset_, [&](const auto& at) { return !is_there(at.first); });
  }

 private:
  std::map<std::string, IoStats, std::less<>> at_reset_;
};

}  // namespace holdfast::engine
