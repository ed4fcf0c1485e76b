// How the schemes of this folder name their devices.
#pragma once

#include <string>

#include "base/error.h"
#include "block/uri.h"

namespace holdfast {

// "malloc:///disk0" is disk0. Errors: invalid_argument (no name, or an authority).
Result<std::string> name_without_slash(const Uri& uri);
// "aio:///dev/sda" is /dev/sda. Errors: the same.
Result<std::string> name_with_slash(const Uri& uri);

}  // namespace holdfast
