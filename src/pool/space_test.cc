#include "pool/space.h"

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "pool/testing/pool_machine.h"

namespace holdfast::pool {
namespace {

using testing_support::Machine;

constexpr std::uint32_t cluster = 64 * KiB;

// A state with disks and no journal: records are applied by hand, and made durable when the test says so.
struct Bench final : Space::Log {
  explicit Bench(std::vector<std::uint32_t> clusters_of_disks, std::size_t clusters_per_turn = 4096)
      : guard(machine.process.cores()), state(cluster), disks(cluster) {
    std::uint32_t first = 0;
    for (std::uint16_t i = 0; i < clusters_of_disks.size(); ++i) {
      const std::string path = "/dev/d" + std::to_string(i);
      sim::DiskOptions options;
      options.size_bytes = MiB + std::uint64_t{clusters_of_disks[i]} * cluster;
      machine.node.add_disk(path, options);
      auto opened = machine.run(Disk::open(machine.registry, path, "pool 'p'", DiskHealthLimits()));
      opened.value()->become(i, Uuid::from_name(path), MiB);
      disks.add(std::move(opened).value());
      AddDiskRecord join;
      join.disk = DiskRecord{i, Uuid::from_name(path), path};
      join.segment = Segment{first, clusters_of_disks[i], i, 0};
      first += clusters_of_disks[i];
      apply(join);
    }
    disks.publish(state.segments());
    space = std::make_unique<Space>(machine.home(), state, disks, guard, *this, clusters_per_turn);
  }
  ~Bench() {
    durable = true;
    machine.run(space->close());
    space.reset();
    machine.run(disks.close());
  }
  Status may_grow() noexcept override { return grows ? Status() : Error(Errc::out_of_space); }
  Task<Status> make_durable() override {
    while (!durable) co_await machine.home().sleep(1ms);
    co_return outcome ? Status(*outcome) : Status();
  }
  void about_to_free(ClusterRun) noexcept override {}
  void space_returned() noexcept override {}
  void apply(const Record& record) {
    Effects effects;
    ASSERT_TRUE(state.check(record).ok()) << state.check(record).error().message();
    if (const auto* write = std::get_if<WriteRecord>(&record); write != nullptr && space)
      space->recorded(write->cluster);
    state.apply_lazily(record, effects);
    if (space) {
      space->retire(std::move(effects));
    } else {
      state.settle(effects);
    }
  }
  VolumeId volume(const std::string& name, std::uint32_t clusters, bool thick = false) {
    CreateRecord create;
    create.spec.id = state.next_id();
    create.spec.thick = thick;
    create.spec.uuid = Uuid::from_name(name);
    create.spec.name = name;
    create.spec.size_bytes = std::uint64_t{clusters} * cluster;
    apply(create);
    return create.spec.id;
  }
  Result<Space::Pick> pick(VolumeId volume, std::optional<Cluster> after = std::nullopt) {
    return machine.run(space->pick(volume, after));
  }
  // Picks a cluster and maps it.
  Cluster write(VolumeId volume, std::uint32_t index) {
    auto picked = pick(volume);
    EXPECT_TRUE(picked.ok());
    WriteRecord write;
    write.volume = volume;
    write.index = index;
    write.cluster = picked.value().cluster();
    write.block_count = cluster / block_bytes;
    apply(write);
    return write.cluster;
  }
  void unmap(VolumeId volume, std::uint32_t first, std::uint32_t count) {
    UnmapRecord record;
    record.volume = volume;
    record.first = first;
    record.count = count;
    apply(record);
  }

