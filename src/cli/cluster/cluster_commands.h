// The verbs of `holdfast` (and of kubectl-holdfast) that speak to a cluster through the agent's REST API.
#pragma once

#include "cli/tool/tool.h"

namespace holdfast::cli {

// Adds get, create, delete, scale, set, resize, clone, move, publish, unpublish, snapshot, cordon, uncordon,
// drain, label, events, top, dump and adopt, and the options of the connection to the tool itself.
void add_cluster_commands(Tool& tool);

}  // namespace holdfast::cli
