// Volumes are published, shared with other hosts, and unpublished.
#include <algorithm>

#include <fmt/format.h>

#include "control/agent.h"
#include "control/model/validate.h"
#include "control/pending.h"
#include "control/texts.h"

namespace holdfast::control {
namespace {

constexpr std::string_view host_nqn_prefix = "nqn.2019-05.io.openebs:node-name:";

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
  HF_CO_CHECK(check_nqns(nqns_of(wanted.frontends)));
  if (request.protocol != Protocol::nvmf) {
    co_return refusal(Kind::invalid_argument,
                      fmt::format("protocol {}: volumes are published by nvmf", name(request.protocol)));
  }
  HF_CO_TRY(const Op op, co_await begin(volume_guard(request.volume)));
  if (request.node && request.node->empty()) request.node.reset();
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
    // Asked for, and able to.
    const NodeId home = volume.target->node;
    const bool elsewhere = request.node && *request.node != home &&
                           place_target(cluster(), volume, request.node, home).node == request.node;
    if (request.reuse_existing && !elsewhere && observed().node_known(volume.target->node)) {
      const Status again = co_await recreate_nexus(op, volume.target->nexus);
      const bool is_back = again.ok() && observed().nexuses.contains(volume.target->nexus);
      if (is_back) co_return this->volume(volume.uuid);
      HF_CO_TRY(volume, find_volume(request.volume));
      if (!volume.target) co_return no_longer_leading();  // whoever leads by now has ended it
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
  HF_CO_CHECK(check_nqns(nqns_of(frontends)));
  HF_CO_TRY(const Op op, co_await begin(volume_guard(id)));
  HF_CO_TRY(VolumeSpec volume, find_volume(id));
  if (!volume.target) co_return refusal(Kind::not_published, volume_text(id) + " is not published");
  const auto found = specs().nexuses.find(volume.target->nexus);
  if (found == specs().nexuses.end()) co_return refusal(Kind::not_found, volume_text(id) + " has no target");
  NexusSpec nexus = found->second;
  if (nexus.share != Protocol::none && frontend_host && nqns_of(frontends) != nexus.allowed_hosts) {
    co_return refusal(Kind::already_shared,
                      volume_text(id) + " is shared already, to other hosts: unshare it first");
  }
  // Also of the targets that take its place.
  volume.target->protocol = nexus.share = protocol;
  if (frontend_host) volume.target->frontends = frontends;
  if (frontend_host) nexus.allowed_hosts = nqns_of(volume.target->frontends);
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
