// What users ask and do not get, and the words that say why.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/testing/shell/rig.h"

namespace holdfast::control {
namespace {

using fake::AgentRig;
using fake::gib;
using fake::node_of;
using fake::NodesRig;
using ::testing::HasSubstr;

TEST(Refusals, WhatCannotBeIsRefusedByKindAndWord) {
  NodesRig rig;
  Agent& a = *rig.agent;
  EXPECT_EQ(rig.refused(a.create_volume(AgentRig::volume_request("v", 4))), Kind::resource_exhausted);
  EXPECT_THAT(rig.last_refusal, HasSubstr("3 of 4 replicas can be placed"));
  EXPECT_EQ(rig.refused(a.create_volume(AgentRig::volume_request("v", 1, 20 * gib))),
            Kind::resource_exhausted);
  EXPECT_THAT(rig.last_refusal, HasSubstr("pool n2-a on node n2: its capacity"));
  EXPECT_EQ(rig.refused(a.create_volume(AgentRig::volume_request("v", 0))), Kind::invalid_argument);
  const Uuid v = rig.create_volume("v", 2).uuid;
  EXPECT_EQ(rig.refused(a.create_volume(AgentRig::volume_request("v", 2))), Kind::already_exists);
  EXPECT_EQ(rig.refused(a.unpublish_volume(v, false)), Kind::not_published);
  rig.publish(v);
  PublishVolume again;
  again.volume = v;
  EXPECT_EQ(rig.refused(a.publish_volume(again)), Kind::already_published);
  EXPECT_EQ(rig.refused(a.set_replica_count(v, 2)), Kind::failed_precondition);
  EXPECT_EQ(rig.refused(a.set_replica_count(v, 4)), Kind::failed_precondition);
  EXPECT_EQ(rig.refused(a.set_replica_count(v, 0)), Kind::invalid_argument);
  EXPECT_EQ(rig.refused(a.resize_volume(v, gib / 2)), Kind::invalid_argument);
  EXPECT_EQ(rig.refused(a.resize_volume(v, 20 * gib)), Kind::resource_exhausted);
  EXPECT_EQ(rig.refused(a.delete_pool("n1-a", std::nullopt)), Kind::in_use);
  EXPECT_EQ(rig.refused(a.delete_pool("nowhere", std::nullopt)), Kind::not_found);
  EXPECT_EQ(rig.refused(a.publish_volume(PublishVolume())), Kind::not_found);
}

TEST(Refusals, WhatIsTooSmallToBePublishedIsNotMade) {
  NodesRig rig;
  constexpr std::uint64_t mib = 1 << 20;
  EXPECT_EQ(rig.refused(rig.agent->create_volume(AgentRig::volume_request("v", 1, 5 * mib))),
            Kind::invalid_argument);
  rig.must(rig.agent->create_volume(AgentRig::volume_request("v", 1, 6 * mib)));
}

TEST(Refusals, WhatIsSmallIsMadeWhereClustersAreLarge) {
  AgentRig rig;
  rig.add_node("n1", 0);
  rig.engines.fleet().add_disk("n1", "/dev/n1-a", 10 * gib);
  CreatePool pool;
  pool.pool = "n1-a";
  pool.node = "n1";
  pool.disks = {"/dev/n1-a"};
  pool.cluster_bytes = 16u << 20;
  rig.must(rig.agent->create_pool(pool));
  const auto small = AgentRig::volume_request("v", 1, std::uint64_t{4} << 20);
  rig.must(rig.agent->create_volume(small));
  rig.publish(small.volume);
  EXPECT_EQ(rig.refused(rig.agent->create_volume(small)), Kind::already_exists);
}

TEST(Refusals, ARestoreNamesTheCordonThatPreventsIt) {
  NodesRig rig;
  const Uuid v = rig.create_volume("v", 3, gib, true).uuid;
  rig.publish(v);
  rig.write_all(v);
  const Uuid s = Uuid::from_name("s");
  rig.must(rig.agent->create_snapshot(v, s));
  auto left = rig.pools_of(v);
  rig.must(rig.agent->set_replica_count(v, 2));
  ASSERT_TRUE(rig.until([&] { return rig.pools_of(v).size() == 2 && rig.is_clean(); }));
  const auto stay = rig.pools_of(v);
  for (const PoolId& p : stay) std::erase(left, p);
  rig.engines.fleet().crash(node_of(left.front()));
  ASSERT_TRUE(rig.until([&] { return !rig.agent->observed().node_online(node_of(left.front())); }));
  rig.must(rig.agent->cordon_node(node_of(stay.front()), "work"));
  const auto two = AgentRig::volume_request("two", 2, gib, true);
  EXPECT_EQ(rig.refused(rig.agent->restore_snapshot(s, two)), Kind::resource_exhausted);
  EXPECT_THAT(rig.last_refusal, HasSubstr("cordoned (work)"));
}

TEST(Refusals, ATargetIsNotPutOnANodeThatNobodyKnows) {
  NodesRig rig;
  PublishVolume request;
  request.volume = rig.create_volume("v", 2).uuid;
  request.protocol = Protocol::nvmf;
  request.node = "n9";
  EXPECT_EQ(rig.refused(rig.agent->publish_volume(std::move(request))), Kind::not_found);
  PublishVolume anywhere;
  anywhere.volume = Uuid::from_name("v");
  anywhere.node = "";
  rig.must(rig.agent->publish_volume(anywhere));
}

TEST(Refusals, AVolumeThatItsReplicasCannotKeepIsRefused) {
  NodesRig rig;
  CreateVolume request = NodesRig::volume_request("v", 1);
  for (int i = 0; i < 300; ++i) request.labels[fmt::format("label-{:050}", i)] = std::string(60, 'x');
  EXPECT_EQ(rig.refused(rig.agent->create_volume(request)), Kind::invalid_argument);
  EXPECT_THAT(rig.last_refusal, HasSubstr("its labels and topology"));
}

// A record that no agent can read would stop all of them.
TEST(Refusals, NothingIsWrittenThatCannotBeReadAgain) {
  NodesRig rig;
  const std::string much(std::size_t{1} << 19, 'x');
  AppNodeSpec app;
  app.id = "app";
  app.endpoint = "10.0.0.1:50000";
  for (int i = 0; i < 30'000; ++i) app.labels[fmt::format("label-{:050}", i)];
  EXPECT_EQ(rig.refused(rig.agent->register_app_node(app)), Kind::invalid_argument);
  EXPECT_THAT(rig.last_refusal, HasSubstr("app_node/app would have"));
  CreateVolume request = NodesRig::volume_request("v", 1);
  request.topology.explicit_nodes = ExplicitTopology{{"n1", much, much}, {}};
  EXPECT_EQ(rig.refused(rig.agent->create_volume(request)), Kind::invalid_argument);
  request.topology.explicit_nodes = ExplicitTopology{{"n1"}, {}};
  rig.must(rig.agent->create_volume(request));
  PublishVolume publish;
  publish.volume = request.volume;
  publish.publish_context["a"] = much;
  EXPECT_EQ(rig.refused(rig.agent->publish_volume(publish)), Kind::invalid_argument);
  rig.stop_agent();
  rig.start_agent();
  EXPECT_TRUE(rig.agent->leading());
}

TEST(Refusals, NothingIsChangedWhileARecordCannotBeRead) {
  NodesRig rig;
  const std::string key = "/holdfast/v1/clusters/default/volume/" + Uuid::from_name("v").to_string();
  const auto put = rig.store.state().put(store::PutRequest(key, "{}"));
  ASSERT_TRUE(put.ok());
  rig.store.changed();
  rig.world.run_for(1s);
  EXPECT_EQ(rig.refused(rig.agent->create_volume(NodesRig::volume_request("v", 1))), Kind::unavailable);
  EXPECT_THAT(rig.last_refusal, HasSubstr("cannot be read"));
  ASSERT_TRUE(rig.store.state().delete_range(store::DeleteRequest(key)).ok());
  rig.store.changed();
  rig.world.run_for(1s);
  rig.create_volume("v", 1);
}

}  // namespace
}  // namespace holdfast::control
