// Replicas that their volume lets go of, and their end.
//
// What keeps the last good copy: a replica leaves the membership record of its volume before it is let go of, and only
// while another one that the record calls healthy answers; and nothing is destroyed that the record of a volume names.
// Both are asked of the store and of the engines at that time: what was seen last may be older than the loss of a node.
// While the volume has a target, published or the agent's own, that takes the replica out of the record, so that it
// cannot lose another one at the same time; else the record is changed in the commit that lets go, compared with what
// was read.
#include <algorithm>

#include <fmt/format.h>

#include "control/agent.h"
#include "control/model/codec.h"
#include "rt/when_all.h"

namespace holdfast::control {

ReplicaSpec Agent::let_go(ReplicaSpec replica, bool may_come_late) const {
  if (replica.owners.volume) replica.released_by = replica.owners.volume;
  replica.owners = ReplicaOwners();
  replica.status = SpecStatus::deleting;
  if (may_come_late) replica.unsure_until = std::max(replica.unsure_until, unix_now() + late_requests_max);
  return replica;
}

Task<Status> Agent::check_another_answers(Uuid volume, Membership record, Uuid leaving) {
  for (const Membership::Member& member : record.members) {
    if (!member.healthy || member.replica == leaving) continue;
    const auto spec = specs().replicas.find(member.replica);
    if (spec == specs().replicas.end() || spec->second.owners.volume != volume) continue;
    const auto engine = nodes_.online_engine(cluster().node_id_of_pool(spec->second.pool));
    if (!engine.ok()) continue;
    const auto answered = co_await engine.value()->replica_epochs(member.replica);
    if (answered.ok()) co_return Status();
  }
  co_return refusal(Kind::failed_precondition,
                    fmt::format("volume {}: replica {} stays: no other one that holds all data answers",
                                volume.to_string(), leaving.to_string()));
}

bool Agent::has_child(const VolumeTarget& target, const Uuid& replica) const {
  const auto nexus = observed().nexuses.find(target.nexus);
  return nexus != observed().nexuses.end() && nexus->second.find(replica) != nullptr;
}

Task<Status> Agent::act_remove_child(const Op& op, VolumeTarget target, Uuid replica) {
  const auto find = [&]() -> std::optional<std::string> {
    const auto nexus = observed().nexuses.find(target.nexus);
    const ChildState* child = nexus != observed().nexuses.end() ? nexus->second.find(replica) : nullptr;
    return child != nullptr ? std::optional(child->uri) : std::nullopt;
  };
  auto uri = find();
  if (!uri) {
    HF_CO_CHECK(co_await nodes_.refresh_now(target.node));
    uri = find();
  }
  if (!uri) {
    co_return refusal(Kind::unavailable, fmt::format("nexus {} does not have replica {} at the moment",
                                                     target.nexus.to_string(), replica.to_string()));
  }
  HF_CO_TRY(Engine * engine, engine_to_change(op, target.node));
  auto now = co_await engine->remove_child(target.nexus, *uri);
  if (!now.ok()) {
    nodes_.refresh(target.node);
    co_return of_part(now.error());
  }
  nodes_.note(now.value());
  co_return Status();
}

Task<Result<Changes>> Agent::leave_membership(const Op& op, Uuid volume_id, Uuid replica) {
  Changes changes;
  const auto found = specs().volumes.find(volume_id);
  // Of a volume that is not complete, or is being deleted, nothing is kept.
  if (found == specs().volumes.end() || found->second.status != SpecStatus::created) co_return changes;
  // Nobody waits for a repair: one that is not at work ends, and begins again.
  const NexusState* at_work =
      found->second.repair ? cluster().known_nexus(found->second.repair->nexus) : nullptr;
  const bool works = at_work != nullptr &&
                     (at_work->status == NexusStatus::online || at_work->status == NexusStatus::degraded);
  if (found->second.repair && !works) HF_CO_CHECK(co_await end_repair(op, volume_id));
  HF_CO_TRY(const VolumeSpec volume, find_volume(volume_id));
  std::optional<VolumeTarget> target = volume.target ? volume.target : volume.repair;
  HF_CO_TRY(const auto record, co_await registry_.read_membership(volume_id));
  if (!record) {
    co_return refusal(Kind::failed_precondition,
                      fmt::format("volume {} has no membership record", volume_id.to_string()));
  }
  if (!record->membership.names(replica)) co_return changes;
  if (record->membership.healthy(replica)) {
    Membership others = record->membership;
    HF_CO_CHECK(co_await check_another_answers(volume_id, std::move(others), replica));
  }
  if (target) {
    const bool stale = !record->membership.healthy(replica);
    if (stale && !has_child(*target, replica)) {
      HF_CO_CHECK(co_await nodes_.refresh_now(target->node));
      // Of those that it was not opened with the record tells what they miss: nothing will change that.
      if (observed().nexuses.contains(target->nexus) && !has_child(*target, replica)) co_return changes;
    }
    HF_CO_CHECK(co_await act_remove_child(op, *target, replica));
    co_return changes;
  }
  HF_CO_TRY(std::string without,
            membership_without(registry_.membership_key(volume_id), record->text, replica));
  changes.replace_membership(volume_id, std::move(without), record->revision);
  co_return changes;
}

// One replica is let go of, out of the target, and destroyed.
Task<Status> Agent::release_replica(const Op& op, Uuid volume, Uuid replica) {
  const auto found = specs().replicas.find(replica);
  if (found == specs().replicas.end() || found->second.owners.volume != volume) co_return Status();
  HF_CO_TRY(Changes changes, co_await leave_membership(op, volume, replica));
  const auto again = specs().replicas.find(replica);
  const auto owner = specs().volumes.find(volume);
  if (again == specs().replicas.end() || owner == specs().volumes.end()) co_return no_longer_leading();
  const ReplicaSpec leaving = again->second;
  changes.put(let_go(leaving, leaving.status == SpecStatus::creating));
  VolumeSpec v = owner->second;
  const auto ended =
      std::erase_if(v.moves, [&](const ReplicaMove& m) { return m.from == replica || m.to == replica; });
  if (ended > 0) changes.put(std::move(v));
  HF_CO_CHECK(co_await commit(op, std::move(changes)));
  co_await sweep_replica(op, replica);
  co_return Status();
}

// A request that came late may have made it a child of the target again.
Task<Status> Agent::check_left(const Op& op, ReplicaSpec spec) {
  if (!spec.released_by) co_return Status();
  const Uuid volume = *spec.released_by;
  const auto found = specs().volumes.find(volume);
  if (found == specs().volumes.end() || found->second.status != SpecStatus::created) co_return Status();
  HF_CO_TRY(const auto record, co_await registry_.read_membership(volume));
  if (!record || !record->membership.names(spec.uuid)) co_return Status();
  const auto guard = guards_.try_take(volume_guard(volume));
  if (!guard) {
    co_return refusal(Kind::conflict, fmt::format("volume {} still has replica {}", volume.to_string(),
                                                  spec.uuid.to_string()));
  }
  HF_CO_TRY(Changes changes, co_await leave_membership(op, volume, spec.uuid));
  if (changes.empty()) co_return Status();
  co_return co_await commit(op, std::move(changes));
}

// The only way to the end of a replica.
Task<Status> Agent::destroy_replica(const Op& op, Uuid id) {
  const auto found = specs().replicas.find(id);
  if (found == specs().replicas.end()) co_return Status();
  const ReplicaSpec spec = found->second;
  if (spec.status != SpecStatus::deleting || !spec.owners.none()) co_return no_longer_leading();
  HF_CO_CHECK(co_await check_left(op, spec));
  HF_CO_CHECK(co_await act_destroy_replica(op, spec));
  if (unix_now() < spec.unsure_until || !specs().replicas.contains(id)) co_return Status();
  co_return co_await commit_remove(op, spec);
}

Task<void> Agent::sweep_replica(const Op& op, Uuid id) {
  const auto guard = guards_.try_take("replica/" + id.to_string());
  if (!guard) co_return;
  (co_await destroy_replica(op, id)).ignore("the reconciler tries again");
}

Task<void> Agent::sweep_replicas(const Op& op, std::vector<Uuid> replicas) {
  std::vector<Task<void>> all;
  for (const Uuid& id : replicas) all.push_back(sweep_replica(op, id));
  co_await when_all(std::span(all));
}

}  // namespace holdfast::control
