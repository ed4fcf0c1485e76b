// Which devices lie on which.
#pragma once

#include <functional>
#include <string>

#include "block/block_device.h"

namespace holdfast::engine {

class Engine;

// Whether what is written to the device that the URI names, or would be made of, reaches one of which `is_it` is true:
// itself, or what lies below it by way of pools, nexuses and inject devices. What goes through NVMe/TCP is not seen.
// Home core.
bool reaches(Engine& engine, const std::string& uri, const std::function<bool(const BlockDevice&)>& is_it);

}  // namespace holdfast::engine
