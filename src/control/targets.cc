// Targets: volumes published, moved, unpublished; and the agent's own, of volumes that are not published.
#include <algorithm>

#include <fmt/format.h>

#include "base/log.h"
#include "control/agent.h"
#include "control/model/validate.h"
#include "control/pending.h"
#include "control/plan/status.h"
#include "control/texts.h"
#include "rt/when_all.h"

namespace holdfast::control {
namespace {

constexpr std::string_view host_nqn_prefix = "nqn.2019-05.io.openebs:node-name:";
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

std::vector<std::string> nqns(const std::vector<FrontendNode>& frontends) {
  std::vector<std::string> all;
  for (const FrontendNode& f : frontends) all.push_back(f.nqn);
  return all;
}

NexusSpec target_of(const VolumeSpec& volume, const Uuid& uuid, const NodeId& node,
                    const VolumeTarget& wanted) {
  NexusSpec nexus;
  nexus.uuid = uuid;
  nexus.name = volume.uuid.to_string();
  nexus.node = node;
  nexus.size_bytes = volume.size_bytes;
  nexus.share = wanted.protocol;
  nexus.allowed_hosts = nqns(wanted.frontends);
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

namespace {

std::vector<FrontendNode> frontends_of(const std::optional<std::string>& name) {
  if (!name || name->empty()) return {};
  // Named by its NQN, or by the name of the node.
  if (name->starts_with("nqn.")) return {{*name, *name}};
  return {{*name, std::string(host_nqn_prefix) + *name}};
}

// Every replica keeps it with the rest of the volume's specification, and has room for 32 KiB of that.
Status check_context(const std::map<std::string, std::string>& context) {
  constexpr std::size_t bytes_max = 8 << 10;
  std::size_t bytes = 0;
  for (const auto& [key, value] : context) bytes += key.size() + value.size();
  if (bytes <= bytes_max) return Status();
  return refusal(Kind::invalid_argument,
                 fmt::format("publish_context has {} bytes, at most {} are allowed", bytes, bytes_max));
}

Status check_published_for(const VolumeSpec& volume, const std::vector<FrontendNode>& frontends) {
  if (!volume.target) return refusal(Kind::not_published, volume_text(volume.uuid) + " is not published");
  const auto& allowed = volume.target->frontends;
  const bool may = frontends.empty() || allowed.empty() ||
                   std::find(allowed.begin(), allowed.end(), frontends.front()) != allowed.end();
  if (may) return Status();
  return refusal(Kind::permission_denied, fmt::format("{} is published for another node than {}",
                                                      volume_text(volume.uuid), frontends.front().name));
}

}  // namespace

Task<Result<VolumeView>> Agent::publish_volume(PublishVolume request) {
  HF_CO_CHECK(check_context(request.publish_context));
  VolumeTarget wanted;
  wanted.protocol = request.protocol;
  wanted.frontends = frontends_of(request.frontend_node);
  // Engines refuse others, and what is written down is tried for ever.
  HF_CO_CHECK(check_nqns(nqns(wanted.frontends)));
  if (request.protocol != Protocol::nvmf) {
    co_return refusal(Kind::invalid_argument,
                      fmt::format("protocol {}: volumes are published by nvmf", name(request.protocol)));
  }
  HF_CO_TRY(const Op op, co_await begin(volume_guard(request.volume)));
  if (request.node) HF_CO_CHECK(find_node(*request.node));
  const auto settled = co_await settled_volume(op, request.volume);
  const bool is_settled = settled.ok();
  HF_CO_TRY(VolumeSpec volume, find_volume(request.volume));
  // Hosts do not wait for a replica that is to grow and does not answer.
  const bool grows = volume.operation && volume.operation->operation == VolumeOp::resize;
  if (!is_settled && !grows) co_return settled.error();
  if (volume.status != SpecStatus::created) {
    co_return refusal(Kind::deleting, volume_text(volume.uuid) + " is not complete, or is being deleted");
  }
  std::optional<NodeId> avoid;
  if (volume.target && !request.republish) {
    co_return refusal(Kind::already_published, fmt::format("{} is published on node {} already",
                                                           volume_text(volume.uuid), volume.target->node));
  }
  if (request.republish) {
    HF_CO_CHECK(check_published_for(volume, wanted.frontends));
    if (wanted.frontends.empty()) wanted.frontends = volume.target->frontends;
    const NexusState* nexus = cluster().known_nexus(volume.target->nexus);
    const bool serves = nexus != nullptr && nexus->status != NexusStatus::shutdown &&
                        nexus->status != NexusStatus::faulted && nexus->status != NexusStatus::unknown;
    if (request.reuse_existing && serves) co_return this->volume(volume.uuid);
    // Its engine is back without it: made again there, as the reconciler does.
    if (request.reuse_existing && observed().node_known(volume.target->node)) {
      const Status again = co_await recreate_nexus(op, volume.target->nexus);
      const bool is_back = again.ok() && observed().nexuses.contains(volume.target->nexus);
      if (is_back) co_return this->volume(volume.uuid);
      HF_CO_TRY(volume, find_volume(request.volume));
    }
    if (!request.reuse_existing || !observed().node_online(volume.target->node)) avoid = volume.target->node;
  }
  if (volume.repair) {
    HF_CO_CHECK(co_await end_repair(op, volume.uuid));
    HF_CO_TRY(volume, find_volume(request.volume));
  }
  const TargetChoice choice = place_target(cluster(), volume, request.node, avoid);
  if (!choice.node) {
    co_return refusal(
        Kind::resource_exhausted,
        fmt::format("{}: no node can serve it: {}", volume_text(volume.uuid), explain(choice.refused)));
  }
  if (!request.publish_context.empty() && request.publish_context != volume.publish_context) {
    volume.publish_context = request.publish_context;
    HF_CO_CHECK(co_await commit_put(op, volume));
  }
  const VolumeOp what = request.republish ? VolumeOp::republish : VolumeOp::publish;
  HF_CO_CHECK(co_await serve(op, volume.uuid, *choice.node, std::move(wanted), what));
  co_return this->volume(volume.uuid);
}

Task<Status> Agent::move_target(const Op& op, Uuid id, NodeId node) {
  HF_CO_TRY(const VolumeSpec volume, find_volume(id));
  if (!volume.target || volume.operation || volume.target->node == node) co_return Status();
  VolumeTarget wanted = *volume.target;
  co_return co_await serve(op, id, node, std::move(wanted), VolumeOp::republish);
}

Task<Status> Agent::unpublish(const Op& op, Uuid id, bool force) {
  HF_CO_TRY(VolumeSpec volume, find_volume(id));
  if (!volume.target) co_return refusal(Kind::not_published, volume_text(id) + " is not published");
  const VolumeTarget target = *volume.target;
  const bool reachable = observed().node_online(target.node);
  if (!reachable && !force) {
    co_return refusal(Kind::unavailable,
                      fmt::format("{}: node {} with its target does not answer: try again, or use force",
                                  volume_text(id), target.node));
  }
  PendingVolumeOp pending;
  pending.operation = VolumeOp::unpublish;
  pending.nexus = target.nexus;
  // A resize that has begun is finished, whoever unpublishes meanwhile.
  if (volume.operation) pending.size_bytes = volume.operation->size_bytes;
  volume.operation = pending;
  HF_CO_CHECK(co_await commit_put(op, volume));
  const auto found = specs().nexuses.find(target.nexus);
  std::optional<Error> failure;
  if (reachable && found != specs().nexuses.end()) {
    const NexusSpec leaving = found->second;
    const Status ended = co_await act_destroy_nexus(op, leaving);
    if (!ended.ok()) failure = ended.error();
  }
  // A node that is gone by now, and is to be given up, keeps a fenced target until it is back.
  const bool give_up = force && failure && !observed().node_online(target.node);
  Changes outcome;
  volume.operation = after(pending);
  const bool done = !failure || give_up;
  if (done) volume.target.reset();
  outcome.put(volume);
  const auto nexus = specs().nexuses.find(target.nexus);
  if (done && nexus != specs().nexuses.end()) {
    NexusSpec spec = nexus->second;
    spec.status = SpecStatus::deleting;
    if (reachable && !failure && unix_now() >= spec.unsure_until) {
      outcome.remove(std::move(spec));
    } else {
      outcome.put(std::move(spec));
    }
  }
  HF_CO_CHECK(co_await commit(op, std::move(outcome)));
  if (!done) co_return failure->with_context(volume_text(id));
  co_return Status();
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

Task<Result<VolumeView>> Agent::unpublish_volume(Uuid id, bool force) {
  HF_CO_TRY(const Op op, co_await begin(volume_guard(id)));
  if (!force) HF_CO_CHECK(co_await settled_volume(op, id));
  HF_CO_CHECK(co_await unpublish(op, id, force));
  co_return this->volume(id);
}

Task<Status> Agent::destroy_shutdown_targets(Uuid id) {
  HF_CO_TRY(const Op op, co_await begin(volume_guard(id)));
  HF_CO_TRY(const VolumeSpec volume, find_volume(id));
  std::vector<NexusSpec> former;
  for (const auto& [uuid, n] : specs().nexuses) {
    const bool is_target = volume.target && volume.target->nexus == uuid;
    if (n.owner == id && !is_target && n.shut_down) former.push_back(n);
  }
  for (const NexusSpec& n : former) {
    const Status gone = co_await destroy_nexus(op, n.uuid);
    const auto left = specs().nexuses.find(n.uuid);
    // One whose node does not answer goes when it is back: that is written down.
    const bool noted = left == specs().nexuses.end() || left->second.status == SpecStatus::deleting;
    if (!gone.ok() && !noted) co_return gone.error();
  }
  co_return Status();
}

Task<Result<std::string>> Agent::share_volume(Uuid id, Protocol protocol,
                                              std::optional<std::string> frontend_host) {
  if (protocol != Protocol::nvmf) {
    co_return refusal(Kind::invalid_argument,
                      fmt::format("protocol {}: volumes are shared by nvmf", name(protocol)));
  }
  const std::vector<FrontendNode> frontends = frontends_of(frontend_host);
  HF_CO_CHECK(check_nqns(nqns(frontends)));
  HF_CO_TRY(const Op op, co_await begin(volume_guard(id)));
  HF_CO_TRY(VolumeSpec volume, find_volume(id));
  if (!volume.target) co_return refusal(Kind::not_published, volume_text(id) + " is not published");
  const auto found = specs().nexuses.find(volume.target->nexus);
  if (found == specs().nexuses.end()) co_return refusal(Kind::not_found, volume_text(id) + " has no target");
  NexusSpec nexus = found->second;
  if (nexus.share != Protocol::none && frontend_host && nqns(frontends) != nexus.allowed_hosts) {
    co_return refusal(Kind::already_shared,
                      volume_text(id) + " is shared already, to other hosts: unshare it first");
  }
  // Also of the targets that take its place.
  volume.target->protocol = nexus.share = protocol;
  if (frontend_host) volume.target->frontends = frontends;
  if (frontend_host) nexus.allowed_hosts = nqns(volume.target->frontends);
  Changes changes;
  changes.put(std::move(volume));
  changes.put(nexus);
  HF_CO_CHECK(co_await commit(op, std::move(changes)));
  HF_CO_CHECK(co_await act_share_nexus(op, nexus));
  HF_CO_TRY(const VolumeView shared, this->volume(id));
  co_return shared.state.target ? shared.state.target->device_uri : std::string();
}

Task<Status> Agent::unshare_volume(Uuid id) {
  HF_CO_TRY(const Op op, co_await begin(volume_guard(id)));
  HF_CO_TRY(VolumeSpec volume, find_volume(id));
  if (!volume.target) co_return refusal(Kind::not_published, volume_text(id) + " is not published");
  const auto found = specs().nexuses.find(volume.target->nexus);
  if (found == specs().nexuses.end()) co_return refusal(Kind::not_found, volume_text(id) + " has no target");
  NexusSpec nexus = found->second;
  if (nexus.share == Protocol::none) co_return refusal(Kind::not_shared, volume_text(id) + " is not shared");
  volume.target->protocol = nexus.share = Protocol::none;
  Changes changes;
  changes.put(std::move(volume));
  changes.put(nexus);
  HF_CO_CHECK(co_await commit(op, std::move(changes)));
  co_return co_await act_share_nexus(op, nexus);
}

}  // namespace holdfast::control
