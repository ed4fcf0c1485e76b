// Volumes that grow: first every replica, then the target.
//
// A replica cannot shrink, so what has begun is finished, by this agent or the next one: the operation stays in the
// spec until every replica that can be reached has grown, and the target where it answers, or an engine refused for
// certain. One that cannot be reached grows when it is back; its target takes it in no sooner. So that little is left
// half done, nothing begins before every engine that has a part in it has answered once more.
#include <algorithm>

#include <fmt/format.h>

#include "control/agent.h"
#include "control/model/validate.h"
#include "control/texts.h"
#include "rt/when_all.h"

namespace holdfast::control {

Task<Status> Agent::grow_volume(const Op& op, VolumeSpec volume, std::uint64_t size_bytes) {
  const Cluster now = cluster();
  for (const ReplicaSpec* r : now.replicas(volume.uuid)) {
    if (now.online_replica(r->uuid) == nullptr) {
      co_return refusal(Kind::failed_precondition,
                        fmt::format("{}: replica {} on pool {} cannot be reached, all have to grow",
                                    volume_text(volume.uuid), r->uuid.to_string(), r->pool));
    }
    if (auto why = no_room_to_grow(now, options_.policy.capacity, *r, size_bytes)) {
      co_return refusal(Kind::resource_exhausted, fmt::format("{}: {}", volume_text(volume.uuid), *why));
    }
  }
  HF_CO_CHECK(co_await check_parts_answer(volume));
  PendingVolumeOp resize;
  resize.operation = VolumeOp::resize;
  resize.size_bytes = size_bytes;
  volume.operation = resize;
  HF_CO_CHECK(co_await commit_put(op, volume));
  co_return co_await finish_resize(op, std::move(volume));
}

// What was seen of an engine last may be older than that it stands still.
Task<Status> Agent::check_parts_answer(VolumeSpec volume) {
  std::vector<std::string> parts;
  std::vector<NodeId> nodes;
  {
    const Cluster now = cluster();
    for (const ReplicaSpec* r : now.replicas(volume.uuid)) {
      parts.push_back(fmt::format("replica {} on pool {}", r->uuid.to_string(), r->pool));
      nodes.push_back(now.node_id_of_pool(r->pool));
    }
  }
  if (volume.target) {
    parts.push_back("its target");
    nodes.push_back(volume.target->node);
  }
  std::vector<Task<Status>> asked;
  for (const NodeId& node : nodes) asked.push_back(nodes_.refresh_now(node));
  co_await when_all(std::span(asked));
  std::optional<Error> silent;
  for (std::size_t i = 0; i < asked.size(); ++i) {
    const Status answered = asked[i].take();
    if (answered.ok() || silent) continue;
    silent = refusal(
        Kind::unavailable,
        fmt::format("{}: {} cannot grow: node {} does not answer. Nothing was changed: try again when "
                    "the node answers, or is known to be lost",
                    volume_text(volume.uuid), parts[i], nodes[i]));
  }
  if (silent) co_return *silent;
  co_return Status();
}

Task<Status> Agent::finish_resize(const Op& op, VolumeSpec volume) {
  const std::uint64_t size_bytes = *volume.operation->size_bytes;
  std::vector<Task<Status>> acts;
  bool any_good = false;
  {
    const Cluster now = cluster();
    for (const ReplicaSpec* r : now.replicas(volume.uuid)) {
      if (now.online_replica(r->uuid) == nullptr) continue;
      any_good |= now.healthy(volume, r->uuid);
      acts.push_back(act_grow_replica(op, r->uuid, size_bytes));
    }
  }
  if (!any_good) {
    co_return refusal(Kind::unavailable, volume_text(volume.uuid) +
                                             " is being resized, and no replica that holds all "
                                             "data can be reached");
  }
  co_await when_all(std::span(acts));
  std::optional<Error> unknown, refused;
  for (auto& act : acts) {
    const Status grown = act.take();
    if (!grown.ok()) (may_have_happened(grown.error()) ? unknown : refused) = grown.error();
  }
  if (unknown) {
    co_return refusal(
        Kind::unavailable,
        fmt::format("{} is being resized: {}. It goes on by itself when the node answers: try again",
                    volume_text(volume.uuid), unknown->message()));
  }
  if (!refused) {
    const Status grown = co_await grow_target(op, volume, size_bytes);
    if (!grown.ok() && volume.repair) {
      // Nobody uses it: another one begins with the new size.
      HF_CO_CHECK(co_await end_repair(op, volume.uuid));
      volume.repair.reset();
    } else if (!grown.ok()) {
      if (may_have_happened(grown.error())) co_return grown.error();
      refused = grown.error();
    }
  }
  Changes outcome;
  for (const auto& [id, r] : specs().replicas) {
    if (r.owners.volume != volume.uuid) continue;
    ReplicaSpec spec = r;
    const auto seen = observed().replicas.find(id);
    if (!refused) spec.size_bytes = size_bytes;
    // As large as it has become, then.
    if (refused && seen != observed().replicas.end())
      spec.size_bytes = std::max(spec.size_bytes, seen->second.size_bytes);
    outcome.put(std::move(spec));
  }
  const VolumeTarget* server = volume.server();
  const auto nexus = server != nullptr ? specs().nexuses.find(server->nexus) : specs().nexuses.end();
  if (!refused && nexus != specs().nexuses.end()) {
    NexusSpec spec = nexus->second;
    spec.size_bytes = size_bytes;
    outcome.put(std::move(spec));
  }
  volume.operation.reset();
  if (!refused) volume.size_bytes = size_bytes;
  outcome.put(std::move(volume));
  HF_CO_CHECK(co_await commit(op, std::move(outcome)));
  if (refused) co_return refused->with_context(volume_text(volume.uuid));
  co_return Status();
}

// Ok: it has grown, or will when it can be asked. Unavailable: it answers and has not, because of a child that does
// not.
Task<Status> Agent::grow_target(const Op& op, VolumeSpec volume, std::uint64_t size_bytes) {
  const VolumeTarget* server = volume.server();
  if (server == nullptr || !observed().nexuses.contains(server->nexus)) co_return Status();
  const auto engine = engine_to_change(op, server->node);
  if (!engine.ok()) co_return Status();
  auto nexus = co_await engine.value()->resize_nexus(server->nexus, size_bytes);
  if (nexus.ok()) {
    nodes_.note(nexus.value());
    co_return Status();
  }
  const Error why = of_part(nexus.error());
  if (!may_have_happened(why)) co_return why;
  const Status answers = co_await nodes_.refresh_now(server->node);
  const auto seen = observed().nexuses.find(server->nexus);
  if (!answers.ok() || seen == observed().nexuses.end()) co_return Status();
  const NexusState& state = seen->second;
  // One that has ended is made anew, as large as it should be.
  const bool serves = state.status == NexusStatus::online || state.status == NexusStatus::degraded;
  if (!serves || state.size_bytes >= size_bytes) co_return Status();
  co_return refusal(
      Kind::unavailable,
      fmt::format("{} is being resized: {}. It grows by itself as soon as that replica answers, or its "
                  "target has given it up: try again",
                  volume_text(volume.uuid), why.message()));
}

Task<Result<VolumeView>> Agent::resize_volume(Uuid id, std::uint64_t size_bytes) {
  HF_CO_CHECK(check_size(size_bytes));
  HF_CO_TRY(const Op op, co_await begin(volume_guard(id)));
  HF_CO_TRY(VolumeSpec volume, co_await settled_volume(op, id));
  if (volume.status != SpecStatus::created)
    co_return refusal(Kind::deleting, volume_text(id) + " is being deleted");
  if (size_bytes < volume.size_bytes) {
    co_return refusal(Kind::invalid_argument,
                      fmt::format("{} has {} bytes: it can only grow, not shrink to {}", volume_text(id),
                                  volume.size_bytes, size_bytes));
  }
  HF_CO_CHECK(check_capacity_limit(id, size_bytes - volume.size_bytes));
  if (size_bytes > volume.size_bytes) HF_CO_CHECK(co_await grow_volume(op, std::move(volume), size_bytes));
  co_return this->volume(id);
}

}  // namespace holdfast::control
