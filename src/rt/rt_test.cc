#include <array>
#include <cstring>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "rt/buffer.h"
#include "rt/cross_core.h"
#include "rt/io.h"
#include "rt/message.h"
#include "rt/scope.h"
#include "rt/stop.h"
#include "rt/task.h"
#include "rt/timer.h"
#include "rt/wait.h"
#include "rt/when_all.h"
#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast {
namespace {

// One machine; every primitive is tried with several orders of what is ready.
struct Machine {
  explicit Machine(std::uint64_t seed = 1, unsigned cores = 1, std::size_t budget = 16 << 20)
      : world(seed), process(world.add_node("a").start(cores, budget)), r(process.core(0)) {}
  template <class T>
  T run(Task<T> task) {
    return world.run(r, std::move(task));
  }
  sim::World world;
  sim::Process& process;
  sim::SimReactor& r;
};

constexpr std::uint64_t orders = 20;

Task<int> value(int v) { co_return v; }
Task<void> nothing() { co_return; }

TEST(Task, GivesItsValue) {
  Machine m;
  auto sum = []() -> Task<int> {
    co_await nothing();
    const int a = co_await value(2);
    co_return a + co_await value(3);
  };
  EXPECT_EQ(m.run(sum()), 5);
}

TEST(Task, MovesValuesThatCannotBeCopied) {
  Machine m;
  auto make = [&]() -> Task<std::unique_ptr<int>> {
    co_await m.r.yield();
    co_return std::make_unique<int>(7);
  };
  EXPECT_EQ(*m.run(make()), 7);
}

// A loop over children that finish at once must not grow the stack, in any build.
TEST(Task, LoopsOverManyChildrenThatFinishAtOnce) {
  Machine m;
  auto loop = []() -> Task<std::int64_t> {
    std::int64_t sum = 0;
    for (int i = 0; i < 2'000'000; ++i) sum += co_await value(1);
    co_return sum;
  };
  EXPECT_EQ(m.run(loop()), 2'000'000);
}

Task<int> deep(Reactor& r, int levels) {
  if (levels == 0) {
    co_await r.yield();
    co_return 0;
  }
  co_return 1 + co_await deep(r, levels - 1);
}

TEST(Task, ChainsDeeply) {
  Machine m;
  EXPECT_EQ(m.run(deep(m.r, 1000)), 1000);
}

TEST(TaskScope, JoinWaitsForAllAlsoForThoseSpawnedMeanwhile) {
  for (std::uint64_t seed = 1; seed <= orders; ++seed) {
    Machine m(seed);
    int ended = 0;
    TaskScope scope(m.r);
    auto late = [&]() -> Task<void> {
      co_await m.r.sleep(1ms);
      ++ended;
    };
    auto early = [&]() -> Task<void> {
      co_await m.r.yield();
      ++ended;
      scope.spawn(late());
    };
    auto all = [&]() -> Task<void> {
      scope.spawn(nothing());
      for (int i = 0; i < 3; ++i) scope.spawn(early());
      co_await scope.join();
    };
    m.run(all());
    EXPECT_EQ(ended, 6);
    EXPECT_EQ(scope.running(), 0u);
  }
}

TEST(WhenAll, WaitsForTheLastAndKeepsResults) {
  for (std::uint64_t seed = 1; seed <= orders; ++seed) {
    Machine m(seed);
    auto later = [&](int v) -> Task<int> {
      co_await m.r.sleep(Nanos(m.r.random().below(1000)));
      co_return v;
    };
    auto all = [&]() -> Task<int> {
      std::array<Task<int>, 3> tasks{later(1), value(10), later(100)};
      co_await when_all(std::span<Task<int>>(tasks));
      co_return tasks[0].take() + tasks[1].take() + tasks[2].take();
    };
    EXPECT_EQ(m.run(all()), 111);
  }
}

TEST(WhenAll, OfNothingAndOfTasksThatAllFinishAtOnce) {
  Machine m;
  auto all = [&]() -> Task<int> {
    std::vector<Task<int>> none;
    co_await when_all(std::span(none));
    std::vector<Task<int>> some;
    for (int i = 0; i < 3; ++i) some.push_back(value(i));
    co_await when_all(std::span(some));
    co_return some[2].take();
  };
  EXPECT_EQ(m.run(all()), 2);
}

TEST(StopToken, TellsEverySubscriberOnce) {
  struct Heard final : StopCallback {
    void on_stop() noexcept override { ++count; }
    int count = 0;
  };
  StopSource source;
  Heard a, late;
  {
    Heard gone;
    source.token().subscribe(gone);
    source.token().subscribe(a);
  }
  EXPECT_FALSE(source.stop_requested());
  source.request_stop();
  source.request_stop();
  source.token().subscribe(late);
  EXPECT_EQ(a.count, 1);
  EXPECT_EQ(late.count, 1);
  EXPECT_TRUE(source.token().stop_requested());
  EXPECT_FALSE(StopToken().stop_requested());
}

TEST(Reactor, SleepEndsEarlyWhenStopped) {
  Machine m;
  StopSource stop;
  auto sleeper = [&](Nanos d) -> Task<bool> { co_return co_await m.r.sleep(d, stop.token()); };
  EXPECT_TRUE(m.run(sleeper(1ms)));
  m.world.after(1ms, [&] { stop.request_stop(); });
  EXPECT_FALSE(m.run(sleeper(1h)));
  EXPECT_LT(m.world.now(), Nanos(1s));
  EXPECT_FALSE(m.run(sleeper(1h))) << "the stop came before";
}

TEST(Event, WakesAllAndHonoursDeadlinesAndStops) {
  for (std::uint64_t seed = 1; seed <= orders; ++seed) {
    Machine m(seed);
    Event event(m.r);
    StopSource stop;
    std::vector<Wake> woken(3, Wake::signalled);
    auto wait = [&](std::size_t i, Nanos deadline, StopToken token) -> Task<void> {
      woken[i] = co_await event.wait(deadline, token);
    };
    auto all = [&]() -> Task<void> {
      TaskScope scope(m.r);
      scope.spawn(wait(0, m.r.now() + 1ms, StopToken()));
      scope.spawn(wait(1, no_deadline, stop.token()));
      scope.spawn(wait(2, m.r.now() + 1h, stop.token()));
      co_await m.r.sleep(2ms);
      stop.request_stop();
      co_await scope.join();
      scope.spawn(wait(0, no_deadline, StopToken()));
      scope.spawn(wait(1, m.r.now() + 1h, StopToken()));
      EXPECT_EQ(scope.running(), 2u);
      event.set();
      co_await scope.join();
      EXPECT_EQ(woken[0], Wake::signalled);
      co_await event.wait();  // set: does not suspend
    };
    auto first = [&]() -> Task<void> {
      co_await all();
      EXPECT_EQ(woken[1], Wake::signalled);
      EXPECT_EQ(woken[2], Wake::stopped);
    };
    m.run(first());
  }
}

TEST(Event, TimesOut) {
  Machine m;
  Event event(m.r);
  auto wait = [&]() -> Task<Wake> { co_return co_await event.wait(m.r.now() + 5ms); };
  EXPECT_EQ(m.run(wait()), Wake::timed_out);
  EXPECT_GE(m.world.now(), Nanos(5ms));
}

TEST(Semaphore, ServesInOrderAndNeverTooMany) {
  for (std::uint64_t seed = 1; seed <= orders; ++seed) {
    Machine m(seed);
    Semaphore semaphore(m.r, 2);
    int inside = 0;
    int most = 0;
    auto user = [&]() -> Task<void> {
      const Semaphore::Permit permit = co_await semaphore.acquire();
      most = std::max(most, ++inside);
      co_await m.r.sleep(Nanos(1 + m.r.random().below(1000)));
      --inside;
    };
    auto all = [&]() -> Task<void> {
      TaskScope scope(m.r);
      for (int i = 0; i < 10; ++i) scope.spawn(user());
      EXPECT_FALSE(semaphore.try_acquire());
      co_await scope.join();
    };
    m.run(all());
    EXPECT_EQ(most, 2);
    EXPECT_EQ(semaphore.free(), 2u);
  }
}

TEST(Semaphore, GivesUpAtTheDeadlineAndAtTheStop) {
  Machine m;
  Semaphore semaphore(m.r, 1);
  StopSource stop;
  auto all = [&]() -> Task<void> {
    Semaphore::Permit held = co_await semaphore.acquire();
    const Semaphore::Permit late = co_await semaphore.acquire(m.r.now() + 1ms);
    EXPECT_FALSE(late);
    m.world.after(1ms, [&] { stop.request_stop(); });
    const Semaphore::Permit stopped = co_await semaphore.acquire(no_deadline, stop.token());
    EXPECT_FALSE(stopped);
    held.release();
    const Semaphore::Permit again = co_await semaphore.acquire();
    EXPECT_TRUE(again);
  };
  m.run(all());
  EXPECT_EQ(semaphore.free(), 1u);
}

TEST(Gate, CloseRefusesNewWorkAndWaitsForTheRest) {
  for (std::uint64_t seed = 1; seed <= orders; ++seed) {
    Machine m(seed);
    Gate gate(m.r);
    bool ended = false;
    auto work = [&]() -> Task<void> {
      const Gate::Hold hold = gate.enter();
      EXPECT_TRUE(hold);
      co_await m.r.sleep(1ms);
      ended = true;
    };
    auto all = [&]() -> Task<void> {
      TaskScope scope(m.r);
      scope.spawn(work());
      EXPECT_EQ(gate.inside(), 1u);
      co_await gate.close();
      EXPECT_TRUE(ended);
      EXPECT_FALSE(gate.enter());
      co_await scope.join();
    };
    m.run(all());
  }
}

TEST(TimerQueue, FiresInOrderOfTimeThenOfArming) {
  struct Mark final : Timer {
    void fire() noexcept override {}
  };
  TimerQueue queue;
  std::array<Mark, 64> timers;
  Prng random(1);
  std::array<Nanos, 64> when{};
  for (std::size_t i = 0; i < timers.size(); ++i) {
    when[i] = Nanos(random.below(16));
    queue.arm(timers[i], when[i]);
  }
  for (std::size_t i = 0; i < timers.size(); i += 3) queue.disarm(timers[i]);
  queue.arm(timers[1], when[1] = Nanos(3));  // now it is the last of those at 3
  Nanos last{0};
  std::size_t fired = 0;
  while (Timer* t = queue.pop_due(Nanos(100))) {
    const auto index = static_cast<std::size_t>(static_cast<Mark*>(t) - timers.data());
    EXPECT_NE(index % 3, 0u);
    EXPECT_GE(when[index], last);
    last = when[index];
    ++fired;
    EXPECT_FALSE(t->armed());
  }
  EXPECT_EQ(fired, 42u);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.next(), no_deadline);
  queue.arm(timers[0], Nanos(7));
  EXPECT_EQ(queue.pop_due(Nanos(6)), nullptr);
  queue.disarm(timers[0]);
  queue.disarm(timers[0]);
}

