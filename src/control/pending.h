// What of a volume's pending operations outlives another one that came in between.
#pragma once

#include <optional>

#include "control/model/specs.h"

namespace holdfast::control {

// What is still to be done when this one has ended: a resize that it came before.
inline std::optional<PendingVolumeOp> after(const PendingVolumeOp& ended) {
  if (ended.operation == VolumeOp::resize || !ended.size_bytes) return std::nullopt;
  PendingVolumeOp resize;
  resize.operation = VolumeOp::resize;
  resize.size_bytes = ended.size_bytes;
  return resize;
}

}  // namespace holdfast::control
