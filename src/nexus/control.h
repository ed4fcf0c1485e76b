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
//  - When it may have lost what it had not flushed (its target was restarted, it is opened again), those that are
//    not in sync leave: they have that from the host, and get what it has instead.
//  - A child that left comes back only after its old operations have ended and its device was closed and
//    opened again: a late write of the old association cannot overtake the rebuild.
//  - What a child missed while this nexus ran is known from two maps, to 64 KiB: what the cores tracked since it
//    left (including what no flush had covered then), and what an unfinished rebuild left over.
//  - What it missed in earlier runs is known from epochs, where the children keep them. A child that the record
//    calls unhealthy lacks at most the regions whose last epoch, on a source or on itself, is above its
//    in_sync_through. After an unclean end the healthy children differ at most in regions whose last epoch is
//    above the highest sealed one, in writes that were never acknowledged: one of them is copied to the others,
//    which are read elsewhere meanwhile (Mode::catching_up). Until that is done the record calls only the one
//    healthy: a copy that power loss interrupts leaves blocks that hold neither what was there nor what came.
//  - A new child that was given the volume's content elsewhere, with the regions' epochs, is as one that left: who
//    adds it says through which sealed epoch it has everything.
//  - Any other child (new, without epochs, or one that lost its past) gets everything; of a source that keeps
//    epochs only what was ever written or is allocated.
//
// Epochs
//  - A new epoch is announced to all children before the first write of it, also to those being rebuilt; at
//    opening, when a child comes or goes, and when the volume settles.
//  - Epochs up to e are sealed when all children counted e + 1, every write that began before that has ended,
//    and all that the record calls healthy were flushed afterwards, in sync and equal. So not while a departure is
//    still to be recorded.
//  - Every region's epoch on an in-sync child is at least that of its last change: whatever is copied is written
//    at the destination in the current epoch, and a full copy touches all that ever changed on the source.
//  - The current epoch is never sealed: a clean shutdown announces one more first.
#pragma once

