// holdfast top
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <unistd.h>

#include "cli/cluster/cluster.h"
#include "cli/cluster/top.h"
#include "cli/tool/progress.h"

namespace holdfast::cli {
namespace {

constexpr unsigned volumes_page = 500;

struct TopOptions {
  double interval_seconds = 2;
  std::uint64_t readings = 0;  // 0: without end
  std::uint64_t most = 20;
  std::uint32_t metrics_port = 0;
};

NodeReading read_engine(const TopOptions& o, const Tree& node) {
  const std::string url =
      metrics_url(text_or(node, "state/grpcEndpoint", text(node, "spec/grpcEndpoint")), o.metrics_port);
  if (url.empty() || text(node, "state/status") != "Online") return {};
  RestOptions options;
  options.urls = {url};
  options.timeout_seconds = 2;
  options.anonymous = true;
  RestClient client(std::move(options));
  const RestAnswer answer = client.get_text("/metrics");
  if (!answer.ok()) return {};
  return read_node(parse_metrics(answer.body().get_ref<const std::string&>()), monotonic_seconds());
}

// The failure of the agent; an engine that does not answer is a node without numbers.
RestAnswer read_all(Cluster& c, const TopOptions& o, Reading& reading) {
  RestAnswer nodes = c.client().get("/v0/nodes");
  if (!nodes.ok()) return nodes;
  RestAnswer volumes = c.client().get_all("/v0/volumes", volumes_page);
  if (!volumes.ok()) return volumes;
  reading.nodes = nodes.body();
  reading.volumes = volumes.body();
  for (const Tree& node : reading.nodes) reading.engines[text(node, "id")] = read_engine(o, node);
  return Tree();
}

void show(Cluster& c, const TopOptions& o, const Reading& before, const Reading& now, bool redraw) {
  Output& out = c.out();
  if (out.format == Format::yaml && o.readings != 1) out.line("---");
  out.answer(top_tree(before, now), [&] {
    if (redraw) out.line("\x1b[H\x1b[2J");
    out.print(top_volumes(out, before, now, o.most), "no volume");
    out.line("");
    out.print(top_nodes(out, before, now), "no node has registered");
  });
}

int top(Cluster& c, const TopOptions& o) {
  const bool people = c.out().format == Format::table || c.out().format == Format::wide;
  const bool redraw = people && c.out().live() && ::isatty(STDOUT_FILENO) == 1 && o.readings != 1;
  Reading before;
  if (const RestAnswer first = read_all(c, o, before); !first.ok()) return c.fail(first.failure());
  for (std::uint64_t shown = 0; o.readings == 0 || shown < o.readings; ++shown) {
    sleep_seconds(o.interval_seconds);
    Reading now;
    if (const RestAnswer answer = read_all(c, o, now); !answer.ok()) {
      // The agent may come back; what was shown stays.
      c.fail(answer.failure());
      if (o.readings != 0) return exit_failed;
      continue;
    }
    show(c, o, before, now, redraw);
    before = std::move(now);
  }
  return exit_ok;
}

}  // namespace

void add_top_command(Cluster& c) {
  auto& o = c.tool().keep<TopOptions>();
  auto& command =
      c.add_command("top", "Live I/O of volumes and nodes, the busiest first", [&] { return top(c, o); });
  command.add_option("-i,--interval", o.interval_seconds, "Seconds between two readings")
      ->check(CLI::Range(0.1, 3600.0).description(""))
      ->type_name("SECONDS")
      ->capture_default_str();
  command.add_option("-n,--readings", o.readings, "End after so many; without end if absent")->type_name("N");
  command.add_option("--most", o.most, "How many volumes to show")->type_name("N")->capture_default_str();
  command
      .add_option("--metrics-port", o.metrics_port,
                  "Where engines answer /metrics; 9502, or as far from it as their gRPC port is from 10124")
      ->check(CLI::Range(1, 65535).description(""))
      ->type_name("PORT");
  command.footer("It reads the /metrics of every engine, which must be reachable from here.");
}

}  // namespace holdfast::cli
