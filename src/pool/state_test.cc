#include "pool/state.h"

#include <gtest/gtest.h>

#include "base/prng.h"

namespace holdfast::pool {
namespace {

constexpr std::uint32_t cluster = 64 * KiB;  // 16 blocks

Uuid uuid_of(std::uint32_t id) { return Uuid::from_name("volume " + std::to_string(id)); }

VolumeSpec spec_of(std::uint32_t id, std::uint64_t clusters) {
  VolumeSpec spec;
  spec.id = VolumeId{id};
  spec.uuid = uuid_of(id);
  spec.name = "v" + std::to_string(id);
  spec.size_bytes = clusters * cluster;
  return spec;
}

class StateTest : public testing::Test {
 protected:
  StateTest() : state(cluster) {
    DiskRecord disk;
    disk.uuid = Uuid::from_name("disk");
    apply(AddDiskRecord{disk, Segment{0, 10'000, 0, 0}});
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
  void create_from(std::uint32_t id, std::uint32_t source, VolumeKind kind) {
    const VolumeSpec& of = state.find(VolumeId{source})->spec();
    VolumeSpec spec = spec_of(id, of.size_bytes / cluster);
    spec.kind = kind;
    spec.source = of.id;
    spec.source_uuid = of.uuid;
    apply(CreateRecord{spec});
  }
  void write(std::uint32_t id, std::uint32_t index, std::uint32_t to, std::uint16_t first = 0,
             std::uint16_t count = 16) {
    apply(WriteRecord{VolumeId{id}, index, Cluster{to}, first, count});
  }
  ClusterView view(std::uint32_t id, std::uint32_t index) {
    return state.find(VolumeId{id})->map().find(index);
  }
  std::uint32_t count(std::uint32_t of) { return state.clusters().count(Cluster{of}); }

  State state;
  Effects effects;
};

TEST_F(StateTest, FirstWriteIntoASharedClusterReadsTheRestThroughIt) {
  create(1, 100);
  write(1, 7, 50);
  EXPECT_TRUE(state.exclusive(view(1, 7)));
  create_from(2, 1, VolumeKind::snapshot);
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

}  // namespace
}  // namespace holdfast::pool
