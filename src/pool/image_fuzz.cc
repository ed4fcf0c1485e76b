// Any bytes are an image of a clean state, or refused, in whatever pieces they come; a state that was loaded is
// written as an image that makes the same one.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "pool/image.h"
#include "pool/invariants.h"

using namespace holdfast;
using namespace holdfast::pool;

namespace {

Result<std::unique_ptr<State>> load(std::span<const std::byte> bytes, std::size_t first_piece) {
  ImageReader reader;
  HF_CHECK(reader.feed(bytes.first(first_piece)));
  HF_CHECK(reader.feed(bytes.subspan(first_piece)));
  return reader.finish();
}

std::vector<std::byte> image_of(State& state) {
  std::vector<std::byte> bytes, piece(4096);
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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  const Result<std::unique_ptr<State>> loaded = load(bytes, size / 2);
  if (!loaded.ok()) {
    HF_ASSERT(loaded.code() == Errc::bad_format && !loaded.error().message().empty());
    return 0;
  }
  HF_ASSERT(check_invariants(*loaded.value()).empty());
  const std::vector<std::byte> image = image_of(*loaded.value());
  const Result<std::unique_ptr<State>> again = load(image, image.size());
  HF_ASSERT(again.ok() && image_of(*again.value()) == image);
  return 0;
}
