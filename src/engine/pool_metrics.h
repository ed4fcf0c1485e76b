// What a scrape says of pools and their replicas.
#pragma once

#include "engine/engine.h"
#include "engine/metric_families.h"
#include "rt/task.h"

namespace holdfast::engine {

// Home core.
Task<void> collect_pools(Engine& engine, MetricFamilies& families);

}  // namespace holdfast::engine
