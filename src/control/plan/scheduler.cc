#include "control/plan/scheduler.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/units.h"

namespace holdfast::control {
namespace {

struct Candidate {
  const PoolSpec* spec;
  const NodeSpec* node;
  PoolUse use;
  std::size_t group_replicas = 0;
  bool degraded = false;
  bool avoided = false;
  bool preferred = false;
  double score = 0;
};

std::string as_text(std::uint64_t bytes) { return fmt::format("{} bytes", bytes); }

// ---- filters: each gives the reason of a refusal, or nothing

std::optional<std::string> node_refuses(const Cluster& cluster, const ReplicaNeed& need,
                                        const PoolSpec& pool) {
  const auto node = cluster.specs.nodes.find(pool.node);
  if (node == cluster.specs.nodes.end()) return "its node is not registered";
  if (!cluster.observed.node_online(pool.node)) return "its node does not answer";
  const NodeSpec& spec = node->second;
  if (!spec.drains.empty()) return "its node is being drained";
  if (!spec.cordons.empty()) return fmt::format("its node is cordoned ({})", *spec.cordons.begin());
  const Topology& topology = need.volume.topology;
  if (topology.explicit_nodes && !topology.explicit_nodes->allowed_nodes.empty()) {
    const auto& allowed = topology.explicit_nodes->allowed_nodes;
    if (std::find(allowed.begin(), allowed.end(), pool.node) == allowed.end())
      return "its node is not allowed";
  }
  if (topology.nodes) {
    if (auto wrong = mismatch(*topology.nodes, spec.labels)) return "its node: " + *wrong;
  }
  for (const PoolId& other : need.occupied) {
    if (cluster.node_id_of_pool(other) == pool.node) return "its node holds a replica of this volume";
  }
  return std::nullopt;
}

std::optional<std::string> pool_refuses(const Cluster& cluster, const ReplicaNeed& need,
                                        const PoolSpec& pool) {
  if (need.only && *need.only != pool.id) return "another pool was asked for";
  if (pool.status == SpecStatus::deleting || cluster.claims.closing.contains(pool.id))
    return "it is being deleted";
  if (pool.evacuating) return "its replicas are being moved away";
  if (!pool.cordons.empty()) return fmt::format("it is cordoned ({})", *pool.cordons.begin());
  if (need.volume.topology.pools) {
    if (auto wrong = mismatch(*need.volume.topology.pools, pool.labels)) return *wrong;
  }
  const auto state = cluster.observed.pools.find(pool.id);
  if (state == cluster.observed.pools.end()) return "its engine does not report it";
  if (cluster.usable_pool(pool.id) == nullptr) {
    return fmt::format("it is {}{}{}", name(state->second.status), state->second.reason.empty() ? "" : ": ",
                       state->second.reason);
  }
  return std::nullopt;
}

// X percent of n, without overflow for any percent below a thousand and any n below 2^53.
std::uint64_t percent(std::uint64_t n, std::uint64_t x) { return n / 100 * x + n % 100 * x / 100; }

std::optional<std::string> thin_room(const CapacityLimits& limits, const PoolState& pool, const PoolUse& use,
                                     std::uint64_t size, std::uint64_t written) {
  const std::uint64_t share = written == 0 ? limits.volume_commitment_initial : limits.volume_commitment;
  const std::uint64_t needed =
      std::max(limits.free_bytes_min, std::min(written + percent(size, share), size));
  if (use.free_bytes <= needed) {
    return fmt::format("it has {} free, more than {} are needed", as_text(use.free_bytes), as_text(needed));
  }
  const std::uint64_t limit = percent(pool.capacity_bytes, limits.pool_commitment);
  if (use.committed_bytes + size >= limit) {
    return fmt::format("{} are committed, with this replica it would be over {} % of its capacity",
                       as_text(use.committed_bytes), limits.pool_commitment);
  }
  return std::nullopt;
}

std::optional<std::string> no_room(const CapacityLimits& limits, const PoolState& pool, const PoolUse& use,
                                   const ReplicaNeed& need) {
  const std::uint64_t size = need.volume.size_bytes;
  // Replicas have whole clusters.
  const std::uint64_t there = pool.cluster_bytes == 0 ? size : round_up(size, pool.cluster_bytes);
  if (there < served_bytes_min) {
    return fmt::format("a replica of {} cannot be published, it needs {} at least", as_text(there),
                       as_text(served_bytes_min));
  }
  if (pool.capacity_bytes <= size) {
    return fmt::format("its capacity of {} is not above the replica's {}", as_text(pool.capacity_bytes),
                       as_text(size));
  }
  if (need.volume.thin || need.volume.as_thin) return thin_room(limits, pool, use, size, need.written_bytes);
  if (use.free_bytes > size) return std::nullopt;
  return fmt::format("it has {} free, more than {} are needed", as_text(use.free_bytes), as_text(size));
}

// A volume of one replica never shares a node with another of its group: nothing else would keep them apart.
std::optional<std::string> group_refuses(const Cluster& cluster, const ReplicaNeed& need,
                                         const PoolSpec& pool) {
  const auto& group = need.volume.affinity_group;
  if (!group || need.volume.num_replicas > 1) return std::nullopt;
  if (cluster.claims.group_nodes.contains(*group + "\n" + pool.node))
    return "its node is taken by the affinity group";
  const auto members = cluster.index.volumes_of_group.find(*group);
  if (members == cluster.index.volumes_of_group.end()) return std::nullopt;
  for (const VolumeSpec* other : members->second) {
    if (other->uuid == need.volume.uuid) continue;
    for (const ReplicaSpec* r : cluster.replicas(other->uuid)) {
      if (cluster.node_id_of_pool(r->pool) != pool.node) continue;
      return fmt::format("its node holds volume {} of the same affinity group", other->uuid.to_string());
    }
  }
  return std::nullopt;
}

// ---- labels that replicas must have alike, or each its own

struct LabelRule {
  std::string key;
  bool of_node;
  bool alike;
};

std::vector<LabelRule> label_rules(const Topology& topology) {
  std::vector<LabelRule> rules;
  const auto add = [&rules](const std::optional<LabelledTopology>& labelled, bool of_node) {
    if (!labelled) return;
    for (const auto& [key, value] : labelled->exclusion) rules.push_back({key, of_node, false});
    for (const auto& key : labelled->affinity) rules.push_back({key, of_node, true});
  };
  add(topology.nodes, true);
  add(topology.pools, false);
  return rules;
}

std::string label_of(const LabelRule& rule, const PoolSpec& pool, const NodeSpec& node) {
  const Labels& labels = rule.of_node ? node.labels : pool.labels;
  const auto found = labels.find(rule.key);
  return found == labels.end() ? std::string() : found->second;
}

std::optional<std::string> labels_clash(const std::vector<LabelRule>& rules, const PoolSpec& a,
                                        const NodeSpec& a_node, const PoolSpec& b, const NodeSpec& b_node) {
  for (const LabelRule& rule : rules) {
    const std::string mine = label_of(rule, a, a_node);
    const bool same = mine == label_of(rule, b, b_node);
    if (same == rule.alike) continue;
    if (rule.alike) return fmt::format("label {}={} is not that of pool {}", rule.key, mine, b.id);
    return fmt::format("label {}={} is taken by pool {}", rule.key, mine, b.id);
  }
  return std::nullopt;
}

std::optional<std::string> occupied_clash(const Cluster& cluster, const ReplicaNeed& need,
                                          const std::vector<LabelRule>& rules, const PoolSpec& pool,
                                          const NodeSpec& node) {
  for (const PoolId& id : need.occupied) {
    const auto other = cluster.specs.pools.find(id);
    const NodeSpec* other_node = cluster.node_of_pool(id);
    if (other == cluster.specs.pools.end() || other_node == nullptr) continue;
    if (auto clash = labels_clash(rules, pool, node, other->second, *other_node)) return clash;
  }
  return std::nullopt;
}

// ---- weights

std::size_t group_replicas_on(const Cluster& cluster, const ReplicaNeed& need, const PoolSpec& pool) {
  std::size_t count = 0;
  if (!need.volume.affinity_group) return count;
  const auto members = cluster.index.volumes_of_group.find(*need.volume.affinity_group);
  if (members == cluster.index.volumes_of_group.end()) return count;
  for (const VolumeSpec* other : members->second) {
    for (const ReplicaSpec* r : cluster.replicas(other->uuid)) {
      // The node weighs more than the pool: it is what fails.
      if (cluster.node_id_of_pool(r->pool) == pool.node) count += r->pool == pool.id ? 3 : 2;
    }
  }
  return count;
}

double lightness(std::size_t count, std::size_t most) {
  return most == 0 ? 1.0 : 1.0 - static_cast<double>(count) / static_cast<double>(most);
}

void weigh(const Cluster& cluster, const CapacityLimits& limits, const ReplicaNeed& need,
           std::vector<Candidate>& candidates) {
  std::size_t most_replicas = 0, most_of_group = 0;
  std::uint64_t most_free = 1;
  for (Candidate& c : candidates) {
    c.group_replicas = group_replicas_on(cluster, need, *c.spec);
    most_replicas = std::max(most_replicas, c.use.replicas);
    most_of_group = std::max(most_of_group, c.group_replicas);
    most_free = std::max(most_free, c.use.free_bytes);
  }
  const bool thin = need.volume.thin || need.volume.as_thin;
  const bool group = need.volume.affinity_group.has_value();
  const double count_weight = thin ? (group ? 15 : 25) : (group ? 25 : 40);
  const double group_weight = group ? (thin ? 10 : 15) : 0;
  for (Candidate& c : candidates) {
    const PoolState& pool = cluster.observed.pools.at(c.spec->id);
    const double limit =
        static_cast<double>(std::max<std::uint64_t>(1, percent(pool.capacity_bytes, limits.pool_commitment)));
    const double overcommit = std::max(0.0, 1.0 - static_cast<double>(c.use.committed_bytes) / limit);
    const double free = static_cast<double>(c.use.free_bytes) / static_cast<double>(most_free);
    c.score = count_weight * lightness(c.use.replicas, most_replicas) +
              group_weight * lightness(c.group_replicas, most_of_group) +
              (thin ? 40 * free + 35 * overcommit : 60 * free);
  }
  std::stable_sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    if (a.degraded != b.degraded) return b.degraded;
    if (a.avoided != b.avoided) return b.avoided;
    if (a.preferred != b.preferred) return a.preferred;
    return a.score > b.score;
  });
}

