// The families of `holdfast engine`, one file each. Internal to this folder.
#pragma once

#include <functional>
#include <string>

#include "cli/tool/tool.h"

namespace holdfast::cli {

class EngineClient;

void add_bdev_commands(CLI::App& engine, EngineClient& client);
void add_nexus_commands(CLI::App& engine, EngineClient& client);
void add_nexus_child_commands(CLI::App& nexus, EngineClient& client);
void add_rebuild_commands(CLI::App& engine, EngineClient& client);
void add_host_commands(CLI::App& engine, EngineClient& client);

// Follows the rebuilds of a nexus, or only that of the child `uri`, until they have ended. Returns the exit
// status: success when every child followed is in sync.
struct WatchOptions {
  std::string uuid;
  std::string uri;  // empty: every child that is not in sync
  double interval_seconds = 0.5;
};
int watch_rebuild(EngineClient& client, const WatchOptions& options);

}  // namespace holdfast::cli
