#include "base/utf8.h"

#include <string>

#include <gtest/gtest.h>

namespace holdfast {
namespace {

TEST(Utf8, SizesOfCharacters) {
  for (const auto& [text, size] : {std::pair<const char*, std::size_t>{"a", 1},
                                   {"\x7F", 1},
                                   {"\xC2\x80", 2},
                                   {"\xE0\xA0\x80z", 3},
                                   {"\xEF\xBF\xBD", 3},
                                   {"\xF0\x90\x80\x80", 4},
                                   {"\xF4\x8F\xBF\xBF", 4}})
    EXPECT_EQ(utf8_size(text), size) << text;
}

TEST(Utf8, BytesThatAreNone) {
  for (const char* text :
       {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC2z", "\xE0\x9F\x80", "\xE2\x82", "\xED\xA0\x80",
        "\xF0\x8F\x80\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF"})
    EXPECT_EQ(utf8_size(text), 0u) << text;
}

TEST(Utf8, OthersAreReplacedByteByByte) {
  EXPECT_EQ(to_utf8(""), "");
  EXPECT_EQ(to_utf8("a\xE2\x82\xAC"), "a\xE2\x82\xAC");
  EXPECT_EQ(to_utf8("\xE9t\xE2\x82"), "\xEF\xBF\xBDt\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(Utf8, WhatSteersATerminal) {
  for (const char* text : {"\x1b", "\n", "\x7F", "\xC2\x80", "\xC2\x9B"}) EXPECT_TRUE(is_control(text));
  for (const char* text : {" ", "a", "\xC2", "\xC2\xA0", "\xC3\x9B"}) EXPECT_FALSE(is_control(text));
  EXPECT_TRUE(is_control(std::string_view("\0", 1)));
}

}  // namespace
}  // namespace holdfast