// ---- combining

std::optional<std::string> pair_clash(const std::vector<LabelRule>& rules, const Candidate& a,
                                      const Candidate& b) {
  if (a.spec->node == b.spec->node) return fmt::format("its node is taken by pool {}", b.spec->id);
  return labels_clash(rules, *a.spec, *a.node, *b.spec, *b.node);
}

// The first set, in the order of the candidates, in which nobody clashes. Gives up looking for a larger one after so
// many steps: with labels that cut across each other the search is as hard as one likes.
class Search {
 public:
  Search(const std::vector<Candidate>& candidates, const std::vector<LabelRule>& rules, std::size_t wanted)
      : candidates_(candidates), rules_(rules), wanted_(wanted) {
    // A label of nodes to spread over nests: the first fit is as large as any.
    const bool nests = rules.empty() || (rules.size() == 1 && rules[0].of_node && !rules[0].alike);
    steps_max_ = nests ? candidates.size() : 5'000;
    descend(0);
  }
  const std::vector<std::size_t>& best() const noexcept { return best_; }

 private:
  bool fits(std::size_t index) const {
    return std::none_of(chosen_.begin(), chosen_.end(), [&](std::size_t c) {
      return pair_clash(rules_, candidates_[index], candidates_[c]).has_value();
    });
  }
  bool descend(std::size_t from) {
    if (chosen_.size() > best_.size()) best_ = chosen_;
    if (best_.size() == wanted_) return true;
    for (std::size_t i = from; i < candidates_.size(); ++i) {
      if (++steps_ > steps_max_) return true;
      if (!fits(i)) continue;
      chosen_.push_back(i);
      if (descend(i + 1)) return true;
      chosen_.pop_back();
    }
    return false;
  }

