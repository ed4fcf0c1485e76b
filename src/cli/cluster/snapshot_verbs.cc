// holdfast snapshot create|delete|restore.
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/cluster/cluster.h"
#include "cli/cluster/volume_verbs.h"
#include "cli/tool/random.h"

namespace holdfast::cli {
namespace {

struct SnapshotOptions {
  std::string volume;
  std::string snapshot;
  VolumeWishes wishes;
  WaitOptions deleted;  // until the snapshot is gone
  WaitOptions wait;     // for the volume that is made
};

int create(Cluster& c, const SnapshotOptions& o) {
  const std::string id = o.snapshot.empty() ? random_uuid() : o.snapshot;
  return c.done(
      c.client().put(fmt::format("/v0/volumes/{}/snapshots/{}", url_encoded(o.volume), url_encoded(id))), id);
}

std::string snapshot_path(const std::string& id) { return "/v0/volumes/snapshots/" + url_encoded(id); }

// Copies that are left, of attempts that failed, too.
Progress copies_gone(const RestAnswer& answer) {
  if (!answer.ok()) return gone(answer);
  std::uint64_t left = 0;
  for (const Tree& copies : at(answer.body(), "definition/metadata/transactions")) left += copies.size();
  return {false, fmt::format("being deleted, {} cop{} left", left, left == 1 ? "y" : "ies"), {}, {}};
}

int remove(Cluster& c, const SnapshotOptions& o) {
  const RestAnswer answer = c.client().del(snapshot_path(o.snapshot));
  if (answer.ok() && o.deleted.wait) {
    const int waited =
        wait_until(c, o.deleted, "Snapshot " + o.snapshot, copies_gone, snapshot_path(o.snapshot));
    if (waited != exit_ok) return waited;
  }
  return c.done(answer, fmt::format("Snapshot {} is deleted", o.snapshot));
}

int restore(Cluster& c, SnapshotOptions& o) {
  const std::string id = o.wishes.id.empty() ? random_uuid() : o.wishes.id;
  if (o.wishes.size == 0 || o.wishes.replicas == 0) {
    const RestAnswer snapshot = c.client().get(snapshot_path(o.snapshot));
    if (!snapshot.ok()) return c.fail(snapshot.failure());
    const Tree& metadata = at(snapshot.body(), "definition/metadata");
    inherit(o.wishes, Tree{{"size", number(metadata, "spec_size")},
                           {"num_replicas", number(metadata, "num_snapshot_replicas")}});
  }
  o.wishes.thin = true;  // a volume of a snapshot shares its blocks
  const RestAnswer answer =
      c.client().put(fmt::format("/v0/snapshots/{}/volumes/{}", url_encoded(o.snapshot), url_encoded(id)),
                     volume_body(o.wishes));
  return made_volume(c, o.wait, answer, id);
}

}  // namespace

void add_snapshot_verbs(Cluster& c) {
  auto& o = c.tool().keep<SnapshotOptions>();
  Tool& tool = c.tool();
  auto& verb = c.add_verb(
      "snapshot", "Take, delete and restore snapshots of volumes ('get volume-snapshots' lists them)");
  auto& created = tool.add_command(verb, "create", "Keep what a volume holds now, also while it is in use",
                                   [&] { return create(c, o); });
  add_id(created, "VOLUME", o.volume, "UUID of the volume");
  created.add_option("SNAPSHOT", o.snapshot, "UUID of the snapshot; one is made up if absent");
  created.footer("Prints the UUID of the snapshot.");
  auto& deleted = tool.add_command(verb, "delete", "Delete a snapshot; volumes made of it stay",
                                   [&] { return remove(c, o); });
  add_id(deleted, "SNAPSHOT", o.snapshot, "UUID of the snapshot");
  add_wait_options(deleted, o.deleted);
  auto& restored = tool.add_command(verb, "restore", "Make a new volume with the content of a snapshot",
                                    [&] { return restore(c, o); });
  add_id(restored, "SNAPSHOT", o.snapshot, "UUID of the snapshot");
  restored.add_option("VOLUME", o.wishes.id, "UUID of the new volume; one is made up if absent");
  add_size(restored, "-s,--size", o.wishes.size, "That of the snapshot if absent");
  add_volume_wishes(restored, o.wishes, false);
  add_wait_options(restored, o.wait);
  restored.footer("Prints the UUID of the new volume.");
}

}  // namespace holdfast::cli
