// How long giving space back holds the home core, as JSON, a line for each thing that is measured:
//   pool-turns TIB
// A thin volume of so many TiB with every cluster allocated is discarded, shrunk, reverted and deleted, and so are
// snapshots of it, while another volume of the pool is written. The disks keep nothing: what is measured is the work of
// the pool alone.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/units.h"
#include "block/builtin.h"
#include "pool/pool.h"
#include "rt/scope.h"
#include "uring/runtime.h"

namespace {

using namespace holdfast;

double milliseconds(Nanos n) { return std::chrono::duration<double, std::milli>(n).count(); }

double percentile_ms(std::vector<Nanos>& all, double percent) {
  if (all.empty()) return 0;
  std::sort(all.begin(), all.end());
  return milliseconds(all[static_cast<std::size_t>(static_cast<double>(all.size() - 1) * percent / 100)]);
}

// Of this thread: that the machine does something else in between is not a turn's fault.
Nanos processor_time() {
  timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return std::chrono::seconds(t.tv_sec) + Nanos(t.tv_nsec);
}

// What the core and a neighbour see meanwhile.
struct Watch {
  bool stop = false;
  Nanos longest_turn{0};
  std::uint64_t turns_over_1ms = 0;
  std::vector<Nanos> writes;
};

Task<void> watch_turns(Reactor& core, Watch& watch) {
  for (Nanos last = processor_time(); !watch.stop;) {
    co_await core.yield();
    const Nanos now = processor_time();
    const Nanos turn = now - last;
    watch.longest_turn = std::max(watch.longest_turn, turn);
    if (turn > std::chrono::milliseconds(1)) ++watch.turns_over_1ms;
    last = now;
  }
}

// 0.1 ms between one write and the next: the watch has to see the core free.
Task<void> write_beside(Reactor& core, Channel& channel, Watch& watch) {
  const Buffer block = co_await core.buffers().acquire(4 * KiB);
  std::memset(block.data(), 2, block.size());
  const IoVec vec = block.vec();
  const IoVecs vecs(&vec, 1);
  while (!watch.stop) {
    const Nanos began = core.now();
    co_await core.yield();
    const Lba at{core.random().below(MiB / 4096) * 8};
    const Status done = co_await channel.write(at, vecs, Durable::no);
    done.ignore("a figure, not a test");
    watch.writes.push_back(core.now() - began);
    co_await core.sleep(100us);
  }
}

class Turns {
 public:
  Turns(DeviceRegistry& registry, std::uint64_t bytes)
      : registry_(registry), home_(registry.cores().home()), bytes_(bytes) {}

  Task<Status> run() {
    HF_CO_CHECK(co_await make());
    HF_CO_CHECK(co_await write(MiB, MiB));
    const BlockRange all{Lba{0}, bytes_ / 512};
    HF_CO_CHECK(co_await measure("nothing", sleep_a_little()));
    HF_CO_CHECK(co_await measure("discard", channel_->deallocate(all)));
    HF_CO_CHECK(co_await write(MiB, MiB));
    HF_CO_CHECK(co_await measure("shrink", pool_->resize_volume(big_, MiB)));
    HF_CO_CHECK(co_await pool_->resize_volume(big_, bytes_));
    HF_CO_CHECK(co_await write(MiB, MiB));
    HF_CO_CHECK(co_await measure("snapshot", snapshot()));
    HF_CO_CHECK(co_await measure("delete a snapshot that shares all", pool_->destroy_volume(snapshot_)));
    HF_CO_CHECK(co_await snapshot());
    HF_CO_CHECK(co_await write(MiB, MiB));
    HF_CO_CHECK(co_await measure("delete a snapshot that shares nothing", pool_->destroy_volume(snapshot_)));
    HF_CO_CHECK(co_await snapshot());
    HF_CO_CHECK(co_await write(4 * KiB, MiB));
    HF_CO_CHECK(co_await measure("delete a snapshot behind all", pool_->destroy_volume(snapshot_)));
    HF_CO_CHECK(co_await snapshot());
    HF_CO_CHECK(co_await write(MiB, MiB));
    co_await channel_->close();
    HF_CO_CHECK(co_await measure("revert", pool_->revert_volume(big_, snapshot_)));
    HF_CO_CHECK(co_await pool_->destroy_volume(snapshot_));
    HF_CO_CHECK(co_await measure("delete", pool_->destroy_volume(big_)));
    HF_CO_TRY(big_, co_await volume("scattered", bytes_));
    HF_CO_TRY(channel_, co_await pool_->device(big_)->open_channel(home_));
    HF_CO_CHECK(co_await write(4 * KiB, MiB));
    co_await channel_->close();
    HF_CO_CHECK(co_await measure("delete, one block in each cluster", pool_->destroy_volume(big_)));
    co_await neighbour_->close();
    HF_CO_CHECK(co_await pool_->destroy());
    co_return Status();
  }

