#pragma once

#include <string>

namespace holdfast::cli {

// A UUID of version 4, of the system's randomness.
std::string random_uuid();

}  // namespace holdfast::cli
