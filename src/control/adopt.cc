// Adoption, carried out: what plan_adoption() says is written, volume by volume, each as a whole.
#include "control/plan/adopt.h"

#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "base/log.h"
#include "control/agent.h"
#include "control/model/codec.h"
#include "rt/when_all.h"

namespace holdfast::control {
namespace {

// A transaction of the store has a limit.
constexpr std::size_t specs_per_commit = 60;

}  // namespace

// Of all nodes that are online, as they are now.
Task<Result<std::vector<KeptRecord>>> Agent::read_records() {
  std::vector<NodeId> nodes;
  for (const auto& [id, spec] : specs().nodes) {
    if (observed().node_online(id)) nodes.push_back(id);
  }
  const auto read_one = [this](NodeId node, std::vector<KeptRecord>& into) -> Task<Status> {
    HF_CO_CHECK(co_await nodes_.refresh_now(node));
    HF_CO_TRY(Engine * engine, nodes_.online_engine(node));
    HF_CO_TRY(into, co_await engine->replica_records());
    co_return Status();
  };
  std::vector<std::vector<KeptRecord>> read(nodes.size());
  std::vector<Task<Status>> reads;
  for (std::size_t i = 0; i < nodes.size(); ++i) reads.push_back(read_one(nodes[i], read[i]));
  HF_CO_CHECK(co_await when_all_ok(std::move(reads)));
  std::vector<KeptRecord> all;
  for (auto& records : read) std::move(records.begin(), records.end(), std::back_inserter(all));
  co_return all;
}

Task<Status> Agent::write_adopted(const Op& op, AdoptPlan plan) {
  std::vector<AnySpec> loose;
  for (auto& node : plan.nodes) loose.emplace_back(std::move(node));
  for (auto& pool : plan.pools) loose.emplace_back(std::move(pool));
  for (auto& snapshot : plan.snapshots) loose.emplace_back(std::move(snapshot));
  for (std::size_t from = 0; from < loose.size(); from += specs_per_commit) {
    Changes changes;
    const std::size_t end = std::min(loose.size(), from + specs_per_commit);
    for (std::size_t i = from; i < end; ++i) changes.put(std::move(loose[i]));
    HF_CO_CHECK(co_await commit(op, std::move(changes)));
  }
  for (auto& adopted : plan.volumes) {
    const Uuid id = adopted.volume.uuid;
    HF_CO_TRY(const Op one, co_await begin(volume_guard(id)));
    const auto known = specs().volumes.find(id);
    if (known != specs().volumes.end() && !cluster().is_unrecorded(known->second)) continue;
    Changes changes;
    changes.put(std::move(adopted.volume));
    for (auto& replica : adopted.replicas) changes.put(std::move(replica));
    if (adopted.target) changes.put(std::move(*adopted.target));
    if (adopted.membership) {
      HF_CO_TRY(const auto stored, co_await registry_.read_membership(id));
      changes.replace_membership(id, to_json(*adopted.membership), stored ? stored->revision : 0);
    }
    HF_CO_CHECK(co_await commit(one, std::move(changes)));
    events_.add("Volume", "Create", id.to_string(), "",
                fmt::format("volume {} was adopted from what its replicas say", id.to_string()));
  }
  co_return Status();
}

Task<Result<AdoptReport>> Agent::adopt(AdoptRequest request) {
  HF_CO_TRY(const Op op, co_await begin("adoption"));
  HF_CO_TRY(const auto records, co_await read_records());
  AdoptPlan plan = plan_adoption(cluster(), records, request);
  AdoptReport report;
  report.dry_run = request.dry_run;
  report.findings = plan.findings;
  if (request.dry_run) co_return report;
  const Finding* conflict = plan.first_conflict();
  if (conflict != nullptr && !request.skip_conflicts) {
    co_return refusal(
        Kind::failed_precondition,
        fmt::format("{} {}: {}; nothing was adopted: look at all conflicts with a dry run, then remove "
                    "them or have them skipped",
                    conflict->kind, conflict->id, conflict->why));
  }
  HF_CO_CHECK(co_await write_adopted(op, std::move(plan)));
  HF_LOG(info, "control", "specs were adopted from what replicas say");
  co_return report;
}

}  // namespace holdfast::control
