// holdfast: the command line of Holdfast.
#include <iostream>
#include <string>
#include <vector>

#include <unistd.h>

#include "cli/engine_commands.h"
#include "cli/tool/tool.h"

int main(int argc, char** argv) {
  holdfast::cli::Tool tool(std::cout, std::cerr, isatty(STDERR_FILENO) == 1);
  holdfast::cli::add_engine_commands(tool);
  return tool.run(std::vector<std::string>(argv + 1, argv + argc));
}
