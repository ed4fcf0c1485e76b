#include "store/sqlite_table.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <tuple>

#include <gtest/gtest.h>
#include <sqlite3.h>

#include "base/prng.h"
#include "store/mvcc.h"

namespace holdfast::store {
namespace {

namespace fs = std::filesystem;

struct File : testing::Test {
  File() {
    std::string pattern = (fs::temp_directory_path() / "holdfast-store-XXXXXX").string();
    folder = ::mkdtemp(pattern.data());
    path = folder + "/store.db";
  }
  ~File() override { fs::remove_all(folder); }
  std::unique_ptr<SqliteTable> open() { return SqliteTable::open(path, 42).value(); }
  std::string folder;
  std::string path;
};

TEST_F(File, OutlivesItsProcess) {
  {
    auto table = open();
    Mvcc mvcc = Mvcc::open(*table, MvccLimits(), Nanos{0}).value();
    ASSERT_TRUE(mvcc.lease_grant(7, 10, Nanos{0}).ok());
    ASSERT_TRUE(mvcc.put(PutRequest("a", "1", 7)).ok());
    ASSERT_TRUE(mvcc.put(PutRequest("a", std::string("2\0", 2), 7)).ok());
    ASSERT_TRUE(mvcc.delete_range(DeleteRequest("none")).ok());
    ASSERT_TRUE(mvcc.compact(3).ok());
  }
  auto table = open();
  EXPECT_EQ(table->cluster_id(), 42u);
  Mvcc mvcc = Mvcc::open(*table, MvccLimits(), 5s).value();
  EXPECT_EQ(mvcc.revision(), 3);
  EXPECT_EQ(mvcc.compacted(), 3);
  const auto found = mvcc.range(RangeRequest("a")).value();
  EXPECT_EQ(found.kvs.at(0).value, std::string("2\0", 2));
  EXPECT_EQ(found.kvs.at(0).version, 2);
  EXPECT_EQ(mvcc.lease_status(7, true, 5s).keys, std::vector<std::string>{"a"});
  EXPECT_EQ(mvcc.next_expiry(), 15s);
}

TEST_F(File, RollsBackWhatWasNotCommitted) {
  auto table = open();
  Mvcc mvcc = Mvcc::open(*table, MvccLimits(), Nanos{0}).value();
  ASSERT_TRUE(mvcc.put(PutRequest("a", "1")).ok());
  ASSERT_TRUE(table->begin().ok());
  ASSERT_TRUE(mvcc.put(PutRequest("a", "2")).ok());
  ASSERT_TRUE(table->roll_back().ok());
  ASSERT_TRUE(mvcc.reload(Nanos{0}).ok());
  EXPECT_EQ(mvcc.revision(), 2);
  EXPECT_EQ(mvcc.range(RangeRequest("a")).value().kvs.at(0).value, "1");
}

TEST_F(File, HasOneProcess) {
  const auto table = open();
  EXPECT_EQ(SqliteTable::open(path, 1).code(), Errc::busy);
}

TEST_F(File, WhatIsNoStoreIsRefused) {
  std::ofstream(path) << std::string(8192, 'x');
  EXPECT_EQ(SqliteTable::open(path, 1).code(), Errc::bad_format);
  EXPECT_EQ(SqliteTable::open(folder + "/none/store.db", 1).code(), Errc::failed_precondition);
}

TEST_F(File, ADamagedFileIsRefusedOrReadsAsItWas) {
  {
    auto table = open();
    Mvcc mvcc = Mvcc::open(*table, MvccLimits(), Nanos{0}).value();
    for (int i = 0; i < 200; ++i) {
      ASSERT_TRUE(mvcc.put(PutRequest(std::to_string(i), std::string(200, 'v'))).ok());
    }
  }
  std::string good;
  {
    std::ifstream in(path, std::ios::binary);
    good.assign(std::istreambuf_iterator<char>(in), {});
  }
  Prng random(3);
  for (int round = 0; round < 50; ++round) {
    std::string bad = good;
    for (int i = 0; i < 20; ++i) bad[random.below(bad.size())] = static_cast<char>(random.next());
    fs::remove(path + "-wal");
    std::ofstream(path, std::ios::binary) << bad;
    auto table = SqliteTable::open(path, 1);
    if (!table.ok()) continue;
    auto mvcc = Mvcc::open(*table.value(), MvccLimits(), Nanos{0});
    if (!mvcc.ok()) continue;
    mvcc.value().range(RangeRequest(KeyRange::all())).ignore("any answer, but no crash");
    mvcc.value().history(WatchRequest(KeyRange::all()), 2, 1000).ignore("the same");
  }
}

template <class R, class Part>
void expect_same(const R& a, const R& b, const Part& part) {
  ASSERT_EQ(a.code(), b.code());
  if (!a.ok()) return;
  EXPECT_TRUE(part(a.value()) == part(b.value()));
}

// Goal: the file answers everything as the table in memory does.
TEST_F(File, DoesAsMemoryDoes) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed=" << seed);
    fs::remove(path);
    fs::remove(path + "-wal");
    auto file = open();
    MemoryTable memory;
    Mvcc a = Mvcc::open(*file, MvccLimits(), Nanos{0}).value();
    Mvcc b = Mvcc::open(memory, MvccLimits(), Nanos{0}).value();
    Prng random(seed);
    const auto key = [&random] {
      return std::string(1 + random.below(2), static_cast<char>('a' + random.below(6)));
    };
    ASSERT_TRUE(file->begin().ok());
    for (int step = 0; step < 300; ++step) {
      const KeyRange range(key(), random.chance(1, 2) ? std::string() : key());
      const std::string value = std::to_string(step);
      RangeRequest read(range);
      read.revision = static_cast<Revision>(random.below(static_cast<std::uint64_t>(b.revision() + 2)));
      read.limit = static_cast<std::int64_t>(random.below(4));
      WatchRequest watch(range);
      const auto from = static_cast<Revision>(random.below(static_cast<std::uint64_t>(b.revision() + 2)));
      switch (random.below(8)) {
        case 0:
          expect_same(a.delete_range(DeleteRequest(range)), b.delete_range(DeleteRequest(range)),
                      [](const auto& d) { return std::pair(d.deleted, d.revision); });
          break;
        case 1:
          if (step % 20 != 0) break;
          EXPECT_EQ(a.compact(from).code(), b.compact(from).code());
          break;
        case 2:
        case 3:
          expect_same(a.range(read), b.range(read),
                      [](const auto& r) { return std::tuple(r.kvs, r.count, r.more, r.revision); });
          break;
        case 4:
          expect_same(a.history(watch, from, 20), b.history(watch, from, 20), [](const auto& h) {
            std::vector<KeyValue> kvs;
            for (const KeyEvent& e : h.events) kvs.push_back(e.kv);
            return std::pair(kvs, h.through);
          });
          break;
        default:
          expect_same(a.put(PutRequest(range.key, value)), b.put(PutRequest(range.key, value)),
                      [](const auto& p) { return p.revision; });
      }
    }
    ASSERT_TRUE(file->commit().ok());
  }
}