  Machine machine;
  CoreGuard guard;
  State state;
  DiskSet disks;
  bool durable = true;
  std::optional<Error> outcome;
  std::unique_ptr<Space> space;
  bool grows = true;
};

TEST(Space, NeighboursLieTogether) {
  Bench b({64, 64});
  const VolumeId v = b.volume("v", 64);
  std::vector<Space::Pick> held;
  std::optional<Cluster> last;
  for (int i = 0; i < 20; ++i) {
    auto picked = b.pick(v, last);
    ASSERT_TRUE(picked.ok());
    if (last) {
      EXPECT_EQ(to_index(picked.value().cluster()), to_index(*last) + 1);
    }
    last = picked.value().cluster();
    held.push_back(std::move(picked).value());
  }
}

TEST(Space, WhereMapsMayNotGrowThickVolumesGetWhatTheyReserved) {
  Bench b({64});
  const VolumeId thin = b.volume("thin", 8);
  const VolumeId thick = b.volume("thick", 1, true);
  b.grows = false;
  EXPECT_EQ(b.pick(thin).code(), Errc::out_of_space);
  EXPECT_TRUE(b.pick(thick).ok());
  b.grows = true;
  EXPECT_TRUE(b.pick(thin).ok());
}

TEST(Space, DisksAreUsedByTheirFreeSpace) {
  Bench b({300, 100});
  const VolumeId v = b.volume("v", 400);
  std::uint32_t on_first = 0;
  std::vector<Space::Pick> held;
  for (int i = 0; i < 200; ++i) {
    auto picked = b.pick(v);
    ASSERT_TRUE(picked.ok());
    if (b.state.clusters().disk_of(picked.value().cluster()) == 0) ++on_first;
    held.push_back(std::move(picked).value());
  }
  EXPECT_NEAR(on_first, 150, 3);
}

TEST(Space, NoClusterIsPickedTwiceAndAllArePicked) {
  Bench b({30, 34});
  const VolumeId v = b.volume("v", 100);
  std::vector<Space::Pick> held;
  std::set<std::uint32_t> seen;
  for (int i = 0; i < 64; ++i) {
    auto picked = b.pick(v);
    ASSERT_TRUE(picked.ok());
    EXPECT_TRUE(seen.insert(to_index(picked.value().cluster())).second);
    held.push_back(std::move(picked).value());
  }
  EXPECT_EQ(b.pick(v).code(), Errc::out_of_space);
  held.pop_back();  // given up
  EXPECT_TRUE(b.pick(v).ok());
}

TEST(Space, WhatIsReservedIsKept) {
  Bench b({64});
  const VolumeId thin = b.volume("thin", 64);
  const VolumeId thick = b.volume("thick", 20, true);
  b.space->set_image_reserve(4);
  EXPECT_EQ(b.space->available(), 40u);
  std::vector<Space::Pick> held;
  for (int i = 0; i < 40; ++i) held.push_back(std::move(b.pick(thin)).value());
  EXPECT_EQ(b.pick(thin).code(), Errc::out_of_space);
  for (int i = 0; i < 20; ++i) {
    auto picked = b.pick(thick);
    ASSERT_TRUE(picked.ok()) << i;
    held.push_back(std::move(picked).value());
  }
  EXPECT_EQ(b.pick(thick).code(), Errc::out_of_space);  // only the images' are left
  for (int i = 0; i < 4; ++i) {
    const auto image = b.space->pick_for_image();
    ASSERT_TRUE(image);
    b.space->free_image_cluster(*image);
  }
}

TEST(Space, APromiseIsKeptUntilItIsGivenUp) {
  Bench b({64});
  const VolumeId thin = b.volume("thin", 64);
  EXPECT_EQ(b.machine.run(b.space->promise(65)).code(), Errc::out_of_space);
  {
    auto promise = b.machine.run(b.space->promise(60));
    ASSERT_TRUE(promise.ok());
    const Space::Promise room = std::move(promise).value();
    EXPECT_EQ(b.space->available(), 4u);
    EXPECT_EQ(b.machine.run(b.space->promise(5)).code(), Errc::out_of_space);
  }
  EXPECT_EQ(b.space->available(), 64u);
  EXPECT_TRUE(b.pick(thin).ok());
}

Task<void> inside_for(Reactor& core, CoreGuard& guard, Nanos time) {
  const CoreGuard::Slot::Inside inside(guard.at(core.core()));
  co_await core.sleep(time);
}

TEST(Space, FreedClustersComeBackWhenTheyAreDurableAndNobodyLooks) {
  Bench b({8});
  const VolumeId v = b.volume("v", 8);
  for (std::uint32_t i = 0; i < 8; ++i) b.write(v, i);
  b.durable = false;
  b.unmap(v, 0, 8);
  b.machine.world.run_for(50ms);
  EXPECT_EQ(b.space->returning(), 8u);
  EXPECT_EQ(b.state.clusters().free_clusters(), 0u);
  EXPECT_EQ(b.space->available(), 8u);  // it is on its way
  b.machine.world.spawn(b.machine.process.core(0), inside_for(b.machine.home(), b.guard, 80ms));
  b.machine.world.run_for(1ms);
  b.durable = true;
  b.machine.world.run_for(50ms);
  EXPECT_EQ(b.state.clusters().free_clusters(), 0u);
  // Who needs space waits for it.
  EXPECT_TRUE(b.pick(v).ok());
  b.machine.world.run_for(50ms);
  EXPECT_EQ(b.state.clusters().free_clusters(), 8u);
  EXPECT_EQ(b.space->returning(), 0u);
  EXPECT_EQ(b.machine.node.disk("/dev/d0").stats().discards, 1u);  // a run is one command
}

TEST(Space, AJournalThatIsGoneGivesNothingBackAndNobodyWaits) {
  Bench b({8});
  const VolumeId v = b.volume("v", 8);
  for (std::uint32_t i = 0; i < 8; ++i) b.write(v, i);
  b.outcome = Error(Errc::failed_precondition, "frozen");
  b.unmap(v, 0, 8);
  EXPECT_EQ(b.pick(v).code(), Errc::out_of_space);
  EXPECT_EQ(b.state.clusters().free_clusters(), 0u);
}

// What must not be done in one turn of the core: volumes of many leaves, deleted, cut and unmapped at once.
struct Large {
  static constexpr std::uint32_t leaves = 6, clusters = leaves * Leaf::entries;
  static constexpr std::size_t per_turn = 700;

  Large() : b({3 * clusters}, per_turn) {}

