#include "store/mvcc.h"

#include <algorithm>
#include <utility>

#include "store/request_check.h"

namespace holdfast::store {
namespace {

constexpr std::int64_t lease_ttl_s_max = 9'000'000'000;

Error compacted_error() {
  return Error(Errc::out_of_range, "etcdserver: mvcc: required revision has been compacted");
}
Error future_error() {
  return Error(Errc::out_of_range, "etcdserver: mvcc: required revision is a future revision");
}
Error too_large() { return Error(Errc::invalid_argument, "etcdserver: request is too large"); }
Error no_such_lease() { return Error(Errc::not_found, "etcdserver: requested lease not found"); }

bool meets(Compare::Relation relation, int order) noexcept {
  switch (relation) {
    case Compare::Relation::equal:
      return order == 0;
    case Compare::Relation::greater:
      return order > 0;
    case Compare::Relation::less:
      return order < 0;
    case Compare::Relation::not_equal:
      return order != 0;
  }
  return false;
}

int order_of(std::int64_t a, std::int64_t b) noexcept { return a < b ? -1 : a > b ? 1 : 0; }

bool meets(const Compare& c, const KeyValue& kv) noexcept {
  switch (c.target) {
    case Compare::Target::version:
      return meets(c.relation, order_of(kv.version, c.number));
    case Compare::Target::create:
      return meets(c.relation, order_of(kv.create_revision, c.number));
    case Compare::Target::mod:
      return meets(c.relation, order_of(kv.mod_revision, c.number));
    case Compare::Target::value:
      return meets(c.relation, kv.value.compare(c.value));
    case Compare::Target::lease:
      return meets(c.relation, order_of(kv.lease, c.number));
  }
  return false;
}

// Far in the future, where adding would overflow the clock.
Nanos end_of_lease(Nanos now, std::int64_t ttl_s) noexcept {
  const std::int64_t longest_s =
      std::chrono::duration_cast<std::chrono::seconds>(no_deadline - now).count() - 1;
  return now + std::chrono::seconds(std::min(ttl_s, longest_s));
}

bool needs_all(const RangeRequest& r) noexcept {
  return r.sort_target != SortTarget::key || r.sort_order == SortOrder::descend;
}

bool passes_filters(const RangeRequest& r, const KeyValue& kv) noexcept {
  return (r.min_mod_revision == 0 || kv.mod_revision >= r.min_mod_revision) &&
         (r.max_mod_revision == 0 || kv.mod_revision <= r.max_mod_revision) &&
         (r.min_create_revision == 0 || kv.create_revision >= r.min_create_revision) &&
         (r.max_create_revision == 0 || kv.create_revision <= r.max_create_revision);
}

void sort_keys(const RangeRequest& r, std::vector<KeyValue>& kvs) {
  const auto before = [target = r.sort_target](const KeyValue& a, const KeyValue& b) {
    switch (target) {
      case SortTarget::key:
        return a.key < b.key;
      case SortTarget::version:
        return a.version < b.version;
      case SortTarget::create:
        return a.create_revision < b.create_revision;
      case SortTarget::mod:
        return a.mod_revision < b.mod_revision;
      case SortTarget::value:
        return a.value < b.value;
    }
    return false;
  };
  if (r.sort_order == SortOrder::descend) {
    std::stable_sort(kvs.begin(), kvs.end(), [&](const auto& a, const auto& b) { return before(b, a); });
  } else {
    std::stable_sort(kvs.begin(), kvs.end(), before);
  }
}

}  // namespace

// The changes of one request: all at the revision after the store's.
struct Mvcc::Writer {
  explicit Writer(Revision at_revision) noexcept : revision(at_revision) {}
  // What its own reads see: its changes, once there are any.
  Revision now() const noexcept { return changes == 0 ? revision - 1 : revision; }

