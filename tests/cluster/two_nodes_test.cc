// Two storage nodes, and the store on a third machine: it is the witness of who has all data. Whatever is cut, one side
// at most goes on, and it is one that has everything that was acknowledged.
#include "cluster/networked.h"
#include "e2e/remote_disk.h"

namespace holdfast::cluster {
namespace {

struct TwoNodesTest : Networked {
  TwoNodesTest() : Networked(2) {}

  void SetUp() override {
    Networked::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    id = rig->volume(2);
    uri = rig->publish(id, 1);
    Rig::write(uri, 0, 1);
  }
  // As a user does who knows that the node is not to be waited for.
  std::string take_over(std::size_t node) {
    EXPECT_EQ(rig->del("/v0/volumes/" + id + "/target?force=true").summary(), "200");
    return rig->publish(id, node);
  }

  static bool acknowledges_write(const std::string& at) {
    e2e::RemoteDisk disk(at);
    return disk.opened().ok() && disk.write(0, e2e::pattern(0, 3, mib)).ok();
  }

  std::string id, uri;
};

// And the node that was left behind is no source of anything, even when it is the only one that is left.
TEST_F(TwoNodesTest, TheSideWithTheTargetGoesOnWhenTheNodesLoseEachOther) {
  network.cut(1, 2);
  Rig::write(uri, 0, 2);
  rig->wait("the volume to be degraded", [&] { return rig->status(id) == "Degraded"; });
  rig->kill(1);
  EXPECT_EQ(rig->del("/v0/volumes/" + id + "/target?force=true").summary(), "200");
  const Answer refused = rig->try_publish(id, 2);
  EXPECT_GE(refused.status, 400) << "node-2 misses what was written last";
  EXPECT_THAT(refused.message(), testing::HasSubstr("replica")) << refused.summary();
  network.mend(1, 2);
  rig->start_engine(1);
  uri = rig->publish(id, 2);
  EXPECT_TRUE(Rig::holds(uri, 0, 2));
  rig->wait_healthy(id, 2);
}

TEST_F(TwoNodesTest, ATargetThatIsCutOffAcknowledgesNothingAfterTheOtherNodeTookOver) {
  network.isolate(1);
  rig->wait("node-1 to be known as lost", [&] { return rig->node_status(1) != "Online"; });
  const std::string other = take_over(2);
  Rig::write(other, 0, 2);
  EXPECT_TRUE(Rig::holds(other, 0, 2));
  network.rejoin(1);
  EXPECT_FALSE(acknowledges_write(uri));
  rig->wait("the former target to end", [&] { return !Rig::holds(uri, 0, 1); });
  rig->wait_healthy(id, 2);
  // Each of them has all of it.
  uri = take_over(1);
  EXPECT_TRUE(Rig::holds(uri, 0, 2));
  rig->wait_healthy(id, 2);
}

}  // namespace
}  // namespace holdfast::cluster
