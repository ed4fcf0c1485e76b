// What is on a disk already, as far as libblkid knows it: file systems, partition tables, RAID and LVM members.
#pragma once

#include <string>

#include "base/error.h"
#include "block/registry.h"
#include "rt/task.h"

namespace holdfast::engine {

// Ok for disks that are blank, that nobody can name the content of, or that are no files and block devices.
// Errors: failed_precondition, saying what is there; io_error when the disk cannot be searched. `command`, a literal,
// is the one of 'holdfast engine pool' that takes such a disk with --force.
Task<Status> check_foreign_data(DeviceRegistry& devices, std::string disk, const char* command);

}  // namespace holdfast::engine
