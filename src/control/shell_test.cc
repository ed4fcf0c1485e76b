// What users ask, one after the other, and what comes of it on engines.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/testing/shell/rig.h"
#include "store/keys.h"

namespace holdfast::control {
namespace {

using fake::AgentRig;
using fake::gib;
using fake::node_of;
using fake::NodesRig;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(Shell, AVolumeIsMadePublishedFaultedRepairedUnpublishedAndDeleted) {
  NodesRig rig;
  const Uuid v = rig.create_volume("v", 2).uuid;
  EXPECT_EQ(rig.status(v), VolumeStatus::online);
  const VolumeView published = rig.publish(v);
  EXPECT_THAT(published.state.target->device_uri, HasSubstr(v.to_string()));
  rig.write_all(v);
  const NodeId other = published.spec.target->node == "n1" ? "n2" : "n1";
  rig.engines.fleet().set_pool_failed(other, other + "-a", true);
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::degraded; }));
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::online; }));
  EXPECT_THAT(rig.pools_of(v), ::testing::Contains("n3-a"));
  rig.must(rig.agent->unpublish_volume(v, false));
  EXPECT_EQ(rig.status(v), VolumeStatus::online);
  rig.engines.fleet().set_pool_failed(other, other + "-a", false);
  rig.engines.fleet().give_up(v.to_string());
  rig.must(rig.agent->delete_volume(v));
  EXPECT_EQ(rig.refused(rig.agent->delete_volume(v)), Kind::not_found);
  EXPECT_TRUE(rig.until([&] { return rig.is_clean() && rig.agent->specs().replicas.empty(); }));
  EXPECT_THAT(rig.engines.fleet().violations(), IsEmpty());
}

TEST(Shell, AnAgentWithNothingToDoLooksSeldom) {
  NodesRig rig;
  for (const char* name : {"u", "v", "w"}) rig.publish(rig.create_volume(name, 2).uuid);
  rig.world.run_for(2min);
  const std::uint64_t before = rig.agent->passes();
  rig.world.run_for(10min);
  EXPECT_LE(rig.agent->passes() - before, 10min / Options().reconcile_idle_period + 1);
}

TEST(Shell, WhatWaitsForATimeIsDoneThen) {
  NodesRig rig;
  const Uuid v = rig.create_volume("v", 2).uuid;
  const VolumeView published = rig.publish(v, "n1");
  rig.write_all(v);
  NodeId other;
  for (const PoolId& pool : rig.pools_of(v)) {
    if (pool != "n1-a") other = node_of(pool);
  }
  rig.engines.fleet().set_pool_failed(other, other + "-a", true);
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::degraded; }));
  const Nanos since = rig.world.now();
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::online; }));
  EXPECT_LT(rig.world.now() - since, Nanos(Policy().faulted_wait) + 10s);
}

TEST(Shell, AVolumeGrowsFromOneReplicaToThreeAndBackWhileInUse) {
  NodesRig rig;
  const Uuid v = rig.create_volume("v", 1).uuid;
  rig.publish(v);
  rig.write_all(v);
  for (const std::uint32_t count : {2U, 3U}) {
    rig.must(rig.agent->set_replica_count(v, count));
    ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::online; }));
    EXPECT_EQ(rig.volume(v).state.target->children.size(), count);
    rig.write_all(v);
  }
  for (const std::uint32_t count : {2U, 1U}) {
    rig.must(rig.agent->set_replica_count(v, count));
    EXPECT_EQ(rig.volume(v).state.target->children.size(), count);
    EXPECT_EQ(rig.status(v), VolumeStatus::online);
    rig.write_all(v);
  }
  EXPECT_TRUE(rig.until([&] { return rig.is_clean(); }));
  EXPECT_THAT(rig.engines.fleet().violations(), IsEmpty());
}

