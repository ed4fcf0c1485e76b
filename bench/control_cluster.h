// A cluster of any size in which everything is as wanted: specs, what engines report, records of the store.
#pragma once

#include <map>

#include "control/engine.h"
#include "control/model/specs.h"
#include "control/model/state.h"

namespace holdfast::control::figures {

struct ClusterData {
  Specs specs;
  Observed observed;
  std::map<NodeId, EngineReport> reports;
};

// Volumes of three replicas, published, two pools per node; at least three nodes.
ClusterData make_cluster(unsigned volumes, unsigned nodes);

// The node does not answer any more; its replicas have left their targets.
void lose_node(ClusterData& cluster, const NodeId& node);

}  // namespace holdfast::control::figures
