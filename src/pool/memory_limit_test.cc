// Memory that the metadata of a pool takes: by what is mapped, not by where; and no more than what it may.
#include "pool/memory_limit.h"

#include <gtest/gtest.h>

#include "pool/check.h"
#include "pool/testing/image_bytes.h"
#include "pool/testing/needs_slab.h"
#include "pool/testing/pool_bench.h"

namespace holdfast::pool {
namespace {

using namespace testing_support;  // NOLINT: tests only

constexpr std::uint64_t large = 16ULL << 40;  // 2^28 clusters of 64 KiB
constexpr std::uint64_t leaf_span = Leaf::entries * 64 * KiB;

// A pool with a block in each of so many leaves of a volume, far from each other.
struct Scattered {
  explicit Scattered(std::uint64_t leaves) {
    OpenChannel v(bench.machine, bench.volume("v", large));
    for (std::uint64_t i = 0; i < leaves; ++i)
      EXPECT_EQ(v.write((i + 1) * (large / (leaves + 1)) / leaf_span * leaf_span / 512, filled(4 * KiB, 1)),
                Errc::ok);
  }
  Status open(std::uint64_t map_bytes_max) {
    bench.options.map_bytes_max = map_bytes_max;
    auto opened = bench.machine.run(
        Pool::open(bench.machine.registry, bench.paths, "p", std::nullopt, bench.options, &bench));
    if (!opened.ok()) return opened.error();
    bench.pool = std::move(opened).value();
    return Status();
  }
  std::size_t memory() {
    const auto checked = bench.machine.run(check_pool(bench.machine.registry, bench.paths, false));
    return checked.value().state->map_bytes();
  }
  PoolBench bench;
};

TEST(MemoryLimit, AClusterAtTheEndOfALargeVolumeTakesLittle) {
  Scattered s(1);
  s.bench.close();
  const auto checked = s.bench.machine.run(check_pool(s.bench.machine.registry, s.bench.paths, false));
  ASSERT_TRUE(checked.ok());
  EXPECT_TRUE(checked.value().findings.empty());
  EXPECT_LT(checked.value().state->memory(), 64 * KiB);
}

TEST(MemoryLimit, APoolThatTakesMoreIsRefusedByName) {
  HF_NEEDS_SLAB();
  Scattered s(300);
  s.bench.close();
  const std::size_t needed = s.memory();
  ASSERT_GT(needed, 2 * MiB);
  const Status refused = s.open(MiB);
  EXPECT_EQ(refused.code(), Errc::resource_exhausted);
  const std::string& text = refused.error().message();
  EXPECT_NE(text.find("pool 'p'"), std::string::npos) << text;
  EXPECT_NE(text.find("more than 1 MiB of memory"), std::string::npos) << text;
  const auto checked = s.bench.machine.run(check_pool(s.bench.machine.registry, s.bench.paths, false, MiB));
  EXPECT_EQ(checked.code(), Errc::resource_exhausted);
  const Status opened = s.open(needed);
  EXPECT_TRUE(opened.ok()) << opened.error().message();
}

// Seven eighths of the limit: what it takes then it may take when it is opened.
TEST(MemoryLimit, AnOpenPoolDoesNotOutgrowWhatItMayTakeToOpen) {
  HF_NEEDS_SLAB();
  constexpr std::uint64_t most = 4 * MiB;
  Scattered s(1);
  s.bench.close();
  ASSERT_TRUE(s.open(most).ok());
  auto v = std::make_unique<OpenChannel>(s.bench.machine, s.bench.device("v"));
  std::uint64_t taken = 0;
  Errc last = Errc::ok;
  for (; taken < 2000 && last == Errc::ok; ++taken)
    last = v->write((taken * 100 + 1) * leaf_span / 512, filled(4 * KiB, 2));
  EXPECT_EQ(last, Errc::out_of_space);
  EXPECT_GT(taken, 100u);
  EXPECT_EQ(v->write(taken * 100 * leaf_span / 512, filled(4 * KiB, 2)), Errc::out_of_space);
  // Blocks that are there, and others of their clusters, take nothing.
  EXPECT_EQ(v->write(leaf_span / 512, filled(8 * KiB, 3)), Errc::ok);
  const auto refused =
      s.bench.machine.run(s.bench.pool->create_snapshot(uuid_of("v"), PoolBench::named("s")));
  EXPECT_EQ(refused.code(), Errc::out_of_space);
  EXPECT_NE(refused.error().message().find("pool 'p': the maps of its volumes"), std::string::npos);
  v.reset();
  s.bench.close();
  ASSERT_TRUE(s.open(most).ok());
  // Deleting gives it back.
  ASSERT_EQ(s.bench.destroy("v"), Errc::ok);
  OpenChannel w(s.bench.machine, s.bench.volume("w", large));
  EXPECT_EQ(w.write(0, filled(4 * KiB, 1)), Errc::ok);
}

// Twelve bytes of the image for a snapshot's whole map.
TEST(MemoryLimit, ManyMapsOfTheSameLeavesAreCountedOneByOne) {
  State state(64 * KiB);
  Effects effects;
  const auto apply = [&](Record record) {
    state.apply(record, effects);
    state.settle(effects);
    effects = Effects();
  };
  constexpr std::uint32_t leaves = 4000, snapshots = 100;
  AddDiskRecord disk;
  disk.disk = DiskRecord{0, uuid_of("d"), "d"};
  disk.segment = Segment{0, leaves, 0, 0};
  apply(disk);
  CreateRecord create;
  create.spec.id = VolumeId{1};
  create.spec.name = "v";
  create.spec.uuid = uuid_of("v");
  create.spec.size_bytes = leaves * leaf_span;
  apply(create);
  for (std::uint32_t i = 0; i < leaves; ++i) {
    WriteRecord write;
    write.volume = VolumeId{1};
    write.index = i * Leaf::entries;
    write.cluster = Cluster{i};
    write.block_count = 16;
    apply(write);
  }
  const std::size_t alone = state.map_bytes();
  CreateRecord snapshot = create;
  snapshot.spec.kind = VolumeKind::snapshot;
  snapshot.spec.source = VolumeId{1};
  snapshot.spec.source_uuid = create.spec.uuid;
  for (std::uint32_t i = 0; i < snapshots; ++i) {
    snapshot.spec.id = state.next_id();
    snapshot.spec.name = "s" + std::to_string(i);
    snapshot.spec.uuid = uuid_of(snapshot.spec.name);
    apply(snapshot);
  }
  const std::size_t all = state.map_bytes();
  EXPECT_GT(all, alone + snapshots * leaves * 8);
  const std::vector<std::byte> image = image_of(state);
  const auto read = [&image](std::uint64_t most) {
    ImageReader reader(ImageReader::Head(), most);
    const Status fed = reader.feed(image);
    return fed.ok() ? reader.finish().code() : fed.code();
  };
  EXPECT_EQ(read(alone + (all - alone) / 2), Errc::resource_exhausted);
  EXPECT_EQ(read(all + all / 32), Errc::ok);

  // The journal, too: each of these records has fewer bytes than the map that it makes.
  MemoryLimit limit(alone + (all - alone) / 2);
  EXPECT_EQ(limit.charge(state, Record(snapshot)).code(), Errc::ok);
  Status charged;
  for (int i = 0; i < 1000 && charged.ok(); ++i) charged = limit.charge(state, Record(snapshot));
  EXPECT_EQ(charged.code(), Errc::resource_exhausted);
}

TEST(MemoryLimit, APoolThatIsOpenedAgainKnowsWhatItTakes) {
  HF_NEEDS_SLAB();
  constexpr std::uint64_t most = 4 * MiB;
  Scattered s(1);
  s.bench.close();
  std::uint64_t taken = 0;
  for (int round = 0; round < 4; ++round) {
    const Status opened = s.open(most);
    ASSERT_TRUE(opened.ok()) << "round " << round << ": " << opened.error().message();
    {
      OpenChannel v(s.bench.machine, s.bench.device("v"));
      Errc last = Errc::ok;
      for (int i = 0; i < 1000 && last == Errc::ok; ++i, ++taken)
        last = v.write((taken * 100 + 1) * leaf_span / 512, filled(4 * KiB, 2));
      EXPECT_EQ(last, Errc::out_of_space);
    }
    s.bench.close();
  }
}

}  // namespace
}  // namespace holdfast::pool
