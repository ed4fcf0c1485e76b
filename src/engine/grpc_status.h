// Which gRPC code an Error becomes, one exhaustive switch per service (interop contract:
// docs/reference/api.md).
#pragma once

#include <grpcpp/support/status.h>

#include "base/error.h"

namespace holdfast::engine {

grpc::Status bdev_status(const Error& error);
grpc::Status nexus_status(const Error& error);
grpc::Status host_status(const Error& error);

}  // namespace holdfast::engine
