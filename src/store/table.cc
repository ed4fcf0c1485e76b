#include "store/table.h"

#include <algorithm>

#include "base/assert.h"

namespace holdfast::store {
namespace {

std::uint64_t size_of(const Change& c) noexcept {
  return c.kv.key.size() + c.kv.value.size() + sizeof(Change);
}

}  // namespace

Status MemoryTable::roll_back() { panic("a table in memory cannot roll back"); }

const Change* MemoryTable::version_at(const Versions& versions, Revision at) noexcept {
  const auto later = std::upper_bound(versions.begin(), versions.end(), at,
                                      [](Revision r, const Change& c) { return r < c.kv.mod_revision; });
  return later == versions.begin() ? nullptr : &*std::prev(later);
}

Result<std::optional<KeyValue>> MemoryTable::get(const std::string& key, Revision at) {
  std::optional<KeyValue> found;
  const auto it = keys_.find(key);
  const Change* c = it == keys_.end() ? nullptr : version_at(it->second, at);
  if (c != nullptr && !c->removed()) found = c->kv;
  return found;
}

Status MemoryTable::scan(const KeyRange& range, Revision at, Want want, const Visitor& visit) {
  for (auto it = first_of(range); it != keys_.end() && range.contains(it->first); ++it) {
    const Change* c = version_at(it->second, at);
    if (c == nullptr || c->removed()) continue;
    KeyValue kv = c->kv;
    if (want == Want::keys) kv.value.clear();
    if (!visit(std::move(kv))) break;
  }
  return Status();
}

Result<std::int64_t> MemoryTable::count(const KeyRange& range, Revision at) {
  std::int64_t n = 0;
  for (auto it = first_of(range); it != keys_.end() && range.contains(it->first); ++it) {
    const Change* c = version_at(it->second, at);
    if (c != nullptr && !c->removed()) ++n;
  }
  return n;
}

Status MemoryTable::history(const KeyRange& range, Revision from, const ChangeVisitor& visit) {
  for (auto it = log_.lower_bound({from, 0}); it != log_.end(); ++it) {
    if (!range.contains(it->second)) continue;
    const Change* c = version_at(keys_.find(it->second)->second, it->first.first);
    if (!visit(*c)) break;
  }
  return Status();
}

Status MemoryTable::append(const Change& change) {
  Versions& versions = keys_[change.kv.key];
  HF_ASSERT(versions.empty() || versions.back().kv.mod_revision < change.kv.mod_revision);
  versions.push_back(change);
  log_.emplace(std::pair(change.kv.mod_revision, change.nth), change.kv.key);
  bytes_ += size_of(change);
  state_.revision = change.kv.mod_revision;
  return Status();
}

void MemoryTable::forget(const Change& change) {
  log_.erase({change.kv.mod_revision, change.nth});
  bytes_ -= size_of(change);
}

Status MemoryTable::compact(Revision at) {
  for (auto it = keys_.begin(); it != keys_.end();) {
    Versions& versions = it->second;
    const Change* kept = version_at(versions, at);
    std::size_t old = kept == nullptr ? 0 : static_cast<std::size_t>(kept - versions.data());
    if (kept != nullptr && kept->removed() && kept->kv.mod_revision < at) ++old;
    for (std::size_t i = 0; i < old; ++i) forget(versions[i]);
    versions.erase(versions.begin(), versions.begin() + static_cast<std::ptrdiff_t>(old));
    it = versions.empty() ? keys_.erase(it) : std::next(it);
  }
  state_.compacted = at;
  return Status();
}

Status MemoryTable::put_lease(LeaseId id, std::int64_t ttl_s) {
  state_.leases.emplace_back(id, ttl_s);
  return Status();
}

Status MemoryTable::remove_lease(LeaseId id) {
  std::erase_if(state_.leases, [&](const auto& lease) { return lease.first == id; });
  return Status();
}

}  // namespace holdfast::store
