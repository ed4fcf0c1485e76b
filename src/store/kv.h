// Kv: the store of the control plane as everything above it sees it: keys with revisions, transactions that
// compare before they write, leases and watches. It is the part of the etcd v3 API that Holdfast uses, with
// etcd's meanings (etcd documentation, "etcd API" and "KV API guarantees"), on a reactor.
//
// Implementations: EtcdClient (etcd_client.h: a real etcd, or the embedded server of an agent) and MemoryKv
// (memory_kv.h: tests and simulation). One conformance suite runs against all of them.
//
// Every change of the store has a revision: a number that grows by one with each transaction that changes
// something, whatever the key. All calls are on the reactor of the Kv. Every call ends by the deadline that the
// Kv was made with.
//
// Errors of every call, besides those named at it:
//   not_connected, timed_out  no answer: a change may or may not have happened. Read before deciding
//   cancelled                 close() was called
//   resource_exhausted        the store is full, or has too many requests: a change did not happen
//   invalid_argument          the request breaks a limit below or names no key: it did not happen
//   protocol, internal        the store answers what it must not
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "rt/stop.h"
#include "rt/task.h"
#include "rt/time.h"

namespace holdfast::store {

// Revisions begin at 1, the empty store. 0 in a request: now.
using Revision = std::int64_t;
// Never negative; 0: no lease.
using LeaseId = std::int64_t;
inline constexpr LeaseId no_lease = 0;

// What etcd accepts by default (etcd --max-request-bytes, --max-txn-ops).
inline constexpr std::size_t request_bytes_max = 1536 * 1024;
inline constexpr std::size_t txn_ops_max = 128;

// The request types have constructors: a temporary of theirs may stand in a statement that awaits.

// Keys from `key` up to, without, `end`, in the order of their bytes. As in etcd an empty `end` means `key`
// alone, and an `end` of one zero byte everything from `key` on.
struct KeyRange {
  KeyRange() = default;
  KeyRange(std::string one_key) : key(std::move(one_key)) {}
  KeyRange(const char* one_key) : key(one_key) {}
  KeyRange(std::string from, std::string to) : key(std::move(from)), end(std::move(to)) {}
  // Every key that begins with `text`; every key at all when it is empty.
  static KeyRange prefix(std::string text);
  static KeyRange all() { return prefix(std::string()); }
  static KeyRange from(std::string key) { return KeyRange(std::move(key), std::string(1, '\0')); }

  bool is_one_key() const noexcept { return end.empty(); }
  bool has_end() const noexcept { return !(end.size() == 1 && end[0] == '\0'); }
  bool contains(std::string_view k) const noexcept;
  bool operator==(const KeyRange&) const = default;

  std::string key;
  std::string end;
};

struct KeyValue {
  std::string key;
  std::string value;
  Revision create_revision = 0;  // when the key was last created; 0 in an KeyEvent that removes it
  Revision mod_revision = 0;     // when it was last changed; what compare-and-swap compares
  std::int64_t version = 0;      // changes since it was created: 1 for a new key
  LeaseId lease = no_lease;      // the key goes when this lease ends
  bool operator==(const KeyValue&) const = default;
};

enum class SortOrder : std::uint8_t { none, ascend, descend };
enum class SortTarget : std::uint8_t { key, version, create, mod, value };

struct RangeRequest {
  RangeRequest() = default;
  RangeRequest(KeyRange keys) : range(std::move(keys)) {}

  KeyRange range;
  std::int64_t limit =
      0;  // 0: all. Without one an answer may be larger than the connection takes: see read_all
  Revision revision = 0;   // as it was then
  bool keys_only = false;  // values are left empty
  bool count_only = false;
  SortOrder sort_order = SortOrder::none;  // none: by key
  SortTarget sort_target = SortTarget::key;
  // 0: no bound. Only keys changed or created in these revisions; `count` counts the others, too.
  Revision min_mod_revision = 0, max_mod_revision = 0;
  Revision min_create_revision = 0, max_create_revision = 0;
};

// `revision` of every result: the store's when it answered; of a change: the one that it made.
struct RangeResult {
  Revision revision = 0;
  std::vector<KeyValue> kvs;
  bool more = false;       // `limit` left some out
  std::int64_t count = 0;  // keys in the range, whatever the limit
};

struct PutRequest {
  PutRequest() = default;
  PutRequest(std::string k, std::string v, LeaseId l = no_lease)
      : key(std::move(k)), value(std::move(v)), lease(l) {}

