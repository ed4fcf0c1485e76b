// holdfast: the command line of Holdfast.
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>
#include <unistd.h>

#include "cli/attach/attach_command.h"
#include "cli/bench/bench_command.h"
#include "cli/cluster/cluster_commands.h"
#include "cli/conformance/conformance_command.h"
#include "cli/discover/discover_command.h"
#include "cli/engine_commands.h"
#include "cli/pool_disk/pool_disk_commands.h"
#include "cli/tool/tool.h"
#include "cli/up/up_command.h"

int main(int argc, char** argv) {
  holdfast::cli::Tool tool(std::cout, std::cerr, isatty(STDERR_FILENO) == 1);
  tool.set_version(HF_VERSION);
  holdfast::cli::add_cluster_commands(tool);
  holdfast::cli::add_up_commands(tool);
  holdfast::cli::add_engine_commands(tool);
  holdfast::cli::add_bench_command(tool);
  holdfast::cli::add_discover_command(tool);
  holdfast::cli::add_pool_disk_commands(tool);
  holdfast::cli::add_attach_commands(tool);
  holdfast::cli::add_conformance_command(tool);
  // As a plugin: kubectl holdfast get volumes.
  if (std::string_view(argv[0]).ends_with("kubectl-holdfast")) tool.app().name("kubectl holdfast");
  return tool.run(std::vector<std::string>(argv + 1, argv + argc));
}
