#include "cli/tool/paths.h"

#include <cstdlib>

namespace holdfast::cli {

std::string default_state_dir() {
  const auto environment = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
  };
  if (const auto dir = environment("HOLDFAST_UP_DIR"); !dir.empty()) return dir;
  if (const auto data = environment("XDG_DATA_HOME"); data.starts_with('/')) return data + "/holdfast";
  if (const auto home = environment("HOME"); home.starts_with('/')) return home + "/.local/share/holdfast";
  return "/var/tmp/holdfast";
}

}  // namespace holdfast::cli
