#include "control/rest/agent_metrics.h"

#include <iterator>
#include <map>

namespace holdfast::control::rest {
namespace {

double as_double(std::uint64_t n) { return static_cast<double>(n); }

// One gauge for every name that there is, so that a count that becomes 0 is seen.
template <class E>
class Tally {
 public:
  void add(E value) { ++counts_[value]; }
  void put(http::MetricFamilies& f, const char* family, const char* help) const {
    for (std::size_t i = 0; i < std::size(Names<E>::values); ++i) {
      const auto found = counts_.find(static_cast<E>(i));
      const double count = found == counts_.end() ? 0 : as_double(found->second);
      f.gauge(family, help, {{"status", Names<E>::values[i]}}, count);
    }
  }

 private:
  std::map<E, std::uint64_t> counts_;
};

void put_nodes(http::MetricFamilies& f, const Service& service) {
  Tally<NodeStatus> tally;
  for (const NodeView& view : service.nodes()) {
    const bool online = view.state && view.state->status == NodeStatus::online;
    tally.add(view.state ? view.state->status : NodeStatus::unknown);
    f.gauge("holdfast_node_online", "Does the node's engine answer", {{"node", view.id}}, online ? 1 : 0);
    f.gauge("holdfast_node_cordoned", "Is nothing new placed on the node", {{"node", view.id}},
            view.spec && view.spec->cordoned() ? 1 : 0);
  }
  tally.put(f, "holdfast_nodes", "Nodes by status");
}

void put_pools(http::MetricFamilies& f, const Service& service) {
  Tally<PoolStatus> tally;
  for (const PoolView& view : service.pools()) {
    tally.add(view.state ? view.state->status : PoolStatus::unknown);
    if (!view.state) continue;
    const PoolState& state = *view.state;
    const http::MetricFamilies::Labels labels = {{"node", state.node}, {"pool", view.id}};
    f.gauge("holdfast_pool_capacity_bytes", "Room of the pool", labels, as_double(state.capacity_bytes));
    f.gauge("holdfast_pool_used_bytes", "Room that is taken", labels, as_double(state.used_bytes));
    f.gauge("holdfast_pool_committed_bytes", "Sizes of all its replicas", labels,
            as_double(state.committed_bytes));
  }
  tally.put(f, "holdfast_pools", "Pools by status");
}

void put_volumes(http::MetricFamilies& f, const Service& service) {
  Tally<VolumeStatus> tally;
  std::uint64_t rebuilds = 0;
  std::uint64_t published = 0;
  std::uint64_t bytes = 0;
  for (const VolumeView& view : service.volumes({}).entries) {
    tally.add(view.state.status);
    published += view.spec.target ? 1 : 0;
    bytes += view.spec.size_bytes;
    rebuilds += view.state.target ? view.state.target->rebuilds : 0;
  }
  tally.put(f, "holdfast_volumes", "Volumes by status");
  f.gauge("holdfast_volumes_published", "Volumes with a target", {}, as_double(published));
  f.gauge("holdfast_volumes_bytes", "Sizes of all volumes", {}, as_double(bytes));
  f.gauge("holdfast_rebuilds", "Rebuilds that run now", {}, as_double(rebuilds));
}

}  // namespace

http::MetricFamilies agent_metrics(const Service& service) {
  http::MetricFamilies f;
  f.gauge("holdfast_agent_ready", "Does the agent know the cluster", {}, service.ready() ? 1 : 0);
  f.gauge("holdfast_agent_leading", "Is this the agent that changes things", {}, service.leading() ? 1 : 0);
  put_nodes(f, service);
  put_pools(f, service);
  put_volumes(f, service);
  Tally<ReplicaStatus> replicas;
  for (const ReplicaView& view : service.replicas()) {
    replicas.add(view.state ? view.state->status : ReplicaStatus::unknown);
  }
  replicas.put(f, "holdfast_replicas", "Replicas by status");
  f.gauge("holdfast_snapshots", "Snapshots of volumes", {}, as_double(service.specs().snapshots.size()));
  return f;
}

}  // namespace holdfast::control::rest
