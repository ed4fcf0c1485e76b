// Mvcc: the store's state machine: what each request does to keys, revisions and leases, with the rules and the
// error texts of etcd 3.4. Pure: time comes in as an argument, bytes go to a Table. The embedded server runs it
// on a file, MemoryKv and the simulation in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "rt/time.h"
#include "store/kv.h"
#include "store/table.h"

namespace holdfast::store {

struct MvccLimits {
  std::size_t request_bytes = request_bytes_max;
  std::size_t txn_ops = txn_ops_max;
  // The table refuses new keys and leases (resource_exhausted) while it holds more; what frees room goes on.
  std::uint64_t table_bytes = std::uint64_t{2} << 30;
  std::int64_t lease_ttl_s_min = 2;
};

// What a watcher gets: the changes of whole revisions, up to `through`.
struct History {
  std::vector<KeyEvent> events;
  Revision through = 0;
};

// One thread. An error of the table (io_error, out_of_space) leaves the state unknown: roll the table back,
// then reload(). Other errors mean that nothing was changed.
class Mvcc {
 public:
  // `table` outlives it. Every lease gets its whole ttl again.
  static Result<Mvcc> open(Table& table, MvccLimits limits, Nanos now);
  // Reads the state again; leases that are known keep their time.
  Status reload(Nanos now);

  Revision revision() const noexcept { return revision_; }
  Revision compacted() const noexcept { return compacted_; }
  const MvccLimits& limits() const noexcept { return limits_; }
  Result<std::uint64_t> table_bytes() { return table_->bytes(); }

  Result<RangeResult> range(const RangeRequest& request);
  Result<PutResult> put(const PutRequest& request);
  Result<DeleteResult> delete_range(const DeleteRequest& request);
  Result<TxnResult> txn(const Txn& request);
  Status compact(Revision at);

  // `id` is positive, the caller chose it. Errors: already_exists, out_of_range (ttl).
  Result<Lease> lease_grant(LeaseId id, std::int64_t ttl_s, Nanos now);
  bool has_lease(LeaseId id) const noexcept { return leases_.contains(id); }
  Result<std::int64_t> lease_keep_alive(LeaseId id, Nanos now);
  Status lease_revoke(LeaseId id);
  LeaseStatus lease_status(LeaseId id, bool want_keys, Nanos now) const;
  std::vector<LeaseId> lease_ids() const;
  // Leases whose time is over. The caller revokes them.
  std::vector<LeaseId> expired(Nanos now) const;
  // When the next one is due; no_deadline when there is none.
  Nanos next_expiry() const noexcept;

  // What a watcher that has everything before `from` is to be given next: about `events_wanted` events, the
  // last revision whole. Errors: out_of_range (compacted).
  Result<History> history(const WatchRequest& watch, Revision from, std::size_t events_wanted);
  // What etcd says of a watch's range. Errors: invalid_argument.
  static Status check_watch(const WatchRequest& watch);

 private:
  struct LeaseState {
    std::int64_t ttl_s = 0;
    Nanos ends{0};
    std::set<std::string, std::less<>> keys;
  };
  // Which list each transaction, nested ones included, takes: in the order in which they are met.
  using Path = std::vector<bool>;
  struct Writer;

  Mvcc(Table& table, MvccLimits limits) : table_(&table), limits_(limits) {}

  Status check_room();
  Status check_range(const RangeRequest& request) const;
  Status check_put(const PutRequest& request);
  Status check_ops(const std::vector<Op>& ops, std::size_t& step, const Path& path);
  Result<bool> holds(const Compare& compare);
  Status choose(const Txn& request, Path& path);
  Result<RangeResult> do_range(const RangeRequest& request, Revision now);
  Result<PutResult> do_put(const PutRequest& request, Writer& writer);
  Result<DeleteResult> do_delete(const DeleteRequest& request, Writer& writer);
  Result<TxnResult> do_txn(const Txn& request, const Path& path, std::size_t& step, Writer& writer);
  Status write(const Change& change, LeaseId old_lease);
  void attach(const std::string& key, LeaseId old_lease, LeaseId new_lease);

  Table* table_;
  MvccLimits limits_;
  Revision revision_ = 1;
  Revision compacted_ = 0;
  std::map<LeaseId, LeaseState> leases_;
};

}  // namespace holdfast::store
