// The rules that metadata keeps (docs/format/pool.md, "Invariants"), counted afresh from what it says.
#pragma once

#include <string>
#include <vector>

#include "pool/state.h"

namespace holdfast::pool {

// Each breach as one line, at most 100. Empty: clean. Every state that was loaded or made by records is.
std::vector<std::string> check_invariants(const State& state);
// Clusters that are named at two different places, so that two maps which have no history in common have the same
// bytes: no record leads there, but an image that is damaged and fits by chance may say so. Takes 8 bytes for each
// cluster that is mapped. Each breach as one line, at most 100.
std::vector<std::string> check_places(const State& state);

}  // namespace holdfast::pool
