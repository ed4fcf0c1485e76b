// Loop devices: a file as a block device.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"

namespace holdfast::cli {

struct LoopOptions {
  std::uint32_t block_bytes = 512;
  bool read_only = false;
  std::string label;  // shown by losetup; the first 63 characters
};

// Binds the file to a free loop device, with direct I/O where the file can do that. Returns "/dev/loopN".
// Errors: not_supported (no loop devices on this machine), resource_exhausted (none is free), system_error.
Result<std::string> attach_loop(const std::string& file, const LoopOptions& options);
// Ends the binding; the kernel does it later when somebody has the device open. Ok when there is none.
Status detach_loop(const std::string& device);
bool loop_is_bound(const std::string& device);
// Whether the device is bound, and to nothing that has another label. True also when the file behind it is dead, as
// that of a process that was killed: then the kernel does not tell.
bool loop_may_have_label(const std::string& device, const std::string& label);
// The file has grown or shrunk.
Status refresh_loop_size(const std::string& device);

}  // namespace holdfast::cli
