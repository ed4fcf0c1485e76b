// StoreWorker: the one thread of an embedded store. It takes the requests that wait, carries them out in their
// order, makes them durable together with one sync, then answers them all. So nobody is told of a change, nor
// reads one, before it is on the disk, and a busy store costs one sync for many changes.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/error.h"
#include "store/mvcc.h"
#include "store/table.h"

namespace holdfast::store {

// One request. Both run on the worker's thread, `answer` always and last.
struct StoreJob {
  bool writes = false;
  // Of a lease: it counts from when it came, so it is carried out before what waits, and before leases are found to
  // have ended. However long the disk takes, nobody loses a lease who renewed it in time.
  bool renews = false;
  // Fails only when the table does: then nothing of the whole batch was done.
  std::function<Status(Mvcc& state, Nanos now)> run;
  std::function<void(const Status& durable)> answer;
};

// A watch as the worker feeds it.
struct Watcher {
  WatchRequest request;
  Revision next = 0;  // the first revision that was not given yet
  bool wants_progress = false;
  Nanos fed_at{0};
};

// The watches of one client. Kept by the worker until remove().
class WatchSession {
 public:
  virtual ~WatchSession() = default;
  // Worker's thread. `through`: everything before it was given.
  virtual void give(std::int64_t id, History history) = 0;
  virtual void give_compacted(std::int64_t id, Revision compacted) = 0;
  // Enough waits to be sent; StoreWorker::poke() when that has changed.
  virtual bool full() = 0;

  std::map<std::int64_t, Watcher> watchers;  // worker's thread
};

class StoreWorker {
 public:
  struct Options {
    MvccLimits limits;
    // So many revisions can be read and watched again; what is older is compacted. 0: all of them.
    Revision retain = 10'000;
    std::size_t jobs_max = 4096;
  };
  // Errors: those of the table.
  static Result<std::unique_ptr<StoreWorker>> start(std::unique_ptr<Table> table, Options options);
  // Answers what waits with cancelled. No session is there any more.
  ~StoreWorker();
  StoreWorker(const StoreWorker&) = delete;
  StoreWorker& operator=(const StoreWorker&) = delete;

  // Any thread. False: too many wait, or the worker is stopping; the job was not taken and is not answered.
  bool submit(StoreJob job);
  void add(std::shared_ptr<WatchSession> session);
  void remove(const std::shared_ptr<WatchSession>& session);
  void poke();
  // The time that leases are measured in.
  static Nanos now();

 private:
  using Jobs = std::deque<StoreJob>;
  StoreWorker(std::unique_ptr<Table> table, Options options, Mvcc state);
  void work();
  Jobs wait_for_jobs();
  void carry_out(Jobs& jobs);
  Status run_jobs(Jobs& jobs, bool renewals);
  Status run_batch(Jobs& jobs);
  Status write_batch(Jobs& jobs, const std::vector<LeaseId>& ended);
  Status compact_old();
  void feed(Nanos now);
  void feed(WatchSession& session, Nanos now);

  const Options options_;
  std::unique_ptr<Table> table_;
  Mvcc state_;
  bool broken_ = false;  // the state has to be read again
  std::mutex mutex_;
  std::condition_variable changed_;
  Jobs waiting_;
  Jobs renewals_;
  bool poked_ = false;
  bool stopping_ = false;
  std::vector<std::shared_ptr<WatchSession>> sessions_;
  std::thread thread_;
};

}  // namespace holdfast::store
