// New replicas get copies of snapshots: when, from whom, and what becomes of those that are interrupted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/testing/shell/rig.h"

namespace holdfast::control {
namespace {

using fake::gib;
using fake::node_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct FillRig : fake::NodesRig {
  using NodesRig::NodesRig;

  // Published on n1, with its replicas there and on the nodes behind it, everything written.
  Uuid used_volume(std::uint32_t replicas, const std::string& name = "v") {
    const Uuid v = create_volume(name, replicas, gib, true).uuid;
    publish(v, node_of(pools_of(v).front()));
    write_all(v);
    return v;
  }
  Uuid snap(const Uuid& volume, const std::string& name) {
    const Uuid s = Uuid::from_name(name);
    must(agent->create_snapshot(volume, s));
    write_all(volume);
    return s;
  }
  const SnapshotSpec& snapshot_spec(const Uuid& s) { return agent->specs().snapshots.at(s); }
  // The pools of the copies that are whole, sorted.
  std::vector<PoolId> copies(const Uuid& s) {
    std::vector<PoolId> pools;
    for (const auto& part : snapshot_spec(s).parts()) {
      if (part.status == SpecStatus::created) pools.push_back(part.pool);
    }
    std::sort(pools.begin(), pools.end());
    return pools;
  }
  const ReplicaSpec* filling() {
    for (const auto& [id, r] : agent->specs().replicas) {
      if (r.fill) return &r;
    }
    return nullptr;
  }
  bool fill_runs() {
    const ReplicaSpec* r = filling();
    if (r == nullptr) return false;
    for (auto& [node, m] : engines.fleet().machines()) {
      if (m.fills.contains(r->uuid)) return true;
    }
    return false;
  }
  // That engines are making copies for at this moment.
  std::uint64_t running_fills() {
    std::uint64_t running = 0;
    for (auto& [node, m] : engines.fleet().machines()) {
      for (auto& [replica, fill] : m.fills) running += fill.state.status == FillStatus::running;
    }
    return running;
  }
  bool has_parts_on(const PoolId& pool) {
    for (const auto& [id, s] : agent->specs().snapshots) {
      for (const auto& part : s.parts()) {
        if (part.pool == pool) return true;
      }
    }
    return false;
  }
  // Nothing is under way, every part is on its engine, and no engine has one that no spec knows.
  bool is_settled() {
    std::set<Uuid> known;
    for (const auto& [id, s] : agent->specs().snapshots) {
      if (s.status != SpecStatus::created) return false;
      for (const auto& part : s.parts()) {
        if (part.status != SpecStatus::created || part.unsure_until != 0) return false;
        known.insert(part.uuid);
      }
    }
    std::size_t there = 0;
    for (auto& [node, m] : engines.fleet().machines()) {
      for (auto& [id, pool] : m.pools) {
        for (auto& [uuid, copy] : pool.copies) {
          if (copy.is_snapshot && !known.contains(uuid)) return false;
          there += copy.is_snapshot;
        }
      }
    }
    return there == known.size() && filling() == nullptr && is_clean();
  }
  void expect_settled() {
    EXPECT_TRUE(until([&] { return is_settled(); }));
    EXPECT_THAT(engines.fleet().violations(), IsEmpty());
  }
  fake::Copy& copy_of(const Uuid& s, const PoolId& pool) {
    for (const auto& part : snapshot_spec(s).parts()) {
      if (part.pool == pool)
        return engines.fleet().machine(node_of(pool)).pools.at(pool).copies.at(part.uuid);
    }
    panic("there is no copy");
  }
};

TEST(Fills, AReplicaThatIsAddedHasTheSnapshotsBeforeItIsAChild) {
  FillRig rig;
  const Uuid v = rig.used_volume(2);
  const Uuid s1 = rig.snap(v, "s1"), s2 = rig.snap(v, "s2");
  EXPECT_EQ(rig.copies(s1).size(), 2U);
  rig.must(rig.agent->set_replica_count(v, 3));
  ASSERT_TRUE(rig.until([&] { return rig.fill_runs(); }));
  EXPECT_EQ(rig.volume(v).state.target->children.size(), 2U);
  EXPECT_EQ(rig.agent->snapshot(s1, v).value().spec.parts().size(), 3U);
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::online; }));
  for (const Uuid& s : {s1, s2}) {
    EXPECT_THAT(rig.copies(s), ElementsAre("n1-a", "n2-a", "n3-a"));
    EXPECT_EQ(rig.copy_of(s, "n3-a").content, rig.copy_of(s, "n1-a").content);
  }
  const auto history = rig.must(rig.agent->rebuild_history(v));
  EXPECT_TRUE(history.records.back().partial) << "only what came after the newest snapshot is copied";
  rig.expect_settled();
}

