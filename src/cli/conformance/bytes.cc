#include "cli/conformance/bytes.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/prng.h"

namespace holdfast::cli::conformance {
namespace {

template <class T>
void put(std::span<std::uint8_t> bytes, std::size_t at, T value) noexcept {
  HF_ASSERT(at + sizeof value <= bytes.size());
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

}  // namespace

void put8(std::span<std::uint8_t> bytes, std::size_t at, unsigned value) noexcept {
  put(bytes, at, static_cast<std::uint8_t>(value));
}
void put16(std::span<std::uint8_t> bytes, std::size_t at, unsigned value) noexcept {
  put(bytes, at, static_cast<std::uint16_t>(value));
}
void put32(std::span<std::uint8_t> bytes, std::size_t at, std::uint32_t value) noexcept {
  put(bytes, at, value);
}
void put64(std::span<std::uint8_t> bytes, std::size_t at, std::uint64_t value) noexcept {
  put(bytes, at, value);
}
void put_text(std::span<std::uint8_t> bytes, std::size_t at, std::string_view text) noexcept {
  HF_ASSERT(at + text.size() <= bytes.size());
  std::memcpy(bytes.data() + at, text.data(), text.size());
}

void append(Bytes& to, View more) { to.insert(to.end(), more.begin(), more.end()); }

View slice(View bytes, std::size_t from, std::size_t count) noexcept {
  from = std::min(from, bytes.size());
  return bytes.subspan(from, std::min(count, bytes.size() - from));
}

bool is_zero(View bytes) noexcept {
  return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t b) { return b == 0; });
}

Bytes pattern(std::size_t bytes, std::uint64_t seed) {
  Prng prng(seed);
  Bytes out(bytes);
  for (auto& b : out) b = static_cast<std::uint8_t>(prng.next());
  return out;
}

std::string text_of(View field) {
  std::size_t n = 0;
  while (n < field.size() && field[n] != 0) ++n;
  while (n > 0 && field[n - 1] == ' ') --n;
  return std::string(field.begin(), field.begin() + static_cast<std::ptrdiff_t>(n));
}

std::uint32_t crc32c_of(View bytes) noexcept { return crc32c(std::as_bytes(bytes)); }

std::string hex(View bytes, std::size_t most) {
  const View shown = slice(bytes, 0, most);
  std::string text = fmt::format("{:02x}", fmt::join(shown, " "));
  if (shown.size() < bytes.size()) text += fmt::format(" ... ({} bytes)", bytes.size());
  return text;
}

std::string hex_number(std::uint64_t value) { return fmt::format("{:#x}", value); }

}  // namespace holdfast::cli::conformance
