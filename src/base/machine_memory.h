// How much memory there is.
#pragma once

#include <cstdint>

namespace holdfast {

// Bytes that this process may have: the machine's, or what its control group may take where that is less.
std::uint64_t machine_memory_bytes() noexcept;

}  // namespace holdfast
