#include "cli/engine_commands.h"

#include <CLI/CLI.hpp>

#include "cli/commands.h"
#include "cli/engine_client.h"

namespace holdfast::cli {
namespace {

// keep() makes its values without arguments.
struct Connection {
  std::unique_ptr<EngineClient> client;
};

std::string check_url(std::string& url) {
  const auto target = grpc_target(url);
  return target.ok() ? std::string() : target.error().message();
}

}  // namespace

void add_engine_commands(Tool& tool) {
  auto& group =
      tool.add_group(tool.app(), "engine", "Speak to one storage engine: pools, replicas, nexuses, rebuilds");
  auto& connection = tool.keep<Connection>();
  connection.client = std::make_unique<EngineClient>(tool);
  EngineClient& client = *connection.client;
  group.add_option("-b,--bind", client.url, "Engine to speak to: http://host:port, or unix:/path")
      ->envname("HOLDFAST_BIND")
      ->check(CLI::Validator(check_url, "", "url"))
      ->type_name("URL")
      ->capture_default_str();
  group.add_option("--timeout", client.timeout_seconds, "Seconds to wait for an answer")
      ->check(CLI::Range(0.001, 1e8).description(""))
      ->type_name("SECONDS")
      ->capture_default_str();
  tool.add_output_options(group);
  // Commands inherit the footer that stands when they are added.
  group.footer("The options of 'holdfast engine' (--bind, --timeout, --output, ...) may follow, too.");
  add_pool_commands(group, client);
  add_replica_commands(group, client);
  add_snapshot_commands(group, client);
  add_snapshot_rebuild_commands(group, client);
  add_bdev_commands(group, client);
  add_nexus_commands(group, client);
  add_rebuild_commands(group, client);
  add_stats_commands(group, client);
  add_test_commands(group, client);
  add_host_commands(group, client);
  group.footer(
      "These options may also follow the command.\n"
      "Answers go to standard output, everything else to standard error. Exit status: 0 success,\n"
      "1 failure (with the gRPC code on standard error), 2 wrong usage.\n\n"
      "A mirror over replicas of three engines, one of them local:\n"
      "  holdfast engine -b http://node2:10124 pool create pool-2 /dev/sdb\n"
      "  holdfast engine -b http://node2:10124 replica create vol-2 UUID2 pool-2 -s 11GiB --thin -p nvmf\n"
      "  holdfast engine nexus create UUID 10GiB bdev:///vol-1 nvmf://node2:8420/NQN nvmf://node3:8420/NQN\n"
      "  holdfast engine nexus publish UUID\n"
      "  holdfast engine nexus children UUID\n");
}

}  // namespace holdfast::cli
