#include "control/plan/index.h"

#include <algorithm>

#include "base/assert.h"

namespace holdfast::control {
namespace {

template <class Spec>
auto place_of(std::vector<const Spec*>& among, const Uuid& id) {
  return std::lower_bound(among.begin(), among.end(), id,
                          [](const Spec* s, const Uuid& wanted) { return s->uuid < wanted; });
}

template <class Map, class Key, class Spec>
void put_in(Map& map, const Key& key, const Spec& spec) {
  auto& among = map[key];
  among.insert(place_of(among, spec.uuid), &spec);
}

template <class Map, class Key, class Spec>
void take_out(Map& map, const Key& key, const Spec& spec) {
  const auto found = map.find(key);
  HF_ASSERT(found != map.end());
  const auto at = place_of(found->second, spec.uuid);
  HF_ASSERT(at != found->second.end() && *at == &spec);
  found->second.erase(at);
  if (found->second.empty()) map.erase(found);
}

template <class Map, class Key>
void count_down(Map& map, const Key& key) {
  const auto found = map.find(key);
  HF_ASSERT(found != map.end());
  if (--found->second == 0) map.erase(found);
}

bool counts_as_target(const NexusSpec& n) { return n.status != SpecStatus::deleting; }

bool is_settled(const SnapshotSpec& s) {
  if (s.status != SpecStatus::created || s.transactions.size() != 1) return false;
  const auto& [transaction, parts] = *s.transactions.begin();
  return transaction == s.transaction && std::none_of(parts.begin(), parts.end(), [](const auto& part) {
           return part.unsure_until == with_its_fill || part.status == SpecStatus::deleting;
         });
}

}  // namespace

Index::Index(const Specs& specs) {
  for (const auto& [id, replica] : specs.replicas) add(replica);
  for (const auto& [id, nexus] : specs.nexuses) add(nexus);
  for (const auto& [id, volume] : specs.volumes) add(volume);
  for (const auto& [id, snapshot] : specs.snapshots) add(snapshot);
}

void Index::add(const ReplicaSpec& r) {
  if (r.owners.volume) {
    put_in(replicas_of_volume, *r.owners.volume, r);
  } else {
    replicas_alone[r.uuid] = &r;
  }
  put_in(replicas_of_pool, r.pool, r);
  if (r.status == SpecStatus::creating) put_in(creating_in_pool, r.pool, r);
}
void Index::remove(const ReplicaSpec& r) {
  if (r.owners.volume) {
    take_out(replicas_of_volume, *r.owners.volume, r);
  } else {
    replicas_alone.erase(r.uuid);
  }
  take_out(replicas_of_pool, r.pool, r);
  if (r.status == SpecStatus::creating) take_out(creating_in_pool, r.pool, r);
}

void Index::add(const NexusSpec& n) {
  if (n.owner) {
    put_in(nexuses_of_volume, *n.owner, n);
  } else {
    nexuses_alone[n.uuid] = &n;
  }
  if (counts_as_target(n)) ++targets_of_node[n.node];
}
void Index::remove(const NexusSpec& n) {
  if (n.owner) {
    take_out(nexuses_of_volume, *n.owner, n);
  } else {
    nexuses_alone.erase(n.uuid);
  }
  if (counts_as_target(n)) count_down(targets_of_node, n.node);
}

void Index::add(const VolumeSpec& v) {
  if (v.affinity_group) put_in(volumes_of_group, *v.affinity_group, v);
  if (v.content_source) ++restores_of_snapshot[v.content_source->snapshot];
}
void Index::remove(const VolumeSpec& v) {
  if (v.affinity_group) take_out(volumes_of_group, *v.affinity_group, v);
  if (v.content_source) count_down(restores_of_snapshot, v.content_source->snapshot);
}

void Index::add(const SnapshotSpec& s) {
  put_in(snapshots_of_volume, s.volume, s);
  if (!is_settled(s)) unsettled_snapshots[s.uuid] = &s;
  for (const auto& [transaction, parts] : s.transactions) {
    for (const auto& part : parts) ++snapshot_parts_of_pool[part.pool];
  }
}
void Index::remove(const SnapshotSpec& s) {
  take_out(snapshots_of_volume, s.volume, s);
  unsettled_snapshots.erase(s.uuid);
  for (const auto& [transaction, parts] : s.transactions) {
    for (const auto& part : parts) count_down(snapshot_parts_of_pool, part.pool);
  }
}

}  // namespace holdfast::control
