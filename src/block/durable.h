// What the failure of a durable write (FUA) may mean.
#pragma once

#include "base/error.h"

namespace holdfast {

// It was refused before anything was flushed. Else its flush may be what failed, and a disk drops from its cache
// what it could not write: also what others wrote.
constexpr bool is_refusal(Errc code) noexcept {
  return code == Errc::out_of_space || code == Errc::resource_exhausted || code == Errc::busy ||
         code == Errc::read_only || code == Errc::not_supported || code == Errc::invalid_argument ||
         code == Errc::out_of_range;
}

}  // namespace holdfast