TEST(Fills, AReplicaThatTakesTheOthersPlaceHasTheSnapshotsAndAVolumeCanBeMadeOfThem) {
  FillRig rig;
  const Uuid v = rig.used_volume(2);
  const Uuid s = rig.snap(v, "s");
  const PoolId lost = rig.pools_of(v).back();
  const NodeId gone = node_of(lost);
  rig.engines.fleet().crash(gone);
  const CreateVolume request = FillRig::volume_request("r", 2, gib, true);
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::degraded; }));
  EXPECT_EQ(rig.refused(rig.agent->restore_snapshot(s, request)), Kind::failed_precondition);
  EXPECT_THAT(rig.last_refusal, HasSubstr(lost));
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::online; }));
  EXPECT_THAT(rig.copies(s), ElementsAre("n1-a", "n2-a", "n3-a")) << "the one that is away is not forgotten";
  rig.must(rig.agent->restore_snapshot(s, request));
  EXPECT_EQ(rig.pools_of(Uuid::from_name("r")).size(), 2U);
  rig.engines.fleet().start(gone, true);
  rig.expect_settled();
}

TEST(Fills, AMovedReplicaTakesItsSnapshotsAlong) {
  FillRig rig(4);
  const Uuid v = rig.used_volume(2);
  const Uuid s = rig.snap(v, "s");
  const auto before = rig.pools_of(v);
  MoveReplica move;
  move.volume = v;
  for (const auto& [id, r] : rig.agent->specs().replicas) {
    if (r.pool == before.back()) move.replica = id;
  }
  rig.must(rig.agent->move_replica(move));
  ASSERT_TRUE(rig.until([&] { return rig.pools_of(v) != before && rig.volume(v).spec.moves.empty(); }));
  const auto copies = rig.copies(s);
  for (const PoolId& pool : rig.pools_of(v)) EXPECT_THAT(copies, ::testing::Contains(pool));
  rig.expect_settled();
}

// Or the loss of the next node would take the last one that a new replica can be given.
TEST(Fills, CopiesOfReplicasThatWereReleasedDoNotCount) {
  FillRig rig(4);
  const Uuid v = rig.used_volume(3);
  const Uuid s = rig.snap(v, "s");
  rig.must(rig.agent->set_replica_count(v, 2));
  rig.must(rig.agent->set_replica_count(v, 3));
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::online; }));
  EXPECT_EQ(rig.copies(s).size(), 4U);
  for (const auto& [id, r] : rig.agent->specs().replicas) {
    EXPECT_TRUE(r.owners.none() || rig.snapshot_spec(s).part_of(id) != nullptr);
  }
  rig.expect_settled();
}

TEST(Fills, AnAgentThatTakesOverGoesOn) {
  FillRig rig;
  const Uuid v = rig.used_volume(2);
  const Uuid s1 = rig.snap(v, "s1"), s2 = rig.snap(v, "s2");
  rig.must(rig.agent->set_replica_count(v, 3));
  for (int i = 0; i < 4; ++i) {
    rig.stop_agent();
    rig.world.run_for(300ms);
    rig.start_agent();
    rig.world.run_for(500ms);
  }
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::online; }));
  EXPECT_EQ(rig.copies(s1).size(), 3U);
  EXPECT_EQ(rig.copies(s2).size(), 3U);
  rig.expect_settled();
}

