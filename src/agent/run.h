// The life of an agent: starts its parts in order, serves until it is asked to stop, and ends them in order.
#pragma once

#include <string>

#include "agent/options.h"
#include "base/error.h"
#include "rt/reactor.h"
#include "rt/stop.h"
#include "rt/task.h"

namespace holdfast::agent {

// Home reactor. Errors: what kept it from starting, naming the flag or the file.
Task<Status> run_agent(Reactor& home, Options options, std::string version, StopToken stop);

}  // namespace holdfast::agent
