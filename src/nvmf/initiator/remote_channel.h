// Channels of a RemoteDevice.
#pragma once

#include <memory>

#include "block/block_device.h"
#include "nvmf/initiator/core_io.h"
#include "rt/reactor.h"

namespace holdfast::nvmf::host {

// A channel for use on `core` that does its I/O through `io`: directly on the core of `io`, by a call
// there from others (targets that grant fewer queues than there are cores).
std::unique_ptr<Channel> make_remote_channel(Reactor& core, CoreIo& io);

}  // namespace holdfast::nvmf::host
