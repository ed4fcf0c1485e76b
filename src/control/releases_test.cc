// What a volume lets go of, and what is never let go of.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/testing/shell/rig.h"

namespace holdfast::control {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct ReleasesRig : fake::NodesRig {
  // A volume on n1 and n2.
  Uuid two_replicas(const std::string& name = "v") {
    must(agent->cordon_node("n3", "later"));
    const Uuid v = create_volume(name, 2).uuid;
    must(agent->uncordon_node("n3", "later"));
    return v;
  }
  bool has_copy(const NodeId& node) {
    return !engines.fleet().machine(node).pools.begin()->second.copies.empty();
  }
  std::size_t members(const Uuid& v) { return run(read(v)); }
  template <class T>
  Task<void> keep(Task<T> work, std::optional<T>& into) {
    into.emplace(co_await work);
  }
  Task<std::size_t> read(Uuid v) {
    store::RangeRequest request("/holdfast/v1/clusters/default/volume/" + v.to_string() + "/membership");
    const auto found = co_await kv.range(std::move(request));
    co_return nexus::parse_record(found.value().kvs.at(0).value).value().children.size();
  }
};

// The target's node was online when it was last heard of.
TEST(Releases, NothingGoesOnTheWordOfANodeThatHasJustDied) {
  ReleasesRig rig;
  const Uuid v = rig.two_replicas();
  rig.publish(v, "n1");
  rig.write_all(v);
  rig.engines.fleet().crash("n1");
  ASSERT_TRUE(rig.agent->observed().node_online("n1"));
  rig.must(rig.agent->set_replica_count(v, 1));
  rig.world.run_for(5min);
  EXPECT_TRUE(rig.has_copy("n1"));
  EXPECT_TRUE(rig.has_copy("n2"));
  rig.engines.fleet().destroy("n1");
  EXPECT_THAT(rig.engines.fleet().violations(), IsEmpty());
  rig.must(rig.agent->delete_node("n1", Purge()));
  rig.publish(v);
  rig.write_all(v);
  EXPECT_THAT(rig.pools_of(v), ElementsAre("n2-a"));
}

TEST(Releases, TheLastReplicaThatAnswersStaysWhenTheVolumeIsNotPublished) {
  ReleasesRig rig;
  const Uuid v = rig.two_replicas();
  rig.publish(v, "n1");
  rig.write_all(v);
  rig.must(rig.agent->unpublish_volume(v, false));
  rig.engines.fleet().set_pool_failed("n1", "n1-a", true);
  rig.must(rig.agent->set_replica_count(v, 1));
  rig.world.run_for(5min);
  EXPECT_TRUE(rig.has_copy("n2"));
  EXPECT_THAT(rig.engines.fleet().violations(), IsEmpty());
}

// What a purge would cost was accepted before it had to wait for another change.
TEST(Releases, APurgeTakesNoReplicaThatIsTheLastGoodOneByNow) {
  ReleasesRig rig;
  for (const char* name : {"v", "w"}) {
    const Uuid v = rig.two_replicas(name);
    rig.publish(v, "n1");
    rig.write_all(v);
  }
  const Uuid first = rig.agent->specs().volumes.begin()->first;
  const Uuid second = std::next(rig.agent->specs().volumes.begin())->first;
  rig.engines.trouble("n2").slow = 3s;
  std::optional<Result<VolumeView>> grown;
  rig.world.spawn(rig.reactor, rig.keep(rig.agent->resize_volume(first, 2 * fake::gib), grown));
  rig.world.run_for(100ms);
  std::optional<Status> purged;
  rig.world.spawn(rig.reactor, rig.keep(rig.agent->purge_pool("n1-a", Purge()), purged));
  rig.world.run_for(100ms);
  fake::Fleet& fleet = rig.engines.fleet();
  fleet.cut("n1", "n2", true);
  ASSERT_TRUE(fleet.write(fleet.machine("n1"), rig.spec(second).target->nexus, 0).ok());
  ASSERT_FALSE(purged);
  rig.engines.trouble("n2").slow = 0s;
  ASSERT_TRUE(rig.until([&] { return purged && grown; }));
  EXPECT_TRUE(grown->ok());
  ASSERT_FALSE(purged->ok());
  EXPECT_EQ(kind_of(purged->error()), Kind::failed_precondition) << purged->error().message();
  EXPECT_THAT(rig.pools_of(second), ElementsAre("n1-a", "n2-a"));
  fleet.cut("n1", "n2", false);
  ASSERT_TRUE(rig.until([&] { return rig.status(second) == VolumeStatus::online; }));
}

TEST(Releases, AReplicaLeavesTheRecordBeforeItGoes) {
  ReleasesRig rig;
  const Uuid v = rig.create_volume("v", 3).uuid;
  EXPECT_EQ(rig.members(v), 3u);
  rig.must(rig.agent->set_replica_count(v, 2));
  EXPECT_EQ(rig.members(v), 2u);
  rig.publish(v);
  rig.write_all(v);
  rig.must(rig.agent->set_replica_count(v, 1));
  EXPECT_EQ(rig.members(v), 1u);
  EXPECT_TRUE(rig.until([&] { return rig.is_clean(); }));
  rig.write_all(v);
  EXPECT_THAT(rig.engines.fleet().violations(), IsEmpty());
}

// As a request of an agent does which another one has replaced meanwhile.
TEST(Releases, ATargetThatWasFencedIsMadeAgain) {
  ReleasesRig rig;
  const Uuid v = rig.two_replicas();
  rig.publish(v, "n1");
  rig.write_all(v);
  fake::Fleet& fleet = rig.engines.fleet();
  fake::Machine& m = fleet.machine("n2");
  NewNexus late;
  late.nexus = Uuid::from_name("late");
  late.name = v.to_string();
  late.size_bytes = std::uint64_t{1} << 30;
  for (const auto& [id, pool] : m.pools) {
    for (const auto& [uuid, copy] : pool.copies)
      late.children = {"bdev:///" + copy.name + "?uuid=" + uuid.to_string()};
  }
  late.membership_key = "/holdfast/v1/clusters/default/volume/" + v.to_string() + "/membership";
  late.reservation_key = 7;
  ASSERT_TRUE(fleet.create_nexus(m, late).ok());
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::faulted; }));
  ASSERT_TRUE(fleet.destroy_nexus(m, late.nexus).ok());
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::online; }));
  rig.write_all(v);
  EXPECT_THAT(fleet.violations(), IsEmpty());
}

