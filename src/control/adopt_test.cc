// Goal: a cluster whose store was lost is as it was before, after it was adopted, and serves the newest data.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/testing/shell/rig.h"
#include "store/backup.h"

namespace holdfast::control {
namespace {

using ::testing::IsEmpty;

struct Adoption : fake::NodesRig {
  // Every replica that can be reached says what its volume is now.
  bool all_said() {
    return until([&] {
      const Cluster now(agent->specs(), agent->observed(), Claims());
      std::size_t owned = 0;
      for (auto& [node, machine] : engines.fleet().machines()) {
        for (auto& [id, pool] : machine.pools) {
          for (auto& [uuid, copy] : pool.copies) {
            if (copy.is_snapshot || now.online_replica(uuid) == nullptr) continue;
            ++owned;
            if (copy.record.empty()) return false;
            const auto record = parse_record("", copy.record).value();
            const auto spec = agent->specs().volumes.find(record.volume.uuid);
            if (spec == agent->specs().volumes.end() || !(spec->second == record.volume)) return false;
            if (!(record.membership == agent->observed().memberships.at(spec->first))) return false;
          }
        }
      }
      return owned != 0;
    });
  }
  // The agent dies with its store, and another one begins with an empty one.
  void lose_store() {
    stop_agent();
    clear_store();
    start_again();
  }
  void clear_store() {
    const store::DeleteRequest everything(store::KeyRange::prefix("/"));
    const auto gone = store.state().delete_range(everything);
    HF_ASSERT(gone.ok());
    store.changed();
  }
  static store::Keys keys() { return store::Keys::of_cluster("default").value(); }
  store::Backup back_up() { return must(store::read_backup(kv, keys())); }
  // The agent dies with its store, another one gets what the backup says, and a node is back.
  void restore(store::Backup backup, const NodeId& back) {
    stop_agent();
    clear_store();
    must(store::restore(kv, keys(), std::move(backup), store::Overwrite::no));
    engines.fleet().start(back, true);
    start_again();
  }
  void start_again() {
    start_agent();
    for (auto& [node, machine] : engines.fleet().machines())
      if (machine.running) must(agent->register_node(engines.fleet().registration(machine)));
    until([&] {
      for (auto& [node, machine] : engines.fleet().machines())
        if (machine.running && !agent->observed().node_known(node)) return false;
      return true;
    });
  }
  AdoptReport adopt(bool dry_run = false) {
    AdoptRequest request;
    request.dry_run = dry_run;
    return must(agent->adopt(request));
  }
};

TEST(AdoptShell, AVolumeComesBackWithItsNewestDataAndItsSnapshots) {
  Adoption rig;
  const Uuid v = rig.create_volume("v", 3).uuid;
  rig.must(rig.agent->create_snapshot(v, Uuid::from_name("unpublished")));
  rig.publish(v, "n1");
  rig.write_all(v);
  rig.must(rig.agent->create_snapshot(v, Uuid::from_name("published")));
  ASSERT_TRUE(rig.all_said());
  rig.engines.fleet().crash("n3");
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::degraded; }));
  rig.write_all(v);  // n3 misses it
  rig.must(rig.agent->unpublish_volume(v, false));
  ASSERT_TRUE(rig.all_said());
  const VolumeSpec before = rig.agent->specs().volumes.at(v);
  rig.engines.fleet().start("n3", true);
  rig.lose_store();
  EXPECT_THAT(rig.agent->specs().volumes, IsEmpty());
  EXPECT_TRUE(rig.adopt(true).dry_run);
  EXPECT_THAT(rig.agent->specs().pools, IsEmpty());

  const AdoptReport report = rig.adopt();
  EXPECT_EQ(rig.agent->specs().volumes.at(v), before);
  EXPECT_EQ(rig.agent->specs().pools.size(), 3U);
  EXPECT_EQ(rig.agent->specs().replicas.size(), 3U);
  EXPECT_EQ(rig.agent->specs().snapshots.size(), 2U);
  for (const Finding& f : report.findings) {
    EXPECT_EQ(f.verdict, Verdict::adopted) << f.kind << " " << f.id << " " << f.why;
    if (f.kind == "volume") {
      EXPECT_EQ(f.stale.size(), 1U);
    }
  }
  // The fleet notices a target that is opened on a replica that misses something.
  rig.publish(v, "n3");
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::online; }));
  rig.write_all(v);
  for (const Finding& f : rig.adopt().findings) EXPECT_EQ(f.verdict, Verdict::present) << f.kind << f.id;
  EXPECT_THAT(rig.engines.fleet().violations(), IsEmpty());
  rig.must(rig.agent->delete_snapshot(Uuid::from_name("published"), v));
  rig.must(rig.agent->delete_snapshot(Uuid::from_name("unpublished"), v));
}

