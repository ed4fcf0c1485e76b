// What a volume is, derived from what its engines report (interop/controlplane.md section 2.4).
#pragma once

#include "control/plan/cluster.h"

namespace holdfast::control {

VolumeState volume_state(const Cluster& cluster, const VolumeSpec& volume);

}  // namespace holdfast::control
