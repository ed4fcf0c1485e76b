// MemoryStore and MemoryKv: a store in memory, and the Kv of one of its users. For tests and the simulation.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "rt/message.h"
#include "rt/reactor.h"
#include "rt/timer.h"
#include "rt/wait.h"
#include "store/kv.h"
#include "store/mvcc.h"

namespace holdfast::store {

class MemoryWatch;

// Lives on one reactor; its leases end by that one's clock.
class MemoryStore final : Timer {
 public:
  explicit MemoryStore(Reactor& home, MvccLimits limits = MvccLimits());
  ~MemoryStore();  // its users are closed, or crashed and forgotten (simulation)

  Reactor& home() noexcept { return home_; }
  Mvcc& state() noexcept { return *state_; }
  // After whatever changed the state past MemoryKv: tells the watchers, and looks at the leases.
  void changed() noexcept;

 private:
  friend class MemoryKv;
  friend class MemoryWatch;
  void fire() noexcept override;
  void end_leases();

  Reactor& home_;
  MemoryTable table_;
  std::unique_ptr<Mvcc> state_;
  std::vector<MemoryWatch*> watches_;
  Revision told_ = 0;
};

// On a reactor that need not be the store's. The store outlives it.
class MemoryKv final : public Kv {
 public:
  MemoryKv(Reactor& here, MemoryStore& store);
  ~MemoryKv() override;

  Task<Result<RangeResult>> range(RangeRequest request) override;
  Task<Result<PutResult>> put(PutRequest request) override;
  Task<Result<DeleteResult>> delete_range(DeleteRequest request) override;
  Task<Result<TxnResult>> txn(Txn request) override;
  Task<Status> compact(Revision revision) override;
  using Kv::lease_grant;
  Task<Result<Lease>> lease_grant(std::int64_t ttl_s, LeaseId id) override;
  Task<Result<std::int64_t>> lease_keep_alive(LeaseId id) override;
  Task<Status> lease_revoke(LeaseId id) override;
  Task<Result<LeaseStatus>> lease_status(LeaseId id, bool want_keys) override;
  Task<Result<std::unique_ptr<Watch>>> watch(WatchRequest request) override;
  Task<void> close() override;

 private:
  friend class MemoryWatch;
  // Runs `work` on the store's reactor: work(Mvcc&) -> Result<T>.
  template <class T, class Work>
  Task<Result<T>> ask(Work work);

  Reactor& here_;
  MemoryStore& store_;
  Gate gate_;
  std::vector<MemoryWatch*> watches_;  // to be told of close()
};

}  // namespace holdfast::store
