// Whether a server can listen, asked before it is started: the libraries that listen for us do not say why they cannot.
#pragma once

#include "base/error.h"
#include "rt/reactor.h"
#include "rt/task.h"

namespace holdfast::rpc {

// `flags` is what the user would change; the errors of Reactor::listen have it before them. The any-address of IPv6 is
// not tried: on a host without IPv6 gRPC takes it for every address of IPv4.
Task<Status> check_can_listen(Reactor& home, Endpoint at, const char* flags);

}  // namespace holdfast::rpc
