#include "sim/control/checks.h"

#include <algorithm>

#include <fmt/format.h>

#include "control/plan/decide.h"

namespace holdfast::sim {

using namespace control;

namespace {

class Check {
 public:
  Check(const Specs& specs, const Observed& observed, fake::Fleet& fleet)
      : specs_(specs), observed_(observed), fleet_(fleet) {}

  void pools() {
    for (const auto& [id, pool] : specs_.pools) {
      if (pool.status != SpecStatus::created) add(fmt::format("pool {} is {}", id, name(pool.status)));
      auto m = fleet_.machines().find(pool.node);
      if (m != fleet_.machines().end() && m->second.open_pool(id) == nullptr)
        add(fmt::format("pool {} is not open", id));
    }
    for (auto& [node, m] : fleet_.machines()) {
      for (const auto& [id, pool] : m.pools) {
        if (!specs_.pools.contains(id)) add(fmt::format("pool {} on {} is nobody's", id, node));
      }
    }
  }

  void replicas() {
    for (const auto& [id, r] : specs_.replicas) {
      if (r.status != SpecStatus::created || r.operation)
        add(fmt::format("replica {} is {}", id.to_string(), name(r.status)));
      if (r.fill) add(fmt::format("replica {} does not get its snapshots", id.to_string()));
      const fake::Copy* copy = find(r.pool, id);
      if (copy == nullptr) {
        if (r.status == SpecStatus::created)
          add(fmt::format("replica {} is not in pool {}", id.to_string(), r.pool));
        continue;
      }
      if (copy->share != r.share || copy->allowed_hosts != r.allowed_hosts)
        add(fmt::format("replica {} is not shared as it should be", id.to_string()));
      if (copy->size_bytes != r.size_bytes)
        add(fmt::format("replica {} has {} bytes instead of {}", id.to_string(), copy->size_bytes,
                        r.size_bytes));
    }
  }

  void orphans() {
    std::set<Uuid> parts;
    for (const auto& [id, s] : specs_.snapshots) {
      for (const auto& [transaction, list] : s.transactions) {
        for (const auto& part : list) parts.insert(part.uuid);
      }
    }
    for (auto& [node, m] : fleet_.machines()) {
      for (const auto& [pool_id, pool] : m.pools) {
        for (const auto& [id, copy] : pool.copies) {
          const bool known = copy.is_snapshot ? parts.contains(id) : specs_.replicas.contains(id);
          if (!known)
            add(fmt::format("{} {} in pool {} is nobody's", copy.is_snapshot ? "snapshot" : "replica",
                            id.to_string(), pool_id));
        }
      }
      for (const auto& [id, n] : m.nexuses) {
        if (!specs_.nexuses.contains(id))
          add(fmt::format("nexus {} on {} is nobody's", id.to_string(), node));
      }
    }
  }

  void volumes() {
    for (const auto& [id, v] : specs_.volumes) {
      const std::string label = "volume " + id.to_string();
      if (v.status != SpecStatus::created) add(fmt::format("{} is {}", label, name(v.status)));
      if (v.operation) add(fmt::format("{} has {} under way", label, name(v.operation->operation)));
      std::size_t owned = 0;
      for (const auto& [replica, r] : specs_.replicas) owned += r.owners.volume == id;
      if (owned != v.num_replicas)
        add(fmt::format("{} has {} replicas, {} are wanted", label, owned, v.num_replicas));
      // One that has not started may have nowhere to go.
      const auto started = [](const ReplicaMove& m) { return m.to.has_value(); };
      if (std::any_of(v.moves.begin(), v.moves.end(), started))
        add(label + " has a replica that still moves");
      if (v.repair) add(label + " is still being repaired");
      if (v.target) {
        target(label, v);
      } else {
        membership(label, v);
      }
    }
  }

  // Not published: every replica of it holds all data, and can be reached.
  void membership(const std::string& label, const VolumeSpec& v) {
    const auto record = observed_.memberships.find(v.uuid);
    if (record == observed_.memberships.end()) return add(label + " has no membership record");
    for (const auto& [id, r] : specs_.replicas) {
      if (r.owners.volume != v.uuid) continue;
      if (!record->second.healthy(id))
        add(fmt::format("{}: replica {} does not hold all data", label, id.to_string()));
    }
  }

  // A replica cannot shrink: one may be larger when another one was refused the same.
  void sizes(const Users& users) {
    for (const auto& [id, r] : specs_.replicas) {
      const auto v = r.owners.volume ? specs_.volumes.find(*r.owners.volume) : specs_.volumes.end();
      if (v == specs_.volumes.end()) continue;
      const bool as_it_should = users.resize_failed(v->first) ? r.size_bytes >= v->second.size_bytes
                                                              : r.size_bytes == v->second.size_bytes;
      if (!as_it_should)
        add(fmt::format("replica {} has {} bytes, its volume {}", id.to_string(), r.size_bytes,
                        v->second.size_bytes));
    }
  }

  void target(const std::string& label, const VolumeSpec& v) {
    auto m = fleet_.machines().find(v.target->node);
    if (m == fleet_.machines().end()) return add(label + " is served by a node that is gone");
    const auto n = m->second.nexuses.find(v.target->nexus);
    if (n == m->second.nexuses.end()) return add(label + " has no target on its node");
    if (!n->second.shared) add(label + ": its target is not shared");
    if (n->second.status() != NexusStatus::online)
      add(fmt::format("{}: its target is {}", label, name(n->second.status())));
    if (n->second.size_bytes != v.size_bytes) add(label + ": its target has another size");
    for (const fake::Child& c : n->second.children) {
      const auto r = specs_.replicas.find(c.replica);
      if (r == specs_.replicas.end() || r->second.owners.volume != v.uuid)
        add(fmt::format("{}: child {} is not its replica", label, c.uri));
    }
    if (n->second.children.size() != v.num_replicas)
      add(fmt::format("{}: its target has {} children, {} are wanted", label, n->second.children.size(),
                      v.num_replicas));
  }

