// holdfast adopt: the specs of a cluster anew, after its store was lost.
#include <algorithm>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/cluster/cluster.h"

namespace holdfast::cli {
namespace {

struct AdoptOptions {
  bool dry_run = false;
  bool skip_conflicts = false;
  std::vector<std::string> take;
};

Table findings_table(const Tree& report) {
  Table table{{"KIND"}, {"ID"}, {"VERDICT"}, {"WHY"}, {"STALE REPLICAS"}};
  for (const Tree& f : at(report, "findings"))
    table.add_row(
        {text(f, "kind"), text(f, "id"), text(f, "verdict"), text(f, "why"), joined(f, "stale", ", ")});
  return table;
}

int adopt(Cluster& c, const AdoptOptions& o) {
  Tree body{{"dry_run", o.dry_run}, {"skip_conflicts", o.skip_conflicts}};
  if (!o.take.empty()) body["take"] = o.take;
  const RestAnswer answer = c.client().put("/v1/adopt", body);
  const int shown = c.show(answer, [&](const Tree& report) { c.out().print(findings_table(report)); });
  if (!answer.ok()) return shown;
  const Tree& findings = at(answer.body(), "findings");
  const auto left = std::count_if(findings.begin(), findings.end(), [](const Tree& f) {
    const std::string verdict = text(f, "verdict");
    return verdict == "skipped" || verdict == "conflict";
  });
  if (o.dry_run) c.out().note("nothing was written: this is what adopt would do");
  if (left != 0)
    c.out().note(fmt::format("{} of these need you: see WHY, and run it again afterwards", left));
  return shown;
}

}  // namespace

void add_adopt_command(Cluster& c) {
  auto& o = c.tool().keep<AdoptOptions>();
  auto& command =
      c.add_command("adopt", "After the store was lost: bring the cluster back from what its pools hold",
                    [&] { return adopt(c, o); });
  command.add_flag("--dry-run", o.dry_run, "Only show what would be adopted");
  command.add_flag("--skip-conflicts", o.skip_conflicts,
                   "Adopt the rest when the store has something else under the same id");
  command
      .add_option("--take", o.take,
                  "A replica that is the newest of its volume although nothing shows it; may be repeated")
      ->type_name("REPLICA");
  command.footer(
      "Have all engines running, look at --dry-run first. It may be repeated: what the store has is left as "
      "it is.");
}

}  // namespace holdfast::cli
