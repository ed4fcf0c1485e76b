// The families of `holdfast engine`, one file each. Internal to this folder.
#pragma once

#include <functional>
#include <string>

#include "cli/tool/random.h"
#include "cli/tool/tool.h"

namespace google::protobuf {
template <class Element>
class RepeatedPtrField;
}  // namespace google::protobuf
namespace mayastor::v1 {
class IoStats;
class Replica;
}  // namespace mayastor::v1

namespace holdfast::cli {

class EngineClient;

void add_bdev_commands(CLI::App& engine, EngineClient& client);
void add_nexus_commands(CLI::App& engine, EngineClient& client);
void add_nexus_child_commands(CLI::App& nexus, EngineClient& client);
void add_rebuild_commands(CLI::App& engine, EngineClient& client);
void add_host_commands(CLI::App& engine, EngineClient& client);
void add_pool_commands(CLI::App& engine, EngineClient& client);
void add_replica_commands(CLI::App& engine, EngineClient& client);
void add_replica_rebuild_commands(CLI::App& replica, EngineClient& client);
void add_snapshot_commands(CLI::App& engine, EngineClient& client);
void add_snapshot_rebuild_commands(CLI::App& engine, EngineClient& client);
void add_stats_commands(CLI::App& engine, EngineClient& client);
void add_test_commands(CLI::App& engine, EngineClient& client);

// Tables that several families show.
void print_replicas(Output& out, const google::protobuf::RepeatedPtrField<mayastor::v1::Replica>& replicas,
                    const char* nothing);
Table io_stats_table();
void add_io_stats(const Output& out, Table& table, const mayastor::v1::IoStats& stats);

// Follows the rebuilds of a nexus, or only that of the child `uri`, until they have ended. Returns the exit
// status: success when every child followed is in sync.
struct WatchOptions {
  std::string uuid;
  std::string uri;  // empty: every child that is not in sync
  double interval_seconds = 0.5;
};
int watch_rebuild(EngineClient& client, const WatchOptions& options);

}  // namespace holdfast::cli
