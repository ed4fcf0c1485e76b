// What is asked of engines. Each notes what the engine answers, and has the node asked again when the outcome is not
// known.
#include <algorithm>

#include <fmt/format.h>

#include "control/agent.h"

namespace holdfast::control {

// Requests of an agent that another one has replaced would undo what that one does: a nexus created late takes the
// volume from the one that serves it. A request that is on its way is bounded in time (late_requests_max), so what
// counts is that none begins without the lease.
Result<Engine*> Agent::engine_to_change(const Op& op, const NodeId& node) const {
  if (!leading_ || op.term != registry_.term() || !election_.sure()) return no_longer_leading();
  return nodes_.online_engine(node);
}

Result<Engine*> Agent::engine_of_pool(const Op& op, const PoolId& pool) const {
  const auto spec = specs().pools.find(pool);
  if (spec == specs().pools.end())
    return refusal(Kind::not_found, fmt::format("pool {} does not exist", pool));
  return engine_to_change(op, spec->second.node);
}

Task<Status> Agent::act_create_replica(const Op& op, ReplicaSpec spec) {
  HF_CO_TRY(Engine * engine, engine_of_pool(op, spec.pool));
  const NodeId node = specs().pools.at(spec.pool).node;
  const std::string entity = spec.owners.volume ? spec.owners.volume->to_string() : std::string();
  if (spec.clone_of) {
    auto cloned = co_await engine->clone_snapshot(*spec.clone_of, spec.uuid);
    if (!cloned.ok()) {
      nodes_.refresh(node);
      co_return of_part(cloned.error());
    }
    nodes_.note(cloned.value());
    HF_CO_TRY(Engine * again, engine_of_pool(op, spec.pool));
    const auto owned = co_await again->set_replica_entity(spec.uuid, entity);
    if (!owned.ok()) co_return of_part(owned.error());
    nodes_.note(owned.value());
    co_return Status();
  }
  NewReplica request;
  request.replica = spec.uuid;
  request.pool = spec.pool;
  request.size_bytes = spec.size_bytes;
  request.thin = spec.thin;
  request.share = spec.share;
  request.allowed_hosts = spec.allowed_hosts;
  request.entity_id = entity;
  auto made = co_await engine->create_replica(std::move(request));
  if (!made.ok()) {
    nodes_.refresh(node);
    co_return made.error();
  }
  nodes_.note(made.value());
  co_return Status();
}

Task<Status> Agent::act_destroy_replica(const Op& op, ReplicaSpec spec) {
  HF_CO_TRY(Engine * engine, engine_of_pool(op, spec.pool));
  const NodeId node = specs().pools.at(spec.pool).node;
  if (spec.fill) HF_CO_CHECK(co_await engine->end_fill(spec.uuid));
  const Status gone = co_await engine->destroy_replica(spec.uuid, spec.pool);
  if (!gone.ok() && gone.code() != Errc::not_found) {
    nodes_.refresh(node);
    co_return gone.error();
  }
  nodes_.note_gone(Nodes::Gone::replica, spec.uuid);
  co_return Status();
}

Task<Status> Agent::act_share_replica(const Op& op, ReplicaSpec spec) {
  const auto seen = observed().replicas.find(spec.uuid);
  if (seen != observed().replicas.end()) {
    const ReplicaState& state = seen->second;
    const bool hosts = spec.share == Protocol::none || state.allowed_hosts == spec.allowed_hosts;
    if (state.share == spec.share && hosts) co_return Status();
  }
  HF_CO_TRY(Engine * engine, engine_of_pool(op, spec.pool));
  Task<Result<ReplicaState>> asked = spec.share == Protocol::none
                                         ? engine->unshare_replica(spec.uuid)
                                         : engine->share_replica(spec.uuid, spec.allowed_hosts);
  auto shared = co_await asked;
  if (!shared.ok()) co_return of_part(shared.error());
  nodes_.note(shared.value());
  co_return Status();
}

Task<Status> Agent::act_grow_replica(const Op& op, Uuid id, std::uint64_t size_bytes) {
  const auto spec = specs().replicas.find(id);
  if (spec == specs().replicas.end()) co_return refusal(Kind::not_found, "replica is gone");
  const auto seen = observed().replicas.find(id);
  if (seen != observed().replicas.end() && seen->second.size_bytes >= size_bytes) co_return Status();
  HF_CO_TRY(Engine * engine, engine_of_pool(op, spec->second.pool));
  const NodeId node = specs().pools.at(spec->second.pool).node;
  const auto grown = co_await engine->resize_replica(id, size_bytes);
  if (!grown.ok()) {
    nodes_.refresh(node);
    co_return of_part(grown.error());
  }
  nodes_.note(grown.value());
  co_return Status();
}

std::optional<std::string> Agent::child_uri(const Uuid& replica, const NodeId& node) const {
  const auto seen = observed().replicas.find(replica);
  if (seen == observed().replicas.end()) return std::nullopt;
  const ReplicaState& r = seen->second;
  const bool reachable = (r.node == node) == (r.share == Protocol::none);
  // A replica beside its target that is shared to another one, too, is reached by its name all the same.
  if (!reachable && r.node == node) {
    return fmt::format("bdev:///{}?uuid={}", r.name.empty() ? r.uuid.to_string() : r.name,
                       r.uuid.to_string());
  }
  if (!reachable) return std::nullopt;
  return r.uri;
}

Task<Status> Agent::act_create_nexus(const Op& op, NexusSpec spec, std::vector<std::string> children) {
  HF_CO_TRY(Engine * engine, engine_to_change(op, spec.node));
  NewNexus request;
  request.nexus = spec.uuid;
  request.name = spec.name;
  request.size_bytes = spec.size_bytes;
  request.children = std::move(children);
  if (spec.owner) request.membership_key = registry_.membership_key(*spec.owner);
  request.reservation_key = spec.reservation_key;
  request.controller_ids = spec.controller_ids;
  auto made = co_await engine->create_nexus(std::move(request));
  if (!made.ok()) {
    nodes_.refresh(spec.node);
    co_return made.error();
  }
  nodes_.note(made.value());
  co_return Status();
}

Task<Status> Agent::act_share_nexus(const Op& op, NexusSpec spec) {
  HF_CO_TRY(Engine * engine, engine_to_change(op, spec.node));
  Task<Result<NexusState>> asked = spec.share == Protocol::none
                                       ? engine->unshare_nexus(spec.uuid)
                                       : engine->share_nexus(spec.uuid, spec.allowed_hosts);
  auto shared = co_await asked;
  if (!shared.ok()) co_return of_part(shared.error());
  nodes_.note(shared.value());
  co_return Status();
}

Task<Status> Agent::act_destroy_nexus(const Op& op, NexusSpec spec) {
  HF_CO_TRY(Engine * engine, engine_to_change(op, spec.node));
  const Status gone = co_await engine->destroy_nexus(spec.uuid);
  if (!gone.ok() && gone.code() != Errc::not_found) {
    nodes_.refresh(spec.node);
    co_return gone.error();
  }
  nodes_.note_gone(Nodes::Gone::nexus, spec.uuid);
  co_return Status();
}

Task<Status> Agent::act_destroy_part(const Op& op, ReplicaSnapshotSpec part, NodeId node) {
  HF_CO_TRY(Engine * engine, engine_to_change(op, node));
  const Status gone = co_await engine->destroy_snapshot(part.uuid, part.pool);
  if (!gone.ok() && gone.code() != Errc::not_found) {
    nodes_.refresh(node);
    co_return gone.error();
  }
  nodes_.note_gone(Nodes::Gone::snapshot, part.uuid);
  co_return Status();
}

Task<Status> Agent::destroy_nexus(const Op& op, Uuid id) {
  const auto found = specs().nexuses.find(id);
  if (found == specs().nexuses.end()) co_return Status();
  NexusSpec spec = found->second;
  if (spec.status != SpecStatus::deleting) {
    if (spec.status == SpecStatus::creating) spec.unsure_until = unix_now() + late_requests_max;
    spec.status = SpecStatus::deleting;
    HF_CO_CHECK(co_await commit_put(op, spec));
  }
  HF_CO_CHECK(co_await act_destroy_nexus(op, spec));
  if (unix_now() < spec.unsure_until || !specs().nexuses.contains(id)) co_return Status();
  co_return co_await commit_remove(op, spec);
}

}  // namespace holdfast::control
