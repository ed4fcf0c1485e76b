// Real threads: two cores write, read and trim a volume while snapshots come and go, epochs advance and its size
// changes. For ThreadSanitizer, and for what only real concurrency shows.
#include <cstring>

#include <gtest/gtest.h>

#include "base/log.h"
#include "base/units.h"
#include "block/builtin.h"
#include "pool/pool.h"
#include "rt/cross_core.h"
#include "rt/when_all.h"
#include "uring/runtime.h"

namespace holdfast::pool {
namespace {

constexpr std::uint32_t sector = 512;
constexpr std::uint64_t sectors = 4096;  // 2 MiB: half of it for each core
constexpr std::uint64_t burst = 9;       // sectors of one write, over the edges of blocks

struct Load {
  bool stop[2] = {false, false};
  std::uint64_t writes[2] = {0, 0};
  std::string failure[2];
};

// One core's host: writes or trims in its half again and again, and checks what it reads. No lambda, no captures.
Task<void> host(Reactor& core, BlockDevice& device, Load& load) {
  const unsigned me = core.core();
  std::string& failure = load.failure[me];
  auto opened = co_await device.open_channel(core);
  const std::unique_ptr<Channel> channel = std::move(opened).value();
  const Buffer buffer = co_await core.buffers().acquire(burst * sector);
  std::vector<std::byte> expected(sectors / 2, std::byte{0});
  const std::uint64_t first = me * sectors / 2;
  while (!load.stop[me] && failure.empty()) {
    const std::uint64_t at = core.random().below(sectors / 2 - burst);
    const bool trim = core.random().below(8) == 0;
    const auto fill = trim ? std::byte{0} : static_cast<std::byte>(core.random().next());
    std::memset(buffer.data(), static_cast<int>(fill), buffer.size());
    const IoVec vec = buffer.vec();
    const IoVecs vecs(&vec, 1);
    const BlockRange range{Lba{first + at}, burst};
    Task<Status> change =
        trim ? channel->deallocate(range) : channel->write(Lba{first + at}, vecs, Durable::no);
    const Status changed = co_await std::move(change);
    if (!changed.ok()) failure = "write: " + changed.error().message();
    std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(at), burst, fill);
    const std::uint64_t look = core.random().below(sectors / 2 - burst);
    const Status read = co_await channel->read(Lba{first + look}, vecs);
    if (!read.ok()) failure = "read: " + read.error().message();
    for (std::uint64_t i = 0; i < burst; ++i) {
      if (buffer.data()[i * sector] != expected[look + i]) failure = "read something else than was written";
    }
    ++load.writes[me];
    co_await core.sleep(20us);  // memory answers at once: nothing else would ever run here
  }
  co_await channel->close();
}

Task<void> host_on(Reactor& home, Reactor& core, BlockDevice& device, Load& load) {
  auto there = [&]() -> Task<void> { return host(core, device, load); };
  co_await run_on(home, core, there);
}

Task<Status> round_of_trouble(Pool& pool, Uuid volume, std::uint32_t round) {
  SnapshotParams params;
  params.name = "s" + std::to_string(round);
  params.uuid = Uuid::from_name(params.name);
  const Uuid snapshot = params.uuid;
  const auto taken = co_await pool.create_snapshot(volume, std::move(params));
  if (!taken.ok()) co_return taken.error();
  HF_CO_CHECK(co_await pool.device(volume)->epochs()->announce(round + 1));
  HF_CO_CHECK(co_await pool.resize_volume(volume, (4 + round % 3) * MiB));
  if (round % 4 == 3) HF_CO_CHECK(co_await pool.checkpoint());
  if (round < 2) co_return Status();
  co_return co_await pool.destroy_volume(round % 5 == 0 ? snapshot
                                                        : Uuid::from_name("s" + std::to_string(round - 2)));
}

Task<void> trouble_then_stop(Reactor& home, const Cores& cores, Pool& pool, Uuid volume, Load& load,
                             std::string& failure) {
  for (std::uint32_t round = 0; round < 24 && failure.empty(); ++round) {
    const Status done = co_await round_of_trouble(pool, volume, round);
    // A snapshot that went as the newest is asked for again two rounds later.
    if (!done.ok() && done.code() != Errc::not_found) failure = done.error().message();
    co_await home.sleep(3ms);
  }
  auto stop = [&](Reactor& core) -> Task<void> {
    load.stop[core.core()] = true;
    co_return;
  };
  co_await run_on_all(home, cores, stop);
}

Task<void> run_all(const Cores& cores, std::string& failure, std::uint64_t& writes) {
  Reactor& home = cores.home();
  DeviceRegistry registry(cores);
  register_builtin_schemes(registry, cores);
  PoolParams params;
  params.name = "p";
  params.cluster_bytes = 64 * KiB;
  for (const char* uri : {"malloc:///m0?size_mb=48", "malloc:///m1?size_mb=32"}) {
    const auto made = co_await registry.create(uri);
    if (made.ok()) params.disks.emplace_back(made.value()->name());
  }
  PoolOptions options;
  options.journal_bytes = 128 * KiB;
  auto made = co_await Pool::create(registry, std::move(params), options, nullptr);
  if (!made.ok()) {
    failure = made.error().message();
    co_return;
  }
  Pool& pool = *made.value();
  VolumeParams volume;
  volume.name = "v";
  volume.uuid = Uuid::from_name("v");
  volume.size_bytes = 4 * MiB;
  const Uuid uuid = volume.uuid;
  const auto created = co_await pool.create_volume(std::move(volume));
  if (!created.ok()) failure = created.error().message();
  Load load;
  std::vector<Task<void>> tasks;
  for (Reactor* core : cores) tasks.push_back(host_on(home, *core, *pool.device(uuid), load));
  tasks.push_back(trouble_then_stop(home, cores, pool, uuid, load, failure));
  co_await when_all(std::span(tasks));
  for (const auto& f : load.failure) failure += f;
  writes = load.writes[0] + load.writes[1];
  const Status closed = co_await pool.close();
  if (!closed.ok()) failure += closed.error().message();
  made.value().reset();
  co_await registry.close();
}

TEST(Stress, TwoRealCoresWriteWhileSnapshotsComeAndGo) {
  log::configure(log::Level::error, log::Format::text);
  uring::Runtime::Options options;
  options.cores = 2;
  options.memory_bytes = 64 * MiB;
  auto runtime = uring::Runtime::create(options);
  if (!runtime.ok()) GTEST_SKIP() << runtime.error().message();
  std::string failure;
  std::uint64_t writes = 0;
  runtime.value()->run(run_all(runtime.value()->cores(), failure, writes));
  EXPECT_EQ(failure, "");
  EXPECT_GT(writes, 100u);
}

}  // namespace
}  // namespace holdfast::pool
