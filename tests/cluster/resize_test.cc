// Volumes grow, published and not.
#include <algorithm>
#include <csignal>

#include "cluster/rig.h"

namespace holdfast::cluster {
namespace {

struct ResizeTest : Scenarios<ResizeTest> {
  static Shape shape() { return {.engines = 3, .pool_bytes = 512 * mib}; }

  static constexpr std::uint64_t small = 32 * mib, large = 64 * mib;
  static Answer resize(const std::string& id, std::uint64_t bytes) {
    return rig().put("/v0/volumes/" + id + "/size", {{"size", bytes}});
  }
  static void expect_grown(const std::string& id, std::size_t replicas) {
    const Json volume = rig().get_volume(id);
    EXPECT_EQ(volume["spec"]["size"], large);
    EXPECT_EQ(volume["state"]["size"], large);
    EXPECT_EQ(volume["state"]["replica_topology"].size(), replicas);
    for (const std::string& r : rig().replicas_of(id)) {
      EXPECT_GE(rig().get("/v0/replicas/" + r).body["size"].get<std::uint64_t>(), large);
    }
    if (volume["state"].contains("target")) {
      EXPECT_EQ(volume["state"]["target"]["size"], large);
    }
  }
  static std::string uri_of(const std::string& id) {
    return rig().get_volume(id)["state"]["target"]["deviceUri"];
  }
  // What it grew by is the application's, but for a little that a target keeps of each child.
  static void expect_usable(const std::string& id) {
    Rig::write(uri_of(id), large - 8 * mib, 7);
    EXPECT_TRUE(Rig::holds(uri_of(id), large - 8 * mib, 7));
  }
  static std::string snapshot(const std::string& id) {
    const std::string s = Rig::new_id();
    const Answer taken = rig().put("/v0/volumes/" + id + "/snapshots/" + s);
    EXPECT_EQ(taken.summary(), "200") << taken.message();
    return s;
  }
  static std::string restore(const std::string& s) {
    const std::string id = Rig::new_id();
    const Answer made =
        rig().put("/v0/snapshots/" + s + "/volumes/" + id,
                  {{"policy", {{"self_heal", true}}}, {"replicas", 1}, {"size", small}, {"thin", true}});
    EXPECT_EQ(made.summary(), "200") << made.message();
    return id;
  }
  static void refused_when_offline(const std::string& id, std::size_t i) {
    rig().stop(i);
    EXPECT_EQ(resize(id, large).summary(), "412 FailedPrecondition");
    EXPECT_EQ(rig().get_volume(id)["spec"]["size"], small);
  }
};

TEST_F(ResizeTest, OfflineExpandAnUnpublishedVolume) {
  for (const unsigned replicas : {1U, 3U}) {
    const std::string id = rig().volume(replicas);
    EXPECT_EQ(resize(id, large).summary(), "200");
    expect_grown(id, replicas);
  }
}

TEST_F(ResizeTest, OfflineExpandAnUnpublishedVolumeAndThenMakeItPublished) {
  const std::string id = rig().volume(2);
  EXPECT_EQ(resize(id, large).summary(), "200");
  expect_grown(id, 2);
  rig().publish(id);
  expect_usable(id);
  EXPECT_EQ(rig().put("/v0/volumes/" + id + "/replica_count/3").summary(), "200");
  rig().wait_healthy(id, 3);
  expect_grown(id, 3);
}

TEST_F(ResizeTest, OfflineExpandAPublishedVolumeAfterUnpublishingItWhileHavingAnOfflineReplica) {
  const std::string id = rig().volume(2);
  const std::size_t away = Rig::number_of(rig().nodes_of(id).back());
  const std::string uri = rig().publish(id, Rig::number_of(rig().nodes_of(id).front()));
  Rig::write(uri, 0, 1);
  rig().kill(away);
  Rig::write(uri, 0, 2);
  EXPECT_EQ(rig().unpublish(id).summary(), "200");
  rig().start_engine(away);
  EXPECT_EQ(resize(id, large).summary(), "200");
  rig().publish(id);
  rig().wait_healthy(id, 2);
  expect_grown(id, 2);
  EXPECT_TRUE(Rig::holds(uri_of(id), 0, 2));
  expect_usable(id);
}

TEST_F(ResizeTest, OfflineExpandAnUnpublishedVolumeWithAnOfflineReplica) {
  const std::string id = rig().volume(2);
  refused_when_offline(id, Rig::number_of(rig().nodes_of(id).back()));
}

TEST_F(ResizeTest, OfflineExpandAVolumeAndTakeASnapshot) {
  const std::string id = rig().volume(2);
  EXPECT_EQ(resize(id, large).summary(), "200");
  expect_grown(id, 2);
  snapshot(id);
}

TEST_F(ResizeTest, OfflineTakeASnapshotAndExpandTheVolume) {
  const std::string id = rig().volume(2);
  snapshot(id);
  EXPECT_EQ(resize(id, large).summary(), "200");
  expect_grown(id, 2);
  rig().publish(id);
  snapshot(id);
  expect_usable(id);
}

TEST_F(ResizeTest, OfflineExpandANewVolumeCreatedAsASnapshotRestore) {
  const std::string restored = restore(snapshot(rig().volume(2)));
  EXPECT_EQ(rig().get_volume(restored)["state"]["size"], small);
  EXPECT_EQ(resize(restored, large).summary(), "200");
  expect_grown(restored, 1);
  rig().publish(restored);
  expect_usable(restored);
}

TEST_F(ResizeTest, OfflineShrinkAnUnpublishedVolume) {
  const std::string id = rig().volume(2);
  EXPECT_EQ(resize(id, small / 2).summary(), "400 InvalidArgument");
}

TEST_F(ResizeTest, OnlineExpandAVolume) {
  for (const unsigned replicas : {1U, 3U}) {
    const std::string id = rig().volume(replicas);
    const std::string uri = rig().publish(id);
    Rig::write(uri, 0, 1);
    EXPECT_EQ(resize(id, large).summary(), "200");
    expect_grown(id, replicas);
    expect_usable(id);
    EXPECT_TRUE(Rig::holds(uri, 0, 1));
  }
}

TEST_F(ResizeTest, OnlineExpandAVolumeWithAnOfflineReplica) {
  const std::string id = rig().volume(2);
  rig().publish(id, Rig::number_of(rig().nodes_of(id).front()));
  refused_when_offline(id, Rig::number_of(rig().nodes_of(id).back()));
}

// Not known as lost yet: it is a matter of seconds, and nothing is done by halves.
TEST_F(ResizeTest, OnlineExpandAVolumeWhileANodeStandsStill) {
  const std::string id = rig().volume(2);
  const std::string uri = rig().publish(id, Rig::number_of(rig().nodes_of(id).front()));
  Rig::write(uri, 0, 1);
  const std::size_t still = Rig::number_of(rig().nodes_of(id).back());
  rig().engine(still).signal(SIGSTOP);
  const Answer refused = resize(id, large);
  rig().engine(still).signal(SIGCONT);
  EXPECT_EQ(refused.summary(), "503 Unavailable") << refused.message();
  EXPECT_THAT(refused.message(), testing::HasSubstr("node " + Rig::node(still)));
  EXPECT_EQ(rig().get_volume(id)["spec"]["size"], small);
  rig().wait("the volume to be whole", [&] { return rig().healthy(id, 2); });
  rig().wait("the volume to grow", [&] { return resize(id, large).ok(); });
  expect_grown(id, 2);
  EXPECT_TRUE(Rig::holds(uri, 0, 1));
  expect_usable(id);
}

TEST_F(ResizeTest, OnlineExpandAPublishedVolumeWithARebuildingReplica) {
  const std::string id = rig().volume(2);
  const Strings before = rig().nodes_of(id);
  const std::string uri = rig().publish(id);
  Rig::write(uri, 0, 1, 16 * mib);
  EXPECT_EQ(rig().put("/v0/volumes/" + id + "/replica_count/3").summary(), "200");
  // Held, unless it is over already.
  for (std::size_t i = 1; i <= 3; ++i) {
    if (std::find(before.begin(), before.end(), Rig::node(i)) == before.end()) rig().pause_rebuild(id, i);
  }
  const Answer grown = resize(id, large);
  EXPECT_EQ(grown.summary(), "200") << grown.message();
  EXPECT_EQ(rig().get_volume(id)["state"]["target"]["size"], large);
  for (std::size_t i = 1; i <= 3; ++i) rig().resume_rebuild(id, i);
  rig().wait_healthy(id, 3);
  expect_grown(id, 3);
  EXPECT_TRUE(Rig::holds(uri, 0, 1, 16 * mib));
  expect_usable(id);
}

TEST_F(ResizeTest, OnlineExpandANewVolumeCreatedAsASnapshotRestore) {
  const std::string id = rig().volume(2);
  rig().publish(id);
  const std::string restored = restore(snapshot(id));
  rig().publish(restored);
  EXPECT_EQ(resize(restored, large).summary(), "200");
  expect_grown(restored, 1);
  expect_usable(restored);
}

TEST_F(ResizeTest, OnlineExpandAVolumeAndTakeASnapshot) {
  const std::string id = rig().volume(2);
  rig().publish(id);
  EXPECT_EQ(resize(id, large).summary(), "200");
  expect_grown(id, 2);
  snapshot(id);
  expect_usable(id);
}

TEST_F(ResizeTest, OnlineTakeASnapshotAndExpandTheVolume) {
  const std::string id = rig().volume(2);
  rig().publish(id);
  snapshot(id);
  EXPECT_EQ(resize(id, large).summary(), "200");
  expect_grown(id, 2);
  snapshot(id);
  expect_usable(id);
}

TEST_F(ResizeTest, OnlineShrinkAVolume) {
  const std::string id = rig().volume(2);
  rig().publish(id);
  EXPECT_EQ(resize(id, small / 2).summary(), "400 InvalidArgument");
}

}  // namespace
}  // namespace holdfast::cluster