  const Revision revision;
  std::uint32_t changes = 0;
};

Result<Mvcc> Mvcc::open(Table& table, MvccLimits limits, Nanos now) {
  Mvcc made(table, limits);
  HF_CHECK(made.reload(now));
  return made;
}

Status Mvcc::reload(Nanos now) {
  HF_TRY(const TableState state, table_->load());
  auto known = std::exchange(leases_, {});
  revision_ = state.revision;
  compacted_ = state.compacted;
  for (const auto& [id, ttl_s] : state.leases) {
    LeaseState& lease = leases_[id];
    lease.ttl_s = ttl_s;
    const auto before = known.find(id);
    lease.ends = before == known.end() ? end_of_lease(now, ttl_s) : before->second.ends;
  }
  return table_->scan(KeyRange::all(), revision_, Table::Want::keys, [&](KeyValue kv) {
    attach(kv.key, no_lease, kv.lease);
    return true;
  });
}

Status Mvcc::check_room() {
  HF_TRY(const std::uint64_t used, table_->bytes());
  if (used <= limits_.table_bytes) return Status();
  return Error(Errc::resource_exhausted, "etcdserver: mvcc: database space exceeded");
}

Status Mvcc::check_range(const RangeRequest& request) const {
  if (request.revision > revision_) return future_error();
  if (request.revision > 0 && request.revision < compacted_) return compacted_error();
  return Status();
}

Status Mvcc::check_put(const PutRequest& request) {
  if (request.lease != no_lease && !has_lease(request.lease)) return no_such_lease();
  if (request.keep_value || request.keep_lease) {
    HF_TRY(const auto there, table_->get(request.key, revision_));
    if (!there.has_value()) return Error(Errc::invalid_argument, "etcdserver: key not found");
  }
  return Status();
}

Result<RangeResult> Mvcc::range(const RangeRequest& request) {
  HF_CHECK(check_request(request));
  HF_CHECK(check_range(request));
  return do_range(request, revision_);
}

Result<RangeResult> Mvcc::do_range(const RangeRequest& request, Revision now) {
  RangeResult result;
  result.revision = now;
  const Revision at = request.revision > 0 ? request.revision : now;
  if (request.count_only) {
    HF_TRY(result.count, table_->count(request.range, at));
    return result;
  }
  const auto limit = static_cast<std::size_t>(std::max<std::int64_t>(request.limit, 0));
  const bool all = limit == 0 || needs_all(request);
  const bool want_values = !request.keys_only || request.sort_target == SortTarget::value;
  const auto visit = [&](KeyValue kv) {
    if (all) ++result.count;
    if (passes_filters(request, kv)) result.kvs.push_back(std::move(kv));
    return all || result.kvs.size() <= limit;
  };
  HF_CHECK(table_->scan(request.range, at, want_values ? Table::Want::values : Table::Want::keys, visit));
  if (!all) {
    HF_TRY(result.count, table_->count(request.range, at));
  }
  if (request.sort_order != SortOrder::none || needs_all(request)) sort_keys(request, result.kvs);
  if (limit > 0 && result.kvs.size() > limit) {
    result.more = true;
    result.kvs.resize(limit);
  }
  if (request.keys_only) {
    for (KeyValue& kv : result.kvs) kv.value.clear();
  }
  return result;
}

Result<PutResult> Mvcc::put(const PutRequest& request) {
  HF_CHECK(check_request(request));
  if (wire_bytes(request) > limits_.request_bytes) return too_large();
  HF_CHECK(check_room());
  HF_CHECK(check_put(request));
  Writer writer(revision_ + 1);
  HF_TRY(PutResult result, do_put(request, writer));
  revision_ = writer.now();
  return result;
}

Result<PutResult> Mvcc::do_put(const PutRequest& request, Writer& writer) {
  PutResult result;
  HF_TRY(std::optional<KeyValue> old, table_->get(request.key, writer.revision));
  Change change;
  KeyValue& kv = change.kv;
  kv.key = request.key;
  kv.value = request.keep_value ? old->value : request.value;
  kv.lease = request.keep_lease ? old->lease : request.lease;
  kv.create_revision = old.has_value() ? old->create_revision : writer.revision;
  kv.version = old.has_value() ? old->version + 1 : 1;
  kv.mod_revision = writer.revision;
  change.nth = writer.changes++;
  HF_CHECK(write(change, old.has_value() ? old->lease : no_lease));
  if (request.want_previous) result.previous = std::move(old);
  result.revision = writer.revision;
  return result;
}

Status Mvcc::write(const Change& change, LeaseId old_lease) {
  HF_CHECK(table_->append(change));
  attach(change.kv.key, old_lease, change.kv.lease);
  return Status();
}

void Mvcc::attach(const std::string& key, LeaseId old_lease, LeaseId new_lease) {
  if (old_lease != no_lease && old_lease != new_lease) {
    if (const auto it = leases_.find(old_lease); it != leases_.end()) it->second.keys.erase(key);
  }
  if (new_lease == no_lease) return;
  if (const auto it = leases_.find(new_lease); it != leases_.end()) it->second.keys.insert(key);
}

Result<DeleteResult> Mvcc::delete_range(const DeleteRequest& request) {
  HF_CHECK(check_request(request));
  if (wire_bytes(request) > limits_.request_bytes) return too_large();
  Writer writer(revision_ + 1);
  HF_TRY(DeleteResult result, do_delete(request, writer));
  revision_ = writer.now();
  return result;
}

Result<DeleteResult> Mvcc::do_delete(const DeleteRequest& request, Writer& writer) {
  std::vector<KeyValue> there;
  const auto want = request.want_previous ? Table::Want::values : Table::Want::keys;
  HF_CHECK(table_->scan(request.range, writer.now(), want, [&](KeyValue kv) {
    there.push_back(std::move(kv));
    return true;
  }));
  for (const KeyValue& old : there) {
    Change change;
    change.kv.key = old.key;
    change.kv.mod_revision = writer.revision;
    change.nth = writer.changes++;
    HF_CHECK(write(change, old.lease));
  }
  DeleteResult result;
  result.deleted = static_cast<std::int64_t>(there.size());
  if (request.want_previous) result.previous = std::move(there);
  result.revision = writer.now();
  return result;
}

Result<bool> Mvcc::holds(const Compare& compare) {
  bool any = false;
  bool all = true;
  HF_CHECK(table_->scan(compare.range, revision_, Table::Want::values, [&](const KeyValue& kv) {
    any = true;
    all = meets(compare, kv);
    return all;
  }));
  if (any) return all;
  return compare.target != Compare::Target::value && meets(compare, KeyValue());
}

// Decides every transaction, nested ones too, by the state before the request.
Status Mvcc::choose(const Txn& request, Path& path) {
  bool all = true;
  for (const Compare& compare : request.compares) {
    HF_TRY(all, holds(compare));
    if (!all) break;
  }
  path.push_back(all);
  for (const Op& op : all ? request.success : request.failure) {
    if (const auto* nested = std::get_if<Txn>(&op.what)) HF_CHECK(choose(*nested, path));
  }
  return Status();
}

Status Mvcc::check_ops(const std::vector<Op>& ops, std::size_t& step, const Path& path) {
  for (const Op& op : ops) {
    if (const auto* range = std::get_if<RangeRequest>(&op.what)) {
      HF_CHECK(check_range(*range));
    } else if (const auto* put = std::get_if<PutRequest>(&op.what)) {
      HF_CHECK(check_put(*put));
    } else if (const auto* nested = std::get_if<Txn>(&op.what)) {
      const bool taken = path[step++];
      HF_CHECK(check_ops(taken ? nested->success : nested->failure, step, path));
    }
  }
  return Status();
}

namespace {

bool has_put(const Txn& txn) {
  const auto puts = [](const Op& op) {
    const auto* nested = std::get_if<Txn>(&op.what);
    return std::holds_alternative<PutRequest>(op.what) || (nested != nullptr && has_put(*nested));
  };
  return std::any_of(txn.success.begin(), txn.success.end(), puts) ||
         std::any_of(txn.failure.begin(), txn.failure.end(), puts);
}

}  // namespace

Result<TxnResult> Mvcc::txn(const Txn& request) {
  HF_CHECK(check_request(request, limits_.txn_ops));
  if (wire_bytes(request) > limits_.request_bytes) return too_large();
  if (has_put(request)) HF_CHECK(check_room());
  Path path;
  HF_CHECK(choose(request, path));
  std::size_t step = 1;
  HF_CHECK(check_ops(path.front() ? request.success : request.failure, step, path));
  step = 0;
  Writer writer(revision_ + 1);
  HF_TRY(TxnResult result, do_txn(request, path, step, writer));
  revision_ = writer.now();
  return result;
}

Result<TxnResult> Mvcc::do_txn(const Txn& request, const Path& path, std::size_t& step, Writer& writer) {
  TxnResult result;
  result.succeeded = path[step++];
  for (const Op& op : result.succeeded ? request.success : request.failure) {
    OpResult done;
    if (const auto* range = std::get_if<RangeRequest>(&op.what)) {
      HF_TRY(done.what, do_range(*range, writer.now()));
    } else if (const auto* put = std::get_if<PutRequest>(&op.what)) {
      HF_TRY(done.what, do_put(*put, writer));
    } else if (const auto* removal = std::get_if<DeleteRequest>(&op.what)) {
      HF_TRY(done.what, do_delete(*removal, writer));
    } else {
      HF_TRY(done.what, do_txn(std::get<Txn>(op.what), path, step, writer));
    }
    result.results.push_back(std::move(done));
  }
  result.revision = writer.now();
  return result;
}

Status Mvcc::compact(Revision at) {
  if (at <= compacted_) return compacted_error();
  if (at > revision_) return future_error();
  HF_CHECK(table_->compact(at));
  compacted_ = at;
  return Status();
}

Result<Lease> Mvcc::lease_grant(LeaseId id, std::int64_t ttl_s, Nanos now) {
  HF_ASSERT(id != no_lease);
  if (ttl_s > lease_ttl_s_max) return Error(Errc::out_of_range, "etcdserver: too large lease TTL");
  HF_CHECK(check_room());
  if (has_lease(id)) return Error(Errc::already_exists, "etcdserver: lease already exists");
  Lease lease;
  lease.id = id;
  lease.ttl_s = std::max(ttl_s, limits_.lease_ttl_s_min);
  HF_CHECK(table_->put_lease(id, lease.ttl_s));
  LeaseState& state = leases_[id];
  state.ttl_s = lease.ttl_s;
  state.ends = end_of_lease(now, lease.ttl_s);
  return lease;
}

Result<std::int64_t> Mvcc::lease_keep_alive(LeaseId id, Nanos now) {
  const auto it = leases_.find(id);
  // One whose time is over is as good as gone, although nobody has revoked it yet.
  if (it == leases_.end() || it->second.ends <= now) return no_such_lease();
  it->second.ends = std::max(it->second.ends, end_of_lease(now, it->second.ttl_s));
  return it->second.ttl_s;
}

Status Mvcc::lease_revoke(LeaseId id) {
  const auto it = leases_.find(id);
  if (it == leases_.end()) return no_such_lease();
  Writer writer(revision_ + 1);
  for (const std::string& key : it->second.keys) {
    Change change;
    change.kv.key = key;
    change.kv.mod_revision = writer.revision;
    change.nth = writer.changes++;
    HF_CHECK(table_->append(change));
  }
  HF_CHECK(table_->remove_lease(id));
  leases_.erase(it);
  revision_ = writer.now();
  return Status();
}

LeaseStatus Mvcc::lease_status(LeaseId id, bool want_keys, Nanos now) const {
  LeaseStatus status;
  const auto it = leases_.find(id);
  if (it == leases_.end()) {
    status.left_s = -1;
    return status;
  }
  const Nanos left = std::max(it->second.ends - now, Nanos{0});
  status.left_s = std::chrono::duration_cast<std::chrono::seconds>(left).count();
  status.granted_ttl_s = it->second.ttl_s;
  if (want_keys) status.keys.assign(it->second.keys.begin(), it->second.keys.end());
  return status;
}

std::vector<LeaseId> Mvcc::lease_ids() const {
  std::vector<LeaseId> ids;
  for (const auto& [id, state] : leases_) ids.push_back(id);
  return ids;
}

std::vector<LeaseId> Mvcc::expired(Nanos now) const {
  std::vector<LeaseId> ids;
  for (const auto& [id, state] : leases_) {
    if (state.ends <= now) ids.push_back(id);
  }
  return ids;
}

Nanos Mvcc::next_expiry() const noexcept {
  Nanos next = no_deadline;
  for (const auto& [id, state] : leases_) next = std::min(next, state.ends);
  return next;
}

Status Mvcc::check_watch(const WatchRequest& watch) {
  const KeyRange& r = watch.range;
  if (!r.is_one_key() && r.has_end() && r.end <= r.key) {
    return Error(Errc::invalid_argument, "mvcc: watcher range is empty");
  }
  return Status();
}

Result<History> Mvcc::history(const WatchRequest& watch, Revision from, std::size_t events_wanted) {
  if (from < compacted_) return compacted_error();
  History found;
  found.through = std::max(revision_, from - 1);
  Revision last = 0;
  const auto visit = [&](Change change) {
    const Revision at = change.kv.mod_revision;
    if (found.events.size() >= events_wanted && at != last) {
      found.through = last;
      return false;
    }
    last = at;
    const bool removed = change.removed();
    if (removed ? watch.without_removals : watch.without_puts) return true;
    KeyEvent event;
    event.type = removed ? KeyEvent::Type::remove : KeyEvent::Type::put;
    event.kv = std::move(change.kv);
    found.events.push_back(std::move(event));
    return true;
  };
  HF_CHECK(table_->history(watch.range, from, visit));
  if (!watch.want_previous) return found;
  for (KeyEvent& event : found.events) {
    const Revision before = event.kv.mod_revision - 1;
    // What compaction may have taken is not guessed at.
    if (before < compacted_ || (event.type == KeyEvent::Type::put && event.kv.version == 1)) continue;
    HF_TRY(event.previous, table_->get(event.kv.key, before));
  }
  return found;
}

}  // namespace holdfast::store
