// What a pool's metadata costs, as JSON: opening many volumes, a very large pool, and the pause of a snapshot.
//   pool-figures open FOLDER VOLUMES SNAPSHOTS TIB     times to make, close and open; memory
//   pool-figures pause FOLDER SECONDS                  latency of writes around snapshots of a 1 TiB thin volume
// The disks are sparse files in the folder, removed at the end.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <sys/resource.h>

#include "base/log.h"
#include "base/units.h"
#include "block/builtin.h"
#include "pool/pool.h"
#include "rt/scope.h"
#include "uring/runtime.h"

namespace {

using namespace holdfast;

double milliseconds(Nanos n) { return std::chrono::duration<double, std::milli>(n).count(); }

double resident_mib() {
  std::ifstream statm("/proc/self/statm");
  std::uint64_t pages = 0, resident = 0;
  statm >> pages >> resident;
  return static_cast<double>(resident) * 4096 / MiB;
}

std::vector<std::string> sparse_disks(const std::string& folder, std::uint64_t bytes) {
  constexpr std::uint64_t disk_bytes_max = 10 * TiB;
  std::vector<std::string> paths;
  for (std::uint64_t done = 0; done < bytes; done += disk_bytes_max) {
    paths.push_back(folder + "/figures" + std::to_string(paths.size()) + ".img");
    std::ofstream(paths.back()).close();
    std::filesystem::resize_file(paths.back(), std::min(bytes - done, disk_bytes_max));
  }
  return paths;
}

Task<Status> write_block(Channel& channel, std::byte* block, std::uint64_t offset) {
  const IoVec vec{block, 4 * KiB};
  const IoVecs vecs(&vec, 1);
  co_return co_await channel.write(Lba{offset / 512}, vecs, Durable::no);
}

Task<Status> make_volume(Reactor& home, pool::Pool& pool, std::uint64_t i, std::uint64_t snapshots,
                         std::uint64_t bytes) {
  pool::VolumeParams params;
  params.name = "v" + std::to_string(i);
  params.uuid = Uuid::from_name(params.name);
  params.size_bytes = bytes;
  const Uuid uuid = params.uuid;
  const std::string name = params.name;
  const auto made = co_await pool.create_volume(std::move(params));
  if (!made.ok()) co_return made.error();
  HF_CO_TRY(const std::unique_ptr<Channel> channel, co_await pool.device(uuid)->open_channel(home));
  const Buffer block = co_await home.buffers().acquire(4 * KiB);
  std::memset(block.data(), 1, block.size());
  Status outcome;
  for (std::uint64_t s = 0; s < snapshots && outcome.ok(); ++s) {
    outcome = co_await write_block(*channel, block.data(), home.random().below(bytes / 4096) * 4096);
    if (!outcome.ok()) break;
    pool::SnapshotParams snapshot;
    snapshot.name = name + "-s" + std::to_string(s);
    snapshot.uuid = Uuid::from_name(snapshot.name);
    const auto taken = co_await pool.create_snapshot(uuid, std::move(snapshot));
    if (!taken.ok()) outcome = taken.error();
  }
  co_await channel->close();
  co_return outcome;
}

Task<Status> measure_open(const Cores& cores, std::string folder, std::uint64_t volumes,
                          std::uint64_t snapshots, std::uint64_t tib) {
  Reactor& home = cores.home();
  DeviceRegistry registry(cores);
  register_builtin_schemes(registry, cores);
  pool::PoolParams params;
  params.name = "figures";
  params.disks = sparse_disks(folder, tib * TiB);
  const std::vector<std::string> disks = params.disks;
  const double before_mib = resident_mib();
  Nanos at = home.now();
  HF_CO_TRY(std::unique_ptr<pool::Pool> pool,
            co_await pool::Pool::create(registry, std::move(params), pool::PoolOptions(), nullptr));
  for (std::uint64_t i = 0; i < volumes; ++i)
    HF_CO_CHECK(co_await make_volume(home, *pool, i, snapshots, tib * TiB / volumes));
  const double make_ms = milliseconds(home.now() - at);
  const double made_mib = resident_mib() - before_mib;
  at = home.now();
  HF_CO_CHECK(co_await pool->close());
  pool.reset();
  const double close_ms = milliseconds(home.now() - at);
  at = home.now();
  HF_CO_TRY(pool, co_await pool::Pool::open(registry, disks, "figures", std::nullopt, pool::PoolOptions(),
                                            nullptr));
  const double open_ms = milliseconds(home.now() - at);
  at = home.now();
  const std::size_t seen = pool->volumes().size();
  const double list_ms = milliseconds(home.now() - at);
  std::printf(
      "{\"volumes\": %zu, \"make_ms\": %.1f, \"close_ms\": %.1f, \"open_ms\": %.1f, \"list_ms\": %.1f, "
      "\"memory_mib\": %.1f}\n",
      seen, make_ms, close_ms, open_ms, list_ms, made_mib);
  HF_CO_CHECK(co_await pool->close());
  pool.reset();
  co_await registry.close();
  for (const std::string& disk : disks) std::filesystem::remove(disk);
  co_return Status();
}

struct Sample {
  Nanos began{0};
  Nanos took{0};
  Nanos paused{0};  // of a snapshot
};

struct Load {
  bool stop = false;
  std::uint64_t bytes = 0;
  std::vector<Sample> samples;
};

// Overwrites random blocks of the allocated part.
Task<void> keep_writing(Reactor& core, Channel& channel, Load& load) {
  const Buffer block = co_await core.buffers().acquire(4 * KiB);
  std::memset(block.data(), 2, block.size());
  while (!load.stop) {
    Sample sample;
    sample.began = core.now();
    const Status done =
        co_await write_block(channel, block.data(), core.random().below(load.bytes / 4096) * 4096);
    done.ignore("a figure, not a test");
    sample.took = core.now() - sample.began;
    load.samples.push_back(sample);
  }
}

double percentile_ms(std::vector<Nanos>& all, double percent) {
  if (all.empty()) return 0;
  std::sort(all.begin(), all.end());
  return milliseconds(all[static_cast<std::size_t>(static_cast<double>(all.size() - 1) * percent / 100)]);
}

void print_pause(const Load& load, const std::vector<Sample>& snapshots) {
  std::vector<Nanos> around, others, calls, pauses;
  for (const Sample& s : snapshots) {
    calls.push_back(s.took);
    pauses.push_back(s.paused);
  }
  for (const Sample& write : load.samples) {
    const bool near = std::any_of(snapshots.begin(), snapshots.end(), [&write](const Sample& s) {
      return write.began < s.began + s.took && s.began < write.began + write.took;
    });
    (near ? around : others).push_back(write.took);
  }
  const double around_p99 = percentile_ms(around, 99);
  const double others_p99 = percentile_ms(others, 99);
  const double pause_median = percentile_ms(pauses, 50);
  std::printf(
      "{\"snapshots\": %zu, \"pause_median_ms\": %.3f, \"pause_max_ms\": %.3f, \"call_median_ms\": %.3f, "
      "\"writes_around\": %zu, \"around_p99_ms\": %.3f, \"others_p99_ms\": %.3f}\n",
      snapshots.size(), pause_median, milliseconds(pauses.back()), percentile_ms(calls, 50), around.size(),
      around_p99, others_p99);
}

Task<Status> fill(Reactor& core, Channel& channel, std::uint64_t bytes) {
  const Buffer block = co_await core.buffers().acquire(MiB);
  std::memset(block.data(), 3, block.size());
  const IoVec vec = block.vec();
  const IoVecs vecs(&vec, 1);
  for (std::uint64_t at = 0; at < bytes; at += MiB)
    HF_CO_CHECK(co_await channel.write(Lba{at / 512}, vecs, Durable::no));
  co_return Status();
}

Task<Status> measure_pause(const Cores& cores, std::string folder, std::uint64_t seconds) {
  constexpr unsigned depth = 8;
  Reactor& home = cores.home();
  DeviceRegistry registry(cores);
  register_builtin_schemes(registry, cores);
  pool::PoolParams params;
  params.name = "figures";
  params.disks = sparse_disks(folder, 2 * TiB);
  const std::vector<std::string> disks = params.disks;
  HF_CO_TRY(std::unique_ptr<pool::Pool> pool,
            co_await pool::Pool::create(registry, std::move(params), pool::PoolOptions(), nullptr));
  HF_CO_CHECK(co_await make_volume(home, *pool, 0, 0, TiB));
  const Uuid uuid = pool->volumes().front().spec.uuid;
  HF_CO_TRY(const std::unique_ptr<Channel> channel, co_await pool->device(uuid)->open_channel(home));
  Load load;
  load.bytes = GiB;
  HF_CO_CHECK(co_await fill(home, *channel, load.bytes));
  TaskScope scope(home);
  for (unsigned i = 0; i < depth; ++i) scope.spawn(keep_writing(home, *channel, load));
  std::vector<Sample> snapshots;
  for (std::uint64_t i = 0; i < 2 * seconds; ++i) {
    co_await home.sleep(500ms);
    pool::SnapshotParams snapshot;
    snapshot.name = "s" + std::to_string(i);
    snapshot.uuid = Uuid::from_name(snapshot.name);
    Sample sample;
    sample.began = home.now();
    const auto taken = co_await pool->create_snapshot(uuid, std::move(snapshot));
    if (!taken.ok()) co_return taken.error();
    sample.took = home.now() - sample.began;
    sample.paused = pool->view().snapshot_pause;
    snapshots.push_back(sample);
  }
  load.stop = true;
  co_await scope.join();
  co_await channel->close();
  print_pause(load, snapshots);
  HF_CO_CHECK(co_await pool->close());
  pool.reset();
  co_await registry.close();
  for (const std::string& disk : disks) std::filesystem::remove(disk);
  co_return Status();
}

int usage() {
  std::fputs("pool-figures open FOLDER VOLUMES SNAPSHOTS TIB | pool-figures pause FOLDER SECONDS\n", stderr);
  return 2;
}

}  // namespace

int main(int count, char** words) {
  const std::string what = count > 1 ? words[1] : "";
  if ((what != "open" || count != 6) && (what != "pause" || count != 4)) return usage();
  log::configure(log::Level::error, log::Format::text);
  uring::Runtime::Options options;
  options.cores = 1;
  options.memory_bytes = 64 * MiB;
  auto runtime = uring::Runtime::create(options);
  if (!runtime.ok()) {
    std::fprintf(stderr, "%s\n", runtime.error().message().c_str());
    return 1;
  }
  const Cores& cores = runtime.value()->cores();
  const auto number = [words](int i) {
    return std::max<std::uint64_t>(1, std::strtoull(words[i], nullptr, 10));
  };
  const Status done =
      runtime.value()->run(what == "open" ? measure_open(cores, words[2], number(3), number(4), number(5))
                                          : measure_pause(cores, words[2], number(3)));
  if (done.ok()) return 0;
  std::fprintf(stderr, "%s\n", done.error().message().c_str());
  return 1;
}
