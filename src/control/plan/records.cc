#include "control/plan/records.h"

#include <algorithm>

#include "control/plan/decide.h"

namespace holdfast::control {
namespace {

std::uint64_t find_or_0(const ById<std::uint64_t>& in, const Uuid& id) {
  const auto found = in.find(id);
  return found == in.end() ? 0 : found->second;
}

void add_labels(Digest& to, const Labels& labels) {
  to.add(labels.size());
  for (const auto& [key, value] : labels) to.add(key).add(value);
}

// Of a volume that is not changing.
std::vector<Uuid> kept_replicas(const Cluster& cluster, const VolumeSpec& volume) {
  std::vector<Uuid> kept;
  for (const ReplicaSpec* r : cluster.replicas(volume.uuid)) {
    if (r->status == SpecStatus::created) kept.push_back(r->uuid);
  }
  return kept;
}

bool is_settled(const Cluster& cluster, const VolumeSpec& volume) {
  return volume.status == SpecStatus::created && !volume.operation &&
         cluster.observed.memberships.contains(volume.uuid);
}

std::uint64_t digest_of_volume(const RecordDigests& digests, const VolumeSpec& volume,
                               const std::vector<Uuid>& replicas) {
  Digest d;
  d.add(find_or_0(digests.volumes, volume.uuid)).add(find_or_0(digests.memberships, volume.uuid));
  d.add(volume.server() != nullptr ? find_or_0(digests.nexuses, volume.server()->nexus) : 0);
  for (const Uuid& r : replicas)
    d.add(std::string_view(reinterpret_cast<const char*>(r.bytes.data()), r.bytes.size()));
  return d.value();
}

std::uint64_t digest_of_labels(const Cluster& cluster, const PoolId& pool) {
  Digest d;
  const auto spec = cluster.specs.pools.find(pool);
  if (spec != cluster.specs.pools.end()) add_labels(d, spec->second.labels);
  if (const NodeSpec* node = cluster.node_of_pool(pool)) add_labels(d, node->labels);
  return d.value();
}

std::uint64_t joined(std::uint64_t volume, std::uint64_t labels) {
  return Digest().add(volume).add(labels).value();
}

}  // namespace

void reconcile_records(Plan& plan, const VolumeSpec& volume) {
  const Cluster& cluster = plan.cluster;
  if (plan.digests == nullptr || !is_settled(cluster, volume)) return;
  const std::vector<Uuid> replicas = kept_replicas(cluster, volume);
  const std::uint64_t of_volume = digest_of_volume(*plan.digests, volume, replicas);
  for (const Uuid& replica : replicas) {
    const ReplicaState* state = cluster.online_replica(replica);
    if (state == nullptr) continue;
    const auto [labels, is_new] = plan.label_digests.try_emplace(state->pool);
    if (is_new) labels->second = digest_of_labels(cluster, state->pool);
    if (state->record == joined(of_volume, labels->second)) continue;
    Action& a =
        plan.add(Do::write_record, "records/" + state->node, "it does not say what its volume is now");
    a.node = state->node;
    a.volume = volume.uuid;
    a.replica = replica;
  }
}

std::optional<WantedRecord> wanted_record(const Cluster& cluster, const RecordDigests& digests,
                                          const Uuid& replica, UnixNanos now) {
  const auto spec = cluster.specs.replicas.find(replica);
  if (spec == cluster.specs.replicas.end() || !spec->second.owners.volume) return std::nullopt;
  const auto volume = cluster.specs.volumes.find(*spec->second.owners.volume);
  if (volume == cluster.specs.volumes.end() || !is_settled(cluster, volume->second)) return std::nullopt;
  WantedRecord wanted;
  ReplicaRecord& r = wanted.record;
  r.replicas = kept_replicas(cluster, volume->second);
  if (std::find(r.replicas.begin(), r.replicas.end(), replica) == r.replicas.end()) return std::nullopt;
  r.written = now;
  r.volume = volume->second;
  r.membership = cluster.observed.memberships.at(volume->first);
  if (const VolumeTarget* server = r.volume.server()) {
    const auto nexus = cluster.specs.nexuses.find(server->nexus);
    if (nexus != cluster.specs.nexuses.end()) r.target = nexus->second;
  }
  const auto pool = cluster.specs.pools.find(spec->second.pool);
  if (pool != cluster.specs.pools.end()) r.pool_labels = pool->second.labels;
  if (const NodeSpec* node = cluster.node_of_pool(spec->second.pool)) r.node_labels = node->labels;
  wanted.digest = joined(digest_of_volume(digests, volume->second, r.replicas),
                         digest_of_labels(cluster, spec->second.pool));
  return wanted;
}

}  // namespace holdfast::control