TEST(Fills, EitherEngineThatIsStartedAnewGoesOn) {
  for (const bool source : {true, false}) {
    SCOPED_TRACE(source ? "the source's" : "its own");
    FillRig rig;
    const Uuid v = rig.used_volume(2);
    const Uuid s = rig.snap(v, "s");
    rig.must(rig.agent->set_replica_count(v, 3));
    ASSERT_TRUE(rig.until([&] { return rig.fill_runs(); }));
    const NodeId node = source ? node_of(rig.pools_of(v)[1]) : node_of(rig.filling()->pool);
    rig.engines.fleet().crash(node);
    rig.world.run_for(3s);
    rig.engines.fleet().start(node, true);
    ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::online; }));
    EXPECT_EQ(rig.copies(s).size(), 3U);
    rig.expect_settled();
  }
}

TEST(Fills, ASnapshotThatIsDeletedMeanwhileLeavesNoCopy) {
  FillRig rig;
  const Uuid v = rig.used_volume(2);
  const Uuid s1 = rig.snap(v, "s1"), s2 = rig.snap(v, "s2");
  rig.must(rig.agent->set_replica_count(v, 3));
  ASSERT_TRUE(rig.until([&] { return rig.fill_runs(); }));
  rig.must(rig.agent->delete_snapshot(s1, v));
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::online; }));
  ASSERT_TRUE(rig.until([&] { return !rig.agent->specs().snapshots.contains(s1); }));
  EXPECT_EQ(rig.copies(s2).size(), 3U);
  rig.expect_settled();
}

TEST(Fills, TheVolumeOrTheReplicaThatGoesMeanwhileLeavesWholeCopiesAlone) {
  for (const bool volume : {true, false}) {
    SCOPED_TRACE(volume ? "volume" : "replica");
    FillRig rig;
    const Uuid v = rig.used_volume(2);
    const Uuid s = rig.snap(v, "s");
    rig.must(rig.agent->set_replica_count(v, 3));
    ASSERT_TRUE(rig.until([&] { return rig.fill_runs(); }));
    if (volume) {
      rig.engines.fleet().give_up(v.to_string());
      rig.must(rig.agent->delete_volume(v));
    } else {
      rig.must(rig.agent->set_replica_count(v, 2));
    }
    rig.expect_settled();
    EXPECT_GE(rig.copies(s).size(), 2U);
  }
}

TEST(Fills, WhatCannotBeCopiedDoesNotKeepTheVolumeFromItsReplica) {
  FillRig rig;
  const Uuid v = rig.used_volume(2);
  const Uuid s = rig.snap(v, "s");
  // Engines do not reach each other, but for the one with the target.
  const auto before = rig.pools_of(v);
  const NodeId home = rig.volume(v).spec.target->node;
  rig.must(rig.agent->set_replica_count(v, 3));
  ASSERT_TRUE(rig.until([&] { return rig.fill_runs(); }));
  const NodeId to = node_of(rig.filling()->pool);
  for (const PoolId& pool : before) {
    auto& m = rig.engines.fleet().machine(node_of(pool));
    // The snapshots are gone from the sources, and only the agent does not know it.
    for (auto it = m.pools.at(pool).copies.begin(); it != m.pools.at(pool).copies.end();) {
      it = it->second.is_snapshot ? m.pools.at(pool).copies.erase(it) : std::next(it);
    }
  }
  ASSERT_TRUE(rig.until([&] { return rig.status(v) == VolumeStatus::online; }));
  EXPECT_EQ(rig.volume(v).state.target->children.size(), 3U);
  EXPECT_NE(to, home);
  ASSERT_TRUE(rig.until([&] { return rig.snapshot_spec(s).parts().size() == 2; }))
      << "the copy that never came is forgotten";
  EXPECT_THAT(rig.engines.fleet().violations(), IsEmpty());
}

