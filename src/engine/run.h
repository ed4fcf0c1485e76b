// The life of an engine's process, from start to clean stop.
#pragma once

#include <string>

#include "base/error.h"
#include "engine/data_dir.h"
#include "engine/options.h"
#include "rt/reactor.h"
#include "rt/stop.h"
#include "rt/task.h"

namespace holdfast::engine {

// Serves until the stop is requested, then stops cleanly. `data` outlives it. Errors: those of the start,
// naming the flag to change; nothing is left running.
Task<Status> run_engine(const Cores& cores, Options options, std::string version, const DataDir& data,
                        StopToken stop);

}  // namespace holdfast::engine
