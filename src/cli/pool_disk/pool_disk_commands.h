// holdfast pool check and dump: what is on the disks of a pool that nobody has open.
#pragma once

#include "cli/tool/tool.h"

namespace holdfast::cli {

void add_pool_disk_commands(Tool& tool);

}  // namespace holdfast::cli
