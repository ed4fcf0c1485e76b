// holdfast create|delete|scale|set|resize|clone|publish|unpublish volume, move replica.
#include "cli/cluster/volume_verbs.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/cluster/cluster.h"
#include "cli/cluster/selector.h"
#include "cli/cluster/tables.h"
#include "cli/tool/random.h"

namespace holdfast::cli {
namespace {

struct VolumeOptions {
  VolumeWishes wishes;
  std::string id;
  std::uint64_t size = 0;
  std::uint64_t count = 0;
  std::string property;
  std::string node;
  std::string pool;
  std::string replica;
  std::string frontend;
  bool republish = false;
  bool force = false;
  WaitOptions wait;
};

std::string volume_path(const std::string& id) { return "/v0/volumes/" + url_encoded(id); }

int create(Cluster& c, VolumeOptions& o) {
  const std::string id = o.wishes.id.empty() ? random_uuid() : o.wishes.id;
  return made_volume(c, o.wait, c.client().put(volume_path(id), volume_body(o.wishes)), id);
}

int remove(Cluster& c, const VolumeOptions& o) {
  // The API takes what is in use away from its hosts.
  if (const RestAnswer volume = c.client().get(volume_path(o.id)); volume.ok()) {
    const std::string node = text(volume.body(), "spec/target/node");
    if (!node.empty()) {
      return c.fail({412, "FailedPrecondition", fmt::format("volume {} is published on node {}", o.id, node),
                     "detach it from its hosts, then: holdfast unpublish volume ID"});
    }
  }
  const RestAnswer answer = c.client().del(volume_path(o.id));
  if (answer.ok() && o.wait.wait) {
    const int waited = wait_until(c, o.wait, "Volume " + o.id, gone, volume_path(o.id));
    if (waited != exit_ok) return waited;
  }
  return c.done(answer, fmt::format("Volume {} is deleted", o.id));
}

// What a request answered, after waiting for the volume to become what it asked for.
int finish(Cluster& c, const VolumeOptions& o, const RestAnswer& answer, const std::string& text,
           const std::function<Progress(const RestAnswer&)>& judge) {
  if (!answer.ok() || !o.wait.wait) return c.done(answer, text);
  const int waited = wait_until(c, o.wait, "Volume " + o.id, judge, volume_path(o.id));
  return waited == exit_ok ? c.done(c.client().get(volume_path(o.id)), text) : waited;
}

int scale(Cluster& c, const VolumeOptions& o) {
  const RestAnswer answer = c.client().put(fmt::format("{}/replica_count/{}", volume_path(o.id), o.count));
  return finish(c, o, answer,
                fmt::format("Volume {} is scaled to {} replica{}", o.id, o.count, o.count == 1 ? "" : "s"),
                volume_healthy);
}

int set(Cluster& c, const VolumeOptions& o) {
  const Tree body{{"max_snapshots", o.count}};
  return c.done(c.client().put(volume_path(o.id) + "/property", body),
                fmt::format("Volume {}: {} is {}", o.id, o.property, o.count));
}

int resize(Cluster& c, const VolumeOptions& o) {
  const RestAnswer answer = c.client().put(volume_path(o.id) + "/size", Tree{{"size", o.size}});
  return finish(c, o, answer, fmt::format("Volume {} has {}", o.id, c.out().size(o.size)),
                [&o](const RestAnswer& volume) -> Progress {
                  if (!volume.ok()) return failed(volume);
                  const bool grown = number(volume.body(), "state/size") >= o.size;
                  return {grown, grown ? "has grown" : "growing", {}, {}};
                });
}

int clone(Cluster& c, VolumeOptions& o) {
  const std::string id = o.wishes.id.empty() ? random_uuid() : o.wishes.id;
  if (const RestAnswer source = c.client().get(volume_path(o.id)); !source.ok()) {
    return c.fail(source.failure());
  } else {
    inherit(o.wishes, at(source.body(), "spec"));
  }
  const RestAnswer answer = c.client().put(
      fmt::format("/v1/volumes/{}/clones/{}", url_encoded(o.id), url_encoded(id)), volume_body(o.wishes));
  return made_volume(c, o.wait, answer, id);
}

int move(Cluster& c, const VolumeOptions& o) {
  Tree body = Tree::object();
  if (!o.pool.empty()) body["pool"] = o.pool;
  const RestAnswer answer = c.client().put(
      fmt::format("/v1/volumes/{}/replicas/{}/move", url_encoded(o.id), url_encoded(o.replica)), body);
  return finish(c, o, answer, fmt::format("Replica {} of volume {} moves", o.replica, o.id),
                [&o](const RestAnswer& volume) -> Progress {
                  if (!volume.ok()) return failed(volume);
                  Progress now = volume_healthy(volume);
                  const bool there = at(volume.body(), "state/replica_topology").contains(o.replica);
                  if (there) now = {false, "the old replica is still there; " + now.text, now.percent, {}};
                  return now;
                });
}

int publish(Cluster& c, const VolumeOptions& o) {
  Tree body{{"publish_context", Tree::object()}, {"protocol", "nvmf"}};
  if (!o.node.empty()) body["node"] = o.node;
  if (!o.frontend.empty()) body["frontend_node"] = o.frontend;
  if (o.republish) body["republish"] = true;
  // Where it can be attached: what the next command needs.
  return c.show(c.client().put(volume_path(o.id) + "/target", body), [&](const Tree& volume) {
    c.out().line(text_or(volume, "state/target/deviceUri", "published, without an address yet"));
  });
}

int unpublish(Cluster& c, const VolumeOptions& o) {
  return c.done(c.client().del(fmt::format("{}/target?force={}", volume_path(o.id), o.force)),
                fmt::format("Volume {} is unpublished", o.id));
}

CLI::App& add_on_volume(Cluster& c, CLI::App& verb, VolumeOptions& o, std::function<int()> action) {
  auto& volume = c.tool().add_command(verb, "volume", "A volume", std::move(action));
  add_id(volume, "VOLUME", o.id, "Its UUID");
  return volume;
}

void add_scale_set_resize(Cluster& c, VolumeOptions& o) {
  auto& scale_verb = c.add_verb("scale", "Change how many replicas a volume has");
  auto& scaled = add_on_volume(c, scale_verb, o, [&] { return scale(c, o); });
  scaled.add_option("REPLICAS", o.count, "How many it shall have")
      ->required()
      ->check(CLI::Range(1, 255).description(""));
  add_wait_options(scaled, o.wait);
  auto& set_verb = c.add_verb("set", "Change a property of a volume");
  auto& set_one = add_on_volume(c, set_verb, o, [&] { return set(c, o); });
  set_one.add_option("PROPERTY", o.property, "max-snapshots: how many snapshots it may have")
      ->required()
      ->check(CLI::IsMember({"max-snapshots"}).description(""));
  set_one.add_option("VALUE", o.count, "What it shall be")
      ->required()
      ->check(CLI::Range(0u, 0xFFFFFFFFu).description(""));
  auto& resize_verb = c.add_verb("resize", "Let a volume grow, also while it is in use");
  auto& resized = add_on_volume(c, resize_verb, o, [&] { return resize(c, o); });
  add_size(resized, "SIZE", o.size, "What it shall have")->required();
  add_wait_options(resized, o.wait);
}

void add_publish(Cluster& c, VolumeOptions& o) {
  auto& publish_verb = c.add_verb("publish", "Make a volume reachable for hosts");
  auto& published = add_on_volume(c, publish_verb, o, [&] { return publish(c, o); });
  published.add_option("--node", o.node, "Where the target runs; the scheduler chooses if absent")
      ->type_name("NODE");
  published.add_option("--frontend-node", o.frontend, "The only host that may connect")
      ->type_name("APP-NODE");
  published.add_flag("--republish", o.republish, "Replace a target that was lost");
  published.footer("Prints the address for 'holdfast attach'.");
  auto& unpublish_verb = c.add_verb("unpublish", "End that hosts can reach a volume");
  add_on_volume(c, unpublish_verb, o, [&] {
    return unpublish(c, o);
  }).add_flag("--force", o.force, "Also when the target's node does not answer");
}

}  // namespace

void add_volume_wishes(CLI::App& to, VolumeWishes& w, bool sized) {
  if (sized) add_size(to, "-s,--size", w.size, "How much it holds")->required();
  to.add_option("-n,--replicas", w.replicas, "On how many nodes it is kept; default 1, or that of the source")
      ->check(CLI::Range(1, 255).description(""))
      ->type_name("N");
  to.add_flag("--thin", w.thin, "Take room when it is written, not at once");
  add_labels(to, "--label", w.labels, "A label of the volume; may be repeated");
  to.add_option("--node", w.nodes, "Only on these nodes; may be repeated")
      ->type_name("NODE")
      ->allow_extra_args(false);
  add_labels(to, "--node-label", w.node_labels, "Only on nodes with this label");
  to.add_option("--spread", w.node_spread, "No two replicas on nodes with the same value of this label")
      ->type_name("KEY")
      ->allow_extra_args(false);
  add_labels(to, "--pool-label", w.pool_labels, "Only in pools with this label");
  to.add_option("--group", w.group, "Keep it apart from the other volumes of this affinity group")
      ->type_name("NAME");
  to.add_option("--max-snapshots", w.max_snapshots, "How many snapshots it may have")->type_name("N");
  to.add_flag("--no-self-heal", w.no_self_heal, "Do not replace replicas that are lost");
}

Tree volume_body(const VolumeWishes& w) {
  Tree body{{"policy", {{"self_heal", !w.no_self_heal}}},
            {"replicas", w.replicas == 0 ? 1 : w.replicas},
            {"size", w.size},
            {"thin", w.thin}};
  Tree topology = Tree::object();
  Tree on_nodes = Tree::object();
  if (!w.nodes.empty())
    on_nodes["explicit"] = {{"allowed_nodes", w.nodes}, {"preferred_nodes", Tree::array()}};
  if (!w.node_labels.empty() || !w.node_spread.empty()) {
    Tree exclusion = Tree::object();
    for (const std::string& key : w.node_spread) exclusion[key] = "";
    on_nodes["labelled"] = {
        {"exclusion", exclusion}, {"inclusion", label_map(w.node_labels)}, {"affinitykey", Tree::array()}};
  }
  if (!on_nodes.empty()) topology["node_topology"] = on_nodes;
  if (!w.pool_labels.empty()) {
    topology["pool_topology"] = {{"labelled",
                                  {{"exclusion", Tree::object()},
                                   {"inclusion", label_map(w.pool_labels)},
                                   {"affinitykey", Tree::array()}}}};
  }
  if (!topology.empty()) body["topology"] = topology;
  if (!w.labels.empty()) body["labels"] = label_map(w.labels);
  if (!w.group.empty()) body["affinity_group"] = {{"id", w.group}};
  if (w.max_snapshots) body["max_snapshots"] = *w.max_snapshots;
  return body;
}

void inherit(VolumeWishes& wishes, const Tree& spec) {
  if (wishes.size == 0) wishes.size = number(spec, "size");
  if (wishes.replicas == 0) wishes.replicas = static_cast<std::uint32_t>(number(spec, "num_replicas"));
}

Progress failed(const RestAnswer& answer) {
  return {false, {}, {}, answer.failure().kind + ": " + answer.failure().text};
}

int made_volume(Cluster& c, const WaitOptions& wait, const RestAnswer& answer, const std::string& id) {
  if (answer.ok() && wait.wait) {
    const int waited = wait_until(c, wait, "Volume " + id, volume_healthy, volume_path(id));
    if (waited != exit_ok) return waited;
  }
  return c.done(answer, id);
}

Progress gone(const RestAnswer& answer) {
  if (answer.ok()) return {false, "being deleted", {}, {}};
  if (answer.failure().kind == "NotFound") return {true, "gone", {}, {}};
  return failed(answer);
}

Progress volume_healthy(const RestAnswer& answer) {
  if (!answer.ok()) return failed(answer);
  const Tree& volume = answer.body();
  const std::uint64_t wanted = number(volume, "spec/num_replicas");
  std::uint64_t healthy = 0;
  std::uint64_t present = 0;
  std::uint64_t sum = 0;
  for (const Tree& replica : at(volume, "state/replica_topology")) {
    ++present;
    const bool child = has(replica, "child-status");
    const bool good = text(replica, child ? "child-status" : "state") == "Online";
    healthy += good ? 1 : 0;
    sum += good ? 100 : std::min<std::uint64_t>(number(replica, "rebuild-progress"), 100);
  }
  const std::string status = text_or(volume, "state/status", "Unknown");
  Progress now{healthy == wanted && present == wanted && status == "Online",
               fmt::format("{}, {} of {} replicas in sync", status, healthy, wanted),
               {},
               {}};
  if (present > wanted) now.text += fmt::format(", {} to be removed", present - wanted);
  if (!now.done && wanted > 0) now.percent = std::min<std::uint64_t>(sum / std::max(wanted, present), 99);
  return now;
}

void add_volume_verbs(Cluster& c, CLI::App& create_verb, CLI::App& delete_verb) {
  auto& o = c.tool().keep<VolumeOptions>();
  auto& created = c.tool().add_command(create_verb, "volume", "A volume", [&] { return create(c, o); });
  created.add_option("VOLUME", o.wishes.id, "Its UUID; one is made up if absent");
  add_volume_wishes(created, o.wishes, true);
  add_wait_options(created, o.wait);
  created.footer("Prints the UUID.");
  add_wait_options(add_on_volume(c, delete_verb, o, [&] { return remove(c, o); }), o.wait);
  add_scale_set_resize(c, o);
  add_publish(c, o);
  auto& clone_verb = c.add_verb("clone", "Make a new volume with the content that one has now");
  auto& cloned = add_on_volume(c, clone_verb, o, [&] { return clone(c, o); });
  cloned.add_option("NEW", o.wishes.id, "UUID of the new volume; one is made up if absent");
  add_volume_wishes(cloned, o.wishes, false);
  add_wait_options(cloned, o.wait);
  cloned.footer("Prints the UUID of the new volume.");
  auto& move_verb = c.add_verb("move", "Put a replica elsewhere, while the volume is in use");
  auto& moved =
      c.tool().add_command(move_verb, "replica", "A replica of a volume", [&] { return move(c, o); });
  add_id(moved, "VOLUME", o.id, "UUID of the volume");
  add_id(moved, "REPLICA", o.replica, "UUID of the replica, as 'get volume-replica-topology' shows it");
  moved.add_option("--pool", o.pool, "Where to; the scheduler chooses if absent")->type_name("POOL");
  add_wait_options(moved, o.wait);
}

}  // namespace holdfast::cli
