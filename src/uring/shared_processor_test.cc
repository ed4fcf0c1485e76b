// Two processes that share a processor and answer each other: neither keeps it while it waits for the other.
#include <algorithm>

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rt/stop.h"
#include "uring/runtime.h"

namespace holdfast::uring {
namespace {

constexpr int spin_us = 2000;

std::unique_ptr<Runtime> make_runtime() {
  Runtime::Options options;
  options.spin_us = spin_us;
  auto made = Runtime::create(options);
  if (!made.ok()) panic(made.error().message().c_str());
  return std::move(made).value();
}

Task<void> close(Stream& stream) {
  stream.shutdown();
  co_await stream.close();
}

// Sends back every byte.
Task<void> echo(Reactor& r, int tell) {
  auto listening = r.listen(Endpoint{"127.0.0.1", 0});
  if (!listening.ok()) panic("cannot listen");
  const std::uint16_t port = listening.value()->local().port;
  if (::write(tell, &port, sizeof port) != sizeof port) panic("nobody listens");
  auto accepted = co_await listening.value()->accept();
  if (!accepted.ok()) panic("nobody came");
  auto stream = r.adopt(std::move(accepted).value());
  std::byte byte{};
  const IoVec vec{&byte, 1};
  for (;;) {
    const Result<std::size_t> got = co_await stream->receive(IoVecs(&vec, 1));
    if (!got.ok() || got.value() == 0) break;
    const Result<std::size_t> sent = co_await stream->send(IoVecs(&vec, 1));
    if (!sent.ok()) break;
  }
  co_await close(*stream);
  listening.value()->shutdown();
  co_await listening.value()->close();
}

// The mean of the best one of some batches of round trips: others may use the processor, too.
Task<void> measure(Reactor& r, std::uint16_t port, Nanos& best) {
  auto connected = co_await r.connect(Endpoint{"127.0.0.1", port}, r.now() + 5s, StopToken());
  if (!connected.ok()) panic("no connection");
  Stream& stream = *connected.value();
  std::byte byte{};
  const IoVec vec{&byte, 1};
  constexpr int batches = 100, round_trips = 10;
  for (int batch = 0; batch < batches; ++batch) {
    const Nanos from = r.now();
    for (int i = 0; i < round_trips; ++i) {
      EXPECT_TRUE((co_await stream.send(IoVecs(&vec, 1))).ok());
      EXPECT_TRUE((co_await stream.receive(IoVecs(&vec, 1))).ok());
    }
    best = std::min(best, (r.now() - from) / round_trips);
  }
  co_await close(stream);
}

TEST(SharedProcessor, WhoPollsLetsTheOtherAnswer) {
  cpu_set_t former, one;
  CPU_ZERO(&one);
  ASSERT_EQ(sched_getaffinity(0, sizeof former, &former), 0);
  int cpu = 0;
  while (!CPU_ISSET(cpu, &former)) ++cpu;
  CPU_SET(cpu, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  int channel[2];
  ASSERT_EQ(::pipe(channel), 0);
  const pid_t other = ::fork();
  if (other == 0) {
    auto rt = make_runtime();
    rt->run(echo(rt->home(), channel[1]));
    rt.reset();
    ::_exit(0);
  }
  std::uint16_t port = 0;
  ASSERT_EQ(::read(channel[0], &port, sizeof port), static_cast<ssize_t>(sizeof port));
  Nanos best = std::chrono::hours(1);
  {
    auto rt = make_runtime();
    rt->run(measure(rt->home(), port, best));
  }
  int status = 0;
  ::waitpid(other, &status, 0);
  EXPECT_EQ(status, 0);
  for (const int fd : channel) ::close(fd);
  sched_setaffinity(0, sizeof former, &former);
  EXPECT_LT(best, std::chrono::microseconds(spin_us) / 2) << "each waits until the other has polled enough";
}

}  // namespace
}  // namespace holdfast::uring