TEST(Shell, AReplicaThatCannotBeTakenInIsMadeElsewhere) {
  AgentRig rig;
  rig.add_node("n1");
  rig.add_node("n2");
  const Uuid v = rig.create_volume("v", 1).uuid;
  const NodeId home = node_of(rig.pools_of(v).front());
  const NodeId other = home == "n1" ? "n2" : "n1";
  rig.publish(v);
  rig.write_all(v);
  rig.engines.fleet().cut("n1", "n2", true);  // for data: both answer the agent
  rig.must(rig.agent->set_replica_count(v, 2));
  rig.add_node("n3");
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::online; }));
  EXPECT_THAT(rig.pools_of(v), ElementsAre(home + "-a", "n3-a"));
  const auto events = rig.agent->events().since(0);
  EXPECT_TRUE(std::any_of(events.begin(), events.end(), [&](const Event& e) {
    return e.text.find("failed 8 times to take it in") != std::string::npos;
  }));
  rig.engines.fleet().cut("n1", "n2", false);
  EXPECT_TRUE(rig.until([&] { return rig.is_clean(); }));
  EXPECT_THAT(rig.engines.fleet().violations(), IsEmpty());
}

TEST(Shell, NoReplicaIsAddedWhileAsManyRebuildsRunAsMay) {
  Options options;
  options.policy.rebuilds_max = 1;
  NodesRig rig(3, options);
  const Uuid v = rig.create_volume("v", 1).uuid;
  const Uuid w = rig.create_volume("w", 1).uuid;
  rig.publish(v);
  rig.publish(w);
  rig.write_all(v);
  rig.must(rig.agent->set_replica_count(v, 2));
  ASSERT_TRUE(rig.until([&] { return rig.volume(v).state.target->rebuilds == 1; }));
  EXPECT_EQ(rig.refused(rig.agent->set_replica_count(w, 2)), Kind::resource_exhausted);
  EXPECT_THAT(rig.last_refusal, HasSubstr("1 rebuilds run in the cluster, 1 are allowed at once"));
  EXPECT_EQ(rig.agent->specs().volumes.at(w).num_replicas, 1U);
  MoveReplica move;
  move.volume = w;
  move.replica = rig.volume(w).state.replicas.begin()->first;
  EXPECT_EQ(rig.refused(rig.agent->move_replica(move)), Kind::resource_exhausted);
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::online; }));
  rig.must(rig.agent->set_replica_count(w, 2));
}

TEST(Shell, ReplicasThatComeBackTogetherAreRebuiltOneAfterTheOther) {
  Options options;
  options.policy.rebuilds_max = 1;
  NodesRig rig(3, options);
  std::vector<Uuid> volumes;
  for (const char* name : {"u", "v", "w", "x"}) {
    volumes.push_back(rig.create_volume(name, 3).uuid);
    rig.publish(volumes.back(), name < std::string("w") ? "n1" : "n2");
  }
  rig.engines.fleet().set_pool_failed("n3", "n3-a", true);
  for (const Uuid& v : volumes) rig.write_all(v);
  const auto all = [&](VolumeStatus status) {
    return std::all_of(volumes.begin(), volumes.end(),
                       [&](const Uuid& v) { return rig.status(v) == status; });
  };
  ASSERT_TRUE(rig.until([&] { return all(VolumeStatus::degraded); }));
  rig.engines.fleet().set_pool_failed("n3", "n3-a", false);
  std::uint64_t most = 0;
  ASSERT_TRUE(rig.until([&] {
    std::uint64_t running = 0;
    for (const Uuid& v : volumes) running += rig.volume(v).state.target->rebuilds;
    most = std::max(most, running);
    return all(VolumeStatus::online);
  }));
  EXPECT_EQ(most, 1U);
  EXPECT_THAT(rig.engines.fleet().violations(), IsEmpty());
}

