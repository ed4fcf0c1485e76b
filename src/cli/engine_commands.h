// `holdfast engine`: speaks to one engine through its gRPC API.
#pragma once

#include "cli/tool/tool.h"

namespace holdfast::cli {

// Adds the group with everything in it.
void add_engine_commands(Tool& tool);

}  // namespace holdfast::cli
