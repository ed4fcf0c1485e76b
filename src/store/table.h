// Table: where an Mvcc keeps the versions of its keys. In memory here; on disk in sqlite_table.h.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "store/kv.h"

namespace holdfast::store {

// One change of one key. A key changes at most once in a revision.
struct Change {
  KeyValue kv;            // of a removal: key, mod_revision; version, create_revision and lease are 0
  std::uint32_t nth = 0;  // place among the changes of its revision
  bool removed() const noexcept { return kv.version == 0; }
};

struct TableState {
  Revision revision = 1;                                 // of the last change
  Revision compacted = 0;                                // what was overwritten before it is gone
  std::vector<std::pair<LeaseId, std::int64_t>> leases;  // id, granted ttl in seconds
};

// One thread. Changes between begin() and commit() are seen at once by whoever reads, and are durable after
// commit(). Errors: io_error, out_of_space, bad_format; after one of a change only roll_back() helps.
class Table {
 public:
  Table() = default;
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;
  virtual ~Table() = default;

  virtual Result<TableState> load() = 0;
  virtual Status begin() = 0;
  virtual Status commit() = 0;
  virtual Status roll_back() = 0;

  // The key as it was at that revision; nullopt: it was not there.
  virtual Result<std::optional<KeyValue>> get(const std::string& key, Revision at) = 0;
  enum class Want : std::uint8_t { values, keys };
  // Every key of the range that was there at that revision, in order, until `visit` answers false.
  using Visitor = std::function<bool(KeyValue)>;
  virtual Status scan(const KeyRange& range, Revision at, Want want, const Visitor& visit) = 0;
  virtual Result<std::int64_t> count(const KeyRange& range, Revision at) = 0;
  // Changes of the range from that revision on, in order, until `visit` answers false.
  using ChangeVisitor = std::function<bool(Change)>;
  virtual Status history(const KeyRange& range, Revision from, const ChangeVisitor& visit) = 0;

  virtual Status append(const Change& change) = 0;
  // Forgets what later versions up to `at` replaced, and removals before `at`.
  virtual Status compact(Revision at) = 0;
  virtual Status put_lease(LeaseId id, std::int64_t ttl_s) = 0;
  virtual Status remove_lease(LeaseId id) = 0;
  // Used by what is kept; room that was given back is not in it.
  virtual Result<std::uint64_t> bytes() = 0;
};

// Lives as long as the object. Never fails; cannot roll back (asserted).
class MemoryTable final : public Table {
 public:
  Result<TableState> load() override { return TableState(state_); }
  Status begin() override { return Status(); }
  Status commit() override { return Status(); }
  Status roll_back() override;
  Result<std::optional<KeyValue>> get(const std::string& key, Revision at) override;
  Status scan(const KeyRange& range, Revision at, Want want, const Visitor& visit) override;
  Result<std::int64_t> count(const KeyRange& range, Revision at) override;
  Status history(const KeyRange& range, Revision from, const ChangeVisitor& visit) override;
  Status append(const Change& change) override;
  Status compact(Revision at) override;
  Status put_lease(LeaseId id, std::int64_t ttl_s) override;
  Status remove_lease(LeaseId id) override;
  Result<std::uint64_t> bytes() override { return bytes_; }

 private:
  using Versions = std::vector<Change>;  // of one key, oldest first
  using Keys = std::map<std::string, Versions, std::less<>>;
  static const Change* version_at(const Versions& versions, Revision at) noexcept;
  Keys::iterator first_of(const KeyRange& range) { return keys_.lower_bound(range.key); }
  void forget(const Change& change);

  Keys keys_;
  std::map<std::pair<Revision, std::uint32_t>, std::string> log_;  // the key that changed
  TableState state_;
  std::uint64_t bytes_ = 0;
};

}  // namespace holdfast::store
