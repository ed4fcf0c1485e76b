// `holdfast discover`.
#pragma once

#include "cli/tool/tool.h"

namespace holdfast::cli {

void add_discover_command(Tool& tool);

}  // namespace holdfast::cli
