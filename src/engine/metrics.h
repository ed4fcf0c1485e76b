// What an engine tells Prometheus. Every family is described in docs/reference/metrics.md.
#pragma once

#include <string>

#include "engine/engine.h"

namespace holdfast::engine {

// The text of one scrape, collected on the engine's cores; empty when the engine is stopping or does not
// answer in time. Blocks: threads of the metrics server only.
std::string render_metrics(Engine& engine);

}  // namespace holdfast::engine
