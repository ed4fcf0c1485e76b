// `holdfast nvme-conformance`.
#pragma once

#include "cli/tool/tool.h"

namespace holdfast::cli {

void add_conformance_command(Tool& tool);

}  // namespace holdfast::cli
