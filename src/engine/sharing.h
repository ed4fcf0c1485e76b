// Checks of what requests that export something have in common.
#pragma once

#include <string>
#include <vector>

#include <google/protobuf/repeated_field.h>

#include "base/error.h"
#include "mayastor/v1/common.pb.h"

namespace holdfast::engine {

// Errors: invalid_argument for every protocol but NVMe-oF.
Status check_protocol(mayastor::v1::ShareProtocol protocol);
// Sorted, each once. Errors: invalid_argument for what is no NQN, or for too many.
Result<std::vector<std::string>> allowed_hosts(const google::protobuf::RepeatedPtrField<std::string>& given);

}  // namespace holdfast::engine
