// The record of a volume that is to be made, as it was asked for.
#pragma once

#include "control/model/specs.h"
#include "control/requests.h"

namespace holdfast::control {

VolumeSpec new_volume(const CreateVolume& request);

}  // namespace holdfast::control
