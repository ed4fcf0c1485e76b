// The disks and partitions of the machine, as HostRpc.ListBlockDevices shows them: from udev's database, with
// libblkid where udev does not run, and the mount table. Blocks, for as long as disks are asked at most: gRPC threads
// only.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/patient_calls.h"
#include "mayastor/v1/host.pb.h"

namespace holdfast::engine {

// What is found on a device beyond what BlockDevice shows.
struct FoundDevice {
  mayastor::v1::BlockDevice device;
  // A filesystem, RAID member, LVM volume, ... of whatever kind; also when that could not be found out.
  bool has_signature = false;
  bool asks_itself = false;  // nobody else knows its content
};
using DiskQuestions = PatientCalls<FoundDevice>;

// How long disks are waited for that are asked for their content.
inline constexpr std::chrono::milliseconds disk_patience{2000};

// Sorted by devname. Only those that are free to become a pool, unless `all`. A disk that does not answer is none of
// these, and named in the log. Errors: internal.
Result<std::vector<mayastor::v1::BlockDevice>> list_block_devices(bool all, DiskQuestions& disks);

// Asks all that have to be asked, at once; gives those that do not answer within `patience` a signature. Their names.
std::vector<std::string> ask_disks(std::vector<FoundDevice>& found, DiskQuestions& disks,
                                   const std::function<FoundDevice(FoundDevice)>& ask,
                                   std::chrono::milliseconds patience);

// Asks the device, which has a devname, what it holds. Blocks.
FoundDevice from_blkid(FoundDevice f);

// Mount points by "major:minor", from text in the format of /proc/self/mountinfo (proc(5)).
std::vector<std::string> mount_points(const std::string& mountinfo, unsigned major, unsigned minor);
// Whether disks of this major number may become pools, by the text of /proc/devices.
bool is_disk_major(const std::string& proc_devices, unsigned major);
// The rule of "available": something that holds no data yet as far as can be told, on a disk of a known kind.
bool is_available(const mayastor::v1::BlockDevice& device, bool disk_major, bool has_partitions,
                  bool has_signature);

}  // namespace holdfast::engine
