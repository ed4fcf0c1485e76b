// holdfast create|delete|grow pool.
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/cluster/cluster.h"
#include "cli/cluster/selector.h"
#include "cli/cluster/volume_verbs.h"

namespace holdfast::cli {
namespace {

struct PoolOptions {
  std::string id;
  std::string node;
  std::vector<std::string> disks;
  std::vector<std::string> labels;
  PurgeOptions purge;
  WaitOptions wait;
};

std::string pool_path(const char* version, const PoolOptions& o) {
  return fmt::format("/{}/pools/{}", version, url_encoded(o.id));
}

Progress pool_online(const RestAnswer& answer) {
  if (!answer.ok()) return failed(answer);
  const std::string status = text_or(answer.body(), "state/status", "Unknown");
  return {status == "Online", status, {}, {}};
}

int create(Cluster& c, const PoolOptions& o) {
  Tree body{{"disks", o.disks}};
  if (!o.labels.empty()) body["labels"] = label_map(o.labels);
  const RestAnswer answer =
      c.client().put(fmt::format("/v0/nodes/{}/pools/{}", url_encoded(o.node), url_encoded(o.id)), body);
  if (answer.ok() && o.wait.wait) {
    const int waited = wait_until(c, o.wait, "pool " + o.id, pool_online, pool_path("v0", o));
    if (waited != exit_ok) return waited;
  }
  return c.done(answer, o.id);
}

}  // namespace

void add_pool_verbs(Cluster& c, CLI::App& create_verb, CLI::App& delete_verb) {
  auto& o = c.tool().keep<PoolOptions>();
  auto& created =
      c.tool().add_command(create_verb, "pool", "A pool of a node's disks", [&] { return create(c, o); });
  add_id(created, "POOL", o.id, "Its name");
  created
      .add_option("DISK", o.disks, "Devices of the node, or URIs of files and devices; all become the pool's")
      ->required();
  created.add_option("--node", o.node, "The storage node that has the disks")->required()->type_name("NODE");
  add_labels(created, "--label", o.labels, "A label of the pool; may be repeated");
  add_wait_options(created, o.wait);
  created.footer("A pool that the disks hold already is taken over with everything in it.");

  auto& deleted = c.tool().add_command(delete_verb, "pool", "A pool, which must be empty", [&] {
    const std::string purge = pool_path("v1", o) + "/purge";
    return delete_or_purge(c, o.purge, "pool " + o.id, {pool_path("v0", o), purge + "?", purge});
  });
  add_id(deleted, "POOL", o.id, "Its name");
  add_purge_options(deleted, o.purge);

  auto& grow_verb = c.add_verb("grow", "Take in the room by which disks have grown");
  auto& grown = c.tool().add_command(grow_verb, "pool", "A pool", [&] {
    return c.done(c.client().put(pool_path("v1", o) + "/grow"),
                  fmt::format("pool {} has the room that its disks have", o.id));
  });
  add_id(grown, "POOL", o.id, "Its name");
}

}  // namespace holdfast::cli
