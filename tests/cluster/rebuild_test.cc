// Replicas that were away come back in sync by what they missed; those that stay away are replaced; and no more of
// that goes on at once than may.
#include <algorithm>
#include <chrono>
#include <thread>

#include "cluster/rig.h"

namespace holdfast::cluster {
namespace {

using namespace std::chrono_literals;

// What the tests of both clusters here do.
template <class File>
struct Rebuilds : Scenarios<File> {
  using Scenarios<File>::rig;

  // Three replicas with data, its target beside the first.
  static std::string filled() {
    const std::string id = rig().volume(3);
    Rig::write(rig().publish(id, Rig::number_of(rig().nodes_of(id).front())), 0, 1, 24 * mib);
    return id;
  }
  static std::string uri_of(const std::string& id) {
    return rig().get_volume(id)["state"]["target"]["deviceUri"];
  }
  static Json rebuilds(const std::string& id) {
    return rig().get("/v0/volumes/" + id + "/rebuild-history").body.value("records", Json::array());
  }
  static Answer scale(const std::string& id, unsigned count) {
    return rig().put("/v0/volumes/" + id + "/replica_count/" + std::to_string(count));
  }
  // For a volume on these nodes alone.
  static Json only_on(const Strings& nodes) {
    return {{"topology",
             {{"node_topology",
               {{"explicit", {{"allowed_nodes", nodes}, {"preferred_nodes", Json::array()}}}}}}}};
  }
  // Holds the rebuild of the replica on the node as soon as it runs. False: it was over before.
  static bool hold_rebuild(const std::string& id, std::size_t on_node, std::size_t replicas) {
    const auto deadline = std::chrono::steady_clock::now() + 120s;
    while (std::chrono::steady_clock::now() < deadline) {
      if (rig().pause_rebuild(id, on_node)) return true;
      if (rig().healthy(id, replicas)) return false;
    }
    ADD_FAILURE() << "no rebuild began";
    return false;
  }
  // The replica on the node is away while much is written, and comes back. True: the rebuild that follows is held.
  static bool comes_back_and_is_held(const std::string& id, std::size_t away) {
    for (std::uint32_t attempt = 2; attempt < 10; ++attempt) {
      rig().engine(away).kill();
      Rig::write(uri_of(id), 0, attempt, 24 * mib);
      rig().wait("the replica to be known as lost", [&] { return !rig().healthy(id, 3); });
      EXPECT_TRUE(rig().engine(away).start());
      if (hold_rebuild(id, away, 3)) return true;
    }
    return false;
  }
};

struct RebuildTest : Rebuilds<RebuildTest> {
  static Shape shape() { return {.engines = 4, .pool_bytes = 256 * mib}; }
};

TEST_F(RebuildTest, FaultedChildIsOnlineAgainWithinTimedWaitPeriod) {
  const std::string id = filled();
  const Strings replicas = rig().replicas_of(id);
  const std::size_t away = Rig::number_of(rig().nodes_of(id).back());
  // Published anew, so that it is known of all that was written that every replica has it.
  EXPECT_EQ(rig().unpublish(id).summary(), "200");
  rig().publish(id, Rig::number_of(rig().nodes_of(id).front()));
  rig().engine(away).kill();
  Rig::write(uri_of(id), 0, 2);
  ASSERT_TRUE(rig().engine(away).start());
  rig().wait("a rebuild to be over", [&] { return !rebuilds(id).empty() && rig().healthy(id, 3); });
  EXPECT_EQ(rig().replicas_of(id), replicas);
  const Json last = rebuilds(id).back();
  EXPECT_EQ(last["isPartial"], true) << last;
  EXPECT_EQ(last["rebuildJobState"], "Completed") << last;
  EXPECT_LT(last["blocksTransferred"].get<std::uint64_t>() * last["blockSize"].get<std::uint64_t>(),
            24 * mib);
  EXPECT_TRUE(Rig::holds(uri_of(id), 0, 2));
}

// The target and the child beside it are lost. What the others have is known to their membership record, so those who
// come back are brought in sync by what they missed here, too.
TEST_F(RebuildTest, VolumeTargetIsUnreachableDuringLogBasedRebuild) {
  const std::string id = filled();
  const Strings replicas = rig().replicas_of(id), nodes = rig().nodes_of(id);
  const std::size_t home = Rig::number_of(nodes[0]), other = Rig::number_of(nodes[1]),
                    away = Rig::number_of(nodes[2]);
  ASSERT_TRUE(comes_back_and_is_held(id, away));
  rig().kill(home);
  const Answer moved = rig().try_publish(id, other, {{"republish", true}, {"reuse_existing", false}});
  ASSERT_EQ(moved.summary(), "200") << moved.message();
  Rig::write(uri_of(id), 0, 9);
  rig().wait("the one that was being rebuilt to be in sync", [&] {
    auto children = rig().children_of(id);
    return children[Rig::node(away)] == "Online";
  });
  rig().start_engine(home);
  rig().wait_healthy(id, 3);
  EXPECT_EQ(rig().replicas_of(id), replicas);
  EXPECT_TRUE(Rig::holds(uri_of(id), 0, 9));
}

struct ShortWaitRebuildTest : Rebuilds<ShortWaitRebuildTest> {
  static Shape shape() {
    return {.engines = 4,
            .pool_bytes = 256 * mib,
            .agent_flags = {"--faulted-child-wait-period", "15s", "--max-rebuilds", "1"}};
  }
  static bool gone_from(const std::string& id, std::size_t i) {
    const Strings nodes = rig().nodes_of(id);
    return std::find(nodes.begin(), nodes.end(), Rig::node(i)) == nodes.end();
  }
  // A volume on node-1 that gets a second replica on node-2, and whose rebuild does not end.
  static std::string being_rebuilt() {
    const std::string id = rig().volume(1, only_on({"node-1", "node-2"}));
    Rig::write(rig().publish(id), 0, 1, 24 * mib);
    const std::size_t to = Rig::number_of(rig().nodes_of(id).front()) == 1 ? 2 : 1;
    for (int attempt = 0; attempt < 8; ++attempt) {
      EXPECT_EQ(scale(id, 2).summary(), "200");
      if (hold_rebuild(id, to, 2)) return id;
      EXPECT_EQ(scale(id, 1).summary(), "200");
      rig().wait("the replica to go", [&] { return rig().replica_count(id) == 1; });
    }
    ADD_FAILURE() << "no rebuild could be held";
    return id;
  }
  static void resume(const std::string& id) {
    for (const std::size_t i : {1U, 2U}) rig().resume_rebuild(id, i);
    rig().wait_healthy(id, 2);
  }
};

TEST_F(ShortWaitRebuildTest, FaultedChildIsNotOnlineAgainWithinTimedWaitPeriod) {
  const std::string id = filled();
  const std::size_t away = Rig::number_of(rig().nodes_of(id).back());
  rig().kill(away);
  Rig::write(uri_of(id), 0, 2);
  rig().wait("another node to take its place", [&] { return rig().healthy(id, 3) && gone_from(id, away); });
  const Json last = rebuilds(id).back();
  EXPECT_EQ(last["isPartial"], false) << last;
  EXPECT_TRUE(Rig::holds(uri_of(id), 0, 2));
}

TEST_F(ShortWaitRebuildTest, NodeGoesDownWhileLogBasedRebuildRunning) {
  const std::string id = filled();
  const std::size_t away = Rig::number_of(rig().nodes_of(id).back());
  ASSERT_TRUE(comes_back_and_is_held(id, away));
  rig().kill(away);
  rig().wait("another node to take its place", [&] { return rig().healthy(id, 3) && gone_from(id, away); });
  const Json last = rebuilds(id).back();
  EXPECT_EQ(last["isPartial"], false) << last;
  EXPECT_EQ(last["rebuildJobState"], "Completed") << last;
}

TEST_F(ShortWaitRebuildTest, ExceedingTheMaximumNumberOfRebuildsWhenIncreasingTheReplicaCount) {
  const std::string other = rig().volume(1, only_on({"node-3", "node-4"}));
  rig().publish(other);
  const std::string held = being_rebuilt();
  const Answer refused = scale(other, 2);
  EXPECT_EQ(refused.summary(), "507 ResourceExhausted");
  EXPECT_NE(refused.message().find("1 are allowed at once"), std::string::npos) << refused.message();
  EXPECT_EQ(rig().replica_count(other), 1u);
  resume(held);
  EXPECT_EQ(scale(other, 2).summary(), "200");
  rig().wait_healthy(other, 2);
}

TEST_F(ShortWaitRebuildTest, ExceedingTheMaximumNumberOfRebuildsWhenReplacingAReplica) {
  const std::string other = rig().volume(2, only_on({"node-2", "node-3", "node-4"}));
  const Strings nodes = rig().nodes_of(other);
  const std::size_t away = Rig::number_of(nodes.back());  // node-3 or node-4
  Rig::write(rig().publish(other, Rig::number_of(nodes.front())), 0, 1);
  const std::string held = being_rebuilt();
  rig().kill(away);
  Rig::write(uri_of(other), 0, 2);
  // Longer than the wait for a replica that is away.
  std::this_thread::sleep_for(19s);
  EXPECT_EQ(rig().nodes_of(other), nodes);
  EXPECT_EQ(rig().status(other), "Degraded");
  resume(held);
  rig().wait("its place to be taken", [&] { return rig().healthy(other, 2) && gone_from(other, away); });
  EXPECT_TRUE(Rig::holds(uri_of(other), 0, 2));
}

}  // namespace
}  // namespace holdfast::cluster
