// Actions of the reconcilers, carried out. What has changed since they were decided is looked at again.
#include <algorithm>

#include <fmt/format.h>

#include "control/agent.h"

namespace holdfast::control {

Task<Status> Agent::execute(const Op& op, Action action) {
  switch (action.what) {
    case Do::import_pool:
      co_return co_await import_pool(op, action.pool, true);
    case Do::destroy_pool:
    case Do::forget_pool:
      co_return co_await destroy_pool(op, action.pool);
    case Do::create_replica:
    case Do::destroy_replica:
    case Do::forget_replica:
    case Do::disown_replica:
    case Do::share_replica:
    case Do::grow_replica:
    case Do::record_size:
      co_return co_await execute_replica(op, action);
    case Do::create_nexus:
    case Do::destroy_nexus:
    case Do::forget_nexus:
    case Do::share_nexus:
    case Do::grow_nexus:
    case Do::add_child:
    case Do::remove_child:
    case Do::online_child:
      co_return co_await execute_nexus(op, action);
    case Do::add_replica:
    case Do::replace_replica:
    case Do::release_replica:
    case Do::start_move:
    case Do::finish_move:
    case Do::drop_move:
    case Do::abandon_volume:
    case Do::settle_volume:
    case Do::release_volume:
    case Do::forget_volume:
    case Do::move_target:
    case Do::start_repair:
    case Do::end_repair:
      co_return co_await execute_volume(op, action);
    case Do::fill_replica:
    case Do::end_fill:
      co_return co_await execute_fill(op, action);
    case Do::plan_copy:
      co_return co_await plan_copy(op, action);
    case Do::note_copy:
      co_return co_await note_copy(op, action);
    case Do::settle_copy:
      co_return co_await settle_copy(op, action);
    case Do::destroy_part:
    case Do::forget_part:
    case Do::forget_snapshot:
      co_return co_await execute_snapshot(op, action);
    case Do::end_drain:
    case Do::reopen_drain:
      co_return co_await execute_node(op, action);
    case Do::write_record:
      co_return co_await write_record(op, action);
  }
  co_return Status();
}

// ---- replicas

// The replica that a move was for cannot be made.
void Agent::end_move(const ReplicaSpec& replica, Changes& changes) const {
  const auto found =
      replica.owners.volume ? specs().volumes.find(*replica.owners.volume) : specs().volumes.end();
  if (found == specs().volumes.end()) return;
  VolumeSpec volume = found->second;
  if (std::erase_if(volume.moves, [&](const ReplicaMove& m) { return m.to == replica.uuid; }) > 0)
    changes.put(std::move(volume));
}

Task<Status> Agent::execute_replica(const Op& op, const Action& action) {
  const auto found = specs().replicas.find(action.replica);
  if (found == specs().replicas.end()) co_return Status();
  ReplicaSpec spec = found->second;
  Changes changes;
  switch (action.what) {
    case Do::create_replica: {
      if (spec.status != SpecStatus::creating) co_return Status();
      const bool first = unasked_.erase(spec.uuid) > 0;
      const Status made = co_await act_create_replica(op, spec);
      // Refused: it is let go of, and the volume looks for another place.
      const bool refused =
          !made.ok() && !may_have_happened(made.error()) && made.code() != Errc::not_connected;
      if (!made.ok() && !refused) co_return made.error();
      // An earlier request for it, of this agent or another one, may still be on its way.
      if (refused) {
        end_move(spec, changes);
        spec = let_go(std::move(spec), !first);
      } else {
        spec.status = SpecStatus::created;
        if (!first) spec.unsure_until = unix_now() + late_requests_max;
      }
      spec.operation.reset();
      changes.put(spec);
      HF_CO_CHECK(co_await commit(op, std::move(changes)));
      if (refused) co_return made.error();
      co_return Status();
    }
    case Do::destroy_replica:
      if (spec.status != SpecStatus::deleting) co_return Status();
      co_return co_await destroy_replica(op, spec.uuid);
    case Do::forget_replica:
      if (spec.status != SpecStatus::deleting || observed().replicas.contains(spec.uuid)) co_return Status();
      changes.remove(spec);
      co_return co_await commit(op, std::move(changes));
    case Do::disown_replica: {
      if (spec.status == SpecStatus::deleting) co_return Status();
      if (spec.owners.volume && !specs().volumes.contains(*spec.owners.volume)) spec.owners.volume.reset();
      std::erase_if(spec.owners.nexuses, [&](const Uuid& n) { return !specs().nexuses.contains(n); });
      if (spec.managed && spec.owners.none()) {
        const bool unsure = spec.status == SpecStatus::creating;
        spec = let_go(std::move(spec), unsure);
      }
      changes.put(spec);
      co_return co_await commit(op, std::move(changes));
    }
    case Do::share_replica:
      co_return co_await act_share_replica(op, spec);
    case Do::record_size: {
      const auto seen = observed().replicas.find(spec.uuid);
      if (seen == observed().replicas.end() || seen->second.size_bytes <= spec.size_bytes) co_return Status();
      spec.size_bytes = seen->second.size_bytes;
      changes.put(std::move(spec));
      co_return co_await commit(op, std::move(changes));
    }
    default:
      co_return co_await act_grow_replica(op, spec.uuid, spec.size_bytes);
  }
}

// ---- nexuses

// Its engine lost it, or it lost its children: made again as it was, of what holds all data.
Task<Status> Agent::recreate_nexus(const Op& op, Uuid id) {
  const auto found = specs().nexuses.find(id);
  if (found == specs().nexuses.end() || found->second.status == SpecStatus::deleting) co_return Status();
  NexusSpec spec = found->second;
  const NexusState* there = cluster().known_nexus(id);
  const bool serves =
      there != nullptr && (there->status == NexusStatus::online || there->status == NexusStatus::degraded);
  if (spec.status == SpecStatus::creating && serves)
    co_return co_await note_recreated(op, id, spec.unsure_until);
  // Should its outcome not be known, what deletes the nexus waits for it.
  const UnixNanos unsure_before = spec.unsure_until;
  spec.unsure_until = unix_now() + 2 * late_requests_max;
  Changes intent;
  intent.put(spec);
  if (!spec.owner) {
    HF_CO_CHECK(co_await commit(op, std::move(intent)));
    std::vector<std::string> children;
    for (const auto& c : spec.children) children.push_back(c.uri);
    HF_CO_CHECK(co_await act_create_nexus(op, spec, std::move(children)));
    if (spec.share != Protocol::none) HF_CO_CHECK(co_await act_share_nexus(op, spec));
    co_return co_await note_recreated(op, id, unsure_before);
  }
  HF_CO_TRY(const VolumeSpec volume, find_volume(*spec.owner));
  const VolumeTarget* server = volume.server();
  if (server == nullptr || server->nexus != id) co_return Status();
  std::vector<ReplicaSpec> good;
  {
    const Cluster now = cluster();
    for (const ReplicaSpec* r : now.replicas(volume.uuid)) {
      const ReplicaState* seen = now.online_replica(r->uuid);
      if (seen != nullptr && now.healthy(volume, r->uuid) && seen->size_bytes >= spec.size_bytes)
        good.push_back(*r);
    }
  }
  if (good.empty()) co_return refusal(Kind::unavailable, "no replica that holds all data can be reached");
  HF_CO_CHECK(co_await commit(op, std::move(intent)));
  if (observed().nexuses.contains(id)) HF_CO_CHECK(co_await act_destroy_nexus(op, spec));
  HF_CO_CHECK(co_await open_target(op, volume, spec, std::move(good)));
  events_.add("Nexus", "Create", id.to_string(), spec.node,
              fmt::format("the target of volume {} is back", volume.uuid.to_string()));
  co_return co_await note_recreated(op, id, unsure_before);
}

// Its engine has answered: nothing of this attempt is on its way any more.
Task<Status> Agent::note_recreated(const Op& op, Uuid id, UnixNanos unsure_until) {
  const auto found = specs().nexuses.find(id);
  if (found == specs().nexuses.end() || found->second.status == SpecStatus::deleting) co_return Status();
  NexusSpec spec = found->second;
  spec.unsure_until = unsure_until;
  if (spec.status == SpecStatus::creating) {
    spec.status = SpecStatus::created;
    spec.operation.reset();
  }
  co_return co_await commit_put(op, std::move(spec));
}

Task<Status> Agent::execute_nexus(const Op& op, const Action& action) {
  const auto found = specs().nexuses.find(action.nexus);
  if (found == specs().nexuses.end()) co_return Status();
  const NexusSpec spec = found->second;
  const std::string id = spec.uuid.to_string();
  if (action.what == Do::create_nexus) co_return co_await recreate_nexus(op, spec.uuid);
  if (action.what == Do::destroy_nexus) co_return co_await destroy_nexus(op, spec.uuid);
  if (action.what == Do::forget_nexus) {
    if (spec.status != SpecStatus::deleting || cluster().known_nexus(spec.uuid) != nullptr)
      co_return Status();
    co_return co_await commit_remove(op, spec);
  }
  if (spec.status != SpecStatus::created) co_return Status();
  if (action.what == Do::share_nexus) co_return co_await act_share_nexus(op, spec);
  if (action.what == Do::remove_child && spec.owner)
    HF_CO_CHECK(co_await leave_membership(op, *spec.owner, action.replica));
  const auto replica = specs().replicas.find(action.replica);
  const bool ours = replica != specs().replicas.end() && replica->second.owners.volume == spec.owner;
  if (action.what == Do::add_child && !ours) co_return Status();
  const bool rebuilds = action.what == Do::add_child || action.what == Do::online_child;
  if (rebuilds && !may_rebuild()) co_return Status();
  std::optional<RebuildClaim> rebuild;
  if (rebuilds) rebuild.emplace(claims_);
  std::uint32_t in_sync_through = 0;
  if (action.what == Do::add_child) {
    HF_CO_TRY(in_sync_through, co_await take_in_sync_through(op, action.replica));
  }
  HF_CO_TRY(Engine * engine, engine_to_change(op, spec.node));
  Task<Result<NexusState>> asked;
  const char* event = nullptr;
  if (action.what == Do::grow_nexus) {
    const auto volume = spec.owner ? specs().volumes.find(*spec.owner) : specs().volumes.end();
    if (volume == specs().volumes.end()) co_return Status();
    asked = engine->resize_nexus(spec.uuid, volume->second.size_bytes);
  } else if (action.what == Do::add_child) {
    const auto uri = child_uri(action.replica, spec.node);
    if (!uri) co_return refusal(Kind::unavailable, "the replica cannot be reached");
    asked = engine->add_child(spec.uuid, *uri, true, in_sync_through);
    event = "AddChild";
  } else if (action.what == Do::remove_child) {
    asked = engine->remove_child(spec.uuid, action.uri);
    event = "RemoveChild";
  } else {
    asked = engine->online_child(spec.uuid, action.uri);
    event = "OnlineChild";
  }
  auto now = co_await asked;
  if (now.ok() && event != nullptr) {
    events_.add("Nexus", event, id, spec.node,
                fmt::format("replica {}: {}", action.replica.to_string(), action.why));
  }
  if (!now.ok()) {
    nodes_.refresh(spec.node);
    co_return now.error();
  }
  nodes_.note(now.value());
  co_return Status();
}

// What a replica says of its volume, as it is by now.
Task<Status> Agent::write_record(const Op& op, const Action& action) {
  const auto wanted = wanted_record(cluster(), registry_.digests(), action.replica, unix_now());
  const auto seen = observed().replicas.find(action.replica);
  if (!wanted || seen == observed().replicas.end() || seen->second.record == wanted->digest)
    co_return Status();
  HF_CO_TRY(Engine * engine, engine_to_change(op, action.node));
  HF_CO_CHECK(co_await engine->set_replica_record(action.replica, to_json(wanted->record), wanted->digest));
  nodes_.note_record(action.replica, wanted->digest);
  co_return Status();
}

// ---- nodes

Task<Status> Agent::execute_node(const Op& op, const Action& action) {
  const auto found = specs().nodes.find(action.node);
  if (found == specs().nodes.end() || found->second.drains.empty()) co_return Status();
  NodeSpec spec = found->second;
  spec.drained = action.what == Do::end_drain;
  HF_CO_CHECK(co_await commit_put(op, spec));
  if (spec.drained) {
    events_.add("Node", "StateChange", spec.id, spec.id,
                fmt::format("node {} is drained: {}", spec.id, action.why));
  }
  co_return Status();
}

}  // namespace holdfast::control
