// Pools: made, named, labelled, deleted, opened again.
#include <filesystem>

#include "cluster/rig.h"

namespace holdfast::cluster {
namespace {

struct PoolsTest : Scenarios<PoolsTest> {
  static Shape shape() { return {.engines = 2, .pool_bytes = 128 * mib}; }

  static Answer create(const std::string& id, const Strings& disks, std::size_t on = 1) {
    return rig().create_pool(on, id, disks);
  }
  static std::string status(const std::string& id) {
    const Answer pool = rig().get("/v0/pools/" + id);
    if (!pool.ok()) return pool.summary();
    return pool.body.contains("state") ? pool.body["state"].value("status", "") : "Unknown";
  }
  static std::string label_path(const std::string& label) { return "/v0/pools/pool-1/label/" + label; }
  static Json labels() { return rig().get("/v0/pools/pool-1").body["spec"]["labels"]; }
};

TEST_F(PoolsTest, CreatingAPoolWithANonExistentDisk) {
  EXPECT_EQ(create("other", {"/nowhere/disk"}).summary(), "404 NotFound");
  EXPECT_EQ(status("other"), "404 NotFound");
}

// Here a pool may have several disks.
TEST_F(PoolsTest, CreatingAPoolWithMultipleDisks) {
  const Answer made = create("other", {rig().make_disk("a"), rig().make_disk("b")});
  EXPECT_EQ(made.summary(), "200") << made.message();
  EXPECT_EQ(made.body["state"]["disks"].size(), 2u);
  const std::uint64_t one = rig().get("/v0/pools/pool-1").body["state"]["capacity"];
  EXPECT_GT(made.body["state"]["capacity"], one * 3 / 2);
}

TEST_F(PoolsTest, CreatingAPoolWithAnAioDisk) {
  EXPECT_EQ(create("other", {"aio://" + rig().make_disk("a")}).summary(), "200");
  EXPECT_EQ(status("other"), "Online");
}

TEST_F(PoolsTest, CreatingAPoolWithAUringDisk) {
  EXPECT_EQ(create("other", {"uring://" + rig().make_disk("a")}).summary(), "200");
  EXPECT_EQ(status("other"), "Online");
}

TEST_F(PoolsTest, CreatingAPoolWithAValidName) {
  EXPECT_EQ(create("p0", {rig().make_disk("a")}).summary(), "200");
  EXPECT_EQ(status("p0"), "Online");
}

TEST_F(PoolsTest, CreatingAPoolWhoseNameIsAlreadyUsedByAnExistingPoolOnTheSameNode) {
  EXPECT_EQ(create("pool-1", {rig().make_disk("a")}).summary(), "422 AlreadyExists");
}

TEST_F(PoolsTest, CreatingAPoolWhoseNameIsAlreadyUsedByAnExistingPoolOnADifferentNode) {
  EXPECT_EQ(create("pool-1", {rig().make_disk("a")}, 2).summary(), "422 AlreadyExists");
}

TEST_F(PoolsTest, RecreatingAPoolWithADifferentNameAndTheSameDisk) {
  const Answer refused = create("p1", {rig().disk("pool-1")});
  EXPECT_EQ(refused.summary(), "400 InvalidArgument") << refused.message();
  EXPECT_EQ(status("p1"), "404 NotFound");
  EXPECT_EQ(status("pool-1"), "Online");
}

TEST_F(PoolsTest, RecreatingAnUnexportedPoolWithADifferentNameAndTheSameDisk) {
  // The disk of a pool that no engine has open: its file is seen by every engine of this machine.
  rig().stop(1);
  const Answer refused = create("p1", {rig().disk("pool-1")}, 2);
  EXPECT_EQ(refused.summary(), "400 InvalidArgument") << refused.message();
  EXPECT_EQ(status("p1"), "404 NotFound");
}

TEST_F(PoolsTest, DeletingAnExistingUnusedPool) {
  EXPECT_EQ(rig().del("/v0/pools/pool-1").summary(), "204");
  EXPECT_EQ(status("pool-1"), "404 NotFound");
}

TEST_F(PoolsTest, DeletingAPoolThatIsInUse) {
  const std::string id = rig().volume(1);
  EXPECT_EQ(rig().del("/v0/pools/" + rig().pools_of(id).front()).summary(), "409 InUse");
  EXPECT_EQ(status(rig().pools_of(id).front()), "Online");
}

TEST_F(PoolsTest, DeletingAnExistingPoolOnAnUnreachableNodeThatIsStillMarkedOnline) {
  rig().engine(1).kill();
  ASSERT_EQ(rig().node_status(1), "Online");
  EXPECT_EQ(rig().del("/v0/pools/pool-1").summary(), "503 Unavailable");
  // It goes all the same when its node is back.
  ASSERT_TRUE(rig().engine(1).start());
  rig().wait("the pool to be deleted", [&] { return status("pool-1") == "404 NotFound"; });
}

TEST_F(PoolsTest, DeletingAnExistingPoolOnAnUnreachableOfflineNode) {
  rig().kill(1);
  EXPECT_EQ(rig().del("/v0/pools/pool-1").summary(), "412 FailedPrecondition");
  rig().start_engine(1);
  EXPECT_EQ(status("pool-1"), "Online");
}

TEST_F(PoolsTest, DeletingANonExistingPool) {
  EXPECT_EQ(rig().del("/v0/pools/none").summary(), "404 NotFound");
}

TEST_F(PoolsTest, LabelAPool) {
  EXPECT_EQ(rig().put(label_path("disk=ssd")).summary(), "200");
  EXPECT_EQ(labels(), Json({{"disk", "ssd"}}));
}

TEST_F(PoolsTest, LabelAPoolWhenLabelKeyAlreadyExistAndOverwriteIsFalse) {
  EXPECT_EQ(rig().put(label_path("disk=ssd")).summary(), "200");
  EXPECT_EQ(rig().put(label_path("disk=hdd")).summary(), "412 FailedPrecondition");
  EXPECT_EQ(labels(), Json({{"disk", "ssd"}}));
}

TEST_F(PoolsTest, LabelAPoolWhenLabelKeyAlreadyExistAndOverwriteIsTrue) {
  EXPECT_EQ(rig().put(label_path("disk=ssd")).summary(), "200");
  EXPECT_EQ(rig().put(label_path("disk=hdd?overwrite=true")).summary(), "200");
  EXPECT_EQ(labels(), Json({{"disk", "hdd"}}));
}

TEST_F(PoolsTest, UnlabelAPool) {
  EXPECT_EQ(rig().put(label_path("disk=ssd")).summary(), "200");
  EXPECT_EQ(rig().del(label_path("disk")).summary(), "200");
  EXPECT_EQ(labels(), Json::object());
}

TEST_F(PoolsTest, UnlabelAPoolWhenTheLabelKeyIsNotPresent) {
  EXPECT_EQ(rig().del(label_path("disk")).summary(), "412 FailedPrecondition");
}

TEST_F(PoolsTest, DestroyingAPoolThatNeedsToBeDeleted) {
  rig().engine(1).kill();
  ASSERT_EQ(rig().node_status(1), "Online");
  EXPECT_FALSE(rig().del("/v0/pools/pool-1").ok());
  ASSERT_TRUE(rig().engine(1).start());
  rig().wait("the pool to be deleted", [&] { return status("pool-1") == "404 NotFound"; });
  EXPECT_EQ(create("p1", {rig().disk("pool-1")}).summary(), "200");  // its disk is free
}

TEST_F(PoolsTest, ImportAPoolWhenANodeRestarts) {
  const std::string id = rig().volume(2);
  rig().kill(1);
  EXPECT_EQ(status("pool-1"), "Unknown");
  rig().start_engine(1);
  EXPECT_EQ(status("pool-1"), "Online");
  rig().wait_healthy(id, 2);
}

}  // namespace
}  // namespace holdfast::cluster
