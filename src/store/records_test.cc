// Keys, calls, schema and backup: what stands on a Kv, on one in memory.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"
#include "store/backup.h"
#include "store/keys.h"
#include "store/kv_calls.h"
#include "store/memory_kv.h"
#include "store/schema.h"

namespace holdfast::store {
namespace {

struct Records : testing::Test {
  ~Records() override { world.run(core, kv.close()); }
  template <class T>
  T run(Task<T> t) {
    return world.run(core, std::move(t));
  }
  void put(const std::string& key, const std::string& value, LeaseId lease = no_lease) {
    EXPECT_TRUE(run(kv.put(PutRequest(key, value, lease))).ok());
  }
  std::string value(const std::string& key) {
    const auto found = run(get(kv, key));
    return found.value().has_value() ? found.value()->value : "(none)";
  }
  sim::World world{1};
  sim::Node& node = world.add_node("n");
  sim::SimReactor& core = node.start().core(0);
  MemoryStore memory{core};
  MemoryKv kv{core, memory};
  Keys keys = Keys::of_cluster("prod").value();
};

TEST(Keys, LayoutAndNames) {
  const Keys keys = Keys::of_cluster("prod-1").value();
  EXPECT_EQ(keys.key("volume", "v"), "/holdfast/v1/clusters/prod-1/volume/v");
  EXPECT_EQ(keys.membership("v"), "/holdfast/v1/clusters/prod-1/volume/v/membership");
  EXPECT_EQ(keys.id_of("volume", keys.key("volume", "v")), "v");
  EXPECT_EQ(keys.id_of("volume", keys.membership("v")), "");
  EXPECT_EQ(keys.id_of("volume", keys.key("pool", "v")), "");
  EXPECT_EQ(keys.id_of("volume", "/holdfast"), "");
  EXPECT_TRUE(keys.all_of("volume").contains(keys.membership("v")));
  EXPECT_FALSE(keys.all_of("volume").contains(keys.key("volumes", "v")));
  EXPECT_FALSE(keys.everything().contains(Keys::of_cluster("prod-12").value().key("pool", "p")));
  for (const char* name : {"", ".", "..", "a/b", "a b", "\n"})
    EXPECT_FALSE(Keys::of_cluster(name).ok()) << name;
  EXPECT_FALSE(Keys::of_cluster(std::string(64, 'a')).ok());
}

TEST_F(Records, ReadAllReadsPagesOfOneRevision) {
  for (int i = 0; i < 25; ++i) put(keys.key("k", std::to_string(100 + i)), "v");
  const auto all = run(read_all(kv, keys.all_of("k"), 10)).value();
  EXPECT_EQ(all.kvs.size(), 25u);
  EXPECT_EQ(all.revision, 26);
  EXPECT_EQ(run(read_all(kv, keys.all_of("none"), 10)).value().kvs.size(), 0u);
}

TEST_F(Records, CompareAndSwap) {
  const auto first = run(compare_and_swap(kv, "a", 0, "1")).value();
  ASSERT_TRUE(first.has_value());
  EXPECT_FALSE(run(compare_and_swap(kv, "a", 0, "2")).value().has_value());
  EXPECT_TRUE(run(compare_and_swap(kv, "a", *first, "2")).value().has_value());
  EXPECT_FALSE(run(remove_if(kv, "a", *first)).value());
  EXPECT_TRUE(run(remove_if(kv, "a", *first + 1)).value());
  EXPECT_EQ(value("a"), "(none)");
}

// Version 1 called the number of copies "replicas"; version 2 calls it "num_replicas".
Task<Status> rename_replicas(Kv& kv, const Keys& keys) {
  HF_CO_TRY(const Snapshot all, co_await read_all(kv, keys.all_of("volume")));
  for (const KeyValue& one : all.kvs) {
    auto record = nlohmann::json::parse(one.value, nullptr, false);
    if (!record.is_object()) co_return Error(Errc::bad_format, "'" + one.key + "' is no record");
    if (!record.contains("replicas")) continue;
    record["num_replicas"] = record["replicas"];
    record.erase("replicas");
    const auto swapped = co_await compare_and_swap(kv, one.key, one.mod_revision, record.dump());
    if (!swapped.ok()) co_return swapped.error();
  }
  co_return Status();
}
constexpr Migration to_two[] = {{1, "volumes: replicas is num_replicas", rename_replicas}};

TEST_F(Records, SchemaOfAnEmptyStoreIsTheNewest) {
  EXPECT_EQ(run(open_schema(kv, keys, to_two)).value(), 0u);
  EXPECT_EQ(value(keys.schema()), R"({"schema":2})");
  EXPECT_EQ(run(open_schema(kv, keys, to_two)).value(), 2u);
}

TEST_F(Records, OlderRecordsAreMigratedOnceAlsoAfterAnInterruption) {
  put(keys.schema(), R"({"schema":1})");
  put(keys.key("volume", "old"), R"({"replicas":3})");
  put(keys.key("volume", "done"), R"({"num_replicas":2})");  // by a run that was interrupted
  put(Keys::of_cluster("other").value().key("volume", "x"), R"({"replicas":1})");
  EXPECT_EQ(run(open_schema(kv, keys, to_two)).value(), 1u);
  EXPECT_EQ(value(keys.key("volume", "old")), R"({"num_replicas":3})");
  EXPECT_EQ(value(keys.key("volume", "done")), R"({"num_replicas":2})");
  EXPECT_EQ(value(Keys::of_cluster("other").value().key("volume", "x")), R"({"replicas":1})");
  EXPECT_EQ(value(keys.schema()), R"({"schema":2})");
}

TEST_F(Records, AFailedMigrationLeavesTheOldVersion) {
  put(keys.schema(), R"({"schema":1})");
  put(keys.key("volume", "broken"), "[");
  EXPECT_EQ(run(open_schema(kv, keys, to_two)).code(), Errc::bad_format);
  EXPECT_EQ(value(keys.schema()), R"({"schema":1})");
}

TEST_F(Records, SchemasThatCannotBeOpened) {
  put(keys.schema(), R"({"schema":3})");
  EXPECT_EQ(run(open_schema(kv, keys, to_two)).code(), Errc::failed_precondition);
  for (const char* text :
       {"", "1", "{}", R"({"schema":0})", R"({"schema":"2"})", R"({"schema":-1})", "[[[["}) {
    put(keys.schema(), text);
    EXPECT_EQ(run(open_schema(kv, keys, to_two)).code(), Errc::bad_format) << text;
  }
}

Backup sample() {
  Backup b;
  b.cluster = "prod";
  b.revision = 12;
  b.keys = {{"/holdfast/v1/clusters/prod/pool/a", "1"},
            {"/holdfast/v1/clusters/prod/volume/b", std::string("\0\xff", 2)}};
  return b;
}

TEST(Backup, EncodesAndDecodes) {
  EXPECT_EQ(decode_backup(encode(sample())).value(), sample());
  Backup empty;
  empty.cluster = "c";
  EXPECT_EQ(decode_backup(encode(empty)).value(), empty);
}

TEST(Backup, EveryChangedByteAndEveryCutIsFound) {
  const std::string good = encode(sample());
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string changed = good;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    EXPECT_EQ(decode_backup(changed).code(), Errc::bad_format) << i;
    EXPECT_EQ(decode_backup(good.substr(0, i)).code(), Errc::bad_format) << i;
  }
  EXPECT_EQ(decode_backup(good + "x").code(), Errc::bad_format);
}

TEST(Backup, ForeignKeysAndDisorderAreRefused) {
  Backup foreign = sample();
  foreign.keys[1].first = "/holdfast/v1/clusters/other/volume/b";
  EXPECT_EQ(decode_backup(encode(foreign)).code(), Errc::bad_format);
  Backup disorder = sample();
  std::swap(disorder.keys[0], disorder.keys[1]);
  EXPECT_EQ(decode_backup(encode(disorder)).code(), Errc::bad_format);
}

TEST_F(Records, BackupAndRestoreThroughAFile) {
  for (int i = 0; i < 250; ++i) put(keys.key("volume", std::to_string(1000 + i)), std::string(6000, 'v'));
  const LeaseId lease = run(kv.lease_grant(600)).value().id;
  put(keys.leader(), "me", lease);
  const auto saved = run(back_up_to_file(core, kv, keys, "/backup")).value();
  EXPECT_EQ(saved.keys.size(), 250u);

  EXPECT_EQ(run(restore_from_file(core, kv, keys, "/backup", Overwrite::no)).code(),
            Errc::failed_precondition);
  put(keys.key("volume", "1000"), "changed");
  put(keys.key("volume", "new"), "x");
  const auto back = run(restore_from_file(core, kv, keys, "/backup", Overwrite::yes)).value();
  EXPECT_EQ(back.written, 250u);
  EXPECT_EQ(back.removed, 2u);  // the new one, and who led
  Backup again = run(read_backup(kv, keys)).value();
  again.revision = saved.revision;
  EXPECT_EQ(again, saved);

  MemoryStore empty(core);
  MemoryKv elsewhere(core, empty);
  EXPECT_EQ(run(restore_from_file(core, elsewhere, keys, "/backup", Overwrite::no)).value().written, 250u);
  EXPECT_EQ(
      run(restore_from_file(core, elsewhere, Keys::of_cluster("dev").value(), "/backup", Overwrite::yes))
          .code(),
      Errc::failed_precondition);
  EXPECT_EQ(run(restore_from_file(core, kv, keys, "/none", Overwrite::yes)).code(), Errc::not_found);
  run(elsewhere.close());
}

// Goal: nothing of a backup is believed that may have become wrong since, where that would cost data.
TEST_F(Records, WhoHasAllDataAndWhatWasBeingMadeIsNotRestored) {
  const std::string creating = R"({"schema":1,"status":"Creating"})";
  const std::string created = R"({"schema":1,"status":"Created"})";
  put(keys.key("volume", "v"), created);
  put(keys.membership("v"), "of then");
  put(keys.key("volume", "w"), created);
  put(keys.membership("w"), "of then");
  for (const char* kind : {"volume", "replica", "nexus", "snapshot", "pool"})
    put(keys.key(kind, "half"), creating);
  const Backup backup = run(read_backup(kv, keys)).value();
  EXPECT_EQ(backup.keys.size(), 9u);
  put(keys.membership("v"), "of now");
  run(kv.delete_range(DeleteRequest(KeyRange(keys.membership("w"))))).value();
  put(keys.key("volume", "half"), created);

  const Restored done = run(restore(kv, keys, backup, Overwrite::yes)).value();
  EXPECT_EQ(done.written, 3u);
  EXPECT_EQ(done.left_out, 6u);
  EXPECT_EQ(value(keys.membership("v")), "of now");
  EXPECT_EQ(value(keys.membership("w")), "(none)");
  EXPECT_EQ(value(keys.key("volume", "w")), created);
  EXPECT_EQ(value(keys.key("pool", "half")), creating);
  for (const char* kind : {"volume", "replica", "nexus", "snapshot"})
    EXPECT_EQ(value(keys.key(kind, "half")), "(none)") << kind;

  MemoryStore empty(core);
  MemoryKv elsewhere(core, empty);
  EXPECT_EQ(run(restore(elsewhere, keys, backup, Overwrite::no)).value().written, 3u);
  EXPECT_EQ(run(read_backup(elsewhere, keys)).value().keys.size(), 3u);
  run(elsewhere.close());
}

TEST_F(Records, AnInterruptedRestoreIsSeenAndDoneAgain) {
  put("/holdfast/v1/restoring/prod", "restoring");
  put(keys.key("pool", "half"), "x");
  EXPECT_EQ(run(check_not_restoring(kv, keys)).code(), Errc::failed_precondition);
  EXPECT_EQ(run(open_schema(kv, keys)).code(), Errc::failed_precondition);
  EXPECT_EQ(run(restore(kv, keys, sample(), Overwrite::no)).value().removed, 1u);
  EXPECT_TRUE(run(check_not_restoring(kv, keys)).ok());
  EXPECT_EQ(value("/holdfast/v1/clusters/prod/pool/a"), "1");
}

TEST_F(Records, APoolThatWasGoingIsNotRestored) {
  const std::string deleting = R"({"schema":1,"status":"Deleting"})";
  put(keys.key("pool", "going"), deleting);
  put(keys.key("snapshot", "going"), deleting);
  const Backup backup = run(read_backup(kv, keys)).value();
  const Restored done = run(restore(kv, keys, backup, Overwrite::yes)).value();
  EXPECT_EQ(done.left_out, 1u);
  EXPECT_EQ(value(keys.key("pool", "going")), "(none)");
  EXPECT_EQ(value(keys.key("snapshot", "going")), deleting);
}

}  // namespace
}  // namespace holdfast::store