TEST(Shell, AVolumeGrowsPublishedAndNot) {
  NodesRig rig;
  const Uuid v = rig.create_volume("v", 2).uuid;
  rig.must(rig.agent->resize_volume(v, 2 * gib));
  rig.publish(v);
  const VolumeView grown = rig.must(rig.agent->resize_volume(v, 3 * gib));
  EXPECT_EQ(grown.spec.size_bytes, 3 * gib);
  EXPECT_EQ(grown.state.target->size_bytes, 3 * gib);
  EXPECT_EQ(rig.status(v), VolumeStatus::online);
}

TEST(Shell, ASnapshotIsTakenRestoredClonedAndDeleted) {
  NodesRig rig;
  const Uuid v = rig.create_volume("v", 2, gib, true).uuid;
  rig.publish(v);
  rig.write_all(v);
  const Uuid s = Uuid::from_name("s");
  rig.must(rig.agent->create_snapshot(v, s));
  EXPECT_EQ(rig.refused(rig.agent->create_snapshot(v, s)), Kind::already_exists);
  EXPECT_TRUE(rig.until([&] { return rig.agent->snapshot(s, v).value().parts.size() == 2; }));
  auto request = AgentRig::volume_request("restored", 2, gib, true);
  const VolumeView restored = rig.must(rig.agent->restore_snapshot(s, request));
  EXPECT_EQ(restored.spec.content_source->snapshot, s);
  rig.publish(restored.spec.uuid);
  request = AgentRig::volume_request("wrong", 2, 2 * gib, true);
  EXPECT_EQ(rig.refused(rig.agent->restore_snapshot(s, request)), Kind::out_of_range);
  request = AgentRig::volume_request("wrong", 2, gib, false);
  EXPECT_EQ(rig.refused(rig.agent->restore_snapshot(s, request)), Kind::invalid_argument);
  request = AgentRig::volume_request("wrong", 3, gib, true);
  EXPECT_EQ(rig.refused(rig.agent->restore_snapshot(s, request)), Kind::failed_precondition);
  rig.must(rig.agent->clone_volume(v, AgentRig::volume_request("clone", 2)));
  EXPECT_EQ(rig.refused(rig.agent->delete_pool(rig.pools_of(v)[0], std::nullopt)), Kind::in_use);
  rig.must(rig.agent->delete_snapshot(s, v));
  EXPECT_EQ(rig.agent->snapshots(std::nullopt, std::nullopt, {}).entries.size(), 0u);
  EXPECT_THAT(rig.engines.fleet().violations(), IsEmpty());
}

TEST(Shell, AReplicaMovesWhileInUse) {
  NodesRig rig;
  const Uuid v = rig.create_volume("v", 2).uuid;
  rig.publish(v, "n1");
  rig.write_all(v);
  MoveReplica request;
  request.volume = v;
  for (const auto& [id, r] : rig.volume(v).state.replicas) {
    if (*r.pool == "n2-a") request.replica = id;
  }
  rig.must(rig.agent->move_replica(request));
  ASSERT_TRUE(rig.until([&] { return rig.agent->specs().volumes.at(v).moves.empty(); }));
  EXPECT_THAT(rig.pools_of(v), ElementsAre("n1-a", "n3-a"));
  EXPECT_EQ(rig.status(v), VolumeStatus::online);
  EXPECT_TRUE(rig.until([&] { return rig.is_clean(); }));
  EXPECT_THAT(rig.engines.fleet().violations(), IsEmpty());
}

TEST(Shell, ADrainedNodeIsEmptied) {
  NodesRig rig;
  const Uuid v = rig.create_volume("v", 2).uuid;
  rig.publish(v, "n1");
  rig.write_all(v);
  rig.must(rig.agent->drain_node("n1", "upgrade", true));
  ASSERT_TRUE(rig.until([&] { return rig.agent->specs().nodes.at("n1").drained; }));
  EXPECT_NE(rig.agent->specs().volumes.at(v).target->node, "n1");
  EXPECT_THAT(rig.pools_of(v), ElementsAre("n2-a", "n3-a"));
  EXPECT_EQ(rig.refused(rig.agent->drain_node("n1", "", true)), Kind::invalid_argument);
  rig.must(rig.agent->uncordon_node("n1", "upgrade"));
  EXPECT_EQ(rig.refused(rig.agent->uncordon_node("n1", "upgrade")), Kind::failed_precondition);
  EXPECT_THAT(rig.engines.fleet().violations(), IsEmpty());
}