  VolumeId full(const std::string& name) {
    const VolumeId v = b.volume(name, clusters);
    for (std::uint32_t i = 0; i < clusters; ++i) {
      WriteRecord write;
      write.volume = v;
      write.index = i;
      write.cluster = *b.state.clusters().find_free(0, b.state.clusters().size());
      write.block_count = cluster / block_bytes;
      b.apply(write);
    }
    return v;
  }
  struct Counts {
    std::uint64_t named = 0;
    std::uint64_t free = 0;
  };
  Counts counts() const {
    Counts now;
    now.free = b.state.clusters().free_clusters();
    for (std::uint32_t c = 0; c < b.state.clusters().size(); ++c)
      now.named += b.state.clusters().count(Cluster{c}) > 0 ? 1 : 0;
    return now;
  }
  // How much changes at once until nothing does any more.
  void watch(Counts before) {
    for (int quiet = 0; quiet < 200;) {
      const Counts now = counts();
      named_most = std::max(named_most, before.named - now.named);
      free_most = std::max(free_most, now.free - before.free);
      quiet = now.named == before.named && now.free == before.free ? quiet + 1 : 0;
      before = now;
      if (!b.machine.world.step()) break;
    }
  }

  Bench b;
  std::uint64_t named_most = 0, free_most = 0;
};

TEST(Space, AVolumeOfManyClustersIsGivenBackInTurns) {
  Large l;
  const VolumeId v = l.full("v");
  const Large::Counts before = l.counts();
  ASSERT_EQ(before.named, Large::clusters);
  DeleteRecord record;
  record.volume = v;
  l.b.apply(record);
  l.watch(before);
  EXPECT_EQ(l.counts().named, 0u);
  EXPECT_EQ(l.counts().free, before.free + Large::clusters);
  // Two leaves have more than fit into a turn.
  EXPECT_EQ(l.named_most, Leaf::entries);
  EXPECT_LE(l.free_most, Large::per_turn);
}

TEST(Space, WhatIsCutAndUnmappedIsGivenBackInTurns) {
  Large l;
  const VolumeId v = l.full("v");
  const Large::Counts before = l.counts();
  ResizeRecord resize;
  resize.volume = v;
  resize.size_bytes = std::uint64_t{Large::clusters / 2 + 7} * cluster;
  l.b.apply(resize);
  for (std::uint32_t leaf = 0; leaf < Large::leaves / 2; ++leaf)
    l.b.unmap(v, leaf * Leaf::entries, Leaf::entries);
  l.watch(before);
  EXPECT_EQ(l.counts().named, 7u);
  // A leaf that is cut in the middle is changed at once, beside one that fell.
  EXPECT_LE(l.named_most, 2 * Leaf::entries);
  EXPECT_LE(l.free_most, Large::per_turn);
}

TEST(Space, WhoNeedsSpaceWaitsForWhatIsTakenApart) {
  Large l;
  const VolumeId v = l.full("v"), w = l.full("w"), x = l.full("x");
  ASSERT_EQ(l.counts().free, 0u);
  DeleteRecord record;
  record.volume = v;
  l.b.apply(record);
  ASSERT_TRUE(l.b.state.has_fallen());
  EXPECT_TRUE(l.b.pick(w).ok());
  record.volume = w;
  l.b.apply(record);
  ASSERT_TRUE(l.b.state.has_fallen());
  EXPECT_TRUE(l.b.machine.run(l.b.space->promise(2 * Large::clusters)).ok());
  record.volume = x;
  l.b.apply(record);  // and ends while it is taken apart
}

TEST(Space, WhatAThickVolumeClaimedIsNotSpareWhileItsPickIsHeld) {
  Bench b({64});
  const VolumeId thin = b.volume("thin", 64);
  const VolumeId thick = b.volume("thick", 20, true);
  std::vector<Space::Pick> held;
  for (int i = 0; i < 44; ++i) held.push_back(std::move(b.pick(thin)).value());
  ASSERT_EQ(b.pick(thin).code(), Errc::out_of_space);
  auto picked = b.pick(thick);
  ASSERT_TRUE(picked.ok());
  WriteRecord write;
  write.volume = thick;
  write.index = 0;
  write.cluster = picked.value().cluster();
  write.block_count = cluster / block_bytes;
  b.apply(write);
  EXPECT_EQ(b.pick(thin).code(), Errc::out_of_space) << "another writer of the cluster has the pick still";
  for (int i = 0; i < 19; ++i) {
    auto more = b.pick(thick);
    ASSERT_TRUE(more.ok()) << i;
    held.push_back(std::move(more).value());
  }
}

TEST(Space, AnImageTakesWhatIsKeptForIt) {
  Bench b({64});
  b.volume("thin", 64);
  b.space->set_image_reserve(4);
  std::vector<Cluster> image;
  for (int i = 0; i < 4; ++i) image.push_back(*b.space->pick_for_image());
  EXPECT_EQ(b.space->available(), 60u);
  for (const Cluster c : image) b.space->free_image_cluster(c);
  EXPECT_EQ(b.space->available(), 60u);
}

}  // namespace
}  // namespace holdfast::pool
