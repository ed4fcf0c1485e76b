// More and fewer replicas of a volume, and replicas that are moved.
#include <fmt/format.h>

#include "control/agent.h"
#include "control/model/validate.h"
#include "control/plan/fills.h"
#include "control/plan/status.h"
#include "control/texts.h"

namespace holdfast::control {
namespace {

// As many rebuilds run as may: another replica would wait for one of them.
Status check_rebuilds(const std::optional<std::uint64_t>& limit, const Cluster& now, const Uuid& volume) {
  if (!limit) return Status();
  const std::uint64_t running = now.rebuilds() + running_fills(now);
  if (running < *limit) return Status();
  return refusal(
      Kind::resource_exhausted,
      fmt::format("{}: {} rebuilds run in the cluster, {} are allowed at once: try again when one of "
                  "them has ended",
                  volume_text(volume), running, *limit));
}

}  // namespace

Task<Result<VolumeView>> Agent::set_replica_count(Uuid id, std::uint32_t count) {
  HF_CO_CHECK(check_replica_count(count));
  HF_CO_TRY(const Op op, co_await begin(volume_guard(id)));
  HF_CO_TRY(VolumeSpec volume, co_await settled_volume(op, id));
  const auto refuse = [&](std::string why) {
    return refusal(Kind::failed_precondition, fmt::format("{}: {}", volume_text(id), why));
  };
  if (volume.status != SpecStatus::created)
    co_return refusal(Kind::deleting, volume_text(id) + " is being deleted");
  if (count == volume.num_replicas) co_return refuse(fmt::format("it has {} replicas already", count));
  if (count + 1 != volume.num_replicas && count != volume.num_replicas + 1) {
    co_return refuse(fmt::format("it has {} replicas: change that by one at a time", volume.num_replicas));
  }
  if (count < volume.num_replicas && count < 2 && volume.affinity_group) {
    co_return refuse("a volume of an affinity group keeps two replicas");
  }
  const bool more = count > volume.num_replicas;
  volume.num_replicas = count;
  if (more) {
    const VolumeState state = volume_state(cluster(), specs().volumes.at(id));
    if (state.status != VolumeStatus::online)
      co_return refuse("replicas are added while it is online: " + state.reason);
    if (volume.target) HF_CO_CHECK(check_rebuilds(options_.policy.rebuilds_max, cluster(), id));
    HF_CO_CHECK(co_await grow_count(op, std::move(volume)));
  } else {
    HF_CO_CHECK(co_await shrink_count(op, std::move(volume)));
  }
  co_return this->volume(id);
}

Task<Status> Agent::grow_count(const Op& op, VolumeSpec volume) {
  const Cluster now = cluster();
  ReplicaNeed need(volume);
  for (const ReplicaSpec* r : now.replicas(volume.uuid)) need.occupied.push_back(r->pool);
  need.written_bytes = written_bytes(now, volume);
  // One that is there already, of an earlier count, will do.
  if (need.occupied.size() >= volume.num_replicas) co_return co_await commit_put(op, volume);
  const Placement placed = place_replicas(now, options_.policy.capacity, need);
  if (placed.pools.empty()) {
    co_return refusal(Kind::resource_exhausted,
                      fmt::format("{}: no further replica can be placed: {}", volume_text(volume.uuid),
                                  explain(placed.refused)));
  }
  const Claim claim = claim_for(volume, placed.pools.front());
  ReplicaSpec replica = new_replica(volume, placed.pools.front());
  Changes intent;
  intent.put(volume);
  intent.put(replica);
  HF_CO_CHECK(co_await commit(op, std::move(intent)));
  const Status made = co_await act_create_replica(op, replica);
  Changes outcome;
  if (!made.ok()) {
    --volume.num_replicas;
    outcome.put(volume);
    outcome.put(let_go(replica, may_have_happened(made.error())));
    HF_CO_CHECK(co_await commit(op, std::move(outcome)));
    co_return made.error().with_context(volume_text(volume.uuid));
  }
  replica.status = SpecStatus::created;
  replica.operation.reset();
  outcome.put(replica);
  HF_CO_CHECK(co_await commit(op, std::move(outcome)));
  if (volume.server() != nullptr && !replica.fill) {
    (co_await add_child_of(op, volume.uuid, replica.uuid)).ignore("the reconciler tries again");
  }
  co_return Status();
}

Task<Status> Agent::add_child_of(const Op& op, Uuid volume, Uuid replica) {
  const auto v = specs().volumes.find(volume);
  if (v == specs().volumes.end() || v->second.server() == nullptr) co_return Status();
  const VolumeTarget target = *v->second.server();
  if (!may_rebuild()) co_return Status();
  const auto uri = child_uri(replica, target.node);
  if (!uri) co_return refusal(Kind::unavailable, "the replica cannot be reached");
  HF_CO_TRY(Engine * engine, engine_to_change(op, target.node));
  const RebuildClaim rebuild(claims_);
  HF_CO_TRY(const NexusState nexus, co_await engine->add_child(target.nexus, *uri, true, 0));
  nodes_.note(nexus);
  HF_ASSERT(op.guard);
  co_return Status();
}

Task<Status> Agent::shrink_count(const Op& op, VolumeSpec volume) {
  const Cluster now = cluster();
  Changes changes;
  changes.put(volume);
  if (now.replicas(volume.uuid).size() <= volume.num_replicas)
    co_return co_await commit(op, std::move(changes));
  HF_CO_TRY(const Uuid leaving, choose_surplus(now, volume));
  HF_CO_CHECK(co_await commit(op, std::move(changes)));
  (co_await release_replica(op, volume.uuid, leaving)).ignore("the reconciler tries again");
  co_return Status();
}

Task<Result<VolumeView>> Agent::move_replica(MoveReplica request) {
  HF_CO_TRY(const Op op, co_await begin(volume_guard(request.volume)));
  HF_CO_TRY(VolumeSpec volume, co_await settled_volume(op, request.volume));
  HF_CO_TRY(const ReplicaSpec replica, find_replica(request.replica));
  if (replica.owners.volume != volume.uuid) {
    co_return refusal(Kind::not_found, fmt::format("{} has no replica {}", volume_text(volume.uuid),
                                                   replica.uuid.to_string()));
  }
  for (const ReplicaMove& m : volume.moves) {
    if (m.from == replica.uuid && m.pool == request.pool) co_return this->volume(volume.uuid);
    if (m.from == replica.uuid || m.to == replica.uuid) {
      co_return refusal(Kind::conflict,
                        fmt::format("replica {} is being moved already", replica.uuid.to_string()));
    }
  }
  const Cluster now = cluster();
  ReplicaNeed need(volume);
  need.only = request.pool;
  for (const ReplicaSpec* r : now.replicas(volume.uuid)) {
    if (r->uuid != replica.uuid) need.occupied.push_back(r->pool);
  }
  need.avoid = replica.pool;
  need.written_bytes = written_bytes(now, volume);
  const Placement placed = place_replicas(now, options_.policy.capacity, need);
  if (placed.pools.empty() || placed.pools.front() == replica.pool) {
    co_return refusal(Kind::resource_exhausted,
                      fmt::format("replica {} can be moved nowhere: {}", replica.uuid.to_string(),
                                  explain(placed.refused)));
  }
  HF_CO_CHECK(check_rebuilds(options_.policy.rebuilds_max, cluster(), volume.uuid));
  // The place is looked for again when the move starts: another move may have taken this one.
  volume.moves.push_back({replica.uuid, request.pool, std::nullopt});
  HF_CO_CHECK(co_await commit_put(op, volume));
  co_return this->volume(volume.uuid);
}

}  // namespace holdfast::control
