// Faults that an engine plays into a device that has an inject device before it (TestRpc, docs/reference/uri.md).
#pragma once

#include <string>

#include "support/engine_process.h"

namespace holdfast::testing_support {

// Begins, or ends, the fault of an inject:// URI.
grpc::Status inject(const EngineProcess& engine, const std::string& uri, bool add);

}  // namespace holdfast::testing_support