TEST(Releases, APurgeLeavesATargetAloneThatHasMovedMeanwhile) {
  ReleasesRig rig;
  const Uuid v = rig.two_replicas();
  rig.publish(v, "n1");
  rig.write_all(v);
  rig.engines.fleet().crash("n1");
  ASSERT_TRUE(rig.until([&] { return !rig.agent->observed().node_online("n1"); }));
  rig.engines.trouble("n2").slow = 3s;
  PublishVolume request;
  request.volume = v;
  request.republish = true;
  request.node = "n2";
  std::optional<Result<VolumeView>> moved;
  rig.world.spawn(rig.reactor, rig.keep(rig.agent->publish_volume(request), moved));
  rig.world.run_for(100ms);
  std::optional<Status> purged;
  rig.world.spawn(rig.reactor, rig.keep(rig.agent->delete_node("n1", Purge()), purged));
  rig.world.run_for(100ms);
  ASSERT_FALSE(moved || purged);
  rig.engines.trouble("n2").slow = 0s;
  ASSERT_TRUE(rig.until([&] { return moved && purged; }));
  EXPECT_TRUE(moved->ok());
  EXPECT_TRUE(purged->ok());
  ASSERT_TRUE(rig.spec(v).target);
  EXPECT_EQ(rig.spec(v).target->node, "n2");
  rig.write_all(v);
}

TEST(Releases, APurgeDeletesNoVolumeThatIsWholeElsewhereByNow) {
  ReleasesRig rig;
  const Uuid v = rig.two_replicas();
  rig.publish(v, "n3");
  rig.write_all(v);
  const Uuid two = rig.replica_on(v, "n2");
  fake::Fleet& fleet = rig.engines.fleet();
  fleet.cut("n3", "n2", true);
  ASSERT_TRUE(fleet.write(fleet.machine("n3"), rig.spec(v).target->nexus, 0).ok());
  ASSERT_TRUE(rig.until([&] { return !rig.agent->observed().memberships.at(v).healthy(two); }));
  fleet.cut("n3", "n2", false);
  ASSERT_TRUE(rig.until([&] {
    const auto nexus = rig.agent->observed().nexuses.find(rig.spec(v).target->nexus);
    const ChildState* child =
        nexus != rig.agent->observed().nexuses.end() ? nexus->second.find(two) : nullptr;
    return child != nullptr && child->rebuild_percent;
  }));
  rig.engines.trouble("n3").slow = 6s;  // whoever has the volume's guard waits for it
  std::optional<Result<std::string>> shared;
  rig.world.spawn(rig.reactor, rig.keep(rig.agent->share_volume(v, Protocol::nvmf, std::nullopt), shared));
  rig.world.run_for(20ms);
  std::optional<Status> purged;
  rig.world.spawn(rig.reactor, rig.keep(rig.agent->purge_pool("n1-a", Purge{true, false}), purged));
  rig.world.run_for(20ms);
  ASSERT_FALSE(purged);
  rig.engines.trouble("n3").slow = 0s;
  ASSERT_TRUE(rig.until([&] { return purged && shared; }));
  EXPECT_TRUE(purged->ok());
  EXPECT_TRUE(shared->ok());
  ASSERT_TRUE(rig.agent->specs().volumes.contains(v));
  rig.write_all(v);
}

}  // namespace
}  // namespace holdfast::control
