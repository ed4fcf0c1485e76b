// Channels of a RemoteDevice.
#pragma once

#include <memory>

#include "block/block_device.h"
#include "nvmf/initiator/core_path.h"
#include "rt/reactor.h"

namespace holdfast::nvmf::host {

// A channel for use on `core` that does its I/O through `path`: directly on the path's own core, by a call
// there from others (targets that grant fewer queues than there are cores).
std::unique_ptr<Channel> make_remote_channel(Reactor& core, CorePath& path);

}  // namespace holdfast::nvmf::host
