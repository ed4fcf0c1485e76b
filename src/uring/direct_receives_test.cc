// Receives of many connections on one core: tried directly, looked at together, or left to the ring, none is forgotten.
#include "uring/direct_receives.h"

#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <liburing.h>
#include <sys/socket.h>

#include "rt/scope.h"
#include "rt/stop.h"
#include "rt/wait.h"
#include "uring/testing/stream_pair.h"
#include "uring/uring_stream.h"

namespace holdfast::uring {
namespace {

using test::close_pair;
using test::make_pair;
using test::make_runtime;
using test::StreamPair;

constexpr std::size_t pairs = 2 * DirectReceives::most;
constexpr std::uint64_t messages = 300;

Task<bool> send(Stream& to, std::uint64_t value) {
  const IoVec vec{reinterpret_cast<std::byte*>(&value), sizeof value};
  const auto sent = co_await to.send(IoVecs(&vec, 1));
  co_return sent.ok();
}

Task<bool> receive(Stream& from, std::uint64_t expected) {
  std::array<std::byte, sizeof expected> into{};
  for (std::size_t at = 0; at < into.size();) {
    const IoVec rest{into.data() + at, into.size() - at};
    const auto got = co_await from.receive(IoVecs(&rest, 1));
    if (!got.ok() || got.value() == 0) co_return false;
    at += got.value();
  }
  co_return std::memcmp(into.data(), &expected, sizeof expected) == 0;
}

// Some answer at once, others after so long that the ring has the receive, or the core sleeps.
Task<void> pause(Reactor& r, std::size_t number) {
  if (number % 4 >= 2) co_await r.sleep(static_cast<int>(number % 4) * DirectReceives::patience);
}

Task<void> ask(Reactor& r, Stream& stream, std::size_t number, std::uint64_t& done) {
  for (std::uint64_t i = 0; i < messages; ++i) {
    co_await pause(r, number);
    const bool sent = co_await send(stream, i);
    const bool answered = sent && co_await receive(stream, i);
    if (!answered) co_return;
    ++done;
  }
}

Task<void> answer(Reactor& r, Stream& stream, std::size_t number, std::uint64_t& done) {
  for (std::uint64_t i = 0; i < messages; ++i) {
    const bool asked = co_await receive(stream, i);
    co_await pause(r, number / 4);
    const bool sent = asked && co_await send(stream, i);
    if (!sent) co_return;
    ++done;
  }
}

struct Table {
  explicit Table(Reactor& r) noexcept : reactor(r), scope(r) {}
  Task<void> open() {
    for (std::size_t i = 0; i < pairs; ++i) all.push_back(co_await make_pair(reactor));
  }
  void start() {
    for (std::size_t i = 0; i < pairs; ++i) {
      scope.spawn(ask(reactor, *all[i].client, i, done[2 * i]));
      scope.spawn(answer(reactor, *all[i].server, i, done[2 * i + 1]));
    }
  }
  Task<void> close() {
    for (StreamPair& pair : all) co_await close_pair(pair);
  }
  Reactor& reactor;
  TaskScope scope;
  std::vector<StreamPair> all;
  std::array<std::uint64_t, 2 * pairs> done{};
};

TEST(DirectReceives, ManyConnectionsOfOneCore) {
  auto rt = make_runtime();
  auto run = [&]() -> Task<void> {
    Table table(rt->home());
    co_await table.open();
    table.start();
    co_await table.scope.join();
    for (const std::uint64_t count : table.done) EXPECT_EQ(count, messages);
    co_await table.close();
  };
  rt->run(run());
}

// A core that has other work in each turn never polls.
TEST(DirectReceives, OtherWorkDoesNotStarveThem) {
  auto rt = make_runtime();
  auto run = [&]() -> Task<void> {
    Reactor& home = rt->home();
    Table table(home);
    co_await table.open();
    table.start();
    const Nanos end = home.now() + 20s;
    while (table.scope.running() > 0 && home.now() < end) co_await home.yield();
    EXPECT_EQ(table.scope.running(), 0u);
    for (StreamPair& pair : table.all) {
      pair.client->shutdown();
      pair.server->shutdown();
    }
    co_await table.scope.join();
    for (const std::uint64_t count : table.done) EXPECT_EQ(count, messages);
    co_await table.close();
  };
  rt->run(run());
}

// Where the kernel announces work, in the one io_uring that this process has mapped; nullptr when it is not found.
std::uint32_t* announcement() {
  unsigned long rings = 0;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    unsigned long from = 0, to = 0, offset = 0;
    if (line.find("[io_uring]") == std::string::npos) continue;
    if (std::sscanf(line.c_str(), "%lx-%lx %*4s %lx", &from, &to, &offset) == 3 &&
        offset == IORING_OFF_SQ_RING)
      rings = from;
  }
  io_uring other{};
  io_uring_params params{};  // says where the flags lie in every ring of this kernel
  if (rings == 0 || io_uring_queue_init_params(1, &other, &params) != 0) return nullptr;
  io_uring_queue_exit(&other);
  return reinterpret_cast<std::uint32_t*>(rings + params.sq_off.flags);
}

Task<void> sleep_until_stopped(Reactor& r, StopToken stop) {
  const bool whole = co_await r.sleep(2s, stop);
  static_cast<void>(whole);
}

// The kernel may announce work that was taken already, for as long as nothing else ends.
TEST(DirectReceives, AreLookedAtWhileTheKernelAnnouncesWork) {
  Runtime::Options options;
  options.spin_us = -1;
  auto rt = make_runtime(options);
  std::uint32_t* const flags = announcement();
  if (flags == nullptr) GTEST_SKIP() << "the ring's memory is not to be found";
  auto run = [&]() -> Task<void> {
    Reactor& home = rt->home();
    StreamPair pair = co_await make_pair(home);
    StopSource over;
    TaskScope scope(home);
    scope.spawn(sleep_until_stopped(home, over.token()));
    const int fd = static_cast<UringStream&>(*pair.server).fd();
    std::thread peer([fd] {
      std::this_thread::sleep_for(20ms);
      const char byte = 0;
      static_cast<void>(::send(fd, &byte, 1, MSG_NOSIGNAL));
    });
    std::atomic_ref<std::uint32_t>(*flags).fetch_or(IORING_SQ_TASKRUN);
    const Nanos from = home.now();
    std::byte byte{};
    const IoVec into{&byte, 1};
    const auto got = co_await pair.client->receive(IoVecs(&into, 1));
    const Nanos took = home.now() - from;
    EXPECT_TRUE(got.ok());
    EXPECT_LT(took, 1s);
    peer.join();
    over.request_stop();
    co_await scope.join();
    co_await close_pair(pair);
  };
  rt->run(run());
}

}  // namespace
}  // namespace holdfast::uring
