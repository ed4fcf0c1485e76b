// Which gRPC code an Error becomes, by service (interop contract: docs/reference/api.md).
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include "base/error.h"

namespace holdfast::engine {

grpc::Status bdev_status(const Error& error);
grpc::Status nexus_status(const Error& error);
// Of a change to a nexus that goes on: one of its children, or the store, does not answer.
grpc::Status nexus_change_status(const Error& error);
grpc::Status host_status(const Error& error);
// Of everything about pools, replicas and snapshots. Errc::miscompare: the request names a pool that is not
// the one.
grpc::Status pool_status(const Error& error);
// Tells the caller of a call that destroys something that it is certainly not there: by the metadata that
// control planes look for before they forget it.
grpc::Status mark_absent(grpc::ServerContext* context, grpc::Status status);

}  // namespace holdfast::engine
