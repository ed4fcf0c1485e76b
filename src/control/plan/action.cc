#include "control/plan/action.h"

#include <array>

#include <fmt/format.h>

namespace holdfast::control {
namespace {

constexpr std::array names = {
    "import_pool",     "destroy_pool",   "forget_pool",   "create_replica",  "destroy_replica",
    "forget_replica",  "disown_replica", "share_replica", "grow_replica",    "record_size",
    "create_nexus",    "destroy_nexus",  "forget_nexus",  "share_nexus",     "grow_nexus",
    "add_child",       "remove_child",   "online_child",  "add_replica",     "replace_replica",
    "release_replica", "start_move",     "finish_move",   "drop_move",       "abandon_volume",
    "settle_volume",   "release_volume", "forget_volume", "move_target",     "start_repair",
    "end_repair",      "fill_replica",   "end_fill",      "destroy_part",    "forget_part",
    "plan_copy",       "note_copy",      "settle_copy",   "forget_snapshot", "end_drain",
    "reopen_drain",    "write_record",
};
static_assert(names.size() == static_cast<std::size_t>(Do::write_record) + 1);

}  // namespace

std::string_view name(Do what) noexcept { return names[static_cast<std::size_t>(what)]; }

std::string to_string(const Action& a) {
  std::string text(name(a.what));
  const auto add = [&text](const char* field, const std::string& value) {
    if (!value.empty()) text += fmt::format(" {}={}", field, value);
  };
  const auto add_id = [&](const char* field, const Uuid& id) {
    if (!id.is_nil()) add(field, id.to_string());
  };
  add("node", a.node);
  add("pool", a.pool);
  add_id("volume", a.volume);
  add_id("replica", a.replica);
  add_id("nexus", a.nexus);
  add_id("snapshot", a.snapshot);
  add_id("part", a.part);
  add("uri", a.uri);
  if (!a.why.empty()) text += " (" + a.why + ")";
  return text;
}

std::string volume_guard(const Uuid& id) { return "volume/" + id.to_string(); }
std::string pool_guard(const PoolId& id) { return "pool/" + id; }
std::string replica_guard(const ReplicaSpec& r) {
  return r.owners.volume ? volume_guard(*r.owners.volume) : "replica/" + r.uuid.to_string();
}
std::string nexus_guard(const NexusSpec& n) {
  return n.owner ? volume_guard(*n.owner) : "nexus/" + n.uuid.to_string();
}
std::string snapshot_guard(const Uuid& id) { return "snapshot/" + id.to_string(); }
std::string node_guard(const NodeId& id) { return "node/" + id; }

}  // namespace holdfast::control
