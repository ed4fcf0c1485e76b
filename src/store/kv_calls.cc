#include "store/kv_calls.h"

#include <utility>

namespace holdfast::store {

Task<Result<std::optional<KeyValue>>> get(Kv& kv, std::string key) {
  HF_CO_TRY(RangeResult found, co_await kv.range(RangeRequest(KeyRange(std::move(key)))));
  std::optional<KeyValue> value;
  if (!found.kvs.empty()) value = std::move(found.kvs.front());
  co_return value;
}

namespace {

Task<Result<Snapshot>> read_pages(Kv& kv, const KeyRange& range, std::int64_t page_keys) {
  Snapshot all;
  RangeRequest request(range);
  request.limit = page_keys;
  for (;;) {
    HF_CO_TRY(RangeResult page, co_await kv.range(request));
    if (all.revision == 0) all.revision = page.revision;
    for (KeyValue& one : page.kvs) all.kvs.push_back(std::move(one));
    if (!page.more || all.kvs.empty()) co_return all;
    request.revision = all.revision;
    request.range.key = all.kvs.back().key + '\0';
    // The rest of one key is nothing; of a range it keeps its end.
    if (range.is_one_key()) co_return all;
  }
}

}  // namespace

Task<Result<Snapshot>> read_all(Kv& kv, KeyRange range, std::int64_t page_keys) {
  constexpr int attempts = 3;
  for (int attempt = 1;; ++attempt) {
    auto all = co_await read_pages(kv, range, page_keys);
    if (all.ok() || all.code() != Errc::out_of_range || attempt == attempts) co_return all;
  }
}

Task<Result<std::optional<Revision>>> compare_and_swap(Kv& kv, std::string key, Revision expected,
                                                       std::string value, LeaseId lease) {
  Txn txn;
  txn.when(Compare::mod_revision_is(key, expected));
  txn.then(PutRequest(std::move(key), std::move(value), lease));
  HF_CO_TRY(const TxnResult done, co_await kv.txn(std::move(txn)));
  std::optional<Revision> made;
  if (done.succeeded) made = done.revision;
  co_return made;
}

Task<Result<bool>> remove_if(Kv& kv, std::string key, Revision expected) {
  Txn txn;
  txn.when(Compare::mod_revision_is(key, expected));
  txn.then(DeleteRequest(KeyRange(std::move(key))));
  HF_CO_TRY(const TxnResult done, co_await kv.txn(std::move(txn)));
  co_return done.succeeded;
}

}  // namespace holdfast::store
