// The store of the simulated control plane: MemoryStore, with what can be wrong on the way to it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "control/testing/records.h"
#include "sim/reactor.h"
#include "store/memory_kv.h"

namespace holdfast::sim {

// Chances are one in so many requests; 0: never.
struct StoreTrouble {
  bool down = false;         // nobody is answered
  Nanos slow{0};             // added to every request
  unsigned lose_answer = 0;  // it is done, its answer is lost
  unsigned lose_request = 0;
  std::uint64_t watches_cut = 0;  // so often every watch was ended, as by a compaction
};

// A user's way to the store.
class TroubledKv final : public store::Kv {
 public:
  TroubledKv(SimReactor& here, store::MemoryStore& store, const StoreTrouble& trouble, std::uint64_t seed)
      : here_(here), trouble_(trouble), random_(seed), inner_(here, store) {}

  Task<Result<store::RangeResult>> range(store::RangeRequest request) override;
  Task<Result<store::PutResult>> put(store::PutRequest request) override;
  Task<Result<store::DeleteResult>> delete_range(store::DeleteRequest request) override;
  Task<Result<store::TxnResult>> txn(store::Txn request) override;
  Task<Status> compact(store::Revision revision) override;
  using store::Kv::lease_grant;
  Task<Result<store::Lease>> lease_grant(std::int64_t ttl_s, store::LeaseId id) override;
  Task<Result<std::int64_t>> lease_keep_alive(store::LeaseId id) override;
  Task<Status> lease_revoke(store::LeaseId id) override;
  Task<Result<store::LeaseStatus>> lease_status(store::LeaseId id, bool want_keys) override;
  Task<Result<std::unique_ptr<store::Watch>>> watch(store::WatchRequest request) override;
  Task<void> close() override { return inner_.close(); }

 private:
  friend class TroubledWatch;
  template <class T>
  Task<Result<T>> pass(Task<Result<T>> act);
  // False: it does not get through.
  Task<bool> travel(unsigned lose);
  Task<Error> lost();

  SimReactor& here_;
  const StoreTrouble& trouble_;
  Prng random_;
  store::MemoryKv inner_;
};

// How engines keep membership records there.
class StoreRecords final : public control::fake::Records {
 public:
  StoreRecords(store::MemoryStore& store, const StoreTrouble& trouble) : store_(store), trouble_(trouble) {}
  Result<std::optional<nexus::StoredRecord>> load(const std::string& key) override;
  Result<std::uint64_t> swap(const std::string& key, std::uint64_t expected,
                             const nexus::Record& next) override;

 private:
  store::MemoryStore& store_;
  const StoreTrouble& trouble_;
};

}  // namespace holdfast::sim
