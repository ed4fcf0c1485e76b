// How much memory connections keep for good, for what is received before its place is known.
#pragma once

#include <cstddef>

#include "rt/buffer.h"

namespace holdfast::nvmf::tcp {

// Whether one more may keep that many bytes. Else it keeps the least that works: commands need memory as well, and
// connections may be many.
inline bool may_keep(const BufferPool& pool, std::size_t bytes) noexcept {
  return pool.used_bytes() + bytes <= pool.budget_bytes() / 4;
}

}  // namespace holdfast::nvmf::tcp