TEST(BufferPool, PiecesAreAlignedAndComeInClasses) {
  Machine m(1, 1, 2 << 20);
  BufferPool& pool = m.r.buffers();
  for (const std::size_t bytes : {1u, 4096u, 4097u, 70'000u, 1u << 20}) {
    const Buffer b = pool.try_acquire(bytes);
    ASSERT_TRUE(b);
    EXPECT_EQ(b.size(), bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(b.data()) % BufferPool::alignment, 0u);
    EXPECT_GE(pool.used_bytes(), bytes);
  }
  EXPECT_EQ(pool.used_bytes(), 0u);
  EXPECT_LE(pool.slab_bytes(), pool.budget_bytes());
}

// Two slabs of a huge page, and one of ordinary pages because no whole page fits the budget any more.
TEST(BufferPool, PiecesOfHugePagesAreApart) {
  Machine m;
  BufferPool pool(m.r, 3 << 20, BufferPool::Pages::huge);
  std::vector<Buffer> all;
  for (int value = 1;; ++value) {
    Buffer b = pool.try_acquire(256 << 10);
    if (!b) break;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(b.data()) % BufferPool::alignment, 0u);
    std::memset(b.data(), value, b.size());
    all.push_back(std::move(b));
  }
  EXPECT_EQ(all.size(), 12u);
  EXPECT_EQ(pool.slab_bytes(), pool.budget_bytes());
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].data()[0], static_cast<std::byte>(i + 1));
    EXPECT_EQ(all[i].data()[all[i].size() - 1], static_cast<std::byte>(i + 1));
  }
  all.clear();
  EXPECT_TRUE(pool.try_acquire(1 << 20));
}

