// Pools: opened after their engine started, created to the end, deleted to the end, emptied of what others have, too.
#include "control/plan/fills.h"

namespace holdfast::control {

void reconcile_pools(Plan& plan) {
  const Observed& seen = plan.cluster.observed;
  for (const auto& [id, pool] : plan.cluster.specs.pools) {
    const bool node_gone = !plan.cluster.specs.nodes.contains(pool.node);
    if (!seen.node_known(pool.node) && !node_gone) continue;
    const auto state = seen.pools.find(id);
    const bool there = state != seen.pools.end() && state->second.node == pool.node;
    if (pool.status != SpecStatus::deleting) {
      if (there && pool.status == SpecStatus::created) continue;
      if (node_gone) continue;
      plan.add(Do::import_pool, pool_guard(id), "its engine does not have it").pool = id;
      continue;
    }
    if (there && !node_gone) {
      plan.add(Do::destroy_pool, pool_guard(id), "it is being deleted").pool = id;
    } else if (node_gone || plan.reached(pool.unsure_until)) {
      plan.add(Do::forget_pool, pool_guard(id), "it is deleted").pool = id;
    }
  }
  reconcile_surplus(plan);
}

}  // namespace holdfast::control
