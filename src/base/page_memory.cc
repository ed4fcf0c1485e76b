#include "base/page_memory.h"

#include <bit>
#include <cstdint>

#include <sys/mman.h>

#include "base/assert.h"

namespace holdfast {

// Mapped with room to spare, which is given back at both ends.
std::byte* map_pages(std::size_t bytes) noexcept {
  constexpr std::size_t alignment = page_memory_alignment;
  HF_ASSERT(bytes > 0 && bytes % alignment == 0);
  void* const at =
      ::mmap(nullptr, bytes + alignment, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return nullptr;
  auto* const begin = static_cast<std::byte*>(at);
  const std::size_t before = (alignment - std::bit_cast<std::uintptr_t>(at) % alignment) % alignment;
  if (before > 0) ::munmap(begin, before);
  ::munmap(begin + before + bytes, alignment - before);
  ::madvise(begin + before, bytes, MADV_HUGEPAGE);  // advice: a kernel without it says EINVAL
  return begin + before;
}

void unmap_pages(std::byte* memory, std::size_t bytes) noexcept { ::munmap(memory, bytes); }

}  // namespace holdfast
