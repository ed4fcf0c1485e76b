// Which devices lie on which.
#pragma once

#include <functional>

#include "block/block_device.h"

namespace holdfast::engine {

class Engine;

// Whether what is written to the device reaches one of which `is_it` is true: itself, or what lies below it by way of
// pools, nexuses and inject devices. What goes through NVMe/TCP is not seen. Home core.
bool reaches(Engine& engine, const BlockDevice& device, const std::function<bool(const BlockDevice&)>& is_it);

}  // namespace holdfast::engine
