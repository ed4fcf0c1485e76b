// Action: one thing that the shell does to bring what is closer to what is wanted. Each is idempotent, and checked
// again by who carries it out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/uuid.h"
#include "control/model/specs.h"

namespace holdfast::control {

enum class Do : std::uint8_t {
  // pools
  import_pool,   // its engine does not have it: open it, or create it if it never was
  destroy_pool,  // being deleted
  forget_pool,   // being deleted, and gone
  // replicas
  create_replica,   // wanted, not there yet
  destroy_replica,  // released by everybody
  forget_replica,   // being deleted, and gone
  disown_replica,   // its owners do not exist any more
  share_replica,    // not shared as it should be
  grow_replica,     // smaller than it should be
  record_size,      // larger: a request to grow came late
  // nexuses
  create_nexus,   // the engine was restarted, or it lost its last child and that is back
  destroy_nexus,  // being deleted
  forget_nexus,   // being deleted, and gone
  share_nexus,    // not shared as it should be
  grow_nexus,     // smaller than its volume
  add_child,
  remove_child,
  online_child,  // out of sync, and reachable again
  // volumes: changes of specs, from which the above follows
  add_replica,      // on `pool`
  replace_replica,  // `replica` is released, another wanted on `pool`
  release_replica,  // one too many
  start_move,       // a replica on `pool` that will follow `replica`
  finish_move,      // the new one holds all data: `replica` is released
  drop_move,        // nothing is left to move
  abandon_volume,   // it was never completed
  settle_volume,    // clears the operation that its agent did not end
  release_volume,   // deletes what belongs to it
  forget_volume,    // being deleted, and nothing is left
  move_target,      // its node is being drained
  start_repair,     // not published, and a replica is not up to date: the agent's own target on `node`
  end_repair,       // nothing is left to copy, or its node is lost or being drained
  fill_replica,     // gets copies of the volume's snapshots
  end_fill,         // does not wait for them any longer
  // snapshots
  destroy_part,     // part of a snapshot that is being deleted, or of a failed attempt
  forget_part,      // gone
  plan_copy,        // `replica` is to get a copy
  note_copy,        // it is there
  settle_copy,      // the fill that was to make it is over
  forget_snapshot,  // being deleted or never completed, and nothing is left
  // nodes
  end_drain,     // nothing is left to move
  reopen_drain,  // something came
  // what replicas say of their volumes
  write_record,
};
std::string_view name(Do what) noexcept;

struct Action {
  Do what{};
  // What it works on exclusively: "volume/<uuid>", "pool/<id>", "replica/<uuid>", "nexus/<uuid>", "snapshot/<uuid>",
  // "node/<id>", "records/<node>". All of a volume's parts are guarded by the volume.
  std::string guard;
  NodeId node;
  PoolId pool;
  Uuid volume;
  Uuid replica;
  Uuid nexus;
  Uuid snapshot;
  Uuid part;
  std::string uri;
  std::string why;
  bool operator==(const Action&) const = default;
};
std::string to_string(const Action& action);

std::string volume_guard(const Uuid& id);
std::string pool_guard(const PoolId& id);
std::string replica_guard(const ReplicaSpec& replica);
std::string nexus_guard(const NexusSpec& nexus);
std::string snapshot_guard(const Uuid& id);
std::string node_guard(const NodeId& id);

}  // namespace holdfast::control