TEST(AdoptShell, ATargetThatServesGoesOn) {
  Adoption rig;
  const Uuid v = rig.create_volume("v", 2).uuid;
  rig.publish(v);
  rig.write_all(v);
  ASSERT_TRUE(rig.all_said());
  const VolumeSpec before = rig.agent->specs().volumes.at(v);
  rig.lose_store();
  rig.adopt();
  EXPECT_EQ(rig.agent->specs().volumes.at(v), before);
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::online; }));
  rig.write_all(v);
  // Its next change of the membership finds the record to be its own.
  const NodeId other = rig.pools_of(v).front() == before.target->node + "-a" ? rig.pools_of(v).back()
                                                                             : rig.pools_of(v).front();
  const NodeId node = rig.agent->specs().pools.at(other).node;
  rig.engines.fleet().crash(node);
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::degraded; }));
  rig.write_all(v);
  EXPECT_THAT(rig.engines.fleet().violations(), IsEmpty());
}

// Who has all data may have changed since the backup: that is told by the replicas, not by what was backed up.
TEST(AdoptShell, AnOldBackupMakesNoStaleReplicaHealthy) {
  Adoption rig;
  const Uuid v = rig.create_volume("v", 3).uuid;
  const store::Backup backup = rig.back_up();
  rig.publish(v, "n1");
  rig.write_all(v);
  ASSERT_TRUE(rig.all_said());
  rig.engines.fleet().crash("n3");
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::degraded; }));
  rig.write_all(v);  // n3 misses it
  rig.must(rig.agent->unpublish_volume(v, false));
  ASSERT_TRUE(rig.all_said());
  rig.restore(backup, "n3");
  PublishVolume request;
  request.volume = v;
  EXPECT_EQ(rig.refused(rig.agent->publish_volume(request)), Kind::failed_precondition);
  EXPECT_THAT(rig.last_refusal, ::testing::HasSubstr("holdfast adopt"));

  ASSERT_TRUE(rig.until([&] { return rig.agent->observed().replicas.size() == 3; }));
  const AdoptReport report = rig.adopt();
  for (const Finding& f : report.findings) {
    if (f.kind != "volume") continue;
    EXPECT_EQ(f.verdict, Verdict::adopted) << f.why;
    EXPECT_EQ(f.in_sync.size(), 2U);
    EXPECT_EQ(f.stale.size(), 1U);
  }
  rig.publish(v, "n3");
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::online; }));
  rig.write_all(v);
  EXPECT_THAT(rig.engines.fleet().violations(), IsEmpty());
}

