// What a scrape says of pools and their replicas, and of the I/O of nexuses (volume_*).
#pragma once

#include "engine/engine.h"
#include "http/metric_families.h"
#include "rt/task.h"

namespace holdfast::engine {

using http::as_double;
using http::MetricFamilies;

// Home core.
Task<void> collect_pools(Engine& engine, MetricFamilies& families);

}  // namespace holdfast::engine
