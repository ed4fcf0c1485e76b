// SqliteTable: the versions of an Mvcc in a file that survives power loss (docs/format/store.md).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/error.h"
#include "store/table.h"

struct sqlite3;
struct sqlite3_stmt;

namespace holdfast::store {

class SqliteTable final : public Table {
 public:
  // Makes the file where there is none; `new_cluster_id` is what it is called then. Blocks. The file is this
  // object's alone until its destruction. Errors: busy (another process has it), bad_format (no store, a damaged
  // one, or a newer version's), io_error, failed_precondition (cannot be opened); texts name the path.
  static Result<std::unique_ptr<SqliteTable>> open(const std::string& path, std::uint64_t new_cluster_id);
  ~SqliteTable() override;

  std::uint64_t cluster_id() const noexcept { return cluster_id_; }

  Result<TableState> load() override;
  Status begin() override;
  Status commit() override;
  Status roll_back() override;
  Result<std::optional<KeyValue>> get(const std::string& key, Revision at) override;
  Status scan(const KeyRange& range, Revision at, Want want, const Visitor& visit) override;
  Result<std::int64_t> count(const KeyRange& range, Revision at) override;
  Status history(const KeyRange& range, Revision from, const ChangeVisitor& visit) override;
  Status append(const Change& change) override;
  Status compact(Revision at) override;
  Status put_lease(LeaseId id, std::int64_t ttl_s) override;
  Status remove_lease(LeaseId id) override;
  Result<std::uint64_t> bytes() override;

 private:
  class Statement;
  // A key's newest version in a scan, without its value.
  struct Found {
    KeyValue kv;
    std::int64_t row = 0;
  };

  SqliteTable(std::string path, sqlite3* db);
  Status prepare(std::uint64_t new_cluster_id);
  Status make(std::uint64_t new_cluster_id);
  Status check_owner();
  Status check_format();
  Status run(const char* sql);
  Result<std::int64_t> number(const char* sql);
  Status set_meta(const char* name, std::int64_t value);
  Result<std::int64_t> meta(const char* name);
  Result<std::string> value_of_row(std::int64_t row);
  // Statements are prepared once and reused.
  Result<Statement> statement(const char* sql);
  Error error(const char* doing) const;

  struct Prepared;
  const std::string path_;
  sqlite3* db_;
  std::unique_ptr<Prepared> prepared_;
  std::uint64_t cluster_id_ = 0;
};

}  // namespace holdfast::store