TEST(Shell, AnEngineThatWasStartedAgainGetsBackWhatItHad) {
  NodesRig rig;
  const Uuid v = rig.create_volume("v", 2).uuid;
  rig.publish(v, "n1");
  rig.write_all(v);
  rig.engines.fleet().crash("n1");
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::unknown; }));
  rig.engines.fleet().start("n1", false);
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::online; }));
  rig.write_all(v);
  EXPECT_THAT(rig.engines.fleet().violations(), IsEmpty());
  // It was told that the target is back, so nothing is waited for.
  rig.must(rig.agent->unpublish_volume(v, false));
  EXPECT_THAT(rig.agent->nexuses(), IsEmpty());
  EXPECT_TRUE(rig.agent->specs().nexuses.empty());
}

TEST(Shell, EnginesTellOnlyWhatIsNews) {
  NodesRig rig;
  const Uuid v = rig.create_volume("v", 2).uuid;
  rig.publish(v, node_of(rig.pools_of(v)[0]));
  rig.write_all(v);
  rig.world.run_for(30s);
  const auto whole_reports = [&] {
    std::uint64_t sum = 0;
    for (const auto& [id, machine] : rig.engines.fleet().machines()) sum += machine.whole_reports;
    return sum;
  };
  const std::uint64_t calls = rig.engines.calls();
  const std::uint64_t before = whole_reports();
  rig.world.run_for(60s);
  EXPECT_EQ(whole_reports(), before);
  EXPECT_GE(rig.engines.calls() - calls, 3U * 10);
  // Nobody but its engine knows of this.
  rig.engines.fleet().set_pool_failed(node_of(rig.pools_of(v)[1]), rig.pools_of(v)[1], true);
  EXPECT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::degraded; }, 15s));
  EXPECT_GT(whole_reports(), before);
}

TEST(Shell, PoolsThatRefuseAreAskedLessAndLessOften) {
  NodesRig rig;
  const Uuid v = rig.create_volume("v", 2).uuid;
  rig.publish(v, "n1");
  rig.write_all(v);
  const NodeId lost = node_of(rig.pools_of(v).back());
  const NodeId spare = lost == "n2" ? "n3" : "n2";
  rig.engines.fleet().set_pool_refusing(spare, spare + "-a", true);
  rig.engines.fleet().set_pool_failed(lost, lost + "-a", true);
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::degraded; }));
  const auto tries = [&] {
    const auto events = rig.agent->events().since(0);
    return std::count_if(events.begin(), events.end(), [&](const Event& e) {
      return e.text.find("gets a replica on pool " + spare) != std::string::npos;
    });
  };
  ASSERT_TRUE(rig.until([&] { return tries() > 0; }));
  rig.world.run_for(std::chrono::minutes(10));
  EXPECT_GE(tries(), 10);
  EXPECT_LE(tries(), 40);
  rig.engines.fleet().set_pool_refusing(spare, spare + "-a", false);
  EXPECT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::online; }));
}

TEST(Shell, ATargetThatIsLostIsReplacedAndItsLeftoversGo) {
  NodesRig rig;
  const Uuid v = rig.create_volume("v", 3).uuid;
  rig.publish(v, "n1");
  rig.write_all(v);
  rig.engines.fleet().crash("n1");
  ASSERT_TRUE(rig.until([&] { return !rig.agent->observed().node_online("n1"); }));
  PublishVolume request;
  request.volume = v;
  request.republish = true;
  const VolumeView moved = rig.must(rig.agent->publish_volume(request));
  EXPECT_NE(moved.spec.target->node, "n1");
  rig.write_all(v);
  rig.must(rig.agent->destroy_shutdown_targets(v));  // that of n1 goes when n1 is back
  rig.engines.fleet().start("n1", true);
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::online && rig.is_clean(); }));
  EXPECT_THAT(rig.engines.fleet().violations(), IsEmpty());
}

