#include "control/creation_order.h"

#include <functional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "control/views.h"

namespace holdfast::control {
namespace {

// All ids in order, a page at a time, while others come and go.
std::vector<std::string> paged(CreationOrder& order, const std::function<void()>& meanwhile) {
  std::vector<std::string> seen;
  std::uint64_t token = 0;
  for (;;) {
    const auto at = order.after(token);
    if (at == order.places().end()) return seen;
    seen.push_back(at->id);
    token = CreationOrder::token_of(*at);
    meanwhile();
  }
}

TEST(CreationOrder, OlderOnesComeFirst) {
  CreationOrder order;
  order.add(7, "b");
  order.add(5, "c");
  order.add(9, "a");
  EXPECT_EQ(paged(order, [] {}), (std::vector<std::string>{"c", "b", "a"}));
}

TEST(CreationOrder, OneChangeThatCreatedManyIsNotLeftOutOfAPage) {
  CreationOrder order;
  for (int i = 0; i < 50; ++i) order.add(7, fmt::format("volume-{}", i));
  EXPECT_EQ(paged(order, [] {}).size(), 50U);
}

TEST(CreationOrder, WhatGoesMovesNothingElse) {
  CreationOrder order;
  for (int i = 0; i < 20; ++i) order.add(3 + i, fmt::format("volume-{}", i));
  int gone = 0;
  const auto seen = paged(order, [&] {
    // Behind the page, where offsets would shift what is to come.
    if (gone < 10) order.remove(3 + gone, fmt::format("volume-{}", gone));
    ++gone;
  });
  EXPECT_EQ(seen.size(), 20U);
}

TEST(CreationOrder, TokensAreWhatEveryReaderOfJsonTakes) {
  CreationOrder order;
  order.add(std::int64_t{1} << 35, "late");
  const std::uint64_t token = CreationOrder::token_of(*order.places().begin());
  EXPECT_GE(token, stable_tokens_from);
  EXPECT_LT(token, std::uint64_t{1} << 53);
  EXPECT_EQ(order.after(token), order.places().end());
  EXPECT_EQ(order.after(~std::uint64_t{0}), order.places().end());
}

}  // namespace
}  // namespace holdfast::control