  std::string key;
  std::string value;
  LeaseId lease = no_lease;  // the key is in this lease from now on; unknown: not_found
  bool want_previous = false;
  // Keep what the key has; no key: invalid_argument. `value` and `lease` are then not given.
  bool keep_value = false;
  bool keep_lease = false;
};

struct PutResult {
  Revision revision = 0;
  std::optional<KeyValue> previous;  // when wanted, and there was one
};

struct DeleteRequest {
  DeleteRequest() = default;
  DeleteRequest(KeyRange keys) : range(std::move(keys)) {}

  KeyRange range;
  bool want_previous = false;
};

struct DeleteResult {
  Revision revision = 0;
  std::int64_t deleted = 0;
  std::vector<KeyValue> previous;  // when wanted
};

// One condition of a transaction; of a range, each key in it must meet it. Where no key is there, the numbers
// are 0, and a comparison of the value is never met.
struct Compare {
  enum class Target : std::uint8_t { version, create, mod, value, lease };
  enum class Relation : std::uint8_t { equal, greater, less, not_equal };

  Compare() = default;
  Compare(KeyRange keys, Target t, Relation r, std::int64_t n)
      : range(std::move(keys)), target(t), relation(r), number(n) {}
  static Compare absent(std::string key) {
    return Compare(KeyRange(std::move(key)), Target::create, Relation::equal, 0);
  }
  static Compare exists(std::string key) {
    return Compare(KeyRange(std::move(key)), Target::create, Relation::greater, 0);
  }
  // 0: the key is absent.
  static Compare mod_revision_is(std::string key, Revision revision) {
    return Compare(KeyRange(std::move(key)), Target::mod, Relation::equal, revision);
  }
  static Compare create_revision_is(std::string key, Revision revision) {
    return Compare(KeyRange(std::move(key)), Target::create, Relation::equal, revision);
  }
  static Compare value_is(std::string key, std::string value) {
    Compare c(KeyRange(std::move(key)), Target::value, Relation::equal, 0);
    c.value = std::move(value);
    return c;
  }

  KeyRange range;
  Target target = Target::version;
  Relation relation = Relation::equal;
  std::int64_t number = 0;  // of every target but value
  std::string value;
};

struct Op;
struct OpResult;

// Compares, then does one of two lists in their order, all at one revision. No key is written twice in a list
// (invalid_argument), no range has a revision (the same). At most txn_ops_max compares, and operations in a list.
struct Txn {
  Txn() = default;
  Txn& when(Compare compare);
  Txn& then(Op op);
  Txn& otherwise(Op op);

  std::vector<Compare> compares;
  std::vector<Op> success;
  std::vector<Op> failure;
};

struct TxnResult {
  Revision revision = 0;
  bool succeeded = false;         // the compares were met
  std::vector<OpResult> results;  // one for each operation of the list that was done
};

struct Op {
  Op(RangeRequest request) : what(std::move(request)) {}
  Op(PutRequest request) : what(std::move(request)) {}
  Op(DeleteRequest request) : what(std::move(request)) {}
  Op(Txn request) : what(std::move(request)) {}
  std::variant<RangeRequest, PutRequest, DeleteRequest, Txn> what;
};

struct OpResult {
  std::variant<RangeResult, PutResult, DeleteResult, TxnResult> what;
};

inline Txn& Txn::when(Compare compare) {
  compares.push_back(std::move(compare));
  return *this;
}
inline Txn& Txn::then(Op op) {
  success.push_back(std::move(op));
  return *this;
}
inline Txn& Txn::otherwise(Op op) {
  failure.push_back(std::move(op));
  return *this;
}

struct Lease {
  LeaseId id = no_lease;
  std::int64_t ttl_s = 0;  // as granted: at least what was asked for
};

struct LeaseStatus {
  std::int64_t left_s = 0;  // -1: there is no such lease (any more)
  std::int64_t granted_ttl_s = 0;
  std::vector<std::string> keys;  // when wanted
};

struct KeyEvent {
  enum class Type : std::uint8_t { put, remove };
  Type type = Type::put;
  KeyValue kv;  // of a removal: the key and its mod_revision alone
  std::optional<KeyValue> previous;
};

struct WatchRequest {
  WatchRequest() = default;
  WatchRequest(KeyRange keys, Revision from = 0) : range(std::move(keys)), start_revision(from) {}

