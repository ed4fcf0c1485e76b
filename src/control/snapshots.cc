// Snapshots of volumes, and volumes made of them.
#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "control/agent.h"
#include "control/model/record.h"
#include "control/model/validate.h"
#include "control/new_volume.h"
#include "control/texts.h"
#include "rt/when_all.h"

namespace holdfast::control {

namespace {

// It passes, unlike most of what makes a replica unfit for a snapshot.
Error being_repaired(const Cluster& now, const VolumeSpec& volume, const ReplicaSpec& replica) {
  const NexusState* nexus = now.known_nexus(volume.repair->nexus);
  const ChildState* child = nexus != nullptr ? nexus->find(replica.uuid) : nullptr;
  const std::string progress = child != nullptr && child->rebuild_percent
                                   ? fmt::format("{} % are copied", *child->rebuild_percent)
                                   : "copying has not begun";
  return refusal(
      Kind::conflict,
      fmt::format("{} is being repaired by node {}: replica {} on pool {} is not in sync yet ({}), and all "
                  "replicas take part in a snapshot: try again when the volume is Online",
                  volume_text(volume.uuid), volume.repair->node, replica.uuid.to_string(), replica.pool,
                  progress));
}

// Of a volume that is not published: the node where a former target of it may still take writes of a host. It was given
// up because its node did not answer, and nothing has fenced it since.
const NexusSpec* former_target(const Cluster& now, const VolumeSpec& volume) {
  for (const NexusSpec* n : now.nexuses(volume.uuid)) {
    const bool for_hosts = n->share != Protocol::none && now.specs.nodes.contains(n->node);
    if (!for_hosts) continue;
    const NexusState* seen = now.known_nexus(n->uuid);
    const bool gone = seen == nullptr && now.observed.node_known(n->node);
    const bool ended = seen != nullptr && seen->status == NexusStatus::shutdown;
    if (!gone && !ended) return n;
  }
  return nullptr;
}

// After an unclean end replicas may differ in writes that nobody was told of. A target makes them equal.
Task<Status> check_ended_cleanly(Registry& registry, Uuid volume) {
  HF_CO_TRY(const auto record, co_await registry.read_membership(volume));
  if (record && record->membership.clean_shutdown) co_return Status();
  co_return refusal(
      Kind::failed_precondition,
      fmt::format("{}: its last target ended without a word, so its replicas may differ in what was being "
                  "written: publish the volume, and try again",
                  volume_text(volume)));
}

// Why the pool of a copy takes no replica made of it: as for any new replica, but labels do not choose where a copy is.
std::optional<PoolRefusal> refuses_restore(const Cluster& now, const CapacityLimits& limits,
                                           VolumeSpec volume, const PoolId& pool) {
  volume.topology = Topology();
  ReplicaNeed need(volume);
  need.only = pool;
  const Placement placed = place_replicas(now, limits, need);
  if (!placed.pools.empty()) return std::nullopt;
  for (const PoolRefusal& r : placed.refused) {
    if (r.pool == pool) return r;
  }
  return PoolRefusal{pool, now.node_id_of_pool(pool), "it does not exist"};
}

}  // namespace

Result<SnapshotSpec> Agent::find_snapshot(const Uuid& id, const std::optional<Uuid>& volume) const {
  const auto found = specs().snapshots.find(id);
  if (found == specs().snapshots.end() || (volume && found->second.volume != *volume)) {
    return refusal(Kind::not_found, snapshot_text(id) + " does not exist");
  }
  return found->second;
}

// The moment at which all parts were taken.
Task<Result<UnixNanos>> Agent::act_snapshot(const Op& op, const VolumeSpec& volume,
                                            const SnapshotSpec& snapshot,
                                            const std::vector<ReplicaSnapshotSpec>& parts) {
  const std::string entity = volume.uuid.to_string();
  const std::string transaction = snapshot.transaction;
  if (volume.target) {
    HF_CO_TRY(Engine * engine, engine_to_change(op, volume.target->node));
    NewNexusSnapshot request;
    request.nexus = volume.target->nexus;
    request.name = snapshot_part_name(snapshot.uuid, transaction, Uuid());
    request.entity_id = entity;
    request.transaction = transaction;
    for (const auto& p : parts) request.parts.push_back({p.replica, p.uuid});
    const auto answered = co_await engine->create_nexus_snapshot(std::move(request));
    if (!answered.ok()) co_return of_part(answered.error());
    const NexusSnapshotOutcome& taken = answered.value();
    for (const auto& p : parts) nodes_.refresh(cluster().node_id_of_pool(p.pool));
    if (!taken.complete())
      co_return refusal(Kind::aborted, "a replica did not take its part of the snapshot");
    co_return taken.taken;
  }
  const auto take_one = [this, &op](ReplicaSnapshotSpec part, std::string name, std::string entity_id,
                                    std::string txn) -> Task<Status> {
    HF_CO_TRY(Engine * engine, engine_of_pool(op, part.pool));
    NewReplicaSnapshot request;
    request.replica = part.replica;
    request.snapshot = part.uuid;
    request.name = std::move(name);
    request.entity_id = std::move(entity_id);
    request.transaction = std::move(txn);
    const auto taken = co_await engine->create_snapshot(std::move(request));
    if (!taken.ok()) co_return of_part(taken.error());
    nodes_.note(taken.value());
    co_return Status();
  };
  std::vector<Task<Status>> acts;
  for (const auto& p : parts) {
    acts.push_back(take_one(p, snapshot_part_name(snapshot.uuid, transaction, p.uuid), entity, transaction));
  }
  co_await when_all(std::span(acts));
  // While one of them may still happen that is what became of all, whatever the others say.
  std::optional<Error> failed;
  for (auto& act : acts) {
    const Status one = act.take();
    if (!one.ok() && (!failed || may_have_happened(one.error()))) failed = one.error();
  }
  if (failed) co_return *failed;
  co_return unix_now();
}

Task<Result<SnapshotSpec>> Agent::take_snapshot(const Op& op, VolumeSpec volume, SnapshotSpec snapshot,
                                                Lasting lasting) {
  std::vector<ReplicaSnapshotSpec> parts;
  {
    const Cluster now = cluster();
    // Its replicas are asked one by one: between two of them nothing may be written.
    const NexusSpec* former = volume.target ? nullptr : former_target(now, volume);
    if (former != nullptr) {
      co_return refusal(
          Kind::failed_precondition,
          fmt::format(
              "{}: its former target on node {} is not known to have ended, and may still take writes: try "
              "again when that node answers, or publish the volume",
              volume_text(volume.uuid), former->node));
    }
    for (const ReplicaSpec* r : now.replicas(volume.uuid)) {
      if (!now.good(volume, r->uuid)) {
        if (volume.repair) co_return being_repaired(now, volume, *r);
        co_return refusal(
            Kind::failed_precondition,
            fmt::format("{}: replica {} on pool {} is not online and in sync: all of them take part in a "
                        "snapshot",
                        volume_text(volume.uuid), r->uuid.to_string(), r->pool));
      }
      if (auto why = no_room_for_snapshot(now, options_.policy.capacity, r->pool, volume.size_bytes)) {
        co_return refusal(Kind::resource_exhausted, fmt::format("{}: {}", volume_text(volume.uuid), *why));
      }
      parts.push_back({new_uuid(), r->uuid, r->pool, r->pool_uuid, SpecStatus::creating});
    }
  }
  if (parts.empty())
    co_return refusal(Kind::failed_precondition, volume_text(volume.uuid) + " has no replicas");
  // Nothing is left to copy; the replicas are asked one by one, so nobody may have them open.
  if (volume.repair) HF_CO_CHECK(co_await end_repair(op, volume.uuid));
  if (!volume.target && parts.size() > 1) HF_CO_CHECK(co_await check_ended_cleanly(registry_, volume.uuid));
  // Should this agent not tell its outcome, the next one waits for requests that are still on their way: they begin as
  // soon as this is committed.
  for (auto& part : parts) part.unsure_until = unix_now() + 2 * late_requests_max;
  snapshot.transaction = new_uuid().to_string();
  snapshot.size_bytes = volume.size_bytes;
  snapshot.transactions[snapshot.transaction] = parts;
  HF_CO_CHECK(co_await commit_put(op, snapshot));
  auto taken = co_await act_snapshot(op, volume, snapshot, parts);
  Changes outcome;
  auto& kept = snapshot.transactions[snapshot.transaction];
  if (!taken.ok()) {
    const bool late = may_have_happened(taken.error());
    for (auto& p : kept) p.unsure_until = late ? unix_now() + late_requests_max : 0;
    outcome.put(snapshot);
    HF_CO_CHECK(co_await commit(op, std::move(outcome)));
    co_return taken.error().with_context(snapshot_text(snapshot.uuid));
  }
  for (auto& p : kept) {
    p.status = SpecStatus::created;
    p.unsure_until = 0;
  }
  snapshot.taken = taken.value();
  if (lasting == Lasting::yes) snapshot.status = SpecStatus::created;
  outcome.put(snapshot);
  const auto source = specs().volumes.find(volume.uuid);
  if (!volume.thin && !volume.as_thin && source != specs().volumes.end()) {
    VolumeSpec counted = source->second;
    counted.as_thin = true;
    outcome.put(std::move(counted));
  }
  HF_CO_CHECK(co_await commit(op, std::move(outcome)));
  snapshot.status = SpecStatus::created;
  co_return snapshot;
}

Task<Result<SnapshotSpec>> Agent::new_snapshot(const Op& op, Uuid volume_id, Uuid id, Lasting lasting) {
  const auto known = specs().snapshots.find(id);
  SnapshotSpec snapshot;
  if (known != specs().snapshots.end()) {
    snapshot = known->second;
    if (snapshot.volume != volume_id || snapshot.status == SpecStatus::created) {
      co_return refusal(Kind::already_exists, snapshot_text(id) + " exists already");
    }
    if (snapshot.status == SpecStatus::deleting) {
      co_return refusal(Kind::deleting, snapshot_text(id) + " is being deleted");
    }
  }
  HF_CO_TRY(const VolumeSpec volume, co_await settled_volume(op, volume_id));
  if (volume.status != SpecStatus::created)
    co_return refusal(Kind::deleting, volume_text(volume_id) + " is being deleted");
  const auto have = std::count_if(specs().snapshots.begin(), specs().snapshots.end(), [&](const auto& s) {
    return s.second.volume == volume_id && s.second.uuid != id;
  });
  if (volume.max_snapshots && have >= static_cast<std::int64_t>(*volume.max_snapshots)) {
    co_return refusal(Kind::failed_precondition,
                      fmt::format("{} has {} snapshots, {} are allowed", volume_text(volume_id), have,
                                  *volume.max_snapshots));
  }
  if (snapshot.transactions.size() >= options_.policy.transactions_kept_max) {
    co_return refusal(Kind::failed_precondition,
                      snapshot_text(id) + ": parts of failed attempts are being removed: try again");
  }
  snapshot.uuid = id;
  snapshot.volume = volume_id;
  co_return co_await take_snapshot(op, volume, std::move(snapshot), lasting);
}

Task<Result<SnapshotView>> Agent::create_snapshot(Uuid volume_id, Uuid id) {
  if (id.is_nil()) co_return refusal(Kind::invalid_argument, "a snapshot needs a UUID that is not all zero");
  HF_CO_TRY(const Op op, co_await begin(volume_guard(volume_id)));
  HF_CO_TRY(const Op both, co_await begin(snapshot_guard(id)));
  HF_CO_CHECK(co_await new_snapshot(op, volume_id, id, Lasting::yes));
  events_.add("Snapshot", "Create", id.to_string(), "",
              fmt::format("{} of {} was taken", snapshot_text(id), volume_text(volume_id)));
  co_return this->snapshot(id, volume_id);
}

Task<Status> Agent::remove_snapshot(const Op& op, Uuid id) {
  HF_CO_TRY(SnapshotSpec snapshot, find_snapshot(id, std::nullopt));
  if (snapshot.status != SpecStatus::deleting) {
    snapshot.status = SpecStatus::deleting;
    HF_CO_CHECK(co_await commit_put(op, snapshot));
  }
  std::vector<Task<Status>> acts;
  std::vector<Uuid> which;
  {
    const Cluster now = cluster();
    for (const auto& [transaction, parts] : snapshot.transactions) {
      for (const auto& part : parts) {
        if (now.usable_pool(part.pool) == nullptr || unix_now() < part.unsure_until) continue;
        acts.push_back(act_destroy_part(op, part, now.node_id_of_pool(part.pool)));
        which.push_back(part.uuid);
      }
    }
  }
  co_await when_all(std::span(acts));
  std::set<Uuid> gone;
  for (std::size_t i = 0; i < acts.size(); ++i) {
    const Status one = acts[i].take();
    if (one.ok()) gone.insert(which[i]);
  }
  for (auto it = snapshot.transactions.begin(); it != snapshot.transactions.end();) {
    std::erase_if(it->second, [&](const ReplicaSnapshotSpec& p) { return gone.contains(p.uuid); });
    it = it->second.empty() ? snapshot.transactions.erase(it) : std::next(it);
  }
  Changes outcome;
  if (snapshot.transactions.empty()) {
    outcome.remove(snapshot);
  } else {
    outcome.put(snapshot);
  }
  co_return co_await commit(op, std::move(outcome));
}

Task<Status> Agent::delete_snapshot(Uuid id, std::optional<Uuid> volume) {
  HF_CO_TRY(const Op op, co_await begin(snapshot_guard(id)));
  HF_CO_CHECK(find_snapshot(id, volume));
  HF_CO_CHECK(co_await remove_snapshot(op, id));
  events_.add("Snapshot", "Delete", id.to_string(), "", snapshot_text(id) + " was deleted");
  co_return Status();
}

Task<Status> Agent::change_part(const Op& op, const Action& action, bool destroy) {
  const auto found = specs().snapshots.find(action.snapshot);
  if (found == specs().snapshots.end()) co_return Status();
  SnapshotSpec snapshot = found->second;
  for (auto it = snapshot.transactions.begin(); it != snapshot.transactions.end(); ++it) {
    const auto part = std::find_if(it->second.begin(), it->second.end(),
                                   [&](const ReplicaSnapshotSpec& p) { return p.uuid == action.part; });
    if (part == it->second.end()) continue;
    const bool kept = snapshot.status == SpecStatus::created && it->first == snapshot.transaction;
    if (kept && part->status != SpecStatus::deleting) co_return co_await release_copy(op, action);
    if (destroy) HF_CO_CHECK(co_await act_destroy_part(op, *part, action.node));
    if (unix_now() < part->unsure_until) co_return Status();
    it->second.erase(part);
    if (it->second.empty()) snapshot.transactions.erase(it);
    co_return co_await commit_put(op, std::move(snapshot));
  }
  co_return Status();
}

Task<Status> Agent::execute_snapshot(const Op& op, const Action& action) {
  if (action.what != Do::forget_snapshot)
    co_return co_await change_part(op, action, action.what == Do::destroy_part);
  const auto found = specs().snapshots.find(action.snapshot);
  const bool empty = found != specs().snapshots.end() && found->second.transactions.empty() &&
                     found->second.status != SpecStatus::created;
  if (!empty) co_return Status();
  co_return co_await commit_remove(op, found->second);
}

// ---- volumes with the content of others

Task<Result<VolumeView>> Agent::restore_snapshot(Uuid snapshot_id, CreateVolume request) {
  HF_CO_TRY(const Op op, co_await begin(volume_guard(request.volume)));
  HF_CO_TRY(const Op source, co_await begin(snapshot_guard(snapshot_id)));
  HF_CO_TRY(SnapshotSpec snapshot, find_snapshot(snapshot_id, std::nullopt));
  co_return co_await build_from(op, std::move(snapshot), std::move(request));
}

// Each is in the pool of the copy whose content it has.
Result<std::vector<ReplicaSpec>> Agent::place_clones(const VolumeSpec& volume, const SnapshotSpec& snapshot,
                                                     const std::string& what) {
  std::vector<ReplicaSpec> replicas;
  const Cluster now = cluster();
  std::optional<PoolId> unreached;
  bool is_waited_for = false;
  std::vector<PoolRefusal> refused;
  std::set<NodeId> nodes;
  std::vector<ReplicaSpec> beside;  // others, for want of nodes
  for (const auto& part : snapshot.parts()) {
    if (part.status != SpecStatus::created) continue;
    if (now.usable_pool(part.pool) == nullptr) {
      // One that is expected back is waited for; that of a replica which was replaced is not.
      const auto replica = specs().replicas.find(part.replica);
      const bool expected = replica != specs().replicas.end() && replica->second.owners.volume;
      unreached = part.pool;
      if (!expected) continue;
      is_waited_for = true;
      replicas.clear();
      beside.clear();
      break;
    }
    if (replicas.size() == volume.num_replicas) continue;
    if (auto why = refuses_restore(now, options_.policy.capacity, volume, part.pool)) {
      refused.push_back(std::move(*why));
      continue;
    }
    ReplicaSpec r = new_replica(volume, part.pool);
    r.clone_of = part.uuid;
    r.kind = ReplicaKind::snapshot_clone;
    // What a replica left behind when it moved may be on the node of another copy.
    const bool is_first = nodes.insert(now.node_id_of_pool(part.pool)).second;
    (is_first ? replicas : beside).push_back(std::move(r));
  }
  for (auto r = beside.begin(); r != beside.end() && replicas.size() < volume.num_replicas; ++r)
    replicas.push_back(std::move(*r));
  if (replicas.size() < volume.num_replicas) {
    if (!is_waited_for && !refused.empty())
      return refusal(Kind::resource_exhausted, fmt::format("{}: {}", what, explain(refused)));
    return refusal(Kind::failed_precondition,
                   fmt::format("{}: pool {} cannot be reached", what, unreached.value_or("")));
  }
  return replicas;
}

Task<Result<VolumeView>> Agent::build_from(const Op& op, SnapshotSpec snapshot, CreateVolume request) {
  const std::string what =
      fmt::format("{} from {}", volume_text(request.volume), snapshot_text(snapshot.uuid));
  if (request.volume.is_nil())
    co_return refusal(Kind::invalid_argument, "a volume needs a UUID that is not all zero");
  HF_CO_CHECK(check_labels(request.labels));
  HF_CO_CHECK(check_topology(request.topology));
  HF_CO_CHECK(check_replica_count(request.replicas));
  HF_CO_CHECK(check_new_volume(request.volume));
  HF_CO_CHECK(check_capacity_limit(request.volume, request.size_bytes));
  if (snapshot.status != SpecStatus::created)
    co_return refusal(Kind::failed_precondition, what + ": it is not complete");
  if (!request.thin) co_return refusal(Kind::invalid_argument, what + ": a restored volume has to be thin");
  if (request.size_bytes != snapshot.size_bytes) {
    co_return refusal(Kind::out_of_range,
                      fmt::format("{}: size has to be {}, that of the snapshot", what, snapshot.size_bytes));
  }
  const auto copies = std::count_if(snapshot.parts().begin(), snapshot.parts().end(),
                                    [](const auto& p) { return p.status == SpecStatus::created; });
  if (request.replicas > static_cast<std::size_t>(copies)) {
    co_return refusal(Kind::failed_precondition, fmt::format("{}: {} replicas wanted, the snapshot has {}",
                                                             what, request.replicas, copies));
  }
  VolumeSpec volume = new_volume(request);
  volume.content_source = ContentSource{snapshot.uuid, snapshot.volume};
  HF_CO_CHECK(check_recordable(volume));
  HF_CO_TRY(std::vector<ReplicaSpec> replicas, place_clones(volume, snapshot, what));
  std::vector<Claim> claims;
  for (const ReplicaSpec& r : replicas) claims.push_back(claim_for(volume, r.pool));
  HF_CO_CHECK(co_await build_volume(op, volume, std::move(replicas)));
  events_.add("Clone", "Create", volume.uuid.to_string(), "", what + " was created");
  co_return this->volume(volume.uuid);
}

Task<Result<VolumeView>> Agent::clone_volume(Uuid source, CreateVolume request) {
  HF_CO_CHECK(find_volume(source));
  HF_CO_TRY(const Op op, co_await begin(volume_guard(request.volume)));
  HF_CO_CHECK(check_new_volume(request.volume));
  const Uuid between = new_uuid();
  HF_CO_TRY(const Op held, co_await begin(snapshot_guard(between)));
  SnapshotSpec taken;
  {
    HF_CO_TRY(const Op taking, co_await begin(volume_guard(source)));
    HF_CO_TRY(taken, co_await new_snapshot(taking, source, between, Lasting::no));
  }
  request.size_bytes = taken.size_bytes;
  request.thin = true;
  auto cloned = co_await build_from(op, std::move(taken), std::move(request));
  // The clone keeps what it needs of it.
  (co_await remove_snapshot(held, between)).ignore("the clone is what was asked for");
  co_return cloned;
}

}  // namespace holdfast::control
