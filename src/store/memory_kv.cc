#include "store/memory_kv.h"

#include <utility>

#include "base/assert.h"
#include "rt/cross_core.h"
#include "store/request_check.h"

namespace holdfast::store {

// Reads the store's history from where it is; the store sends a message when there is more.
class MemoryWatch final : public Watch, Message {
 public:
  MemoryWatch(MemoryKv& kv, WatchRequest request) : kv_(kv), request_(std::move(request)), more_(kv.here_) {}
  ~MemoryWatch() override { HF_ASSERT(closed_); }

  Task<void> begin();
  using Watch::next;
  Task<Result<WatchBatch>> next(Nanos deadline, StopToken stop) override;
  Task<void> close() override;
  void wake() noexcept { more_.set(); }
  // On the store's reactor.
  void tell() noexcept {
    if (!told_.exchange(true)) kv_.here_.send(*this);
  }

 private:
  void run() noexcept override {
    told_.store(false);
    more_.set();
  }
  Task<Result<History>> pull();

  MemoryKv& kv_;
  WatchRequest request_;
  Revision next_ = 0;  // the first revision that was not given yet
  Event more_;
  std::atomic<bool> told_{false};  // the message is on its way
  bool over_ = false;
  bool closed_ = false;
};

Task<void> MemoryWatch::begin() {
  kv_.watches_.push_back(this);
  auto there = [this]() -> Task<Revision> {
    kv_.store_.watches_.push_back(this);
    co_return kv_.store_.state().revision();
  };
  const Revision now = co_await run_on(kv_.here_, kv_.store_.home(), there);
  next_ = request_.start_revision > 0 ? request_.start_revision : now + 1;
}

Task<Result<History>> MemoryWatch::pull() {
  constexpr std::size_t events_wanted = 128;
  auto there = [this]() -> Task<Result<History>> {
    co_return kv_.store_.state().history(request_, next_, events_wanted);
  };
  co_return co_await run_on(kv_.here_, kv_.store_.home(), there);
}

Task<Result<WatchBatch>> MemoryWatch::next(Nanos deadline, StopToken stop) {
  for (;;) {
    if (over_ || kv_.gate_.closed()) co_return Error(Errc::cancelled, "the watch is over");
    more_.reset();  // what is told from now on may be missing in what is pulled
    auto pulled = co_await pull();
    if (!pulled.ok()) {
      over_ = true;
      co_return pulled.error();
    }
    History& history = pulled.value();
    next_ = history.through + 1;
    if (!history.events.empty()) {
      WatchBatch batch;
      batch.revision = history.through;
      batch.events = std::move(history.events);
      co_return batch;
    }
    const Wake woken = co_await more_.wait(deadline, stop);
    if (woken == Wake::timed_out) co_return Error(Errc::timed_out);
    if (woken == Wake::stopped) co_return Error(Errc::cancelled);
  }
}

Task<void> MemoryWatch::close() {
  if (closed_) co_return;
  over_ = true;
  auto there = [this]() -> Task<void> {
    std::erase(kv_.store_.watches_, this);
    co_return;
  };
  co_await run_on(kv_.here_, kv_.store_.home(), there);
  while (told_.load()) {
    more_.reset();
    co_await more_.wait();
  }
  std::erase(kv_.watches_, this);
  closed_ = true;
}

MemoryStore::MemoryStore(Reactor& home, MvccLimits limits) : home_(home) {
  auto opened = Mvcc::open(table_, limits, home.now());
  HF_ASSERT(opened.ok());
  state_ = std::make_unique<Mvcc>(std::move(opened).value());
  told_ = state_->revision();
}

MemoryStore::~MemoryStore() { home_.disarm(*this); }

void MemoryStore::changed() noexcept {
  const Nanos next = state_->next_expiry();
  if (next == no_deadline) {
    home_.disarm(*this);
  } else {
    home_.arm(*this, next);
  }
  if (state_->revision() == told_) return;
  told_ = state_->revision();
  for (MemoryWatch* watch : watches_) watch->tell();
}

void MemoryStore::fire() noexcept {
  end_leases();
  changed();
}

void MemoryStore::end_leases() {
  for (const LeaseId id : state_->expired(home_.now())) {
    state_->lease_revoke(id).ignore("it is there: it was just listed");
  }
}

MemoryKv::MemoryKv(Reactor& here, MemoryStore& store) : here_(here), store_(store), gate_(here) {}

MemoryKv::~MemoryKv() { HF_ASSERT(watches_.empty()); }

template <class T, class Work>
Task<Result<T>> MemoryKv::ask(Work work) {
  const Gate::Hold hold = gate_.enter();
  if (!hold) co_return Error(Errc::cancelled, "the store's client is closed");
  auto there = [this, &work]() -> Task<Result<T>> {
    store_.end_leases();
    Result<T> done = work(*store_.state_);
    store_.changed();
    co_return done;
  };
  co_return co_await run_on(here_, store_.home(), there);
}

Task<Result<RangeResult>> MemoryKv::range(RangeRequest request) {
  return ask<RangeResult>([r = std::move(request)](Mvcc& m) { return m.range(r); });
}

Task<Result<PutResult>> MemoryKv::put(PutRequest request) {
  return ask<PutResult>([r = std::move(request)](Mvcc& m) { return m.put(r); });
}

Task<Result<DeleteResult>> MemoryKv::delete_range(DeleteRequest request) {
  return ask<DeleteResult>([r = std::move(request)](Mvcc& m) { return m.delete_range(r); });
}

Task<Result<TxnResult>> MemoryKv::txn(Txn request) {
  return ask<TxnResult>([r = std::move(request)](Mvcc& m) -> Result<TxnResult> {
    HF_CHECK(check_reads_now(r));
    return m.txn(r);
  });
}

Task<Status> MemoryKv::compact(Revision revision) {
  return ask<void>([revision](Mvcc& m) { return m.compact(revision); });
}

Task<Result<Lease>> MemoryKv::lease_grant(std::int64_t ttl_s, LeaseId id) {
  return ask<Lease>([this, ttl_s, id](Mvcc& m) {
    LeaseId chosen = id;
    while (chosen == no_lease || (id == no_lease && m.has_lease(chosen))) {
      chosen = static_cast<LeaseId>(store_.home().random().next() >> 1);
    }
    return m.lease_grant(chosen, ttl_s, store_.home().now());
  });
}

Task<Result<std::int64_t>> MemoryKv::lease_keep_alive(LeaseId id) {
  return ask<std::int64_t>([this, id](Mvcc& m) { return m.lease_keep_alive(id, store_.home().now()); });
}

Task<Status> MemoryKv::lease_revoke(LeaseId id) {
  return ask<void>([id](Mvcc& m) { return m.lease_revoke(id); });
}

Task<Result<LeaseStatus>> MemoryKv::lease_status(LeaseId id, bool want_keys) {
  return ask<LeaseStatus>([this, id, want_keys](Mvcc& m) {
    return Result<LeaseStatus>(m.lease_status(id, want_keys, store_.home().now()));
  });
}

Task<Result<std::unique_ptr<Watch>>> MemoryKv::watch(WatchRequest request) {
  const Gate::Hold hold = gate_.enter();
  if (!hold) co_return Error(Errc::cancelled, "the store's client is closed");
  HF_CO_CHECK(Mvcc::check_watch(request));
  auto made = std::make_unique<MemoryWatch>(*this, std::move(request));
  co_await made->begin();
  std::unique_ptr<Watch> watch = std::move(made);
  co_return watch;
}

Task<void> MemoryKv::close() {
  co_await gate_.close();
  for (MemoryWatch* watch : watches_) watch->wake();
}

}  // namespace holdfast::store