TEST(Shell, AVolumeThatIsSharedKeepsItsHost) {
  NodesRig rig;
  const Uuid v = rig.create_volume("v", 2).uuid;
  PublishVolume request;
  request.volume = v;
  request.frontend_node = "a";
  rig.must(rig.agent->publish_volume(request));
  EXPECT_EQ(rig.refused(rig.agent->share_volume(v, Protocol::nvmf, "b")), Kind::already_shared);
  EXPECT_EQ(rig.refused(rig.agent->share_volume(v, Protocol::nvmf, "")), Kind::already_shared);
  EXPECT_EQ(rig.refused(rig.agent->share_volume(v, Protocol::nvmf, "nqn.a,nqn.b")), Kind::invalid_argument);
  rig.must(rig.agent->share_volume(v, Protocol::nvmf, "a"));
  EXPECT_THAT(rig.agent->specs().nexuses.at(rig.spec(v).target->nexus).allowed_hosts,
              ElementsAre("nqn.2019-05.io.openebs:node-name:a"));
}

TEST(Shell, ATargetThatItsEngineHasLostIsMadeAgainWhereItWas) {
  NodesRig rig;
  const Uuid v = rig.create_volume("v", 1).uuid;
  rig.publish(v);
  rig.write_all(v);
  const VolumeTarget before = *rig.spec(v).target;
  fake::Fleet& fleet = rig.engines.fleet();
  ASSERT_TRUE(fleet.destroy_nexus(fleet.machine(before.node), before.nexus).ok());
  ASSERT_TRUE(rig.until([&] { return !rig.agent->observed().nexuses.contains(before.nexus); }));
  PublishVolume request;
  request.volume = v;
  request.republish = true;
  const VolumeView again = rig.must(rig.agent->publish_volume(request));
  EXPECT_EQ(again.spec.target->node, before.node);
  EXPECT_EQ(again.spec.target->nexus, before.nexus);
  rig.write_all(v);
}

TEST(Shell, AReplicaIsAddedOnlyWhereAllThatIsWrittenHasRoom) {
  NodesRig rig;
  const Uuid v = rig.create_volume("v", 1, 8 * gib, true).uuid;
  rig.publish(v);
  rig.write_all(v);
  const Uuid replica = rig.replica_on(v, node_of(rig.pools_of(v).front()));
  ASSERT_TRUE(
      rig.until([&] { return rig.agent->observed().replicas.at(replica).space.allocated_bytes == 8 * gib; }));
  rig.create_volume("w", 2, 5 * gib);  // half of the other two pools
  EXPECT_EQ(rig.refused(rig.agent->set_replica_count(v, 2)), Kind::resource_exhausted);
}

