// Links between two engines that are cut without a word, while the agent reaches both: what waits for the other end
// ends by itself, whether somebody writes or not.
#include "cluster/networked.h"

namespace holdfast::cluster {
namespace {

struct CutLinkTest : Networked {
  static constexpr std::uint64_t large = 64 * mib;

  CutLinkTest() : Networked(3) {}
  Answer resize(const std::string& id) { return rig->put("/v0/volumes/" + id + "/size", {{"size", large}}); }
  bool has_grown(const std::string& id) {
    const Json volume = rig->get_volume(id);
    return volume["spec"]["size"] == large && volume["state"]["size"] == large;
  }
};

TEST_F(CutLinkTest, ANewSizeWaitsNoLongerThanTheTargetForAChildThatNobodyUses) {
  const std::string id = rig->volume(3);
  rig->publish(id, 1);
  network.cut(1, 2);
  const Answer refused = resize(id);
  EXPECT_EQ(refused.summary(), "503 Unavailable") << refused.message();
  EXPECT_THAT(refused.message(), testing::HasSubstr("node node-1"));
  rig->wait("the volume to grow", [&] { return has_grown(id); });
  EXPECT_EQ(rig->status(id), "Degraded");
  // Beside the agent's attempts to have the child taken in again.
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(rig->unpublish(id).summary(), "200");
    rig->publish(id, 1);
  }
  network.mend(1, 2);
  rig->wait_healthy(id, 3);
  for (const std::string& r : rig->replicas_of(id)) {
    EXPECT_GE(rig->get("/v0/replicas/" + r).body["size"].get<std::uint64_t>(), large);
  }
}

}  // namespace
}  // namespace holdfast::cluster
