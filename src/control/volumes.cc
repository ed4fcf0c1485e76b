// Volumes: made, deleted, limited.
#include <algorithm>

#include <fmt/format.h>

#include "control/agent.h"
#include "control/model/record.h"
#include "control/model/validate.h"
#include "control/new_volume.h"
#include "control/plan/fills.h"
#include "control/texts.h"
#include "rt/when_all.h"

namespace holdfast::control {
namespace {

Status check_request(const CreateVolume& r) {
  if (r.volume.is_nil()) return refusal(Kind::invalid_argument, "a volume needs a UUID that is not all zero");
  HF_CHECK(check_size(r.size_bytes));
  HF_CHECK(check_replica_count(r.replicas));
  HF_CHECK(check_labels(r.labels));
  HF_CHECK(check_topology(r.topology));
  if (r.affinity_group) {
    constexpr std::size_t group_chars_max = 253;
    if (r.affinity_group->empty() || r.affinity_group->size() > group_chars_max) {
      return refusal(Kind::invalid_argument,
                     fmt::format("affinity group id: 1 to {} characters are allowed", group_chars_max));
    }
  }
  return Status();
}

}  // namespace

Result<VolumeSpec> Agent::find_volume(const Uuid& id) const {
  const auto found = specs().volumes.find(id);
  if (found == specs().volumes.end()) return refusal(Kind::not_found, volume_text(id) + " does not exist");
  return found->second;
}

ReplicaSpec Agent::new_replica(const VolumeSpec& volume, const PoolId& pool) {
  ReplicaSpec r;
  r.uuid = new_uuid();
  r.size_bytes = volume.size_bytes;
  r.pool = pool;
  const auto seen = observed().pools.find(pool);
  if (seen != observed().pools.end()) r.pool_uuid = seen->second.uuid;
  r.thin = volume.thin || volume.as_thin;
  r.managed = true;
  r.owners.volume = volume.uuid;
  r.operation = Pending<ReplicaOp>{ReplicaOp::create, std::nullopt};
  if (!snapshots_to_copy(cluster(), volume).empty()) r.fill = ReplicaFill{unix_now(), false};
  if (const VolumeTarget* server = volume.server()) share_towards(r, {server->node});
  return r;
}

bool Agent::still_fits(const VolumeSpec& volume, const PoolId& pool, const Uuid& leaving) const {
  const Cluster now = cluster();
  ReplicaNeed need(volume);
  need.only = pool;
  for (const ReplicaSpec* r : now.replicas(volume.uuid)) {
    if (r->uuid != leaving) need.occupied.push_back(r->pool);
  }
  return !place_replicas(now, options_.policy.capacity, need).pools.empty();
}

// ---- creating

// A pool refused after all, or does not answer: the replicas that were not made are let go of, and others are tried.
Task<Status> Agent::replace_failed(const Op& op, const VolumeSpec& volume, std::vector<ReplicaSpec>& replicas,
                                   std::vector<bool>& done, const std::set<Uuid>& certain, Error why) {
  Changes changes;
  std::vector<ReplicaSpec> next;
  std::vector<bool> next_done;
  ReplicaNeed need(volume);
  std::set<PoolId> failed;
  for (std::size_t i = 0; i < replicas.size(); ++i) {
    if (done[i]) {
      need.occupied.push_back(replicas[i].pool);
      next.push_back(replicas[i]);
      next_done.push_back(true);
      continue;
    }
    failed.insert(replicas[i].pool);
    const auto leaving = specs().replicas.find(replicas[i].uuid);
    if (leaving == specs().replicas.end()) co_return no_longer_leading();
    changes.put(let_go(leaving->second, !certain.contains(leaving->first)));
  }
  // Pools that have just failed are out of the question.
  const Cluster now = cluster();
  need.count = replicas.size();
  for (const PoolId& pool : place_replicas(now, options_.policy.capacity, need).pools) {
    if (failed.contains(pool) || next.size() == replicas.size()) continue;
    next.push_back(new_replica(volume, pool));
    next_done.push_back(false);
    changes.put(next.back());
  }
  if (next.size() < replicas.size()) co_return why;
  HF_CO_CHECK(co_await commit(op, std::move(changes)));
  replicas = std::move(next);
  done = std::move(next_done);
  co_return Status();
}

Task<Status> Agent::build_volume(const Op& op, VolumeSpec volume, std::vector<ReplicaSpec> replicas) {
  Changes intent;
  intent.put(volume);
  for (const ReplicaSpec& r : replicas) intent.put(r);
  HF_CO_CHECK(co_await commit(op, std::move(intent)));
  std::vector<bool> done(replicas.size(), false);
  std::set<Uuid> certain;  // their creation is over, one way or the other
  std::optional<Error> broken;
  for (std::size_t round = 0; round < 3; ++round) {
    std::vector<Task<Status>> acts;
    std::vector<std::size_t> which;
    for (std::size_t i = 0; i < replicas.size(); ++i) {
      if (done[i]) continue;
      acts.push_back(act_create_replica(op, replicas[i]));
      which.push_back(i);
    }
    co_await when_all(std::span(acts));
    std::optional<Error> failure;
    for (std::size_t i = 0; i < acts.size(); ++i) {
      const Status one = acts[i].take();
      done[which[i]] = one.ok();
      if (one.ok() || !may_have_happened(one.error())) certain.insert(replicas[which[i]].uuid);
      if (!one.ok() && !failure) {
        failure = one.error().with_context(
            fmt::format("{}: pool {}", volume_text(volume.uuid), replicas[which[i]].pool));
      }
    }
    if (!failure) break;
    if (volume.content_source || round == 2) {
      broken = failure;
      break;
    }
    const Status other = co_await replace_failed(op, volume, replicas, done, certain, *failure);
    if (!other.ok()) {
      broken = other.error();
      break;
    }
  }
  if (broken) {
    (co_await release_volume(op, volume.uuid, std::move(certain))).ignore("the reconciler goes on");
    // Whatever kept an engine from answering: the cluster is not in a state in which the volume can be made.
    if (may_have_happened(*broken) && check_leading().ok())
      co_return refusal(Kind::failed_precondition, broken->message());
    co_return *broken;
  }
  Changes outcome;
  volume.status = SpecStatus::created;
  volume.operation.reset();
  outcome.put(volume);
  std::vector<Uuid> members;
  for (ReplicaSpec& r : replicas) {
    r.status = SpecStatus::created;
    r.operation.reset();
    outcome.put(r);
    members.push_back(r.uuid);
  }
  outcome.put_membership(volume.uuid, members);
  co_return co_await commit(op, std::move(outcome));
}

Status Agent::check_new_volume(const Uuid& id) const {
  const auto known = specs().volumes.find(id);
  if (known == specs().volumes.end()) return Status();
  if (known->second.status == SpecStatus::created)
    return refusal(Kind::already_exists, volume_text(id) + " exists already");
  return refusal(known->second.status == SpecStatus::deleting ? Kind::deleting : Kind::conflict,
                 volume_text(id) + " is being cleaned up: try again");
}

Status Agent::check_capacity_limit(const Uuid& id, std::uint64_t more_bytes) const {
  if (!options_.cluster_capacity_limit) return Status();
  std::uint64_t all_bytes = more_bytes;
  for (const auto& [uuid, v] : specs().volumes) all_bytes += v.size_bytes;
  if (all_bytes <= *options_.cluster_capacity_limit) return Status();
  return refusal(Kind::capacity_limit_exceeded,
                 fmt::format("{}: all volumes together would have {} bytes, the limit is {}", volume_text(id),
                             all_bytes, *options_.cluster_capacity_limit));
}

Task<Result<VolumeView>> Agent::create_volume(CreateVolume request) {
  HF_CO_CHECK(check_request(request));
  const VolumeSpec volume = new_volume(request);
  HF_CO_CHECK(check_recordable(volume));
  HF_CO_TRY(const Op op, co_await begin(volume_guard(request.volume)));
  HF_CO_CHECK(check_new_volume(request.volume));
  const auto permit = co_await creations_.acquire();
  HF_CO_CHECK(check_leading());
  HF_CO_CHECK(check_capacity_limit(volume.uuid, volume.size_bytes));
  ReplicaNeed need(volume);
  need.count = request.replicas;
  const Placement placed = place_replicas(cluster(), options_.policy.capacity, need);
  if (placed.pools.size() < request.replicas) {
    const auto& nodes = observed().nodes;
    const bool anybody = std::any_of(nodes.begin(), nodes.end(),
                                     [](const auto& n) { return n.second.status == NodeStatus::online; });
    const Kind kind = volume.size_bytes < served_bytes_min ? Kind::invalid_argument
                      : anybody                            ? Kind::resource_exhausted
                                                           : Kind::failed_precondition;
    co_return refusal(kind, fmt::format("{}: {} of {} replicas can be placed: {}", volume_text(volume.uuid),
                                        placed.pools.size(), request.replicas, explain(placed.refused)));
  }
  std::vector<ReplicaSpec> replicas;
  std::vector<Claim> claims;
  for (const PoolId& pool : placed.pools) {
    replicas.push_back(new_replica(volume, pool));
    claims.push_back(claim_for(volume, pool));
  }
  HF_CO_CHECK(co_await build_volume(op, volume, std::move(replicas)));
  events_.add("Volume", "Create", volume.uuid.to_string(), "", volume_text(volume.uuid) + " was created");
  co_return this->volume(volume.uuid);
}

// ---- deleting

// All that is the volume's is let go of, in one commit; what can be reached is destroyed at once, the rest when its
// node is back.
Task<Status> Agent::release_volume(const Op& op, Uuid id, std::set<Uuid> certain) {
  HF_CO_TRY(VolumeSpec volume, find_volume(id));
  Changes changes;
  volume.status = SpecStatus::deleting;
  PendingVolumeOp destroy;
  destroy.operation = VolumeOp::destroy;
  volume.operation = destroy;
  volume.target.reset();
  volume.repair.reset();
  changes.put(volume);
  std::vector<Uuid> nexuses, replicas;
  for (const auto& [uuid, n] : specs().nexuses) {
    if (n.owner != id) continue;
    NexusSpec leaving = n;
    if (leaving.status == SpecStatus::creating) leaving.unsure_until = unix_now() + late_requests_max;
    leaving.status = SpecStatus::deleting;
    nexuses.push_back(uuid);
    changes.put(std::move(leaving));
  }
  for (const auto& [uuid, r] : specs().replicas) {
    if (r.owners.volume != id) continue;
    replicas.push_back(uuid);
    changes.put(let_go(r, r.status == SpecStatus::creating && !certain.contains(uuid)));
  }
  HF_CO_CHECK(co_await commit(op, std::move(changes)));
  std::vector<Task<Status>> ends;
  for (const Uuid& n : nexuses) ends.push_back(destroy_nexus(op, n));
  co_await when_all(std::span(ends));
  for (auto& e : ends) e.take().ignore("the reconciler tries again");
  co_await sweep_replicas(op, std::move(replicas));
  co_return co_await forget_volume(op, id);
}

Task<Status> Agent::forget_volume(const Op& op, Uuid id) {
  const auto found = specs().volumes.find(id);
  if (found == specs().volumes.end()) co_return Status();
  Changes changes;
  changes.remove(found->second);
  changes.remove_membership(id);
  co_return co_await commit(op, std::move(changes));
}

Task<Status> Agent::delete_volume(Uuid id) {
  HF_CO_TRY(const Op op, co_await begin(volume_guard(id)));
  HF_CO_CHECK(find_volume(id));
  HF_CO_CHECK(co_await release_volume(op, id, std::set<Uuid>()));
  events_.add("Volume", "Delete", id.to_string(), "", volume_text(id) + " was deleted");
  co_return Status();
}

// ---- properties

Task<Result<VolumeView>> Agent::set_max_snapshots(Uuid id, std::uint32_t max) {
  HF_CO_TRY(const Op op, co_await begin(volume_guard(id)));
  HF_CO_TRY(VolumeSpec volume, find_volume(id));
  const auto have = std::count_if(specs().snapshots.begin(), specs().snapshots.end(),
                                  [&](const auto& s) { return s.second.volume == id; });
  if (have > static_cast<std::int64_t>(max)) {
    co_return refusal(Kind::invalid_argument,
                      fmt::format("{} has {} snapshots already", volume_text(id), have));
  }
  volume.max_snapshots = max;
  HF_CO_CHECK(co_await commit_put(op, volume));
  co_return this->volume(id);
}

Task<Result<RebuildHistory>> Agent::rebuild_history(Uuid id) {
  HF_CO_TRY(const VolumeSpec volume, find_volume(id));
  if (!volume.target)
    co_return refusal(Kind::not_published, volume_text(id) + " is not published: it has no target");
  HF_CO_TRY(Engine * engine, nodes_.online_engine(volume.target->node));
  RebuildHistory history;
  history.target = volume.target->nexus;
  HF_CO_TRY(history.records, co_await engine->rebuild_history(volume.target->nexus));
  co_return history;
}

}  // namespace holdfast::control
