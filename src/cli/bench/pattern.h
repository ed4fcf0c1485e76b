// What a verifying bench writes, and how it sees that a block holds something else. Every block carries its
// own address, the run that wrote it and how often that run has written it, so a lost write, a write in the
// wrong place and a torn block are told apart.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace holdfast::cli {

struct PatternId {
  std::uint64_t offset = 0;      // bytes, of the block on the device
  std::uint32_t run = 0;         // random for each run
  std::uint32_t generation = 0;  // 1: the first write of this run

  bool operator==(const PatternId&) const = default;
};

// block.size() is a multiple of 8 and at least 512.
void fill_pattern(std::span<std::byte> block, const PatternId& id) noexcept;
// Nullopt when the block holds exactly that; else what it holds instead, for people.
std::optional<std::string> check_pattern(std::span<const std::byte> block, const PatternId& id);
// For blocks that an earlier run wrote: any run and generation will do.
std::optional<std::string> check_any_pattern(std::span<const std::byte> block, std::uint64_t offset);

}  // namespace holdfast::cli
