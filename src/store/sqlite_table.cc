#include "store/sqlite_table.h"

#include <cstring>
#include <limits>
#include <map>
#include <utility>

#include <fmt/format.h>
#include <sqlite3.h>

#include "base/assert.h"

namespace holdfast::store {
namespace {

constexpr std::int64_t application_id = 0x4846'4b56;  // "HFKV"
constexpr std::int64_t format_version = 1;

// A row's number: the revision, and the place in it. So rows lie in the order of history.
constexpr int place_bits = 24;
constexpr Revision revision_max = std::numeric_limits<std::int64_t>::max() >> place_bits;
std::int64_t row_of(Revision revision, std::uint32_t nth) noexcept {
  HF_ASSERT(nth < (1u << place_bits));
  return (std::min(revision, revision_max) << place_bits) | static_cast<std::int64_t>(nth);
}

constexpr const char* schema[] = {
    "CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE lease(id INTEGER PRIMARY KEY, ttl_s INTEGER NOT NULL)",
    ("CREATE TABLE version(row INTEGER PRIMARY KEY, key BLOB NOT NULL, revision INTEGER NOT NULL,"
     " created INTEGER NOT NULL, version INTEGER NOT NULL, lease INTEGER NOT NULL, value BLOB NOT NULL)"),
    // Covers scans that want no values.
    "CREATE UNIQUE INDEX version_by_key ON version(key, revision, created, version, lease)",
};

}  // namespace

struct SqliteTable::Prepared {
  std::map<const char*, sqlite3_stmt*> statements;  // by the address of their literal
};

// A prepared statement in use; reset when it goes.
class SqliteTable::Statement {
 public:
  Statement(const SqliteTable& table, sqlite3_stmt* s) noexcept : table_(&table), s_(s) {}
  Statement(Statement&& o) noexcept : table_(o.table_), s_(std::exchange(o.s_, nullptr)) {}
  Statement& operator=(Statement&&) = delete;
  ~Statement() {
    if (s_ == nullptr) return;
    sqlite3_reset(s_);
    sqlite3_clear_bindings(s_);
  }

  Statement& bind(std::int64_t n) {
    HF_ASSERT(sqlite3_bind_int64(s_, ++bound_, n) == SQLITE_OK);
    return *this;
  }
  // The bytes outlive the statement.
  Statement& bind(std::string_view bytes) {
    // A null pointer would bind NULL.
    const char* data = bytes.empty() ? "" : bytes.data();
    HF_ASSERT(sqlite3_bind_blob64(s_, ++bound_, data, bytes.size(), SQLITE_STATIC) == SQLITE_OK);
    return *this;
  }
  // False: no more rows.
  Result<bool> step() {
    const int code = sqlite3_step(s_);
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    return table_->error("using");
  }
  Status run() {
    HF_TRY(const bool row, step());
    HF_ASSERT(!row);
    return Status();
  }
  std::int64_t number(int column) { return sqlite3_column_int64(s_, column); }
  std::string_view bytes(int column) {
    const auto* data = static_cast<const char*>(sqlite3_column_blob(s_, column));
    const auto size = static_cast<std::size_t>(sqlite3_column_bytes(s_, column));
    return data == nullptr ? std::string_view() : std::string_view(data, size);
  }

