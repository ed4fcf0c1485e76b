// One line per RPC: how a handler hands its request to the operation that does the work.
#pragma once

#include "engine/engine.h"
#include "rpc/home_call.h"

namespace holdfast::engine {

// Runs operation(engine, request) on the home core with a copy of the request, which lives until the
// operation has ended, whatever becomes of the call.
template <class Request, class Reply>
grpc::Status answer(Engine& engine, grpc::ServerContext* context, const Request* request, Reply* reply,
                    grpc::Status (*to_status)(const Error&),
                    Task<Result<Reply>> (*operation)(Engine&, const Request&)) {
  return rpc::call_home<Reply>(engine.port(), *context, reply, to_status,
                               [&engine, operation, copy = *request] { return operation(engine, copy); });
}

}  // namespace holdfast::engine
