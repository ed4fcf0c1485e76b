// Snapshots: parts of failed attempts go, those of deleted snapshots go, and copies that were let go of; a snapshot
// without any part goes unless it is complete. Copies of snapshots are noted when they are there. A settled snapshot
// wants nothing whatever engines report (Index::unsettled_snapshots).
#include "control/plan/decide.h"

namespace holdfast::control {
namespace {

Action& want(Plan& plan, Do what, const SnapshotSpec& s, std::string why) {
  Action& a = plan.add(what, snapshot_guard(s.uuid), std::move(why));
  a.snapshot = s.uuid;
  return a;
}

void remove_part(Plan& plan, const SnapshotSpec& s, const ReplicaSnapshotSpec& part, const char* why) {
  const Cluster& cluster = plan.cluster;
  const bool there = cluster.observed.snapshots.contains(part.uuid);
  const NodeId node = cluster.node_id_of_pool(part.pool);
  const bool pool_gone = node.empty() || !cluster.specs.nodes.contains(node);
  const bool pool_known = cluster.usable_pool(part.pool) != nullptr && cluster.observed.node_known(node);
  if (!pool_gone && !pool_known) return;
  const bool destroy = there && !pool_gone;
  if (!destroy && !plan.reached(part.unsure_until)) return;
  Action& a = want(plan, destroy ? Do::destroy_part : Do::forget_part, s, why);
  a.part = part.uuid;
  a.pool = part.pool;
  a.node = node;
}

// A copy that its replica's fill makes, or was to make.
void reconcile_copy(Plan& plan, const SnapshotSpec& s, const ReplicaSnapshotSpec& part) {
  const Cluster& cluster = plan.cluster;
  const auto add = [&](Do what, const char* why) {
    Action& a = want(plan, what, s, why);
    a.part = part.uuid;
    a.pool = part.pool;
    a.node = cluster.node_id_of_pool(part.pool);
  };
  if (s.status == SpecStatus::created && part.status == SpecStatus::creating &&
      cluster.observed.snapshots.contains(part.uuid)) {
    add(Do::note_copy, "it is there");
    return;
  }
  const auto replica = cluster.specs.replicas.find(part.replica);
  const bool exists = replica != cluster.specs.replicas.end();
  if (exists && (replica->second.fill || !plan.reached(replica->second.unsure_until))) return;
  const NodeId node = cluster.node_id_of_pool(part.pool);
  const bool pool_gone = node.empty() || !cluster.specs.nodes.contains(node);
  const bool pool_known = cluster.usable_pool(part.pool) != nullptr && cluster.observed.node_known(node);
  if (pool_gone || pool_known) add(Do::settle_copy, "nothing makes it any more");
}

}  // namespace

void reconcile_snapshots(Plan& plan) {
  for (const auto& [id, unsettled] : plan.cluster.index.unsettled_snapshots) {
    const SnapshotSpec& s = *unsettled;
    const bool deleting = s.status == SpecStatus::deleting;
    if (s.status != SpecStatus::created && s.transactions.empty()) {
      want(plan, Do::forget_snapshot, s, deleting ? "it is deleted" : "it was never taken");
      continue;
    }
    for (const auto& [transaction, parts] : s.transactions) {
      for (const auto& part : parts) {
        if (part.unsure_until == with_its_fill) reconcile_copy(plan, s, part);
      }
      const bool kept = s.status == SpecStatus::created && transaction == s.transaction;
      for (const auto& part : parts) {
        if (kept && part.status != SpecStatus::deleting) continue;
        remove_part(plan, s, part,
                    kept       ? "others have it"
                    : deleting ? "the snapshot is being deleted"
                               : "the attempt failed");
      }
    }
  }
}

}  // namespace holdfast::control
