// Replicas and nexuses that users make by themselves.
#include <algorithm>

#include <fmt/format.h>

#include "control/agent.h"
#include "control/model/validate.h"
#include "control/texts.h"

namespace holdfast::control {
namespace {

Status check_protocol(Protocol protocol) {
  if (protocol == Protocol::nvmf) return Status();
  return refusal(Kind::invalid_argument,
                 fmt::format("protocol {} is not supported: use nvmf", name(protocol)));
}

std::optional<Uuid> uuid_of(const std::string& uri) {
  const auto at = uri.find("uuid=");
  if (at == std::string::npos) return std::nullopt;
  auto parsed = Uuid::parse(std::string_view(uri).substr(at + 5, 36));
  if (!parsed.ok()) return std::nullopt;
  return parsed.value();
}

// The replica that the URI names, as what a nexus `of` has as a child; none: it is of nothing that is known here.
Result<std::optional<ReplicaSpec>> child_of(const Specs& specs, const std::string& uri, const Uuid& of) {
  const auto id = uuid_of(uri);
  const auto known = id ? specs.replicas.find(*id) : specs.replicas.end();
  if (known == specs.replicas.end()) return std::optional<ReplicaSpec>();
  ReplicaSpec replica = known->second;
  if (replica.owners.volume) {
    return refusal(Kind::in_use,
                   replica_text(replica.uuid) + " belongs to volume " + replica.owners.volume->to_string());
  }
  if (replica.status != SpecStatus::created)
    return refusal(Kind::deleting, replica_text(replica.uuid) + " is not complete, or is being deleted");
  auto& nexuses = replica.owners.nexuses;
  if (std::find(nexuses.begin(), nexuses.end(), of) == nexuses.end()) nexuses.push_back(of);
  return std::optional(std::move(replica));
}

}  // namespace

Result<ReplicaSpec> Agent::find_replica(const Uuid& id) const {
  const auto found = specs().replicas.find(id);
  if (found == specs().replicas.end()) {
    return refusal(Kind::not_found, fmt::format("replica {} does not exist", id.to_string()));
  }
  return found->second;
}

Result<NexusSpec> Agent::find_nexus(const Uuid& id, const std::optional<NodeId>& node) const {
  const auto found = specs().nexuses.find(id);
  if (found == specs().nexuses.end() || (node && found->second.node != *node)) {
    return refusal(Kind::not_found, fmt::format("nexus {} does not exist{}", id.to_string(),
                                                node ? " on node " + *node : std::string()));
  }
  return found->second;
}

// ---- replicas

Task<Result<ReplicaView>> Agent::create_replica(CreateReplica request) {
  if (request.replica.is_nil())
    co_return refusal(Kind::invalid_argument, "a replica needs a UUID that is not all zero");
  HF_CO_CHECK(check_size(request.size_bytes));
  HF_CO_CHECK(check_nqns(request.allowed_hosts));
  if (request.share != Protocol::none) HF_CO_CHECK(check_protocol(request.share));
  HF_CO_TRY(const Op op, co_await begin("replica/" + request.replica.to_string()));
  HF_CO_TRY(const PoolSpec pool, find_pool(request.pool));
  if (request.node && *request.node != pool.node) {
    co_return refusal(Kind::not_found,
                      fmt::format("pool {} is on node {}, not {}", pool.id, pool.node, *request.node));
  }
  if (pool.status == SpecStatus::deleting || claims_.closing.contains(pool.id)) {
    co_return refusal(Kind::deleting, fmt::format("pool {} is being deleted", pool.id));
  }
  if (specs().replicas.contains(request.replica)) {
    co_return refusal(Kind::already_exists,
                      fmt::format("replica {} exists already", request.replica.to_string()));
  }
  // It may be all that is left of a volume that this store does not know.
  if (const auto seen = observed().replicas.find(request.replica); seen != observed().replicas.end()) {
    co_return refusal(Kind::already_exists,
                      fmt::format("replica {} is in pool {} on node {} already, and of nothing that is known "
                                  "here: 'holdfast adopt' brings its volume back",
                                  request.replica.to_string(), seen->second.pool, seen->second.node));
  }
  ReplicaSpec spec;
  spec.uuid = request.replica;
  spec.size_bytes = request.size_bytes;
  spec.pool = request.pool;
  spec.thin = request.thin;
  spec.share = request.share;
  spec.allowed_hosts = std::move(request.allowed_hosts);
  std::sort(spec.allowed_hosts.begin(), spec.allowed_hosts.end());
  spec.operation = Pending<ReplicaOp>{ReplicaOp::create, std::nullopt};
  const Claim claim(claims_, spec.pool, spec.size_bytes, spec.thin);
  HF_CO_CHECK(co_await commit_put(op, spec));
  const Status made = co_await act_create_replica(op, spec);
  Changes outcome;
  if (!made.ok()) {
    if (may_have_happened(made.error())) {
      spec.status = SpecStatus::deleting;
      spec.unsure_until = unix_now() + late_requests_max;
      outcome.put(spec);
    } else {
      outcome.remove(spec);
    }
    HF_CO_CHECK(co_await commit(op, std::move(outcome)));
    co_return made.error();
  }
  spec.status = SpecStatus::created;
  spec.operation.reset();
  outcome.put(spec);
  HF_CO_CHECK(co_await commit(op, std::move(outcome)));
  co_return replica_view(spec.uuid);
}

Task<Status> Agent::delete_replica(Uuid id, std::optional<PoolId> pool, std::optional<NodeId> node) {
  // It may be all that is left of a volume that this store does not know: it goes by a word to its engine only.
  if (const auto seen = observed().replicas.find(id);
      seen != observed().replicas.end() && !specs().replicas.contains(id)) {
    co_return refusal(
        Kind::not_found,
        fmt::format("replica {} in pool {} on node {} is of nothing that is known here: 'holdfast "
                    "adopt' brings its volume back, 'holdfast engine replica destroy' on its node "
                    "destroys it",
                    id.to_string(), seen->second.pool, seen->second.node));
  }
  HF_CO_TRY(const ReplicaSpec before, find_replica(id));
  HF_CO_TRY(const Op op, co_await begin(replica_guard(before)));
  HF_CO_TRY(ReplicaSpec spec, find_replica(id));
  const NodeId home = cluster().node_id_of_pool(spec.pool);
  if ((pool && *pool != spec.pool) || (node && *node != home)) {
    co_return refusal(Kind::not_found,
                      fmt::format("{} is in pool {} on node {}", replica_text(spec.uuid), spec.pool, home));
  }
  if (!spec.owners.none()) {
    co_return refusal(Kind::in_use,
                      fmt::format("{} belongs to {}", replica_text(spec.uuid),
                                  spec.owners.volume ? "volume " + spec.owners.volume->to_string()
                                                     : std::string("a nexus")));
  }
  if (spec.status != SpecStatus::deleting) {
    spec.status = SpecStatus::deleting;
    spec.operation = Pending<ReplicaOp>{ReplicaOp::destroy, std::nullopt};
    HF_CO_CHECK(co_await commit_put(op, spec));
  }
  co_return co_await destroy_replica(op, id);
}

Task<Result<std::string>> Agent::share_replica(Uuid id, Protocol protocol,
                                               std::vector<std::string> allowed_hosts) {
  HF_CO_CHECK(check_protocol(protocol));
  HF_CO_CHECK(check_nqns(allowed_hosts));
  HF_CO_TRY(const ReplicaSpec before, find_replica(id));
  HF_CO_TRY(const Op op, co_await begin(replica_guard(before)));
  HF_CO_TRY(ReplicaSpec spec, find_replica(id));
  if (spec.status != SpecStatus::created)
    co_return refusal(Kind::deleting, replica_text(spec.uuid) + " is not complete");
  if (spec.share != Protocol::none) {
    co_return refusal(Kind::already_shared,
                      fmt::format("{} is shared by {} already", replica_text(spec.uuid), name(spec.share)));
  }
  spec.share = protocol;
  spec.allowed_hosts = std::move(allowed_hosts);
  std::sort(spec.allowed_hosts.begin(), spec.allowed_hosts.end());
  HF_CO_CHECK(co_await commit_put(op, spec));
  HF_CO_CHECK(co_await act_share_replica(op, spec));
  co_return observed().replicas.contains(id) ? observed().replicas.at(id).uri : std::string();
}

Task<Status> Agent::unshare_replica(Uuid id) {
  HF_CO_TRY(const ReplicaSpec before, find_replica(id));
  HF_CO_TRY(const Op op, co_await begin(replica_guard(before)));
  HF_CO_TRY(ReplicaSpec spec, find_replica(id));
  if (spec.share == Protocol::none)
    co_return refusal(Kind::not_shared, replica_text(spec.uuid) + " is not shared");
  if (spec.owners.volume)
    co_return refusal(Kind::in_use, replica_text(spec.uuid) + " is shared for its volume");
  spec.share = Protocol::none;
  spec.allowed_hosts.clear();
  HF_CO_CHECK(co_await commit_put(op, spec));
  co_return co_await act_share_replica(op, spec);
}

// ---- nexuses

Task<Result<NexusView>> Agent::create_nexus(CreateNexus request) {
  if (request.nexus.is_nil())
    co_return refusal(Kind::invalid_argument, "a nexus needs a UUID that is not all zero");
  HF_CO_CHECK(check_size(request.size_bytes));
  if (request.children.empty())
    co_return refusal(Kind::invalid_argument, "a nexus needs a child: give its URI");
  HF_CO_TRY(const Op op, co_await begin("nexus/" + request.nexus.to_string()));
  HF_CO_CHECK(find_node(request.node));
  HF_CO_CHECK(nodes_.online_engine(request.node));
  if (specs().nexuses.contains(request.nexus)) {
    co_return refusal(Kind::already_exists,
                      fmt::format("nexus {} exists already", request.nexus.to_string()));
  }
  NexusSpec spec;
  spec.uuid = request.nexus;
  spec.name = request.nexus.to_string();
  spec.node = request.node;
  spec.size_bytes = request.size_bytes;
  Changes intent;
  for (const auto& uri : request.children) {
    spec.children.push_back({uri, uuid_of(uri)});
    HF_CO_TRY(auto replica, child_of(specs(), uri, spec.uuid));
    if (replica) intent.put(std::move(*replica));
  }
  spec.operation = Pending<NexusOp>{NexusOp::create, std::nullopt};
  intent.put(spec);
  HF_CO_CHECK(co_await commit(op, std::move(intent)));
  const Status made = co_await act_create_nexus(op, spec, std::move(request.children));
  if (!made.ok()) {
    (co_await destroy_nexus(op, spec.uuid)).ignore("the reconciler tries again");
    co_return made.error();
  }
  spec.status = SpecStatus::created;
  spec.operation.reset();
  HF_CO_CHECK(co_await commit_put(op, spec));
  co_return nexus_view(spec.uuid);
}

Task<Status> Agent::delete_nexus(Uuid id, std::optional<NodeId> node) {
  HF_CO_TRY(const NexusSpec before, find_nexus(id, node));
  HF_CO_TRY(const Op op, co_await begin(nexus_guard(before)));
  HF_CO_TRY(const NexusSpec spec, find_nexus(id, node));
  if (spec.owner && spec.status != SpecStatus::deleting && specs().volumes.contains(*spec.owner)) {
    const bool repairs = specs().volumes.at(*spec.owner).repair.has_value();
    const char* what = repairs ? "repairs" : "serves";
    const char* remedy = repairs ? "it goes by itself" : "unpublish it";
    co_return refusal(Kind::in_use, fmt::format("{} {} volume {}: {}", nexus_text(spec.uuid), what,
                                                spec.owner->to_string(), remedy));
  }
  co_return co_await destroy_nexus(op, id);
}

Task<Result<NexusView>> Agent::add_nexus_child(Uuid id, std::optional<NodeId> node, std::string uri) {
  HF_CO_TRY(const NexusSpec before, find_nexus(id, node));
  HF_CO_TRY(const Op op, co_await begin(nexus_guard(before)));
  HF_CO_TRY(NexusSpec spec, find_nexus(id, node));
  if (spec.owner)
    co_return refusal(Kind::in_use, nexus_text(spec.uuid) + " belongs to a volume: change its replica count");
  HF_CO_TRY(auto replica, child_of(specs(), uri, id));
  if (replica) HF_CO_CHECK(co_await commit_put(op, std::move(*replica)));
  HF_CO_TRY(Engine * engine, engine_to_change(op, spec.node));
  spec.children.push_back({uri, uuid_of(uri)});
  HF_CO_TRY(const NexusState now, co_await engine->add_child(id, std::move(uri), true, 0));
  nodes_.note(now);
  HF_CO_CHECK(co_await commit_put(op, std::move(spec)));
  co_return nexus_view(id);
}

Task<Status> Agent::remove_nexus_child(Uuid id, std::optional<NodeId> node, std::string uri) {
  HF_CO_TRY(const NexusSpec before, find_nexus(id, node));
  HF_CO_TRY(const Op op, co_await begin(nexus_guard(before)));
  HF_CO_TRY(NexusSpec spec, find_nexus(id, node));
  if (spec.owner)
    co_return refusal(Kind::in_use, nexus_text(spec.uuid) + " belongs to a volume: change its replica count");
  HF_CO_TRY(Engine * engine, engine_to_change(op, spec.node));
  std::erase_if(spec.children, [&](const NexusChildSpec& c) { return c.uri == uri; });
  const auto replica = uuid_of(uri);
  HF_CO_TRY(const NexusState now, co_await engine->remove_child(id, std::move(uri)));
  nodes_.note(now);
  Changes changes;
  const auto owned = replica ? specs().replicas.find(*replica) : specs().replicas.end();
  if (owned != specs().replicas.end() && now.find(*replica) == nullptr) {
    ReplicaSpec freed = owned->second;
    if (std::erase(freed.owners.nexuses, id) > 0) changes.put(std::move(freed));
  }
  changes.put(std::move(spec));
  co_return co_await commit(op, std::move(changes));
}

Task<Result<std::string>> Agent::share_nexus(Uuid id, std::optional<NodeId> node, Protocol protocol) {
  HF_CO_CHECK(check_protocol(protocol));
  HF_CO_TRY(const NexusSpec before, find_nexus(id, node));
  HF_CO_TRY(const Op op, co_await begin(nexus_guard(before)));
  HF_CO_TRY(NexusSpec spec, find_nexus(id, node));
  if (spec.share != Protocol::none)
    co_return refusal(Kind::already_shared, nexus_text(spec.uuid) + " is shared already");
  const auto volume = spec.owner ? specs().volumes.find(*spec.owner) : specs().volumes.end();
  if (volume != specs().volumes.end() && !volume->second.target) {
    co_return refusal(Kind::in_use, fmt::format("{} is not for hosts: publish volume {}",
                                                nexus_text(spec.uuid), spec.owner->to_string()));
  }
  spec.share = protocol;
  HF_CO_CHECK(co_await commit_put(op, spec));
  HF_CO_CHECK(co_await act_share_nexus(op, spec));
  co_return observed().nexuses.contains(id) ? observed().nexuses.at(id).device_uri : std::string();
}

Task<Status> Agent::unshare_nexus(Uuid id, std::optional<NodeId> node) {
  HF_CO_TRY(const NexusSpec before, find_nexus(id, node));
  HF_CO_TRY(const Op op, co_await begin(nexus_guard(before)));
  HF_CO_TRY(NexusSpec spec, find_nexus(id, node));
  if (spec.share == Protocol::none)
    co_return refusal(Kind::not_shared, nexus_text(spec.uuid) + " is not shared");
  spec.share = Protocol::none;
  HF_CO_CHECK(co_await commit_put(op, spec));
  co_return co_await act_share_nexus(op, spec);
}

}  // namespace holdfast::control
