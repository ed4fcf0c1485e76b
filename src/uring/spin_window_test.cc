#include "uring/spin_window.h"

#include <gtest/gtest.h>

namespace holdfast::uring {
namespace {

TEST(SpinWindow, IsLongerWhileAnAnswerIsDue) {
  const SpinWindow window(50us);
  EXPECT_EQ(window.length(false), 50us);
  EXPECT_EQ(window.length(true), 200us);
}

TEST(SpinWindow, IsNotForAnswersThatTakeLonger) {
  SpinWindow window(50us);
  for (int i = 0; i < 10; ++i) window.waited(5ms, true);
  EXPECT_EQ(window.length(true), 50us);
  // The disk has become faster. Its answers come to a core that sleeps.
  for (int i = 0; i < 3; ++i) window.waited(120us, true);
  EXPECT_EQ(window.length(true), 200us);
}

TEST(SpinWindow, KeepsWhatOneAnswerInThreeMisses) {
  SpinWindow window(50us);
  for (int i = 0; i < 100; ++i) window.waited(i % 3 == 0 ? 1ms : 100us, true);
  EXPECT_EQ(window.length(true), 200us);
  for (int i = 0; i < 99; ++i) window.waited(i % 3 != 0 ? 1ms : 100us, true);
  EXPECT_EQ(window.length(true), 50us);
}

TEST(SpinWindow, LearnsFromAnswersOnly) {
  SpinWindow window(50us);
  for (int i = 0; i < 100; ++i) window.waited(1s, false);  // nobody asked for anything
  EXPECT_EQ(window.length(true), 200us);
  for (int i = 0; i < 100; ++i) window.waited(5ms, true);
  for (int i = 0; i < 100; ++i) window.waited(20us, true);  // says nothing of the time in question
  EXPECT_EQ(window.length(true), 50us);
}

TEST(SpinWindow, OfNothingIsNothing) {
  SpinWindow window(0us);
  for (int i = 0; i < 100; ++i) window.waited(10us, true);
  EXPECT_EQ(window.length(true), 0us);
}

}  // namespace
}  // namespace holdfast::uring
