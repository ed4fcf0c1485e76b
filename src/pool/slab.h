// Slab: memory for very many small objects of one size. The general allocator joins what was freed when it sees fit:
// after a million of small objects that is a pause of tens of milliseconds, in whatever call comes next. Here an object
// comes and goes in a few instructions, and memory goes back to the system in portions, when the owner says so.
//
// One thread at a time uses a slab and its objects.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/units.h"

namespace holdfast::pool {

class Slab {
 public:
  static constexpr std::size_t chunk_bytes = 256 * KiB;
  static constexpr std::size_t object_bytes_max = 8 * KiB;

  // object_bytes: 1 .. object_bytes_max.
  explicit Slab(std::size_t object_bytes) noexcept;
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;
  ~Slab();  // objects may live longer

  // Aligned to 8. Ends the process when the system has no memory left.
  void* allocate();
  // Of any slab; also when that one is gone.
  static void release(void* object) noexcept;

  // Chunks without objects that are more than the one that is kept for those to come.
  std::size_t spare() const noexcept { return empty_.count > 1 ? empty_.count - 1 : 0; }
  // Gives so many of them back to the system at most. Says how many they were.
  std::size_t trim(std::size_t most) noexcept;
  // Taken from the system.
  std::size_t memory() const noexcept { return chunks_ * chunk_bytes; }

 private:
  struct Chunk;
  struct List {
    Chunk* first = nullptr;
    std::size_t count = 0;
    void add(Chunk& chunk) noexcept;
    void remove(Chunk& chunk) noexcept;
  };
  Chunk& chunk_with_room();

  const std::size_t object_bytes_;
  const std::size_t objects_per_chunk_;
  std::size_t chunks_ = 0;
  List full_, partly_, empty_;
};

}  // namespace holdfast::pool