  void snapshots() {
    for (const auto& [id, s] : specs_.snapshots) {
      if (s.status == SpecStatus::creating) continue;  // to be repeated, or deleted, by its user
      const std::string label = "snapshot " + id.to_string();
      if (s.status != SpecStatus::created) add(fmt::format("{} is {}", label, name(s.status)));
      if (s.transactions.size() > 1) add(label + " keeps parts of failed attempts");
      copies(label, s);
      const fake::Copy* first = nullptr;
      for (const auto& part : s.parts()) {
        if (part.status != SpecStatus::created || part.unsure_until != 0)
          add(fmt::format("{}: copy {} is {}", label, part.uuid.to_string(), name(part.status)));
        const fake::Copy* copy = find(part.pool, part.uuid);
        if (copy == nullptr) {
          if (specs_.pools.contains(part.pool))
            add(fmt::format("{}: part {} is not there", label, part.uuid.to_string()));
          continue;
        }
        if (first == nullptr) first = copy;
        if (copy->content != first->content) add(label + ": its parts differ");
      }
    }
  }

  // Each replica of its volume has one: whoever came later got it. Where that failed the replica does without, engines
  // copy nothing from one of their own pools to another, and what a released replica left is nobody's source.
  void copies(const std::string& label, const SnapshotSpec& s) {
    const bool has_source = std::any_of(specs_.replicas.begin(), specs_.replicas.end(), [&](const auto& r) {
      return r.second.owners.volume == s.volume && s.part_of(r.first) != nullptr;
    });
    if (fleet_.fill_failed(s.volume.to_string()) || !has_source) return;
    for (const auto& [id, r] : specs_.replicas) {
      const NodeId node = node_of(r.pool);
      const bool beside = std::any_of(s.parts().begin(), s.parts().end(),
                                      [&](const auto& part) { return node_of(part.pool) == node; });
      if (r.owners.volume == s.volume && s.part_of(id) == nullptr && !beside)
        add(fmt::format("{} has no copy with replica {}", label, id.to_string()));
    }
  }

  std::vector<std::string> take() { return std::move(found_); }
  void add(std::string text) { found_.push_back(std::move(text)); }

 private:
  NodeId node_of(const PoolId& pool) const {
    const auto found = specs_.pools.find(pool);
    return found == specs_.pools.end() ? NodeId() : found->second.node;
  }
  const fake::Copy* find(const PoolId& pool, const Uuid& id) {
    const auto spec = specs_.pools.find(pool);
    if (spec == specs_.pools.end()) return nullptr;
    auto m = fleet_.machines().find(spec->second.node);
    if (m == fleet_.machines().end()) return nullptr;
    const auto there = m->second.pools.find(pool);
    if (there == m->second.pools.end()) return nullptr;
    const auto copy = there->second.copies.find(id);
    return copy == there->second.copies.end() ? nullptr : &copy->second;
  }

  const Specs& specs_;
  const Observed& observed_;
  fake::Fleet& fleet_;
  std::vector<std::string> found_;
};

}  // namespace

std::vector<std::string> differences(ControlCluster& cluster, const Users& users) {
  const Agent* leader = cluster.leader();
  if (leader == nullptr) return {"no agent leads"};
  Check check(leader->specs(), leader->observed(), cluster.fleet());
  for (const NodeId& lost : users.lost()) {
    if (leader->specs().nodes.contains(lost)) check.add(fmt::format("node {} was not purged", lost));
  }
  check.pools();
  check.replicas();
  check.orphans();
  check.volumes();
  check.sizes(users);
  check.snapshots();
  for (std::string& text : users.contradictions(leader->specs())) check.add(std::move(text));
  const Claims none;
  const Cluster seen(leader->specs(), leader->observed(), none);
  Outages outages;
  const Policy policy;
  const Decision left = decide(seen, outages, {policy, cluster.fleet().unix_now()});
  for (const Action& action : left.actions) check.add("left to do: " + to_string(action));
  return check.take();
}

std::vector<std::string> leftovers(ControlCluster& cluster) {
  const Agent* leader = cluster.leader();
  if (leader == nullptr) return {"no agent leads"};
  const Specs& specs = leader->specs();
  Check check(specs, leader->observed(), cluster.fleet());
  for (const auto& [id, v] : specs.volumes)
    check.add(fmt::format("volume {} is wanted still", id.to_string()));
  for (const auto& [id, r] : specs.replicas)
    check.add(fmt::format("replica {} is wanted still", id.to_string()));
  for (const auto& [id, n] : specs.nexuses)
    check.add(fmt::format("nexus {} is wanted still", id.to_string()));
  for (const auto& [id, s] : specs.snapshots)
    check.add(fmt::format("snapshot {} is wanted still", id.to_string()));
  check.orphans();
  for (const auto& [node, m] : cluster.fleet().machines()) {
    for (const auto& [id, pool] : m.pools) {
      if (pool.used_bytes() != 0)
        check.add(fmt::format("pool {} has {} bytes in use", id, pool.used_bytes()));
    }
  }
  for (const auto& [volume, record] : leader->observed().memberships)
    check.add(fmt::format("the membership record of volume {} is left", volume.to_string()));
  return check.take();
}

}  // namespace holdfast::sim
