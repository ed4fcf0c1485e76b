#include "store/store_worker.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "base/log.h"

namespace holdfast::store {
namespace {

constexpr std::size_t batch_max = 256;
// How long a quiet watch that asked for it waits to hear how far the store is.
constexpr Nanos progress_interval = 60s;
constexpr Nanos look_interval = 10s;
// A table that fails is tried again for leases that have ended meanwhile, and not over and over.
constexpr Nanos broken_pause = 1s;

}  // namespace

Nanos StoreWorker::now() {
  return std::chrono::duration_cast<Nanos>(std::chrono::steady_clock::now().time_since_epoch());
}

Result<std::unique_ptr<StoreWorker>> StoreWorker::start(std::unique_ptr<Table> table, Options options) {
  HF_TRY(Mvcc state, Mvcc::open(*table, options.limits, now()));
  std::unique_ptr<StoreWorker> worker(new StoreWorker(std::move(table), options, std::move(state)));
  worker->thread_ = std::thread([w = worker.get()] { w->work(); });
  return worker;
}

StoreWorker::StoreWorker(std::unique_ptr<Table> table, Options options, Mvcc state)
    : options_(options), table_(std::move(table)), state_(std::move(state)) {}

StoreWorker::~StoreWorker() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool StoreWorker::submit(StoreJob job) {
  {
    const std::lock_guard lock(mutex_);
    Jobs& queue = job.renews ? renewals_ : waiting_;
    if (stopping_ || queue.size() >= options_.jobs_max) return false;
    queue.push_back(std::move(job));
  }
  changed_.notify_all();
  return true;
}

void StoreWorker::add(std::shared_ptr<WatchSession> session) {
  const std::lock_guard lock(mutex_);
  sessions_.push_back(std::move(session));
}

void StoreWorker::remove(const std::shared_ptr<WatchSession>& session) {
  const std::lock_guard lock(mutex_);
  std::erase(sessions_, session);
}

void StoreWorker::poke() {
  {
    const std::lock_guard lock(mutex_);
    poked_ = true;
  }
  changed_.notify_all();
}

StoreWorker::Jobs StoreWorker::wait_for_jobs() {
  Nanos until = std::min(state_.next_expiry(), now() + look_interval);
  if (broken_) until = std::max(until, now() + broken_pause);
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::max(until - now(), Nanos{0}),
                    [this] { return stopping_ || poked_ || !waiting_.empty() || !renewals_.empty(); });
  poked_ = false;
  Jobs taken = std::exchange(renewals_, {});
  for (std::size_t n = 0; n < batch_max && !waiting_.empty(); ++n) {
    taken.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  return taken;
}

void StoreWorker::work() {
  for (;;) {
    Jobs jobs = wait_for_jobs();
    bool stopping = false;
    {
      const std::lock_guard lock(mutex_);
      stopping = stopping_;
      for (Jobs* queue : {&renewals_, &waiting_}) {
        if (!stopping) break;
        std::move(queue->begin(), queue->end(), std::back_inserter(jobs));
        queue->clear();
      }
    }
    if (stopping) {
      const Status over = Error(Errc::cancelled, "the store is stopping");
      over.ignore("only its readers look");
      for (StoreJob& job : jobs) job.answer(over);
      return;
    }
    carry_out(jobs);
    feed(now());
  }
}

void StoreWorker::carry_out(Jobs& jobs) {
  Status durable = run_batch(jobs);
  if (!durable.ok()) {
    HF_LOG(error, "store", "changes were not stored", {"error", durable.error()});
    broken_ = true;
  }
  for (StoreJob& job : jobs) job.answer(durable);
}

Status StoreWorker::run_batch(Jobs& jobs) {
  if (broken_) {
    HF_CHECK(table_->roll_back());
    HF_CHECK(state_.reload(now()));
    broken_ = false;
  }
  HF_CHECK(run_jobs(jobs, true));
  const std::vector<LeaseId> ended = state_.expired(now());
  const bool writes =
      !ended.empty() || std::any_of(jobs.begin(), jobs.end(), [](const StoreJob& job) { return job.writes; });
  return writes ? write_batch(jobs, ended) : run_jobs(jobs, false);
}

Status StoreWorker::run_jobs(Jobs& jobs, bool renewals) {
  for (StoreJob& job : jobs) {
    if (job.renews == renewals) HF_CHECK(job.run(state_, now()));
  }
  return Status();
}

Status StoreWorker::write_batch(Jobs& jobs, const std::vector<LeaseId>& ended) {
  HF_CHECK(table_->begin());
  for (const LeaseId id : ended) HF_CHECK(state_.lease_revoke(id));
  HF_CHECK(run_jobs(jobs, false));
  HF_CHECK(compact_old());
  return table_->commit();
}

Status StoreWorker::compact_old() {
  // Rarely, and then much: each time costs a look at everything that is that old.
  if (options_.retain == 0 || state_.revision() - state_.compacted() <= 2 * options_.retain) return Status();
  return state_.compact(state_.revision() - options_.retain);
}

void StoreWorker::feed(Nanos at) {
  if (broken_) return;
  std::vector<std::shared_ptr<WatchSession>> sessions;
  {
    const std::lock_guard lock(mutex_);
    sessions = sessions_;
  }
  for (const auto& session : sessions) feed(*session, at);
}

void StoreWorker::feed(WatchSession& session, Nanos at) {
  constexpr std::size_t events_wanted = 256;
  for (auto it = session.watchers.begin(); it != session.watchers.end();) {
    Watcher& watcher = it->second;
    bool over = false;
    while (watcher.next <= state_.revision() && !session.full()) {
      auto history = state_.history(watcher.request, watcher.next, events_wanted);
      if (!history.ok()) {
        // Of a damaged file, too: the client sees the watch end and finds out when it asks for a new one.
        session.give_compacted(it->first, state_.compacted());
        over = true;
        break;
      }
      watcher.next = history.value().through + 1;
      if (history.value().events.empty()) continue;
      watcher.fed_at = at;
      session.give(it->first, std::move(history).value());
    }
    if (!over && watcher.wants_progress && watcher.next > state_.revision() && !session.full() &&
        at - watcher.fed_at >= progress_interval) {
      watcher.fed_at = at;
      History quiet;
      quiet.through = state_.revision();
      session.give(it->first, std::move(quiet));
    }
    it = over ? session.watchers.erase(it) : std::next(it);
  }
}

}  // namespace holdfast::store
