#include "control/testing/fleet.h"

#include <gtest/gtest.h>

namespace holdfast::control::fake {
namespace {

constexpr std::uint64_t GiB = std::uint64_t{1} << 30;
constexpr std::uint64_t MiB = std::uint64_t{1} << 20;

Uuid id(const char* name) { return Uuid::from_name(name); }

// Three machines with a pool each, and a volume of a replica in each, served by the first.
struct Rig {
  MemoryRecords records;
  Fleet fleet{records};
  Nanos now{0};
  std::vector<std::string> uris;

  Rig() {
    for (const char* node : {"a", "b", "c"}) {
      fleet.add(node);
      NewPool pool;
      pool.pool = std::string("p") + node;
      pool.disks = {"/dev/x"};
      EXPECT_TRUE(fleet.create_pool(m(node), pool).ok());
    }
  }
  Machine& m(const char* node) { return fleet.machine(node); }
  void pass(Nanos time) { fleet.advance(now += time); }

  std::string replica(const char* node, const char* name, bool thin = true) {
    NewReplica r;
    r.replica = id(name);
    r.pool = std::string("p") + node;
    r.size_bytes = 1 * GiB;
    r.thin = thin;
    r.share = Protocol::nvmf;
    r.entity_id = "vol";
    auto made = fleet.create_replica(m(node), r);
    EXPECT_TRUE(made.ok());
    return made.ok() ? made.value().uri : std::string();
  }
  NewNexus request(const char* name, std::uint64_t key = 7) {
    NewNexus n;
    n.nexus = id(name);
    n.name = "vol";
    n.size_bytes = 1 * GiB;
    n.children = uris;
    n.membership_key = "vol";
    n.reservation_key = key;
    return n;
  }
  void publish() {
    uris = {replica("a", "ra"), replica("b", "rb"), replica("c", "rc")};
    serve("a", request("n1"));
  }
  void serve(const char* node, const NewNexus& n) {
    const auto made = fleet.create_nexus(m(node), n);
    ASSERT_TRUE(made.ok()) << made.error().message();
    ASSERT_TRUE(fleet.share_nexus(m(node), n.nexus, true, {}).ok());
  }
  NexusState nexus(const char* node, const char* name) {
    for (const auto& n : fleet.report(m(node)).nexuses) {
      if (n.uuid == id(name)) return n;
    }
    return NexusState();
  }
  Content content(const char* node, const char* name) { return m(node).find(id(name))->content; }
};

TEST(Fleet, WritesReachEveryReplica) {
  Rig rig;
  rig.publish();
  EXPECT_TRUE(rig.fleet.write(rig.m("a"), id("n1"), 2).ok());
  EXPECT_EQ(rig.nexus("a", "n1").status, NexusStatus::online);
  EXPECT_EQ(rig.content("a", "ra"), rig.content("c", "rc"));
  EXPECT_EQ(rig.fleet.good_copies("vol"), 3U);
}

TEST(Fleet, AReplicaThatDoesNotAnswerLeavesAndCatchesUp) {
  Rig rig;
  rig.publish();
  rig.fleet.crash("b");
  EXPECT_TRUE(rig.fleet.write(rig.m("a"), id("n1"), 0).ok());
  EXPECT_EQ(rig.nexus("a", "n1").status, NexusStatus::degraded);
  EXPECT_EQ(rig.nexus("a", "n1").children[1].status, ChildStatus::faulted);
  rig.fleet.start("b", true);
  EXPECT_EQ(rig.fleet.good_copies("vol"), 2U);
  ASSERT_TRUE(rig.fleet.online_child(rig.m("a"), id("n1"), rig.uris[1]).ok());
  EXPECT_EQ(rig.nexus("a", "n1").rebuilds, 1U);
  rig.pass(1s);
  EXPECT_EQ(rig.nexus("a", "n1").status, NexusStatus::online);
  EXPECT_EQ(rig.fleet.good_copies("vol"), 3U);
}

TEST(Fleet, TheLastReplicaInSyncIsWaitedFor) {
  Rig rig;
  rig.publish();
  rig.fleet.crash("b");
  EXPECT_TRUE(rig.fleet.write(rig.m("a"), id("n1"), 0).ok());
  rig.fleet.crash("c");
  EXPECT_TRUE(rig.fleet.write(rig.m("a"), id("n1"), 0).ok());
  rig.fleet.set_pool_failed("a", "pa", true);
  EXPECT_FALSE(rig.fleet.write(rig.m("a"), id("n1"), 0).ok());
  EXPECT_EQ(rig.nexus("a", "n1").status, NexusStatus::faulted);
  rig.fleet.set_pool_failed("a", "pa", false);
  EXPECT_TRUE(rig.fleet.write(rig.m("a"), id("n1"), 0).ok());
}

TEST(Fleet, AfterACrashOneHealthyReplicaIsCopiedToTheOthers) {
  Rig rig;
  rig.publish();
  rig.fleet.crash("c");
  EXPECT_TRUE(rig.fleet.write(rig.m("a"), id("n1"), 1).ok());
  rig.fleet.crash("a");
  rig.fleet.start("a", true);
  rig.fleet.start("c", true);
  rig.serve("b", rig.request("n2"));
  EXPECT_EQ(rig.nexus("b", "n2").status, NexusStatus::degraded);
  rig.pass(10s);
  EXPECT_EQ(rig.nexus("b", "n2").status, NexusStatus::online);
  EXPECT_EQ(rig.fleet.good_copies("vol"), 3U);
  EXPECT_TRUE(rig.fleet.violations().empty());
}

TEST(Fleet, StaleReplicasAloneOpenNothing) {
  Rig rig;
  rig.publish();
  rig.fleet.crash("c");
  EXPECT_TRUE(rig.fleet.write(rig.m("a"), id("n1"), 1).ok());
  rig.fleet.crash("a");
  rig.fleet.start("c", true);
  NewNexus stale = rig.request("n2");
  stale.children = {rig.uris[2]};
  const auto made = rig.fleet.create_nexus(rig.m("c"), stale);
  EXPECT_EQ(kind_of(made.error()), Kind::failed_precondition);
  rig.records.remove("vol");  // somebody lost the record
  EXPECT_TRUE(rig.fleet.create_nexus(rig.m("c"), stale).ok());
  EXPECT_EQ(rig.fleet.violations().size(), 1U);
}

TEST(Fleet, ANewTargetFencesTheOldOne) {
  Rig rig;
  rig.publish();
  EXPECT_TRUE(rig.fleet.write(rig.m("a"), id("n1"), 1).ok());
  rig.serve("b", rig.request("n2", 8));
  EXPECT_FALSE(rig.fleet.write(rig.m("a"), id("n1"), 1).ok());
  EXPECT_FALSE(rig.fleet.read(rig.m("a"), id("n1"), 1).ok());
  EXPECT_TRUE(rig.fleet.write(rig.m("b"), id("n2"), 1).ok());
  EXPECT_TRUE(rig.fleet.violations().empty());
}

TEST(Fleet, NothingIsAcknowledgedWhileTheRecordCannotBeWritten) {
  Rig rig;
  rig.publish();
  rig.records.set_down(true);
  EXPECT_TRUE(rig.fleet.write(rig.m("a"), id("n1"), 1).ok());
  rig.fleet.crash("b");
  EXPECT_FALSE(rig.fleet.write(rig.m("a"), id("n1"), 1).ok());
  rig.records.set_down(false);
  EXPECT_TRUE(rig.fleet.write(rig.m("a"), id("n1"), 1).ok());
}

TEST(Fleet, TheEndOfTheLastGoodReplicaIsNoticed) {
  Rig rig;
  rig.publish();
  EXPECT_TRUE(rig.fleet.write(rig.m("a"), id("n1"), 1).ok());
  EXPECT_TRUE(rig.fleet.destroy_nexus(rig.m("a"), id("n1")).ok());
  for (const char* node : {"a", "b", "c"}) {
    EXPECT_TRUE(rig.fleet.violations().empty());
    const std::string r = std::string("r") + node;
    EXPECT_TRUE(rig.fleet.destroy_copy(rig.m(node), id(r.c_str()), std::string("p") + node, false).ok());
  }
  EXPECT_EQ(rig.fleet.violations().size(), 1U);
}

TEST(Fleet, RoomIsCounted) {
  Rig rig;
  const auto pool = [&] { return rig.fleet.report(rig.m("a")).pools.front(); };
  const std::uint64_t all = pool().free_bytes();
  rig.replica("a", "thin");
  EXPECT_EQ(pool().free_bytes(), all);
  rig.replica("a", "thick", false);
  EXPECT_EQ(pool().free_bytes(), all - 1 * GiB);
  EXPECT_EQ(pool().committed_bytes, 2 * GiB);
  rig.uris = {rig.fleet.report(rig.m("a")).replicas.front().uri};
  NewReplica large;
  large.replica = id("large");
  large.pool = "pa";
  large.size_bytes = 10 * GiB - 512 * MiB;
  EXPECT_EQ(kind_of(rig.fleet.create_replica(rig.m("a"), large).error()), Kind::resource_exhausted);
}

TEST(Fleet, SnapshotsAndClonesKeepWhatWas) {
  Rig rig;
  rig.publish();
  EXPECT_TRUE(rig.fleet.write(rig.m("a"), id("n1"), 0).ok());
  const Content before = rig.content("a", "ra");
  NewNexusSnapshot s;
  s.nexus = id("n1");
  s.name = "s1";
  s.parts = {{id("ra"), id("sa")}, {id("rb"), id("sb")}};
  EXPECT_EQ(kind_of(rig.fleet.create_nexus_snapshot(rig.m("a"), s).error()), Kind::failed_precondition);
  s.parts.push_back({id("rc"), id("sc")});
  auto taken = rig.fleet.create_nexus_snapshot(rig.m("a"), s);
  ASSERT_TRUE(taken.ok());
  EXPECT_TRUE(taken.value().complete());
  EXPECT_TRUE(rig.fleet.write(rig.m("a"), id("n1"), 0).ok());
  ASSERT_TRUE(rig.fleet.clone_snapshot(rig.m("b"), id("sb"), id("clone")).ok());
  EXPECT_EQ(rig.content("b", "clone"), before);
  EXPECT_TRUE(rig.fleet.destroy_copy(rig.m("b"), id("sb"), "pb", true).ok());
  EXPECT_EQ(rig.content("b", "clone"), before);
}

TEST(Fleet, HostsThatAreNotAllowedReachNothing) {
  Rig rig;
  rig.uris = {rig.replica("b", "rb")};
  ASSERT_TRUE(rig.fleet.share_replica(rig.m("b"), id("rb"), Protocol::nvmf, {rig.m("c").nqn}).ok());
  EXPECT_EQ(kind_of(rig.fleet.create_nexus(rig.m("a"), rig.request("n1")).error()), Kind::invalid_argument);
  EXPECT_TRUE(rig.fleet.create_nexus(rig.m("c"), rig.request("n1")).ok());
}

}  // namespace
}  // namespace holdfast::control::fake
