// The schemes of this folder, all at once.
#pragma once

#include <string>

#include "block/registry.h"

namespace holdfast {

// malloc, null, aio, uring and inject. `host` (a node's name) goes into the UUIDs of file devices that have
// none in their URI: stable over restarts, different on each node. Both arguments outlive the registry's use.
void register_builtin_schemes(DeviceRegistry& registry, const Cores& cores, std::string host = "");

}  // namespace holdfast
