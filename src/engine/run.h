// The life of an engine's process, from start to clean stop.
#pragma once

#include <string>

#include "base/error.h"
#include "engine/options.h"
#include "rt/reactor.h"
#include "rt/stop.h"
#include "rt/task.h"

namespace holdfast::engine {

// Serves until the stop is requested, then stops cleanly. `membership` is the directory of the membership
// records. Errors: those of the start, naming the flag to change; nothing is left running.
Task<Status> run_engine(const Cores& cores, Options options, std::string version, std::string membership,
                        StopToken stop);

}  // namespace holdfast::engine
