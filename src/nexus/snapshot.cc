// Snapshots of several children at one point in time.
#include <algorithm>
#include <deque>

#include <fmt/format.h>

#include "base/log.h"
#include "nexus/control.h"
#include "rt/when_all.h"

namespace holdfast::nexus {
namespace {

Task<Status> make_snapshot(Child& c, SnapshotRequest request) {
  const DeviceCall call(c);
  co_return co_await c.device->snapshots()->create(std::move(request));
}

}  // namespace

Status Control::check_snapshots(const std::vector<ChildSnapshot>& wanted) const {
  for (const auto& w : wanted) {
    HF_TRY(const Child* c, named(w.uri));
    if (!c->in_sync || c->phase != Phase::open || c->device == nullptr) {
      return Error(
          Errc::failed_precondition,
          fmt::format("child '{}' of {} is not in sync: a snapshot of it would not be the volume's; skip it",
                      c->uri, label()));
    }
    if (c->device->snapshots() == nullptr) {
      return Error(
          Errc::failed_precondition,
          fmt::format("child '{}' of {} is no replica of a pool: it makes no snapshots", c->uri, label()));
    }
  }
  for (const auto& c : children_) {
    const bool given =
        std::any_of(wanted.begin(), wanted.end(), [&](const ChildSnapshot& w) { return w.uri == c->uri; });
    if (given || !c->in_sync || c->phase != Phase::open) continue;
    return Error(Errc::failed_precondition,
                 fmt::format("child '{}' of {} is healthy and not named: the snapshot would not be complete",
                             c->uri, label()));
  }
  return Status();
}

Task<Result<std::vector<ChildSnapshot>>> Control::snapshot(std::vector<ChildSnapshot> wanted) {
  const Semaphore::Permit turn = co_await ops_.acquire();
  HF_CO_CHECK(usable());
  HF_CO_CHECK(check_snapshots(wanted));
  const Nanos began = home_.now();
  std::deque<RangeTracker::Entry> entries;
  const Span everything{0, geometry_.block_count};
  co_await lock_window(everything, entries);
  // A child may have left while its last writes ended.
  Status still = usable();
  if (still.ok()) still = check_snapshots(wanted);
  if (still.ok()) {
    std::vector<Task<Status>> tasks;
    std::vector<ChildId> openings;
    for (const auto& w : wanted) {
      Child& c = *find(w.uri);
      openings.push_back(c.id);
      tasks.push_back(while_it_stays(c.id, make_snapshot(c, w.request), home_.now() + options_.hold_timeout));
    }
    co_await when_all(std::span<Task<Status>>(tasks));
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      Status made = tasks[i].take();
      // Who left may have lost what the others have in theirs.
      const Child* c = find(openings[i]);
      const bool stayed = c != nullptr && c->phase == Phase::open && c->in_sync;
      if (made.ok() && !stayed) made = Error(Errc::not_connected, "it left while the snapshot was made");
      wanted[i].outcome = made.code();
      if (!made.ok()) wanted[i].text = made.error().message();
    }
  }
  co_await unlock_window(entries);
  if (!still.ok()) co_return still.error();
  HF_LOG(info, "nexus", "snapshot", {"nexus", params_.name}, {"children", wanted.size()},
         {"writes_waited_us", (home_.now() - began) / 1us});
  co_return wanted;
}

Task<Result<std::vector<ChildSnapshot>>> Nexus::snapshot(std::vector<ChildSnapshot> wanted) {
  return control_->snapshot(std::move(wanted));
}

}  // namespace holdfast::nexus
