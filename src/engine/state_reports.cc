#include "engine/state_reports.h"

#include <utility>

#include "base/units.h"
#include "engine/engine.h"
#include "engine/nexus_operations.h"
#include "engine/pool_messages.h"

namespace holdfast::engine {

namespace own = holdfast::v1;

namespace {

// What is counted for measurements changes with every write, and tells nobody that something is to be done.
void leave_out_counters(own::PoolDetail& pool) {
  pool.clear_journal_used();
  pool.clear_commits();
  pool.clear_commit_time_us();
  pool.clear_checkpoint_time_us();
}

void tell_volumes(Engine& engine, const Pools::Known& known, own::Report& report) {
  const std::uint32_t cluster_bytes = known.pool->view().cluster_bytes;
  for (const auto& volume : known.pool->volumes()) {
    if (is_snapshot(volume.spec)) {
      *report.add_snapshots() = snapshot_message(known, volume);
      continue;
    }
    own::HeldReplica& held = *report.add_replicas();
    *held.mutable_replica() = replica_message(engine.exports(), known, cluster_bytes, volume);
    const auto digest = parse_number(text_of(volume.spec.attributes, attribute::record_digest));
    if (digest.ok()) held.set_record_digest(digest.value());
  }
}

own::Report content(Engine& engine) {
  own::Report report;
  report.mutable_engine()->set_version(engine.version());
  *report.mutable_engine()->mutable_registration_info() = engine.introduction();
  for (const Pools::Known* known : engine.pools().list()) {
    own::PoolDetail& detail = *report.add_pools();
    detail = pool_detail(*known);
    leave_out_counters(detail);
    if (known->pool != nullptr) tell_volumes(engine, *known, report);
  }
  for (const auto* nexus : engine.nexuses().list())
    *report.add_nexuses() = nexus_operations::describe(engine, *nexus);
  return report;
}

}  // namespace

// Whatever changes what is told is noticed here, without its help: making the report costs less than forgetting one of
// the many places would.
own::Report StateReports::answer(Engine& engine, const own::GetReportRequest& request) {
  own::Report now = content(engine);
  std::string bytes = now.SerializeAsString();
  if (bytes != last_) {
    last_ = std::move(bytes);
    ++revision_;
  }
  const std::string& instance = now.engine().registration_info().instance_uuid().value();
  if (request.revision() == revision_ && request.instance() == instance) {
    own::Report same;
    *same.mutable_engine() = std::move(*now.mutable_engine());
    same.set_unchanged(true);
    now = std::move(same);
  }
  now.set_revision(revision_);
  return now;
}

}  // namespace holdfast::engine
