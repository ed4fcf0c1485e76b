#include "base/utf8.h"

#include <algorithm>

namespace holdfast {
namespace {

struct Lead {
  unsigned char from, to;  // of the first byte
  std::size_t size;
  unsigned char second_from, second_to;
};
// Unicode 15.0, table 3-7 (well-formed UTF-8 byte sequences).
constexpr Lead leads[] = {{0xC2, 0xDF, 2, 0x80, 0xBF}, {0xE0, 0xE0, 3, 0xA0, 0xBF},
                          {0xE1, 0xEC, 3, 0x80, 0xBF}, {0xED, 0xED, 3, 0x80, 0x9F},
                          {0xEE, 0xEF, 3, 0x80, 0xBF}, {0xF0, 0xF0, 4, 0x90, 0xBF},
                          {0xF1, 0xF3, 4, 0x80, 0xBF}, {0xF4, 0xF4, 4, 0x80, 0x8F}};

}  // namespace

std::size_t utf8_size(std::string_view text) noexcept {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (byte(0) < 0x80) return 1;
  for (const Lead& lead : leads) {
    if (byte(0) < lead.from || byte(0) > lead.to) continue;
    if (text.size() < lead.size || byte(1) < lead.second_from || byte(1) > lead.second_to) return 0;
    for (std::size_t i = 2; i < lead.size; ++i) {
      if ((byte(i) & 0xC0) != 0x80) return 0;
    }
    return lead.size;
  }
  return 0;
}

std::string to_utf8(std::string_view text) {
  std::string all;
  while (!text.empty()) {
    const std::size_t size = utf8_size(text);
    all += size == 0 ? "\xEF\xBF\xBD" : text.substr(0, size);
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
  return all;
}

bool is_control(std::string_view text) noexcept {
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return first < 0x20 || first == 0x7F;
  return first == 0xC2 && utf8_size(text) == 2 && static_cast<unsigned char>(text[1]) < 0xA0;
}

}  // namespace holdfast
