// Looks that leave out volumes at rest.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/prng.h"
#include "control/plan/testing/builder.h"

namespace holdfast::control {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr unsigned node_count = 5;

std::string volume_name(unsigned i) { return fmt::format("v{}", i); }

// Volumes of two replicas, every other one published, on nodes with a pool each.
Builder volumes(unsigned count) {
  Builder b;
  for (unsigned n = 0; n < node_count; ++n) {
    b.node(fmt::format("n{}", n));
    b.pool(fmt::format("p{}", n), fmt::format("n{}", n), std::uint64_t{1} << 50);
  }
  for (unsigned i = 0; i < count; ++i) {
    const unsigned n = i % node_count;
    b.volume_on(volume_name(i), {fmt::format("p{}", n), fmt::format("p{}", (n + 1) % node_count)});
    if (i % 2 == 0) b.publish(volume_name(i), fmt::format("n{}", n));
  }
  return b;
}

Decision look(Builder& b, const std::set<Uuid>* some) {
  const Cluster cluster(b.specs, b.observed, b.claims);
  return decide(cluster, b.outages, {b.policy, b.now, nullptr, some});
}

TEST(Look, VolumesWithNothingToDoAreAtRest) {
  Builder b = volumes(4);
  EXPECT_THAT(look(b, nullptr).restless, IsEmpty());
  b.fault("v0", "p0");
  b.specs.volumes.at(id("v3")).num_replicas = 1;
  EXPECT_THAT(look(b, nullptr).restless, ::testing::UnorderedElementsAre(id("v0"), id("v3")));
}

TEST(Look, AVolumeThatIsOutOfSyncIsNotAtRestAlthoughNothingCanBeDone) {
  Builder b = volumes(1);
  b.fault("v0", "p1");
  b.stop_node("n1");
  b.specs.volumes.at(id("v0")).self_heal = false;
  const Decision decided = look(b, nullptr);
  EXPECT_THAT(decided.actions, IsEmpty());
  EXPECT_THAT(decided.restless, ElementsAre(id("v0")));
}

TEST(Look, AnOutageThatIsBeingForgottenIsWaitedFor) {
  Builder b = volumes(1);
  b.fault("v0", "p1");
  look(b, nullptr);
  b.child("v0", "p1").status = ChildStatus::online;
  for (auto& m : b.observed.memberships.at(id("v0")).members) m.healthy = true;
  const Decision decided = look(b, nullptr);
  EXPECT_THAT(decided.restless, ElementsAre(id("v0")));
  EXPECT_EQ(decided.due, b.now + outage_forgotten_after);
  b.now += outage_forgotten_after;
  EXPECT_THAT(look(b, nullptr).restless, IsEmpty());
  EXPECT_TRUE(b.outages.empty());
}

TEST(Look, WhatIsLeftOfAVolumeIsLookedAtUntilItIsGone) {
  Builder b = volumes(1);
  b.specs.volumes.clear();
  const std::set<Uuid> gone{id("v0")};
  for (const std::set<Uuid>* some : {static_cast<const std::set<Uuid>*>(nullptr), &gone}) {
    const Decision decided = look(b, some);
    EXPECT_EQ(decided.actions.size(), 3U) << "two replicas and a target";
    EXPECT_EQ(decided.restless, gone);
  }
  b.specs.replicas.clear();
  b.specs.nexuses.clear();
  EXPECT_THAT(look(b, &gone).restless, IsEmpty());
}

// Something happens to a volume.
void strike(Builder& b, Prng& random, const std::string& v, unsigned i) {
  const PoolId pool = fmt::format("p{}", (i + random.below(2)) % node_count);
  VolumeSpec& spec = b.specs.volumes.at(id(v));
  switch (random.below(8)) {
    case 0:
      if (spec.target)
        b.fault(v, pool, random.below(2) != 0 ? ChildReason::io_failure : ChildReason::out_of_space);
      break;
    case 1:
      if (spec.target) b.child(v, pool).status = ChildStatus::online;
      break;
    case 2:
      spec.num_replicas = 1 + static_cast<std::uint32_t>(random.below(3));
      break;
    case 3:
      b.observed.replicas.at(id(v + "@" + pool)).status =
          random.below(2) != 0 ? ReplicaStatus::faulted : ReplicaStatus::online;
      break;
    case 4:
      for (auto& m : b.observed.memberships.at(id(v)).members) m.healthy = random.below(3) != 0;
      break;
    case 5:
      if (spec.target) b.observed.nexuses.erase(spec.target->nexus);
      break;
    case 6:
      spec.moves = {{id(v + "@" + pool), std::nullopt, std::nullopt}};
      break;
    case 7:
      if (spec.target) b.observed.nexuses[spec.target->nexus].size_bytes = spec.size_bytes / 2;
      break;
  }
}

TEST(Look, OverWhatChangedDecidesWhatOneOverEverythingDecides) {
  Prng random(11);
  for (unsigned round = 0; round < 60; ++round) {
    constexpr unsigned count = 12;
    Builder b = volumes(count);
    std::set<Uuid> restless = look(b, nullptr).restless;
    std::size_t left_out = 0;
    for (unsigned step = 0; step < 20; ++step) {
      const auto struck = static_cast<unsigned>(random.below(count));
      const std::string v = volume_name(struck);
      if (!b.specs.volumes.at(id(v)).target ||
          b.observed.nexuses.contains(b.specs.volumes.at(id(v)).target->nexus))
        strike(b, random, v, struck);
      b.now += static_cast<UnixNanos>(random.below(300)) * second;
      restless.insert(id(v));
      left_out += count - restless.size();
      const Outages before = b.outages;
      const Decision narrow = look(b, &restless);
      const Outages after = std::exchange(b.outages, before);
      const Decision wide = look(b, nullptr);
      ASSERT_EQ(narrow.actions, wide.actions) << "round " << round << ", step " << step;
      ASSERT_EQ(narrow.due, wide.due);
      ASSERT_EQ(narrow.held, wide.held);
      ASSERT_EQ(narrow.restless, wide.restless);
      ASSERT_EQ(after, b.outages);
      restless = narrow.restless;
    }
    EXPECT_GT(left_out, 0U);
  }
}

#ifndef NDEBUG
std::uint64_t lookups_of_a_look_at_one(unsigned count) {
  Builder b = volumes(count);
  const Index index(b.specs);
  const Cluster cluster(b.specs, index, b.observed, b.claims);
  const std::set<Uuid> one{id("v0")};
  const std::uint64_t before = lookups;
  decide(cluster, b.outages, {b.policy, b.now, nullptr, &one});
  return lookups - before;
}

TEST(Look, AtOneVolumeTakesTheSameInALargeCluster) {
  EXPECT_EQ(lookups_of_a_look_at_one(1'000), lookups_of_a_look_at_one(10));
}

// What it takes to look everything over, in a cluster of which a part is being repaired and a part deleted.
std::uint64_t lookups_of_a_pass(unsigned count) {
  const unsigned nodes = count / 10;
  Builder b;
  for (unsigned n = 0; n < nodes; ++n) {
    b.node(fmt::format("n{}", n));
    b.pool(fmt::format("p{}", n), fmt::format("n{}", n), std::uint64_t{1} << 50);
  }
  for (unsigned i = 0; i < count; ++i) {
    const std::string v = volume_name(i);
    b.volume_on(v, {fmt::format("p{}", i % nodes), fmt::format("p{}", (i + 1) % nodes)});
    b.publish(v, fmt::format("n{}", i % nodes));
    if (i % 4 == 0) {
      ReplicaSpec& gone = b.specs.replicas.at(id(fmt::format("{}@p{}", v, i % nodes)));
      gone.status = SpecStatus::deleting;
      gone.owners.volume.reset();
      b.specs.volumes.at(id(v)).num_replicas = 1;
    }
  }
  const Index index(b.specs);
  const Cluster cluster(b.specs, index, b.observed, b.claims);
  const std::uint64_t before = lookups;
  EXPECT_FALSE(decide(cluster, b.outages, {b.policy, b.now}).actions.empty());
  return lookups - before;
}

TEST(Look, WhatAPassTakesGrowsAsTheClusterDoes) {
  const std::uint64_t few = lookups_of_a_pass(100);
  const std::uint64_t many = lookups_of_a_pass(1'000);
  EXPECT_LT(many, few * 12) << few << " for 100 volumes";
}
#endif

}  // namespace
}  // namespace holdfast::control
