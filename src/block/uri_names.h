// How devices are named by URIs.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "base/uuid.h"
#include "block/uri.h"

namespace holdfast {

// "malloc:///disk0" is disk0. Errors: invalid_argument (no name, or an authority).
Result<std::string> name_without_slash(const Uri& uri);
// "aio:///dev/sda" is /dev/sda. Errors: the same.
Result<std::string> name_with_slash(const Uri& uri);
// "NAME@UUID": the name of a device that would be NAME, which another device is. bdev:///NAME?uuid=UUID is either.
std::string name_with_uuid(std::string_view name, const Uuid& uuid);

}  // namespace holdfast
