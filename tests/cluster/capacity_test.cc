// Room in pools: what volumes take of it, and what happens when it is all taken.
#include <algorithm>
#include <chrono>
#include <thread>

#include "cluster/rig.h"
#include "e2e/remote_disk.h"

namespace holdfast::cluster {
namespace {

using namespace std::chrono_literals;

struct CapacityTest : Scenarios<CapacityTest> {
  static Shape shape() { return {.engines = 3, .pool_bytes = 192 * mib}; }

  static std::uint64_t free_of(std::size_t i) {
    const Json state = rig().get("/v0/pools/" + Rig::pool(i)).body["state"];
    return state["capacity"].get<std::uint64_t>() - state["used"].get<std::uint64_t>();
  }
  static Json on_node(std::size_t i, Json more) {
    more["topology"] = {
        {"node_topology",
         {{"explicit", {{"allowed_nodes", {Rig::node(i)}}, {"preferred_nodes", Json::array()}}}}}};
    return more;
  }
  static void expect_thin(const std::string& id, bool thin) {
    for (const std::string& r : rig().replicas_of(id))
      EXPECT_EQ(rig().get("/v0/replicas/" + r).body["thin"], thin);
  }
  static std::uint64_t allocated(const std::string& replica) {
    return rig().get("/v0/replicas/" + replica).body["space"]["allocated_bytes"];
  }
  // Until it is refused, or all was written; how much was.
  static std::uint64_t fill(const std::string& uri, std::uint64_t bytes) {
    e2e::RemoteDisk disk(uri);
    const Status opened = disk.opened();
    EXPECT_TRUE(opened.ok());
    std::uint64_t written = 0;
    while (written < bytes && disk.write(written, e2e::pattern(written, 1, mib)).ok()) written += mib;
    return written;
  }
  // Another volume takes the rest of the pool.
  static void leave_free(std::size_t i, std::uint64_t bytes) {
    rig().volume(1, on_node(i, {{"thin", false}, {"size", (free_of(i) - bytes) / mib * mib}}));
  }
  static std::size_t rebuilds(const std::string& id) {
    return rig().get("/v0/volumes/" + id + "/rebuild-history").body["records"].size();
  }
  static bool out_of_space(const std::string& id, std::size_t i) {
    const Json state = rig().get_volume(id)["state"];
    return std::any_of(
        state["replica_topology"].begin(), state["replica_topology"].end(), [&](const Json& r) {
          return r.value("node", "") == Rig::node(i) && r.value("child-status-reason", "") == "OutOfSpace";
        });
  }
  // Served by node-2, with all that was written to them, while node-3 is out of the question.
  static Strings four_without_room() {
    EXPECT_EQ(rig().put("/v0/nodes/node-3/cordon/a").summary(), "200");
    Strings ids, uris;
    for (int i = 0; i < 4; ++i) {
      ids.push_back(rig().volume(2, {{"size", 48 * mib}}));
      uris.push_back(rig().publish(ids.back(), 2));
    }
    leave_free(1, 112 * mib);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const std::uint64_t bytes = (i == 0 ? 40 : 32) * mib;
      EXPECT_EQ(fill(uris[i], bytes), bytes);
    }
    rig().wait("a replica to be out of space", [&] {
      return std::any_of(ids.begin(), ids.end(), [](const std::string& id) { return out_of_space(id, 1); });
    });
    return ids;
  }
};

TEST_F(CapacityTest, CreatingAThickProvisionedVolume) {
  const std::uint64_t before = rig().pool_used(1);
  const std::string id = rig().volume(1, on_node(1, {{"thin", false}}));
  expect_thin(id, false);
  rig().wait("its room to be taken", [&] { return rig().pool_used(1) >= before + 32 * mib; });
}

TEST_F(CapacityTest, CreatingAnOversizedThickProvisionedVolume) {
  EXPECT_EQ(rig().try_volume(Rig::new_id(), 1, {{"thin", false}, {"size", 256 * mib}}).summary(),
            "507 ResourceExhausted");
}

TEST_F(CapacityTest, CreatingAThinProvisionedVolume) {
  const std::uint64_t before = rig().pool_used(1);
  const std::string id = rig().volume(1, on_node(1, {}));
  expect_thin(id, true);
  EXPECT_LT(rig().pool_used(1), before + 8 * mib);
}

TEST_F(CapacityTest, CreatingAnOverCommittedThinVolume) {
  Strings ids;
  for (int i = 0; i < 3; ++i) ids.push_back(rig().volume(1, on_node(1, {{"size", 96 * mib}})));
  for (const std::string& id : ids) expect_thin(id, true);
  EXPECT_GT(rig().get("/v0/pools/pool-1").body["state"]["committed"].get<std::uint64_t>(), 192 * mib);
  EXPECT_LT(rig().pool_used(1), 32 * mib);
}

TEST_F(CapacityTest, OutOfSpaceConditionDoesNotAffectThickVolumesOnMixedPools) {
  const std::string thick = rig().volume(1, on_node(1, {{"thin", false}}));
  const std::string thin = rig().volume(1, on_node(1, {{"size", 144 * mib}}));
  const std::string blocker = rig().volume(1, on_node(1, {{"thin", false}}));
  const std::string thick_uri = rig().publish(thick);
  Rig::write(thick_uri, 0, 1);
  EXPECT_LT(fill(rig().publish(thin), 144 * mib), 144 * mib);
  EXPECT_EQ(rig().status(thick), "Online");
  Rig::write(thick_uri, 0, 2, 16 * mib);
  EXPECT_TRUE(Rig::holds(thick_uri, 0, 2, 16 * mib));
  EXPECT_EQ(rig().status(blocker), "Online");
}

TEST_F(CapacityTest, ReplicatingAThinVolume) {
  const std::string id = rig().volume(1);
  Rig::write(rig().publish(id), 0, 1, 8 * mib);
  EXPECT_EQ(rig().put("/v0/volumes/" + id + "/replica_count/2").summary(), "200");
  rig().wait_healthy(id, 2);
  const Strings replicas = rig().replicas_of(id);
  rig().wait("both to take the same room", [&] { return allocated(replicas[0]) == allocated(replicas[1]); });
  EXPECT_LT(allocated(replicas[0]), 20 * mib);
}

TEST_F(CapacityTest, ResolvingOutOfSpaceConditionForAThinMultiReplicaVolume) {
  const std::string id = rig().volume(2, {{"size", 96 * mib}});
  const Strings nodes = rig().nodes_of(id);
  const std::size_t home = Rig::number_of(nodes.front()), full = Rig::number_of(nodes.back());
  const std::string uri = rig().publish(id, home);
  // Most of one pool is taken by another volume.
  const std::uint64_t taken = (free_of(full) - 48 * mib) / mib * mib;
  rig().volume(1, on_node(full, {{"thin", false}, {"size", taken}}));
  EXPECT_EQ(fill(uri, 80 * mib), 80 * mib);
  rig().wait("the replica without room to be on another node", [&] {
    const Strings now = rig().nodes_of(id);
    return rig().healthy(id, 2) && std::find(now.begin(), now.end(), Rig::node(full)) == now.end();
  });
  EXPECT_TRUE(Rig::holds(uri, 0, 1));
  const Strings replicas = rig().replicas_of(id);
  rig().wait("both to take the same room", [&] { return allocated(replicas[0]) == allocated(replicas[1]); });
}

// What is written exceeds the free room of one pool, and there is no other.
TEST_F(CapacityTest, RebuildIsNotStartedIfTheresNoSpaceInThePool) {
  EXPECT_EQ(rig().put("/v0/nodes/node-3/cordon/a").summary(), "200");
  const std::string id = rig().volume(2, {{"size", 96 * mib}});
  EXPECT_EQ(rig().nodes_of(id), Strings({"node-1", "node-2"}));
  std::string uri = rig().publish(id, 2);
  leave_free(1, 48 * mib);
  EXPECT_EQ(fill(uri, 80 * mib), 80 * mib);
  rig().wait("the replica without room to be out", [&] { return out_of_space(id, 1); });
  EXPECT_EQ(rig().status(id), "Degraded");
  EXPECT_EQ(rig().unpublish(id).summary(), "200");
  uri = rig().publish(id, 2);
  // It is tried once, by the new target; not again and again.
  rig().wait("the replica without room to be out again", [&] { return out_of_space(id, 1); });
  const std::size_t attempts = rebuilds(id);
  std::this_thread::sleep_for(5s);
  EXPECT_TRUE(out_of_space(id, 1));
  EXPECT_EQ(rebuilds(id), attempts);
  EXPECT_EQ(rig().status(id), "Degraded");
  Rig::write(uri, 80 * mib, 1);
  EXPECT_TRUE(Rig::holds(uri, 80 * mib, 1));
  // Elsewhere there is room again.
  EXPECT_EQ(rig().del("/v0/nodes/node-3/cordon/a").summary(), "200");
  rig().wait("the replica to be made elsewhere", [&] {
    return rig().healthy(id, 2) && rig().nodes_of(id) == Strings({"node-2", "node-3"});
  });
}

// Four volumes with a replica each on node-1, that has no room for all of what is written to them.
TEST_F(CapacityTest, ResolvingOutOfSpaceConditionForSeveralThinMultiReplicaVolumes) {
  const Strings ids = four_without_room();
  EXPECT_EQ(rig().del("/v0/nodes/node-3/cordon/a").summary(), "200");
  rig().wait("all to be whole", [&] {
    return std::all_of(ids.begin(), ids.end(), [](const std::string& id) { return rig().healthy(id, 2); });
  });
  std::size_t moved = 0;
  for (const std::string& id : ids) {
    const Strings nodes = rig().nodes_of(id);
    moved += std::find(nodes.begin(), nodes.end(), "node-3") != nodes.end();
    EXPECT_TRUE(Rig::holds(rig().get_volume(id)["state"]["target"]["deviceUri"], 0, 1)) << id;
  }
  EXPECT_GE(moved, 1u);
  EXPECT_LT(moved, ids.size());
}

TEST_F(CapacityTest, ReachingPhysicalCapacityOfACluster) {
  const Strings ids = four_without_room();
  std::this_thread::sleep_for(5s);
  std::size_t out = 0;
  for (const std::string& id : ids) {
    const bool here = out_of_space(id, 1);
    out += here;
    EXPECT_EQ(rig().status(id), here ? "Degraded" : "Online");
    EXPECT_EQ(rig().nodes_of(id), Strings({"node-1", "node-2"}));
    EXPECT_TRUE(Rig::holds(rig().get_volume(id)["state"]["target"]["deviceUri"], 0, 1)) << id;
  }
  EXPECT_GE(out, 1u);
}

}  // namespace
}  // namespace holdfast::cluster
