// Requests that engines carry out after they were given up, or would be asked by an agent that leads no longer.
#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/model/codec.h"
#include "control/testing/shell/rig.h"

namespace holdfast::control {
namespace {

using fake::AgentRig;
using ::testing::IsEmpty;

std::size_t copies_on(AgentRig& rig, const NodeId& node) {
  return rig.engines.fleet().machine(node).pools.begin()->second.copies.size();
}

TEST(LateRequests, AReplicaThatIsMadeAfterItWasGivenUpGoesAgain) {
  AgentRig rig;
  rig.add_node("n1");
  rig.engines.trouble("n1").slow = 30s;  // the call takes 15 s at most
  EXPECT_EQ(rig.refused(rig.agent->create_volume(AgentRig::volume_request("v", 1))),
            Kind::failed_precondition);
  rig.engines.trouble("n1").slow = Nanos(0);
  EXPECT_EQ(copies_on(rig, "n1"), 0U);
  ASSERT_TRUE(rig.until([&] { return copies_on(rig, "n1") == 1; }, 1min));
  EXPECT_TRUE(rig.until([&] { return rig.is_clean(); }, 5min));
  EXPECT_TRUE(rig.agent->specs().volumes.empty());
  EXPECT_TRUE(rig.agent->specs().replicas.empty());
}

TEST(LateRequests, ATargetThatIsMadeAfterItWasGivenUpGoesAgain) {
  AgentRig rig;
  rig.add_node("n1");
  const Uuid v = rig.create_volume("v", 1).uuid;
  rig.engines.trouble("n1").slow = 50s;  // the call takes 30 s at most
  PublishVolume request;
  request.volume = v;
  EXPECT_EQ(rig.refused(rig.agent->publish_volume(request)), Kind::deadline_exceeded) << rig.last_refusal;
  rig.engines.trouble("n1").slow = Nanos(0);
  auto& nexuses = rig.engines.fleet().machine("n1").nexuses;
  EXPECT_THAT(nexuses, IsEmpty());
  ASSERT_TRUE(rig.until([&] { return !nexuses.empty(); }, 1min));
  EXPECT_TRUE(rig.until([&] { return nexuses.empty(); }, 2min));
  EXPECT_TRUE(rig.until([&] { return rig.agent->specs().nexuses.empty(); }, 2min));
  rig.publish(v);
  rig.write_all(v);
}

// Whatever the other replicas said for certain.
TEST(LateRequests, APartOfASnapshotThatIsMadeAfterAnotherOneWasRefusedGoesAgain) {
  AgentRig rig;
  rig.add_node("n1");
  rig.add_node("n2");
  const Uuid v = rig.create_volume("v", 2).uuid;
  rig.publish(v, "n1");
  rig.write_all(v);
  rig.must(rig.agent->unpublish_volume(v, false));
  rig.engines.fleet().set_pool_room("n1", "n1-a", 0);
  rig.engines.trouble("n2").slow = 50s;
  const Uuid s = Uuid::from_name("s");
  EXPECT_EQ(rig.refused(rig.agent->create_snapshot(v, s)), Kind::deadline_exceeded) << rig.last_refusal;
  rig.engines.trouble("n2").slow = Nanos(0);
  rig.engines.fleet().heal_pool("n1", "n1-a");
  EXPECT_EQ(copies_on(rig, "n2"), 1U);
  ASSERT_TRUE(rig.until([&] { return copies_on(rig, "n2") == 2; }, 1min));
  EXPECT_TRUE(
      rig.until([&] { return copies_on(rig, "n2") == 1 && rig.agent->specs().snapshots.empty(); }, 5min));
}

Task<void> publish(Agent& agent, PublishVolume what, std::optional<Result<VolumeView>>& into) {
  into = co_await agent.publish_volume(std::move(what));
}

Task<void> clone(Agent& agent, Uuid source, std::optional<Result<VolumeView>>& into) {
  into = co_await agent.clone_volume(source, AgentRig::volume_request("clone", 1));
}

TEST(LateRequests, TheSnapshotOfACloneThatNobodyFinishedGoes) {
  AgentRig rig;
  rig.add_node("n1");
  const Uuid v = rig.create_volume("v", 1).uuid;
  rig.engines.trouble("n1").slow = 3s;
  std::optional<Result<VolumeView>> cloned;
  rig.world.spawn(rig.reactor, clone(*rig.agent, v, cloned));
  const auto taken = [&] {
    const auto& all = rig.agent->specs().snapshots;
    const auto is_whole = [](const ReplicaSnapshotSpec& p) { return p.status == SpecStatus::created; };
    return all.size() == 1 && std::ranges::any_of(all.begin()->second.parts(), is_whole);
  };
  ASSERT_TRUE(rig.until(taken, 10s));
  const std::string key = "/holdfast/v1/clusters/default/leader";
  const auto leader = rig.store.state().range(store::RangeRequest(key));
  ASSERT_TRUE(leader.ok() && leader.value().kvs.size() == 1);
  ASSERT_TRUE(rig.store.state().lease_revoke(leader.value().kvs[0].lease).ok());
  rig.store.changed();
  ASSERT_TRUE(rig.until([&] { return cloned.has_value(); }, 1min));
  EXPECT_FALSE(cloned->ok());
  rig.engines.trouble("n1").slow = Nanos(0);
  EXPECT_TRUE(
      rig.until([&] { return copies_on(rig, "n1") == 1 && rig.agent->specs().snapshots.empty(); }, 5min));
}

// What this agent began in its term it does not go on with in another one's.
Task<void> delete_pool(Agent& agent, PoolId pool, std::optional<Status>& into) {
  into.emplace(co_await agent.delete_pool(std::move(pool), std::nullopt));
}

TEST(LateRequests, APoolIsNotDestroyedByARequestForAFormerOneOfItsName) {
  AgentRig rig;
  rig.add_node("n1", 2);
  rig.engines.trouble("n1").slow = 50s;
  rig.refused(rig.agent->delete_pool("n1-b", std::nullopt));
  const Nanos late = rig.world.now() + 50s;
  rig.engines.trouble("n1").slow = Nanos(0);
  ASSERT_TRUE(rig.until([&] { return !rig.agent->specs().pools.contains("n1-b"); }));
  CreatePool pool;
  pool.pool = "n1-b";
  pool.node = "n1";
  pool.disks = {"/dev/n1-b"};
  rig.must(rig.agent->create_pool(pool));
  ASSERT_LT(rig.world.now(), late);
  rig.world.run_for(2min);
  EXPECT_TRUE(rig.engines.fleet().machine("n1").pools.contains("n1-b"));
}

// Nor does it open and destroy a pool that its successor has made anew.
TEST(LateRequests, AnAgentThatLeadsNoLongerDestroysNoPool) {
  AgentRig rig;
  rig.add_node("n1", 2);
  fake::Fleet& fleet = rig.engines.fleet();
  ASSERT_TRUE(fleet.export_pool(fleet.machine("n1"), "n1-b").ok());  // so that it has to be opened first
  rig.engines.trouble("n1").slow = 4s;
  std::optional<Status> deleted;
  rig.world.spawn(rig.reactor, delete_pool(*rig.agent, "n1-b", deleted));
  rig.world.run_for(5s);
  const std::string key = "/holdfast/v1/clusters/default/leader";
  const auto leader = rig.store.state().range(store::RangeRequest(key));
  ASSERT_TRUE(leader.ok() && leader.value().kvs.size() == 1);
  ASSERT_TRUE(rig.store.state().lease_revoke(leader.value().kvs[0].lease).ok());
  ASSERT_TRUE(rig.store.state().put(store::PutRequest(key, R"({"schema":1,"agent":"another"})")).ok());
  rig.store.changed();
  ASSERT_FALSE(deleted);
  ASSERT_TRUE(rig.until([&] { return deleted.has_value(); }, 1min));
  EXPECT_FALSE(deleted->ok());
  rig.world.run_for(1min);
  EXPECT_TRUE(rig.engines.fleet().machine("n1").pools.contains("n1-b"));
}

TEST(LateRequests, AnAgentThatLeadsNoLongerAsksForNothingMore) {
  AgentRig rig;
  rig.add_node("n1");
  rig.add_node("n2");
  const Uuid v = rig.create_volume("v", 2).uuid;
  rig.engines.trouble("n2").slow = 4s;  // its replica is shared first
  PublishVolume request;
  request.volume = v;
  request.node = "n1";
  std::optional<Result<VolumeView>> published;
  rig.world.spawn(rig.reactor, publish(*rig.agent, request, published));
  rig.world.run_for(1s);
  ASSERT_FALSE(published);
  // The store lets the leader's lease end, as it does when it was not asked to keep it.
  const auto leader = rig.store.state().range(store::RangeRequest("/holdfast/v1/clusters/default/leader"));
  ASSERT_TRUE(leader.ok() && leader.value().kvs.size() == 1);
  ASSERT_TRUE(rig.store.state().lease_revoke(leader.value().kvs[0].lease).ok());
  rig.store.changed();
  ASSERT_TRUE(rig.until([&] { return published.has_value(); }, 1min));
  EXPECT_FALSE(published->ok());
  EXPECT_THAT(rig.engines.fleet().machine("n1").nexuses, IsEmpty());
  rig.engines.trouble("n2").slow = Nanos(0);
  ASSERT_TRUE(rig.until([&] { return rig.agent->leading(); }, 1min));
  rig.publish(v);
  rig.write_all(v);
}

// Or nobody could change a volume while its target tries to reach a replica in vain, as the agent asks it to.
TEST(LateRequests, ARequestWaitsForAChangeThatTakesItsTime) {
  fake::NodesRig rig(2);
  const Uuid v = rig.create_volume("v", 2).uuid;
  rig.engines.trouble("n2").slow = 4s;
  PublishVolume request;
  request.volume = v;
  request.node = "n1";
  std::optional<Result<VolumeView>> published;
  rig.world.spawn(rig.reactor, publish(*rig.agent, request, published));
  rig.world.run_for(1s);
  ASSERT_FALSE(published);
  rig.must(rig.agent->unpublish_volume(v, false));
  ASSERT_TRUE(published);
  EXPECT_TRUE(published->ok());
  EXPECT_EQ(rig.spec(v).target, std::nullopt);
  rig.engines.trouble("n2").slow = Nanos(0);
}

// Killed and started again, it finds itself as the leader, and is not: nothing is sent to whom the record names.
TEST(LateRequests, AnAgentDoesNotTakeItsFormerRunForTheLeader) {
  Options options;
  options.advertise = "http://10.0.0.1:8081";
  options.registration = "10.0.0.1:50051";
  AgentRig rig(options);
  const std::string key = "/holdfast/v1/clusters/default/leader";
  const auto leader = rig.store.state().range(store::RangeRequest(key));
  ASSERT_TRUE(leader.ok() && leader.value().kvs.size() == 1);
  EXPECT_EQ(rig.agent->leader(), options.advertise);
  rig.stop_agent();
  const store::PutRequest left(key, leader.value().kvs[0].value);
  ASSERT_TRUE(rig.store.state().put(left).ok());
  rig.store.changed();
  rig.start_agent();
  EXPECT_FALSE(rig.agent->leading());
  EXPECT_EQ(rig.agent->leader(), std::nullopt);
  EXPECT_EQ(rig.agent->leader_registration(), std::nullopt);
  EXPECT_EQ(rig.refused(rig.agent->create_volume(AgentRig::volume_request("v", 1))), Kind::unavailable);
  EXPECT_THAT(rig.last_refusal, ::testing::HasSubstr("no agent leads"));
  const store::DeleteRequest ended(key);
  ASSERT_TRUE(rig.store.state().delete_range(ended).ok());
  rig.store.changed();
  ASSERT_TRUE(rig.until([&] { return rig.agent->leading(); }, 1min));
  EXPECT_EQ(rig.agent->leader(), options.advertise);
}

// Nor does it wait for itself, where there can be no other of its name.
TEST(LateRequests, AnAgentEndsTheLeadershipOfAFormerRunThatIsOver) {
  Options options;
  options.former_run_is_over = true;
  AgentRig rig(options);
  const std::string key = "/holdfast/v1/clusters/default/leader";
  const auto leader = rig.store.state().range(store::RangeRequest(key));
  ASSERT_TRUE(leader.ok() && leader.value().kvs.size() == 1);
  const std::string own = leader.value().kvs[0].value;
  for (const bool left_by_another : {false, true}) {
    rig.stop_agent();
    std::string record = own;
    if (left_by_another) record.insert(record.find("\"agent\":\"") + 9, "other-");
    ASSERT_TRUE(rig.store.state().put(store::PutRequest(key, record)).ok());
    rig.store.changed();
    const Nanos began = rig.world.now();
    rig.start_agent();  // and waits until it leads, for half an hour
    EXPECT_EQ(rig.agent->leading(), !left_by_another);
    if (!left_by_another) {
      EXPECT_LT(rig.world.now() - began, 3s);
    }
  }
}

TEST(LateRequests, ATargetThatTheNextAgentHasEndedIsNotLookedAt) {
  AgentRig rig;
  const NodeId node = "storage-node-with-a-long-name";  // on the heap, where a sanitizer sees it
  rig.add_node(node);
  const Uuid v = rig.create_volume("v", 1).uuid;
  rig.publish(v);
  const Uuid lost = rig.spec(v).target->nexus;
  fake::Fleet& fleet = rig.engines.fleet();
  fleet.set_pool_failed(node, node + "-a", true);  // the reconciler tries in vain, less and less often
  ASSERT_TRUE(fleet.destroy_nexus(fleet.machine(node), lost).ok());
  rig.world.run_for(3min);
  fleet.heal_pool(node, node + "-a");
  const auto pool_is_back = [&] {
    return rig.agent->observed().pools.at(node + "-a").status == PoolStatus::online;
  };
  ASSERT_TRUE(rig.until(pool_is_back));
  ASSERT_FALSE(rig.agent->observed().nexuses.contains(lost));
  rig.engines.trouble(node).slow = 4s;
  PublishVolume request;
  request.volume = v;
  request.republish = true;
  std::optional<Result<VolumeView>> published;
  rig.world.spawn(rig.reactor, publish(*rig.agent, request, published));
  rig.world.run_for(1s);
  ASSERT_FALSE(published);
  const std::string prefix = "/holdfast/v1/clusters/default/";
  const auto leader = rig.store.state().range(store::RangeRequest(prefix + "leader"));
  ASSERT_TRUE(leader.ok() && leader.value().kvs.size() == 1);
  ASSERT_TRUE(rig.store.state().lease_revoke(leader.value().kvs[0].lease).ok());
  const store::PutRequest another(prefix + "leader", R"({"schema":1,"agent":"another"})");
  ASSERT_TRUE(rig.store.state().put(another).ok());
  VolumeSpec ended = rig.spec(v);
  ended.target.reset();
  ASSERT_TRUE(
      rig.store.state().put(store::PutRequest(prefix + "volume/" + v.to_string(), to_json(ended))).ok());
  rig.store.changed();
  ASSERT_TRUE(rig.until([&] { return published.has_value(); }, 1min));
  EXPECT_FALSE(published->ok());
}

// It has one replica: no other node can serve it.
TEST(LateRequests, AVolumeIsServedWhileItsFormerTargetMayStillBeMade) {
  AgentRig rig;
  rig.add_node("n1");
  const Uuid v = rig.create_volume("v", 1).uuid;
  rig.engines.trouble("n1").slow = 50s;  // the call takes 30 s at most
  PublishVolume request;
  request.volume = v;
  EXPECT_EQ(rig.refused(rig.agent->publish_volume(request)), Kind::deadline_exceeded) << rig.last_refusal;
  rig.engines.trouble("n1").slow = Nanos(0);
  ASSERT_TRUE(rig.until([&] { return rig.agent->observed().node_known("n1"); }, 10s));
  const auto served = rig.run(rig.agent->publish_volume(request));
  ASSERT_TRUE(served.ok()) << served.error().message();
  rig.write_all(v);
  const Uuid ours = rig.spec(v).target->nexus;
  EXPECT_TRUE(rig.until([&] { return rig.agent->specs().nexuses.size() == 1; }, 3min));
  const auto& nexuses = rig.engines.fleet().machine("n1").nexuses;
  EXPECT_EQ(nexuses.size(), 1u);
  EXPECT_TRUE(nexuses.contains(ours));
}

}  // namespace
}  // namespace holdfast::control
