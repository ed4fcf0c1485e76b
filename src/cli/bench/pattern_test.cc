#include "cli/bench/pattern.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace holdfast::cli {
namespace {

using testing::HasSubstr;
using testing::Optional;

constexpr PatternId id{8192, 77, 3};

std::vector<std::byte> block_of(const PatternId& of) {
  std::vector<std::byte> block(4096);
  fill_pattern(block, of);
  return block;
}

TEST(Pattern, HoldsWhatWasWritten) {
  const auto block = block_of(id);
  EXPECT_EQ(check_pattern(block, id), std::nullopt);
  EXPECT_EQ(check_any_pattern(block, id.offset), std::nullopt);
}

TEST(Pattern, ALostWriteShowsTheOlderOne) {
  EXPECT_THAT(check_pattern(block_of({8192, 77, 2}), id),
              Optional(HasSubstr("holds write 2 of this run, and write 3")));
}

TEST(Pattern, AMisplacedWriteNamesItsPlace) {
  EXPECT_THAT(check_pattern(block_of({4096, 77, 3}), id), Optional(HasSubstr("written for offset 4096")));
  EXPECT_THAT(check_any_pattern(block_of({4096, 77, 3}), 8192),
              Optional(HasSubstr("written for offset 4096")));
}

TEST(Pattern, ATornBlockIsFoundAtItsByte) {
  auto block = block_of(id);
  const auto older = block_of({8192, 77, 2});
  std::copy(older.begin() + 512, older.end(), block.begin() + 512);
  EXPECT_THAT(check_pattern(block, id), Optional(HasSubstr("torn or corrupted: byte 51")));
  EXPECT_THAT(check_any_pattern(block, 8192), Optional(HasSubstr("torn")));
}

TEST(Pattern, EverySingleBitCounts) {
  auto block = block_of(id);
  for (std::size_t byte = 0; byte < block.size(); byte += 37) {
    block[byte] ^= std::byte{4};
    EXPECT_NE(check_pattern(block, id), std::nullopt) << byte;
    EXPECT_NE(check_any_pattern(block, id.offset), std::nullopt) << byte;
    block[byte] ^= std::byte{4};
  }
}

TEST(Pattern, OtherContent) {
  EXPECT_THAT(check_pattern(std::vector<std::byte>(512), id), Optional(HasSubstr("zeroes")));
  EXPECT_THAT(check_pattern(std::vector<std::byte>(512, std::byte{0xAB}), id),
              Optional(HasSubstr("abababababababab")));
  EXPECT_THAT(check_pattern(block_of({8192, 78, 3}), id), Optional(HasSubstr("an earlier run")));
}

}  // namespace
}  // namespace holdfast::cli
