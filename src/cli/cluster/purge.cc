// What deleting for good would cost, and doing it.
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/cluster/cluster.h"

namespace holdfast::cli {
namespace {

Table impact_table(const Tree& impact) {
  Table table{{"WHAT"}, {"COUNT", Align::right}, {"IDS"}};
  static constexpr std::pair<const char*, const char*> kinds[] = {
      {"pools", "pools that go"},
      {"replicas", "replicas that go"},
      {"targets", "volumes whose target is there"},
      {"degraded_volumes", "volumes that keep a copy elsewhere"},
      {"lost_volumes", "VOLUMES THAT ARE LOST"},
      {"lost_snapshots", "SNAPSHOTS THAT ARE LOST"},
  };
  for (const auto& [member, title] : kinds) {
    table.add_row({title, std::to_string(at(impact, member).size()), joined(impact, member, ", ")});
  }
  return table;
}

}  // namespace

void add_purge_options(CLI::App& to, PurgeOptions& o) {
  to.add_flag("--purge", o.purge, "With everything in it, also when it cannot be reached any more");
  to.add_flag("--show-impact", o.show_impact, "Only show what --purge would take away");
  to.add_flag("--accept-volume-loss", o.accept_volume_loss, "--purge also the last good copy of a volume");
  to.add_flag("--accept-snapshot-loss", o.accept_snapshot_loss, "--purge also the last copy of a snapshot");
}

int delete_or_purge(Cluster& c, const PurgeOptions& o, const std::string& what, const DeletePaths& paths) {
  if (o.show_impact) {
    return c.show(c.client().get(paths.impact),
                  [&](const Tree& impact) { c.out().print(impact_table(impact)); });
  }
  if (!o.purge) return c.done(c.client().del(paths.plain), what + " is deleted");
  return c.done(c.client().del(fmt::format("{}accept_volume_loss={}&accept_snapshot_loss={}", paths.purge,
                                           o.accept_volume_loss, o.accept_snapshot_loss)),
                what + " is purged");
}

}  // namespace holdfast::cli
