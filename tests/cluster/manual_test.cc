// Rules 1 to 3 and scenarios one to six of the user manual ("Volume operations: replicas and their faults"), over real
// processes. A pool that fails is one whose disk fails: a real pool on a disk into which the engine plays faults.
#include <algorithm>
#include <chrono>
#include <thread>

#include "cluster/rig.h"
#include "support/fault_injection.h"

namespace holdfast::cluster {
namespace {

namespace v1 = mayastor::v1;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using testing_support::call;

// A pool on a node, whose disk can be made to fail, and be mended.
class WeakPool {
 public:
  WeakPool(Rig& rig, std::size_t on_node, std::string id)
      : rig_(rig), engine_(rig.engine(on_node)), id_(std::move(id)) {
    create_bdev("malloc:///" + id_ + "?size_mb=512");
    create_bdev("inject:///" + id_);
    const Answer made = rig.create_pool(on_node, id_, {disk()});
    EXPECT_EQ(made.summary(), "200") << made.message();
  }
  ~WeakPool() {
    if (failed_) mend();
  }
  WeakPool(const WeakPool&) = delete;
  WeakPool& operator=(const WeakPool&) = delete;

  const std::string& id() const { return id_; }
  void fail() {
    EXPECT_TRUE(inject(engine_, fault(), true).ok());
    failed_ = true;
  }
  // The fault is gone, and the administrator says so.
  void mend() {
    EXPECT_TRUE(inject(engine_, fault(), false).ok());
    failed_ = false;
    rig_.wait(id_ + " to be online", [&] {
      holdfast::v1::ResetDiskHealthRequest reset;
      reset.set_pool(id_);
      holdfast::v1::PoolDetail details;
      static_cast<void>(
          call(engine_.pool_extras(), &holdfast::v1::PoolRpc::Stub::ResetDiskHealth, reset, &details).ok());
      return rig_.get("/v0/pools/" + id_).body["state"]["status"] == "Online";
    });
  }

 private:
  std::string disk() const { return id_ + "-inject"; }
  std::string fault() const { return "inject://" + id_ + "?method=status"; }
  void create_bdev(const std::string& uri) {
    v1::CreateBdevRequest request;
    request.set_uri(uri);
    v1::CreateBdevResponse reply;
    EXPECT_TRUE(call(engine_.bdev(), &v1::BdevRpc::Stub::Create, request, &reply).ok()) << uri;
  }

  Rig& rig_;
  testing_support::EngineProcess& engine_;
  const std::string id_;
  bool failed_ = false;
};

Shape shape_of(std::size_t engines) {
  return {.engines = engines, .pool_bytes = 256 * mib, .agent_flags = {"--faulted-child-wait-period", "5s"}};
}

// What a volume's user and administrator do in all of them.
template <class File>
struct Manual : Scenarios<File> {
  using Scenarios<File>::rig;

