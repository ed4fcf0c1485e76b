#include "control/plan/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/prng.h"
#include "control/plan/testing/builder.h"

namespace holdfast::control {
namespace {

using testing::Builder;
using ::testing::ElementsAre;
using testing::gib;
using ::testing::HasSubstr;
using testing::id;
using ::testing::IsEmpty;
using testing::mib;
using ::testing::UnorderedElementsAre;

std::vector<PoolId> place(Builder& b, const VolumeSpec& v, std::size_t count,
                          std::vector<PoolId> occupied = {}) {
  ReplicaNeed need(v);
  need.count = count;
  need.occupied = std::move(occupied);
  return place_replicas(Cluster(b.specs, b.observed, b.claims), b.policy.capacity, need).pools;
}

std::string why_not(Builder& b, const VolumeSpec& v, const PoolId& pool, std::vector<PoolId> occupied = {}) {
  ReplicaNeed need(v);
  need.occupied = std::move(occupied);
  for (const auto& r :
       place_replicas(Cluster(b.specs, b.observed, b.claims), b.policy.capacity, need).refused) {
    if (r.pool == pool) return r.reason;
  }
  return "taken";
}

Builder four_nodes() {
  Builder b;
  for (const char* n : {"1", "2", "3", "4"}) {
    b.node(std::string("n") + n);
    b.pool(std::string("p") + n, std::string("n") + n);
  }
  return b;
}

TEST(Scheduler, EqualPoolsAreTakenByName) {
  Builder b = four_nodes();
  EXPECT_THAT(place(b, b.volume("v", 3), 3), ElementsAre("p1", "p2", "p3"));
}

TEST(Scheduler, OneNodeNeverGetsTwo) {
  Builder b;
  b.node("n1");
  b.node("n2");
  b.pool("a", "n1");
  b.pool("b", "n1");
  b.pool("c", "n2");
  const VolumeSpec& v = b.volume("v", 3);
  EXPECT_THAT(place(b, v, 3), ElementsAre("a", "c"));
  EXPECT_THAT(place(b, v, 1, {"a"}), ElementsAre("c"));
  EXPECT_THAT(why_not(b, v, "b", {"a"}), HasSubstr("holds a replica"));
}

TEST(Scheduler, FreeRoomAndFewReplicasAttract) {
  Builder b = four_nodes();
  b.observed.pools["p1"].used_bytes = 8 * gib;
  b.observed.pools["p2"].used_bytes = 4 * gib;
  const VolumeSpec& v = b.volume("v", 2);
  EXPECT_THAT(place(b, v, 3), ElementsAre("p3", "p4", "p2"));
}

TEST(Scheduler, SaysWhyOfEveryPool) {
  Builder b = four_nodes();
  VolumeSpec& v = b.volume("v", 1);
  const auto with = [&](auto change) {
    Builder c = b;
    change(c);
    return why_not(c, v, "p1");
  };
  EXPECT_THAT(with([](Builder& c) { c.stop_node("n1"); }), HasSubstr("does not answer"));
  EXPECT_THAT(with([](Builder& c) { c.specs.nodes["n1"].cordons = {"keep-out"}; }), HasSubstr("keep-out"));
  EXPECT_THAT(with([](Builder& c) { c.specs.nodes["n1"].drains["d"] = {}; }), HasSubstr("drained"));
  EXPECT_THAT(with([](Builder& c) { c.specs.pools["p1"].cordons = {"x"}; }), HasSubstr("cordoned (x)"));
  EXPECT_THAT(with([](Builder& c) { c.specs.pools["p1"].evacuating = true; }), HasSubstr("moved away"));
  EXPECT_THAT(with([](Builder& c) { c.specs.pools["p1"].status = SpecStatus::deleting; }),
              HasSubstr("deleted"));
  EXPECT_THAT(with([](Builder& c) { c.claims.closing = {"p1"}; }), HasSubstr("deleted"));
  EXPECT_THAT(with([](Builder& c) { c.fail_pool("p1"); }), HasSubstr("Faulted"));
  EXPECT_THAT(with([](Builder& c) { c.observed.pools.erase("p1"); }), HasSubstr("report"));
  EXPECT_THAT(with([](Builder& c) { c.specs.nodes.erase("n1"); }), HasSubstr("registered"));
  EXPECT_THAT(with([](Builder& c) { c.observed.pools["p1"].used_bytes = 9 * gib; }), HasSubstr("free"));
  EXPECT_THAT(with([](Builder& c) { c.observed.pools["p1"].capacity_bytes = gib; }), HasSubstr("capacity"));
  EXPECT_THAT(with([](Builder& c) { c.claims.thick_bytes["p1"] = 9 * gib; }), HasSubstr("free"));
  v.topology.pools = LabelledTopology{{}, {{"disk", "ssd"}}, {}};
  EXPECT_THAT(why_not(b, v, "p1"), HasSubstr("disk"));
  v.topology = {};
  v.topology.explicit_nodes = ExplicitTopology{{"n2"}, {}};
  EXPECT_THAT(why_not(b, v, "p1"), HasSubstr("not allowed"));
  EXPECT_THAT(explain(place_replicas(Cluster(b.specs, b.observed, b.claims), {}, ReplicaNeed(v)).refused),
              HasSubstr("pool p1 on node n1: its node is not allowed; pool p3"));
}

TEST(Scheduler, ThinVolumesMayOvercommitWithinLimits) {
  Builder b;
  b.node("n1");
  b.pool("p1", "n1", 10 * gib);
  VolumeSpec& v = b.volume("v", 1, 8 * gib);
  v.thin = true;
  b.observed.pools["p1"].used_bytes = 6 * gib;  // 4 GiB free; 40 % of 8 GiB are needed
  EXPECT_THAT(place(b, v, 1), ElementsAre("p1"));
  b.observed.pools["p1"].used_bytes = 7 * gib;
  EXPECT_THAT(why_not(b, v, "p1"), HasSubstr("free"));
  b.observed.pools["p1"].used_bytes = 0;
  b.observed.pools["p1"].committed_bytes = 17 * gib;  // with 8 more: 250 %
  EXPECT_THAT(why_not(b, v, "p1"), HasSubstr("committed"));
  b.observed.pools["p1"].committed_bytes = 16 * gib;
  EXPECT_THAT(place(b, v, 1), ElementsAre("p1"));
  v.size_bytes = 20 * mib;
  b.observed.pools["p1"].used_bytes = 10 * gib - 16 * mib;
  EXPECT_THAT(why_not(b, v, "p1"), HasSubstr("16777216"));
}

TEST(Scheduler, ReplicasOnTheirWayCount) {
  Builder b;
  b.node("n1");
  b.pool("p1", "n1", 3 * gib);
  b.volume("other", 1, 2 * gib);
  const Uuid r = b.replica("other", "p1");
  b.observed.pools["p1"].used_bytes = 0;
  b.observed.replicas.erase(r);
  b.specs.replicas[r].status = SpecStatus::creating;
  EXPECT_THAT(place(b, b.volume("v", 1, gib), 1), IsEmpty());
}

TEST(Scheduler, ConstraintsCombine) {
  Builder b;
  for (int n = 0; n < 6; ++n) {
    const std::string node = fmt::format("n{}", n);
    b.node(node, {{"rack", fmt::format("r{}", n / 2)}, {"room", n < 4 ? "a" : "b"}});
    b.pool(node + "-ssd", node, 10 * gib, {{"disk", "ssd"}});
    b.pool(node + "-hdd", node, 90 * gib, {{"disk", "hdd"}});
  }
  VolumeSpec& v = b.volume("v", 3);
  v.topology.pools = LabelledTopology{{}, {{"disk", "ssd"}}, {}};
  v.topology.nodes = LabelledTopology{{{"rack", ""}}, {}, {}};
  EXPECT_THAT(place(b, v, 3), ElementsAre("n0-ssd", "n2-ssd", "n4-ssd"));
  EXPECT_THAT(place(b, v, 1, {"n0-ssd", "n2-ssd"}), ElementsAre("n4-ssd"));
  EXPECT_THAT(why_not(b, v, "n1-ssd", {"n0-ssd"}), HasSubstr("rack=r0 is taken by pool n0-ssd"));
  v.topology.nodes->affinity = {"room"};
  EXPECT_THAT(place(b, v, 3), ElementsAre("n0-ssd", "n2-ssd"));
  v.topology.nodes->exclusion.clear();
  EXPECT_THAT(place(b, v, 3), ElementsAre("n0-ssd", "n1-ssd", "n2-ssd"));
}

TEST(Scheduler, SharedLabelsAreFoundAlsoWhenTheBestPoolIsAlone) {
  Builder b;
  b.node("n1", {{"room", "a"}});
  b.node("n2", {{"room", "b"}});
  b.node("n3", {{"room", "b"}});
  b.pool("p1", "n1", 90 * gib);
  b.pool("p2", "n2");
  b.pool("p3", "n3");
  VolumeSpec& v = b.volume("v", 2);
  v.topology.nodes = LabelledTopology{{}, {}, {"room"}};
  EXPECT_THAT(place(b, v, 2), ElementsAre("p2", "p3"));
}

TEST(Scheduler, PreferredNodesComeFirst) {
  Builder b = four_nodes();
  VolumeSpec& v = b.volume("v", 2);
  v.topology.explicit_nodes = ExplicitTopology{{}, {"n4", "n3"}};
  EXPECT_THAT(place(b, v, 2), UnorderedElementsAre("p3", "p4"));
  b.specs.nodes["n4"].cordons = {"x"};
  EXPECT_THAT(place(b, v, 2), ElementsAre("p3", "p1"));
}

TEST(Scheduler, AGroupOfSingleReplicasIsSpreadOverNodes) {
  Builder b = four_nodes();
  for (const char* name : {"a", "b", "c", "d"}) {
    VolumeSpec& v = b.volume(name, 1);
    v.affinity_group = "set";
    const auto pools = place(b, v, 1);
    ASSERT_EQ(pools.size(), 1u) << name;
    b.replica(name, pools.front());
  }
  VolumeSpec& fifth = b.volume("e", 1);
  fifth.affinity_group = "set";
  EXPECT_THAT(place(b, fifth, 1), IsEmpty());
  EXPECT_THAT(why_not(b, fifth, "p1"), HasSubstr("affinity group"));
}

TEST(Scheduler, AVolumeOfOneReplicaKeepsApartFromAllOfItsGroup) {
  Builder b = four_nodes();
  b.volume("grown", 2).affinity_group = "set";
  b.replica("grown", "p1");
  b.replica("grown", "p3");
  b.volume("stranger", 1).affinity_group = "other";
  b.replica("stranger", "p2");
  VolumeSpec& v = b.volume("v", 1);
  v.affinity_group = "set";
  EXPECT_THAT(place(b, v, 4), UnorderedElementsAre("p2", "p4"));
  EXPECT_THAT(why_not(b, v, "p1"), HasSubstr("same affinity group"));
  b.claims.group_nodes = {"set\nn2", "set\nn2", "other\nn4"};
  EXPECT_THAT(place(b, v, 4), ElementsAre("p4"));
  EXPECT_THAT(why_not(b, v, "p2"), HasSubstr("taken by the affinity group"));
}

// Whatever the cluster looks like: distinct nodes, room, labels, and every pool is either taken or explained.
TEST(Scheduler, PropertiesHoldInRandomClusters) {
  for (std::uint64_t seed = 1; seed <= 3000; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed=" << seed);
    Prng random(seed);
    Builder b;
    const auto nodes = 1 + random.below(6);
    for (std::uint64_t n = 0; n < nodes; ++n) {
      const NodeId node = fmt::format("n{}", n);
      b.node(node, {{"rack", fmt::format("r{}", random.below(3))}});
      if (random.below(8) == 0) b.stop_node(node);
      if (random.below(8) == 0) b.specs.nodes[node].cordons = {"c"};
      for (std::uint64_t p = random.below(4); p > 0; --p) {
        const PoolId pool = fmt::format("{}-{}", node, p);
        b.pool(pool, node, (1 + random.below(8)) * gib, {{"disk", random.below(2) == 0 ? "ssd" : "hdd"}});
        b.observed.pools[pool].used_bytes = random.below(6) * gib;
        if (random.below(8) == 0) b.fail_pool(pool);
      }
    }
    VolumeSpec& v =
        b.volume("v", 1 + static_cast<std::uint32_t>(random.below(4)), (1 + random.below(4)) * gib);
    v.thin = random.below(2) == 0;
    if (random.below(2) == 0) v.topology.nodes = LabelledTopology{{{"rack", ""}}, {}, {}};
    if (random.below(2) == 0) v.topology.pools = LabelledTopology{{}, {{"disk", "ssd"}}, {}};
    ReplicaNeed need(v);
    need.count = v.num_replicas;
    const Cluster cluster(b.specs, b.observed, b.claims);
    const Placement placed = place_replicas(cluster, b.policy.capacity, need);
    EXPECT_LE(placed.pools.size(), need.count);
    EXPECT_EQ(placed.pools.size() + placed.refused.size(), b.specs.pools.size());
    std::set<NodeId> used_nodes;
    std::set<std::string> racks;
    for (const PoolId& p : placed.pools) {
      const PoolSpec& spec = b.specs.pools[p];
      const PoolState& state = b.observed.pools[p];
      EXPECT_TRUE(used_nodes.insert(spec.node).second);
      EXPECT_TRUE(b.observed.node_online(spec.node) && b.specs.nodes[spec.node].cordons.empty());
      EXPECT_EQ(state.status, PoolStatus::online);
      EXPECT_GT(state.capacity_bytes, v.size_bytes);
      if (!v.thin) {
        EXPECT_GT(state.free_bytes(), v.size_bytes);
      }
      if (v.thin) {
        EXPECT_LT(state.committed_bytes + v.size_bytes, state.capacity_bytes / 10 * 25 + 10);
      }
      if (v.topology.nodes) {
        EXPECT_TRUE(racks.insert(b.specs.nodes[spec.node].labels["rack"]).second);
      }
      if (v.topology.pools) {
        EXPECT_EQ(b.specs.pools[p].labels["disk"], "ssd");
      }
    }
    // Too few only when no further pool could join those that were found.
    if (placed.pools.size() < need.count && !v.topology.nodes) {
      ReplicaNeed more(v);
      more.occupied = placed.pools;
      EXPECT_THAT(place_replicas(cluster, b.policy.capacity, more).pools, IsEmpty());
    }
    for (const PoolRefusal& r : placed.refused) EXPECT_FALSE(r.reason.empty());
  }
}

TEST(Surplus, FaultedReplicasGoFirst) {
  Builder b = four_nodes();
  b.volume_on("v", {"p1", "p2", "p3"});
  b.publish("v", "n1");
  b.fault("v", "p2");
  const Cluster cluster(b.specs, b.observed, b.claims);
  EXPECT_EQ(choose_surplus(cluster, b.specs.volumes.at(id("v"))).value(), id("v@p2"));
}

TEST(Surplus, TheReplicaBesideTheTargetStays) {
  Builder b = four_nodes();
  b.volume_on("v", {"p1", "p2"});
  b.publish("v", "n2");
  EXPECT_EQ(choose_surplus(Cluster(b.specs, b.observed, b.claims), b.specs.volumes.at(id("v"))).value(),
            id("v@p1"));
}

TEST(Surplus, TheLastGoodOneNeverGoes) {
  Builder b = four_nodes();
  b.volume_on("v", {"p1", "p2"});
  b.publish("v", "n1");
  b.fault("v", "p2");
  EXPECT_EQ(choose_surplus(Cluster(b.specs, b.observed, b.claims), b.specs.volumes.at(id("v"))).value(),
            id("v@p2"));
  b.stop_node("n1");  // the good one cannot be reached: nothing that may be needed goes, and p2 has nothing
  const auto chosen = choose_surplus(Cluster(b.specs, b.observed, b.claims), b.specs.volumes.at(id("v")));
  EXPECT_TRUE(!chosen.ok() || chosen.value() == id("v@p2"));
}

TEST(Target, PrefersAGoodReplicaThenFewTargets) {
  Builder b = four_nodes();
  VolumeSpec& v = b.volume_on("v", {"p2", "p3"});
  const auto choose = [&](std::optional<NodeId> wanted = {}, std::optional<NodeId> avoid = {}) {
    return place_target(Cluster(b.specs, b.observed, b.claims), v, wanted, avoid);
  };
  EXPECT_EQ(choose().node, "n2");
  EXPECT_EQ(choose("n4").node, "n4");
  EXPECT_EQ(choose({}, "n2").node, "n3");
  b.specs.nodes["n4"].cordons = {"x"};
  EXPECT_EQ(choose("n4").node, "n2");
  b.volume_on("other", {"p2"});
  b.publish("other", "n2");
  EXPECT_EQ(choose().node, "n3");
  for (const char* n : {"n1", "n2", "n3"}) b.stop_node(n);
  const auto none = choose();
  EXPECT_FALSE(none.node);
  EXPECT_THAT(explain(none.refused), HasSubstr("node n4: it is cordoned (x)"));
}

TEST(Target, OfASingleReplicaIsWhereItIs) {
  Builder b = four_nodes();
  VolumeSpec& v = b.volume_on("v", {"p3"});
  const auto choice = place_target(Cluster(b.specs, b.observed, b.claims), v, "n1", std::nullopt);
  EXPECT_EQ(choice.node, "n3");
}

}  // namespace
}  // namespace holdfast::control
