// When the same would no longer be decided of the same facts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/plan/testing/builder.h"

namespace holdfast::control {
namespace {

using testing::Builder;
using ::testing::IsEmpty;
using testing::published;
using testing::second;
using testing::three_nodes;

TEST(Due, NothingIsDueInAHealthyCluster) {
  Builder b = published();
  EXPECT_THAT(b.decided(), IsEmpty());
  EXPECT_FALSE(b.due);
  EXPECT_FALSE(b.held);
}

TEST(Due, WhatWaitsForATimeSaysForWhich) {
  Builder outage = published();
  outage.fail_pool("p2");
  outage.fault("v", "p2");
  outage.decide_now();
  EXPECT_EQ(outage.due, outage.now + outage.policy.faulted_wait);

  Builder pool = three_nodes();
  pool.specs.pools["p2"].status = SpecStatus::deleting;
  pool.specs.pools["p2"].unsure_until = pool.now + second;
  pool.observed.pools.erase("p2");
  pool.decide_now();
  EXPECT_EQ(pool.due, pool.now + second);

  Builder drain = published();
  drain.specs.nodes["n1"].drains["x"] = {};
  drain.specs.nodes["n1"].draining_since = drain.now;
  drain.decide_now();
  EXPECT_EQ(drain.due, drain.now + drain.policy.drain_wait);
}

// Until then the same is decided, at every moment.
TEST(Due, NothingChangesBeforeItIsDue) {
  Builder b = published();
  b.volume_on("w", {"p2", "p3"});
  b.publish("w", "n3");
  b.fail_pool("p2");
  b.fault("v", "p2");
  b.decide_now();
  b.now += 100 * second;
  b.fault("w", "p2");
  b.specs.nodes["n1"].drains["x"] = {};
  b.specs.nodes["n1"].draining_since = b.now - 50 * second;
  std::vector<Action> before = b.decide_now();
  unsigned changes = 0;
  for (int i = 0; i < 800; ++i) {
    const auto due = b.due;
    b.now += second;
    std::vector<Action> now = b.decide_now();
    if (now != before) {
      ++changes;
      ASSERT_TRUE(due && *due <= b.now) << "after " << i << " s";
    }
    before = std::move(now);
  }
  EXPECT_EQ(changes, 3U);
}

}  // namespace
}  // namespace holdfast::control