  KeyRange range;
  // The first revision whose changes are wanted: that of a RangeResult plus one continues it without a gap.
  // 0: changes from now on.
  Revision start_revision = 0;
  bool want_previous = false;  // none where the store has forgotten it
  bool without_puts = false;
  bool without_removals = false;
};

struct WatchBatch {
  // Every change up to this revision has been given. With no events it says that time has passed.
  Revision revision = 0;
  // In the order of their revisions; those of one revision are all in one batch.
  std::vector<KeyEvent> events;
};

// Changes of a range, each once, in order, none left out, also over lost connections and changed endpoints.
class Watch {
 public:
  Watch() = default;
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  virtual ~Watch() = default;  // close() was awaited (asserted by the implementations)

  // One caller at a time. timed_out at the deadline (on Reactor::now()'s clock) and cancelled by the token
  // lose nothing: call again. Other errors end the watch: out_of_range (the store has compacted what comes
  // next: read the range again and watch from there), cancelled (close() was called here or of the Kv),
  // invalid_argument (an empty range).
  virtual Task<Result<WatchBatch>> next(Nanos deadline, StopToken stop) = 0;
  Task<Result<WatchBatch>> next() { return next(no_deadline, StopToken()); }
  virtual Task<void> close() = 0;
};

class Kv {
 public:
  Kv() = default;
  Kv(const Kv&) = delete;
  Kv& operator=(const Kv&) = delete;
  virtual ~Kv() = default;  // close() was awaited (asserted by the implementations)

  // Errors: out_of_range (`revision` is compacted, or has not been yet).
  virtual Task<Result<RangeResult>> range(RangeRequest request) = 0;
  // Errors: not_found (the lease).
  virtual Task<Result<PutResult>> put(PutRequest request) = 0;
  virtual Task<Result<DeleteResult>> delete_range(DeleteRequest request) = 0;
  // Errors: those of its operations; then none of them was done.
  virtual Task<Result<TxnResult>> txn(Txn request) = 0;
  // Forgets what was overwritten before `revision`; reading at it still works. Errors: out_of_range (already
  // compacted so far, or a revision that has not been yet).
  virtual Task<Status> compact(Revision revision) = 0;

  // 0 lets the store choose the id. Errors: already_exists; out_of_range (a ttl of over 9e9 s).
  virtual Task<Result<Lease>> lease_grant(std::int64_t ttl_s, LeaseId id) = 0;
  Task<Result<Lease>> lease_grant(std::int64_t ttl_s) { return lease_grant(ttl_s, no_lease); }
  // Makes it last its whole ttl again, which is returned. Errors: not_found (it has ended).
  virtual Task<Result<std::int64_t>> lease_keep_alive(LeaseId id) = 0;
  // Ends it and removes its keys. Errors: not_found.
  virtual Task<Status> lease_revoke(LeaseId id) = 0;
  virtual Task<Result<LeaseStatus>> lease_status(LeaseId id, bool want_keys) = 0;

  // Ends when the store has begun to watch. `Kv` outlives the watch.
  virtual Task<Result<std::unique_ptr<Watch>>> watch(WatchRequest request) = 0;

  // Calls under way and watches end with cancelled. Returns when all have; close the watches, too.
  virtual Task<void> close() = 0;
};

}  // namespace holdfast::store
