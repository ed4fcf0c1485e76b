// Targets: made of replicas, moved, let go of; and the agent's own, of volumes that are not published.
#include <algorithm>

#include <fmt/format.h>

#include "base/log.h"
#include "control/agent.h"
#include "control/pending.h"
#include "control/plan/status.h"
#include "control/texts.h"
#include "rt/when_all.h"

namespace holdfast::control {
namespace {

constexpr unsigned controller_ids_width = 2;
constexpr unsigned controller_ids_last = 0xffef;  // NVMe Base 2.0: higher ones are reserved

// Another window at each publish, so that a host tells the paths apart.
ControllerIds controller_ids(std::uint32_t publish_count) {
  constexpr std::uint32_t windows = controller_ids_last / controller_ids_width;
  const auto first = 1 + controller_ids_width * ((publish_count - 1) % windows);
  return {static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(first + controller_ids_width - 1)};
}

std::uint64_t reservation_key(const Uuid& nexus) {
  std::uint64_t key = 0;
  for (std::size_t i = 8; i < 16; ++i) key = key << 8 | nexus.bytes[i];
  return key == 0 ? 1 : key;
}

NexusSpec target_of(const VolumeSpec& volume, const Uuid& uuid, const NodeId& node,
                    const VolumeTarget& wanted) {
  NexusSpec nexus;
  nexus.uuid = uuid;
  nexus.name = volume.uuid.to_string();
  nexus.node = node;
  nexus.size_bytes = volume.size_bytes;
  nexus.share = wanted.protocol;
  nexus.allowed_hosts = nqns_of(wanted.frontends);
  nexus.owner = volume.uuid;
  nexus.reservation_key = reservation_key(uuid);
  nexus.controller_ids = controller_ids(volume.publish_count);
  nexus.operation = Pending<NexusOp>{NexusOp::create, std::nullopt};
  return nexus;
}

}  // namespace

// As targets on these nodes need it.
void Agent::share_towards(ReplicaSpec& replica, const std::vector<NodeId>& nodes) const {
  if (replica.fill) return;  // once that is over
  const auto pool = specs().pools.find(replica.pool);
  std::vector<std::string> hosts;
  bool everybody = false;
  for (const NodeId& id : nodes) {
    if (pool != specs().pools.end() && pool->second.node == id) continue;
    const auto node = specs().nodes.find(id);
    if (node == specs().nodes.end()) continue;
    const auto seen = observed().nodes.find(id);
    const std::string nqn = !node->second.nqn.empty()        ? node->second.nqn
                            : seen != observed().nodes.end() ? seen->second.nqn
                                                             : std::string();
    everybody |= nqn.empty();
    hosts.push_back(nqn);
  }
  replica.share = hosts.empty() ? Protocol::none : Protocol::nvmf;
  std::sort(hosts.begin(), hosts.end());
  hosts.erase(std::unique(hosts.begin(), hosts.end()), hosts.end());
  if (everybody) hosts.clear();
  replica.allowed_hosts = std::move(hosts);
}

// Replicas shared, nexus made of those that can be reached, nexus shared.
Task<Status> Agent::open_target(const Op& op, const VolumeSpec& volume, const NexusSpec& nexus,
                                std::vector<ReplicaSpec> replicas) {
  HF_ASSERT(op.guard);
  std::vector<Task<Status>> acts;
  for (const ReplicaSpec& r : replicas) acts.push_back(act_share_replica(op, r));
  co_await when_all(std::span(acts));
  std::vector<std::string> children;
  std::optional<Error> failure;
  for (std::size_t i = 0; i < acts.size(); ++i) {
    const Status shared = acts[i].take();
    const auto uri = child_uri(replicas[i].uuid, nexus.node);
    if (!shared.ok()) failure = shared.error();
    if (shared.ok() && uri) children.push_back(*uri);
  }
  if (children.empty()) {
    if (failure) co_return failure->with_context(volume_text(volume.uuid));
    co_return refusal(Kind::unavailable, volume_text(volume.uuid) + ": none of its replicas can be reached");
  }
  // The one beside the target first: others copy from it.
  std::stable_partition(children.begin(), children.end(),
                        [](const std::string& uri) { return uri.starts_with("bdev"); });
  const Status made = co_await act_create_nexus(op, nexus, std::move(children));
  if (!made.ok()) co_return made.error().with_context(volume_text(volume.uuid));
  if (nexus.share == Protocol::none) co_return Status();
  const Status shared = co_await act_share_nexus(op, nexus);
  if (!shared.ok()) co_return shared.error().with_context(volume_text(volume.uuid));
  co_return Status();
}

Task<Status> Agent::undo_target(const Op& op, Uuid volume, Uuid nexus, bool may_come_late) {
  Changes changes;
  const auto v = specs().volumes.find(volume);
  if (v != specs().volumes.end()) {
    VolumeSpec spec = v->second;
    if (spec.operation) spec.operation = after(*spec.operation);
    changes.put(std::move(spec));
  }
  const auto n = specs().nexuses.find(nexus);
  if (n != specs().nexuses.end()) {
    NexusSpec spec = n->second;
    spec.status = SpecStatus::deleting;
    if (may_come_late) spec.unsure_until = unix_now() + late_requests_max;
    changes.put(std::move(spec));
  }
  HF_CO_CHECK(co_await commit(op, std::move(changes)));
  (co_await destroy_nexus(op, nexus)).ignore("the reconciler tries again");
  co_return Status();
}

// Every replica of the volume, as targets on these nodes need it.
std::vector<ReplicaSpec> Agent::share_replicas(const Uuid& volume, const std::vector<NodeId>& towards,
                                               Changes& changes) const {
  std::vector<ReplicaSpec> shared;
  const Cluster now = cluster();
  for (const ReplicaSpec* r : now.replicas(volume)) {
    shared.push_back(*r);
    share_towards(shared.back(), towards);
    changes.put(shared.back());
  }
  return shared;
}

// The target on `node` serves: the former one is to be removed, and the replicas are for the new one alone.
void Agent::leave_former(const VolumeTarget& former, const std::vector<ReplicaSpec>& replicas,
                         const NodeId& node, Changes& changes) const {
  const auto old = specs().nexuses.find(former.nexus);
  if (old != specs().nexuses.end()) {
    NexusSpec ended = old->second;
    ended.shut_down = true;
    ended.status = SpecStatus::deleting;
    changes.put(std::move(ended));
  }
  for (const ReplicaSpec& r : replicas) {
    const auto found = specs().replicas.find(r.uuid);
    if (found == specs().replicas.end()) continue;
    ReplicaSpec spec = found->second;
    share_towards(spec, {node});
    changes.put(std::move(spec));
  }
}

// Puts the volume's target on a node, in the place of the one that it has, if it has one.
Task<Status> Agent::serve(const Op& op, Uuid id, NodeId node, VolumeTarget wanted, VolumeOp operation) {
  HF_CO_TRY(VolumeSpec volume, find_volume(id));
  const auto former = volume.target;
  ++volume.publish_count;
  NexusSpec nexus = target_of(volume, new_uuid(), node, wanted);
  PendingVolumeOp pending;
  pending.operation = operation;
  pending.nexus = nexus.uuid;
  // A resize that has begun is finished, wherever its target is meanwhile.
  if (volume.operation) pending.size_bytes = volume.operation->size_bytes;
  volume.operation = pending;
  Changes intent;
  std::vector<NodeId> towards(1, node);
  if (former) towards.push_back(former->node);
  const std::vector<ReplicaSpec> all = share_replicas(id, towards, intent);
  std::vector<ReplicaSpec> good;
  {
    const Cluster now = cluster();
    for (const ReplicaSpec& r : all) {
      const ReplicaState* seen = now.online_replica(r.uuid);
      if (seen != nullptr && seen->size_bytes >= volume.size_bytes && now.healthy(volume, r.uuid))
        good.push_back(r);
    }
  }
  if (good.empty()) {
    const VolumeState state = volume_state(cluster(), specs().volumes.at(id));
    co_return refusal(
        Kind::failed_precondition,
        fmt::format("{} cannot be served: no replica that holds all data can be reached ({})",
                    volume_text(id), state.reason.empty() ? "of its target's size" : state.reason));
  }
  intent.put(nexus);
  intent.put(volume);
  HF_CO_CHECK(co_await commit(op, std::move(intent)));
  // A target that can be reached ends cleanly; one that cannot is fenced by the reservation of the new one.
  if (former && observed().node_online(former->node)) {
    auto engine = engine_to_change(op, former->node);
    if (engine.ok()) {
      auto ended = co_await engine.value()->shutdown_nexus(former->nexus);
      if (ended.ok()) nodes_.note(ended.value());
    }
  }
  const Status opened = co_await open_target(op, volume, nexus, std::move(good));
  if (!opened.ok()) {
    const Error& why = opened.error();
    (co_await undo_target(op, id, nexus.uuid, may_have_happened(why))).ignore("the next agent settles it");
    co_return why;
  }
  Changes outcome;
  nexus.status = SpecStatus::created;
  nexus.operation.reset();
  outcome.put(nexus);
  volume.operation = after(pending);
  wanted.node = node;
  wanted.nexus = nexus.uuid;
  volume.target = wanted;
  outcome.put(volume);
  if (former) leave_former(*former, all, node, outcome);
  HF_CO_CHECK(co_await commit(op, std::move(outcome)));
  if (former && observed().node_online(former->node)) {
    (co_await destroy_nexus(op, former->nexus)).ignore("the reconciler tries again");
  }
  events_.add("Volume", former ? "SwitchOver" : "Create", id.to_string(), node,
              fmt::format("{} is served by node {}", volume_text(id), node));
  co_return Status();
}

Task<Status> Agent::move_target(const Op& op, Uuid id, NodeId node) {
  HF_CO_TRY(const VolumeSpec volume, find_volume(id));
  if (!volume.target || volume.operation || volume.target->node == node) co_return Status();
  VolumeTarget wanted = *volume.target;
  co_return co_await serve(op, id, node, std::move(wanted), VolumeOp::republish);
}

// A wish alone: the nexus is made by the action that follows from it, as any that its engine does not have.
Task<Status> Agent::start_repair(const Op& op, const Action& action) {
  HF_CO_TRY(VolumeSpec volume, find_volume(action.volume));
  const bool idle = volume.status == SpecStatus::created && !volume.operation;
  if (!idle || volume.server() != nullptr) co_return Status();
  VolumeTarget repair;
  repair.node = action.node;
  repair.nexus = new_uuid();
  repair.protocol = Protocol::none;
  ++volume.publish_count;
  Changes changes;
  changes.put(target_of(volume, repair.nexus, repair.node, repair));
  share_replicas(volume.uuid, std::vector<NodeId>(1, repair.node), changes);
  volume.repair = std::move(repair);
  changes.put(std::move(volume));
  HF_CO_CHECK(co_await commit(op, std::move(changes)));
  HF_LOG(info, "control", "a volume that is not published is repaired", {"volume", action.volume.to_string()},
         {"node", action.node});
  co_return Status();
}

// Whatever becomes of its nexus: one that cannot be reached is fenced by the next target of the volume. Until when a
// request that makes it may still arrive was written before it was asked for.
Task<Status> Agent::end_repair(const Op& op, Uuid id) {
  HF_CO_TRY(VolumeSpec volume, find_volume(id));
  if (!volume.repair) co_return Status();
  const Uuid nexus = volume.repair->nexus;
  volume.repair.reset();
  Changes changes;
  changes.put(std::move(volume));
  const auto found = specs().nexuses.find(nexus);
  if (found != specs().nexuses.end()) {
    NexusSpec leaving = found->second;
    leaving.status = SpecStatus::deleting;
    changes.put(std::move(leaving));
  }
  HF_CO_CHECK(co_await commit(op, std::move(changes)));
  (co_await destroy_nexus(op, nexus)).ignore("the reconciler tries again");
  co_return Status();
}

}  // namespace holdfast::control
