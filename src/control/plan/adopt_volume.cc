#include "control/plan/adopt_volume.h"

#include <algorithm>
#include <tuple>

#include <fmt/format.h>

namespace holdfast::control {
namespace {

using Replicas = std::vector<const ReportedReplica*>;

// Why a volume is not adopted.
struct Refusal {
  Verdict verdict = Verdict::skipped;
  std::string why;
};

bool contains(const std::vector<Uuid>& all, const Uuid& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

auto age(const ReportedReplica& r) { return std::tuple(r.record.membership.epoch, r.record.written); }

// What users asked for, without what came of it.
VolumeSpec wishes(VolumeSpec v) {
  v.target.reset();
  v.repair.reset();
  v.publish_context.clear();
  v.publish_count = 0;
  v.moves.clear();
  v.operation.reset();
  v.status = SpecStatus::created;
  v.as_thin = false;
  return v;
}

// Two memberships of one epoch, or two specs of one moment, are two histories.
std::optional<Refusal> contradiction(const Replicas& replicas, const ReportedReplica& newest) {
  for (const ReportedReplica* r : replicas) {
    const bool same_epoch = r->record.membership.epoch == newest.record.membership.epoch;
    const bool same_time = same_epoch && r->record.written == newest.record.written;
    const bool differ = (same_epoch && !(r->record.membership == newest.record.membership)) ||
                        (same_time && !(r->record.volume == newest.record.volume));
    if (!differ) continue;
    return Refusal{Verdict::conflict,
                   fmt::format("replicas {} and {} say different things of it",
                               newest.kept->replica.to_string(), r->kept->replica.to_string())};
  }
  return std::nullopt;
}

// The target that serves it now; an error when it is not the one that its replicas know of.
struct Live {
  const NexusState* target = nullptr;
  std::optional<Refusal> refused;
};
Live live_target(const Cluster& cluster, const ReplicaRecord& newest) {
  Live live;
  const std::string name = newest.volume.uuid.to_string();
  const VolumeTarget* server = newest.volume.server();
  for (const auto& [id, nexus] : cluster.observed.nexuses) {
    if (nexus.name != name || !cluster.observed.node_online(nexus.node)) continue;
    const bool known =
        server != nullptr && newest.target && server->nexus == id && server->node == nexus.node;
    if (!known) {
      live.refused.emplace();
      live.refused->why =
          fmt::format("nexus {} on node {} serves it, of which its replicas do not tell: shut it down first",
                      id.to_string(), nexus.node);
      continue;
    }
    if (nexus.status == NexusStatus::online || nexus.status == NexusStatus::degraded) live.target = &nexus;
  }
  return live;
}

class InSync {
 public:
  InSync(const ReportedReplica& newest, const Replicas& present, const Membership& membership)
      : newest_(newest), present_(present), membership_(membership) {}

  // Sets `chosen`, or says why that cannot be done.
  std::optional<Refusal> choose(const NexusState* target, const AdoptRequest& request) {
    if (target != nullptr) return by_target(*target);
    for (const ReportedReplica* r : present_) {
      if (contains(request.take, r->kept->replica)) chosen.push_back(r->kept->replica);
    }
    taken = !chosen.empty();
    return taken ? std::nullopt : by_epochs();
  }

  std::vector<Uuid> chosen;
  bool demoted = false;  // not all that the membership calls healthy are chosen
  bool taken = false;    // the user said so

 private:
  bool is_present(const Uuid& id) const {
    return std::any_of(present_.begin(), present_.end(),
                       [&](const auto* r) { return r->kept->replica == id; });
  }
  static Refusal not_reported(const Uuid& id, const char* says) {
    return {
        Verdict::skipped,
        fmt::format("replica {} {}, and it is not reported: bring its node and its disks back, or name the "
                    "replica that is to be taken instead",
                    id.to_string(), says)};
  }

  std::optional<Refusal> by_target(const NexusState& target) {
    for (const ChildState& c : target.children) {
      if (c.status != ChildStatus::online || !c.replica) continue;
      if (!is_present(*c.replica)) return not_reported(*c.replica, "is in sync in the target");
      chosen.push_back(*c.replica);
    }
    if (!chosen.empty()) return std::nullopt;
    return Refusal{Verdict::skipped, "its target has no replica in sync"};
  }

  std::optional<Refusal> by_epochs() {
    std::uint32_t latest = 0;
    const ReportedReplica* front = nullptr;
    for (const ReportedReplica* r : present_) {
      if (front != nullptr && r->kept->epoch <= latest) continue;
      latest = r->kept->epoch;
      front = r;
    }
    for (const auto& m : membership_.members) {
      if (!m.healthy || !contains(newest_.record.replicas, m.replica)) continue;
      if (!is_present(m.replica)) return not_reported(m.replica, "was in sync at last");
      const auto has = std::find_if(present_.begin(), present_.end(),
                                    [&](const auto* r) { return r->kept->replica == m.replica; });
      if ((*has)->kept->epoch == latest) {
        chosen.push_back(m.replica);
      } else {
        demoted = true;
      }
    }
    if (!chosen.empty()) return std::nullopt;
    if (!demoted) return Refusal{Verdict::skipped, "no replica of it was known to be in sync"};
    return Refusal{
        Verdict::skipped,
        fmt::format(
            "replica {} was not in sync by the last record, but took part in epoch {}, later than those "
            "that were: name the replica that is to be taken",
            front->kept->replica.to_string(), latest)};
  }

  const ReportedReplica& newest_;
  const Replicas& present_;
  const Membership& membership_;
};

Membership make_membership(const Membership& last, const Replicas& present, const InSync& sync, bool serves) {
  Membership now = last;
  now.members.clear();
  for (const ReportedReplica* r : present) {
    const Uuid& id = r->kept->replica;
    const bool good = contains(sync.chosen, id);
    const auto was = std::find_if(last.members.begin(), last.members.end(),
                                  [&](const Membership::Member& m) { return m.replica == id; });
    if (was == last.members.end() && !good) continue;  // it was never given the data
    Membership::Member m{id, good};
    if (was != last.members.end()) m.in_sync_through = was->in_sync_through;
    // What was written since is not known to be elsewhere.
    if (!good) m.in_sync_through = std::min<std::uint64_t>(m.in_sync_through, r->kept->sealed);
    if (sync.taken && !good) m.in_sync_through = 0;
    now.epoch = std::max<std::uint64_t>(now.epoch, r->kept->epoch);
    now.members.push_back(m);
  }
  now.clean_shutdown = last.clean_shutdown && !sync.demoted && !sync.taken && !serves;
  if (!serves) now.owner = Uuid();
  return now;
}

ReplicaSpec make_replica(const ReplicaState& state, const Uuid& volume) {
  ReplicaSpec spec;
  spec.uuid = state.uuid;
  spec.size_bytes = state.size_bytes;
  spec.pool = state.pool;
  spec.pool_uuid = state.pool_uuid;
  spec.thin = state.thin;
  spec.share = state.share;
  spec.allowed_hosts = state.allowed_hosts;
  spec.managed = true;
  spec.owners.volume = volume;
  spec.clone_of = state.clone_of;
  spec.kind = state.kind;
  spec.status = SpecStatus::created;
  return spec;
}

VolumeSpec make_volume(const ReplicaRecord& newest, const Replicas& present) {
  VolumeSpec v = newest.volume;
  v.operation.reset();
  v.status = SpecStatus::created;
  const bool target_known =
      newest.target && v.server() != nullptr && newest.target->uuid == v.server()->nexus;
  if (!target_known) {
    v.target.reset();
    v.repair.reset();
  }
  const auto is_present = [&](const Uuid& id) {
    return std::any_of(present.begin(), present.end(), [&](const auto* r) { return r->kept->replica == id; });
  };
  std::erase_if(v.moves,
                [&](const ReplicaMove& m) { return !is_present(m.from) || (m.to && !is_present(*m.to)); });
  return v;
}

// The volume is in the store. It is left as it is, with the replicas that it has there.
void compare_known(const Cluster& cluster, const VolumeSpec& known, const ReportedReplica& newest,
                   const Replicas& replicas, AdoptPlan& plan) {
  const bool same = wishes(known) == wishes(newest.record.volume);
  plan.findings.push_back({"volume",
                           known.uuid.to_string(),
                           same ? Verdict::present : Verdict::conflict,
                           same ? "" : "the store has another specification of it",
                           {},
                           {}});
  for (const ReportedReplica* r : replicas) {
    const auto spec = cluster.specs.replicas.find(r->kept->replica);
    if (spec != cluster.specs.replicas.end()) continue;
    plan.findings.push_back({"replica",
                             r->kept->replica.to_string(),
                             Verdict::left,
                             fmt::format("volume {} is in the store without it", known.uuid.to_string()),
                             {},
                             {}});
  }
}

}  // namespace

void look_at_silent_volume(const Cluster& cluster, const VolumeSpec& volume,
                           const std::vector<KeptRecord>& kept, const AdoptRequest& request,
                           AdoptPlan& plan) {
  Finding finding{"volume", volume.uuid.to_string(), Verdict::skipped, {}, {}, {}};
  Membership membership;
  for (const KeptRecord& one : kept) {
    const auto spec = cluster.specs.replicas.find(one.replica);
    const bool ours = spec != cluster.specs.replicas.end() && spec->second.owners.volume == volume.uuid;
    if (!ours || cluster.online_replica(one.replica) == nullptr) continue;
    membership.epoch = std::max<std::uint64_t>(membership.epoch, one.epoch);
    if (contains(request.take, one.replica)) finding.in_sync.push_back(one.replica);
  }
  if (finding.in_sync.empty()) {
    finding.why =
        "no replica that is reported says which of them hold all data: bring its nodes back, or name "
        "the replica that is to be taken";
    plan.findings.push_back(std::move(finding));
    return;
  }
  for (const Uuid& id : finding.in_sync) membership.members.push_back({id, true, 0});
  AdoptPlan::Volume adopted;
  adopted.volume = volume;
  adopted.membership = std::move(membership);
  finding.verdict = Verdict::adopted;
  finding.why = fmt::format("{} of its replicas are taken", finding.in_sync.size());
  plan.findings.push_back(std::move(finding));
  plan.volumes.push_back(std::move(adopted));
}

void look_at_volume(const Cluster& cluster, const Uuid& id, const Replicas& replicas,
                    const AdoptRequest& request, AdoptPlan& plan) {
  const ReportedReplica& newest = **std::max_element(
      replicas.begin(), replicas.end(), [](const auto* a, const auto* b) { return age(*a) < age(*b); });
  const auto known = cluster.specs.volumes.find(id);
  // One whose record is missing is as its replicas say: what the store has of it may be older.
  if (known != cluster.specs.volumes.end() && !cluster.is_unrecorded(known->second)) {
    compare_known(cluster, known->second, newest, replicas, plan);
    return;
  }
  const auto refuse = [&](const Refusal& refused) {
    plan.findings.push_back({"volume", id.to_string(), refused.verdict, refused.why, {}, {}});
  };
  if (const auto refused = contradiction(replicas, newest)) return refuse(*refused);
  Replicas present;
  for (const ReportedReplica* r : replicas) {
    if (contains(newest.record.replicas, r->kept->replica)) {
      present.push_back(r);
      continue;
    }
    plan.findings.push_back({"replica",
                             r->kept->replica.to_string(),
                             Verdict::left,
                             fmt::format("volume {} had let go of it", id.to_string()),
                             {},
                             {}});
  }
  const Live live = live_target(cluster, newest.record);
  if (live.refused) return refuse(*live.refused);
  // A target that runs may have written its record anew since the store was lost.
  const auto stored = cluster.observed.memberships.find(id);
  const bool has_record = stored != cluster.observed.memberships.end();
  const Membership& membership = has_record ? stored->second : newest.record.membership;
  InSync sync(newest, present, membership);
  if (const auto refused = sync.choose(live.target, request)) return refuse(*refused);

  AdoptPlan::Volume adopted;
  adopted.volume = make_volume(newest.record, present);
  if (adopted.volume.server() != nullptr) adopted.target = newest.record.target;
  if (!has_record || sync.taken)
    adopted.membership = make_membership(membership, present, sync, live.target != nullptr);
  Finding finding{"volume", id.to_string(), Verdict::adopted, {}, sync.chosen, {}};
  for (const ReportedReplica* r : present) {
    adopted.replicas.push_back(make_replica(*r->state, id));
    if (!contains(sync.chosen, r->kept->replica)) finding.stale.push_back(r->kept->replica);
  }
  finding.why =
      fmt::format("{} of {} replicas hold all data{}", sync.chosen.size(), newest.record.replicas.size(),
                  live.target != nullptr ? ", its target serves" : "");
  plan.findings.push_back(std::move(finding));
  plan.volumes.push_back(std::move(adopted));
}

}  // namespace holdfast::control
