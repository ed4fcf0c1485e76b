// The membership record of a volume: which children hold every acknowledged write. Kept in a store outside
// the nexus and changed by compare-and-swap only, so that of two owners one notices (P1, P2).
//
// JSON, a superset of Mayastor's (docs/format/store.md):
//   {"clean_shutdown":false,"epoch":7,"owner":"<uuid>","children":[{"uuid":"..","healthy":true,
//    "in_sync_through":7}]}
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/uuid.h"
#include "rt/task.h"

namespace holdfast::nexus {

struct ChildRecord {
  std::string uuid;  // 1 to 128 printable characters
  bool healthy = false;
  // Every epoch up to this one was sealed while the child was in sync: it holds durably what was written in them.
  // Of a healthy child: as far as was sealed when the record was written; it has the later writes, too.
  std::uint64_t in_sync_through = 0;
  bool operator==(const ChildRecord&) const = default;
};

struct Record {
  bool clean_shutdown = false;
  // Higher at every swap, and never below an epoch that was announced to the children when it was written. The
  // epochs that in_sync_through names are numbered by the same counter.
  std::uint64_t epoch = 0;
  // The run of a nexus that wrote the record; nil when unknown (a record of Mayastor's). Tells a nexus whose
  // swap got no answer whether it was done.
  Uuid owner;
  std::vector<ChildRecord> children;

  const ChildRecord* find(std::string_view child_uuid) const noexcept;
  bool operator==(const Record&) const = default;
};

std::string to_json(const Record& record);
// epoch, owner and in_sync_through may be missing; unknown fields are ignored. Errors: bad_format (not JSON,
// wrong type, more than 64 children, a child twice, over 64 KiB), saying where.
Result<Record> parse_record(std::string_view json);

struct StoredRecord {
  Record record;
  std::uint64_t revision = 0;  // changes with every swap; never 0
};

// Home core. Implementations: MemoryStore, FileStore (membership_stores.h); later etcd.
class MembershipStore {
 public:
  MembershipStore() = default;
  MembershipStore(const MembershipStore&) = delete;
  MembershipStore& operator=(const MembershipStore&) = delete;
  virtual ~MembershipStore() = default;

  // nullopt when there is none. Errors: bad_format; not_connected, timed_out, io_error: try again.
  virtual Task<Result<std::optional<StoredRecord>>> load(std::string key) = 0;
  // Replaces the record if it still has the revision given (0: there is none); durable at the end. Gives the
  // new revision. Errors: fenced (another owner changed it); not_connected, timed_out, io_error: it may or
  // may not have happened.
  virtual Task<Result<std::uint64_t>> swap(std::string key, std::uint64_t expected_revision, Record next) = 0;
  // Forgets the record; ok when there is none.
  virtual Task<Status> remove(std::string key) = 0;
};

}  // namespace holdfast::nexus
