// The worker of an embedded store while its file cannot be used.
#include "store/store_worker.h"

#include <atomic>
#include <filesystem>
#include <future>
#include <thread>

#include <gtest/gtest.h>
#include <unistd.h>

#include "store/sqlite_table.h"

namespace holdfast::store {
namespace {

// A file whose disk fails, or takes its time, for a while.
class FailingTable final : public Table {
 public:
  FailingTable(std::unique_ptr<Table> table, std::atomic<bool>& fails, std::atomic<int>& takes_ms,
               std::atomic<int>& loads)
      : table_(std::move(table)), fails_(fails), takes_ms_(takes_ms), loads_(loads) {}

  Result<TableState> load() override {
    ++loads_;
    if (fails_) return Error(Errc::io_error);
    return table_->load();
  }
  Status begin() override { return table_->begin(); }
  Status commit() override {
    std::this_thread::sleep_for(std::chrono::milliseconds(takes_ms_.load()));
    if (fails_) return Error(Errc::io_error);
    return table_->commit();
  }
  Status roll_back() override { return table_->roll_back(); }
  Result<std::optional<KeyValue>> get(const std::string& key, Revision at) override {
    return table_->get(key, at);
  }
  Status scan(const KeyRange& range, Revision at, Want want, const Visitor& visit) override {
    return table_->scan(range, at, want, visit);
  }
  Result<std::int64_t> count(const KeyRange& range, Revision at) override { return table_->count(range, at); }
  Status history(const KeyRange& range, Revision from, const ChangeVisitor& visit) override {
    return table_->history(range, from, visit);
  }
  Status append(const Change& change) override { return table_->append(change); }
  Status compact(Revision at) override { return table_->compact(at); }
  Status put_lease(LeaseId id, std::int64_t ttl_s) override { return table_->put_lease(id, ttl_s); }
  Status remove_lease(LeaseId id) override { return table_->remove_lease(id); }
  Result<std::uint64_t> bytes() override { return table_->bytes(); }

 private:
  std::unique_ptr<Table> table_;
  std::atomic<bool>& fails_;
  std::atomic<int>& takes_ms_;
  std::atomic<int>& loads_;
};

struct Worker {
  Worker() {
    auto table = SqliteTable::open(path, 1);
    HF_ASSERT(table.ok());
    StoreWorker::Options options;
    options.limits.lease_ttl_s_min = 1;
    auto failing = std::make_unique<FailingTable>(std::move(table).value(), fails, takes_ms, loads);
    auto started = StoreWorker::start(std::move(failing), options);
    HF_ASSERT(started.ok());
    worker = std::move(started).value();
  }
  ~Worker() {
    worker.reset();
    for (const char* suffix : {"", "-wal", "-shm"}) std::filesystem::remove(path + suffix);
  }
  // What became of it: its own outcome, then that of the file.
  bool run(std::function<Status(Mvcc&, Nanos)> work) {
    std::promise<bool> done;
    StoreJob job;
    job.writes = true;
    job.run = [&work](Mvcc& state, Nanos now) { return work(state, now); };
    job.answer = [&done](const Status& durable) { done.set_value(durable.ok()); };
    EXPECT_TRUE(worker->submit(std::move(job)));
    return done.get_future().get();
  }
  static Status put(Mvcc& state, Nanos) {
    HF_CHECK(state.put(PutRequest("a", "1")));
    return Status();
  }

  const std::string path =
      (std::filesystem::temp_directory_path() / ("holdfast-worker-test-" + std::to_string(::getpid())))
          .string();
  std::atomic<bool> fails{false};
  std::atomic<int> takes_ms{0};  // a commit
  std::atomic<int> loads{0};
  std::unique_ptr<StoreWorker> worker;
};

TEST(StoreWorker, AFileThatFailsIsNotTriedOverAndOver) {
  Worker w;
  EXPECT_TRUE(w.run([](Mvcc& state, Nanos now) -> Status {
    HF_CHECK(state.lease_grant(7, 1, now));
    return Status();
  }));
  w.fails = true;
  EXPECT_FALSE(w.run(Worker::put));
  const int before = w.loads;
  // Its lease ends in this time.
  std::this_thread::sleep_for(std::chrono::milliseconds(2500));
  EXPECT_LE(w.loads - before, 3);
  w.fails = false;
  EXPECT_TRUE(w.run(Worker::put));
  EXPECT_TRUE(w.run([](Mvcc& state, Nanos) -> Status {
    EXPECT_FALSE(state.has_lease(7));
    return Status();
  }));
}

// The store is the only one who could say so, and its disk stands still: whoever asked in time keeps the lease.
TEST(StoreWorker, ALeaseThatIsRenewedInTimeOutlivesADiskThatStandsStill) {
  Worker w;
  for (const LeaseId id : {7, 8}) {
    EXPECT_TRUE(w.run([id](Mvcc& state, Nanos now) -> Status {
      HF_CHECK(state.lease_grant(id, 1, now));
      return Status();
    }));
  }
  w.takes_ms = 1500;
  std::thread writer([&] { EXPECT_TRUE(w.run(Worker::put)); });
  std::this_thread::sleep_for(std::chrono::milliseconds(600));
  w.takes_ms = 0;
  std::promise<bool> renewed;
  StoreJob job;
  job.renews = true;
  job.run = [&renewed, came = StoreWorker::now()](Mvcc& state, Nanos) {
    renewed.set_value(state.lease_keep_alive(7, came).ok());
    return Status();
  };
  job.answer = [](const Status&) {};
  EXPECT_TRUE(w.worker->submit(std::move(job)));
  EXPECT_TRUE(renewed.get_future().get());
  writer.join();
  EXPECT_TRUE(w.run([](Mvcc& state, Nanos) -> Status {
    EXPECT_TRUE(state.has_lease(7));
    EXPECT_FALSE(state.has_lease(8)) << "nobody renewed that one";
    return Status();
  }));
}

}  // namespace
}  // namespace holdfast::store
