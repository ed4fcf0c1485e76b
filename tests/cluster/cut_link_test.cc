// Links between two engines that are cut without a word, while the agent reaches both: what waits for the other end
// ends by itself, whether somebody writes or not.
#include <memory>

#include "cluster/rig.h"
#include "support/network.h"

namespace holdfast::cluster {
namespace {

using testing_support::Network;

struct CutLinkTest : testing::Test {
  static constexpr std::size_t engines = 3;
  static constexpr std::uint64_t small = 32 * mib, large = 64 * mib;

  static Shape shape(const Network& network) {
    Shape s{.engines = engines, .pool_bytes = 256 * mib};
    s.agent_flags = {"--no-auth"};
    s.agent_place = network.place(network.agent());
    for (std::size_t i = 1; i <= engines; ++i) s.engine_places.push_back(network.place(i));
    return s;
  }
  void SetUp() override {
    if (!network.lacks().empty()) GTEST_SKIP() << "without network namespaces: lacks " << network.lacks();
    rig = std::make_unique<Rig>(shape(network));
    ASSERT_TRUE(rig->start());
  }
  Answer resize(const std::string& id) { return rig->put("/v0/volumes/" + id + "/size", {{"size", large}}); }
  bool has_grown(const std::string& id) {
    const Json volume = rig->get_volume(id);
    return volume["spec"]["size"] == large && volume["state"]["size"] == large;
  }

  Network network{engines};
  std::unique_ptr<Rig> rig;
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
