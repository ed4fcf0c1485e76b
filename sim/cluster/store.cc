#include "sim/cluster/store.h"

namespace holdfast::sim {

using nexus::Record;
using nexus::StoredRecord;

const Record* SharedStore::find(const std::string& key) const {
  const auto found = records_.find(key);
  return found == records_.end() ? nullptr : &found->second.record;
}

Task<Result<std::optional<StoredRecord>>> StoreClient::load(std::string key) {
  co_await travel();
  if (store_.out_) co_return lost();
  std::optional<StoredRecord> found;
  const auto it = store_.records_.find(key);
  if (it != store_.records_.end()) found = it->second;
  co_await travel();
  if (store_.out_) co_return lost();
  co_return found;
}

Task<Result<std::uint64_t>> StoreClient::swap(std::string key, std::uint64_t expected_revision, Record next) {
  co_await travel();
  if (store_.out_ && store_.random_.chance(1, 2)) co_return lost();
  StoredRecord& stored = store_.records_[key];
  const bool mine = stored.revision == expected_revision;
  if (mine) {
    const Record before = std::exchange(stored.record, next);
    ++stored.revision;
    if (store_.watcher_) store_.watcher_(before, stored.record);
  }
  const std::uint64_t revision = stored.revision;
  co_await travel();
  if (store_.out_) co_return lost();
  if (!mine) co_return Error(Errc::fenced, "another owner changed the membership record");
  co_return revision;
}

Task<Status> StoreClient::remove(std::string key) {
  co_await travel();
  if (store_.out_) co_return lost();
  store_.records_.erase(key);
  co_return Status();
}

}  // namespace holdfast::sim