  const std::vector<Candidate>& candidates_;
  const std::vector<LabelRule>& rules_;
  const std::size_t wanted_;
  std::size_t steps_max_ = 0;
  std::size_t steps_ = 0;
  std::vector<std::size_t> chosen_;
  std::vector<std::size_t> best_;
};

std::optional<std::string> refused(const Cluster& cluster, const CapacityLimits& limits,
                                   const ReplicaNeed& need, const std::vector<LabelRule>& rules,
                                   const PoolSpec& pool) {
  if (auto why = node_refuses(cluster, need, pool)) return why;
  if (auto why = pool_refuses(cluster, need, pool)) return why;
  if (auto why = group_refuses(cluster, need, pool)) return why;
  if (auto why = occupied_clash(cluster, need, rules, pool, cluster.specs.nodes.at(pool.node))) return why;
  const PoolState& state = cluster.observed.pools.at(pool.id);
  return no_room(limits, state, cluster.use_of(state), need);
}

}  // namespace

std::uint64_t written_bytes(const Cluster& cluster, const VolumeSpec& volume) {
  std::uint64_t most = 0;
  for (const ReplicaSpec* r : cluster.replicas(volume.uuid)) {
    const ReplicaState* state = cluster.online_replica(r->uuid);
    if (state != nullptr) most = std::max(most, state->space.allocated_bytes);
  }
  return most;
}

