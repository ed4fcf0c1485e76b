// SparseMemory: bytes of a memory device. Takes memory where it was written only; the rest reads as zeroes.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace holdfast {

// Any core, at once. A copy within one chunk excludes other copies there, so no block is ever torn.
class SparseMemory {
 public:
  static constexpr std::uint64_t chunk_bytes = std::uint64_t{4} << 20;
  static constexpr std::uint64_t size_max = std::uint64_t{1} << 40;

  // One core uses it alone: no lock is taken then.
  explicit SparseMemory(bool shared);
  SparseMemory(const SparseMemory&) = delete;
  SparseMemory& operator=(const SparseMemory&) = delete;
  ~SparseMemory();

  // Ranges within size_max.
  void read(std::uint64_t offset, std::byte* to, std::size_t bytes) noexcept;
  // False when there is no memory left; a part may have been written.
  bool write(std::uint64_t offset, const std::byte* from, std::size_t bytes) noexcept;
  // Whether the chunk there has memory; without, it reads as zeroes.
  bool has(std::uint64_t offset) noexcept;
  // Gives the memory of whole chunks back.
  void zero(std::uint64_t offset, std::uint64_t bytes) noexcept;
  // The front of it, with at most one chunk that has memory: what may be done in one turn of a core.
  struct Zeroed {
    std::uint64_t passed = 0;   // bytes that are done, all of them at most
    std::uint64_t cleared = 0;  // of these, bytes that had memory
  };
  Zeroed zero_some(std::uint64_t offset, std::uint64_t bytes) noexcept;

 private:
  static constexpr std::size_t chunk_count = size_max / chunk_bytes;
  class Lock;

  // The memory of a chunk; nullptr while it has none.
  std::byte*& chunk(std::uint64_t offset) noexcept { return table_[offset / chunk_bytes]; }
  static void release(std::byte*& chunk) noexcept;

  const bool shared_;
  std::byte** table_;                       // chunk_count entries; zero pages until used
  std::atomic<std::uint64_t> used_end_{0};  // chunks below this index may have memory
  std::array<std::atomic_flag, 256> locks_{};
};

}  // namespace holdfast