 private:
  const SqliteTable* table_;
  sqlite3_stmt* s_;
  int bound_ = 0;
};

Error SqliteTable::error(const char* doing) const {
  const std::string text = fmt::format("store {}: {} it: {}", path_, doing, sqlite3_errmsg(db_));
  switch (sqlite3_errcode(db_) & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Error(Errc::busy, fmt::format("store {}: another process has it open", path_));
    case SQLITE_FULL:
      return Error(Errc::out_of_space, text);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Error(Errc::bad_format, text);
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH:
      return Error(Errc::failed_precondition, text);
    default:
      return Error(Errc::io_error, text);
  }
}

Result<std::unique_ptr<SqliteTable>> SqliteTable::open(const std::string& path,
                                                       std::uint64_t new_cluster_id) {
  sqlite3* db = nullptr;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  const int code = sqlite3_open_v2(path.c_str(), &db, flags, nullptr);
  if (db == nullptr) return Error(Errc::resource_exhausted, "no memory for SQLite");
  std::unique_ptr<SqliteTable> table(new SqliteTable(path, db));
  if (code != SQLITE_OK) return table->error("opening");
  HF_CHECK(table->prepare(new_cluster_id));
  return table;
}

SqliteTable::SqliteTable(std::string path, sqlite3* db)
    : path_(std::move(path)), db_(db), prepared_(std::make_unique<Prepared>()) {}

SqliteTable::~SqliteTable() {
  for (const auto& [sql, statement] : prepared_->statements) sqlite3_finalize(statement);
  sqlite3_close(db_);
}

Status SqliteTable::run(const char* sql) {
  if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) == SQLITE_OK) return Status();
  return error("using");
}

Result<SqliteTable::Statement> SqliteTable::statement(const char* sql) {
  sqlite3_stmt*& known = prepared_->statements[sql];
  if (known == nullptr &&
      sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &known, nullptr) != SQLITE_OK) {
    return error("reading");
  }
  return Statement(*this, known);
}

Result<std::int64_t> SqliteTable::number(const char* sql) {
  HF_TRY(Statement s, statement(sql));
  HF_TRY(const bool row, s.step());
  return row ? s.number(0) : std::int64_t{0};
}

Status SqliteTable::prepare(std::uint64_t new_cluster_id) {
  // Exclusive: nobody else can change the file, and no shared memory file is needed. FULL: durable at commit.
  HF_CHECK(run("PRAGMA locking_mode=EXCLUSIVE"));
  HF_CHECK(check_owner());  // before anything is written: the mode of the journal stays in the file
  HF_CHECK(run("PRAGMA journal_mode=WAL"));
  HF_CHECK(run("PRAGMA synchronous=FULL"));
  HF_CHECK(run("PRAGMA cell_size_check=ON"));
  HF_CHECK(run("PRAGMA trusted_schema=OFF"));
  HF_CHECK(run("PRAGMA journal_size_limit=16777216"));
  HF_CHECK(run("BEGIN IMMEDIATE"));
  HF_TRY(const std::int64_t tables, number("SELECT count(*) FROM sqlite_master"));
  if (tables == 0) HF_CHECK(make(new_cluster_id));
  HF_CHECK(check_format());
  HF_TRY(const std::int64_t id, meta("cluster_id"));
  cluster_id_ = static_cast<std::uint64_t>(id);
  HF_CHECK(run("COMMIT"));
  // What the process before left in the log reads well, but may be in memory only: it ended before its sync, or a sync
  // failed, after which the kernel takes the pages for written. So it is in the synced database before anybody sees it.
  return run("PRAGMA wal_checkpoint(TRUNCATE)");
}

Status SqliteTable::make(std::uint64_t new_cluster_id) {
  for (const char* sql : schema) HF_CHECK(run(sql));
  HF_CHECK(run(fmt::format("PRAGMA application_id={}", application_id).c_str()));
  HF_CHECK(run(fmt::format("PRAGMA user_version={}", format_version).c_str()));
  HF_CHECK(set_meta("revision", 1));
  HF_CHECK(set_meta("compacted", 0));
  return set_meta("cluster_id", static_cast<std::int64_t>(new_cluster_id));
}

Status SqliteTable::check_owner() {
  HF_TRY(const std::int64_t tables, number("SELECT count(*) FROM sqlite_master"));
  HF_TRY(const std::int64_t application, number("PRAGMA application_id"));
  if (tables == 0 || application == application_id) return Status();
  return Error(Errc::bad_format, fmt::format("store {}: this is another program's SQLite file", path_));
}

