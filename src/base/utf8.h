// Text that comes from elsewhere: names, messages of peers, arguments.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace holdfast {

// How many bytes the character at the front has, 1 to 4; 0 when they are no UTF-8. `text` is not empty.
std::size_t utf8_size(std::string_view text) noexcept;
// The same text with U+FFFD for each byte that is no UTF-8.
std::string to_utf8(std::string_view text);
// Whether the character at the front steers a terminal instead of being shown: U+0000 to U+001F, U+007F to U+009F.
// `text` is not empty.
bool is_control(std::string_view text) noexcept;

}  // namespace holdfast
