// What nobody owns any more goes; what people made themselves stays.
#include "cluster/rig.h"

namespace holdfast::cluster {
namespace {

struct GarbageTest : Scenarios<GarbageTest> {
  static Shape shape() { return {.engines = 2, .pool_bytes = 256 * mib}; }
};

TEST_F(GarbageTest, DestroyingAnOrphanedReplica) {
  const std::string id = rig().volume(2);
  rig().kill(2);
  EXPECT_EQ(rig().del("/v0/volumes/" + id).summary(), "204");
  EXPECT_EQ(rig().get("/v0/specs").body["replicas"].size(), 1u);
  rig().start_engine(2);
  rig().wait("the orphan to be gone", [&] {
    return rig().get("/v0/specs").body["replicas"].empty() &&
           rig().get("/v0/nodes/node-2/replicas").body.empty();
  });
}

// Made by hand: it has no owner, and is nobody's to take away.
TEST_F(GarbageTest, AReplicaMadeByHandStays) {
  const std::string id = Rig::new_id();
  const Answer made =
      rig().put("/v0/nodes/node-1/pools/pool-1/replicas/" + id, {{"size", 16 * mib}, {"thin", true}});
  EXPECT_EQ(made.summary(), "200") << made.message();
  rig().stop(1);
  rig().start_engine(1);
  EXPECT_EQ(rig().get("/v0/replicas/" + id).body["state"], "Online");
}

}  // namespace
}  // namespace holdfast::cluster
