// `holdfast bench`.
#pragma once

#include "cli/tool/tool.h"

namespace holdfast::cli {

void add_bench_command(Tool& tool);

}  // namespace holdfast::cli
