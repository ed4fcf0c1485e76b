#include "control/events.h"

#include <gtest/gtest.h>

#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast::control {
namespace {

struct Machine {
  sim::World world{1};
  sim::SimReactor& r = world.add_node("a").start(1, 1 << 20).core(0);
  Events events{r, 4};
};

TEST(Events, KeepsTheNewest) {
  Machine m;
  for (int i = 0; i < 6; ++i) m.events.add("Pool", "Create", std::to_string(i), "n", "made");
  const auto all = m.events.since(0);
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all.back().resource, "5");
  EXPECT_EQ(m.events.since(4).size(), 2u);
  EXPECT_EQ(m.events.since(4, 1).front().number, 5u);
  EXPECT_TRUE(m.events.since(9999).empty());
}

TEST(Events, ThoseWhoWaitHearOfTheNextOne) {
  Machine m;
  auto add_later = [&]() -> Task<void> {
    co_await m.r.sleep(5ms);
    m.events.add("Node", "StateChange", "n", "n", "gone", true);
  };
  m.world.spawn(m.r, add_later());
  const auto news = m.world.run(m.r, m.events.next(0));
  ASSERT_EQ(news.size(), 1u);
  EXPECT_TRUE(news.front().warning);
  EXPECT_TRUE(m.world.run(m.r, m.events.next(1, m.r.now() + 1s)).empty());
}

}  // namespace
}  // namespace holdfast::control