Status SqliteTable::check_format() {
  HF_CHECK(check_owner());
  HF_TRY(const std::int64_t version, number("PRAGMA user_version"));
  if (version != format_version) {
    return Error(Errc::bad_format, fmt::format("store {}: its format is version {}, this program knows {}",
                                               path_, version, format_version));
  }
  HF_TRY(Statement s, statement("PRAGMA quick_check(1)"));
  HF_TRY(const bool row, s.step());
  if (!row || s.bytes(0) != "ok") {
    return Error(Errc::bad_format, fmt::format("store {}: it is damaged: {}", path_, s.bytes(0)));
  }
  return Status();
}

Status SqliteTable::set_meta(const char* name, std::int64_t value) {
  HF_TRY(Statement s, statement("INSERT OR REPLACE INTO meta(name, value) VALUES(CAST(? AS TEXT), ?)"));
  return s.bind(name).bind(value).run();
}

Result<std::int64_t> SqliteTable::meta(const char* name) {
  HF_TRY(Statement s, statement("SELECT value FROM meta WHERE name = CAST(? AS TEXT)"));
  HF_TRY(const bool row, s.bind(name).step());
  if (!row) return Error(Errc::bad_format, fmt::format("store {}: it has no '{}'", path_, name));
  return s.number(0);
}

Result<TableState> SqliteTable::load() {
  TableState state;
  HF_TRY(state.revision, meta("revision"));
  HF_TRY(state.compacted, meta("compacted"));
  HF_TRY(Statement s, statement("SELECT id, ttl_s FROM lease ORDER BY id"));
  for (;;) {
    HF_TRY(const bool row, s.step());
    if (!row) return state;
    state.leases.emplace_back(s.number(0), s.number(1));
  }
}

Status SqliteTable::begin() { return run("BEGIN IMMEDIATE"); }
Status SqliteTable::commit() { return run("COMMIT"); }
Status SqliteTable::roll_back() {
  // After some errors SQLite has rolled back by itself.
  return sqlite3_get_autocommit(db_) != 0 ? Status() : run("ROLLBACK");
}

Result<std::optional<KeyValue>> SqliteTable::get(const std::string& key, Revision at) {
  HF_TRY(Statement s, statement("SELECT revision, created, version, lease, value FROM version"
                                " WHERE key = ? AND revision <= ? ORDER BY revision DESC LIMIT 1"));
  HF_TRY(const bool row, s.bind(key).bind(at).step());
  std::optional<KeyValue> found;
  if (!row || s.number(2) == 0) return found;
  found.emplace();
  found->key = key;
  found->mod_revision = s.number(0);
  found->create_revision = s.number(1);
  found->version = s.number(2);
  found->lease = s.number(3);
  found->value = s.bytes(4);
  return found;
}

Result<std::string> SqliteTable::value_of_row(std::int64_t row) {
  HF_TRY(Statement s, statement("SELECT value FROM version WHERE row = ?"));
  HF_TRY(const bool there, s.bind(row).step());
  if (!there) return Error(Errc::bad_format, fmt::format("store {}: an index names no row", path_));
  return std::string(s.bytes(0));
}

Status SqliteTable::scan(const KeyRange& range, Revision at, Want want, const Visitor& visit) {
  HF_TRY(Statement bounded,
         statement("SELECT key, revision, created, version, lease, row FROM version"
                   " WHERE key >= ? AND key < ? AND revision <= ? ORDER BY key, revision"));
  HF_TRY(Statement open, statement("SELECT key, revision, created, version, lease, row FROM version"
                                   " WHERE key >= ? AND revision <= ? ORDER BY key, revision"));
  // Of one key: up to the key with a zero byte behind it.
  const std::string end = range.is_one_key() ? range.key + '\0' : range.end;
  Statement& s = range.has_end() ? bounded.bind(range.key).bind(end).bind(at) : open.bind(range.key).bind(at);
  std::optional<Found> newest;
  const auto emit = [&]() -> Result<bool> {
    if (!newest.has_value() || newest->kv.version == 0) return true;
    if (want == Want::values) {
      HF_TRY(newest->kv.value, value_of_row(newest->row));
    }
    return visit(std::move(newest->kv));
  };
  for (;;) {
    HF_TRY(const bool row, s.step());
    if (!row || (newest.has_value() && s.bytes(0) != newest->kv.key)) {
      HF_TRY(const bool more, emit());
      if (!row || !more) return Status();
    }
    Found found;
    found.kv.key = s.bytes(0);
    found.kv.mod_revision = s.number(1);
    found.kv.create_revision = s.number(2);
    found.kv.version = s.number(3);
    found.kv.lease = s.number(4);
    found.row = s.number(5);
    newest = std::move(found);
  }
}

