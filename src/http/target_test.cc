#include "http/target.h"

#include <gtest/gtest.h>

namespace holdfast::http {
namespace {

using Segments = std::vector<std::string>;

TEST(Target, IsTakenApart) {
  const struct {
    const char* text;
    Segments segments;
    Query query;
  } cases[] = {
      {"/", {""}, {}},
      {"/v0/volumes", {"v0", "volumes"}, {}},
      {"/v0/volumes/", {"v0", "volumes", ""}, {}},
      {"/v0//volumes", {"v0", "", "volumes"}, {}},
      {"/a%2Fb/c%20d", {"a/b", "c d"}, {}},
      {"/a+b", {"a+b"}, {}},
      {"/a?b=c&d=e%26f&g&&h=i=j", {"a"}, {{"b", "c"}, {"d", "e&f"}, {"g", ""}, {"h", "i=j"}}},
      {"/a?b=c+d%2B", {"a"}, {{"b", "c d+"}}},
      {"/a?", {"a"}, {}},
      {"/a?b=1#c", {"a"}, {{"b", "1"}}},
      {"/%C3%A4", {"\xc3\xa4"}, {}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text);
    const auto target = Target::parse(c.text);
    ASSERT_TRUE(target.ok()) << target.error().message();
    EXPECT_EQ(target.value().segments, c.segments);
    EXPECT_EQ(target.value().query, c.query);
  }
}

TEST(Target, BadOnesAreRefusedWithTheReason) {
  const struct {
    std::string text;
    const char* why;
  } cases[] = {
      {"", "begin with '/'"},
      {"v0/volumes", "begin with '/'"},
      {"*", "begin with '/'"},
      {"/a%", "two hexadecimal digits"},
      {"/a%2", "two hexadecimal"},
      {"/a%zz", "two hexadecimal"},
      {"/a%00", "control character"},
      {"/a%0a", "control character"},
      {"/a\x7f", "control character"},
      {"/a%ff", "not UTF-8"},
      {"/a%c0%af", "not UTF-8"},
      {"/a%ed%a0%80", "not UTF-8"},
      {"/a?b=%c3", "not UTF-8"},
      {"/a?=b", "no name"},
      {"/" + std::string(target_bytes_max, 'a'), "more than"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.text.substr(0, 40));
    const auto target = Target::parse(c.text);
    ASSERT_FALSE(target.ok());
    EXPECT_EQ(target.error().code(), Errc::invalid_argument);
    EXPECT_NE(target.error().message().find(c.why), std::string::npos) << target.error().message();
  }
}

TEST(Target, EncodingIsUndone) {
  const std::string text = "nvmf://10.0.0.1:8420/nqn?uuid=x y+z/\xc3\xa4%";
  EXPECT_EQ(encode("a/b c~"), "a%2Fb%20c~");
  EXPECT_EQ(decode(encode(text), true).value(), text);
}

}  // namespace
}  // namespace holdfast::http
