// Two processes that share a processor and answer each other: neither keeps it while it waits for the other.
#include <algorithm>

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "uring/testing/stream_pair.h"

namespace holdfast::uring {
namespace {

// Far longer than the processor needs to be somebody else's.
constexpr int spin_us = 20'000;
constexpr Nanos soon = 1ms;
constexpr unsigned most = 8;

std::unique_ptr<Runtime> make_runtime() {
  Runtime::Options options;
  options.spin_us = spin_us;
  return test::make_runtime(options);
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

Nanos cpu_time(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return std::chrono::seconds(t.tv_sec) + Nanos(t.tv_nsec);
}

struct Seen {
  unsigned quick = 0;           // of ten round trips: of the best ten
  Nanos took{0}, strangers{0};  // of that time others had the processor
};

Task<unsigned> ten_round_trips(Reactor& r, Stream& stream) {
  std::byte byte{};
  const IoVec vec{&byte, 1};
  unsigned quick = 0;
  for (unsigned i = 0; i < 10; ++i) {
    const Nanos from = r.now();
    const Result<std::size_t> sent = co_await stream.send(IoVecs(&vec, 1));
    EXPECT_TRUE(sent.ok());
    const Result<std::size_t> got = co_await stream.receive(IoVecs(&vec, 1));
    EXPECT_TRUE(got.ok());
    if (r.now() - from < soon) ++quick;
  }
  co_return quick;
}

Task<void> measure(Reactor& r, std::uint16_t port, pid_t other, Seen& seen) {
  Endpoint to{"127.0.0.1", port};
  auto connected = co_await r.connect(std::move(to), r.now() + 5s, StopToken());
  if (!connected.ok()) panic("no connection");
  Stream& stream = *connected.value();
  clockid_t others = 0;
  EXPECT_EQ(clock_getcpuclockid(other, &others), 0);
  const auto used = [&] { return cpu_time(CLOCK_PROCESS_CPUTIME_ID) + cpu_time(others); };
  const Nanos from = r.now(), used_before = used();
  while (seen.quick < most && r.now() < from + 10s) {
    const unsigned quick = co_await ten_round_trips(r, stream);
    seen.quick = std::max(seen.quick, quick);
  }
  seen.took = r.now() - from;
  seen.strangers = seen.took - (used() - used_before);
  co_await close(stream);
}

// Processes of this one processor.
class OneProcessor {
 public:
  OneProcessor() {
    cpu_set_t one;
    CPU_ZERO(&one);
    EXPECT_EQ(sched_getaffinity(0, sizeof former_, &former_), 0);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &former_)) ++cpu;
    CPU_SET(cpu, &one);
    EXPECT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  }
  ~OneProcessor() { sched_setaffinity(0, sizeof former_, &former_); }
  OneProcessor(const OneProcessor&) = delete;
  OneProcessor& operator=(const OneProcessor&) = delete;

 private:
  cpu_set_t former_{};
};

void expect_clean_end(pid_t process) {
  int status = 0;
  ::waitpid(process, &status, 0);
  EXPECT_EQ(status, 0);
}

pid_t start_echo(std::uint16_t& port) {
  int channel[2];
  EXPECT_EQ(::pipe(channel), 0);
  const pid_t process = ::fork();
  if (process == 0) {
    auto rt = make_runtime();
    rt->run(echo(rt->home(), channel[1]));
    rt.reset();
    ::_exit(0);
  }
  EXPECT_EQ(::read(channel[0], &port, sizeof port), static_cast<ssize_t>(sizeof port));
  for (const int fd : channel) ::close(fd);
  return process;
}

// Has work without end, for so long.
pid_t start_worker(Nanos time) {
  const pid_t process = ::fork();
  if (process != 0) return process;
  const auto end = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < end) {
  }
  ::_exit(0);
}

Seen measured(std::uint16_t port, pid_t other) {
  Seen seen;
  auto rt = make_runtime();
  rt->run(measure(rt->home(), port, other, seen));
  return seen;
}

TEST(SharedProcessor, WhoPollsLetsTheOtherAnswer) {
  const OneProcessor here;
  std::uint16_t port = 0;
  const pid_t other = start_echo(port);
  const Seen seen = measured(port, other);
  expect_clean_end(other);
  // After a stranger had it nothing is offered for a while.
  if (seen.quick < most && seen.strangers > seen.took / 20) GTEST_SKIP() << "others use the processor, too";
  EXPECT_GE(seen.quick, most) << "each waits until the other has polled enough";
}

// Each offers little after that; neither may take the other for somebody who keeps the processor.
TEST(SharedProcessor, WhoPollsLetsTheOtherAnswerAfterAThirdHadWork) {
  const OneProcessor here;
  std::uint16_t port = 0;
  const pid_t other = start_echo(port), third = start_worker(1s);
  const Seen seen = measured(port, other);
  expect_clean_end(other);
  expect_clean_end(third);
  EXPECT_LT(seen.took - seen.strangers, 500ms) << "each waits until the other has polled enough";
}

}  // namespace
}  // namespace holdfast::uring
