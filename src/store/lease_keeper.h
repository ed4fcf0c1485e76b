// LeaseKeeper: a lease that lives as long as its process does, kept by a task in the background.
#pragma once

#include <cstdint>

#include "rt/reactor.h"
#include "rt/scope.h"
#include "rt/stop.h"
#include "rt/wait.h"
#include "store/kv.h"

namespace holdfast::store {

// On the Kv's reactor; the Kv outlives it. Once it is lost it stays so: make another.
class LeaseKeeper {
 public:
  LeaseKeeper(Reactor& home, Kv& kv) : home_(home), kv_(kv), changed_(home), scope_(home) {}
  // stop() was awaited, or start() failed or never was.
  ~LeaseKeeper() = default;

  // Grants a lease and begins to renew it three times in its time. Errors: those of Kv::lease_grant.
  Task<Status> start(std::int64_t ttl_s);
  LeaseId id() const noexcept { return lease_.id; }
  // The store said that it has ended, or has not confirmed it for so long that it may have: what was held by it may
  // be somebody else's. Counted from before the last renewal was asked for, so it is never later than in the
  // store.
  bool lost() const noexcept { return lost_; }
  // Ends when it is lost (true), or by the token (false).
  Task<bool> wait_lost(StopToken stop);
  // Ends the task and revokes the lease, which removes its keys; a store that does not answer does that by
  // itself later.
  Task<void> stop();

 private:
  Task<void> keep();
  Task<void> expire();

  Reactor& home_;
  Kv& kv_;
  Lease lease_;
  Nanos valid_until_{0};
  bool lost_ = false;
  Event changed_;
  TaskScope scope_;
  StopSource stopping_;
};

}  // namespace holdfast::store
