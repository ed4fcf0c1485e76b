// Partial: a cluster of which only some blocks are the volume's own. A thin volume that is written here and there has
// one for each of its clusters, so they lie in memory of their own.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "pool/effects.h"
#include "pool/slab.h"
#include "pool/types.h"

namespace holdfast::pool {

// Memory for the Partials of one pool, which may live longer. Home core.
class PartialMemory {
 public:
  explicit PartialMemory(std::uint32_t blocks) noexcept;  // of a cluster
  // Chunks of it that nothing needs; to the system go `most` of them at most. Says how many these were.
  std::size_t spare() const noexcept { return plain_.spare() + with_behind_.spare(); }
  std::size_t trim(std::size_t most) noexcept;
  std::size_t taken() const noexcept {
    return plain_.memory() + with_behind_.memory();
  }  // from the system, bytes

 private:
  friend class Partial;
  const std::uint32_t blocks_;
  Slab plain_, with_behind_;
};

// Blocks that are not own are the cluster's behind, as far as that one has them; all others are zero.
class Partial final : public Retired {
 public:
  // No block is own.
  static std::unique_ptr<Partial> make(PartialMemory& memory, Cluster cluster);
  // With another cluster behind it. That one's valid blocks are to be set before anybody sees it.
  static std::unique_ptr<Partial> make(PartialMemory& memory, Cluster cluster, Cluster behind);
  std::unique_ptr<Partial> copy(PartialMemory& memory) const;
  static void operator delete(void* object) noexcept { Slab::release(object); }

  Cluster cluster() const noexcept { return cluster_; }
  bool has_behind() const noexcept { return has_behind_; }
  Cluster behind() const noexcept { return behind_; }
  std::uint32_t blocks() const noexcept { return blocks_; }  // of a cluster

  bool own(std::uint32_t block) const noexcept { return test(block); }
  bool behind_valid(std::uint32_t block) const noexcept { return has_behind_ && test(words() * 64 + block); }
  std::uint32_t own_blocks() const noexcept;
  bool owns(std::uint32_t first, std::uint32_t count) const noexcept;
  // Whether a block that is not own is behind.
  bool needs_behind() const noexcept;

  void set_own(std::uint32_t first, std::uint32_t count, bool value) noexcept;
  void set_behind_valid(std::uint32_t first, std::uint32_t count) noexcept;
  // Words of 64 blocks, least significant bit first.
  std::uint32_t words() const noexcept { return words(blocks_); }
  std::uint64_t own_word(std::uint32_t word) const noexcept {
    return bits()[word].load(std::memory_order_acquire);
  }
  std::uint64_t behind_word(std::uint32_t word) const noexcept {
    return has_behind_ ? bits()[words() + word].load(std::memory_order_relaxed) : 0;
  }
  void set_words(std::uint32_t word, std::uint64_t own, std::uint64_t behind) noexcept;
  std::size_t memory() const noexcept { return memory(blocks_, has_behind_); }
  // Bytes of one, in a cluster of so many blocks.
  static constexpr std::size_t memory(std::uint32_t blocks, bool has_behind) noexcept;

 private:
  using Word = std::atomic<std::uint64_t>;

  Partial(Cluster cluster, std::uint32_t blocks) noexcept;
  Partial(Cluster cluster, Cluster behind, std::uint32_t blocks) noexcept;
  static void* operator new(std::size_t, Slab& slab) { return slab.allocate(); }
  static void operator delete(void* object, Slab&) noexcept { Slab::release(object); }

  static constexpr std::uint32_t words(std::uint32_t blocks) noexcept { return (blocks + 63) / 64; }
  // Own, then behind_valid: they follow the object.
  Word* bits() noexcept { return reinterpret_cast<Word*>(reinterpret_cast<std::byte*>(this) + sizeof *this); }
  const Word* bits() const noexcept {
    return reinterpret_cast<const Word*>(reinterpret_cast<const std::byte*>(this) + sizeof *this);
  }
  bool test(std::uint32_t bit) const noexcept {
    return (bits()[bit / 64].load(std::memory_order_acquire) >> (bit % 64) & 1) != 0;
  }

  Cluster cluster_;
  Cluster behind_{};
  std::uint16_t blocks_;
  bool has_behind_;
};
static_assert(sizeof(Partial) % alignof(std::uint64_t) == 0);

constexpr std::size_t Partial::memory(std::uint32_t blocks, bool has_behind) noexcept {
  return sizeof(Partial) + std::size_t{words(blocks)} * (has_behind ? 2 : 1) * sizeof(Word);
}

}  // namespace holdfast::pool
