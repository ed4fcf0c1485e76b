#include "base/duration.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

using namespace std::chrono_literals;

TEST(Durations, AsPeopleWriteThem) {
  EXPECT_EQ(parse_duration("90").value(), 90s);
  EXPECT_EQ(parse_duration("250us").value(), 250us);
  EXPECT_EQ(parse_duration("500ms").value(), 500ms);
  EXPECT_EQ(parse_duration("2m").value(), 2min);
  EXPECT_EQ(parse_duration("2min").value(), 2min);
  EXPECT_EQ(parse_duration("1h 30m 5s").value(), 5405s);
  EXPECT_EQ(parse_duration("1h30m").value(), 90min);
  EXPECT_EQ(parse_duration("365d").value(), 24h * 365);
}

TEST(Durations, WhatIsNoneIsNamed) {
  for (const char* wrong : {"", " ", "0", "0s", "m", "1w", "1.5h", "-1", "1 h", "1h-", "366d", "365d 1us",
                            "99999999999", "18446744073709551616", "18446744073709551615us"}) {
    const auto parsed = parse_duration(wrong);
    ASSERT_FALSE(parsed.ok()) << wrong;
    EXPECT_NE(parsed.error().message().find("'" + std::string(wrong) + "' is not a duration"),
              std::string::npos);
  }
}

TEST(Durations, AreShownAsTheyAreRead) {
  EXPECT_EQ(duration_text(90s), "1m30s");
  EXPECT_EQ(duration_text(24h + 1500ms), "1d1s500ms");
  EXPECT_EQ(duration_text(250us), "250us");
  EXPECT_EQ(duration_text(0s), "0s");
  for (const auto duration : {1ms, 5000ms, 86'400'000ms, 5'400'250ms})
    EXPECT_EQ(parse_duration(duration_text(duration)).value(), duration);
}

}  // namespace
}  // namespace holdfast
