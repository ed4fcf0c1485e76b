// Control: the home core's half of a nexus. Children, membership, rebuilds and the operations of the API.
//
// Membership rules
//  - `in_sync` at home, Mode::in_sync on the cores and `healthy` in the record change in this order.
//    Departure: home forgets it, every core drops it (its failed writes wait meanwhile), the record is
//    swapped, the held writes are answered. Return: copied and flushed, every core counts it (Mode::joining),
//    the record is swapped, every core reads it. So at any moment the record's healthy children are among
//    those that have every acknowledged write (P1).
//  - The last in-sync child stays: its writes are held and retried until it answers, is reopened, or the
//    hold time is over.
//  - A child that left comes back only after its old operations have ended and its device was closed and
//    opened again: a late write of the old association cannot overtake the rebuild.
//  - What a child missed is known from three maps: what the cores tracked since it left (including what no
//    flush had covered then), what an unfinished rebuild left over, and nothing else. A child whose past is
//    unknown (new, or named unhealthy by the record of an earlier run) is copied in full.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "block/block_device.h"
#include "block/registry.h"
#include "nexus/child.h"
#include "nexus/core_state.h"
#include "nexus/membership_keeper.h"
#include "nexus/nexus.h"
#include "nexus/rebuild_job.h"
#include "rt/cross_core.h"
#include "rt/scope.h"
#include "rt/wait.h"

namespace holdfast::nexus {

class Control final : public FaultSink, public RebuildHost, ReservationObserver {
 public:
  Control(DeviceRegistry& registry, MembershipStore& store, NexusParams params, NexusOptions options,
          NexusObserver* observer);
  ~Control();

  // Once, first (open.cc). After an error everything is undone and only destruction follows.
  Task<Status> open(Nexus& device);

  // The operations of Nexus (operations.cc).
  Task<Status> add_child(std::string uri, bool norebuild);
  Task<Status> remove_child(std::string uri);
  Task<Status> online_child(std::string uri);
  Task<Status> take_offline(std::string uri, Fault fault);  // offline_child and fault_child
  Task<Status> start_rebuild(std::string uri);
  Task<Status> stop_rebuild(std::string uri);
  Task<Status> pause_rebuild(std::string uri);
  Task<Status> resume_rebuild(std::string uri);
  Task<Status> resize(std::uint64_t size_bytes);
  Task<Status> shutdown();

  // What is shown (control.cc).
  NexusView view() const;
  NexusState state() const noexcept;
  Task<NexusCounters> counters();
  Task<IoStats> stats();
  Result<RebuildStats> rebuild_stats(std::string_view uri) const;
  std::vector<RebuildRecord> history() const { return {history_.begin(), history_.end()}; }
  const NexusParams& params() const noexcept { return params_; }
  const Geometry& geometry() const noexcept { return geometry_; }
  const Capabilities& capabilities() const noexcept { return capabilities_; }
  // Any core, for use there.
  CoreState& state_of(Reactor& core) noexcept { return *states_[core.core()]; }

 private:
  class DeviceEvents;

  // FaultSink and RebuildHost.
  Task<Verdict> child_failed(ChildId id, Errc code) override;
  void child_recovered(ChildId id) noexcept override;
  Task<void> repair(ChildId id, Span blocks) override;
  void writes_began() noexcept override;
  CoreState& home_state() noexcept override { return *states_.front(); }
  Task<void> lock_window(Span blocks, std::deque<RangeTracker::Entry>& entries) override;
  Task<void> unlock_window(std::deque<RangeTracker::Entry>& entries) override;
  Task<void> source_failed(ChildId source, Errc code) override;
  std::string uri_of(ChildId id) const override;

  // Runs f(CoreState&) on every core and waits for all; f must not wait. Name the lambda first (style 4.4).
  template <class F>
  Task<void> tell_cores(F& f) {
    auto there = [&](Reactor& core) -> Task<void> {
      f(state_of(core));
      co_return;
    };
    co_await run_on_all(home_, cores_, there);
  }

