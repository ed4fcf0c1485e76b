// What the calls of TestRpc about injected faults do, on the home core: faults of inject devices come and go while
// come and go while these are in use.
#pragma once

#include "engine/engine.h"
#include "mayastor/v1/test.pb.h"

namespace holdfast::engine::fault_injections {

namespace v1 = mayastor::v1;

// The URI names an inject device, or the device that one stands before. Errors: invalid_argument (the URI), not_found
// (no such device), failed_precondition (no inject device stands before it), already_exists (the same URI).
Task<Result<google::protobuf::Empty>> add(Engine& engine, const v1::AddFaultInjectionRequest& request);
// As it was added. Errors: invalid_argument, not_found.
Task<Result<google::protobuf::Empty>> remove(Engine& engine, const v1::RemoveFaultInjectionRequest& request);
Task<Result<v1::ListFaultInjectionsReply>> list(Engine& engine,
                                                const v1::ListFaultInjectionsRequest& request);

}  // namespace holdfast::engine::fault_injections
