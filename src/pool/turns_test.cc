// How much a pool does in one turn of its core.
#include <gtest/gtest.h>

#include "pool/testing/pool_bench.h"
#include "rt/scope.h"

namespace holdfast::pool {
namespace {

using namespace testing_support;  // NOLINT: tests only

// On a disk that ends every operation at once: nothing makes it wait.
struct MemoryPool {
  MemoryPool() {
    PoolParams params;
    params.name = "p";
    params.disks = {"malloc:///d0?size_mb=1024"};
    params.cluster_bytes = 64 * KiB;
    PoolOptions options;
    options.background_completion = false;
    auto made = machine.run(Pool::create(machine.registry, params, options, nullptr));
    if (!made.ok()) panic(made.error().message().c_str());
    pool = std::move(made).value();
  }
  ~MemoryPool() { EXPECT_TRUE(machine.run(pool->close()).ok()); }
  // How often the core turns to something else before the task ends.
  unsigned turns_of(Task<Status> task) {
    bool over = false;
    const auto wait = [](Task<Status> of, bool& ended) -> Task<void> {
      const Status done = co_await std::move(of);
      EXPECT_TRUE(done.ok()) << done.error().message();
      ended = true;
    };
    TaskScope scope(machine.home());
    scope.spawn(wait(std::move(task), over));
    unsigned turns = 0;
    while (!over && machine.world.step()) ++turns;
    machine.run(scope.join());
    return turns;
  }
  Machine machine;
  std::unique_ptr<Pool> pool;
};

TEST(Turns, ACheckpointIsWrittenPieceByPiece) {
  constexpr std::uint64_t cluster = 64 * KiB, clusters = 12000;
  constexpr std::uint64_t bytes_of_each = 20;  // of the image, at least: a Partial of 16 blocks
  MemoryPool p;
  VolumeParams params;
  params.name = "v";
  params.uuid = uuid_of("v");
  params.size_bytes = clusters * cluster;
  ASSERT_TRUE(p.machine.run(p.pool->create_volume(params)).ok());
  const unsigned small = p.turns_of(p.pool->checkpoint());
  {
    OpenChannel channel(p.machine, *p.pool->device(uuid_of("v")));
    for (std::uint64_t i = 0; i < clusters; ++i)
      ASSERT_EQ(channel.write(i * cluster / 512, filled(4 * KiB, 1)), Errc::ok);
  }
  p.machine.world.run_for(std::chrono::seconds(2));
  EXPECT_GE(p.turns_of(p.pool->checkpoint()), small + clusters * bytes_of_each / (64 * KiB));
}

// As many records as a large range takes, each in a turn of its own.
TEST(Turns, ALargeRangeIsDiscardedRecordByRecord) {
  constexpr std::uint64_t cluster = 64 * KiB, clusters_of_record = 16384, records = 20;
  MemoryPool p;
  VolumeParams params;
  params.name = "v";
  params.uuid = uuid_of("v");
  params.size_bytes = records * clusters_of_record * cluster;
  ASSERT_TRUE(p.machine.run(p.pool->create_volume(params)).ok());
  OpenChannel channel(p.machine, *p.pool->device(uuid_of("v")));
  const auto turns_of = [&](std::uint64_t count) {
    const std::uint64_t bytes = count * clusters_of_record * cluster;
    for (std::uint64_t at = 0; at < bytes; at += clusters_of_record * cluster)
      EXPECT_EQ(channel.write(at / 512, filled(4 * KiB, 1)), Errc::ok);
    p.machine.world.run_for(std::chrono::seconds(2));
    const std::uint64_t before = p.pool->view().commits;
    const unsigned turns = p.turns_of(channel.channel->deallocate(BlockRange{Lba{0}, bytes / 512}));
    EXPECT_GE(p.pool->view().commits - before, count);
    return turns;
  };
  const unsigned one = turns_of(1);
  EXPECT_GE(turns_of(records), one + records - 1);
}

// A pool whose first writes come all at once.
struct Burst {
  static constexpr std::size_t per_turn = 8;
  Burst() {
    sim::DiskOptions disk;
    disk.size_bytes = GiB;
    machine.node.add_disk("/dev/d0", disk);
    PoolParams params;
    params.name = "p";
    params.disks = {"/dev/d0"};
    params.cluster_bytes = 64 * KiB;
    PoolOptions options;
    options.background_completion = false;
    options.journal_bytes = 16 * MiB;
    options.clusters_per_turn = per_turn;
    auto made = machine.run(Pool::create(machine.registry, params, options, nullptr));
    if (!made.ok()) panic(made.error().message().c_str());
    pool = std::move(made).value();
    VolumeParams volume;
    volume.name = "v";
    volume.uuid = uuid_of("v");
    volume.size_bytes = 512 * MiB;
    EXPECT_TRUE(machine.run(pool->create_volume(volume)).ok());
  }
  ~Burst() { EXPECT_TRUE(machine.run(pool->close()).ok()); }
  static Task<void> write_one(Channel& to, Lba at, IoVec from) {
    const Status done = co_await to.write(at, IoVecs(&from, 1), Durable::no);
    EXPECT_TRUE(done.ok());
  }
  static Task<void> write_all(Reactor& core, Channel& to, std::uint64_t first, std::uint64_t end,
                              IoVec from) {
    TaskScope scope(core);
    for (std::uint64_t i = first; i < end; ++i) scope.spawn(write_one(to, Lba{i * 128}, from));
    co_await scope.join();
  }
  void write(std::uint64_t first, std::uint64_t end) {
    OpenChannel channel(machine, *pool->device(uuid_of("v")));
    Bytes block = filled(4 * KiB, 1);
    machine.run(write_all(machine.home(), *channel.channel, first, end, vec(block)));
  }
  // How much happens in the second that follows.
  std::uint64_t steps() {
    const std::uint64_t before = machine.world.steps();
    machine.world.run_for(std::chrono::seconds(1));
    return machine.world.steps() - before;
  }
  Machine machine;
  std::unique_ptr<Pool> pool;
};

TEST(Turns, DataThatIsSettledIsLetGoOfInTurns) {
  Burst b;
  b.write(0, 10);
  const std::uint64_t few = b.steps();
  constexpr std::uint64_t writes = 300;
  b.write(10, 10 + writes);
  EXPECT_GE(b.steps(), few + writes / Burst::per_turn / 2);
}

TEST(Turns, TheRegionsOfALargeRangeAreLookedAtInTurns) {
  constexpr std::uint64_t regions = 1 << 20, clusters_of_record = 16384, regions_of_turn = 512;
  MemoryPool p;
  VolumeParams params;
  params.name = "v";
  params.uuid = uuid_of("v");
  params.size_bytes = regions * MiB;
  ASSERT_TRUE(p.machine.run(p.pool->create_volume(params)).ok());
  BlockDevice& device = *p.pool->device(uuid_of("v"));
  ASSERT_TRUE(p.machine.run(device.epochs()->announce(1)).ok());
  OpenChannel channel(p.machine, device);
  const unsigned turns = p.turns_of(channel.channel->deallocate(BlockRange{Lba{0}, regions * MiB / 512}));
  EXPECT_GE(turns, regions * MiB / (64 * KiB) / clusters_of_record + regions / regions_of_turn);
}

}  // namespace
}  // namespace holdfast::pool