TEST(Shell, ARestoredVolumeIsPutWhereNewReplicasMayBe) {
  NodesRig rig;
  const Uuid v = rig.create_volume("v", 2, gib, true).uuid;
  rig.publish(v);
  rig.write_all(v);
  const Uuid s = Uuid::from_name("s");
  rig.must(rig.agent->create_snapshot(v, s));
  ASSERT_TRUE(rig.until([&] { return rig.agent->snapshot(s, v).value().parts.size() == 2; }));
  const PoolId first = rig.pools_of(v).front(), second = rig.pools_of(v).back();
  const auto two = AgentRig::volume_request("two", 2, gib, true);
  rig.must(rig.agent->cordon_node(node_of(first), "work"));
  EXPECT_EQ(rig.refused(rig.agent->restore_snapshot(s, two)), Kind::resource_exhausted);
  EXPECT_THAT(rig.last_refusal, HasSubstr("cordoned (work)"));
  rig.must(rig.agent->restore_snapshot(s, AgentRig::volume_request("one", 1, gib, true)));
  EXPECT_THAT(rig.pools_of(Uuid::from_name("one")), ElementsAre(second));
  rig.must(rig.agent->uncordon_node(node_of(first), "work"));
  rig.must(rig.agent->cordon_pool(first, "work"));
  EXPECT_EQ(rig.refused(rig.agent->restore_snapshot(s, two)), Kind::resource_exhausted);
  rig.must(rig.agent->uncordon_pool(first, "work"));
  rig.must(rig.agent->restore_snapshot(s, two));
}

TEST(Shell, AnotherAgentGoesOnWhereThisOneStopped) {
  NodesRig rig;
  const Uuid v = rig.create_volume("v", 2).uuid;
  rig.publish(v);
  const auto volumes = rig.agent->specs().volumes;
  const auto replicas = rig.agent->specs().replicas;
  rig.stop_agent();
  rig.start_agent();
  EXPECT_EQ(rig.agent->specs().volumes, volumes);
  EXPECT_EQ(rig.agent->specs().replicas, replicas);
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::online; }));
}

TEST(Shell, RecordsOfANewerProgramAreLeftAlone) {
  AgentRig rig;
  const std::string key = store::Keys::of_cluster(Options().cluster).value().schema();
  const auto noted = rig.must(rig.kv.range(store::RangeRequest(key)));
  ASSERT_EQ(noted.kvs.size(), 1u) << "who leads says how its records are laid out";
  rig.stop_agent();
  rig.must(rig.kv.put(store::PutRequest(key, R"({"schema":99})")));
  rig.start_agent();
  EXPECT_FALSE(rig.agent->leading());
  rig.must(rig.kv.put(store::PutRequest(key, noted.kvs.front().value)));
  EXPECT_TRUE(rig.until([&] { return rig.agent->leading(); }));
}

TEST(Shell, ANodeThatIsGoneIsPurgedWithAPreview) {
  NodesRig rig;
  const Uuid kept = rig.create_volume("kept", 2).uuid;
  const Uuid lost = rig.create_volume("lost", 1).uuid;
  const PoolId pool = rig.pools_of(lost)[0];
  const NodeId node = node_of(pool);
  EXPECT_EQ(rig.refused(rig.agent->delete_node(node, std::nullopt)), Kind::in_use);
  rig.engines.fleet().crash(node);
  ASSERT_TRUE(rig.until([&] { return !rig.agent->observed().node_online(node); }));
  EXPECT_EQ(rig.refused(rig.agent->delete_node(node, std::nullopt)), Kind::failed_precondition);
  const Impact impact = rig.agent->purge_node_impact(node).value();
  EXPECT_THAT(impact.lost_volumes, ElementsAre(lost));
  EXPECT_EQ(rig.refused(rig.agent->delete_node(node, Purge())), Kind::failed_precondition);
  rig.must(rig.agent->delete_node(node, Purge{true, true}));
  EXPECT_EQ(rig.refused(rig.agent->delete_node(node, std::nullopt)), Kind::not_found);
  EXPECT_FALSE(rig.agent->specs().volumes.contains(lost));
  EXPECT_TRUE(rig.agent->specs().volumes.contains(kept));
  // Back, with what nobody knows any more.
  rig.engines.fleet().start(node, true);
  rig.must(rig.agent->register_node(rig.engines.fleet().registration(rig.engines.fleet().machine(node))));
  ASSERT_TRUE(
      rig.until([&] { return !rig.agent->replicas().empty() && rig.agent->observed().node_known(node); }));
  const auto& seen = rig.agent->observed().replicas;
  const auto stray =
      std::find_if(seen.begin(), seen.end(), [&](const auto& r) { return r.second.node == node; });
  ASSERT_NE(stray, seen.end());
  EXPECT_EQ(rig.refused(rig.agent->delete_replica(stray->first, std::nullopt, std::nullopt)),
            Kind::not_found);
  EXPECT_THAT(rig.last_refusal, HasSubstr("'holdfast adopt' brings its volume back"));
}

