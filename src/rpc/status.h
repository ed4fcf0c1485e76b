// gRPC's statuses and our errors.
#pragma once

#include <string>

#include <grpcpp/support/status.h>

#include "base/error.h"

namespace holdfast::rpc {

// What a call that did not end well means to its caller. The peer's text is kept. not_connected and timed_out: it
// may have happened or not.
Error error_of(const grpc::Status& status);

// A status travels as an HTTP/2 header: bounded, and without bytes that proxies stumble over.
std::string header_text(std::string text);

}  // namespace holdfast::rpc
