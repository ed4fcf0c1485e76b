#include "base/page_memory.h"

#include <bit>
#include <cstdint>

#include <sys/mman.h>

#include "base/assert.h"

namespace holdfast {

namespace {

// Mapped with room to spare, which is given back at both ends.
std::byte* map_aligned(std::size_t bytes, std::size_t alignment) noexcept {
  void* const at =
      ::mmap(nullptr, bytes + alignment, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return nullptr;
  auto* const begin = static_cast<std::byte*>(at);
  const std::size_t before = (alignment - std::bit_cast<std::uintptr_t>(at) % alignment) % alignment;
  if (before > 0) ::munmap(begin, before);
  ::munmap(begin + before + bytes, alignment - before);
  return begin + before;
}

}  // namespace

std::byte* map_pages(std::size_t bytes) noexcept {
  HF_ASSERT(bytes > 0 && bytes % page_memory_alignment == 0);
  std::byte* const memory = map_aligned(bytes, page_memory_alignment);
  // Advice: a kernel without it says EINVAL.
  if (memory != nullptr) ::madvise(memory, bytes, MADV_HUGEPAGE);
  return memory;
}

std::byte* map_small_pages(std::size_t bytes) noexcept {
  HF_ASSERT(std::has_single_bit(bytes) && bytes >= 64 * 1024 && bytes <= page_memory_alignment);
  return map_aligned(bytes, bytes);
}

void unmap_pages(std::byte* memory, std::size_t bytes) noexcept { ::munmap(memory, bytes); }

}  // namespace holdfast
