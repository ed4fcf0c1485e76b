#include "control/plan/adopt.h"

#include <algorithm>
#include <map>
#include <tuple>

#include <fmt/format.h>

#include "control/plan/adopt_volume.h"

namespace holdfast::control {
namespace {

constexpr std::size_t uuid_chars = 36;

using Records = std::vector<ReportedReplica>;

void look_at_nodes(const Cluster& cluster, const Records& records, AdoptPlan& plan) {
  for (const auto& [id, node] : cluster.specs.nodes) {
    if (!cluster.observed.node_known(id)) {
      plan.findings.push_back(
          {"node", id, Verdict::skipped, "it does not answer: nothing of what it has is seen", {}, {}});
      continue;
    }
    const ReportedReplica* newest = nullptr;
    for (const ReportedReplica& r : records) {
      if (r.state->node == id && (newest == nullptr || r.record.written > newest->record.written))
        newest = &r;
    }
    if (newest == nullptr || newest->record.node_labels.empty() || !node.labels.empty()) continue;
    NodeSpec labelled = node;
    labelled.labels = newest->record.node_labels;
    plan.nodes.push_back(std::move(labelled));
    plan.findings.push_back({"node", id, Verdict::adopted, "it gets the labels that it had", {}, {}});
  }
}

void look_at_pools(const Cluster& cluster, const Records& records, AdoptPlan& plan) {
  for (const auto& [id, state] : cluster.observed.pools) {
    if (!cluster.observed.node_known(state.node)) continue;
    const auto known = cluster.specs.pools.find(id);
    if (known != cluster.specs.pools.end()) {
      const bool same = known->second.node == state.node;
      plan.findings.push_back({"pool",
                               id,
                               same ? Verdict::present : Verdict::conflict,
                               same ? ""
                                    : fmt::format("it is on node {}, and in the store on node {}", state.node,
                                                  known->second.node),
                               {},
                               {}});
      continue;
    }
    PoolSpec pool;
    pool.id = id;
    pool.node = state.node;
    pool.disks = state.disks;
    if (state.cluster_bytes != 0) pool.cluster_bytes = static_cast<std::uint32_t>(state.cluster_bytes);
    pool.status = SpecStatus::created;
    const ReportedReplica* newest = nullptr;
    for (const ReportedReplica& r : records) {
      if (r.state->pool == id && (newest == nullptr || r.record.written > newest->record.written))
        newest = &r;
    }
    if (newest != nullptr) pool.labels = newest->record.pool_labels;
    plan.findings.push_back({"pool", id, Verdict::adopted, fmt::format("on node {}", state.node), {}, {}});
    plan.pools.push_back(std::move(pool));
  }
}

// Those that say what they are a copy of.
Records read_records(const Cluster& cluster, const std::vector<KeptRecord>& kept, AdoptPlan& plan) {
  Records all;
  const auto leave = [&plan](const Uuid& id, Verdict verdict, std::string why) {
    plan.findings.push_back({"replica", id.to_string(), verdict, std::move(why), {}, {}});
  };
  for (const KeptRecord& one : kept) {
    const ReplicaState* state = cluster.online_replica(one.replica);
    const bool known = cluster.specs.replicas.contains(one.replica);
    if (one.text.empty()) {
      if (!known) leave(one.replica, Verdict::left, "it says nothing of a volume");
      continue;
    }
    auto parsed = parse_record("of replica " + one.replica.to_string(), one.text);
    if (!parsed.ok()) {
      leave(one.replica, Verdict::left, parsed.error().message());
    } else if (state == nullptr) {
      leave(one.replica, Verdict::skipped, "it is not online");
    } else {
      all.push_back({&one, state, std::move(parsed).value()});
    }
  }
  return all;
}

// ---- snapshots

struct Attempt {
  UnixNanos taken = 0;
  std::vector<const SnapshotState*> parts;
};

SnapshotSpec make_snapshot(const Uuid& id, const Uuid& volume, const std::string& transaction,
                           const Attempt& attempt) {
  SnapshotSpec spec;
  spec.uuid = id;
  spec.volume = volume;
  spec.status = SpecStatus::created;
  spec.taken = attempt.taken;
  spec.transaction = transaction;
  for (const SnapshotState* s : attempt.parts) {
    spec.size_bytes = std::max(spec.size_bytes, s->size_bytes);
    ReplicaSnapshotSpec part;
    part.uuid = s->uuid;
    part.replica = s->replica;
    part.pool = s->pool;
    part.pool_uuid = s->pool_uuid;
    part.status = SpecStatus::created;
    spec.transactions[transaction].push_back(std::move(part));
  }
  return spec;
}

// Of several attempts only the last one can have succeeded; each of its parts has what the volume had then.
void look_at_snapshots(const Cluster& cluster, AdoptPlan& plan) {
  std::map<std::pair<Uuid, Uuid>, std::map<std::string, Attempt>> found;  // by snapshot and volume
  for (const auto& [id, s] : cluster.observed.snapshots) {
    if (cluster.usable_pool(s.pool) == nullptr) continue;
    const auto snapshot = snapshot_of_part(s.name, s.transaction);
    const auto volume = Uuid::parse(s.entity_id);
    if (!volume.ok() || !snapshot || !s.valid || s.discarded) {
      plan.findings.push_back({"snapshot",
                               id.to_string(),
                               Verdict::left,
                               "it is no complete part of a volume's snapshot",
                               {},
                               {}});
      continue;
    }
    Attempt& attempt = found[{*snapshot, volume.value()}][s.transaction];
    attempt.taken = std::max(attempt.taken, s.taken);
    attempt.parts.push_back(&s);
  }
  for (const auto& [key, attempts] : found) {
    const auto& [id, volume] = key;
    const auto known = cluster.specs.snapshots.find(id);
    if (known != cluster.specs.snapshots.end()) {
      const bool same = known->second.volume == volume;
      plan.findings.push_back({"snapshot",
                               id.to_string(),
                               same ? Verdict::present : Verdict::conflict,
                               same ? "" : "in the store it is of another volume",
                               {},
                               {}});
      continue;
    }
    const auto last = std::max_element(attempts.begin(), attempts.end(), [](const auto& a, const auto& b) {
      return a.second.taken < b.second.taken;
    });
    for (const auto& [transaction, attempt] : attempts) {
      if (transaction == last->first) continue;
      for (const SnapshotState* s : attempt.parts) {
        plan.findings.push_back(
            {"snapshot", s->uuid.to_string(), Verdict::left, "it is of an attempt that failed", {}, {}});
      }
    }
    plan.findings.push_back(
        {"snapshot",
         id.to_string(),
         Verdict::adopted,
         fmt::format("of volume {}, on {} pools", volume.to_string(), last->second.parts.size()),
         {},
         {}});
    plan.snapshots.push_back(make_snapshot(id, volume, last->first, last->second));
  }
}

}  // namespace

const Finding* AdoptPlan::first_conflict() const noexcept {
  const auto found = std::find_if(findings.begin(), findings.end(),
                                  [](const Finding& f) { return f.verdict == Verdict::conflict; });
  return found == findings.end() ? nullptr : &*found;
}

AdoptPlan plan_adoption(const Cluster& cluster, const std::vector<KeptRecord>& kept,
                        const AdoptRequest& request) {
  AdoptPlan plan;
  const Records records = read_records(cluster, kept, plan);
  look_at_nodes(cluster, records, plan);
  look_at_pools(cluster, records, plan);
  std::map<Uuid, std::vector<const ReportedReplica*>> by_volume;
  for (const ReportedReplica& r : records) by_volume[r.record.volume.uuid].push_back(&r);
  for (const auto& [id, replicas] : by_volume) look_at_volume(cluster, id, replicas, request, plan);
  for (const auto& [id, volume] : cluster.specs.volumes) {
    if (cluster.is_unrecorded(volume) && !by_volume.contains(id))
      look_at_silent_volume(cluster, volume, kept, request, plan);
  }
  look_at_snapshots(cluster, plan);
  return plan;
}

std::string snapshot_part_name(const Uuid& snapshot, const std::string& transaction, const Uuid& part) {
  const std::string name = snapshot.to_string() + "@" + transaction;
  return part.is_nil() ? name : name + "@" + part.to_string();
}

std::optional<Uuid> snapshot_of_part(std::string_view name, std::string_view transaction) {
  if (name.size() < uuid_chars + 1 + transaction.size() || name[uuid_chars] != '@') return std::nullopt;
  auto snapshot = Uuid::parse(name.substr(0, uuid_chars));
  std::string_view rest = name.substr(uuid_chars + 1);
  if (!snapshot.ok() || transaction.empty() || !rest.starts_with(transaction)) return std::nullopt;
  rest.remove_prefix(transaction.size());
  if (!rest.empty() && rest.front() != '@') return std::nullopt;
  return snapshot.value();
}

}  // namespace holdfast::control
