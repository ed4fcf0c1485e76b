// Replicas that are made later have the snapshots of their volume, too, and volumes can be made of these copies.
#include <algorithm>

#include "cluster/rig.h"

namespace holdfast::cluster {
namespace {

using ::testing::Contains;
using ::testing::UnorderedElementsAre;

struct SnapshotCopiesTest : Scenarios<SnapshotCopiesTest> {
  static Shape shape() {
    return {.engines = 3, .pool_bytes = 512 * mib, .agent_flags = {"--faulted-child-wait-period", "15s"}};
  }
  static std::string snapshot(const std::string& volume) {
    std::string id = Rig::new_id();
    const Answer taken = rig().put("/v0/volumes/" + volume + "/snapshots/" + id);
    EXPECT_EQ(taken.summary(), "200") << taken.message();
    return id;
  }
  static std::string path(const std::string& id) { return "/v0/volumes/snapshots/" + id; }
  // Where copies of it are that can be reached, sorted.
  static Strings pools_with(const std::string& id) {
    Strings pools;
    const Json state = rig().get(path(id)).body["state"];
    for (const Json& part : state["replica_snapshots"]) {
      if (part.contains("online")) pools.push_back(part["online"]["pool_id"]);
    }
    std::sort(pools.begin(), pools.end());
    return pools;
  }
  static int copies(const std::string& id) {
    return rig().get(path(id)).body["definition"]["metadata"]["num_snapshot_replicas"];
  }
  static std::string restore(const std::string& snapshot, unsigned replicas) {
    std::string id = Rig::new_id();
    const Json body = {
        {"policy", {{"self_heal", false}}}, {"replicas", replicas}, {"size", 32 * mib}, {"thin", true}};
    const Answer made = rig().put("/v0/snapshots/" + snapshot + "/volumes/" + id, body);
    EXPECT_EQ(made.summary(), "200") << made.message();
    return id;
  }
  static std::string uri_of(const std::string& volume) {
    return rig().get_volume(volume)["state"]["target"]["deviceUri"];
  }
};

TEST_F(SnapshotCopiesTest, ANodeThatIsLostTakesNoSnapshotWithIt) {
  const std::string volume = rig().volume(2);
  const Strings before = rig().nodes_of(volume);
  const std::string &home = before[0], &lost = before[1];
  const std::string uri = rig().publish(volume, Rig::number_of(home));
  Rig::write(uri, 0, 1, 2 * mib);
  Rig::write(uri, 2 * mib, 1, 2 * mib);
  const std::string first = snapshot(volume);
  Rig::write(uri, 0, 2, 2 * mib);
  const std::string second = snapshot(volume);
  Rig::write(uri, 0, 3, mib);
  rig().kill(Rig::number_of(lost));
  rig().wait("another node to take its place", [&] {
    const Strings now = rig().nodes_of(volume);
    return rig().healthy(volume, 2) && std::find(now.begin(), now.end(), lost) == now.end();
  });
  std::string fresh;
  for (const std::string& node : rig().nodes_of(volume)) {
    if (node != home) fresh = node;
  }
  const std::string pool = Rig::pool(Rig::number_of(fresh));
  for (const std::string& id : {first, second}) {
    rig().wait("the copy to be seen", [&] { return pools_with(id).size() == 2; });
    EXPECT_THAT(pools_with(id), Contains(pool));
    EXPECT_EQ(copies(id), 3) << "the one on the lost node counts as well";
  }
  EXPECT_TRUE(Rig::holds(uri_of(volume), 0, 3));

  const std::string as_first = restore(first, 2), as_second = restore(second, 2);
  EXPECT_THAT(rig().nodes_of(as_first), UnorderedElementsAre(home, fresh));
  // Only the copies are left.
  rig().kill(Rig::number_of(home));
  EXPECT_TRUE(Rig::holds(rig().publish(as_first, Rig::number_of(fresh)), 0, 1, 2 * mib));
  const std::string of_second = rig().publish(as_second, Rig::number_of(fresh));
  EXPECT_TRUE(Rig::holds(of_second, 0, 2, 2 * mib));
  EXPECT_TRUE(Rig::holds(of_second, 2 * mib, 1, 2 * mib));
}

TEST_F(SnapshotCopiesTest, AReplicaThatIsAddedHasThemAndTheyGoWithTheirSnapshot) {
  const std::string volume = rig().volume(1);
  const std::string uri = rig().publish(volume);
  Rig::write(uri, 0, 1, 4 * mib);
  const std::string id = snapshot(volume);
  EXPECT_EQ(copies(id), 1);
  EXPECT_EQ(rig().put("/v0/volumes/" + volume + "/replica_count/2").summary(), "200");
  rig().wait_healthy(volume, 2);
  rig().wait("the copy to be seen", [&] { return pools_with(id) == rig().pools_of(volume); });
  EXPECT_EQ(copies(id), 2);
  EXPECT_EQ(rig().del(path(id)).summary(), "204");
  rig().wait("the snapshot to go", [&] { return rig().get(path(id)).status == 404; });
  EXPECT_EQ(rig().del("/v0/volumes/" + volume).summary(), "204");
  for (const std::size_t i : {1U, 2U, 3U})
    rig().wait("the pool to be empty", [&] { return rig().pool_used(i) <= 2 * mib; });
}

}  // namespace
}  // namespace holdfast::cluster
