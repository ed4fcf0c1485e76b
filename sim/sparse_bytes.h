// A large array of bytes, zero where nothing was written, in memory only where something was.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

namespace holdfast::sim {

class SparseBytes {
 public:
  explicit SparseBytes(std::uint64_t size) { resize(size); }

  void resize(std::uint64_t size) {
    size_ = size;
    pages_.resize((size + page_bytes - 1) / page_bytes);
  }
  std::uint64_t size() const noexcept { return size_; }
  // offset + length <= size().
  void read(std::uint64_t offset, std::span<std::byte> into) const noexcept {
    while (!into.empty()) {
      const std::size_t at = offset % page_bytes;
      const std::size_t n = std::min(into.size(), page_bytes - at);
      if (const auto& page = pages_[offset / page_bytes]) {
        std::memcpy(into.data(), page->data() + at, n);
      } else {
        std::memset(into.data(), 0, n);
      }
      into = into.subspan(n);
      offset += n;
    }
  }
  void write(std::uint64_t offset, std::span<const std::byte> from) {
    while (!from.empty()) {
      const std::size_t at = offset % page_bytes;
      const std::size_t n = std::min(from.size(), page_bytes - at);
      auto& page = pages_[offset / page_bytes];
      if (!page) page = std::make_unique<Page>();
      std::memcpy(page->data() + at, from.data(), n);
      from = from.subspan(n);
      offset += n;
    }
  }

 private:
  static constexpr std::size_t page_bytes = 16384;
  using Page = std::array<std::byte, page_bytes>;
  std::uint64_t size_ = 0;
  std::vector<std::unique_ptr<Page>> pages_;
};

}  // namespace holdfast::sim
