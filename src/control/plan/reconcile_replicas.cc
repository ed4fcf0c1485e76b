// Replicas: created to the end, shared as wanted, let go when nobody owns them, deleted when let go.
#include <algorithm>

#include "control/plan/decide.h"

namespace holdfast::control {
namespace {

void want(Plan& plan, Do what, const ReplicaSpec& r, std::string why) {
  Action& a = plan.add(what, replica_guard(r), std::move(why));
  a.replica = r.uuid;
  a.pool = r.pool;
}

// Its engine can be relied on and does not have it.
bool surely_absent(const Cluster& cluster, const ReplicaSpec& r) {
  if (cluster.observed.replicas.contains(r.uuid)) return false;
  const auto pool = cluster.specs.pools.find(r.pool);
  if (pool == cluster.specs.pools.end()) return true;  // forgotten, with all that was in it
  if (!cluster.specs.nodes.contains(pool->second.node)) return true;
  return cluster.observed.node_known(pool->second.node) && cluster.usable_pool(r.pool) != nullptr;
}

void reconcile_deleting(Plan& plan, const ReplicaSpec& r) {
  if (surely_absent(plan.cluster, r)) {
    if (!plan.reached(r.unsure_until)) return;
    want(plan, Do::forget_replica, r, "it is deleted");
    return;
  }
  // A target that still has it as a child lets go first.
  if (plan.cluster.is_child(r)) return;
  const bool pool_works = plan.cluster.usable_pool(r.pool) != nullptr;
  if (pool_works && plan.cluster.observed.replicas.contains(r.uuid)) {
    want(plan, Do::destroy_replica, r, "it is being deleted");
  }
}

bool has_lost_owner(const Specs& specs, const ReplicaSpec& r) {
  if (r.owners.volume && !specs.volumes.contains(*r.owners.volume)) return true;
  return std::any_of(r.owners.nexuses.begin(), r.owners.nexuses.end(),
                     [&](const Uuid& n) { return !specs.nexuses.contains(n); });
}

void reconcile_kept(Plan& plan, const ReplicaSpec& r) {
  const Cluster& cluster = plan.cluster;
  if (has_lost_owner(cluster.specs, r) || (r.managed && r.owners.none())) {
    want(plan, Do::disown_replica, r, "what it was made for is gone");
    return;
  }
  const bool pool_works =
      cluster.usable_pool(r.pool) != nullptr && cluster.observed.node_known(cluster.node_id_of_pool(r.pool));
  if (!pool_works) return;
  if (r.status == SpecStatus::creating) {
    const auto owner =
        r.owners.volume ? cluster.specs.volumes.find(*r.owners.volume) : cluster.specs.volumes.end();
    // A volume that was never completed goes with all its replicas.
    if (owner != cluster.specs.volumes.end() && owner->second.status != SpecStatus::created) return;
    want(plan, Do::create_replica, r, "it is not there yet");
    return;
  }
  const ReplicaState* state = cluster.online_replica(r.uuid);
  if (state == nullptr) return;
  if (r.fill) {
    reconcile_fill(plan, r);
    return;
  }
  if (state->share != r.share || (r.share == Protocol::nvmf && state->allowed_hosts != r.allowed_hosts)) {
    want(plan, Do::share_replica, r, "it is not shared as it should be");
  }
  if (state->size_bytes < r.size_bytes) want(plan, Do::grow_replica, r, "it is smaller than it should be");
  if (state->size_bytes > r.size_bytes) want(plan, Do::record_size, r, "it is larger than was known");
}

}  // namespace

void reconcile_replica(Plan& plan, const ReplicaSpec& r) {
  if (r.status == SpecStatus::deleting) {
    reconcile_deleting(plan, r);
  } else {
    reconcile_kept(plan, r);
  }
}

}  // namespace holdfast::control