#include <deque>
#include <list>
#include <memory>
#include <optional>
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
  Task<Status> add_child(std::string uri, bool norebuild, std::uint32_t in_sync_through);
  Task<Status> remove_child(std::string uri);
  Task<Status> online_child(std::string uri);
  Task<Status> take_offline(std::string uri, Fault fault);  // offline_child and fault_child
  Task<Status> start_rebuild(std::string uri);
  Task<Status> stop_rebuild(std::string uri);
  Task<Status> pause_rebuild(std::string uri);
  Task<Status> resume_rebuild(std::string uri);
  Task<Status> resize(std::uint64_t size_bytes);
  Task<Result<std::vector<ChildSnapshot>>> snapshot(std::vector<ChildSnapshot> wanted);  // snapshot.cc
  Task<Status> shutdown();

  // What is shown (control.cc).
  NexusView view() const;
  NexusState state() const noexcept;
  Task<NexusCounters> counters();
  Task<IoStats> stats();
  Task<IoLatencies> latencies(bool reset);
  Result<RebuildStats> rebuild_stats(std::string_view uri) const;
  std::vector<RebuildRecord> history() const { return {history_.begin(), history_.end()}; }
  const NexusParams& params() const noexcept { return params_; }
  const Geometry& geometry() const noexcept { return geometry_; }
  const Capabilities& capabilities() const noexcept { return capabilities_; }
  // Any core, for use there.
  CoreState& state_of(Reactor& core) noexcept { return *states_[core.core()]; }

 private:
  class DeviceEvents;
  // A call to a child, which may outlast who waits for it.
  struct ChildCall {
    explicit ChildCall(Reactor& home) noexcept : ended(home) {}
    Event ended;
    std::optional<Status> outcome;
    bool is_abandoned = false;
  };

  // FaultSink and RebuildHost.
  Task<Verdict> child_failed(ChildId id, Errc code) override;
  void child_recovered(ChildId id) noexcept override;
  void flush_failed(ChildId id, Errc owed) noexcept override;
  void flush_told() noexcept override;
  Task<void> owe(Errc code);
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
  Task<void> start_tasks();
  Record wanted_record() const;
  Task<Status> doubt_healthy(Child& c, Child& source);
  void keep_former(const Record& record);
  // Epochs (epochs.cc).
  Task<Status> read_epochs(Child& c);
  bool lost_its_past(const Child& c, std::uint64_t known) const;
  Task<Status> open_epochs();
  Task<Status> announce_to(Child& c, std::uint32_t epoch);
  Task<Status> advance(Child* newcomer);
  Task<bool> next_epoch();
  Task<void> new_epoch();
  Task<Status> admit(Child& c, Mode mode);
  Task<Status> record_losses();
  Task<void> seal_children();
  Task<void> seal_all();
  std::optional<ChildRecord> recall_former(Child& c);
  void believe(Child& c, std::uint32_t in_sync_through) const;
  Task<Status> seal_at(Child& c, std::uint32_t epoch);
  Task<Status> while_it_stays(ChildId id, Task<Status> what, Nanos deadline = no_deadline);
  Task<void> carry_out(ChildCall& call, Task<Status> what);
  void forget(const ChildCall& call) noexcept;
  bool may_seal(const std::vector<ChildId>& flushed) const;
  Child* source_by_epochs(std::optional<std::uint32_t> since) const;
  enum class Which : std::uint8_t { changed, allocated };
  Task<Status> add_regions(Child& c, Which which, std::uint32_t since, DirtyMap& to);
  Task<Status> add_changes(Child& c, Child& source, std::uint32_t since, DirtyMap& to);
  Task<Status> add_contents(Child& c, Child& source, DirtyMap& to);
  Task<std::optional<DirtyMap>> plan_rebuild(Child& c);
  Task<void> outlast_writes();
  Task<void> settle_now();
  bool has_epochs() const noexcept;  // of any child

  // Departure and return (departure.cc).
  void begin_leave(Child& c, std::optional<Fault> fault);
  Task<void> leave_task(Child& c, ChildId id, bool recorded, bool was_read, bool give_up);
  Task<void> close_task(Child& c, ChildId id);
  Task<void> close_device(Child& c);
  Task<bool> join(Child& c, ChildId id);
  Task<void> make_readable(Child& c, ChildId id);
  Task<bool> outlast_its_seal(Child& c, ChildId id);
  Task<void> fence();
  Task<Status> reopen_last(Child& c);
  bool is_last(const Child& c) const noexcept;
  void cache_lost();
  Task<void> repeat_writes();
  Task<bool> retire_absent();
  Task<void> device_event(ChildId id, DeviceEvent event);

  // Background work (upkeep.cc).
  Task<void> launch_rebuild(Child& c);
  Task<void> window_copied(ChildId destination, Span blocks) override;
  Task<void> run_job(Child& c);
  void job_ended(Child& c, RebuildState end);
  Task<Errc> rewrite(ChildId id, Span blocks, IoVecs good);
  Task<Result<bool>> repair_piece(ChildId id, Span blocks);
  bool needs_healing(const Child& c) const noexcept;
  Task<void> settle_task();
  Task<bool> settle_once();
  void want_heal() noexcept;
  Task<void> heal_task();

  Status check_snapshots(const std::vector<ChildSnapshot>& wanted) const;
  // Operations with `ops_` held.
  Task<Status> add_locked(std::string uri, bool norebuild, std::uint32_t in_sync_through);
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
  bool unsettled_ = false;           // since the run before, which ended uncleanly
  std::uint32_t epoch_ = 0;          // announced to every child that keeps epochs
  std::uint32_t sealed_ = 0;         // below epoch_
  std::vector<ChildRecord> former_;  // children of earlier runs that may come back
  bool settle_wanted_ = false;
  bool settling_ = false;
  bool healing_ = false;
  NexusCounters counters_;
  StopSource stop_;
  Semaphore epoch_turn_;    // who announces, and who is added to the lists meanwhile
  Semaphore settle_turn_;   // who settles
  Semaphore in_sync_turn_;  // who joins, and who reopens the last in-sync child
  Semaphore ops_;           // operations of the API, one at a time; failures do not wait for it
  std::list<ChildCall> child_calls_;
  TaskScope scope_;
};

}  // namespace holdfast::nexus
