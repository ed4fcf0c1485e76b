#include "pool/partial.h"

#include <algorithm>
#include <bit>
#include <memory>

#include "base/assert.h"

namespace holdfast::pool {
namespace {

// The bits of word `word` that lie in [first, first + count).
std::uint64_t mask(std::uint32_t word, std::uint32_t first, std::uint32_t count) noexcept {
  const std::uint32_t low = std::max(first, word * 64);
  const std::uint32_t end = std::min(first + count, word * 64 + 64);
  if (low >= end) return 0;
  const std::uint64_t ones = end - low == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << (end - low)) - 1;
  return ones << (low - word * 64);
}

}  // namespace

PartialMemory::PartialMemory(std::uint32_t blocks) noexcept
    : blocks_(blocks), plain_(Partial::memory(blocks, false)), with_behind_(Partial::memory(blocks, true)) {}

std::size_t PartialMemory::trim(std::size_t most) noexcept {
  const std::size_t trimmed = plain_.trim(most);
  return trimmed + with_behind_.trim(most - trimmed);
}

Partial::Partial(Cluster cluster, std::uint32_t blocks) noexcept
    : cluster_(cluster), blocks_(static_cast<std::uint16_t>(blocks)), has_behind_(false) {
  std::uninitialized_value_construct_n(bits(), words());
}

Partial::Partial(Cluster cluster, Cluster behind, std::uint32_t blocks) noexcept
    : cluster_(cluster), behind_(behind), blocks_(static_cast<std::uint16_t>(blocks)), has_behind_(true) {
  std::uninitialized_value_construct_n(bits(), std::size_t{2} * words());
}

std::unique_ptr<Partial> Partial::make(PartialMemory& memory, Cluster cluster) {
  return std::unique_ptr<Partial>(new (memory.plain_) Partial(cluster, memory.blocks_));
}

std::unique_ptr<Partial> Partial::make(PartialMemory& memory, Cluster cluster, Cluster behind) {
  return std::unique_ptr<Partial>(new (memory.with_behind_) Partial(cluster, behind, memory.blocks_));
}

std::unique_ptr<Partial> Partial::copy(PartialMemory& memory) const {
  auto made = has_behind_ ? make(memory, cluster_, behind_) : make(memory, cluster_);
  for (std::uint32_t w = 0; w < words(); ++w) made->set_words(w, own_word(w), behind_word(w));
  return made;
}

std::uint32_t Partial::own_blocks() const noexcept {
  std::uint32_t sum = 0;
  for (std::uint32_t w = 0; w < words(); ++w) sum += static_cast<std::uint32_t>(std::popcount(own_word(w)));
  return sum;
}

bool Partial::owns(std::uint32_t first, std::uint32_t count) const noexcept {
  for (std::uint32_t w = first / 64; w * 64 < first + count; ++w) {
    if ((mask(w, first, count) & ~own_word(w)) != 0) return false;
  }
  return true;
}

bool Partial::needs_behind() const noexcept {
  for (std::uint32_t w = 0; w < words(); ++w) {
    if ((behind_word(w) & ~own_word(w)) != 0) return true;
  }
  return false;
}

void Partial::set_own(std::uint32_t first, std::uint32_t count, bool value) noexcept {
  HF_ASSERT(first + count <= blocks_);
  for (std::uint32_t w = first / 64; w * 64 < first + count; ++w) {
    const std::uint64_t changed = mask(w, first, count);
    const std::uint64_t now = own_word(w);
    bits()[w].store(value ? now | changed : now & ~changed, std::memory_order_release);
  }
}

void Partial::set_behind_valid(std::uint32_t first, std::uint32_t count) noexcept {
  HF_ASSERT(has_behind_ && first + count <= blocks_);
  for (std::uint32_t w = first / 64; w * 64 < first + count; ++w) {
    set_words(w, own_word(w), behind_word(w) | mask(w, first, count));
  }
}

void Partial::set_words(std::uint32_t word, std::uint64_t own, std::uint64_t behind) noexcept {
  bits()[word].store(own, std::memory_order_release);
  if (has_behind_) bits()[words() + word].store(behind, std::memory_order_relaxed);
}

}  // namespace holdfast::pool
