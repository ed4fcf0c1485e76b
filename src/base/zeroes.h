#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace holdfast {

// Whether all of them are 0; so it is when there are none.
inline bool is_zero(std::span<const std::byte> bytes) noexcept {
  // The first one is, and each is as the one before it.
  return bytes.empty() ||
         (bytes[0] == std::byte{0} && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}
inline bool is_zero(std::span<const std::uint8_t> bytes) noexcept { return is_zero(std::as_bytes(bytes)); }

}  // namespace holdfast