TEST(BufferPool, WaitsInOrderWithinItsBudget) {
  for (std::uint64_t seed = 1; seed <= orders; ++seed) {
    Machine m(seed, 1, 1 << 20);
    BufferPool& pool = m.r.buffers();
    std::vector<int> order;
    auto user = [&](int n, std::size_t bytes) -> Task<void> {
      const Buffer b = co_await pool.acquire(bytes);
      EXPECT_TRUE(b);
      order.push_back(n);
      co_await m.r.sleep(1ms);
    };
    auto all = [&]() -> Task<void> {
      TaskScope scope(m.r);
      Buffer first = co_await pool.acquire(4096);
      scope.spawn(user(1, 1 << 20));  // has to wait for the whole slab
      scope.spawn(user(2, 4096));     // would fit, but comes after
      EXPECT_EQ(pool.waiting(), 2u);
      EXPECT_FALSE(pool.try_acquire(4096));
      co_await m.r.sleep(1ms);
      EXPECT_TRUE(order.empty());
      first.reset();
      co_await scope.join();
    };
    m.run(all());
    EXPECT_EQ(order, (std::vector<int>{1, 2}));
    EXPECT_EQ(pool.waiting(), 0u);
  }
}

TEST(BufferPool, AWaiterThatIsStoppedGetsNothingAndHoldsUpNobody) {
  Machine m(1, 1, 1 << 20);
  BufferPool& pool = m.r.buffers();
  StopSource stop;
  auto stopped = [&]() -> Task<void> {
    const Buffer b = co_await pool.acquire(1 << 20, stop.token());
    EXPECT_FALSE(b);
  };
  auto served = [&]() -> Task<void> {
    const Buffer b = co_await pool.acquire(4096);
    EXPECT_TRUE(b);
  };
  auto all = [&]() -> Task<void> {
    TaskScope scope(m.r);
    const Buffer first = co_await pool.acquire(4096);
    scope.spawn(stopped());
    scope.spawn(served());
    co_await m.r.sleep(1ms);
    stop.request_stop();
    co_await scope.join();
  };
  m.run(all());
  EXPECT_EQ(pool.used_bytes(), 0u);
}