TEST(Fills, CountAsRebuilds) {
  Options options;
  options.policy.rebuilds_max = 1;
  FillRig rig(3, options);
  const Uuid a = rig.used_volume(2, "a"), b = rig.used_volume(2, "b");
  const Uuid s = rig.snap(a, "s"), t = rig.snap(b, "t");
  rig.must(rig.agent->set_replica_count(a, 3));
  rig.must(rig.agent->set_replica_count(b, 3));
  std::uint64_t most = 0;
  ASSERT_TRUE(rig.until([&] {
    const std::uint64_t fills = rig.running_fills();
    most = std::max(most, fills + rig.agent->tally().rebuilds);
    return rig.status(a) == VolumeStatus::online && rig.status(b) == VolumeStatus::online;
  }));
  EXPECT_EQ(most, 1U);
  EXPECT_EQ(rig.copies(s).size(), 3U);
  EXPECT_EQ(rig.copies(t).size(), 3U);
  const Uuid c = rig.used_volume(2, "c");
  const Uuid u = rig.snap(c, "u");
  rig.must(rig.agent->set_replica_count(c, 3));
  ASSERT_TRUE(rig.until([&] { return rig.running_fills() == 1; }));
  rig.must(rig.agent->set_replica_count(b, 2));
  EXPECT_EQ(rig.refused(rig.agent->set_replica_count(b, 3)), Kind::resource_exhausted);
  EXPECT_THAT(rig.last_refusal, HasSubstr("1 are allowed"));
  ASSERT_TRUE(rig.until([&] { return rig.status(c) == VolumeStatus::online; }));
  EXPECT_EQ(rig.copies(u).size(), 3U);
  rig.expect_settled();
}

// One that cannot go on keeps nobody else's turn.
TEST(Fills, OneWhoseNodeIsLostDoesNotHoldUpRebuilds) {
  Options options;
  options.policy.rebuilds_max = 1;
  FillRig rig(4, options);
  const Uuid v = rig.used_volume(2);
  rig.snap(v, "s");
  rig.must(rig.agent->set_replica_count(v, 3));
  ASSERT_TRUE(rig.until([&] { return rig.running_fills() == 1; }));
  const NodeId lost = node_of(rig.filling()->pool);
  rig.engines.fleet().crash(lost);
  ASSERT_TRUE(rig.until(
      [&] { return rig.status(v) == VolumeStatus::online && rig.volume(v).state.replicas.size() == 3; }));
  rig.engines.fleet().start(lost, true);
  rig.expect_settled();
}

TEST(Fills, APoolThatIsEvacuatedIsLeftByCopiesThatTheOthersHave) {
  FillRig rig;
  const Uuid v = rig.used_volume(2);
  const Uuid s1 = rig.snap(v, "s1"), s2 = rig.snap(v, "s2");
  const PoolId pool = rig.pools_of(v).back();
  rig.must(rig.agent->evacuate_pool(pool, true));
  ASSERT_TRUE(rig.until([&] { return rig.filling() != nullptr; }));
  EXPECT_EQ(rig.refused(rig.agent->delete_pool(pool, std::nullopt)), Kind::in_use);
  ASSERT_TRUE(rig.until([&] {
    return !rig.has_parts_on(pool) && rig.agent->replicas_of_pool(pool).empty() &&
           rig.status(v) == VolumeStatus::online;
  }));
  for (const Uuid& s : {s1, s2}) {
    EXPECT_EQ(rig.copies(s), rig.pools_of(v));
    EXPECT_EQ(rig.copy_of(s, rig.pools_of(v).back()).content,
              rig.copy_of(s, rig.pools_of(v).front()).content);
  }
  rig.expect_settled();
  rig.must(rig.agent->delete_pool(pool, std::nullopt));
}

TEST(Fills, ANodeThatIsDrainedOfReplicasIsLeftByTheirCopies) {
  FillRig rig;
  const Uuid v = rig.used_volume(2);
  const Uuid s = rig.snap(v, "s");
  const PoolId pool = rig.pools_of(v).back();
  rig.must(rig.agent->drain_node(node_of(pool), "upgrade", true));
  ASSERT_TRUE(rig.until([&] { return !rig.has_parts_on(pool); }));
  EXPECT_EQ(rig.copies(s), rig.pools_of(v));
  rig.expect_settled();
}

