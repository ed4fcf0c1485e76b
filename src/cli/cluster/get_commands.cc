// holdfast get ...
#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "cli/cluster/cluster.h"
#include "cli/cluster/selector.h"
#include "cli/cluster/tables.h"

namespace holdfast::cli {
namespace {

constexpr unsigned volumes_page = 200;
constexpr unsigned snapshots_page = 100;

struct GetOptions {
  std::string id;
  std::string source;
  std::string volume;
  std::string snapshot;
  std::string node;
  std::string selector;
  bool show_labels = false;
  bool all = false;
};

// A single thing as a list of it, for tables.
Tree alone(const Tree& thing) {
  Tree list = Tree::array();
  list.push_back(thing);
  return list;
}

// Only API v1 has what the wide tables show besides.
std::string versioned(Cluster& c, const char* path) {
  return std::string(c.out().format == Format::wide ? "/v1/" : "/v0/") + path;
}

template <class Predicate>
Tree filtered(const Tree& list, const Predicate& wanted) {
  Tree kept = Tree::array();
  for (const Tree& element : list) {
    if (wanted(element)) kept.push_back(element);
  }
  return kept;
}

int get_volumes(Cluster& c, const GetOptions& o) {
  RestAnswer answer = c.client().get_all(versioned(c, "volumes"), volumes_page);
  if (answer.ok() && !o.source.empty()) {
    const bool of_snapshot = o.source == "snapshot";
    answer =
        filtered(answer.body(), [&](const Tree& v) { return has(v, "spec/content_source") == of_snapshot; });
  }
  return c.show(answer, [&](const Tree& list) { c.out().print(volumes_table(c.out(), list), "no volume"); });
}

int get_volume(Cluster& c, const GetOptions& o) {
  return c.show(c.client().get(versioned(c, "volumes/") + url_encoded(o.id)),
                [&](const Tree& v) { c.out().print(volumes_table(c.out(), alone(v))); });
}

int get_topologies(Cluster& c) {
  return c.show(c.client().get_all(versioned(c, "volumes"), volumes_page), [&](const Tree& list) {
    c.out().print(replica_topology_table(c.out(), list, true), "no replica");
  });
}

int get_topology(Cluster& c, const GetOptions& o) {
  return c.show(c.client().get(versioned(c, "volumes/") + url_encoded(o.id)), [&](const Tree& v) {
    c.out().print(replica_topology_table(c.out(), alone(v), false), "no replica");
  });
}

int get_rebuild_history(Cluster& c, const GetOptions& o) {
  return c.show(c.client().get("/v0/volumes/" + url_encoded(o.id) + "/rebuild-history"),
                [&](const Tree& history) {
                  c.out().print(rebuild_history_table(c.out(), history),
                                "no rebuild has ended since the volume was published");
                });
}

RestAnswer snapshots(Cluster& c, const GetOptions& o) {
  std::string path = "/v0/volumes/snapshots";
  const char* joint = "?";
  if (!o.volume.empty()) path += std::exchange(joint, "&") + ("volume_id=" + url_encoded(o.volume));
  if (!o.snapshot.empty()) path += std::exchange(joint, "&") + ("snapshot_id=" + url_encoded(o.snapshot));
  return c.client().get_all(path, snapshots_page);
}

int get_snapshots(Cluster& c, const GetOptions& o) {
  return c.show(snapshots(c, o),
                [&](const Tree& list) { c.out().print(snapshots_table(c.out(), list), "no snapshot"); });
}

int get_snapshot_topology(Cluster& c, const GetOptions& o) {
  return c.show(snapshots(c, o), [&](const Tree& list) {
    c.out().print(snapshot_topology_table(c.out(), list), "no snapshot");
  });
}

// Only those whose labels the selector takes.
RestAnswer selected(RestAnswer answer, const std::string& text) {
  if (!answer.ok() || text.empty()) return answer;
  const Selector selector = Selector::parse(text).value();  // checked with the command line
  return filtered(answer.body(), [&](const Tree& thing) { return selector.takes(at(thing, "spec/labels")); });
}

// API v1 has no list of a node's pools; v0 knows whether there is such a node.
RestAnswer pools_of_node(Cluster& c, const std::string& node) {
  RestAnswer answer = c.client().get("/v0/nodes/" + url_encoded(node) + "/pools");
  if (!answer.ok() || c.out().format != Format::wide) return answer;
  answer = c.client().get("/v1/pools");
  if (!answer.ok()) return answer;
  return filtered(answer.body(), [&](const Tree& pool) {
    return text(pool, has(pool, "spec") ? "spec/node" : "state/node") == node;
  });
}

int get_pools(Cluster& c, const GetOptions& o) {
  std::string path = versioned(c, "pools");
  if (!o.volume.empty()) path += "?volume_id=" + url_encoded(o.volume);
  const RestAnswer pools = o.node.empty() ? c.client().get(path) : pools_of_node(c, o.node);
  return c.show(selected(pools, o.selector), [&](const Tree& list) {
    c.out().print(pools_table(c.out(), list, o.show_labels), "no pool");
  });
}

int get_pool(Cluster& c, const GetOptions& o) {
  return c.show(c.client().get(versioned(c, "pools/") + url_encoded(o.id)),
                [&](const Tree& p) { c.out().print(pools_table(c.out(), alone(p), o.show_labels)); });
}

int get_nodes(Cluster& c, const GetOptions& o) {
  return c.show(selected(c.client().get("/v0/nodes"), o.selector), [&](const Tree& list) {
    c.out().print(nodes_table(c.out(), list, o.show_labels), "no node has registered");
  });
}

int get_node(Cluster& c, const GetOptions& o) {
  return c.show(c.client().get("/v0/nodes/" + url_encoded(o.id)),
                [&](const Tree& n) { c.out().print(nodes_table(c.out(), alone(n), o.show_labels)); });
}

int get_block_devices(Cluster& c, const GetOptions& o) {
  const std::string path =
      fmt::format("/v0/nodes/{}/block_devices?all={}", url_encoded(o.id), o.all ? "true" : "false");
  return c.show(c.client().get(path), [&](const Tree& list) {
    c.out().print(block_devices_table(c.out(), list, o.all), "no block device that a pool could take");
  });
}

using NodeTable = Table (*)(const Tree&);

// Nodes whose state is one that `wanted` takes, or the one named.
int get_node_states(Cluster& c, const GetOptions& o, NodeTable table, bool (*wanted)(const Tree&),
                    const char* nothing) {
  if (!o.id.empty()) {
    return c.show(c.client().get("/v0/nodes/" + url_encoded(o.id)),
                  [&](const Tree& n) { c.out().print(table(alone(n))); });
  }
  RestAnswer answer = c.client().get("/v0/nodes");
  if (answer.ok()) answer = filtered(answer.body(), wanted);
  return c.show(answer, [&](const Tree& list) { c.out().print(table(list), nothing); });
}

bool is_cordoned(const Tree& node) { return !cordon_word(node).empty(); }
bool is_draining(const Tree& node) { return is_cordoned(node) && cordon_word(node) != "Cordoned"; }

std::string check_selector(std::string& text) {
  const auto parsed = Selector::parse(text);
  return parsed.ok() ? std::string() : parsed.error().message();
}

void add_label_options(CLI::App& to, GetOptions& o, bool select) {
  to.add_flag("--show-labels", o.show_labels, "A column with the labels");
  if (!select) return;
  to.add_option("-l,--selector", o.selector, "Only those with these labels: a=b,c!=d,e,!f")
      ->check(CLI::Validator(check_selector, "", "selector"))
      ->type_name("LABELS");
}

void add_volume_gets(Cluster& c, CLI::App& get, GetOptions& o) {
  Tool& tool = c.tool();
  auto& volumes = tool.add_command(get, "volumes", "All volumes", [&] { return get_volumes(c, o); });
  volumes.add_option("--source", o.source, "Only those made of a snapshot, or of none")
      ->check(CLI::IsMember({"none", "snapshot"}).description(""))
      ->type_name("none|snapshot");
  add_id(tool.add_command(get, "volume", "One volume", [&] { return get_volume(c, o); }), "VOLUME", o.id,
         "Its UUID");
  tool.add_command(get, "volume-replica-topologies", "Where the replicas of all volumes are, and how they do",
                   [&] { return get_topologies(c); });
  add_id(tool.add_command(get, "volume-replica-topology", "The same of one volume",
                          [&] { return get_topology(c, o); }),
         "VOLUME", o.id, "Its UUID");
  add_id(tool.add_command(get, "rebuild-history", "Rebuilds of a volume that have ended",
                          [&] { return get_rebuild_history(c, o); }),
         "VOLUME", o.id, "Its UUID");
  for (const bool topology : {false, true}) {
    auto& list = topology
                     ? tool.add_command(get, "volume-snapshot-topology", "Snapshots of the single replicas",
                                        [&] { return get_snapshot_topology(c, o); })
                     : tool.add_command(get, "volume-snapshots", "Snapshots of volumes",
                                        [&] { return get_snapshots(c, o); });
    list.add_option("--volume", o.volume, "Only those of this volume")->type_name("VOLUME");
    list.add_option("--snapshot", o.snapshot, "Only this one")->type_name("SNAPSHOT");
  }
}

void add_pool_gets(Cluster& c, CLI::App& get, GetOptions& o) {
  Tool& tool = c.tool();
  auto& pools = tool.add_command(get, "pools", "All pools", [&] { return get_pools(c, o); });
  auto* node = pools.add_option("--node", o.node, "Only those of this node")->type_name("NODE");
  pools.add_option("--volume", o.volume, "Only those with replicas of this volume")
      ->type_name("VOLUME")
      ->excludes(node);
  add_label_options(pools, o, true);
  auto& pool = tool.add_command(get, "pool", "One pool", [&] { return get_pool(c, o); });
  add_id(pool, "POOL", o.id, "Its name");
  add_label_options(pool, o, false);
}

void add_node_gets(Cluster& c, CLI::App& get, GetOptions& o) {
  Tool& tool = c.tool();
  auto& nodes = tool.add_command(get, "nodes", "All storage nodes", [&] { return get_nodes(c, o); });
  add_label_options(nodes, o, true);
  auto& node = tool.add_command(get, "node", "One storage node", [&] { return get_node(c, o); });
  add_id(node, "NODE", o.id, "Its name");
  add_label_options(node, o, false);
  auto& devices =
      tool.add_command(get, "block-devices", "Disks and partitions of a node that a pool could take",
                       [&] { return get_block_devices(c, o); });
  add_id(devices, "NODE", o.id, "Its name");
  devices.add_flag("--all", o.all, "Those in use, too, and what is on them");

  auto& cordon = tool.add_group(get, "cordon", "Which nodes take nothing new");
  auto& drain = tool.add_group(get, "drain", "Which nodes are being emptied");
  for (const char* name : {"nodes", "node"}) {
    const bool one = name == std::string_view("node");
    auto& cordoned = tool.add_command(cordon, name, one ? "One node" : "All cordoned nodes", [&c, &o] {
      return get_node_states(c, o, cordons_table, is_cordoned, "no node is cordoned");
    });
    auto& drained = tool.add_command(
        drain, name, one ? "One node" : "All nodes being drained, or drained",
        [&c, &o] { return get_node_states(c, o, drains_table, is_draining, "no node is being drained"); });
    if (!one) continue;
    add_id(cordoned, "NODE", o.id, "Its name");
    add_id(drained, "NODE", o.id, "Its name");
  }
}

}  // namespace

void add_get_commands(Cluster& c) {
  auto& o = c.tool().keep<GetOptions>();
  auto& get = c.add_verb("get", "Show volumes, pools, nodes, snapshots and what they are made of");
  add_volume_gets(c, get, o);
  add_pool_gets(c, get, o);
  add_node_gets(c, get, o);
}

}  // namespace holdfast::cli
