// Real threads: two cores write and read while children leave and come back. For ThreadSanitizer, and for
// what only real concurrency shows.
#include <cstring>

#include <gtest/gtest.h>

#include "base/log.h"
#include "block/builtin.h"
#include "nexus/membership_stores.h"
#include "nexus/nexus.h"
#include "rt/cross_core.h"
#include "rt/when_all.h"
#include "uring/runtime.h"

namespace holdfast::nexus {
namespace {

constexpr std::uint32_t block = 4096;
constexpr std::uint64_t blocks = 1024;  // half of it for each core
constexpr const char* uris[] = {"malloc:///s0?size_mb=12&blk_size=4096",
                                "malloc:///s1?size_mb=12&blk_size=4096",
                                "malloc:///s2?size_mb=12&blk_size=4096"};

// One core's host: writes its half again and again, and checks what it reads. No lambda, no captures.
Task<void> host(Reactor& core, Nexus& nexus, const bool& stop, std::uint64_t& writes, std::string& failure) {
  auto opened = co_await nexus.open_channel(core);
  const std::unique_ptr<Channel> channel = std::move(opened).value();
  const Buffer buffer = co_await core.buffers().acquire(4 * block);
  std::vector<std::byte> expected(blocks / 2, std::byte{0});
  const std::uint64_t first = core.core() * blocks / 2;
  while (!stop && failure.empty()) {
    const std::uint64_t at = core.random().below(blocks / 2 - 4);
    const auto fill = static_cast<std::byte>(core.random().next());
    std::memset(buffer.data(), static_cast<int>(fill), buffer.size());
    const IoVec vec = buffer.vec();
    const IoVecs vecs(&vec, 1);
    const Status written = co_await channel->write(Lba{first + at}, vecs, Durable::no);
    if (!written.ok()) failure = "write: " + written.error().message();
    std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(at), 4, fill);
    const std::uint64_t look = core.random().below(blocks / 2 - 4);
    const Status read = co_await channel->read(Lba{first + look}, vecs);
    if (!read.ok()) failure = "read: " + read.error().message();
    for (std::uint64_t i = 0; i < 4; ++i) {
      if (buffer.data()[i * block] != expected[look + i]) failure = "read something else than was written";
    }
    ++writes;
    co_await core.sleep(50us);  // memory answers at once: nothing else would ever run here
  }
  co_await channel->close();
}

Task<void> trouble(Reactor& home, Nexus& nexus, std::string& failure) {
  for (int round = 0; round < 12 && failure.empty(); ++round) {
    const std::string victim = uris[round % 3];
    Task<Status> leave =
        round % 2 == 0 ? nexus.offline_child(victim) : nexus.fault_child(victim, Fault::io_error);
    const Status away = co_await leave;
    if (!away.ok()) failure = "away: " + away.error().message();
    co_await home.sleep(3ms);
    const Status back = co_await nexus.online_child(victim);
    if (!back.ok()) failure = "back: " + back.error().message();
    for (int i = 0; i < 5000 && nexus.view().state != NexusState::online; ++i) co_await home.sleep(1ms);
    if (nexus.view().state != NexusState::online) failure = "not online again";
  }
}

Task<std::string> compare_children(Reactor& home, DeviceRegistry& registry) {
  const Buffer one = co_await home.buffers().acquire(block);
  const Buffer other = co_await home.buffers().acquire(block);
  std::vector<std::unique_ptr<Channel>> channels;
  for (const char* uri : uris) {
    auto opened = co_await registry.find(uri)->open_channel(home);
    channels.push_back(std::move(opened).value());
  }
  std::string difference;
  for (std::uint64_t i = 0; i < blocks; ++i) {
    const IoVec a = one.vec();
    const Lba at{i + 5 * MiB / block};
    const IoVecs into_a(&a, 1);
    (co_await channels[0]->read(at, into_a)).ignore("memory");
    for (std::size_t c = 1; c < channels.size(); ++c) {
      const IoVec b = other.vec();
      const IoVecs into_b(&b, 1);
      (co_await channels[c]->read(at, into_b)).ignore("memory");
      if (std::memcmp(a.data, b.data, block) != 0) difference = "block " + std::to_string(i);
    }
  }
  for (auto& c : channels) co_await c->close();
  co_return difference;
}

struct Load {
  bool stop[2] = {false, false};
  std::uint64_t writes[2] = {0, 0};
  std::string failure[2];
};

Task<void> one_host(Reactor& home, Reactor& core, Nexus& nexus, Load& load) {
  const unsigned i = core.core();
  auto there = [&]() -> Task<void> {
    return host(core, nexus, load.stop[i], load.writes[i], load.failure[i]);
  };
  co_await run_on(home, core, there);
}

Task<void> trouble_then_stop(Reactor& home, const Cores& cores, Nexus& nexus, Load& load,
                             std::string& failure) {
  co_await trouble(home, nexus, failure);
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
  MemoryStore store;
  for (const char* uri : uris) (co_await registry.create(uri)).ignore("found by the nexus");
  NexusParams params;
  params.name = "stress";
  params.uuid = Uuid::from_name("stress");
  params.size_bytes = blocks * block;
  for (const char* uri : uris) params.children.emplace_back(uri);
  NexusOptions options;
  options.rebuild.window_bytes = 256 * KiB;
  options.settle_interval = 20ms;
  auto made = co_await Nexus::create(registry, store, std::move(params), options, nullptr);
  if (!made.ok()) {
    failure = made.error().message();
    co_return;
  }
  Nexus& nexus = *made.value();
  Load load;
  std::vector<Task<void>> tasks;
  for (Reactor* core : cores) tasks.push_back(one_host(home, *core, nexus, load));
  tasks.push_back(trouble_then_stop(home, cores, nexus, load, failure));
  co_await when_all(std::span(tasks));
  for (const auto& f : load.failure) failure += f;
  writes = load.writes[0] + load.writes[1];
  co_await nexus.close();
  made.value().reset();
  const std::string difference = co_await compare_children(home, registry);
  if (!difference.empty()) failure += " children differ: " + difference;
  co_await registry.close();
}

TEST(Stress, TwoRealCoresWriteWhileChildrenComeAndGo) {
  log::configure(log::Level::off, log::Format::text);
  uring::Runtime::Options options;
  options.cores = 2;
  auto runtime = uring::Runtime::create(options);
  if (!runtime.ok()) GTEST_SKIP() << runtime.error().message();
  std::string failure;
  std::uint64_t writes = 0;
  runtime.value()->run(run_all(runtime.value()->cores(), failure, writes));
  EXPECT_EQ(failure, "");
  EXPECT_GT(writes, 20u);
}

}  // namespace
}  // namespace holdfast::nexus
