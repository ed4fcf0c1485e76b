#include "nvme/fabrics.h"

#include <algorithm>
#include <cstring>

namespace holdfast::nvme {

bool is_valid_nqn(std::string_view nqn) noexcept {
  if (!nqn.starts_with("nqn.") || nqn.size() > nqn_length_max) return false;
  // UTF-8 is allowed, bytes that would garble a log or a discovery listing are not.
  return std::none_of(nqn.begin(), nqn.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte <= 0x20 || byte == 0x7f;
  });
}

Result<std::string_view> nqn_from_field(const char (&field)[nqn_field_bytes]) {
  const void* end = std::memchr(field, 0, nqn_length_max + 1);
  if (end == nullptr) return Error(Errc::invalid_argument);
  const std::string_view nqn(field, static_cast<std::size_t>(static_cast<const char*>(end) - field));
  if (!is_valid_nqn(nqn)) return Error(Errc::invalid_argument);
  return nqn;
}

void nqn_to_field(std::string_view nqn, char (&field)[nqn_field_bytes]) noexcept {
  HF_ASSERT(nqn.size() <= nqn_length_max);
  std::memset(field, 0, sizeof field);
  std::memcpy(field, nqn.data(), nqn.size());
}

}  // namespace holdfast::nvme
