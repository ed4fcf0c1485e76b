// What a fuzz target that speaks a protocol takes its decisions from.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace holdfast::nvmf::tcp::testing {

// The fuzzer's bytes, one after the other; zeroes when they have ended.
class Input {
 public:
  explicit Input(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  bool empty() const { return bytes_.empty(); }
  std::uint8_t byte() {
    if (bytes_.empty()) return 0;
    const std::uint8_t b = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return b;
  }
  std::uint32_t word() {
    const std::uint32_t low = byte();
    return low | std::uint32_t{byte()} << 8;
  }
  // True once in 16 times for random input, never when it has ended.
  bool twist() { return byte() >= 240; }
  std::span<const std::byte> take(std::size_t n) {
    const auto out = bytes_.first(std::min(n, bytes_.size()));
    bytes_ = bytes_.subspan(out.size());
    return std::as_bytes(out);
  }

 private:
  std::span<const std::uint8_t> bytes_;
};

}  // namespace holdfast::nvmf::tcp::testing