Result<std::int64_t> SqliteTable::count(const KeyRange& range, Revision at) {
  std::int64_t n = 0;
  HF_CHECK(scan(range, at, Want::keys, [&n](const KeyValue&) {
    ++n;
    return true;
  }));
  return n;
}

Status SqliteTable::history(const KeyRange& range, Revision from, const ChangeVisitor& visit) {
  HF_TRY(Statement s, statement("SELECT row, key, revision, created, version, lease, value FROM version"
                                " WHERE row >= ? ORDER BY row"));
  s.bind(row_of(std::max<Revision>(from, 0), 0));
  for (;;) {
    HF_TRY(const bool row, s.step());
    if (!row) return Status();
    if (!range.contains(s.bytes(1))) continue;
    Change change;
    change.nth = static_cast<std::uint32_t>(s.number(0) & ((1 << place_bits) - 1));
    change.kv.key = s.bytes(1);
    change.kv.mod_revision = s.number(2);
    change.kv.create_revision = s.number(3);
    change.kv.version = s.number(4);
    change.kv.lease = s.number(5);
    change.kv.value = s.bytes(6);
    if (!visit(std::move(change))) return Status();
  }
}

Status SqliteTable::append(const Change& change) {
  HF_TRY(Statement s, statement("INSERT INTO version(row, key, revision, created, version, lease, value)"
                                " VALUES(?, ?, ?, ?, ?, ?, ?)"));
  const KeyValue& kv = change.kv;
  s.bind(row_of(kv.mod_revision, change.nth)).bind(kv.key).bind(kv.mod_revision);
  s.bind(kv.create_revision).bind(kv.version).bind(kv.lease).bind(kv.value);
  HF_CHECK(s.run());
  if (change.nth > 0) return Status();
  return set_meta("revision", kv.mod_revision);
}

Status SqliteTable::compact(Revision at) {
  HF_TRY(Statement s,
         statement("DELETE FROM version WHERE row IN (SELECT a.row FROM version a WHERE a.row < ?1 AND"
                   " ((a.version = 0 AND a.revision < ?2) OR EXISTS (SELECT 1 FROM version b"
                   "  WHERE b.key = a.key AND b.revision > a.revision AND b.revision <= ?2)))"));
  HF_CHECK(s.bind(row_of(at + 1, 0)).bind(at).run());
  return set_meta("compacted", at);
}

Status SqliteTable::put_lease(LeaseId id, std::int64_t ttl_s) {
  HF_TRY(Statement s, statement("INSERT INTO lease(id, ttl_s) VALUES(?, ?)"));
  return s.bind(id).bind(ttl_s).run();
}

Status SqliteTable::remove_lease(LeaseId id) {
  HF_TRY(Statement s, statement("DELETE FROM lease WHERE id = ?"));
  return s.bind(id).run();
}

Result<std::uint64_t> SqliteTable::bytes() {
  HF_TRY(const std::int64_t pages, number("PRAGMA page_count"));
  HF_TRY(const std::int64_t free, number("PRAGMA freelist_count"));
  HF_TRY(const std::int64_t page_bytes, number("PRAGMA page_size"));
  return static_cast<std::uint64_t>((pages - free) * page_bytes);
}

}  // namespace holdfast::store
