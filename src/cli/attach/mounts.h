// Filesystems on block devices: what is mounted where, mounting, unmounting.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"

namespace holdfast::cli {

struct Mount {
  std::string device_number;  // "7:0"; of no device for filesystems like btrfs
  std::string target;
  std::string source;  // "/dev/loop0"
};

// Of the text of /proc/self/mountinfo.
std::vector<Mount> parse_mountinfo(const std::string& text);
// "7:0" of a block device. Errors: not_found; invalid_argument (no block device).
Result<std::string> device_number(const std::string& device);
// Where the device is mounted in this mount namespace, the latest first.
std::vector<std::string> mounts_of(const std::string& device);
// True when the device is what is mounted at exactly this place.
bool is_mounted_at(const std::string& device, const std::string& target);
// What is mounted there cannot be written to.
bool is_read_only(const std::string& target);

// The type of the filesystem on the device, empty when there is none that libblkid knows. Errors: system_error;
// io_error (it cannot be read); failed_precondition (more than one signature, or one of something else).
Result<std::string> filesystem_of(const std::string& device);

// Mounts what the device holds at `target`, a directory that exists. `options` as in fstab, may be empty.
// Errors: failed_precondition (no filesystem), not_found (no directory), system_error.
Status mount_filesystem(const std::string& device, const std::string& target, const std::string& options);
// Errors: busy, naming the place. detach_now: the place is freed at once, and the rest when the last user is
// gone.
Status unmount(const std::string& target, bool detach_now);

}  // namespace holdfast::cli
