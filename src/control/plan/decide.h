// decide: what has to be done, given what is wanted and what is. A function without I/O or clock; one file per
// reconciler (reconcile_*.cc).
//
// A volume with its parts is at rest when all of it is as wanted and nothing is waited for: then the same holds until
// one of its specs, its states or its membership record changes, or a node or a pool does (News). So a look may leave
// out volumes at rest; that it finds what a look at everything would find is compared in tests (Options::check_looks).
//
// The rules that make it safe to be wrong about the present: nothing is deleted because it is absent somewhere; a
// replica goes only when its spec says that its owners released it, and a volume releases a replica only while
// another one, known to hold all data, can be reached. What a node has that does not answer is left as it is.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "control/plan/action.h"
#include "control/plan/cluster.h"
#include "control/plan/records.h"
#include "control/plan/scheduler.h"

namespace holdfast::control {

struct Policy {
  CapacityLimits capacity;
  // How long a replica that is out may come back before another takes its place.
  UnixNanos faulted_wait = 600LL * 1'000'000'000;
  std::optional<std::uint64_t> rebuilds_max;  // at once, in the cluster
  std::uint64_t repairs_max = 32;  // targets of the agent's own, while no more rebuilds run than that
  UnixNanos drain_wait = 120LL * 1'000'000'000;  // for targets that cannot be moved
  std::size_t transactions_kept_max = 5;         // attempts of a snapshot
  // How long a volume with one replica in sync waits for the next one to get copies of its snapshots.
  UnixNanos fill_wait = 1800LL * 1'000'000'000;
};

// Since when a replica of a volume is not in sync; kept over restarts of its child, so that one that comes and goes
// is replaced all the same. Time in which it was in sync does not count: `since` moves on by it.
struct Outage {
  UnixNanos since = 0;
  UnixNanos back_at = 0;  // in sync again since; 0: it is not
  bool operator==(const Outage&) const = default;
};
using Outages = ById<Outage>;  // by replica

// In sync for so long: its outage is forgotten.
inline constexpr UnixNanos outage_forgotten_after = 60LL * 1'000'000'000;

struct Decision {
  // In the order in which they should be begun. Those with one guard are carried out one after the other; one that
  // fails keeps none of the others, since who carries them out checks each again.
  std::vector<Action> actions;
  // The same would be decided of the same facts until then; none: at any time.
  std::optional<UnixNanos> due;
  // Something is to be done for which there is no place, or no turn: others may make room unnoticed.
  bool held = false;
  // The volumes that were looked at and are not at rest. Some may be gone, with parts that are left.
  std::set<Uuid> restless;
};

// What is looked at: everything; or, of the volumes, these alone.
struct Look {
  const Policy& policy;
  UnixNanos now = 0;
  const RecordDigests* digests = nullptr;   // none: what replicas say of their volumes is left alone
  const std::set<Uuid>* volumes = nullptr;  // none: all of them
};
// Notes in `outages` what is out and what is back.
Decision decide(const Cluster& cluster, Outages& outages, const Look& look);

// The reconcilers. Each adds what it wants.
struct Plan {
  const Cluster& cluster;
  Outages& outages;
  const Policy& policy;
  UnixNanos now;
  const RecordDigests* digests = nullptr;
  std::vector<Action> actions{};
  std::optional<UnixNanos> due{};
  bool held = false;
  std::size_t parts_seen = 0;       // replicas and nexuses of the volumes that were looked at
  std::size_t repairs_opening = 0;  // targets of the agent's own that their engines do not have yet
  std::map<PoolId, std::uint64_t> label_digests{};  // of those that were asked for (records.cc)

  // Whoever looks at the time asks this, so that it is known when to look again.
  bool reached(UnixNanos time) {
    if (now >= time) return true;
    if (!due || time < *due) due = time;
    return false;
  }
  // So that another replica may take its place.
  bool is_out_for_too_long(const Uuid& replica) {
    const auto outage = outages.find(replica);
    return outage != outages.end() && outage->second.back_at == 0 &&
           reached(outage->second.since + policy.faulted_wait);
  }
  Action& add(Do what, std::string guard, std::string why) {
    Action a;
    a.what = what;
    a.guard = std::move(guard);
    a.why = std::move(why);
    actions.push_back(std::move(a));
    return actions.back();
  }
};
void reconcile_pools(Plan& plan);
void reconcile_volume(Plan& plan, const VolumeSpec& volume);
// Replicas that do not say what they should of their volume. One guard for each node.
void reconcile_records(Plan& plan, const VolumeSpec& volume);
void reconcile_repair(Plan& plan, const VolumeSpec& volume);
void reconcile_replica(Plan& plan, const ReplicaSpec& replica);
// Of a replica that is being given copies of its volume's snapshots.
void reconcile_fill(Plan& plan, const ReplicaSpec& replica);
void reconcile_nexus(Plan& plan, const NexusSpec& nexus);
void reconcile_children(Plan& plan, const VolumeSpec& volume, const NexusSpec& spec, const NexusState& nexus);
void reconcile_snapshots(Plan& plan);
void reconcile_nodes(Plan& plan);
// Leaves out rebuilds beyond the limit, the least urgent ones first.
void queue_rebuilds(Plan& plan);
// Leaves out repairs that would wait for the rebuilds that go on.
void queue_repairs(Plan& plan);

}  // namespace holdfast::control
