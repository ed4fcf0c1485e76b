// Child: one device of a nexus, as the home core knows it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "block/registry.h"
#include "nexus/core_state.h"
#include "nexus/layout.h"
#include "nexus/rebuild_job.h"
#include "nexus/types.h"
#include "rt/wait.h"

namespace holdfast::nexus {

enum class Phase : std::uint8_t {
  init,     // being opened for the first time
  open,     // in the lists of every core
  leaving,  // out of the lists, or about to be; operations may be under way, its device still closing
  closed,   // no device
};

struct Child {
  Child(Reactor& home, std::string child_uri, ChildKey k)
      : uri(std::move(child_uri)),
        key(k),
        reservation_turn(home, 1),
        device_calls_ended(home),
        attached(home),
        left(home),
        settled(home),
        closed(home),
        job_ended(home) {
    job_ended.set();
    closed.set();
    settled.set();
  }

  const std::string uri;
  const ChildKey key;
  std::string uuid;  // in the membership record
  bool local = true;

  // Valid from opening until `closed`.
  BlockDevice* device = nullptr;
  bool device_is_ours = false;  // made by this nexus: destroyed when the child closes
  DeviceClaim claim;
  ChildId id{};                                     // of this opening; 0: none
  ReservationGuard* guard = nullptr;                // of a device of this engine
  std::unique_ptr<ReservationClient> local_client;  // of the guard
  bool reserved = false;                            // we hold its reservation, as far as we know
  bool was_reserved = false;                        // at some time, and it was not given back since
  bool reservation_in_doubt = false;                // a look at it is to come
  Semaphore reservation_turn;                       // to look, or to close the device

  unsigned device_calls = 0;  // under way
  WaitQueue device_calls_ended;

  // Of a device that keeps epochs; nullptr otherwise.
  EpochClient* epochs = nullptr;
  EpochState epoch_state;        // as the device had it when it was opened
  std::uint32_t told = 0;        // the highest epoch announced to it, in all its openings
  std::uint32_t known_from = 0;  // its regions tell what changed in epochs above this one
  bool lost = false;             // what was written to it; the record does not say so yet

  Phase phase = Phase::init;
  bool in_sync = false;      // every core reads it
  bool catching_up = false;  // was healthy; differs from the source in `missed`, in what nobody acknowledged
  bool joining = false;      // every core counts it for writes, the record is being changed
  bool recorded_healthy = false;  // what the record shall say
  bool suspended = false;         // the last in-sync one, and its last operation failed
  bool removing = false;          // leaves the record for good
  bool flush_lost = false;  // one of the last copy failed: a later one says nothing of what that was to cover
  bool failed_at_end = false;  // its device said so after the nexus had begun to end
  Errc suspended_by = Errc::ok;
  std::uint64_t in_sync_through = 0;  // when not healthy: the last sealed epoch of its time in sync
  std::optional<Fault> fault;         // none: closed because its device is gone
  std::optional<WallTime> fault_time;

  // What it has not got, beside what the cores tracked since it left. nullopt: see `since`.
  std::optional<DirtyMap> missed;
  // It has what was written in epochs up to this one; the regions' epochs tell the rest. nullopt, too: its past
  // is unknown, so it gets everything. Kept beside `missed` until the volume has settled: until then the cores track
  // too much of a child that leaves.
  std::optional<std::uint32_t> since;
  bool left_unsettled = false;  // the volume had not settled when it left last: the cores tracked too much
  std::unique_ptr<RebuildJob> job;

  Event attached;  // of this opening: home knows that it is in the lists of the cores; or it was closed
  // Of the departure under way.
  Event left;     // every core has it out of its lists
  Event settled;  // the record does not call it healthy any more
  Event closed;   // its operations have ended, its device is closed
  Event job_ended;

  bool healthy() const noexcept { return phase == Phase::open && in_sync && !suspended; }
  ChildGeometry geometry() const {
    return {uri, device->geometry().block_bytes, device->geometry().block_count};
  }
};

// A call to a child's device, or to its EpochClient. Neither device nor child goes before it has ended.
class DeviceCall {
 public:
  explicit DeviceCall(Child& c) noexcept : child_(c) { ++c.device_calls; }
  DeviceCall(const DeviceCall&) = delete;
  DeviceCall& operator=(const DeviceCall&) = delete;
  ~DeviceCall() {
    if (--child_.device_calls == 0) child_.device_calls_ended.wake_all();
  }

 private:
  Child& child_;
};

// State and reason as the API shows them (docs/concepts.md).
ChildView view_of(const Child& child);
Fault fault_for(Errc code) noexcept;
// To whoever names a child, one that cannot be reached is one that cannot be used: not_connected and timed_out, which
// say that the store is away, become invalid_argument.
Error of_child(const Error& e);

}  // namespace holdfast::nexus
