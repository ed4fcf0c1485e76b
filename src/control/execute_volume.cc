// Actions on volumes, carried out.
#include <algorithm>

#include <fmt/format.h>

#include "control/agent.h"
#include "control/pending.h"

namespace holdfast::control {

// Another replica is wanted; the engine is asked for it by the action that follows from it.
Task<Status> Agent::add_replica(const Op& op, Uuid id, PoolId pool, std::optional<Uuid> instead_of) {
  HF_CO_TRY(VolumeSpec volume, find_volume(id));
  if (volume.status != SpecStatus::created || volume.operation) co_return Status();
  if (!still_fits(volume, pool, instead_of.value_or(Uuid()))) {
    co_return refusal(Kind::resource_exhausted, fmt::format("pool {} does not fit any more", pool));
  }
  const Claim claim = claim_for(volume, pool);
  Changes changes;
  if (instead_of) {
    const auto found = specs().replicas.find(*instead_of);
    const bool ours = found != specs().replicas.end() && found->second.owners.volume == id;
    if (!ours) co_return Status();
    if (cluster().healthy(volume, *instead_of))
      co_return refusal(Kind::failed_precondition, "it holds all data again");
    HF_CO_TRY(changes, co_await leave_membership(op, id, *instead_of));
    const auto again = specs().replicas.find(*instead_of);
    if (again == specs().replicas.end()) co_return no_longer_leading();
    const ReplicaSpec leaving = again->second;
    changes.put(let_go(leaving, leaving.status == SpecStatus::creating));
  }
  ReplicaSpec replica = new_replica(volume, pool);
  const Uuid uuid = replica.uuid;
  changes.put(std::move(replica));
  HF_CO_CHECK(co_await commit(op, std::move(changes)));
  unasked_.insert(uuid);
  events_.add("Replica", "Create", uuid.to_string(), cluster().node_id_of_pool(pool),
              fmt::format("volume {} gets a replica on pool {}{}", id.to_string(), pool,
                          instead_of ? " in the place of " + instead_of->to_string() : std::string()));
  co_return Status();
}

Task<Status> Agent::start_move(const Op& op, const Action& action) {
  HF_CO_TRY(VolumeSpec volume, find_volume(action.volume));
  if (volume.status != SpecStatus::created || volume.operation) co_return Status();
  auto move = std::find_if(volume.moves.begin(), volume.moves.end(),
                           [&](const ReplicaMove& m) { return m.from == action.replica; });
  if (move != volume.moves.end() && move->to) co_return Status();
  const auto from = specs().replicas.find(action.replica);
  if (from == specs().replicas.end() || from->second.owners.volume != volume.uuid) co_return Status();
  if (!still_fits(volume, action.pool, action.replica)) {
    co_return refusal(Kind::resource_exhausted, fmt::format("pool {} does not fit any more", action.pool));
  }
  const Claim claim = claim_for(volume, action.pool);
  ReplicaSpec replica = new_replica(volume, action.pool);
  if (move == volume.moves.end())
    move = volume.moves.insert(move, ReplicaMove{action.replica, action.pool, {}});
  const Uuid uuid = replica.uuid;
  move->to = uuid;
  Changes changes;
  changes.put(std::move(replica));
  changes.put(std::move(volume));
  HF_CO_CHECK(co_await commit(op, std::move(changes)));
  unasked_.insert(uuid);
  co_return Status();
}

// An operation that was not ended. What engines may have done of it is undone by the reconcilers; what cannot be undone
// is finished.
Task<Status> Agent::settle_volume(const Op& op, Uuid id) {
  HF_CO_TRY(VolumeSpec volume, find_volume(id));
  if (!volume.operation) co_return Status();
  const PendingVolumeOp pending = *volume.operation;
  if (pending.operation == VolumeOp::resize && pending.size_bytes)
    co_return co_await finish_resize(op, std::move(volume));
  volume.operation = after(pending);
  Changes changes;
  const auto nexus = pending.nexus ? specs().nexuses.find(*pending.nexus) : specs().nexuses.end();
  const bool is_target = volume.target && pending.nexus == volume.target->nexus;
  if (pending.operation == VolumeOp::unpublish && is_target) volume.target.reset();
  // The target of a publish that was not committed serves nobody.
  const bool drop = pending.operation == VolumeOp::unpublish || !is_target;
  if (nexus != specs().nexuses.end() && drop) {
    NexusSpec spec = nexus->second;
    if (spec.status == SpecStatus::creating) spec.unsure_until = unix_now() + late_requests_max;
    spec.status = SpecStatus::deleting;
    changes.put(std::move(spec));
  }
  changes.put(std::move(volume));
  co_return co_await commit(op, std::move(changes));
}

Task<Result<VolumeSpec>> Agent::settled_volume(const Op& op, Uuid id) {
  HF_CO_TRY(const VolumeSpec volume, find_volume(id));
  if (volume.status == SpecStatus::created && volume.operation) HF_CO_CHECK(co_await settle_volume(op, id));
  co_return find_volume(id);
}

Task<Status> Agent::execute_volume(const Op& op, const Action& action) {
  const auto found = specs().volumes.find(action.volume);
  if (found == specs().volumes.end()) co_return Status();
  VolumeSpec volume = found->second;
  switch (action.what) {
    case Do::add_replica:
      co_return co_await add_replica(op, volume.uuid, action.pool, std::nullopt);
    case Do::replace_replica:
      co_return co_await add_replica(op, volume.uuid, action.pool, action.replica);
    case Do::release_replica: {
      auto surplus = choose_surplus(cluster(), volume);
      if (!surplus.ok() || surplus.value() != action.replica) co_return Status();
      co_return co_await release_replica(op, volume.uuid, action.replica);
    }
    case Do::start_move:
      co_return co_await start_move(op, action);
    case Do::finish_move: {
      const auto move = std::find_if(volume.moves.begin(), volume.moves.end(),
                                     [&](const ReplicaMove& m) { return m.from == action.replica; });
      const bool synced = move != volume.moves.end() && move->to && cluster().good(volume, *move->to);
      if (!synced)
        co_return refusal(Kind::failed_precondition, "the new replica is not recorded as healthy yet");
      co_return co_await release_replica(op, volume.uuid, action.replica);
    }
    case Do::drop_move: {
      std::erase_if(volume.moves, [&](const ReplicaMove& m) { return m.from == action.replica; });
      co_return co_await commit_put(op, std::move(volume));
    }
    case Do::start_repair:
      co_return co_await start_repair(op, action);
    case Do::end_repair:
      co_return co_await end_repair(op, volume.uuid);
    case Do::settle_volume:
      co_return co_await settle_volume(op, volume.uuid);
    case Do::abandon_volume:
    case Do::release_volume:
      if (action.what == Do::abandon_volume && volume.status != SpecStatus::creating) co_return Status();
      co_return co_await release_volume(op, volume.uuid, std::set<Uuid>());
    case Do::forget_volume:
      if (volume.status != SpecStatus::deleting) co_return Status();
      co_return co_await forget_volume(op, volume.uuid);
    default:
      co_return co_await move_target(op, volume.uuid, action.node);
  }
}

}  // namespace holdfast::control