TEST(AdoptShell, NothingIsAdoptedOverAConflict) {
  Adoption rig;
  const Uuid v = rig.create_volume("v", 2).uuid;
  const Uuid w = rig.create_volume("w", 1).uuid;
  ASSERT_TRUE(rig.all_said());
  rig.lose_store();
  rig.adopt();
  rig.must(rig.agent->resize_volume(v, std::uint64_t{2} << 30));
  // Records of before the change, as of disks that were away.
  for (auto& [node, machine] : rig.engines.fleet().machines()) {
    for (auto& [id, pool] : machine.pools) {
      for (auto& [uuid, copy] : pool.copies) {
        auto record = parse_record("", copy.record).value();
        record.volume.num_replicas = 5;
        copy.record = to_json(record);
      }
    }
  }
  AdoptRequest request;
  EXPECT_EQ(rig.refused(rig.agent->adopt(request)), Kind::failed_precondition);
  EXPECT_THAT(rig.last_refusal, ::testing::HasSubstr("the store has another specification of it"));
  request.skip_conflicts = true;
  rig.must(rig.agent->adopt(request));
  EXPECT_EQ(rig.agent->specs().volumes.at(w).num_replicas, 1U);
}

TEST(AdoptShell, APoolWithReplicasThatNobodyKnowsIsNotDeleted) {
  Adoption rig;
  const Uuid v = rig.create_volume("v", 1).uuid;
  rig.publish(v);
  rig.write_all(v);
  const PoolId pool = rig.pools_of(v).front();
  rig.must(rig.agent->unpublish_volume(v, false));
  ASSERT_TRUE(rig.all_said());
  rig.lose_store();
  CreatePool again;
  again.pool = pool;
  again.node = fake::node_of(pool);
  again.disks = {"/dev/" + pool};
  rig.must(rig.agent->create_pool(again));
  EXPECT_EQ(rig.refused(rig.agent->delete_pool(pool, std::nullopt)), Kind::in_use);
  EXPECT_THAT(rig.last_refusal, ::testing::HasSubstr("holdfast adopt"));
  rig.adopt();
  rig.publish(v);
  rig.write_all(v);
}

TEST(AdoptShell, ABackupThatSawAPoolGoDestroysNoneOfItsName) {
  Adoption rig;
  rig.engines.trouble("n3").cut = true;
  (void)rig.refused(rig.agent->delete_pool("n3-a", std::nullopt));  // wanted; its engine was not reached
  const store::Backup backup = rig.back_up();
  rig.engines.trouble("n3").cut = false;
  ASSERT_TRUE(rig.until([&] { return !rig.agent->specs().pools.contains("n3-a"); }));
  CreatePool again;
  again.pool = "n3-a";
  again.node = "n3";
  again.disks = {"/dev/n3-a"};
  rig.must(rig.agent->create_pool(again));
  const Uuid v = rig.create_volume("v", 3).uuid;
  ASSERT_TRUE(rig.all_said());
  rig.restore(backup, "n3");
  rig.world.run_for(1min);
  ASSERT_TRUE(rig.engines.fleet().machine("n3").pools.contains("n3-a"));
  rig.adopt();
  EXPECT_EQ(rig.pools_of(v).size(), 3U);
}

TEST(AdoptShell, AReplicaThatWasLetGoOfWhileItsNodeWasAwayIsNoContradiction) {
  Adoption rig;
  const Uuid v = rig.create_volume("v", 3).uuid;
  ASSERT_TRUE(rig.all_said());
  rig.engines.fleet().crash("n3");
  ASSERT_TRUE(rig.until([&] { return !rig.agent->observed().node_online("n3"); }));
  rig.must(rig.agent->set_replica_count(v, 2));
  ASSERT_TRUE(rig.until([&] { return rig.pools_of(v).size() == 2; }));
  ASSERT_TRUE(rig.all_said());
  rig.stop_agent();
  rig.clear_store();
  rig.engines.fleet().start("n3", true);
  rig.start_again();
  AdoptRequest request;
  const auto report = rig.run(rig.agent->adopt(request));
  ASSERT_TRUE(report.ok()) << report.error().message();
  EXPECT_THAT(rig.pools_of(v), ::testing::ElementsAre("n1-a", "n2-a"));
}

}  // namespace
}  // namespace holdfast::control
