// Goal: what is adopted is what was, each volume with the replicas that hold every acknowledged write and no others;
// what cannot be known is not taken, and says why.
#include "control/plan/adopt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/plan/records.h"
#include "control/plan/testing/builder.h"

namespace holdfast::control {
namespace {

using testing::Builder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::id;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

// A healthy cluster whose replicas say what they should, and then only its engines are left.
struct Lost {
  Builder b;
  std::map<Uuid, KeptRecord> kept;
  Specs before;

  Lost() {
    for (const char* n : {"n1", "n2", "n3"}) {
      b.node(n, {{"zone", n}});
      b.pool(std::string(n) + "-a", n, 10 * testing::gib, {{"disk", "fast"}});
    }
  }
  void volume() {
    b.volume_on("v", {"n1-a", "n2-a", "n3-a"});
    b.observed.memberships.at(id("v")).epoch = 5;
    say();
  }
  // Every replica that is online says what its volume is now.
  void say() {
    const Cluster cluster(b.specs, b.observed, b.claims);
    for (const auto& [uuid, r] : b.specs.replicas) {
      if (cluster.online_replica(uuid) == nullptr) continue;
      const auto wanted = wanted_record(cluster, RecordDigests(), uuid, b.now);
      kept[uuid] = {uuid, to_json(wanted->record), 5, 4};
    }
    ++b.now;
  }
  void lose_store() {
    before = b.specs;
    for (auto& [n, spec] : b.specs.nodes) spec.labels.clear();
    b.specs.pools.clear();
    b.specs.replicas.clear();
    b.specs.nexuses.clear();
    b.specs.volumes.clear();
    b.specs.snapshots.clear();
    b.observed.memberships.clear();
  }
  void silence(const char* pool) {  // it is reported no more
    b.observed.replicas.erase(replica(pool));
    kept.erase(replica(pool));
  }
  AdoptPlan plan(const AdoptRequest& request = AdoptRequest()) {
    std::vector<KeptRecord> all;
    for (const auto& [uuid, r] : kept) all.push_back(r);
    return plan_adoption(Cluster(b.specs, b.observed, b.claims), all, request);
  }
  static Uuid replica(const std::string& pool) { return id("v@" + pool); }
  static std::string why(const AdoptPlan& plan, const std::string& kind) {
    for (const Finding& f : plan.findings) {
      if (f.kind == kind && f.verdict != Verdict::adopted) return std::string(name(f.verdict)) + ": " + f.why;
    }
    return "";
  }
  static std::vector<Uuid> in_sync(const AdoptPlan& plan) {
    std::vector<Uuid> all;
    for (const auto& m : plan.volumes.at(0).membership->members) {
      if (m.healthy) all.push_back(m.replica);
    }
    return all;
  }
};

TEST(Adopt, BringsBackWhatWas) {
  Lost lost;
  lost.volume();
  lost.lose_store();
  const AdoptPlan plan = lost.plan();
  ASSERT_EQ(plan.volumes.size(), 1U);
  const auto& v = plan.volumes[0];
  EXPECT_EQ(v.volume, lost.before.volumes.at(id("v")));
  ASSERT_EQ(v.replicas.size(), 3U);
  for (ReplicaSpec r : v.replicas) {
    r.pool_uuid.reset();
    EXPECT_EQ(r, lost.before.replicas.at(r.uuid));
  }
  EXPECT_THAT(Lost::in_sync(plan),
              UnorderedElementsAre(Lost::replica("n1-a"), Lost::replica("n2-a"), Lost::replica("n3-a")));
  ASSERT_EQ(plan.pools.size(), 3U);
  EXPECT_EQ(plan.pools[0].labels, (Labels{{"disk", "fast"}}));
  ASSERT_EQ(plan.nodes.size(), 3U);
  EXPECT_EQ(plan.nodes[1].labels, (Labels{{"zone", "n2"}}));
  EXPECT_EQ(plan.first_conflict(), nullptr);
}

TEST(Adopt, TheNewestInSyncWins) {
  Lost lost;
  lost.volume();
  // n3 goes away: the others say so, n3 still says that all three are in sync.
  lost.b.stop_node("n3");
  auto& membership = lost.b.observed.memberships.at(id("v"));
  membership.epoch = 8;
  for (auto& m : membership.members) m.healthy = m.replica != Lost::replica("n3-a");
  lost.say();
  for (const char* pool : {"n1-a", "n2-a"}) lost.kept.at(Lost::replica(pool)).epoch = 9;
  lost.b.observed.nodes.at("n3").status = NodeStatus::online;
  lost.b.observed.nodes.at("n3").synced = true;
  lost.lose_store();
  const AdoptPlan plan = lost.plan();
  ASSERT_EQ(plan.volumes.size(), 1U);
  EXPECT_THAT(Lost::in_sync(plan), UnorderedElementsAre(Lost::replica("n1-a"), Lost::replica("n2-a")));
  EXPECT_EQ(plan.volumes[0].replicas.size(), 3U);
  EXPECT_EQ(plan.volumes[0].membership->epoch, 9U);
}

// As after a restore of a backup: its specification is older than that of its replicas, too.
TEST(Adopt, AVolumeOfWhichTheStoreHasNoMembershipIsAsItsReplicasSay) {
  Lost lost;
  lost.volume();
  VolumeSpec older = lost.b.specs.volumes.at(id("v"));
  lost.b.specs.volumes.at(id("v")).size_bytes *= 2;
  lost.say();
  lost.kept.at(Lost::replica("n2-a")).epoch = 7;
  const VolumeSpec newer = std::exchange(lost.b.specs.volumes.at(id("v")), std::move(older));
  EXPECT_EQ(Lost::why(lost.plan(), "volume"), "conflict: the store has another specification of it");
  lost.b.observed.memberships.clear();
  lost.kept.at(Lost::replica("n1-a")).epoch = 7;
  const AdoptPlan plan = lost.plan();
  ASSERT_EQ(plan.volumes.size(), 1U);
  EXPECT_EQ(plan.volumes[0].volume, newer);
  EXPECT_THAT(Lost::in_sync(plan), UnorderedElementsAre(Lost::replica("n1-a"), Lost::replica("n2-a")));
}

TEST(Adopt, OfAVolumeWithoutMembershipWhoseReplicasSayNothingOneIsTakenByName) {
  Lost lost;
  lost.volume();
  lost.b.observed.memberships.clear();
  for (auto& [uuid, kept] : lost.kept) kept.text.clear();
  EXPECT_THAT(Lost::why(lost.plan(), "volume"), HasSubstr("name the replica that is to be taken"));
  AdoptRequest request;
  request.take.push_back(Lost::replica("n2-a"));
  const AdoptPlan plan = lost.plan(request);
  ASSERT_EQ(plan.volumes.size(), 1U);
  EXPECT_EQ(plan.volumes[0].volume, lost.b.specs.volumes.at(id("v")));
  EXPECT_THAT(Lost::in_sync(plan), ElementsAre(Lost::replica("n2-a")));
  EXPECT_EQ(plan.volumes[0].membership->epoch, 5U);
}

TEST(Adopt, AReplicaThatMissedAnEpochIsNotTakenThoughNoRecordSaysSo) {
  Lost lost;
  lost.volume();
  lost.kept.at(Lost::replica("n2-a")).epoch = 7;  // the agent was away when the others left
  lost.lose_store();
  const AdoptPlan plan = lost.plan();
  ASSERT_EQ(plan.volumes.size(), 1U);
  EXPECT_THAT(Lost::in_sync(plan), ElementsAre(Lost::replica("n2-a")));
  EXPECT_FALSE(plan.volumes[0].membership->clean_shutdown);
}

TEST(Adopt, WaitsForAReplicaThatMayBeNewer) {
  Lost lost;
  lost.volume();
  lost.lose_store();
  lost.silence("n3-a");
  AdoptPlan plan = lost.plan();
  EXPECT_THAT(plan.volumes, IsEmpty());
  EXPECT_THAT(Lost::why(plan, "volume"), HasSubstr("skipped: replica " + Lost::replica("n3-a").to_string()));
  AdoptRequest request;
  request.take = {Lost::replica("n1-a")};
  plan = lost.plan(request);
  ASSERT_EQ(plan.volumes.size(), 1U);
  EXPECT_THAT(Lost::in_sync(plan), ElementsAre(Lost::replica("n1-a")));
  EXPECT_EQ(plan.volumes[0].replicas.size(), 2U);
}

TEST(Adopt, AReplicaOutOfSyncThatSawALaterEpochIsAQuestion) {
  Lost lost;
  lost.volume();
  for (auto& m : lost.b.observed.memberships.at(id("v")).members)
    m.healthy = m.replica == Lost::replica("n1-a");
  lost.b.observed.memberships.at(id("v")).epoch = 6;
  lost.say();
  lost.kept.at(Lost::replica("n2-a")).epoch = 9;
  lost.lose_store();
  const AdoptPlan plan = lost.plan();
  EXPECT_THAT(plan.volumes, IsEmpty());
  EXPECT_THAT(Lost::why(plan, "volume"), HasSubstr("took part in epoch 9"));
}

TEST(Adopt, ATargetThatServesKnowsBest) {
  Lost lost;
  lost.volume();
  NexusState& target = lost.b.publish("v", "n1");
  target.name = id("v").to_string();
  lost.b.observed.memberships.at(id("v")).owner = id("run");
  lost.say();
  lost.b.fault("v", "n2-a");  // nobody had the time to say so
  lost.lose_store();
  AdoptPlan plan = lost.plan();
  ASSERT_EQ(plan.volumes.size(), 1U);
  EXPECT_THAT(Lost::in_sync(plan), UnorderedElementsAre(Lost::replica("n1-a"), Lost::replica("n3-a")));
  EXPECT_EQ(plan.volumes[0].target->uuid, target.uuid);
  EXPECT_EQ(plan.volumes[0].membership->owner, id("run"));  // so that the target finds its own record
  // One that no replica knows of is not guessed about.
  auto other = target;
  other.uuid = id("other");
  lost.b.observed.nexuses.clear();
  lost.b.observed.nexuses[other.uuid] = other;
  plan = lost.plan();
  EXPECT_THAT(plan.volumes, IsEmpty());
  EXPECT_THAT(Lost::why(plan, "volume"), HasSubstr("shut it down first"));
}

TEST(Adopt, WhatTwoReplicasContradictIsAConflict) {
  Lost lost;
  lost.volume();
  KeptRecord& one = lost.kept.at(Lost::replica("n2-a"));
  ReplicaRecord record = parse_record("", one.text).value();
  record.membership.owner = id("another history");
  one.text = to_json(record);
  lost.lose_store();
  const AdoptPlan plan = lost.plan();
  EXPECT_THAT(plan.volumes, IsEmpty());
  EXPECT_THAT(Lost::why(plan, "volume"), HasSubstr("conflict: replicas"));
  EXPECT_NE(plan.first_conflict(), nullptr);
}

TEST(Adopt, WhatTheStoreHasIsComparedAndLeft) {
  Lost lost;
  lost.volume();
  AdoptPlan plan = lost.plan();
  EXPECT_THAT(plan.volumes, IsEmpty());
  EXPECT_THAT(plan.pools, IsEmpty());
  EXPECT_EQ(Lost::why(plan, "volume"), "present: ");
  lost.b.specs.volumes.at(id("v")).size_bytes *= 2;
  plan = lost.plan();
  EXPECT_THAT(Lost::why(plan, "volume"), HasSubstr("conflict: the store has another specification"));
  lost.b.specs.pools.at("n1-a").node = "n2";
  EXPECT_EQ(lost.plan().first_conflict()->kind, "pool");
}

TEST(Adopt, ForeignAndReleasedReplicasAreLeftAlone) {
  Lost lost;
  lost.volume();
  lost.kept.at(Lost::replica("n1-a")).text.clear();  // made by hand
  lost.kept.at(Lost::replica("n2-a")).text = R"({"schema":99})";
  lost.lose_store();
  AdoptPlan plan = lost.plan();
  EXPECT_THAT(plan.volumes, IsEmpty());  // those two may be the newest
  std::vector<std::string> left;
  for (const Finding& f : plan.findings) {
    if (f.kind == "replica" && f.verdict == Verdict::left) left.push_back(f.why);
  }
  EXPECT_THAT(left, UnorderedElementsAre("it says nothing of a volume", HasSubstr("newer than this agent")));

  Lost released;
  released.volume();
  // The volume let go of n3's, which was away and says nothing of it.
  released.b.specs.replicas.at(Lost::replica("n3-a")).status = SpecStatus::deleting;
  std::erase_if(released.b.observed.memberships.at(id("v")).members,
                [](const auto& m) { return m.replica == Lost::replica("n3-a"); });
  released.b.observed.memberships.at(id("v")).epoch = 6;
  const KeptRecord stale = released.kept.at(Lost::replica("n3-a"));
  released.b.specs.replicas.erase(Lost::replica("n3-a"));
  released.say();
  released.kept[stale.replica] = stale;
  released.lose_store();
  plan = released.plan();
  ASSERT_EQ(plan.volumes.size(), 1U);
  EXPECT_EQ(plan.volumes[0].replicas.size(), 2U);
  EXPECT_THAT(Lost::why(plan, "replica"), HasSubstr("had let go of it"));
}

TEST(Adopt, SnapshotsComeBackWithTheLastAttempt) {
  Lost lost;
  lost.volume();
  const Uuid snapshot = id("snapshot");
  const auto part = [&](const std::string& part_name, const char* pool, const char* transaction,
                        UnixNanos taken) {
    SnapshotState s;
    s.uuid = id(part_name);
    s.name = snapshot_part_name(snapshot, transaction, taken % 2 == 0 ? Uuid() : s.uuid);
    s.node = lost.b.observed.pools.at(pool).node;
    s.pool = pool;
    s.replica = Lost::replica(pool);
    s.entity_id = id("v").to_string();
    s.transaction = transaction;
    s.size_bytes = testing::gib;
    s.taken = taken;
    lost.b.observed.snapshots[s.uuid] = s;
  };
  part("failed", "n1-a", "t1", 100);
  part("p1", "n1-a", "t2", 201);
  part("p2", "n2-a", "t2", 201);
  lost.b.observed.snapshots[id("by hand")] = lost.b.observed.snapshots.at(id("p1"));
  lost.b.observed.snapshots[id("by hand")].uuid = id("by hand");
  lost.b.observed.snapshots[id("by hand")].name = "mine";
  lost.lose_store();
  const AdoptPlan plan = lost.plan();
  ASSERT_EQ(plan.snapshots.size(), 1U);
  const SnapshotSpec& s = plan.snapshots[0];
  EXPECT_EQ(s.uuid, snapshot);
  EXPECT_EQ(s.volume, id("v"));
  EXPECT_EQ(s.status, SpecStatus::created);
  EXPECT_EQ(s.transaction, "t2");
  EXPECT_EQ(s.parts().size(), 2U);
  EXPECT_EQ(s.transactions.size(), 1U);
}

TEST(Adopt, HostileRecordsAreRefusedWithAReason) {
  Lost lost;
  lost.volume();
  const std::string good = lost.kept.at(Lost::replica("n1-a")).text;
  EXPECT_EQ(to_json(parse_record("k", good).value()), good);
  for (const std::string& text : {std::string("[]"), std::string("{"), std::string(R"({"schema":"1"})"),
                                  std::string(R"({"schema":1,"written":1,"replicas":["x"]})"),
                                  std::string(R"({"schema":1,"written":1,"replicas":[],"volume":{}})"),
                                  std::string(70'000, ' '), good.substr(0, good.size() / 2)}) {
    const auto parsed = parse_record("k", text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_THAT(parsed.error().message(), HasSubstr("record k: "));
  }
}

TEST(Records, AreWrittenWhereTheyAreNotWhatTheyShouldBe) {
  Lost lost;
  lost.volume();
  RecordDigests digests;
  digests.volumes[id("v")] = 7;
  const auto written_to = [&] {
    std::vector<Uuid> all;
    const Cluster cluster(lost.b.specs, lost.b.observed, lost.b.claims);
    for (const Action& a : decide(cluster, lost.b.outages, {lost.b.policy, lost.b.now, &digests}).actions) {
      if (a.what == Do::write_record) all.push_back(a.replica);
    }
    return all;
  };
  EXPECT_EQ(written_to().size(), 3U);
  for (auto& [uuid, r] : lost.b.observed.replicas) {
    const Cluster cluster(lost.b.specs, lost.b.observed, lost.b.claims);
    r.record = wanted_record(cluster, digests, uuid, 1)->digest;
  }
  EXPECT_THAT(written_to(), IsEmpty());
  lost.b.specs.pools.at("n1-a").labels["disk"] = "slow";
  EXPECT_THAT(written_to(), ElementsAre(Lost::replica("n1-a")));
  digests.memberships[id("v")] = 9;
  EXPECT_EQ(written_to().size(), 3U);
  lost.b.stop_node("n1");
  EXPECT_EQ(written_to().size(), 2U);
  PendingVolumeOp busy;
  lost.b.specs.volumes.at(id("v")).operation = busy;
  EXPECT_THAT(written_to(), IsEmpty());
}

}  // namespace
}  // namespace holdfast::control
