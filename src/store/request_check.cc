#include "store/request_check.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace holdfast::store {
namespace {

Error empty_key() { return Error(Errc::invalid_argument, "etcdserver: key is not provided"); }
Error too_many() { return Error(Errc::invalid_argument, "etcdserver: too many operations in txn request"); }
Error duplicate() { return Error(Errc::invalid_argument, "etcdserver: duplicate key given in txn request"); }

// What a list of operations may write.
struct Writes {
  std::set<std::string> puts;
  std::vector<KeyRange> removals;

  bool removes(const std::string& key) const {
    return std::any_of(removals.begin(), removals.end(), [&](const KeyRange& r) { return r.contains(key); });
  }
};

Result<Writes> writes_of(const std::vector<Op>& ops);

// Adds what a nested transaction writes: either of its lists, so that both may write the same key.
Status add_nested(Writes& all, const Txn& txn) {
  HF_TRY(Writes then, writes_of(txn.success));
  HF_TRY(Writes otherwise, writes_of(txn.failure));
  // What stands before it put, it does not remove: a key changes once in a revision.
  for (const std::string& key : all.puts) {
    if (then.removes(key) || otherwise.removes(key)) return duplicate();
  }
  for (const std::string& key : then.puts) {
    if (all.removes(key) || !all.puts.insert(key).second) return duplicate();
  }
  for (const std::string& key : otherwise.puts) {
    if (all.removes(key)) return duplicate();
    if (!all.puts.insert(key).second && !then.puts.contains(key)) return duplicate();
  }
  for (Writes* one : {&then, &otherwise}) {
    std::move(one->removals.begin(), one->removals.end(), std::back_inserter(all.removals));
  }
  return Status();
}

Result<Writes> writes_of(const std::vector<Op>& ops) {
  Writes all;
  for (const Op& op : ops) {
    if (const auto* removal = std::get_if<DeleteRequest>(&op.what)) all.removals.push_back(removal->range);
  }
  for (const Op& op : ops) {
    if (const auto* nested = std::get_if<Txn>(&op.what)) HF_CHECK(add_nested(all, *nested));
  }
  for (const Op& op : ops) {
    const auto* put = std::get_if<PutRequest>(&op.what);
    if (put == nullptr) continue;
    if (all.removes(put->key) || !all.puts.insert(put->key).second) return duplicate();
  }
  return all;
}

Status check_counts(const Txn& txn, std::size_t ops_max) {
  const std::size_t most = std::max({txn.compares.size(), txn.success.size(), txn.failure.size()});
  if (most > ops_max) return too_many();
  for (const Compare& c : txn.compares) {
    if (c.range.key.empty()) return empty_key();
  }
  for (const auto* list : {&txn.success, &txn.failure}) {
    for (const Op& op : *list) {
      if (const auto* nested = std::get_if<Txn>(&op.what)) {
        HF_CHECK(check_counts(*nested, ops_max - most));
      } else if (const auto* range = std::get_if<RangeRequest>(&op.what)) {
        HF_CHECK(check_request(*range));
      } else if (const auto* put = std::get_if<PutRequest>(&op.what)) {
        HF_CHECK(check_request(*put));
      } else {
        HF_CHECK(check_request(std::get<DeleteRequest>(op.what)));
      }
    }
  }
  return Status();
}

// A field's tag and length, and the message around it.
constexpr std::size_t overhead = 16;

}  // namespace

Status check_request(const RangeRequest& request) {
  if (request.range.key.empty()) return empty_key();
  return Status();
}

Status check_request(const PutRequest& request) {
  if (request.key.empty()) return empty_key();
  if (request.keep_value && !request.value.empty()) {
    return Error(Errc::invalid_argument, "etcdserver: value is provided");
  }
  if (request.keep_lease && request.lease != no_lease) {
    return Error(Errc::invalid_argument, "etcdserver: lease is provided");
  }
  return Status();
}

Status check_request(const DeleteRequest& request) {
  if (request.range.key.empty()) return empty_key();
  return Status();
}

Status check_request(const Txn& request, std::size_t ops_max) {
  HF_CHECK(check_counts(request, ops_max));
  HF_CHECK(writes_of(request.success));
  HF_CHECK(writes_of(request.failure));
  return Status();
}

Status check_reads_now(const Txn& request) {
  for (const auto* list : {&request.success, &request.failure}) {
    for (const Op& op : *list) {
      const auto* range = std::get_if<RangeRequest>(&op.what);
      if (range != nullptr && range->revision != 0) {
        return Error(Errc::invalid_argument, "a transaction reads what is there now, not at a revision");
      }
      if (const auto* nested = std::get_if<Txn>(&op.what)) HF_CHECK(check_reads_now(*nested));
    }
  }
  return Status();
}

std::size_t wire_bytes(const PutRequest& r) noexcept { return overhead + r.key.size() + r.value.size(); }
std::size_t wire_bytes(const DeleteRequest& r) noexcept {
  return overhead + r.range.key.size() + r.range.end.size();
}
std::size_t wire_bytes(const RangeRequest& r) noexcept {
  return overhead + r.range.key.size() + r.range.end.size();
}

std::size_t wire_bytes(const Txn& r) noexcept {
  std::size_t sum = overhead;
  for (const Compare& c : r.compares) {
    sum += overhead + c.range.key.size() + c.range.end.size() + c.value.size();
  }
  for (const auto* list : {&r.success, &r.failure}) {
    for (const Op& op : *list) {
      sum += overhead;
      sum += std::visit([](const auto& request) { return wire_bytes(request); }, op.what);
    }
  }
  return sum;
}

}  // namespace holdfast::store