  // All of a node's pools are those that a test makes.
  static void without_pool(std::size_t i) {
    EXPECT_EQ(rig().del("/v0/pools/" + Rig::pool(i)).summary(), "204");
  }
  static void add_pool(std::size_t i, const std::string& id) {
    const Answer made = rig().create_pool(i, id, {rig().make_disk(id)});
    EXPECT_EQ(made.summary(), "200") << made.message();
  }
  static Answer scale(const std::string& id, unsigned replicas) {
    return rig().put("/v0/volumes/" + id + "/replica_count/" + std::to_string(replicas));
  }
  static void becomes(const std::string& id, const std::string& status) {
    rig().wait("the volume to be " + status, [&] { return rig().status(id) == status; });
  }
  static std::string other(const Strings& all, const std::string& than) {
    const auto found = std::find_if(all.begin(), all.end(), [&](const auto& one) { return one != than; });
    return found == all.end() ? "" : *found;
  }
};

// Each node has a second pool, so that Rule 2 is about nodes.
struct ManualTest : Manual<ManualTest> {
  static Shape shape() { return shape_of(3); }
  static void second_pools() {
    for (std::size_t i = 1; i <= 3; ++i) add_pool(i, Rig::pool(i) + "-b");
  }
};

TEST_F(ManualTest, Rule1AVolumeIsProvisionedOnlyIfReplicaCountAndCapacityCanBeSatisfied) {
  const std::string id = Rig::new_id();
  const Answer many = rig().try_volume(id, 4);
  EXPECT_EQ(many.summary(), "507 ResourceExhausted");
  EXPECT_THAT(many.message(), HasSubstr("3 of 4 replicas can be placed"));
  EXPECT_EQ(rig().try_volume(id, 3, {{"size", 300 * mib}, {"thin", false}}).summary(),
            "507 ResourceExhausted");
  EXPECT_EQ(rig().get("/v0/volumes/" + id).summary(), "404 NotFound");
  EXPECT_THAT(rig().get("/v0/replicas").body, SizeIs(0));
  EXPECT_EQ(rig().try_volume(id, 3).summary(), "200");
}

TEST_F(ManualTest, Rule2EveryReplicaIsOnADifferentNode) {
  second_pools();
  const std::string id = rig().volume(3);
  EXPECT_EQ(rig().nodes_of(id), (Strings{"node-1", "node-2", "node-3"}));
  EXPECT_EQ(scale(id, 4).summary(), "507 ResourceExhausted");
  EXPECT_EQ(rig().replica_count(id), 3u);
}

TEST_F(ManualTest, Rule3FaultedChildrenAreRetiredBeforeThoseOnline) {
  without_pool(2);
  WeakPool weak(rig(), 2, "weak");
  const std::string id = rig().volume(3);
  const std::string uri = rig().publish(id, 1);
  weak.fail();
  Rig::write(uri, 0, 1);
  becomes(id, "Degraded");
  EXPECT_EQ(scale(id, 2).summary(), "200");
  rig().wait_healthy(id, 2);
  EXPECT_EQ(rig().pools_of(id), (Strings{"pool-1", "pool-3"}));
  EXPECT_TRUE(Rig::holds(uri, 0, 1));
}

struct TwoNodeManualTest : Manual<TwoNodeManualTest> {
  static Shape shape() { return shape_of(2); }
};

TEST_F(TwoNodeManualTest, ScenarioOneAFailedPoolIsReplacedOnTheSameNode) {
  add_pool(1, "pool-1-b");
  without_pool(2);
  WeakPool a(rig(), 2, "weak-a"), b(rig(), 2, "weak-b");
  const std::string id = rig().volume(2);
  const std::string uri = rig().publish(id, 1);
  Rig::write(uri, 0, 1);
  const Strings before = rig().pools_of(id);
  ASSERT_THAT(before, SizeIs(2));
  const bool on_a = std::count(before.begin(), before.end(), a.id()) == 1;
  WeakPool &failed = on_a ? a : b, &sound = on_a ? b : a;
  failed.fail();
  Rig::write(uri, 0, 2);  // the application goes on
  becomes(id, "Degraded");
  rig().wait_healthy(id, 2);
  EXPECT_EQ(rig().pools_of(id), (Strings{other(before, failed.id()), sound.id()}));
  EXPECT_TRUE(Rig::holds(uri, 0, 2));
}

TEST_F(ManualTest, ScenariosTwoAndThreeADetachedPoolIsReplacedOnAThirdNodeAndUsedAgainWhenScaledUp) {
  without_pool(2);
  WeakPool detached(rig(), 2, "lun");  // has more room than the others, so that a replica is put there
  const std::string id = rig().volume(2);
  const Strings before = rig().pools_of(id);
  ASSERT_THAT(before, Contains(detached.id()));
  const std::string home = other(before, detached.id()), third = home == "pool-1" ? "pool-3" : "pool-1";
  const std::string uri = rig().publish(id, Rig::number_of(home));
  detached.fail();
  Rig::write(uri, 0, 1);
  becomes(id, "Degraded");
  rig().wait_healthy(id, 2);
  Strings now{home, third};
  std::sort(now.begin(), now.end());
  EXPECT_EQ(rig().pools_of(id), now);

  detached.mend();
  const Answer scaled = scale(id, 3);
  EXPECT_EQ(scaled.summary(), "200") << scaled.message();
  EXPECT_EQ(scaled.body["state"]["status"], "Degraded");
  rig().wait_healthy(id, 3);
  EXPECT_THAT(rig().pools_of(id), Contains(detached.id()));
  EXPECT_TRUE(Rig::holds(uri, 0, 1));
}

TEST_F(ManualTest, ScenariosFourToSixAHostThatIsDownIsScaledAwayAndUsedAgain) {
  second_pools();
  const std::string id = rig().volume(3);
  const std::string uri = rig().publish(id, 1);
  Rig::write(uri, 0, 1);
  rig().kill(3);
  Rig::write(uri, 0, 2);
  becomes(id, "Degraded");
  // Out of the target, which is whole without it; no other node may take its place.
  rig().wait("the child to be retired", [&] {
    const Json target = rig().get_volume(id)["state"].value("target", Json::object());
    return target.value("children", Json::array()).size() == 2 && target["state"] == "Online";
  });
  std::this_thread::sleep_for(std::chrono::seconds(5));
  EXPECT_EQ(rig().status(id), "Degraded");
  // Where the manual disowns the replica, it stays the volume's as long as nothing can take its place: should the host
  // come back, it has to catch up with what it missed only.
  EXPECT_EQ(rig().nodes_of(id), (Strings{"node-1", "node-2", "node-3"}));

  EXPECT_EQ(scale(id, 2).summary(), "200");
  becomes(id, "Online");
  EXPECT_EQ(rig().nodes_of(id), (Strings{"node-1", "node-2"}));

  rig().start_engine(3);
  const Answer scaled = scale(id, 3);
  EXPECT_EQ(scaled.summary(), "200") << scaled.message();
  EXPECT_EQ(scaled.body["state"]["status"], "Degraded");
  rig().wait_healthy(id, 3);
  EXPECT_EQ(rig().nodes_of(id), (Strings{"node-1", "node-2", "node-3"}));
  EXPECT_TRUE(Rig::holds(uri, 0, 2));
}

}  // namespace
}  // namespace holdfast::cluster
