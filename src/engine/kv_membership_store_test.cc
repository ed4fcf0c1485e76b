#include "engine/kv_membership_store.h"

#include <gtest/gtest.h>

#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"
#include "store/memory_kv.h"

namespace holdfast::engine {
namespace {

struct Records : testing::Test {
  ~Records() override { world.run(core, kv.close()); }
  template <class T>
  T run(Task<T> t) {
    return world.run(core, std::move(t));
  }
  static nexus::Record sample() {
    nexus::Record r;
    r.epoch = 7;
    r.children = {{"one", true, 7}, {"two", false, 3}};
    return r;
  }
  sim::World world{1};
  sim::SimReactor& core = world.add_node("n").start().core(0);
  store::MemoryStore memory{core};
  store::MemoryKv kv{core, memory};
  KvMembershipStore records{kv, store::Keys::of_cluster("test").value()};
};

TEST_F(Records, ComparesAndSwaps) {
  EXPECT_FALSE(run(records.load("k")).value().has_value());
  const std::uint64_t first = run(records.swap("k", 0, sample())).value();
  EXPECT_NE(first, 0u);
  EXPECT_EQ(run(records.swap("k", 0, sample())).code(), Errc::fenced);
  EXPECT_TRUE(run(records.swap("other", 0, sample())).ok());
  nexus::Record next = sample();
  next.clean_shutdown = true;
  const std::uint64_t second = run(records.swap("k", first, next)).value();
  EXPECT_GT(second, first);
  EXPECT_EQ(run(records.swap("k", first, sample())).code(), Errc::fenced);
  const auto loaded = run(records.load("k"));
  EXPECT_EQ(loaded.value()->record, next);
  EXPECT_EQ(loaded.value()->revision, second);
  EXPECT_TRUE(run(records.remove("k")).ok());
  EXPECT_TRUE(run(records.remove("k")).ok());
  EXPECT_FALSE(run(records.load("k")).value().has_value());
  // The revision of a record that is gone is nobody's any more.
  EXPECT_EQ(run(records.swap("k", second, sample())).code(), Errc::fenced);
}

TEST_F(Records, LieWhereTheControlPlaneLooks) {
  ASSERT_TRUE(run(records.swap("vol-1", 0, sample())).ok());
  ASSERT_TRUE(run(records.swap("/mine/volume/2/info", 0, sample())).ok());
  for (const char* key : {"/holdfast/v1/clusters/test/volume/vol-1/membership", "/mine/volume/2/info"}) {
    const auto found = run(kv.range(store::RangeRequest(key)));
    ASSERT_EQ(found.value().kvs.size(), 1u) << key;
    EXPECT_EQ(nexus::parse_record(found.value().kvs[0].value).value(), sample());
  }
}

TEST_F(Records, WhatIsNoRecordIsBadFormat) {
  ASSERT_TRUE(run(kv.put(store::PutRequest(records.store_key("k"), "{"))).ok());
  EXPECT_EQ(run(records.load("k")).code(), Errc::bad_format);
}

TEST_F(Records, TroubleOfTheStoreIsTriedAgain) {
  run(kv.put(store::PutRequest("/a", "b"))).ignore("any key");
  world.run(core, kv.close());
  EXPECT_EQ(run(records.load("k")).code(), Errc::cancelled);
  EXPECT_EQ(run(records.swap("k", 0, sample())).code(), Errc::cancelled);
  EXPECT_EQ(run(records.remove("k")).code(), Errc::cancelled);
}

}  // namespace
}  // namespace holdfast::engine
