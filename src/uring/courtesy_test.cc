#include "uring/courtesy.h"

#include <gtest/gtest.h>

namespace holdfast::uring {
namespace {

TEST(Courtesy, OffersLessOftenWhileNobodyTakesIt) {
  Courtesy c;
  Nanos now = 1s;
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(c.offers(now));
    c.offered(now, now + 300ns);
    EXPECT_FALSE(c.offers(now + 300ns));
    now += 300ns + Courtesy::interval_max;
  }
  c.offered(now, now + 300ns);
  EXPECT_FALSE(c.offers(now + Courtesy::interval_max));
  now += Courtesy::interval_max * 2;
  c.offered(now, now + 8us);  // somebody answered
  EXPECT_TRUE(c.offers(now + 8us + Courtesy::interval_min));
}

// How often a neighbour with work without end gets the processor in a minute.
TEST(Courtesy, OffersLittleToWhoKeepsIt) {
  Courtesy c;
  unsigned taken = 0;
  for (Nanos now = 1s; now < 61s; now += 50us) {
    if (!c.offers(now)) continue;
    const bool lets_him = now.count() % 3 == 0;  // the scheduler
    c.offered(now, now + (lets_him ? Nanos(3ms) : Nanos(300ns)));
    if (lets_him) ++taken;
  }
  EXPECT_GE(taken, 50u);
  EXPECT_LE(taken, 70u) << "once a second, after the first few";
}

TEST(Courtesy, ForgetsANeighbourWhoHasGone) {
  Courtesy c;
  Nanos now = 1s;
  for (int i = 0; i < 8; ++i) {
    while (!c.offers(now)) now += 1ms;
    c.offered(now, now + 3ms);
    now += 3ms;
  }
  EXPECT_FALSE(c.offers(now + Courtesy::pause_max / 2));
  now += Courtesy::pause_max;
  ASSERT_TRUE(c.offers(now));
  c.offered(now, now + 8us);  // another one answers
  now += 8us + Courtesy::interval_min;
  c.offered(now, now + 3ms);
  EXPECT_TRUE(c.offers(now + 3ms + Courtesy::pause_min));
}

TEST(Courtesy, PausesWhileANeighbourKeepsTheProcessor) {
  Courtesy c;
  EXPECT_FALSE(c.pauses(1s));
  c.offered(1s, 1s + 8us);
  EXPECT_FALSE(c.pauses(1s + 8us));
  c.offered(2s, 2s + 3ms);
  EXPECT_TRUE(c.pauses(2s + 3ms));
  EXPECT_FALSE(c.pauses(2s + 3ms + Courtesy::pause_min));
  EXPECT_LT(Courtesy::poll_max, Courtesy::for_good) << "or two that poll are such neighbours to each other";
}

}  // namespace
}  // namespace holdfast::uring
