#include "control/plan/fills.h"

#include <algorithm>
#include <set>

namespace holdfast::control {
namespace {

bool is_whole(const ReplicaSnapshotSpec* part) {
  return part != nullptr && part->status == SpecStatus::created;
}

const ReplicaSpec* choose_source(const Cluster& cluster, const VolumeSpec& v, const ReplicaSpec& r,
                                 const std::vector<const SnapshotSpec*>& all) {
  const ReplicaSpec* best = nullptr;
  std::ptrdiff_t most = 0;
  for (const ReplicaSpec* other : cluster.replicas(v.uuid)) {
    const bool fits = other->uuid != r.uuid && other->status == SpecStatus::created && !other->fill &&
                      cluster.good(v, other->uuid) && cluster.node_of_pool(other->pool) != nullptr &&
                      cluster.node_id_of_pool(other->pool) != cluster.node_id_of_pool(r.pool);
    if (!fits) continue;
    const auto has = std::count_if(all.begin(), all.end(),
                                   [&](const SnapshotSpec* s) { return is_whole(s->part_of(other->uuid)); });
    if (has <= most) continue;
    best = other;
    most = has;
  }
  return best;
}

std::size_t others_in_sync(const Cluster& cluster, const VolumeSpec& v, const ReplicaSpec& r) {
  const auto& all = cluster.replicas(v.uuid);
  return static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [&](const ReplicaSpec* other) {
    return other->uuid != r.uuid && cluster.good(v, other->uuid);
  }));
}

// How long a replica waits for another one to become its source.
constexpr UnixNanos source_wait = 300LL * 1'000'000'000;

// Another replica has some of the snapshots, or is given them, and is not in sync yet.
bool source_is_coming(const Cluster& cluster, const VolumeSpec& v, const ReplicaSpec& r) {
  const auto all = snapshots_to_copy(cluster, v);
  const auto& replicas = cluster.replicas(v.uuid);
  return std::any_of(replicas.begin(), replicas.end(), [&](const ReplicaSpec* other) {
    if (other->uuid == r.uuid || cluster.good(v, other->uuid)) return false;
    if (cluster.online_replica(other->uuid) == nullptr) return false;
    return std::any_of(all.begin(), all.end(),
                       [&](const SnapshotSpec* s) { return s->part_of(other->uuid) != nullptr; });
  });
}

bool is_being_emptied(const Cluster& cluster, const PoolSpec& pool) {
  const auto node = cluster.specs.nodes.find(pool.node);
  return pool.evacuating || (node != cluster.specs.nodes.end() && node->second.replicas_leave());
}

}  // namespace

std::vector<const SnapshotSpec*> snapshots_to_copy(const Cluster& cluster, const VolumeSpec& v) {
  std::vector<const SnapshotSpec*> all;
  for (const SnapshotSpec* s : cluster.snapshots(v.uuid)) {
    if (s->status == SpecStatus::created) all.push_back(s);
  }
  return all;
}

FillPlan plan_fill(const Cluster& cluster, const VolumeSpec& volume, const ReplicaSpec& replica) {
  FillPlan fill;
  const auto all = snapshots_to_copy(cluster, volume);
  fill.source = choose_source(cluster, volume, replica, all);
  if (fill.source == nullptr) return fill;
  for (const SnapshotSpec* s : all) {
    const ReplicaSnapshotSpec* from = s->part_of(fill.source->uuid);
    if (!is_whole(from)) continue;
    if (const ReplicaSnapshotSpec* to = s->part_of(replica.uuid)) {
      fill.copies.push_back({s, from->uuid, to->uuid});
    } else {
      fill.unplanned.push_back(s);
    }
  }
  return fill;
}

std::uint64_t running_fills(const Cluster& cluster) {
  std::uint64_t running = 0;
  for (const auto& [id, r] : cluster.specs.replicas)
    running += r.fill && r.fill->begun && cluster.online_replica(id) != nullptr;
  return running;
}

bool is_surplus(const Cluster& cluster, const SnapshotSpec& s, const ReplicaSnapshotSpec& part) {
  const bool left_behind = part.status == SpecStatus::created && part.unsure_until == 0 &&
                           s.status == SpecStatus::created && !cluster.specs.replicas.contains(part.replica);
  const auto volume = cluster.specs.volumes.find(s.volume);
  if (!left_behind || volume == cluster.specs.volumes.end()) return false;
  const auto& replicas = cluster.replicas(s.volume);
  if (replicas.empty() || replicas.size() < volume->second.num_replicas) return false;
  return std::all_of(replicas.begin(), replicas.end(), [&](const ReplicaSpec* r) {
    const ReplicaSnapshotSpec* own = s.part_of(r->uuid);
    return is_whole(own) && cluster.usable_pool(own->pool) != nullptr &&
           cluster.observed.node_known(cluster.node_id_of_pool(own->pool)) &&
           cluster.observed.snapshots.contains(own->uuid);
  });
}

void reconcile_surplus(Plan& plan) {
  const Cluster& cluster = plan.cluster;
  std::set<PoolId> emptied;
  for (const auto& [id, pool] : cluster.specs.pools) {
    if (!cluster.index.snapshot_parts_of_pool.contains(id) || !is_being_emptied(cluster, pool)) continue;
    if (cluster.usable_pool(id) != nullptr) emptied.insert(id);
  }
  if (emptied.empty()) return;
  for (const auto& [id, s] : cluster.specs.snapshots) {
    for (const ReplicaSnapshotSpec& part : s.parts()) {
      if (!emptied.contains(part.pool) || !is_surplus(cluster, s, part)) continue;
      Action& a = plan.add(Do::destroy_part, snapshot_guard(id), "its pool is being emptied, others have it");
      a.snapshot = id;
      a.part = part.uuid;
      a.pool = part.pool;
      a.node = cluster.node_id_of_pool(part.pool);
    }
  }
}

void reconcile_fill(Plan& plan, const ReplicaSpec& r) {
  const Cluster& cluster = plan.cluster;
  const auto found =
      r.owners.volume ? cluster.specs.volumes.find(*r.owners.volume) : cluster.specs.volumes.end();
  if (found == cluster.specs.volumes.end() || found->second.status != SpecStatus::created) return;
  const VolumeSpec& v = found->second;
  const std::size_t in_sync = others_in_sync(cluster, v, r);
  if (in_sync == 0) return;  // there is nothing to take its place with, either
  const auto want = [&](Do what, const char* why) {
    Action& a = plan.add(what, volume_guard(v.uuid), why);
    a.volume = v.uuid;
    a.replica = r.uuid;
    a.pool = r.pool;
    a.node = cluster.node_id_of_pool(r.pool);
  };
  const FillPlan fill = plan_fill(cluster, v, r);
  if (fill.copies.empty() && fill.unplanned.empty()) {
    if (source_is_coming(cluster, v, r) && !plan.reached(r.fill->since + source_wait)) return;
    want(Do::end_fill, "there is no snapshot that it can be given");
    return;
  }
  if (in_sync == 1 && plan.reached(r.fill->since + plan.policy.fill_wait)) {
    want(Do::end_fill, "the volume has waited for long enough, with one replica in sync");
    return;
  }
  for (const SnapshotSpec* s : fill.unplanned) {
    Action& a = plan.add(Do::plan_copy, snapshot_guard(s->uuid), "a new replica gets it");
    a.snapshot = s->uuid;
    a.replica = r.uuid;
    a.pool = r.pool;
  }
  if (fill.unplanned.empty()) want(Do::fill_replica, "it gets copies of the volume's snapshots");
}

}  // namespace holdfast::control
