// holdfast cordon, uncordon, drain, label, delete node.
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/cluster/cluster.h"
#include "cli/cluster/selector.h"
#include "cli/cluster/tables.h"
#include "cli/cluster/volume_verbs.h"

namespace holdfast::cli {
namespace {

struct NodeOptions {
  std::string id;
  std::string label;
  bool overwrite = false;
  bool no_wait = false;
  bool replicas = false;
  WaitOptions wait{true, 24.0 * 3600};
  WaitOptions evacuated;
  PurgeOptions purge;
};

std::string path_of(const char* kind, const NodeOptions& o) {
  // Cordons of pools are ours alone.
  const bool node = kind == std::string_view("node");
  return fmt::format("/{}/{}s/{}", node ? "v0" : "v1", kind, url_encoded(o.id));
}

int cordon(Cluster& c, const char* kind, const NodeOptions& o) {
  return c.done(c.client().put(fmt::format("{}/cordon/{}", path_of(kind, o), url_encoded(o.label))),
                fmt::format("{} {} is cordoned ({})", kind, o.id, o.label));
}

int uncordon(Cluster& c, const char* kind, const NodeOptions& o) {
  const RestAnswer answer =
      c.client().del(fmt::format("{}/cordon/{}", path_of(kind, o), url_encoded(o.label)));
  if (!answer.ok()) return c.fail(answer.failure());
  std::string left = kind == std::string_view("node") ? cordon_labels(answer.body())
                                                      : joined(answer.body(), "spec/cordons", ", ");
  const std::string drains = drain_labels(answer.body());
  if (!drains.empty()) left += (left.empty() ? "" : ", ") + drains;
  return c.done(answer, left.empty()
                            ? fmt::format("{} {} is uncordoned", kind, o.id)
                            : fmt::format("{} {} stays cordoned by other labels: {}", kind, o.id, left));
}

Progress drain_progress(const RestAnswer& answer) {
  if (!answer.ok()) return failed(answer);
  const std::string word = cordon_word(answer.body());
  if (word == "Drained") return {true, "drained", {}, {}};
  if (word == "Draining") return {false, "draining", {}, {}};
  return {false, {}, {}, "it is no longer being drained: somebody has uncordoned it"};
}

// What still is there, as far as the drain takes it away: "2 (targets), 5 (replicas)". Empty: nothing, or not known.
std::string left_on_node(Cluster& c, const NodeOptions& o) {
  const RestAnswer impact = c.client().get(fmt::format("/v1/nodes/{}/purge", url_encoded(o.id)));
  if (!impact.ok()) return {};
  const std::size_t targets = at(impact.body(), "targets").size();
  const std::size_t replicas = o.replicas ? at(impact.body(), "replicas").size() : 0;
  if (targets + replicas == 0) return {};
  std::string left = fmt::format("{} (targets)", targets);
  if (o.replicas) left += fmt::format(", {} (replicas)", replicas);
  return left;
}

int drain(Cluster& c, const NodeOptions& o) {
  const std::string path = path_of("node", o);
  const std::string label = url_encoded(o.label);
  const RestAnswer answer =
      c.client().put(o.replicas ? fmt::format("/v1/nodes/{}/drain/{}?replicas=true", url_encoded(o.id), label)
                                : fmt::format("{}/drain/{}", path, label));
  if (!answer.ok() || o.no_wait) {
    return c.done(answer, fmt::format("node {} is being drained ({})", o.id, o.label));
  }
  const auto judge = [&](const RestAnswer& node) {
    Progress progress = drain_progress(node);
    if (!progress.text.empty() && !progress.done) {
      if (const std::string left = left_on_node(c, o); !left.empty())
        progress.text += ", still here: " + left;
    }
    return progress;
  };
  const int waited = wait_until(c, o.wait, "node " + o.id, judge, path);
  if (waited != exit_ok) return waited;
  // After a while a drain ends although targets cannot move.
  const std::string left = left_on_node(c, o);
  return c.done(c.client().get(path),
                left.empty()
                    ? fmt::format("node {} is drained", o.id)
                    : fmt::format("node {} is drained of what can move; still here: {}", o.id, left));
}

Progress evacuation_progress(const RestAnswer& replicas, const std::string& pool) {
  if (!replicas.ok()) return failed(replicas);
  std::size_t left = 0;
  for (const Tree& one : replicas.body()) left += text_or(one, "pool", "") == pool;
  return {left == 0, fmt::format("{} replica{} left", left, left == 1 ? "" : "s"), {}, {}};
}

// A pool is emptied of its replicas, until that is switched off.
int evacuate(Cluster& c, const NodeOptions& o, bool on) {
  const std::string path = path_of("pool", o) + "/evacuate";
  if (on && o.evacuated.wait) {
    const RestAnswer answer = c.client().put(path);
    if (!answer.ok()) return c.fail(answer.failure());
    const auto judge = [&o](const RestAnswer& replicas) { return evacuation_progress(replicas, o.id); };
    const int waited = wait_until(c, o.evacuated, "pool " + o.id, judge, "/v0/replicas");
    return waited != exit_ok ? waited : c.done(answer, fmt::format("pool {} is empty", o.id));
  }
  return c.done(on ? c.client().put(path) : c.client().del(path),
                fmt::format("pool {} {}", o.id, on ? "is being emptied" : "keeps what is in it"));
}

int label(Cluster& c, const NodeOptions& o, const char* kind) {
  const auto change = parse_label_change(o.label);
  if (!change.ok()) {
    c.out().error("usage", change.error().message());
    return exit_usage;
  }
  const LabelChange& l = change.value();
  const std::string base = fmt::format("/v0/{}s/{}/label/{}", kind, url_encoded(o.id), url_encoded(l.key));
  if (l.remove) {
    return c.done(c.client().del(base), fmt::format("{} {} has no label {} any more", kind, o.id, l.key));
  }
  return c.done(c.client().put(fmt::format("{}={}?overwrite={}", base, url_encoded(l.value), o.overwrite)),
                fmt::format("{} {} is labelled {}={}", kind, o.id, l.key, l.value));
}

void add_what(CLI::App& to, const char* kind, NodeOptions& o) {
  add_id(to, kind == std::string_view("node") ? "NODE" : "POOL", o.id, "Its name");
}

void add_drain(Cluster& c, NodeOptions& o) {
  auto& group = c.add_verb("drain", "Empty a node of targets, or of replicas, too; empty a pool");
  auto& node = c.tool().add_command(group, "node", "A storage node: its targets move elsewhere",
                                    [&] { return drain(c, o); });
  add_what(node, "node", o);
  add_id(node, "LABEL", o.label, "Why, or who: the same label ends it with uncordon");
  node.add_flag("--replicas", o.replicas, "Its replicas move elsewhere, too");
  node.add_flag("--no-wait", o.no_wait, "Return at once");
  add_duration(node, "--drain-timeout", o.wait.timeout_seconds,
               "How long to wait: 90s, 10m, 1h30m. Exit status 4 after that; the drain goes on")
      ->default_str("24h");
  auto& pool = c.tool().add_command(group, "pool", "A pool: its replicas move to others",
                                    [&] { return evacuate(c, o, true); });
  add_what(pool, "pool", o);
  add_wait_options(pool, o.evacuated);
  auto& undrain = c.add_verb("undrain", "End the draining of a pool; that of a node ends with uncordon");
  add_what(c.tool().add_command(undrain, "pool", "A pool", [&] { return evacuate(c, o, false); }), "pool", o);
}

void add_label(Cluster& c, NodeOptions& o) {
  auto& group = c.add_verb("label", "Label nodes and pools, for topology and selectors");
  for (const char* kind : {"node", "pool"}) {
    auto& one = c.tool().add_command(group, kind, std::string("A ") + kind,
                                     [&c, &o, kind] { return label(c, o, kind); });
    add_what(one, kind, o);
    one.add_option("LABEL", o.label, "key=value sets it, key- removes it")->required();
    one.add_flag("--overwrite", o.overwrite, "Also when the key has another value");
  }
}

}  // namespace

void add_node_verbs(Cluster& c, CLI::App& delete_verb) {
  auto& o = c.tool().keep<NodeOptions>();
  auto& cordons = c.add_verb("cordon", "Let a node or pool take nothing new");
  auto& uncordons = c.add_verb("uncordon", "End a cordon, or the drain of a node");
  for (const char* kind : {"node", "pool"}) {
    auto& one = c.tool().add_command(cordons, kind, std::string("A ") + kind,
                                     [&c, &o, kind] { return cordon(c, kind, o); });
    add_what(one, kind, o);
    add_id(one, "LABEL", o.label, "Why, or who: the same label ends it with uncordon");
    auto& other = c.tool().add_command(uncordons, kind, std::string("A ") + kind,
                                       [&c, &o, kind] { return uncordon(c, kind, o); });
    add_what(other, kind, o);
    add_id(other, "LABEL", o.label, "That of the cordon or drain");
  }
  add_drain(c, o);
  add_label(c, o);
  auto& deleted = c.tool().add_command(delete_verb, "node", "A node that is gone for good", [&] {
    const std::string path = "/v1/nodes/" + url_encoded(o.id);
    return delete_or_purge(c, o.purge, "node " + o.id, {path, path + "?purge=true&", path + "/purge"});
  });
  add_what(deleted, "node", o);
  add_purge_options(deleted, o.purge);
}

}  // namespace holdfast::cli
