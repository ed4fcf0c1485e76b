// Replicas and nexuses that users make by themselves: what is a child of a nexus is nobody else's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/testing/shell/rig.h"

namespace holdfast::control {
namespace {

using fake::gib;
using ::testing::HasSubstr;

struct PartsRig : fake::NodesRig {
  // The URI by which others reach it.
  std::string replica(const std::string& name, const PoolId& pool) {
    CreateReplica request;
    request.replica = Uuid::from_name(name);
    request.pool = pool;
    request.size_bytes = gib;
    request.share = Protocol::nvmf;
    return must(agent->create_replica(std::move(request))).state->uri;
  }
  Uuid nexus(std::vector<std::string> children) {
    CreateNexus request;
    request.nexus = Uuid::from_name("nexus");
    request.node = "n1";
    request.children = std::move(children);
    request.size_bytes = gib / 2;
    return must(agent->create_nexus(std::move(request))).uuid;
  }
};

// It would be overwritten with what the nexus has.
TEST(Parts, ANexusIsGivenNoReplicaOfAVolume) {
  PartsRig rig;
  const Uuid v = rig.create_volume("v", 2).uuid;
  const Uuid n = rig.nexus({rig.replica("one", "n3-a")});
  for (const auto& [id, r] : rig.agent->observed().replicas) {
    if (rig.agent->specs().replicas.at(id).owners.volume != v) continue;
    EXPECT_EQ(rig.refused(rig.agent->add_nexus_child(n, std::nullopt, r.uri)), Kind::in_use);
    EXPECT_THAT(rig.last_refusal, HasSubstr("belongs to volume " + v.to_string()));
  }
}

TEST(Parts, AReplicaIsItsNexusesAsLongAsItIsAChild) {
  PartsRig rig;
  const Uuid n = rig.nexus({rig.replica("one", "n2-a")});
  const std::string uri = rig.replica("two", "n3-a");
  const Uuid two = Uuid::from_name("two");
  rig.must(rig.agent->add_nexus_child(n, std::nullopt, uri));
  EXPECT_EQ(rig.refused(rig.agent->delete_replica(two, std::nullopt, std::nullopt)), Kind::in_use);
  rig.must(rig.agent->remove_nexus_child(n, std::nullopt, uri));
  rig.must(rig.agent->delete_replica(two, std::nullopt, std::nullopt));
  EXPECT_FALSE(rig.agent->specs().replicas.contains(two));
}

TEST(Parts, AReplicaThatNobodyKnowsIsNotTakenOver) {
  PartsRig rig;
  const auto engine = rig.directory.connect("n2", rig.engines.fleet().machine("n2").endpoint());
  NewReplica old;
  old.replica = Uuid::from_name("old");
  old.pool = "n2-a";
  old.size_bytes = gib;
  rig.must(engine->create_replica(old));
  ASSERT_TRUE(rig.until([&] { return rig.agent->observed().replicas.contains(old.replica); }));
  CreateReplica request;
  request.replica = old.replica;
  request.pool = old.pool;
  request.size_bytes = gib;
  EXPECT_EQ(rig.refused(rig.agent->create_replica(request)), Kind::already_exists);
  EXPECT_THAT(rig.last_refusal, HasSubstr("holdfast adopt"));
  EXPECT_FALSE(rig.agent->specs().replicas.contains(old.replica));
  rig.world.run(rig.reactor, engine->close());
}

}  // namespace
}  // namespace holdfast::control
