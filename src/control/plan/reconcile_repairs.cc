// Volumes that are not published, and have a replica that misses data: the agent copies by a target of its own, to
// which nobody connects, and which goes when nothing is left to copy.
#include <algorithm>
#include <tuple>

#include "control/plan/decide.h"

namespace holdfast::control {
namespace {

bool is_large_enough(const VolumeSpec& v, const ReplicaState* replica) {
  return replica != nullptr && replica->size_bytes >= v.size_bytes;
}

// One that holds all data can be reached, and one that does not.
bool can_copy(const Cluster& cluster, const VolumeSpec& v) {
  bool from = false, to = false;
  for (const ReplicaSpec* r : cluster.replicas(v.uuid)) {
    if (r->status != SpecStatus::created || r->fill) continue;
    if (!is_large_enough(v, cluster.online_replica(r->uuid))) continue;
    (cluster.healthy(v, r->uuid) ? from : to) = true;
  }
  return from && to;
}

// A target that opens takes replicas that it cannot reach for such that miss data. So those that hold all of it are
// waited for.
bool may_leave_the_rest(Plan& plan, const VolumeSpec& v) {
  for (const ReplicaSpec* r : plan.cluster.replicas(v.uuid)) {
    if (!plan.cluster.healthy(v, r->uuid) || plan.cluster.good(v, r->uuid)) continue;
    if (!plan.is_out_for_too_long(r->uuid)) return false;
  }
  return true;
}

Action& want(Plan& plan, Do what, const VolumeSpec& v, const char* why) {
  Action& a = plan.add(what, volume_guard(v.uuid), why);
  a.volume = v.uuid;
  return a;
}

}  // namespace

void reconcile_repair(Plan& plan, const VolumeSpec& v) {
  if (v.target) return;
  const Cluster& cluster = plan.cluster;
  const bool needed = v.self_heal && can_copy(cluster, v);
  if (v.repair) {
    const bool lost = !cluster.observed.node_online(v.repair->node);
    if (lost || !needed) {
      want(plan, Do::end_repair, v, lost ? "its node does not answer" : "nothing is left to copy");
    } else {
      plan.repairs_opening += cluster.known_nexus(v.repair->nexus) == nullptr;
    }
    return;
  }
  if (!needed || !may_leave_the_rest(plan, v)) return;
  const auto choice = place_target(cluster, v, std::nullopt, std::nullopt);
  if (!choice.node) {
    plan.held = true;
    return;
  }
  want(plan, Do::start_repair, v, "it is not published, and a replica misses data").node = *choice.node;
}

void queue_repairs(Plan& plan) {
  struct Job {
    std::size_t good;  // the fewer there are, the sooner
    std::size_t index;
    bool operator<(const Job& o) const { return std::tie(good, index) < std::tie(o.good, o.index); }
  };
  std::vector<Job> jobs;
  std::uint64_t busy = plan.repairs_opening;
  for (std::size_t i = 0; i < plan.actions.size(); ++i) {
    const Action& a = plan.actions[i];
    busy += a.what == Do::add_child || a.what == Do::online_child;
    if (a.what != Do::start_repair) continue;
    const auto volume = plan.cluster.specs.volumes.find(a.volume);
    if (volume == plan.cluster.specs.volumes.end()) continue;
    const auto& replicas = plan.cluster.replicas(a.volume);
    const auto good = std::count_if(replicas.begin(), replicas.end(), [&](const ReplicaSpec* r) {
      return plan.cluster.good(volume->second, r->uuid);
    });
    jobs.push_back({static_cast<std::size_t>(good), i});
  }
  if (jobs.empty()) return;
  busy += plan.cluster.rebuilds();
  const std::uint64_t limit =
      std::min(plan.policy.rebuilds_max.value_or(plan.policy.repairs_max), plan.policy.repairs_max);
  const std::uint64_t room = limit > busy ? limit - busy : 0;
  if (jobs.size() <= room) return;
  std::sort(jobs.begin(), jobs.end());
  jobs.erase(jobs.begin(), jobs.begin() + static_cast<std::ptrdiff_t>(room));
  std::sort(jobs.begin(), jobs.end(), [](const Job& a, const Job& b) { return a.index > b.index; });
  for (const Job& job : jobs)
    plan.actions.erase(plan.actions.begin() + static_cast<std::ptrdiff_t>(job.index));
  plan.held = true;
}

}  // namespace holdfast::control
