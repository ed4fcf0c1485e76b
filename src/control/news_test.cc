#include "control/news.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast::control {
namespace {

using ::testing::IsEmpty;
using ::testing::Optional;
using ::testing::UnorderedElementsAre;

Uuid id(const char* name) { return Uuid::from_name(name); }

struct NewsTest : ::testing::Test {
  sim::World world{1};
  News news{world.add_node("agent").start().core(0)};
  Specs specs;

  ReplicaSpec replica(const char* name, std::optional<Uuid> volume) {
    ReplicaSpec r;
    r.uuid = id(name);
    r.owners.volume = volume;
    return specs.replicas[r.uuid] = r;
  }
};

TEST_F(NewsTest, EverythingIsNewAtFirst) {
  EXPECT_FALSE(news.take(specs));
  EXPECT_THAT(news.take(specs), Optional(IsEmpty()));
}

TEST_F(NewsTest, WhatIsToldNamesTheVolumeWhoseItIs) {
  news.take(specs);
  NexusSpec nexus;
  nexus.uuid = id("nexus");
  nexus.owner = id("b");
  specs.nexuses[nexus.uuid] = nexus;
  replica("r", id("c"));
  news.of(replica("of a", id("a")));
  news.of_nexus_state(nexus.uuid);
  news.of_replica_state(id("r"));
  news.of_volume(id("d"));
  EXPECT_TRUE(news.arrived().is_set());
  EXPECT_THAT(news.take(specs), Optional(UnorderedElementsAre(id("a"), id("b"), id("c"), id("d"))));
  EXPECT_THAT(news.take(specs), Optional(IsEmpty())) << "once";
}

TEST_F(NewsTest, WhatHasNoOwnerIsInNoVolumesLook) {
  news.take(specs);
  news.of(replica("alone", std::nullopt));
  news.of_replica_state(id("alone"));
  news.of_replica_state(id("of another cluster"));
  EXPECT_TRUE(news.arrived().is_set());
  EXPECT_THAT(news.take(specs), Optional(IsEmpty()));
}

TEST_F(NewsTest, NodesAndPoolsAreEverybodys) {
  for (const bool node : {true, false}) {
    news.take(specs);
    news.of_volume(id("a"));
    if (node) {
      news.of(NodeSpec());
    } else {
      news.of(PoolSpec());
    }
    EXPECT_FALSE(news.take(specs));
    EXPECT_THAT(news.take(specs), Optional(IsEmpty())) << "what was told before is taken with it";
  }
}

}  // namespace
}  // namespace holdfast::control
