#include "pool/state.h"

#include <string>

#include <gtest/gtest.h>

#include "pool/image.h"
#include "pool/invariants.h"

namespace holdfast::pool {
namespace {

constexpr std::uint32_t cluster = 64 * KiB;  // 16 blocks
constexpr std::uint32_t last_id = ~std::uint32_t{0};

VolumeSpec spec_of(std::uint32_t id, std::uint64_t clusters) {
  VolumeSpec spec;
  spec.id = VolumeId{id};
  spec.uuid = Uuid::from_name("volume " + std::to_string(id));
  spec.name = "v" + std::to_string(id);
  spec.size_bytes = clusters * cluster;
  return spec;
}

DiskRecord disk_of(std::uint16_t index) {
  return DiskRecord{index, Uuid::from_name("disk " + std::to_string(index)), "file:///disk"};
}

class StateTest : public testing::Test {
 protected:
  StateTest() : state(cluster) { apply(AddDiskRecord{disk_of(0), Segment{0, 10'000, 0, 0}}); }
  ~StateTest() override {
    for (const std::string& breach : check_invariants(state)) ADD_FAILURE() << breach;
    state.settle(effects);
  }

  void apply(const Record& record) {
    const Status may = state.check(record);
    ASSERT_TRUE(may.ok()) << may.error().message();
    state.apply(record, effects);
  }
  void create(std::uint32_t id, std::uint64_t clusters, bool thick = false) {
    VolumeSpec spec = spec_of(id, clusters);
    spec.thick = thick;
    apply(CreateRecord{spec});
  }
  VolumeSpec from(std::uint32_t id, std::uint32_t source, VolumeKind kind) {
    const VolumeSpec& of = state.find(VolumeId{source})->spec();
    VolumeSpec spec = spec_of(id, of.size_bytes / cluster);
    spec.kind = kind;
    spec.source = of.id;
    spec.source_uuid = of.uuid;
    return spec;
  }
  void snapshot(std::uint32_t id, std::uint32_t of) {
    apply(CreateRecord{from(id, of, VolumeKind::snapshot)});
  }
  void clone(std::uint32_t id, std::uint32_t of) { apply(CreateRecord{from(id, of, VolumeKind::volume)}); }
  void remove(std::uint32_t id) { apply(DeleteRecord{VolumeId{id}}); }
  void write(std::uint32_t id, std::uint32_t index, std::uint32_t to, std::uint16_t first = 0,
             std::uint16_t count = 16) {
    apply(WriteRecord{VolumeId{id}, index, Cluster{to}, first, count});
  }
  ClusterView view(std::uint32_t id, std::uint32_t index) {
    return state.find(VolumeId{id})->map().find(index);
  }
  std::uint32_t count(std::uint32_t of) { return state.clusters().count(Cluster{of}); }
  std::uint64_t reserved(std::uint32_t id) { return state.reserved_clusters(VolumeId{id}); }

  State state;
  Effects effects;
};

TEST_F(StateTest, FirstWriteIntoASharedClusterReadsTheRestThroughIt) {
  create(1, 100);
  write(1, 7, 50);
  EXPECT_TRUE(state.exclusive(view(1, 7)));
  snapshot(2, 1);
  EXPECT_FALSE(state.exclusive(view(1, 7)));
  write(1, 7, 51, 3, 2);
  const ClusterView now = view(1, 7);
  EXPECT_EQ(now.own(), Cluster{51});
  EXPECT_EQ(now.behind(), Cluster{50});
  EXPECT_TRUE(state.exclusive(now));
  EXPECT_EQ(now.run(0, 16).blocks, 3u);
  EXPECT_EQ(now.run(3, 13).source, BlockSource::own);
  EXPECT_EQ(now.run(3, 13).blocks, 2u);
  EXPECT_EQ(now.run(5, 11).cluster, Cluster{50});
  EXPECT_EQ(view(2, 7).own(), Cluster{50});
  EXPECT_EQ(count(50), 2u);
}

TEST_F(StateTest, NothingIsBehindAClusterThatHasAllItNeeds) {
  create(1, 100);
  write(1, 0, 50, 0, 4);
  EXPECT_EQ(view(1, 0).run(4, 12).source, BlockSource::zero);
  snapshot(2, 1);
  write(1, 0, 51, 2, 1);
  EXPECT_TRUE(view(1, 0).has_behind());
  write(1, 0, 51, 0, 4);  // all that 50 has is covered, and the rest is zero
  EXPECT_FALSE(view(1, 0).has_behind());
  EXPECT_FALSE(view(1, 0).whole());
  EXPECT_EQ(count(50), 1u);
  write(1, 0, 51, 4, 12);
  EXPECT_TRUE(view(1, 0).whole());
  EXPECT_EQ(state.find(VolumeId{1})->map().partials(), 0u);
}

// What is no longer shared, or free, is so only when that is settled: until then a crash could bring it back.
TEST_F(StateTest, WhatIsLetGoOfIsHeldUntilItIsSettled) {
  create(1, 100);
  write(1, 0, 50);
  write(1, 1, 60);
  snapshot(2, 1);
  write(1, 0, 51);
  EXPECT_EQ(count(50), 1u);
  remove(2);
  EXPECT_EQ(count(50), 0u);
  EXPECT_FALSE(state.clusters().is_free(Cluster{50}));
  EXPECT_FALSE(state.exclusive(view(1, 1)));  // still shared with what a crash would bring back
  state.settle(effects);
  EXPECT_TRUE(state.clusters().is_free(Cluster{50}));
  EXPECT_TRUE(state.exclusive(view(1, 1)));
  EXPECT_TRUE(effects.empty());

  // A leaf that has one owner again.
  snapshot(3, 1);
  remove(3);
  EXPECT_FALSE(state.exclusive(view(1, 1)));
  state.settle(effects);
  EXPECT_TRUE(state.exclusive(view(1, 1)));
}

// The copy that a checkpoint makes necessary is held like what it is a copy of.
TEST_F(StateTest, ALeafThatIsCopiedForACheckpointStaysHeld) {
  create(1, 100);
  write(1, 0, 50);
  snapshot(2, 1);
  remove(2);
  Effects of_remove = std::move(effects);
  effects = Effects();
  ImageWriter writer(state);
  write(1, 1, 51);
  EXPECT_FALSE(state.exclusive(view(1, 0)));
  of_remove.append(std::move(effects));
  effects = Effects();
  state.settle(of_remove);
  EXPECT_TRUE(state.exclusive(view(1, 0)));
  writer.finish(effects);
}

TEST_F(StateTest, SnapshotsGoInAnyOrderAndClonesKeepWhatTheyShare) {
  const std::uint32_t orders[][4] = {{1, 2, 3, 4}, {4, 3, 2, 1}, {2, 4, 1, 3}, {3, 1, 4, 2}};
  std::uint32_t id = 1, at = 100;
  for (const auto& order : orders) {
    const std::uint32_t first = id;
    create(id++, 100);
    write(first, 0, at++);
    snapshot(id++, first);
    write(first, 0, at++, 3, 5);
    clone(id++, first + 1);
    write(first + 2, 0, at++, 1, 1);
    snapshot(id++, first + 2);
    clone(id++, first + 3);  // of a clone's snapshot
    const ClusterView last = view(first + 4, 0);
    EXPECT_EQ(last.behind(), Cluster{at - 3});
    for (const std::uint32_t which : order) {
      remove(first + which - 1);
      EXPECT_TRUE(check_invariants(state).empty());
    }
    EXPECT_EQ(state.usage(VolumeId{first + 4}).exclusive, 2 * cluster);
    EXPECT_EQ(state.find(VolumeId{first + 4})->spec().source, VolumeId{first + 3});  // gone, and still told
    remove(first + 4);
    state.settle(effects);
    EXPECT_EQ(state.clusters().free_clusters(), 10'000u);
  }
}

TEST_F(StateTest, ThickVolumesKeepTheirReserveThroughSnapshots) {
  create(1, 100, true);
  EXPECT_EQ(reserved(1), 100u);
  for (std::uint32_t i = 0; i < 100; ++i) write(1, i, 200 + i);
  EXPECT_EQ(reserved(1), 0u);
  snapshot(2, 1);
  EXPECT_EQ(reserved(1), 100u);
  EXPECT_EQ(reserved(2), 0u);
  write(1, 5, 500);
  write(1, 6, 501, 3, 1);
  EXPECT_EQ(reserved(1), 98u);
  apply(UnmapRecord{VolumeId{1}, 5, 1});
  EXPECT_EQ(reserved(1), 99u);
  apply(ResizeRecord{VolumeId{1}, 120 * cluster});
  EXPECT_EQ(reserved(1), 119u);
  apply(ResizeRecord{VolumeId{1}, 50 * cluster});
  EXPECT_EQ(reserved(1), 49u);
  remove(2);
  EXPECT_LE(state.recount_reserved(), 1u);  // index 5
  EXPECT_EQ(state.reserved_clusters(), 1u);
  remove(1);
  EXPECT_EQ(state.reserved_clusters(), 0u);
}

TEST_F(StateTest, ShrinkingFreesAndRevertingMarksWhatItChanges) {
  create(1, 1600);
  apply(EpochRecord{VolumeId{1}, 4, 2});
  write(1, 0, 50);
  write(1, 1500, 51);
  apply(RegionRecord{VolumeId{1}, 0, 100, 3});
  snapshot(2, 1);
  write(1, 20, 52);
  apply(ResizeRecord{VolumeId{1}, 32 * cluster});
  EXPECT_EQ(count(51), 1u);
  EXPECT_EQ(state.find(VolumeId{1})->epochs().get(2), 0u);
  apply(RevertRecord{VolumeId{1}, VolumeId{2}});
  const StateVolume& volume = *state.find(VolumeId{1});
  EXPECT_EQ(volume.spec().size_bytes, 1600 * cluster);
  EXPECT_EQ(volume.spec().epoch, 5u);
  EXPECT_EQ(volume.spec().sealed, 2u);
  EXPECT_EQ(volume.epochs().get(0), 3u);              // as it was
  EXPECT_EQ(volume.epochs().get(20 / 16), 5u);        // 52 is gone
  EXPECT_EQ(volume.epochs().get(1500 / 16), 5u);      // 51 is back
  EXPECT_EQ(volume.epochs().get(1500 / 16 - 1), 0u);  // was cut off, and zero before and after
  EXPECT_EQ(count(52), 0u);
}

TEST_F(StateTest, CountsBeyondAWord) {
  // 33,000 leaves that name one cluster: clones that have each changed another cluster of the leaf.
  ClusterCounts counts;
  Pin pin;
  counts.add_segment(ChangeContext{pin, effects}, Segment{0, 10, 0, 0});
  for (int i = 0; i < 70'000; ++i) counts.add(Cluster{3});
  EXPECT_EQ(counts.count(Cluster{3}), 70'000u);
  for (int i = 0; i < 69'999; ++i) counts.remove(Cluster{3}, effects);
  EXPECT_EQ(counts.count(Cluster{3}), 1u);
  EXPECT_EQ(effects.unshared.size(), 1u);
  EXPECT_FALSE(counts.exclusive(Cluster{3}));
  counts.hold(Cluster{3});
  counts.release(Cluster{3});
  EXPECT_FALSE(counts.exclusive(Cluster{3}));
  counts.release(Cluster{3});
  EXPECT_TRUE(counts.exclusive(Cluster{3}));
  EXPECT_EQ(counts.free_clusters(), 9u);
  effects.unshared.clear();
  effects.retired.clear();
}

TEST_F(StateTest, FreeClustersAreFoundOnEveryDisk) {
  apply(AddDiskRecord{disk_of(1), Segment{10'000, 5'000, 1, 0}});
  apply(GrowRecord{Segment{15'000, 1'000, 0, 10'000}});
  ClusterCounts& clusters = state.clusters();
  EXPECT_EQ(clusters.free_clusters(0), 11'000u);
  EXPECT_EQ(clusters.disk_clusters(1), 5'000u);
  EXPECT_EQ(clusters.disk_of(Cluster{14'999}), 1u);
  EXPECT_EQ(clusters.disk_of(Cluster{15'000}), 0u);
  clusters.hold(ClusterRun{Cluster{10'000}, 4'999});
  EXPECT_EQ(clusters.find_free(10'000, 15'000), Cluster{14'999});
  EXPECT_EQ(clusters.find_free(10'000, 14'999), std::nullopt);
  EXPECT_EQ(clusters.find_free(16'000, 16'000), std::nullopt);
  EXPECT_EQ(clusters.free_clusters(1), 1u);
  clusters.release(ClusterRun{Cluster{10'000}, 4'999});
  EXPECT_EQ(clusters.free_clusters(), 16'000u);
}

struct BadRecord {
  const char* what;
  Record record;
  const char* text;
};

// Volumes 1 (thick, with clusters), 2 (its snapshot), 3 (a clone). Each of these records is wrong for them.
TEST_F(StateTest, RecordsThatDoNotFitAreRefused) {
  create(1, 100, true);
  write(1, 0, 50);
  write(1, 1, 51, 0, 4);
  apply(EpochRecord{VolumeId{1}, 5, 2});
  snapshot(2, 1);
  clone(3, 2);
  write(1, 0, 52, 3, 4);
  const auto changed = [this](std::uint32_t source, VolumeKind kind, auto change) {
    VolumeSpec spec = source == 0 ? spec_of(4, 10) : from(4, source, kind);
    change(spec);
    return CreateRecord{spec};
  };
  const auto plain = [&changed](auto change) { return changed(0, VolumeKind::volume, change); };
  const auto nothing = [](VolumeSpec&) {};
  const VolumeId v1{1}, v2{2}, gone{9};
  Attributes many, longest;
  for (std::size_t i = 0; i <= attributes_max; ++i) many[std::to_string(i)] = "x";
  for (const char* key : {"a", "b", "c"}) longest[key].assign(30 * KiB, 'x');
  const BadRecord table[] = {
      {"id again", plain([](VolumeSpec& s) { s.id = VolumeId{3}; }), "next id is 4"},
      {"id to come", plain([](VolumeSpec& s) { s.id = VolumeId{5}; }), "next id is 4"},
      {"uuid", plain([](VolumeSpec& s) { s.uuid = spec_of(2, 1).uuid; }), "UUID is taken"},
      {"name", plain([](VolumeSpec& s) { s.name = "v3"; }), "name is taken"},
      {"size", plain([](VolumeSpec& s) { s.size_bytes += 4096; }), "no multiple"},
      {"huge", plain([](VolumeSpec& s) { s.size_bytes = (volume_clusters_max + 1) * cluster; }), "more than"},
      {"sealed", plain([](VolumeSpec& s) { s.sealed = 1; }), "sealed"},
      {"own source", plain([](VolumeSpec& s) { s.source = s.id; }), "no such volume id"},
      {"source uuid", plain([](VolumeSpec& s) { s.source_uuid = s.uuid; }), "no source"},
      {"snapshot of nothing", plain([](VolumeSpec& s) { s.kind = VolumeKind::snapshot; }), "of nothing"},
      {"no such source", plain([](VolumeSpec& s) { s.source = VolumeId{9}; }), "does not exist"},
      {"other source", changed(1, VolumeKind::snapshot, [](VolumeSpec& s) { s.source_uuid = s.uuid; }),
       "another UUID"},
      {"thick snapshot", changed(1, VolumeKind::snapshot, [](VolumeSpec& s) { s.thick = true; }),
       "reserves nothing"},
      {"snapshot of a snapshot", changed(2, VolumeKind::snapshot, nothing), "of a snapshot"},
      {"clone of a volume", changed(1, VolumeKind::volume, nothing), "what is no snapshot"},
      {"small clone", changed(2, VolumeKind::volume, [](VolumeSpec& s) { s.size_bytes = cluster; }), "size"},
      {"large snapshot", changed(1, VolumeKind::snapshot, [](VolumeSpec& s) { s.size_bytes *= 2; }), "size"},
      {"delete nothing", DeleteRecord{gone}, "does not exist"},
      {"resize a snapshot", ResizeRecord{v2, cluster}, "a snapshot"},
      {"resize to a part", ResizeRecord{v1, cluster + 1}, "no multiple"},
      {"resize to nothing", ResizeRecord{v1, 0}, "no multiple"},
      {"attributes of nothing", AttributesRecord{gone, {}}, "does not exist"},
      {"many attributes", AttributesRecord{v1, many}, "too many"},
      {"long attributes", AttributesRecord{v1, longest}, "too long"},
      {"revert a snapshot", RevertRecord{v2, v2}, "a snapshot"},
      {"revert to a volume", RevertRecord{v1, VolumeId{3}}, "no snapshot"},
      {"write to a snapshot", WriteRecord{v2, 5, Cluster{60}, 0, 1}, "a snapshot"},
      {"write behind the end", WriteRecord{v1, 100, Cluster{60}, 0, 1}, "behind its end"},
      {"write far behind", WriteRecord{v1, last_id, Cluster{60}, 0, 1}, "behind its end"},
      {"no blocks", WriteRecord{v1, 5, Cluster{60}, 0, 0}, "no such blocks"},
      {"blocks beyond", WriteRecord{v1, 5, Cluster{60}, 15, 2}, "no such blocks"},
      {"cluster beyond", WriteRecord{v1, 5, Cluster{10'000}, 0, 1}, "beyond the disks"},
      {"used cluster", WriteRecord{v1, 5, Cluster{50}, 0, 1}, "in use"},
      {"own cluster, elsewhere", WriteRecord{v1, 5, Cluster{52}, 0, 1}, "in use"},
      {"two steps", WriteRecord{v1, 0, Cluster{60}, 0, 1}, "two clusters"},
      {"into what is shared", WriteRecord{VolumeId{3}, 1, Cluster{51}, 8, 1}, "shared cluster"},
      {"complete what is whole", CompleteRecord{v2, 0}, "nothing is behind"},
      {"complete nothing", CompleteRecord{v1, last_id}, "nothing is behind"},
      {"unmap a snapshot", UnmapRecord{v2, 0, 1}, "a snapshot"},
      {"unmap nothing", UnmapRecord{v1, 0, 0}, "does not have"},
      {"unmap beyond", UnmapRecord{v1, 99, 2}, "does not have"},
      {"unmap far beyond", UnmapRecord{v1, last_id, last_id}, "does not have"},
      {"trim before something", TrimRecord{v1, 0, 0, 1}, "is behind"},
      {"trim beyond", TrimRecord{v1, 100, 0, 1}, "does not have"},
      {"trim blocks beyond", TrimRecord{v1, 1, 15, 2}, "does not have"},
      {"regions of a snapshot", RegionRecord{v2, 0, 1, 1}, "a snapshot"},
      {"no regions", RegionRecord{v1, 0, 0, 1}, "no such regions"},
      {"regions beyond", RegionRecord{v1, 6, 2, 1}, "no such regions"},
      {"epoch to come", RegionRecord{v1, 0, 1, 6}, "not announced"},
      {"seal what is to come", EpochRecord{v1, 5, 6}, "not announced"},
      {"epoch of a snapshot", EpochRecord{v2, 6, 0}, "a snapshot"},
      {"disk again", AddDiskRecord{disk_of(0), Segment{10'000, 1, 0, 10'000}}, "next index"},
      {"disk with a gap", AddDiskRecord{disk_of(2), Segment{10'000, 1, 2, 0}}, "next index"},
      {"disk uuid", AddDiskRecord{DiskRecord{1, disk_of(0).uuid, ""}, Segment{10'000, 1, 1, 0}}, "one UUID"},
      {"segment elsewhere", AddDiskRecord{disk_of(1), Segment{10'000, 1, 0, 10'000}}, "on another one"},
      {"segment on no disk", GrowRecord{Segment{10'000, 1, 1, 0}}, "on no disk"},
      {"segment overlaps", GrowRecord{Segment{9'999, 1, 0, 10'000}}, "last one ended"},
      {"segment overlaps on disk", GrowRecord{Segment{10'000, 1, 0, 9'999}}, "its disk ended"},
      {"empty segment", GrowRecord{Segment{10'000, 0, 0, 10'000}}, "no such size"},
      {"segment too large", GrowRecord{Segment{10'000, clusters_max, 0, 10'000}}, "no such size"},
  };
  for (const BadRecord& bad : table) {
    SCOPED_TRACE(bad.what);
    const Status may = state.check(bad.record);
    ASSERT_EQ(may.code(), Errc::bad_format);
    EXPECT_NE(may.error().message().find(bad.text), std::string::npos) << may.error().message();
  }
}

TEST_F(StateTest, AWrongRecordOfOurOwnEndsTheProcess) {
  EXPECT_DEATH(state.apply(DeleteRecord{VolumeId{9}}, effects), "volume 9: it does not exist");
}

TEST_F(StateTest, AttributesAreSetAndErased) {
  create(1, 10);
  apply(AttributesRecord{VolumeId{1}, {{"shared", "yes"}, {"owner", "x"}}});
  apply(AttributesRecord{VolumeId{1}, {{"owner", ""}, {"never", ""}}});
  EXPECT_EQ(state.find(VolumeId{1})->spec().attributes, (Attributes{{"shared", "yes"}}));
  EXPECT_EQ(state.find("v1"), state.find(spec_of(1, 1).uuid));
  EXPECT_EQ(state.find("v2"), nullptr);
}

}  // namespace
}  // namespace holdfast::pool