TEST(CrossCore, RunsThereAndComesBack) {
  for (std::uint64_t seed = 1; seed <= orders; ++seed) {
    Machine m(seed, 2);
    sim::SimReactor& there = m.process.core(1);
    auto work = [&]() -> Task<int> {
      EXPECT_EQ(m.world.current(), &there);
      co_await there.sleep(1ms);
      EXPECT_EQ(m.world.current(), &there);
      co_return 42;
    };
    auto at_once = [&]() -> Task<void> { co_return; };
    auto all = [&]() -> Task<int> {
      co_await run_on(m.r, there, at_once);
      const int got = co_await run_on(m.r, there, work);
      EXPECT_EQ(m.world.current(), &m.r);
      co_return got;
    };
    EXPECT_EQ(m.run(all()), 42);
  }
}

TEST(CrossCore, RunOnAllReachesEveryCore) {
  for (std::uint64_t seed = 1; seed <= orders; ++seed) {
    Machine m(seed, 4);
    std::vector<unsigned> seen(4, 0);
    auto mark = [&](Reactor& r) -> Task<void> {
      co_await r.yield();
      ++seen[r.core()];
    };
    auto all = [&]() -> Task<void> { co_await run_on_all(m.r, m.process.cores(), mark); };
    m.run(all());
    EXPECT_EQ(seen, (std::vector<unsigned>{1, 1, 1, 1}));
  }
}

