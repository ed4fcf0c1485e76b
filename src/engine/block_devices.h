// The disks and partitions of the machine, as HostRpc.ListBlockDevices shows them: from udev's database, with
// libblkid where udev does not run, and the mount table. Blocks for milliseconds: gRPC threads only.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "mayastor/v1/host.pb.h"

namespace holdfast::engine {

// Sorted by devname. Only those that are free to become a pool, unless `all`. Errors: internal.
Result<std::vector<mayastor::v1::BlockDevice>> list_block_devices(bool all);

// Mount points by "major:minor", from text in the format of /proc/self/mountinfo (proc(5)).
std::vector<std::string> mount_points(const std::string& mountinfo, unsigned major, unsigned minor);
// Whether disks of this major number may become pools, by the text of /proc/devices.
bool is_disk_major(const std::string& proc_devices, unsigned major);
// The rule of "available": something that holds no data yet as far as can be told, on a disk of a known kind.
bool is_available(const mayastor::v1::BlockDevice& device, bool disk_major, bool has_partitions,
                  bool has_signature);

}  // namespace holdfast::engine
