#include "sim/control/store.h"

#include <utility>

namespace holdfast::sim {

using namespace store;

Task<bool> TroubledKv::travel(unsigned lose) {
  co_await here_.sleep(Nanos(20'000 + random_.below(1'000'000)) + trouble_.slow);
  co_return !trouble_.down && !(lose != 0 && random_.below(lose) == 0);
}

Task<Error> TroubledKv::lost() {
  co_await here_.sleep(Nanos(random_.below(5'000'000'000)));
  co_return Error(random_.below(2) == 0 ? Errc::not_connected : Errc::timed_out, "the store does not answer");
}

template <class T>
Task<Result<T>> TroubledKv::pass(Task<Result<T>> act) {
  const bool arrives = co_await travel(trouble_.lose_request);
  if (!arrives) co_return co_await lost();
  Result<T> done = co_await std::move(act);
  const bool answered = co_await travel(trouble_.lose_answer);
  if (answered) co_return done;
  done.ignore("its answer is lost");
  co_return co_await lost();
}

Task<Result<RangeResult>> TroubledKv::range(RangeRequest r) { return pass(inner_.range(std::move(r))); }
Task<Result<PutResult>> TroubledKv::put(PutRequest r) { return pass(inner_.put(std::move(r))); }
Task<Result<DeleteResult>> TroubledKv::delete_range(DeleteRequest r) {
  return pass(inner_.delete_range(std::move(r)));
}
Task<Result<TxnResult>> TroubledKv::txn(Txn r) { return pass(inner_.txn(std::move(r))); }
Task<Status> TroubledKv::compact(Revision revision) { return pass(inner_.compact(revision)); }
Task<Result<Lease>> TroubledKv::lease_grant(std::int64_t ttl_s, LeaseId id) {
  return pass(inner_.lease_grant(ttl_s, id));
}
Task<Result<std::int64_t>> TroubledKv::lease_keep_alive(LeaseId id) {
  return pass(inner_.lease_keep_alive(id));
}
Task<Status> TroubledKv::lease_revoke(LeaseId id) { return pass(inner_.lease_revoke(id)); }
Task<Result<LeaseStatus>> TroubledKv::lease_status(LeaseId id, bool want_keys) {
  return pass(inner_.lease_status(id, want_keys));
}

// Nothing comes while the store is down; what was missed comes afterwards.
class TroubledWatch final : public Watch {
 public:
  TroubledWatch(TroubledKv& kv, std::unique_ptr<Watch> inner)
      : kv_(kv), inner_(std::move(inner)), cuts_(kv.trouble_.watches_cut) {}

  using Watch::next;
  Task<Result<WatchBatch>> next(Nanos deadline, StopToken stop) override {
    for (;;) {
      if (cuts_ != kv_.trouble_.watches_cut) co_return Error(Errc::out_of_range, "compacted");
      if (kept_ && !kv_.trouble_.down) {
        WatchBatch batch = std::move(*kept_);
        kept_.reset();
        co_return batch;
      }
      const Nanos now = kv_.here_.now();
      if (stop.stop_requested()) co_return Error(Errc::cancelled);
      if (now >= deadline) co_return Error(Errc::timed_out);
      if (kept_) {
        co_await kv_.here_.sleep(50ms, stop);
        continue;
      }
      const Nanos until = std::min(deadline, now + 500ms);  // to notice a cut
      auto batch = co_await inner_->next(until, stop);
      if (batch.ok()) {
        kept_.emplace(std::move(batch).value());
        co_await kv_.here_.sleep(Nanos(20'000 + kv_.random_.below(1'000'000)) + kv_.trouble_.slow, stop);
        continue;
      }
      if (batch.code() != Errc::timed_out) co_return batch.error();
    }
  }
  Task<void> close() override { return inner_->close(); }

 private:
  TroubledKv& kv_;
  std::unique_ptr<Watch> inner_;
  std::optional<WatchBatch> kept_;
  const std::uint64_t cuts_;
};

Task<Result<std::unique_ptr<Watch>>> TroubledKv::watch(WatchRequest request) {
  const bool arrives = co_await travel(trouble_.lose_request);
  if (!arrives) co_return co_await lost();
  HF_CO_TRY(auto inner, co_await inner_.watch(std::move(request)));
  std::unique_ptr<Watch> watch = std::make_unique<TroubledWatch>(*this, std::move(inner));
  co_return watch;
}

Result<std::optional<nexus::StoredRecord>> StoreRecords::load(const std::string& key) {
  if (trouble_.down) return Error(Errc::not_connected, "the store does not answer");
  HF_TRY(const auto found, store_.state().range(RangeRequest(KeyRange(key))));
  if (found.kvs.empty()) return std::optional<nexus::StoredRecord>();
  nexus::StoredRecord stored;
  HF_TRY(stored.record, nexus::parse_record(found.kvs.front().value));
  stored.revision = static_cast<std::uint64_t>(found.kvs.front().mod_revision);
  return std::optional(std::move(stored));
}

Result<std::uint64_t> StoreRecords::swap(const std::string& key, std::uint64_t expected,
                                         const nexus::Record& next) {
  if (trouble_.down) return Error(Errc::not_connected, "the store does not answer");
  Txn txn;
  txn.when(Compare::mod_revision_is(key, static_cast<Revision>(expected)));
  txn.then(PutRequest(key, nexus::to_json(next)));
  HF_TRY(const auto done, store_.state().txn(txn));
  if (!done.succeeded) return Error(Errc::fenced, "another owner changed the record " + key);
  store_.changed();
  return static_cast<std::uint64_t>(done.revision);
}

}  // namespace holdfast::sim
