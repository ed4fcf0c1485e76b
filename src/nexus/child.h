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
  bool reservation_in_doubt = false;                // a look at it is to come
  Semaphore reservation_turn;                       // to look, or to close the device

  Phase phase = Phase::init;
  bool in_sync = false;           // every core reads it
  bool joining = false;           // every core counts it for writes, the record is being changed
  bool recorded_healthy = false;  // what the record shall say
  bool suspended = false;         // the last in-sync one, and its last operation failed
  bool removing = false;          // leaves the record for good
  Errc suspended_by = Errc::ok;
  std::uint64_t in_sync_through = 0;  // epoch, when not healthy
  std::optional<Fault> fault;         // none: closed because its device is gone
  std::optional<WallTime> fault_time;

  // What it has not got, beside what the cores tracked since it left. nullopt: unknown, so everything.
  std::optional<DirtyMap> missed;
  std::unique_ptr<RebuildJob> job;

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

// State and reason as the API shows them (interop/dataplane.md section 3.1).
ChildView view_of(const Child& child);
Fault fault_for(Errc code) noexcept;

}  // namespace holdfast::nexus
