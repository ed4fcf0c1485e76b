// Any bytes are an image of a clean state, or refused, in whatever pieces they come; a state that was loaded is
// written as an image that makes the same one.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "pool/image.h"
#include "pool/invariants.h"
#include "pool/testing/image_bytes.h"

using namespace holdfast;
using namespace holdfast::pool;
using namespace holdfast::pool::testing_support;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
  const Result<std::unique_ptr<State>> loaded = load_image(bytes, std::max<std::size_t>(1, (size + 1) / 2));
  if (!loaded.ok()) {
    HF_ASSERT(loaded.code() == Errc::bad_format && !loaded.error().message().empty());
    return 0;
  }
  HF_ASSERT(check_invariants(*loaded.value()).empty());
  const std::vector<std::byte> image = image_of(*loaded.value());
  const Result<std::unique_ptr<State>> again = load_image(image);
  HF_ASSERT(again.ok() && image_of(*again.value()) == image);
  return 0;
}