// The process before may have ended before its sync, or its sync failed.
TEST_F(File, WhatWasLeftInTheLogIsInTheDatabaseBeforeItIsRead) {
  const std::string copy = folder + "/copy.db";
  {
    auto table = open();
    Mvcc mvcc = Mvcc::open(*table, MvccLimits(), Nanos{0}).value();
    ASSERT_TRUE(mvcc.put(PutRequest("a", "1")).ok());
    // As a process that was killed leaves them.
    for (const char* suffix : {"", "-wal"}) fs::copy_file(path + suffix, copy + suffix);
  }
  ASSERT_GT(fs::file_size(copy + "-wal"), 0u);
  auto table = SqliteTable::open(copy, 1).value();
  EXPECT_EQ(fs::file_size(copy + "-wal"), 0u);
  Mvcc mvcc = Mvcc::open(*table, MvccLimits(), Nanos{0}).value();
  EXPECT_EQ(mvcc.range(RangeRequest("a")).value().kvs.at(0).value, "1");
}

TEST_F(File, AnotherProgramsStaysAsItIs) {
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db, "CREATE TABLE t(a)", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(db);
  const auto content = [this] {
    std::ifstream in(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  const std::string before = content();
  EXPECT_EQ(SqliteTable::open(path, 1).code(), Errc::bad_format);
  EXPECT_EQ(content(), before);
}

}  // namespace
}  // namespace holdfast::store
