#include "base/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace holdfast {
namespace {

constexpr std::array<std::uint32_t, 256> table = [] {
  std::array<std::uint32_t, 256> t{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t c = i;
    for (int k = 0; k < 8; ++k) c = (c & 1) != 0 ? (c >> 1) ^ 0x82f63b78u : c >> 1;
    t[i] = c;
  }
  return t;
}();

}  // namespace

namespace detail {

std::uint32_t crc32c_table(std::uint32_t state, std::span<const std::byte> data) noexcept {
  for (auto b : data) state = table[(state ^ static_cast<std::uint8_t>(b)) & 0xff] ^ (state >> 8);
  return state;
}

#if defined(__x86_64__)

bool crc32c_has_hardware() noexcept { return __builtin_cpu_supports("sse4.2") != 0; }

__attribute__((target("sse4.2"))) std::uint32_t crc32c_hardware(std::uint32_t state,
                                                                std::span<const std::byte> data) noexcept {
  const std::byte* p = data.data();
  std::size_t left = data.size();
  std::uint64_t wide = state;
  for (; left >= 8; p += 8, left -= 8) {
    std::uint64_t word;
    std::memcpy(&word, p, 8);
    wide = _mm_crc32_u64(wide, word);
  }
  state = static_cast<std::uint32_t>(wide);
  for (; left > 0; ++p, --left) state = _mm_crc32_u8(state, static_cast<std::uint8_t>(*p));
  return state;
}

#else

bool crc32c_has_hardware() noexcept { return false; }
std::uint32_t crc32c_hardware(std::uint32_t state, std::span<const std::byte> data) noexcept {
  return crc32c_table(state, data);
}

#endif

}  // namespace detail

void Crc32c::update(std::span<const std::byte> data) noexcept {
  static const bool hardware = detail::crc32c_has_hardware();
  state_ = hardware ? detail::crc32c_hardware(state_, data) : detail::crc32c_table(state_, data);
}

std::uint32_t crc32c(std::span<const std::byte> data) noexcept {
  Crc32c crc;
  crc.update(data);
  return crc.value();
}

}  // namespace holdfast
