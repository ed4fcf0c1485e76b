#include "control/rest/agent_metrics.h"

#include <iterator>
#include <map>

namespace holdfast::control::rest {
namespace {

using http::as_double;

// One gauge for every name that there is, so that a count that becomes 0 is seen.
template <class E>
void put_counts(http::MetricFamilies& f, const char* family, const char* help,
                const std::map<E, std::uint64_t>& counts) {
  for (std::size_t i = 0; i < std::size(Names<E>::values); ++i) {
    const auto found = counts.find(static_cast<E>(i));
    const double count = found == counts.end() ? 0 : as_double(found->second);
    f.gauge(family, help, {{"status", Names<E>::values[i]}}, count);
  }
}

void put_nodes(http::MetricFamilies& f, const Service& service) {
  std::map<NodeStatus, std::uint64_t> counts;
  for (const NodeView& view : service.nodes()) {
    const bool online = view.state && view.state->status == NodeStatus::online;
    ++counts[view.state ? view.state->status : NodeStatus::unknown];
    f.gauge("holdfast_node_online", "Does the node's engine answer", {{"node", view.id}}, online ? 1 : 0);
    f.gauge("holdfast_node_cordoned", "Is nothing new placed on the node", {{"node", view.id}},
            view.spec && view.spec->cordoned() ? 1 : 0);
  }
  put_counts(f, "holdfast_nodes", "Nodes by status", counts);
}

void put_pools(http::MetricFamilies& f, const Service& service) {
  std::map<PoolStatus, std::uint64_t> counts;
  for (const PoolView& view : service.pools()) {
    ++counts[view.state ? view.state->status : PoolStatus::unknown];
    if (!view.state) continue;
    const PoolState& state = *view.state;
    const http::MetricFamilies::Labels labels = {{"node", state.node}, {"pool", view.id}};
    f.gauge("holdfast_pool_capacity_bytes", "Room of the pool", labels, as_double(state.capacity_bytes));
    f.gauge("holdfast_pool_used_bytes", "Room that is taken", labels, as_double(state.used_bytes));
    f.gauge("holdfast_pool_committed_bytes", "Sizes of all its replicas", labels,
            as_double(state.committed_bytes));
  }
  put_counts(f, "holdfast_pools", "Pools by status", counts);
}

void put_volumes(http::MetricFamilies& f, const Tally& tally) {
  put_counts(f, "holdfast_volumes", "Volumes by status", tally.volumes);
  f.gauge("holdfast_volumes_published", "Volumes with a target", {}, as_double(tally.volumes_published));
  f.gauge("holdfast_volumes_bytes", "Sizes of all volumes", {}, as_double(tally.volume_bytes));
  f.gauge("holdfast_rebuilds", "Rebuilds that run now", {}, as_double(tally.rebuilds));
  put_counts(f, "holdfast_replicas", "Replicas by status", tally.replicas);
}

}  // namespace

http::MetricFamilies agent_metrics(const Service& service) {
  http::MetricFamilies f;
  f.gauge("holdfast_agent_ready", "Does the agent know the cluster", {}, service.ready() ? 1 : 0);
  f.gauge("holdfast_agent_leading", "Is this the agent that changes things", {}, service.leading() ? 1 : 0);
  put_nodes(f, service);
  put_pools(f, service);
  put_volumes(f, service.tally());
  f.gauge("holdfast_snapshots", "Snapshots of volumes", {}, as_double(service.specs().snapshots.size()));
  return f;
}

}  // namespace holdfast::control::rest
