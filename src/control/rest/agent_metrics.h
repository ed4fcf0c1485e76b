// What an agent tells Prometheus of its cluster. Every family is described in docs/reference/metrics.md.
#pragma once

#include "control/service.h"
#include "http/metric_families.h"

namespace holdfast::control::rest {

// Home reactor.
http::MetricFamilies agent_metrics(const Service& service);

}  // namespace holdfast::control::rest