Placement place_replicas(const Cluster& cluster, const CapacityLimits& limits, const ReplicaNeed& need) {
  Placement placement;
  const auto rules = label_rules(need.volume.topology);
  std::vector<Candidate> candidates;
  for (const auto& [id, pool] : cluster.specs.pools) {
    if (auto why = refused(cluster, limits, need, rules, pool)) {
      placement.refused.push_back({id, pool.node, std::move(*why)});
      continue;
    }
    const PoolState& state = cluster.observed.pools.at(id);
    Candidate c{&pool, &cluster.specs.nodes.at(pool.node), cluster.use_of(state)};
    c.degraded = state.status == PoolStatus::degraded;
    c.avoided = need.avoid == id;
    if (need.volume.topology.explicit_nodes) {
      const auto& wanted = need.volume.topology.explicit_nodes->preferred_nodes;
      c.preferred = std::find(wanted.begin(), wanted.end(), pool.node) != wanted.end();
    }
    candidates.push_back(std::move(c));
  }
  weigh(cluster, limits, need, candidates);
  const Search search(candidates, rules, need.count);
  for (const std::size_t i : search.best()) placement.pools.push_back(candidates[i].spec->id);
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const auto& best = search.best();
    if (std::find(best.begin(), best.end(), i) != best.end()) continue;
    std::string why = "other pools suit better";
    for (const std::size_t c : best) {
      if (auto clash = pair_clash(rules, candidates[i], candidates[c])) why = *clash;
    }
    placement.refused.push_back({candidates[i].spec->id, candidates[i].spec->node, std::move(why)});
  }
  std::sort(placement.refused.begin(), placement.refused.end(),
            [](const PoolRefusal& a, const PoolRefusal& b) { return a.pool < b.pool; });
  return placement;
}

std::string explain(const std::vector<PoolRefusal>& refused) {
  if (refused.empty()) return "there is no other pool";
  std::string text;
  for (const PoolRefusal& r : refused) {
    text += fmt::format("{}pool {} on node {}: {}", text.empty() ? "" : "; ", r.pool, r.node, r.reason);
  }
  return text;
}

std::optional<std::string> no_room_for_snapshot(const Cluster& cluster, const CapacityLimits& limits,
                                                const PoolId& pool, std::uint64_t volume_bytes) {
  const PoolState* state = cluster.usable_pool(pool);
  if (state == nullptr) return fmt::format("pool {} cannot be reached", pool);
  const std::uint64_t needed = percent(volume_bytes, limits.snapshot_commitment);
  const PoolUse use = cluster.use_of(*state);
  if (use.free_bytes > needed) return std::nullopt;
  return fmt::format("pool {} has {} free, more than {} are needed", pool, as_text(use.free_bytes),
                     as_text(needed));
}

std::optional<std::string> no_room_to_grow(const Cluster& cluster, const CapacityLimits& limits,
                                           const ReplicaSpec& replica, std::uint64_t size_bytes) {
  const PoolState* state = cluster.usable_pool(replica.pool);
  if (state == nullptr) return fmt::format("pool {} cannot be reached", replica.pool);
  const std::uint64_t more = size_bytes > replica.size_bytes ? size_bytes - replica.size_bytes : 0;
  const PoolUse use = cluster.use_of(*state);
  const std::uint64_t needed = replica.thin ? std::min(percent(more, limits.volume_commitment), more) : more;
  if (more > 0 && use.free_bytes <= needed) {
    return fmt::format("pool {} has {} free, more than {} are needed", replica.pool, as_text(use.free_bytes),
                       as_text(needed));
  }
  if (replica.thin && use.committed_bytes + more >= percent(state->capacity_bytes, limits.pool_commitment)) {
    return fmt::format("pool {} would be committed over {} % of its capacity", replica.pool,
                       limits.pool_commitment);
  }
  return std::nullopt;
}

}  // namespace holdfast::control
