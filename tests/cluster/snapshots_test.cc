// Snapshots of volumes: taken, listed, restored, deleted, cleaned up after attempts that failed.
#include <csignal>
#include <ctime>

#include "cluster/rig.h"

namespace holdfast::cluster {
namespace {

using ::testing::SizeIs;
using ::testing::UnorderedElementsAreArray;

struct SnapshotsTest : Scenarios<SnapshotsTest> {
  static Shape shape() { return {.engines = 3, .pool_bytes = 512 * mib}; }

  static Answer try_snapshot(const std::string& volume, const std::string& id) {
    return rig().put("/v0/volumes/" + volume + "/snapshots/" + id);
  }
  static std::string snapshot(const std::string& volume) {
    std::string id = Rig::new_id();
    const Answer taken = try_snapshot(volume, id);
    EXPECT_EQ(taken.summary(), "200") << taken.message();
    return id;
  }
  static std::string path(const std::string& id) { return "/v0/volumes/snapshots/" + id; }
  static Json get(const std::string& id) { return rig().get(path(id)).body; }
  static Strings list(const std::string& query) {
    Strings ids;
    const Json body = rig().get("/v0/volumes/snapshots?max_entries=0" + query).body;
    for (const Json& s : body["entries"]) ids.push_back(s["definition"]["spec"]["uuid"]);
    return ids;
  }
  // How many parts of it are online.
  static std::size_t online_parts(const std::string& id) {
    std::size_t count = 0;
    const Json snapshot = get(id);
    for (const Json& part : snapshot["state"]["replica_snapshots"]) count += part.contains("online") ? 1 : 0;
    return count;
  }
  static Answer try_restore(const std::string& snapshot, const std::string& id, unsigned replicas,
                            const Json& more = Json::object()) {
    Json body = {
        {"policy", {{"self_heal", true}}}, {"replicas", replicas}, {"size", 32 * mib}, {"thin", true}};
    body.update(more);
    return rig().put("/v0/snapshots/" + snapshot + "/volumes/" + id, body);
  }
  static std::string restore(const std::string& snapshot, unsigned replicas) {
    std::string id = Rig::new_id();
    const Answer made = try_restore(snapshot, id, replicas);
    EXPECT_EQ(made.summary(), "200") << made.message();
    return id;
  }
  static std::size_t home_of(const std::string& volume) {
    return Rig::number_of(rig().nodes_of(volume).front());
  }
  // Of one replica, published or not.
  static void either(const std::function<void(const std::string&)>& scenario) {
    for (const bool published : {true, false}) {
      SCOPED_TRACE(published ? "published" : "unpublished");
      const std::string volume = rig().volume(1);
      if (published) rig().publish(volume);
      scenario(volume);
    }
  }
  static void check_taken(const std::string& id, std::size_t parts) {
    const Json snapshot = get(id);
    const Json& metadata = snapshot["definition"]["metadata"];
    EXPECT_EQ(metadata["status"], "Created");
    EXPECT_EQ(metadata["size"], 32 * mib);
    EXPECT_EQ(metadata["spec_size"], 32 * mib);
    EXPECT_EQ(snapshot["state"]["ready_as_source"], false);
    rig().wait("its parts to be seen", [&] { return online_parts(id) == parts; });
    std::tm at{};
    const std::string stamp = snapshot["state"]["timestamp"];
    ASSERT_NE(::strptime(stamp.c_str(), "%Y-%m-%dT%H:%M:%S", &at), nullptr) << stamp;
    EXPECT_LT(std::abs(std::difftime(::timegm(&at), std::time(nullptr))), 60.0) << stamp;
  }
  // Once what earlier tests left is freed.
  static std::uint64_t used_when_empty(std::size_t i) {
    rig().wait("the room of the pool to be free", [i] { return rig().pool_used(i) <= 2 * mib; });
    return rig().pool_used(i);
  }
  static Json usage(const std::string& volume) { return rig().get_volume(volume)["state"]["usage"]; }
  // On all replicas together, with what only its snapshots hold, and without what it was made of.
  static void wait_allocated(const std::string& volume, std::uint64_t bytes) {
    rig().wait("what was written to be counted", [&] { return usage(volume)["total_allocated"] == bytes; });
  }
  static void remove(const std::string& id) { EXPECT_EQ(rig().del(path(id)).summary(), "204"); }
  static void remove_volume(const std::string& id) {
    EXPECT_EQ(rig().del("/v0/volumes/" + id).summary(), "204");
  }
};

TEST_F(SnapshotsTest, SnapshotCreationOfASingleReplicaVolume) {
  either([](const std::string& volume) { check_taken(snapshot(volume), 1); });
}

TEST_F(SnapshotsTest, SnapshotCreationForASingleReplicaVolumeFailsWhenTheReplicaIsOffline) {
  const std::string volume = rig().volume(1);
  rig().stop(home_of(volume));
  const std::string id = Rig::new_id();
  EXPECT_EQ(try_snapshot(volume, id).summary(), "412 FailedPrecondition");
  EXPECT_THAT(list(""), SizeIs(0));
}

TEST_F(SnapshotsTest, SnapshotCreationForMultiReplicaVolume) {
  const std::string volume = rig().volume(3);
  check_taken(snapshot(volume), 3);
  rig().publish(volume);
  check_taken(snapshot(volume), 3);
}

TEST_F(SnapshotsTest, ExistenceOfSnapshotAfterNodeRestart) {
  const std::string volume = rig().volume(1);
  const std::size_t home = home_of(volume);
  const std::string id = snapshot(volume);
  for (const bool cleanly : {true, false}) {
    cleanly ? rig().stop(home) : rig().kill(home);
    rig().wait("the snapshot to be offline", [&] { return online_parts(id) == 0; });
    rig().start_engine(home);
    rig().wait("the snapshot to be online", [&] { return online_parts(id) == 1; });
  }
}

TEST_F(SnapshotsTest, SnapshotCreationOfASingleReplicaVolumeAfterItsSourceIsDeleted) {
  const std::string volume = rig().volume(1);
  const std::string id = snapshot(volume);
  remove_volume(volume);
  EXPECT_EQ(try_snapshot(volume, id).summary(), "422 AlreadyExists");
}

TEST_F(SnapshotsTest, SubsequentCreationWithSameSnapshotIdShouldFail) {
  const std::string volume = rig().volume(1);
  EXPECT_EQ(try_snapshot(volume, snapshot(volume)).summary(), "422 AlreadyExists");
}

TEST_F(SnapshotsTest, SnapshotDeletionVolume) {
  either([](const std::string& volume) {
    const std::string id = snapshot(volume);
    remove(id);
    EXPECT_EQ(rig().get(path(id)).summary(), "404 NotFound");
    EXPECT_THAT(list(""), SizeIs(0));
  });
}

TEST_F(SnapshotsTest, SnapshotDeletionVolumeAfterVolumeDeletion) {
  either([](const std::string& volume) {
    const std::string id = snapshot(volume);
    remove_volume(volume);
    remove(id);
    EXPECT_THAT(list(""), SizeIs(0));
  });
}

TEST_F(SnapshotsTest, RemoveVolumeSourceAfterSnapshotCreation) {
  either([](const std::string& volume) {
    const std::string id = snapshot(volume);
    remove_volume(volume);
    EXPECT_EQ(list(""), Strings({id}));
    EXPECT_EQ(rig().get("/v0/volumes/" + volume).summary(), "404 NotFound");
    remove(id);
  });
}

TEST_F(SnapshotsTest, RemovePoolWhereSnapshotIsPresent) {
  const std::string volume = rig().volume(1);
  rig().publish(volume);
  const std::string pool = "/v0/pools/" + rig().pools_of(volume).front();
  const std::string id = snapshot(volume);
  EXPECT_EQ(rig().del(pool).summary(), "409 InUse");
  remove_volume(volume);
  EXPECT_EQ(rig().del(pool).summary(), "409 InUse");
  remove(id);
  rig().wait("the pool to be deleted", [&] { return rig().del(pool).status == 404; });
}

TEST_F(SnapshotsTest, DeleteSnapshotsInOrder) {
  const std::string volume = rig().volume(1);
  const std::size_t home = home_of(volume);
  const std::uint64_t before = used_when_empty(home);
  const std::string uri = rig().publish(volume);
  Rig::write(uri, 0, 1);
  const std::string first = snapshot(volume);
  Rig::write(uri, 0, 2);
  const std::string second = snapshot(volume);
  remove_volume(volume);
  remove(first);
  rig().stop(home);
  rig().start_engine(home);
  rig().wait("the second to be online", [&] { return online_parts(second) == 1; });
  remove(second);
  rig().wait("the room to be free", [&] { return rig().pool_used(home) <= before; });
}

TEST_F(SnapshotsTest, VolumeSnapshotsList) {
  either([](const std::string& volume) {
    const Strings ids = {snapshot(volume), snapshot(volume)};
    EXPECT_THAT(list(""), UnorderedElementsAreArray(ids));
    EXPECT_THAT(list("&volume_id=" + volume), UnorderedElementsAreArray(ids));
    EXPECT_EQ(list("&volume_id=" + volume + "&snapshot_id=" + ids[0]), Strings({ids[0]}));
    EXPECT_EQ(list("&snapshot_id=" + ids[1]), Strings({ids[1]}));
    for (const std::string& id : ids) {
      rig().wait("its part to be seen", [&id = id] { return online_parts(id) == 1; });
      remove(id);
    }
  });
}

TEST_F(SnapshotsTest, VolumeSnapshotsListInvolvingDisruptedNode) {
  const std::string volume = rig().volume(1);
  const Strings ids = {snapshot(volume), snapshot(volume)};
  for (const bool cleanly : {true, false}) {
    cleanly ? rig().stop(home_of(volume)) : rig().kill(home_of(volume));
    EXPECT_THAT(list(""), UnorderedElementsAreArray(ids));
    for (const std::string& id : ids) {
      rig().wait("its part to be offline", [&] { return online_parts(id) == 0; });
    }
    rig().start_engine(home_of(volume));
    for (const std::string& id : ids) {
      rig().wait("its part to be online", [&] { return online_parts(id) == 1; });
    }
  }
}

TEST_F(SnapshotsTest, PaginatedVolumeSnapshotsList) {
  const Strings volumes = {rig().volume(1), rig().volume(1)};
  for (const std::string& v : volumes) {
    for (int i = 0; i < 3; ++i) snapshot(v);
  }
  for (const std::string& filter : {std::string(), "&volume_id=" + volumes[0]}) {
    Strings seen;
    std::string token;
    for (int pages = 0; pages < 10; ++pages) {
      const Json page = rig().get("/v0/volumes/snapshots?max_entries=2" + filter + token).body;
      EXPECT_LE(page["entries"].size(), 2u);
      for (const Json& s : page["entries"]) seen.push_back(s["definition"]["spec"]["uuid"]);
      if (!page.contains("next_token")) break;
      token = "&starting_token=" + page["next_token"].dump();
    }
    EXPECT_THAT(seen, UnorderedElementsAreArray(list(filter)));
    EXPECT_THAT(seen, SizeIs(filter.empty() ? 6 : 3));
  }
}

TEST_F(SnapshotsTest, PaginatedVolumeSnapshotsListMoreThanAvailable) {
  const std::string volume = rig().volume(1);
  for (int i = 0; i < 3; ++i) snapshot(volume);
  const Json page = rig().get("/v0/volumes/snapshots?max_entries=100&volume_id=" + volume).body;
  EXPECT_EQ(page["entries"].size(), 3u);
  EXPECT_FALSE(page.contains("next_token"));
}

TEST_F(SnapshotsTest, CreateANewVolumeAsASnapshotRestoreFromAValidSnapshot) {
  const std::string volume = rig().volume(3);
  Rig::write(rig().publish(volume), 0, 1);
  const std::string id = snapshot(volume);
  for (const unsigned replicas : {1U, 3U}) {
    const std::string restored = restore(id, replicas);
    EXPECT_EQ(rig().replica_count(restored), replicas);
    const Json state = rig().get_volume(restored)["state"];
    for (const Json& r : state["replica_topology"]) EXPECT_EQ(r["usage"]["capacity"], 32 * mib);
    EXPECT_EQ(state["usage"]["allocated_snapshots"], 0);
    EXPECT_TRUE(Rig::holds(rig().publish(restored), 0, 1));
  }
}

TEST_F(SnapshotsTest, CreateMultipleNewVolumesAsSnapshotRestoresForAValidSnapshot) {
  const std::string id = snapshot(rig().volume(3));
  for (int i = 0; i < 4; ++i) {
    const Json state = rig().get_volume(restore(id, 3))["state"];
    EXPECT_EQ(state["usage"]["allocated_snapshots"], 0);
  }
}

TEST_F(SnapshotsTest, CreateAChainOfRestoredVolumes) {
  const std::string volume = rig().volume(2);
  Rig::write(rig().publish(volume), 0, 1);
  std::string id = snapshot(volume);
  std::string last;
  for (std::uint32_t i = 1; i <= 4; ++i) {
    last = restore(id, 2);
    const std::string uri = rig().publish(last);
    EXPECT_TRUE(Rig::holds(uri, (i - 1) * mib, i));
    Rig::write(uri, i * mib, i + 1);
    if (i < 4) id = snapshot(last);
  }
  EXPECT_TRUE(Rig::holds(rig().get_volume(last)["state"]["target"]["deviceUri"], 0, 1));
}

TEST_F(SnapshotsTest, CreateANewVolumeAsASnapshotRestoreWithOneNodeDown) {
  const std::string id = snapshot(rig().volume(3));
  rig().stop(3);
  for (const unsigned replicas : {1U, 3U}) {
    EXPECT_EQ(try_restore(id, Rig::new_id(), replicas).summary(), "412 FailedPrecondition");
  }
  rig().start_engine(3);
  for (const unsigned replicas : {1U, 3U}) EXPECT_EQ(rig().replica_count(restore(id, replicas)), replicas);
}

TEST_F(SnapshotsTest, RestoreParameters) {
  const std::string id = snapshot(rig().volume(1));
  struct Row {
    const char* name;
    unsigned replicas;
    Json more;
    const char* refused;
  };
  const std::vector<Row> rows = {
      {"CapacityGreaterThanTheSnapshot", 1, {{"size", 64 * mib}}, "416 OutOfRange"},
      {"CapacitySmallerThanTheSnapshot", 1, {{"size", 16 * mib}}, "416 OutOfRange"},
      {"ThickProvisioning", 1, {{"thin", false}}, "400 InvalidArgument"},
      {"MultiReplicaRestoreFromSingleReplicaSnapshot", 2, Json::object(), "412 FailedPrecondition"}};
  for (const Row& row : rows) {
    EXPECT_EQ(try_restore(id, Rig::new_id(), row.replicas, row.more).summary(), row.refused) << row.name;
  }
}

TEST_F(SnapshotsTest, ListNewVolumeCreatedFromASnapshot) {
  const std::string volume = rig().volume(1);
  const std::string id = snapshot(volume);
  const Json source = rig().get_volume(restore(id, 1))["spec"]["content_source"]["snapshot"];
  EXPECT_EQ(source, Json({{"snapshot", id}, {"volume", volume}}));
}

TEST_F(SnapshotsTest, DeletingInAnyOrder) {
  // The original, its snapshot, the volume made of it: DeletingInReverseCreationOrder, DeletingInCreationOrder.
  for (const bool reverse : {true, false}) {
    const std::string volume = rig().volume(1);
    const std::size_t home = home_of(volume);
    const std::uint64_t before = used_when_empty(home);
    Rig::write(rig().publish(volume), 0, 1, 8 * mib);
    const std::string id = snapshot(volume);
    const std::string restored = restore(id, 1);
    const std::string uri = rig().publish(restored);
    Rig::write(uri, 16 * mib, 2, 4 * mib);
    if (reverse) {
      remove_volume(restored);
      remove(id);
      EXPECT_TRUE(Rig::holds(rig().get_volume(volume)["state"]["target"]["deviceUri"], 0, 1, 8 * mib));
      remove_volume(volume);
    } else {
      remove_volume(volume);
      remove(id);
      EXPECT_TRUE(Rig::holds(uri, 0, 1, 8 * mib));
      EXPECT_TRUE(Rig::holds(uri, 16 * mib, 2, 4 * mib));
      remove_volume(restored);
    }
    rig().wait("the room to be free", [&] { return rig().pool_used(home) <= before; });
  }
}

// A snapshot is charged with what nobody else holds any more.
TEST_F(SnapshotsTest, SnapshottingARestoredVolume) {
  const std::string source = rig().volume(3);
  Rig::write(rig().publish(source), 0, 1, 8 * mib);
  const std::string origin = snapshot(source);
  for (const unsigned replicas : {1U, 3U}) {
    SCOPED_TRACE(replicas);
    const std::string restored = restore(origin, replicas);
    const std::string uri = rig().publish(restored);
    EXPECT_EQ(usage(restored)["allocated_snapshots"], 0);
    Rig::write(uri, 15 * mib, 2, 4 * mib);
    wait_allocated(restored, replicas * 4 * mib);
    const std::string first = snapshot(restored);
    wait_allocated(restored, replicas * 4 * mib);
    Rig::write(uri, 15 * mib, 3, 4 * mib);
    rig().wait("the first to be charged", [&] { return get(first)["state"]["allocated_size"] == 4 * mib; });
    const std::string second = snapshot(restored);
    wait_allocated(restored, replicas * 8 * mib);
    EXPECT_EQ(get(first)["state"]["allocated_size"], 4 * mib);
    EXPECT_EQ(get(second)["state"]["allocated_size"], 0);
  }
}

// Each restored of a snapshot of the one before, with 4 MiB of its own; the oldest go first.
TEST_F(SnapshotsTest, DeleteAChainOfRestoredVolumes) {
  const std::string original = rig().volume(1);
  const std::size_t home = home_of(original);
  const std::uint64_t before = used_when_empty(home);
  Strings volumes = {original}, snapshots;
  Rig::write(rig().publish(original), 0, 1, 4 * mib);
  for (std::uint32_t i = 1; i <= 4; ++i) {
    snapshots.push_back(snapshot(volumes.back()));
    volumes.push_back(restore(snapshots.back(), 1));
    Rig::write(rig().publish(volumes.back()), i * 4 * mib, i + 1, 4 * mib);
  }
  rig().wait("its room to be taken", [&] { return rig().pool_used(home) >= before + 20 * mib; });
  for (std::size_t i = 0; i < 4; ++i) {
    remove_volume(volumes[i]);
    remove(snapshots[i]);
    const std::string uri = rig().get_volume(volumes.back())["state"]["target"]["deviceUri"];
    for (std::uint32_t k = 0; k <= 4; ++k) EXPECT_TRUE(Rig::holds(uri, k * 4 * mib, k + 1, 4 * mib)) << k;
  }
  remove_volume(volumes.back());
  rig().wait("the room to be free", [&] { return rig().pool_used(home) <= before; });
}

}  // namespace
}  // namespace holdfast::cluster
