#include "control/plan/fills.h"

#include <algorithm>

#include "control/plan/decide.h"

namespace holdfast::control {
namespace {

bool is_whole(const ReplicaSnapshotSpec* part) {
  return part != nullptr && part->status == SpecStatus::created;
}

std::vector<const SnapshotSpec*> wanted(const Cluster& cluster, const VolumeSpec& v) {
  std::vector<const SnapshotSpec*> all;
  for (const SnapshotSpec* s : cluster.snapshots(v.uuid)) {
    if (s->status == SpecStatus::created) all.push_back(s);
  }
  return all;
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
  const auto all = wanted(cluster, v);
  const auto& replicas = cluster.replicas(v.uuid);
  return std::any_of(replicas.begin(), replicas.end(), [&](const ReplicaSpec* other) {
    if (other->uuid == r.uuid || cluster.good(v, other->uuid)) return false;
    if (cluster.online_replica(other->uuid) == nullptr) return false;
    return std::any_of(all.begin(), all.end(),
                       [&](const SnapshotSpec* s) { return s->part_of(other->uuid) != nullptr; });
  });
}

}  // namespace

FillPlan plan_fill(const Cluster& cluster, const VolumeSpec& volume, const ReplicaSpec& replica) {
  FillPlan fill;
  const auto all = wanted(cluster, volume);
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
