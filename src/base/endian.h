// Integers with a fixed byte order and alignment 1, for structs that mirror bytes outside this process.
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "base/assert.h"

namespace holdfast {

static_assert(std::endian::native == std::endian::little, "Le<T> is written for little-endian hosts");

// A little-endian T without alignment or padding.
template <std::unsigned_integral T>
class Le {
 public:
  constexpr Le() noexcept = default;
  constexpr Le(T v) noexcept : raw_(std::bit_cast<std::array<std::uint8_t, sizeof(T)>>(v)) {}
  constexpr T get() const noexcept { return std::bit_cast<T>(raw_); }
  constexpr operator T() const noexcept { return get(); }

 private:
  std::array<std::uint8_t, sizeof(T)> raw_{};
};
using le16 = Le<std::uint16_t>;
using le32 = Le<std::uint32_t>;
using le64 = Le<std::uint64_t>;

// A struct that may be copied to or from the outside as bytes: no padding, no pointers, alignment 1.
template <class T>
concept Wire = std::is_trivially_copyable_v<T> && std::is_standard_layout_v<T> && alignof(T) == 1 &&
               std::has_unique_object_representations_v<T>;
#define HF_FIELD(type, field, offset) static_assert(offsetof(type, field) == (offset))

// Copies a T out of `from`, which must hold at least sizeof(T) bytes.
template <Wire T>
T load(std::span<const std::byte> from) noexcept {
  HF_ASSERT(from.size() >= sizeof(T));
  T t;
  std::memcpy(&t, from.data(), sizeof t);
  return t;
}
template <Wire T>
void store(std::span<std::byte> to, const T& t) noexcept {
  HF_ASSERT(to.size() >= sizeof(T));
  std::memcpy(to.data(), &t, sizeof t);
}
// The bytes of t; valid as long as t.
template <Wire T>
std::span<const std::byte> bytes_of(const T& t) noexcept {
  return std::as_bytes(std::span<const T, 1>(&t, 1));
}

}  // namespace holdfast
