// Time as the runtime gives it. Nothing above rt reads a clock by itself.
#pragma once

#include <chrono>
#include <cstdint>

namespace holdfast {

// A duration, or a point on the reactor's monotonic clock (whose zero means nothing).
using Nanos = std::chrono::nanoseconds;
using namespace std::chrono_literals;

// Nanoseconds since the Unix epoch, UTC.
enum class WallTime : std::int64_t {};

inline constexpr Nanos no_deadline = Nanos::max();

}  // namespace holdfast