// What is written down as let go of may be gone, so it is not kept when the pool is, either.
TEST(Fills, ACopyThatIsBeingDestroyedGoesAlthoughItsPoolIsUsedAgain) {
  FillRig rig;
  const Uuid v = rig.used_volume(2);
  const Uuid s = rig.snap(v, "s");
  const PoolId pool = rig.pools_of(v).back();
  const NodeId node = node_of(pool);
  rig.must(rig.agent->evacuate_pool(pool, true));
  ASSERT_TRUE(rig.until([&] { return rig.agent->replicas_of_pool(pool).empty(); }));
  const auto part = [&]() -> const ReplicaSnapshotSpec* {
    const auto& parts = rig.snapshot_spec(s).parts();
    const auto on_pool = [&](const ReplicaSnapshotSpec& p) { return p.pool == pool; };
    const auto found = std::find_if(parts.begin(), parts.end(), on_pool);
    return found == parts.end() ? nullptr : &*found;
  };
  ASSERT_NE(part(), nullptr);
  rig.engines.trouble(node).lose_answer = 100;
  ASSERT_TRUE(rig.until([&] { return part() == nullptr || part()->status == SpecStatus::deleting; }));
  ASSERT_NE(part(), nullptr);
  rig.must(rig.agent->evacuate_pool(pool, false));
  rig.world.run_for(1s);
  rig.engines.trouble(node).lose_answer = 0;
  ASSERT_TRUE(rig.until([&] { return part() == nullptr; }, std::chrono::minutes(5)));
  EXPECT_EQ(rig.copies(s).size(), 2U);
  rig.expect_settled();
}

TEST(Fills, TheLastCopyStaysOnAPoolThatIsEvacuated) {
  Options options;
  options.policy.fill_wait = 0;
  FillRig rig(3, options);
  const Uuid v = rig.used_volume(1);
  const Uuid s = rig.snap(v, "s");
  const PoolId pool = rig.pools_of(v).front();
  rig.must(rig.agent->evacuate_pool(pool, true));
  ASSERT_TRUE(rig.until([&] { return rig.pools_of(v).size() == 1 && rig.pools_of(v).front() != pool; }));
  rig.world.run_for(std::chrono::minutes(5));
  EXPECT_THAT(rig.copies(s), ElementsAre(pool)) << "the replica that came joined without";
  EXPECT_EQ(rig.refused(rig.agent->delete_pool(pool, std::nullopt)), Kind::in_use);
  rig.expect_settled();
}

// Their engine has lost it, whatever the specs say.
TEST(Fills, ACopyThatTheOthersDoNotReportStaysOnAPoolThatIsEvacuated) {
  FillRig rig;
  const Uuid v = rig.used_volume(2);
  const Uuid s = rig.snap(v, "s");
  const PoolId pool = rig.pools_of(v).back(), other = rig.pools_of(v).front();
  auto& copies = rig.engines.fleet().machine(node_of(other)).pools.at(other).copies;
  std::erase_if(copies, [](const auto& c) { return c.second.is_snapshot; });
  rig.must(rig.agent->evacuate_pool(pool, true));
  ASSERT_TRUE(rig.until([&] { return rig.agent->replicas_of_pool(pool).empty(); }));
  rig.world.run_for(std::chrono::minutes(5));
  EXPECT_TRUE(rig.has_parts_on(pool));
  EXPECT_TRUE(rig.agent->specs().snapshots.contains(s));
}

TEST(Fills, AVolumeIsMadeOfCopiesOnDifferentNodes) {
  FillRig rig(1);
  rig.add_node("n2", 2);
  const Uuid v = rig.used_volume(2);
  const Uuid s = rig.snap(v, "s");
  const auto before = rig.pools_of(v);
  MoveReplica move;
  move.volume = v;
  move.replica = rig.replica_on(v, "n2");
  rig.must(rig.agent->move_replica(move));
  ASSERT_TRUE(rig.until([&] { return rig.pools_of(v) != before && rig.spec(v).moves.empty(); }));
  ASSERT_THAT(rig.copies(s), ElementsAre("n1-a", "n2-a", "n2-b"));
  rig.must(rig.agent->restore_snapshot(s, FillRig::volume_request("two", 2, gib, true)));
  const auto pools = rig.pools_of(Uuid::from_name("two"));
  EXPECT_NE(node_of(pools.at(0)), node_of(pools.at(1)));
  rig.must(rig.agent->restore_snapshot(s, FillRig::volume_request("three", 3, gib, true)));
  EXPECT_EQ(rig.pools_of(Uuid::from_name("three")).size(), 3U) << "as far as there are nodes";
}

}  // namespace
}  // namespace holdfast::control
