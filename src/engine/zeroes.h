// What need not be stored: bytes that are all zero.
#pragma once

#include <cstddef>
#include <cstring>

namespace holdfast::engine {

inline bool all_zero(const std::byte* bytes, std::size_t count) noexcept {
  return count == 0 || (bytes[0] == std::byte{} && std::memcmp(bytes, bytes + 1, count - 1) == 0);
}

}  // namespace holdfast::engine
