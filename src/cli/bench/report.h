// How a bench shows what it found.
#pragma once

#include <string>

#include "cli/bench/bench.h"
#include "cli/tool/output.h"

namespace holdfast::cli {

// "randrw", as --rw takes it.
const char* access_word(Access access) noexcept;

// The live line.
std::string progress_line(const BenchOptions& options, const BenchProgress& progress);

void write_report(Output& out, const std::string& uri, unsigned cores, const BenchOptions& options,
                  const BenchReport& report);

}  // namespace holdfast::cli
