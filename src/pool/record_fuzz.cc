// Any bytes are records or refused; a record is written as it was read; whatever a state takes leaves it clean.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "pool/invariants.h"
#include "pool/record.h"
#include "pool/state.h"

using namespace holdfast;
using namespace holdfast::pool;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::span<const std::byte> rest = std::as_bytes(std::span(data, size));
  State state(64 * KiB);
  Effects effects;
  while (!rest.empty()) {
    const std::span<const std::byte> before = rest;
    const Result<Record> record = decode(rest);
    if (!record.ok()) {
      HF_ASSERT(record.code() == Errc::bad_format && !record.error().message().empty());
      break;
    }
    std::vector<std::byte> again;
    encode(record.value(), again);
    HF_ASSERT(std::ranges::equal(again, before.first(before.size() - rest.size())));
    if (state.check(record.value()).ok()) state.apply(record.value(), effects);
  }
  HF_ASSERT(check_invariants(state).empty());
  state.settle(effects);
  HF_ASSERT(check_invariants(state).empty());
  return 0;
}