  // Opening (open.cc).
  Task<Status> open_first_time();
  Task<Status> choose_in_sync();
  Task<Status> open_device(Child& c);
  Task<Status> open_channels(Child& c);
  Task<void> attach(Child& c, Mode mode);
  // Reservations (fencing.cc).
  Task<Status> reserve(Child& c);
  Task<void> unreserve(Child& c);
  Task<void> check_reservation(ChildId id);
  void on_reservation_notice(const Uuid& host, ReservationNotice notice) noexcept override;
  void shape();  // geometry and capabilities, from the children
  void start_tasks();
  Record wanted_record(std::uint64_t epoch) const;

  // Departure and return (departure.cc).
  void begin_leave(Child& c, std::optional<Fault> fault);
  Task<void> leave_task(Child& c, ChildId id, bool recorded, bool give_up);
  Task<void> close_task(Child& c, ChildId id);
  Task<void> close_device(Child& c);
  Task<bool> join(Child& c, ChildId id);
  Task<void> fence();
  Task<Status> reopen_last(Child& c);
  Task<void> retire_absent();
  Task<void> device_event(ChildId id, DeviceEvent event);

  // Background work (upkeep.cc).
  void launch_rebuild(Child& c);
  Task<void> run_job(Child& c);
  void job_ended(Child& c, RebuildState end);
  Task<Errc> rewrite(ChildId id, Span blocks, IoVecs good);
  Task<Result<bool>> repair_piece(ChildId id, Span blocks);
  bool needs_healing(const Child& c) const noexcept;
  Task<void> settle_task();
  Task<bool> settle_once();
  void want_heal() noexcept;
  Task<void> heal_task();

  // Operations with `ops_` held.
  Task<Status> add_locked(std::string uri, bool norebuild);
  Task<Status> remove_locked(Child& c);
  Task<Status> online_locked(Child& c);
  Task<Status> offline_locked(Child& c, Fault fault);
  Task<Status> resize_locked(std::uint64_t size_bytes);
  Task<Status> shutdown_locked();
  Task<Status> flush_before_the_end(ChildId id);
  Task<Status> record_clean();
  Task<void> stop_cores();
  Task<void> close_children();
  Status usable() const;  // failed_precondition after shutdown, fenced
  Task<Status> wait_recorded(Child& c);

  Child* find(std::string_view uri) const noexcept;
  Child* find(ChildId id) const noexcept;
  Result<Child*> named(std::string_view uri) const;
  Result<RebuildJob*> job_named(std::string_view uri) const;
  unsigned in_sync_count() const noexcept;
  Status not_the_last(const Child& c) const;
  void erase(Child& c);
  void changed(const Child* c) noexcept;  // tells the observer
  std::string label() const;              // "nexus 'name'"

  DeviceRegistry& registry_;
  const Cores& cores_;
  Reactor& home_;
  NexusParams params_;
  const NexusOptions options_;
  NexusObserver* observer_;
  Nexus* device_ = nullptr;
  MembershipKeeper keeper_;
  Geometry geometry_;
  Capabilities capabilities_;
  std::vector<std::unique_ptr<CoreState>> states_;  // by core
  std::vector<std::unique_ptr<Child>> children_;
  std::vector<std::unique_ptr<DeviceEvents>> events_;
  std::uint64_t next_key_ = 1;
  std::uint64_t next_id_ = 1;
  std::deque<RebuildRecord> history_;
  NexusState shown_ = NexusState::unknown;  // last told to the observer
  bool open_ = false;
  bool stopping_ = false;
  bool stopped_ = false;
  bool fenced_ = false;
  bool clean_ = false;
  bool unsettled_ = false;  // since the run before, which ended uncleanly
  bool settle_wanted_ = false;
  bool settling_ = false;
  bool healing_ = false;
  NexusCounters counters_;
  StopSource stop_;
  Semaphore in_sync_turn_;  // who joins, and who reopens the last in-sync child
  Semaphore ops_;           // operations of the API, one at a time; failures do not wait for it
  TaskScope scope_;
};

}  // namespace holdfast::nexus
