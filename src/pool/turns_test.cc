// How much a pool does in one turn of its core, where nothing makes it wait: on disks that end every operation at once.
#include <gtest/gtest.h>

#include "pool/testing/pool_bench.h"
#include "rt/scope.h"

namespace holdfast::pool {
namespace {

using namespace testing_support;  // NOLINT: tests only

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

}  // namespace
}  // namespace holdfast::pool
