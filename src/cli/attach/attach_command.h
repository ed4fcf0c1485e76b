// `holdfast attach` and `holdfast detach`.
#pragma once

#include "cli/tool/tool.h"

namespace holdfast::cli {

void add_attach_commands(Tool& tool);

}  // namespace holdfast::cli
