// holdfast: the command line of Holdfast.
#include <iostream>
#include <string>
#include <vector>

#include <unistd.h>

#include "cli/attach/attach_command.h"
#include "cli/bench/bench_command.h"
#include "cli/conformance/conformance_command.h"
#include "cli/discover/discover_command.h"
#include "cli/engine_commands.h"
#include "cli/pool_disk/pool_disk_commands.h"
#include "cli/tool/tool.h"

int main(int argc, char** argv) {
  holdfast::cli::Tool tool(std::cout, std::cerr, isatty(STDERR_FILENO) == 1);
  holdfast::cli::add_engine_commands(tool);
  holdfast::cli::add_bench_command(tool);
  holdfast::cli::add_discover_command(tool);
  holdfast::cli::add_pool_disk_commands(tool);
  holdfast::cli::add_attach_commands(tool);
  holdfast::cli::add_conformance_command(tool);
  return tool.run(std::vector<std::string>(argv + 1, argv + argc));
}
