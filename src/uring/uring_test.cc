// The production reactor against the real kernel: loop, timers, messages, idle cost.
#include <filesystem>
#include <semaphore>
#include <thread>

#include <gtest/gtest.h>
#include <liburing.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "rt/cross_core.h"
#include "rt/scope.h"
#include "rt/wait.h"
#include "uring/helper_threads.h"
#include "uring/testing/stream_pair.h"
#include "uring/uring_reactor.h"

namespace holdfast::uring {
namespace {

std::unique_ptr<Runtime> make_runtime(unsigned cores = 1, std::int64_t spin_us = 50) {
  Runtime::Options o;
  o.cores = cores;
  o.spin_us = spin_us;
  o.memory_bytes = 8 * MiB;
  return test::make_runtime(o);
}

Nanos cpu_time() {
  timespec ts{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
  return Nanos{std::int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec};
}

Task<Nanos> slept(Reactor& r, Nanos d) {
  const Nanos begun = r.now();
  co_await r.sleep(d);
  co_return r.now() - begun;
}

TEST(Runtime, RunsATaskAndGivesItsValue) {
  auto rt = make_runtime();
  const Nanos took = rt->run(slept(rt->home(), 20ms));
  EXPECT_GE(took, 20ms);
  EXPECT_LT(took, 2s);
  EXPECT_GE(rt->run(slept(rt->home(), 1us)), 1us);  // and another one afterwards
}

TEST(Runtime, RefusesTooManyCores) {
  Runtime::Options o;
  o.cores = 65;
  EXPECT_EQ(Runtime::create(o).code(), Errc::invalid_argument);
}

Task<std::string> order_of_timers(Reactor& r) {
  std::string order;
  TaskScope scope(r);
  struct Late {
    static Task<void> add(Reactor& r, std::string& out, char c, Nanos d) {
      co_await r.sleep(d);
      out += c;
    }
  };
  scope.spawn(Late::add(r, order, 'c', 30ms));
  scope.spawn(Late::add(r, order, 'a', 1ms));
  scope.spawn(Late::add(r, order, 'b', 15ms));
  co_await scope.join();
  co_return order;
}

TEST(Runtime, TimersFireInOrderOfTime) {
  auto rt = make_runtime();
  EXPECT_EQ(rt->run(order_of_timers(rt->home())), "abc");
}

Task<bool> sleep_until_stopped(Reactor& r, StopToken stop) { co_return co_await r.sleep(1h, stop); }

TEST(Runtime, StopFromAnotherThreadEndsASleep) {
  auto rt = make_runtime();
  std::thread other([&] {
    std::this_thread::sleep_for(30ms);
    rt->stop();
    rt->stop();
  });
  EXPECT_FALSE(rt->run(sleep_until_stopped(rt->home(), rt->stop_token())));
  other.join();
}

Task<std::uint64_t> calls_between(const Cores& cores, int rounds) {
  Reactor& here = cores.home();
  Reactor& there = cores.at(1);
  std::uint64_t sum = 0;
  for (int i = 0; i < rounds; ++i) {
    auto f = [&there, i]() -> Task<std::uint64_t> {
      co_await there.yield();
      co_return there.core() * 1000u + static_cast<unsigned>(i);
    };
    sum += co_await run_on(here, there, f);
  }
  co_return sum;
}

TEST(Runtime, CallsBetweenCores) {
  auto rt = make_runtime(2);
  EXPECT_EQ(rt->run(calls_between(rt->cores(), 2000)), 2000u * 1000 + 1999u * 1000);
}

// Sleeps between calls, so that each must wake the other.
Task<int> slow_calls(const Cores& cores) {
  int done = 0;
  for (int i = 0; i < 20; ++i) {
    Reactor& there = cores.at(1);
    auto f = [&there]() -> Task<int> {
      co_await there.sleep(1ms);
      co_return 1;
    };
    done += co_await run_on(cores.home(), there, f);
    co_await cores.home().sleep(1ms);
  }
  co_return done;
}

TEST(Runtime, CallsWakeASleepingCore) {
  auto rt = make_runtime(2, 0);
  EXPECT_EQ(rt->run(slow_calls(rt->cores())), 20);
}

struct Count final : Message {
  void run() noexcept override { ++*total; }
  int* total = nullptr;
};

Task<void> until_counted(Reactor& r, const int& total, int wanted) {
  while (total < wanted) co_await r.sleep(1ms);
}

TEST(Runtime, TakesMessagesFromManyThreads) {
  auto rt = make_runtime(1, 0);
  constexpr std::size_t threads = 4, each = 5000;
  int total = 0;  // touched by the home thread only
  std::vector<Count> messages(threads * each);
  for (auto& m : messages) m.total = &total;
  std::vector<std::thread> senders;
  for (std::size_t t = 0; t < threads; ++t) {
    senders.emplace_back([&, t] {
      for (std::size_t i = 0; i < each; ++i) {
        rt->home().send(messages[t * each + i]);
        if (i % 512 == 0) std::this_thread::sleep_for(1ms);
      }
    });
  }
  rt->run(until_counted(rt->home(), total, static_cast<int>(messages.size())));
  for (auto& s : senders) s.join();
  EXPECT_EQ(total, static_cast<int>(messages.size()));
}

Task<std::thread::id> thread_of_blocking_work(Reactor& r) {
  std::thread::id id;
  auto work = [&] { id = std::this_thread::get_id(); };
  std::function<void()> call(work);
  co_await r.run_blocking(std::move(call));
  co_return id;
}

TEST(Runtime, BlockingWorkRunsElsewhere) {
  auto rt = make_runtime();
  EXPECT_NE(rt->run(thread_of_blocking_work(rt->home())), std::this_thread::get_id());
}

Task<int> many_blocking(Reactor& r) {
  int done = 0;
  TaskScope scope(r);
  struct One {
    static Task<void> run(Reactor& reactor, int& count) {
      auto work = [] { std::this_thread::sleep_for(1ms); };
      std::function<void()> call(work);
      co_await reactor.run_blocking(std::move(call));
      ++count;
    }
  };
  for (int i = 0; i < 100; ++i) scope.spawn(One::run(r, done));
  co_await scope.join();
  co_return done;
}

TEST(Runtime, BlockingWorkQueuesWhenHelpersAreBusy) {
  auto rt = make_runtime();
  EXPECT_EQ(rt->run(many_blocking(rt->home())), 100);
}

Task<bool> opens_beside_dead_discards(UringReactor& r) {
  std::binary_semaphore dead(0);
  struct One {
    static Task<void> run(UringReactor& reactor, std::binary_semaphore& until) {
      auto work = [&] {
        until.acquire();
        until.release();
      };
      std::function<void()> call(work);
      co_await reactor.run_discard(std::move(call));
    }
  };
  TaskScope scope(r);
  for (std::size_t i = 0; i < 2 * HelperThreads::threads_max; ++i) scope.spawn(One::run(r, dead));
  const auto opened = co_await r.open_file("/", OpenOptions());
  dead.release();
  co_await scope.join();
  co_return opened.code() == Errc::invalid_argument;
}

TEST(Runtime, DiscardsThatHangHoldUpNothingElse) {
  auto rt = make_runtime();
  EXPECT_TRUE(rt->run(opens_beside_dead_discards(static_cast<UringReactor&>(rt->home()))));
}

TEST(Runtime, BlockingWorkNeedsNoMoreThreadsThanTheSystemGives) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can limit the threads of nobody else";
  const pid_t child = ::fork();
  if (child == 0) {
    auto rt = make_runtime();
    static_cast<void>(rt->run(thread_of_blocking_work(rt->home())));  // one helper
    const rlimit none{1, 1};
    if (::setrlimit(RLIMIT_NPROC, &none) != 0 || ::setuid(65534) != 0) ::_exit(2);
    const int done = rt->run(many_blocking(rt->home()));
    rt.reset();
    ::_exit(done == 100 ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

// A disk that does not answer keeps threads of the kernel; the others need some, too.
TEST(Runtime, TheKernelMayHaveThreadsForManyDisks) {
  auto rt = make_runtime();
  int ring = -1;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    if (std::filesystem::read_symlink(entry.path(), gone) == "anon_inode:[io_uring]")
      ring = std::stoi(entry.path().filename().string());
  }
  ASSERT_GE(ring, 0);
  unsigned threads[2] = {0, 0};  // asks only
  ASSERT_EQ(::syscall(__NR_io_uring_register, ring, IORING_REGISTER_IOWQ_MAX_WORKERS, threads, 2), 0);
  EXPECT_GE(threads[0], 512u);
}

Task<std::string> order_in_a_turn(Reactor& r) {
  struct Mark final : Message {
    explicit Mark(std::string& s) : out(s) {}
    void run() noexcept override { out += 'D'; }
    std::string& out;
  };
  std::string order;
  Mark deferred(order);
  TaskScope scope(r);
  struct Other {
    static Task<void> run(Reactor& reactor, std::string& out) {
      co_await reactor.yield();
      out += 'r';
    }
  };
  r.defer(deferred);
  scope.spawn(Other::run(r, order));
  scope.spawn(Other::run(r, order));
  co_await scope.join();
  co_await r.sleep(1ms);
  co_return order;
}

TEST(Reactor, DeferredMessagesRunAfterWhatIsReady) {
  auto rt = make_runtime();
  EXPECT_EQ(rt->run(order_in_a_turn(rt->home())), "rrD");
}

// P10: an idle reactor sleeps. Two cores, a timer now and then, as an engine with keep-alive timers has.
TEST(Runtime, IdleCostsNothing) {
  auto rt = make_runtime(2);
  rt->run(slept(rt->home(), 5ms));
  const Nanos before = cpu_time();
  for (int i = 0; i < 10; ++i) rt->run(slept(rt->home(), 100ms));
  const Nanos used = cpu_time() - before;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  EXPECT_LT(used, 100ms);
#else
  EXPECT_LT(used, 10ms) << "of one second";
#endif
}

// What rings while the reactor is awake for another reason may be announced by the kernel after it was taken, and then
// it announces that for as long as nothing else ends.
TEST(Runtime, IdleCostsNothingAfterItWasRungAllTheTime) {
  constexpr int rounds = 60, rings = 400;
  auto rt = make_runtime(1, 0);
  int total = 0;
  Nanos longest{};
  for (int round = 0; round < rounds; ++round) {
    std::vector<Count> messages(rings);
    std::thread other([&] {
      for (Count& m : messages) {
        m.total = &total;
        rt->home().send(m);
        std::this_thread::sleep_for(20us);
      }
    });
    struct Awake {
      static Task<void> run(Reactor& r, const int& counted, int wanted) {
        while (counted < wanted) co_await r.sleep(30us);
      }
    };
    rt->run(Awake::run(rt->home(), total, (round + 1) * rings));
    other.join();
    const Nanos before = cpu_time();
    rt->run(slept(rt->home(), 10ms));
    longest = std::max(longest, cpu_time() - before);
  }
  EXPECT_LT(longest, 5ms) << "of 10 ms";
}

Task<int> yielding_does_not_starve_timers(Reactor& r) {
  int yields = 0;
  TaskScope scope(r);
  struct Late {
    static Task<void> run(Reactor& reactor) { co_await reactor.sleep(2ms); }
  };
  scope.spawn(Late::run(r));
  while (scope.running() > 0) {
    co_await r.yield();
    ++yields;
  }
  co_await scope.join();
  co_return yields;
}

// A task that works for 20 ms between two sleeps of 20 ms.
TEST(Reactor, CountsTheTimeInWhichItIsBusy) {
  auto runtime = make_runtime(1);
  Reactor& r = runtime->home();
  auto work = [&]() -> Task<Nanos> {
    co_await r.sleep(20ms);
    const Nanos before = r.busy();
    const Nanos until = r.now() + 20ms;
    while (r.now() < until) {
    }
    co_await r.sleep(20ms);
    co_return r.busy() - before;
  };
  const Nanos begun = r.now();
  const Nanos busy = runtime->run(work());
  EXPECT_GE(busy, 20ms);
  EXPECT_LE(busy, r.now() - begun - 35ms);
}

TEST(Reactor, YieldingDoesNotStarveTimers) {
  auto rt = make_runtime();
  EXPECT_GT(rt->run(yielding_does_not_starve_timers(rt->home())), 10);
}

}  // namespace
}  // namespace holdfast::uring
