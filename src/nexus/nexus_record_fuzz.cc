// Membership records come from a store that others write to: any bytes end in a Record or in bad_format, and
// a Record survives its own text.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "nexus/membership.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto record = holdfast::nexus::parse_record(text);
  if (!record.ok()) {
    HF_ASSERT(record.code() == holdfast::Errc::bad_format);
    return 0;
  }
  const auto again = holdfast::nexus::parse_record(holdfast::nexus::to_json(record.value()));
  HF_ASSERT(again.ok() && again.value() == record.value());
  return 0;
}
