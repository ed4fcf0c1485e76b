#include "cli/bench/pattern.h"

#include <cstring>

#include <fmt/format.h>

#include "base/assert.h"
#include "base/zeroes.h"

namespace holdfast::cli {
namespace {

constexpr std::uint64_t magic = 0x74736166646c6f68;  // "holdfast" in memory
constexpr std::size_t header_words = 4;
constexpr std::size_t word_bytes = 8;

std::uint64_t mix(std::uint64_t z) noexcept {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

std::uint64_t writer_of(const PatternId& id) noexcept { return std::uint64_t{id.run} << 32 | id.generation; }

// The word at `index` of the block; differs from that of any other block and generation.
class Words {
 public:
  explicit Words(const PatternId& id) noexcept
      : header_{magic, id.offset, writer_of(id), mix(id.offset ^ writer_of(id))},
        seed_(mix(id.offset + 0x9e3779b97f4a7c15 * writer_of(id))) {}
  std::uint64_t at(std::size_t index) const noexcept {
    return index < header_words ? header_[index] : seed_ + index * 0x9e3779b97f4a7c15;
  }

 private:
  std::uint64_t header_[header_words];
  std::uint64_t seed_;
};

std::uint64_t word_at(std::span<const std::byte> block, std::size_t index) noexcept {
  std::uint64_t word = 0;
  std::memcpy(&word, block.data() + index * word_bytes, word_bytes);
  return word;
}

// What the header says of itself; nullopt when it is none of ours.
std::optional<PatternId> read_header(std::span<const std::byte> block) noexcept {
  const std::uint64_t offset = word_at(block, 1);
  const std::uint64_t writer = word_at(block, 2);
  if (word_at(block, 0) != magic || word_at(block, 3) != mix(offset ^ writer)) return std::nullopt;
  return PatternId{offset, static_cast<std::uint32_t>(writer >> 32), static_cast<std::uint32_t>(writer)};
}

// The first byte that is not as `id` wants it; block.size() when there is none.
std::size_t first_difference(std::span<const std::byte> block, const PatternId& id) noexcept {
  const Words words(id);
  for (std::size_t i = 0; i < block.size() / word_bytes; ++i) {
    const std::uint64_t difference = word_at(block, i) ^ words.at(i);
    if (difference != 0) return i * word_bytes + static_cast<std::size_t>(__builtin_ctzll(difference)) / 8;
  }
  return block.size();
}

std::string describe(std::span<const std::byte> block, const PatternId& wanted) {
  const auto found = read_header(block);
  if (!found) {
    if (is_zero(block)) return "it reads as zeroes";
    return fmt::format("it holds foreign data, beginning with {:016x}", word_at(block, 0));
  }
  if (found->offset != wanted.offset)
    return fmt::format("it holds what was written for offset {}", found->offset);
  const std::size_t torn_at = first_difference(block, *found);
  if (torn_at != block.size()) return fmt::format("it is torn or corrupted: byte {} differs", torn_at);
  if (found->run != wanted.run) return "it holds what an earlier run wrote";
  return fmt::format("it holds write {} of this run, and write {} was acknowledged", found->generation,
                     wanted.generation);
}

}  // namespace

void fill_pattern(std::span<std::byte> block, const PatternId& id) noexcept {
  HF_ASSERT(block.size() >= 512 && block.size() % word_bytes == 0);
  const Words words(id);
  for (std::size_t i = 0; i < block.size() / word_bytes; ++i) {
    const std::uint64_t word = words.at(i);
    std::memcpy(block.data() + i * word_bytes, &word, word_bytes);
  }
}

std::optional<std::string> check_pattern(std::span<const std::byte> block, const PatternId& id) {
  if (first_difference(block, id) == block.size()) return std::nullopt;
  return describe(block, id);
}

std::optional<std::string> check_any_pattern(std::span<const std::byte> block, std::uint64_t offset) {
  const auto found = read_header(block);
  if (found && found->offset == offset && first_difference(block, *found) == block.size())
    return std::nullopt;
  return describe(block, found ? PatternId{offset, found->run, found->generation} : PatternId{offset, 0, 0});
}

}  // namespace holdfast::cli