TEST(MessageQueue, ManyThreadsOneConsumer) {
  struct Item final : Message {
    void run() noexcept override {}
    unsigned thread = 0;
    unsigned number = 0;
  };
  constexpr unsigned threads = 3;
  constexpr unsigned each = 20'000;
  MessageQueue queue;
  std::vector<std::vector<Item>> items;
  for (unsigned t = 0; t < threads; ++t) items.emplace_back(each);
  std::vector<std::thread> producers;
  for (unsigned t = 0; t < threads; ++t) {
    producers.emplace_back([&queue, &mine = items[t], t] {
      for (unsigned i = 0; i < each; ++i) {
        mine[i].thread = t;
        mine[i].number = i;
        queue.push(mine[i]);
      }
    });
  }
  std::array<unsigned, threads> next{};
  unsigned taken = 0;
  while (taken < threads * each) {
    for (Message* m = queue.take_all(); m != nullptr; m = m->next) {
      const Item& item = static_cast<Item&>(*m);
      ASSERT_EQ(item.number, next[item.thread]++) << "the order of one producer";
      ++taken;
    }
  }
  for (auto& p : producers) p.join();
  EXPECT_TRUE(queue.empty());
}

TEST(Endpoint, ParsesWhatPeopleWrite) {
  const auto parse = [](std::string_view text) {
    auto e = parse_host_port(text, 8420);
    return e.ok() ? e.value().to_string() : "error: " + e.error().message();
  };
  EXPECT_EQ(parse("10.0.0.1"), "10.0.0.1:8420");
  EXPECT_EQ(parse("10.0.0.1:1"), "10.0.0.1:1");
  EXPECT_EQ(parse("node-7:65535"), "node-7:65535");
  EXPECT_EQ(parse("[::1]"), "[::1]:8420");
  EXPECT_EQ(parse("[fd00::2]:4420"), "[fd00::2]:4420");
  for (const char* bad : {"", ":1", "a:", "a:65536", "a:1x", "a:-1", "::1", "[::1", "[::1]x", "[]:1"}) {
    EXPECT_TRUE(parse(bad).starts_with("error: '")) << bad << " gave " << parse(bad);
  }
}

TEST(BufferPool, PiecesThatAreKeptDoNotKeepOtherSizesAway) {
  Machine m(1, 1, 4 << 20);
  BufferPool& pool = m.r.buffers();
  std::vector<Buffer> kept;
  for (const std::size_t bytes : {4096u, 8192u, 16384u, 131072u}) kept.push_back(pool.try_acquire(bytes));
  for (const std::size_t bytes : {32768u, 65536u, 262144u, 1u << 20}) {
    EXPECT_TRUE(pool.try_acquire(bytes)) << bytes << ": 3.8 of 4 MiB are free";
  }
  kept.clear();
  EXPECT_EQ(pool.used_bytes(), 0u);
  EXPECT_LE(pool.slab_bytes(), pool.budget_bytes());
}

TEST(BufferPool, WhatIsOutStaysWithinTheBudget) {
  Machine m(1, 1, 4 << 20);
  BufferPool& pool = m.r.buffers();
  std::vector<Buffer> out;
  for (const std::size_t bytes : {4096u, 8192u, 16384u, 131072u}) out.push_back(pool.try_acquire(bytes));
  for (std::size_t size = BufferPool::piece_bytes_max; size >= BufferPool::piece_bytes_min; size /= 2) {
    while (Buffer b = pool.try_acquire(size)) out.push_back(std::move(b));
  }
  EXPECT_EQ(pool.used_bytes(), pool.budget_bytes());
}

}  // namespace
}  // namespace holdfast
