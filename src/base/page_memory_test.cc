#include "base/page_memory.h"

#include <bit>
#include <cstdint>

#include <gtest/gtest.h>

namespace holdfast {
namespace {

TEST(PageMemory, IsZeroAlignedAndWritable) {
  constexpr std::size_t bytes = 2 * page_memory_alignment;
  std::byte* const memory = map_pages(bytes);
  ASSERT_NE(memory, nullptr);
  EXPECT_EQ(std::bit_cast<std::uintptr_t>(memory) % page_memory_alignment, 0u);
  EXPECT_EQ(memory[0], std::byte{0});
  EXPECT_EQ(memory[bytes - 1], std::byte{0});
  memory[bytes - 1] = std::byte{7};
  EXPECT_EQ(memory[bytes - 1], std::byte{7});
  unmap_pages(memory, bytes);
}

TEST(PageMemory, SmallPagesAreAlignedToTheirSize) {
  for (std::size_t bytes = 64 * 1024; bytes <= page_memory_alignment; bytes *= 2) {
    std::byte* const memory = map_small_pages(bytes);
    ASSERT_NE(memory, nullptr);
    EXPECT_EQ(std::bit_cast<std::uintptr_t>(memory) % bytes, 0u);
    EXPECT_EQ(memory[0], std::byte{0});
    memory[bytes - 1] = std::byte{7};
    unmap_pages(memory, bytes);
  }
}

TEST(PageMemory, TooMuchIsRefused) {
  EXPECT_EQ(map_pages((std::size_t{1} << 62) / page_memory_alignment * page_memory_alignment), nullptr);
}

}  // namespace
}  // namespace holdfast
