// Which subsystem a run is about.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "cli/conformance/test.h"

namespace holdfast::cli::conformance {

// The NVM subsystems that the target's discovery service names. Errors: not_connected, protocol.
Result<std::vector<std::string>> discover_subsystems(Network& network, const Settings& settings);

}  // namespace holdfast::cli::conformance
