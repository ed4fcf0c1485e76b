// What has to hold once everything has come to rest.
#pragma once

#include <string>
#include <vector>

#include "sim/control/cluster.h"
#include "sim/control/users.h"

namespace holdfast::sim {

// Where specs, engines and what users were told differ; none: all is as it should be, and nothing is left to do.
std::vector<std::string> differences(ControlCluster& cluster, const Users& users);
// What engines and specs have although every volume and snapshot was deleted.
std::vector<std::string> leftovers(ControlCluster& cluster);

}  // namespace holdfast::sim
