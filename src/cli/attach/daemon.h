// The process that serves an attachment by our own initiator: NVMe/TCP to the target, a file in user space, a
// loop device on top. It outlives the command that started it.
//
// SIGTERM   ends it in order: the loop device is released,
//           what was written is flushed to the target, the record goes
//           away. A flush that failed is left in the record as `error`.
// SIGUSR1   makes every request fail from now on:
//           the target is gone and somebody wants to detach all the same.
#pragma once

#include <cstdint>

#include "base/error.h"
#include "cli/attach/record.h"
#include "nvmf/initiator/config.h"

namespace holdfast::cli {

struct DaemonPlan {
  const AttachStore& store;
  FileDescriptor lock;    // of the attachment; goes to the process
  Attachment attachment;  // but for device, pid and state
  nvmf::RemoteConfig remote;
  bool read_only = false;
  std::int64_t spin_us = 50;
};

// Forks, and waits until the device is there or the process has ended. The caller has no threads. Errors:
// those of the initiator, of the file in user space and of the loop device.
Result<Attachment> start_daemon(DaemonPlan plan);

}  // namespace holdfast::cli
