// What a volume is, derived from what its engines report (docs/clusters.md has the list).
#pragma once

#include "control/plan/cluster.h"

namespace holdfast::control {

VolumeState volume_state(const Cluster& cluster, const VolumeSpec& volume);

}  // namespace holdfast::control
