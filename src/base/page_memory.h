// Large blocks of memory straight from the system.
#pragma once

#include <cstddef>

namespace holdfast {

inline constexpr std::size_t page_memory_alignment = std::size_t{2} << 20;

// A mapping of `bytes`, a multiple of the alignment: zero, and taken from the machine only where it is
// touched. Offered to the kernel for transparent huge pages, since random access to much memory costs a walk
// of the page tables each time, twice as long in a virtual machine; where the kernel gives none, small pages
// serve. nullptr when the system has no memory left. The caller gives it back with unmap_pages().
std::byte* map_pages(std::size_t bytes) noexcept;
// The same in small pages: `bytes`, a power of two from 64 KiB up to the alignment above, is the alignment as well.
std::byte* map_small_pages(std::size_t bytes) noexcept;
void unmap_pages(std::byte* memory, std::size_t bytes) noexcept;

}  // namespace holdfast