 private:
  Task<Status> make() {
    pool::PoolParams params;
    params.name = "turns";
    params.disks.emplace_back("null:///journal?size_mb=512");
    for (std::uint64_t i = 0; i < 3 * bytes_ / TiB; ++i)
      params.disks.push_back("null:///n" + std::to_string(i) + "?size_mb=1048576");
    pool::PoolOptions options;
    options.background_completion = false;  // its copies take no time on such disks, and all of the processor
    HF_CO_TRY(pool_, co_await pool::Pool::create(registry_, std::move(params), options, nullptr));
    HF_CO_TRY(const Uuid small, co_await volume("neighbour", MiB));
    HF_CO_TRY(neighbour_, co_await pool_->device(small)->open_channel(home_));
    HF_CO_TRY(big_, co_await volume("big", bytes_));
    HF_CO_TRY(channel_, co_await pool_->device(big_)->open_channel(home_));
    co_return Status();
  }

  Task<Result<Uuid>> volume(std::string name, std::uint64_t bytes) {
    pool::VolumeParams params;
    params.name = std::move(name);
    params.uuid = Uuid::from_name(params.name);
    params.size_bytes = bytes;
    const Uuid uuid = params.uuid;
    const auto made = co_await pool_->create_volume(std::move(params));
    if (!made.ok()) co_return made.error();
    co_return uuid;
  }

  Task<Status> snapshot() {
    pool::SnapshotParams params;
    params.name = "s" + std::to_string(snapshots_++);
    params.uuid = snapshot_ = Uuid::from_name(params.name);
    const auto made = co_await pool_->create_snapshot(big_, std::move(params));
    if (!made.ok()) co_return made.error();
    co_return Status();
  }

  Task<Status> sleep_a_little() {
    co_await home_.sleep(1s);
    co_return Status();
  }

  // The first `count` bytes of every `step` of the volume.
  Task<Status> write(std::uint64_t count, std::uint64_t step) {
    constexpr unsigned depth = 16;
    TaskScope scope(home_);
    for (unsigned i = 0; i < depth; ++i) scope.spawn(write_each(i * step, count, depth * step));
    co_await scope.join();
    if (failed_) co_return *failed_;
    co_return Status();
  }
  Task<void> write_each(std::uint64_t at, std::uint64_t count, std::uint64_t step) {
    const Buffer data = co_await home_.buffers().acquire(count);
    const IoVec vec = data.vec();
    const IoVecs vecs(&vec, 1);
    for (; at < bytes_ && !failed_; at += step) {
      const Status done = co_await channel_->write(Lba{at / 512}, vecs, Durable::no);
      if (!done.ok()) failed_ = done.error();
      co_await home_.yield();
    }
  }

  Task<Status> measure(std::string what, Task<Status> operation) {
    Watch watch;
    TaskScope scope(home_);
    scope.spawn(watch_turns(home_, watch));
    scope.spawn(write_beside(home_, *neighbour_, watch));
    const Nanos began = home_.now();
    Status done = co_await std::move(operation);
    const Nanos took = home_.now() - began;
    co_await home_.sleep(2s);  // what it leaves is cleared away
    watch.stop = true;
    co_await scope.join();
    const double p99 = percentile_ms(watch.writes, 99);
    const double most = milliseconds(watch.writes.back());
    std::printf(
        "{\"what\": \"%s\", \"took_ms\": %.2f, \"longest_turn_ms\": %.2f, \"turns_over_1_ms\": %llu, "
        "\"neighbour_p99_ms\": %.3f, \"neighbour_max_ms\": %.2f}\n",
        what.c_str(), milliseconds(took), milliseconds(watch.longest_turn),
        static_cast<unsigned long long>(watch.turns_over_1ms), p99, most);
    std::fflush(stdout);
    co_return done;
  }

  DeviceRegistry& registry_;
  Reactor& home_;
  const std::uint64_t bytes_;
  std::unique_ptr<pool::Pool> pool_;
  Uuid big_, snapshot_;
  unsigned snapshots_ = 0;
  std::unique_ptr<Channel> neighbour_, channel_;
  std::optional<Error> failed_;
};

Task<Status> run(const Cores& cores, std::uint64_t bytes) {
  DeviceRegistry registry(cores);
  register_builtin_schemes(registry, cores);
  auto turns = std::make_unique<Turns>(registry, bytes);
  const Status done = co_await turns->run();
  if (done.ok()) turns.reset();
  if (!done.ok()) std::fprintf(stderr, "%s\n", done.error().message().c_str());
  if (!done.ok()) std::exit(1);  // there is nothing to be saved
  co_await registry.close();
  co_return Status();
}

}  // namespace

int main(int count, char** words) {
  const std::uint64_t tib = count == 2 ? std::strtoull(words[1], nullptr, 10) : 0;
  if (tib == 0 || tib > 64) {
    std::fputs("pool-turns TIB\n", stderr);
    return 2;
  }
  log::configure(log::Level::error, log::Format::text);
  uring::Runtime::Options options;
  options.cores = 1;
  options.memory_bytes = 64 * MiB;
  auto runtime = uring::Runtime::create(options);
  if (!runtime.ok()) {
    std::fprintf(stderr, "%s\n", runtime.error().message().c_str());
    return 1;
  }
  const Status done = runtime.value()->run(run(runtime.value()->cores(), tib * TiB));
  return done.ok() ? 0 : 1;
}
