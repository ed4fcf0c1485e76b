// `holdfast up` and `holdfast down`: a whole cluster on this machine.
#pragma once

#include "cli/tool/tool.h"

namespace holdfast::cli {

void add_up_commands(Tool& tool);

}  // namespace holdfast::cli
