// Images as runs of bytes, for tests and fuzz targets.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "base/units.h"
#include "pool/image.h"

namespace holdfast::pool::testing_support {

inline std::vector<std::byte> image_of(State& state, std::size_t piece_bytes = 64 * KiB) {
  std::vector<std::byte> bytes, piece(piece_bytes);
  ImageWriter writer(state);
  while (!writer.done()) {
    const std::size_t n = writer.next(piece);
    bytes.insert(bytes.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(n));
  }
  Effects effects;
  writer.finish(effects);
  state.settle(effects);
  return bytes;
}

inline Result<std::unique_ptr<State>> load_image(std::span<const std::byte> bytes,
                                                 std::size_t piece_bytes = 64 * KiB) {
  ImageReader reader;
  while (!bytes.empty()) {
    const std::size_t n = std::min(bytes.size(), piece_bytes);
    HF_CHECK(reader.feed(bytes.first(n)));
    bytes = bytes.subspan(n);
  }
  return reader.finish();
}

}  // namespace holdfast::pool::testing_support