TEST(Shell, PagesGoOnBehindWhatWasShown) {
  NodesRig rig;
  for (const char* name : {"a", "b", "c", "d", "e"}) rig.create_volume(name, 1, gib / 4);
  PageRequest request;
  request.max_entries = 2;
  const auto first = rig.agent->volumes(request);
  ASSERT_EQ(first.entries.size(), 2u);
  rig.must(rig.agent->delete_volume(Uuid::from_name("a")));
  request.starting_token = *first.next;
  const auto second = rig.agent->volumes(request);
  ASSERT_EQ(second.entries.size(), 2u);
  EXPECT_EQ(second.entries[0].spec.uuid, Uuid::from_name("c"));
  request.starting_token = 3;
  EXPECT_EQ(rig.agent->volumes(request).entries.size(), 1u);
  request.starting_token = 99;
  EXPECT_THAT(rig.agent->volumes(request).entries, IsEmpty());
  EXPECT_FALSE(rig.agent->volumes(request).next);
}

TEST(Shell, ATargetThatItsEngineHasLostGoesWhereItIsAskedFor) {
  NodesRig rig;
  const Uuid v = rig.create_volume("v", 2).uuid;
  rig.publish(v, "n1");
  rig.write_all(v);
  const VolumeTarget before = *rig.spec(v).target;
  const auto pools = rig.pools_of(v);
  fake::Fleet& fleet = rig.engines.fleet();
  for (const PoolId& p : pools) fleet.set_pool_failed(node_of(p), p, true);  // the reconciler backs off
  ASSERT_TRUE(fleet.destroy_nexus(fleet.machine("n1"), before.nexus).ok());
  rig.world.run_for(3min);
  for (const PoolId& p : pools) fleet.heal_pool(node_of(p), p);
  const auto are_back = [&] {
    const auto& seen = rig.agent->observed().pools;
    return std::all_of(pools.begin(), pools.end(),
                       [&](const PoolId& p) { return seen.at(p).status == PoolStatus::online; });
  };
  ASSERT_TRUE(rig.until(are_back));
  ASSERT_FALSE(rig.agent->observed().nexuses.contains(before.nexus));
  PublishVolume request;
  request.volume = v;
  request.republish = true;
  request.node = "n3";
  EXPECT_EQ(rig.must(rig.agent->publish_volume(request)).spec.target->node, "n3");
}

TEST(Shell, ATargetThatItsEngineHasLostStaysWhereNoOtherNodeWillDo) {
  AgentRig rig;
  rig.add_node("n1");
  rig.add_node("n2", 0);
  const Uuid v = rig.create_volume("v", 1).uuid;
  rig.publish(v);
  rig.write_all(v);
  const VolumeTarget before = *rig.spec(v).target;
  fake::Fleet& fleet = rig.engines.fleet();
  fleet.set_pool_failed("n1", "n1-a", true);  // the reconciler backs off
  ASSERT_TRUE(fleet.destroy_nexus(fleet.machine("n1"), before.nexus).ok());
  rig.world.run_for(3min);
  fleet.heal_pool("n1", "n1-a");
  const auto is_back = [&] { return rig.agent->observed().pools.at("n1-a").status == PoolStatus::online; };
  ASSERT_TRUE(rig.until(is_back));
  PublishVolume request;
  request.volume = v;
  request.republish = true;
  request.node = "n2";
  EXPECT_EQ(rig.must(rig.agent->publish_volume(request)).spec.target->node, "n1");
}

}  // namespace
}  // namespace holdfast::control
