// Bytes as the specifications number them: little-endian fields at offsets. The tool reads and writes wire
// structures this way, and not with the layouts of src/nvme, so that a mistake there cannot hide itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace holdfast::cli::conformance {

using Bytes = std::vector<std::uint8_t>;
using View = std::span<const std::uint8_t>;

// The field at `offset`; 0 when it lies beyond the end: lengths are judged where they are received.
template <class T>
T get(View bytes, std::size_t offset) noexcept {
  static_assert(std::is_unsigned_v<T>);
  T value = 0;
  if (offset + sizeof(T) <= bytes.size()) std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}
inline std::uint8_t u8(View b, std::size_t at) noexcept { return get<std::uint8_t>(b, at); }
inline std::uint16_t u16(View b, std::size_t at) noexcept { return get<std::uint16_t>(b, at); }
inline std::uint32_t u32(View b, std::size_t at) noexcept { return get<std::uint32_t>(b, at); }
inline std::uint64_t u64(View b, std::size_t at) noexcept { return get<std::uint64_t>(b, at); }

// The field must lie within the bytes (asserted).
void put8(std::span<std::uint8_t> bytes, std::size_t at, unsigned value) noexcept;
void put16(std::span<std::uint8_t> bytes, std::size_t at, unsigned value) noexcept;
void put32(std::span<std::uint8_t> bytes, std::size_t at, std::uint32_t value) noexcept;
void put64(std::span<std::uint8_t> bytes, std::size_t at, std::uint64_t value) noexcept;
void put_text(std::span<std::uint8_t> bytes, std::size_t at, std::string_view text) noexcept;

void append(Bytes& to, View more);
// What lies beyond the end is left out.
View slice(View bytes, std::size_t from, std::size_t count) noexcept;
bool is_zero(View bytes) noexcept;
// Bytes that differ from place to place and from seed to seed.
Bytes pattern(std::size_t bytes, std::uint64_t seed);
// The text of a field that spaces or zeroes fill up.
std::string text_of(View field);
std::uint32_t crc32c_of(View bytes) noexcept;

// "00 01 80 ...": at most `most` bytes, then how many there are.
std::string hex(View bytes, std::size_t most = 160);
// "0x1f"
std::string hex_number(std::uint64_t value);

}  // namespace holdfast::cli::conformance
