// The table of cases: complete, in order, and found by its filters.
#include "cli/conformance/suite.h"

#include <set>

#include <gtest/gtest.h>

namespace holdfast::cli::conformance {
namespace {

TEST(Suite, EveryCaseIsComplete) {
  const Cases cases = all_cases();
  EXPECT_GE(cases.size(), 300u);
  std::set<std::string> ids;
  for (const Case& c : cases) {
    SCOPED_TRACE(c.id);
    EXPECT_TRUE(ids.insert(c.id).second) << "twice";
    EXPECT_FALSE(c.title.empty() || c.section.empty() || c.requirement.empty());
    EXPECT_TRUE(static_cast<bool>(c.run));
    EXPECT_EQ(c.id.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789.-"), std::string::npos);
    EXPECT_NE(c.group(), c.id);
  }
}

TEST(Suite, WhatMayDestroyDataSaysSo) {
  for (const Case& c : all_cases()) {
    if (c.group() == "nvm.integrity") {
      EXPECT_TRUE(c.writes) << c.id;
    }
    if (c.id.starts_with("nvm.io.write")) {
      EXPECT_TRUE(c.writes) << c.id;
    }
    if (c.group() == "base.identify") {
      EXPECT_FALSE(c.writes) << c.id;
    }
  }
}

TEST(Suite, Filters) {
  Case c;
  c.id = "tcp.error-report.type";
  const auto by_group = [&](std::vector<std::string> groups) {
    return selects(Filter{std::move(groups), {}}, c);
  };
  const auto by_test = [&](std::vector<std::string> tests) {
    return selects(Filter{{}, std::move(tests)}, c);
  };
  EXPECT_TRUE(selects(Filter(), c));
  EXPECT_TRUE(by_group({"tcp"}));
  EXPECT_TRUE(by_group({"base", "tcp.error-report"}));
  EXPECT_FALSE(by_group({"tcp.error"})) << "a group, not the beginning of a name";
  EXPECT_FALSE(by_group({"t"}));
  EXPECT_TRUE(by_test({"tcp.error-report.type"}));
  EXPECT_TRUE(by_test({"x", "*.type"}));
  EXPECT_TRUE(by_test({"tcp.*-report.*"}));
  EXPECT_FALSE(by_test({"tcp.*-report"}));
  EXPECT_FALSE(by_test({""}));
  EXPECT_FALSE(selects(Filter{{"tcp"}, {"*.vs"}}, c)) << "both have to select it";
}

}  // namespace
}  // namespace holdfast::cli::conformance
