#include "nexus/range_tracker.h"

#include <string>

#include <gtest/gtest.h>

#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast::nexus {
namespace {

using Entry = RangeTracker::Entry;

struct TrackedRanges : testing::Test {
  sim::World world{1};
  sim::Process& process = world.add_node("n").start();
  sim::SimReactor& core = process.core(0);
  RangeTracker ranges{core};
  std::string log;

  Task<void> write(std::uint64_t first, std::uint64_t count, Nanos duration, char label) {
    Entry e(Span{first, count});
    if (!ranges.try_enter(e)) co_await ranges.enter(e);
    log.push_back(label);
    co_await core.sleep(duration);
    log.push_back(static_cast<char>(label - 'a' + 'A'));
    ranges.leave(e);
  }
  Task<void> window(std::uint64_t first, std::uint64_t count, Nanos duration, char label) {
    Entry e(Span{first, count});
    co_await ranges.lock(e);
    log.push_back(label);
    co_await core.sleep(duration);
    log.push_back(static_cast<char>(label - 'a' + 'A'));
    ranges.unlock(e);
  }
  void start(Task<void> t) {
    world.spawn(core, std::move(t));
    world.run_for(1us);
  }
  std::string finish() {
    world.run_for(10s);
    EXPECT_TRUE(ranges.idle());
    return log;
  }
};

TEST_F(TrackedRanges, WritesThatDoNotOverlapGoTogether) {
  start(write(0, 8, 10ms, 'a'));
  start(write(8, 8, 10ms, 'b'));
  EXPECT_EQ(log, "ab");
  finish();
}

TEST_F(TrackedRanges, OverlappingWritesGoInOrder) {
  start(write(0, 8, 10ms, 'a'));
  start(write(7, 8, 1ms, 'b'));
  start(write(9, 1, 1ms, 'c'));
  EXPECT_EQ(finish(), "aAbBcC");
}

TEST_F(TrackedRanges, WindowWaitsForWritesInsideAndHoldsLaterOnes) {
  start(write(0, 8, 10ms, 'a'));
  start(window(4, 8, 10ms, 'w'));
  start(write(6, 1, 1ms, 'b'));
  start(write(20, 1, 1ms, 'c'));  // elsewhere: not held
  EXPECT_EQ(finish(), "acCAwWbB");
}

TEST_F(TrackedRanges, WindowsDoNotExcludeEachOther) {
  start(window(0, 8, 10ms, 'v'));
  start(window(4, 8, 10ms, 'w'));
  EXPECT_EQ(log, "vw");
  finish();
}

}  // namespace
}  // namespace holdfast::nexus
