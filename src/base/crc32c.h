// CRC-32C (Castagnoli), as NVMe/TCP digests (NVMe/TCP 1.0, section 3.3.1) and our on-disk formats use it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace holdfast {

// Incremental: update() any number of times, then value(). Uses the CPU's CRC32 instruction where there is
// one.
class Crc32c {
 public:
  void update(std::span<const std::byte> data) noexcept;
  std::uint32_t value() const noexcept { return ~state_; }

 private:
  std::uint32_t state_ = ~0u;
};

std::uint32_t crc32c(std::span<const std::byte> data) noexcept;

namespace detail {
// Both implementations, so that a test can compare them.
std::uint32_t crc32c_table(std::uint32_t state, std::span<const std::byte> data) noexcept;
std::uint32_t crc32c_hardware(std::uint32_t state, std::span<const std::byte> data) noexcept;
bool crc32c_has_hardware() noexcept;
}  // namespace detail

}  // namespace holdfast
