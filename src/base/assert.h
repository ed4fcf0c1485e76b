// HF_ASSERT: programmer errors end the process, in every build. A storage engine that goes on while wrong is
// worse than one that stopped. Operating errors are never asserted: they are Error values (error.h).
#pragma once

namespace holdfast {

// Prints what and where to standard error, then aborts. __builtin_FILE and not std::source_location, because
// the clang 14 tools read the first and not the second.
[[noreturn]] void panic(const char* what, const char* file = __builtin_FILE(),
                        int line = __builtin_LINE()) noexcept;

#define HF_ASSERT(cond) ((cond) ? void() : ::holdfast::panic(#cond))

}  // namespace holdfast
