#include "control/plan/index.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/prng.h"

namespace holdfast::control {
namespace {

Uuid some_id(Prng& random, const char* what, unsigned of) {
  return Uuid::from_name(fmt::format("{} {}", what, random.below(of)));
}

ReplicaSpec some_replica(Prng& random) {
  ReplicaSpec r;
  r.uuid = some_id(random, "replica", 20);
  r.pool = fmt::format("p{}", random.below(3));
  if (random.below(4) != 0) r.owners.volume = some_id(random, "volume", 5);
  return r;
}
NexusSpec some_nexus(Prng& random) {
  NexusSpec n;
  n.uuid = some_id(random, "nexus", 10);
  n.node = fmt::format("n{}", random.below(3));
  if (random.below(4) != 0) n.owner = some_id(random, "volume", 5);
  n.status = random.below(2) != 0 ? SpecStatus::created : SpecStatus::deleting;
  return n;
}
VolumeSpec some_volume(Prng& random) {
  VolumeSpec v;
  v.uuid = some_id(random, "volume", 5);
  if (random.below(2) != 0) v.affinity_group = fmt::format("g{}", random.below(2));
  if (random.below(2) != 0) v.content_source = ContentSource{some_id(random, "snapshot", 5), Uuid()};
  return v;
}
SnapshotSpec some_snapshot(Prng& random) {
  SnapshotSpec s;
  s.uuid = some_id(random, "snapshot", 5);
  s.volume = some_id(random, "volume", 5);
  for (std::uint64_t parts = random.below(4); parts > 0; --parts) {
    ReplicaSnapshotSpec part;
    part.pool = fmt::format("p{}", random.below(3));
    s.transactions[fmt::format("t{}", random.below(2))].push_back(part);
  }
  return s;
}

// As the registry does it: what changes is taken out first.
template <class Spec>
void put(ById<Spec>& in, Index& index, Spec spec) {
  const auto [at, is_new] = in.try_emplace(spec.uuid);
  if (!is_new) index.remove(at->second);
  at->second = std::move(spec);
  index.add(at->second);
}
template <class Spec>
void take(ById<Spec>& from, Index& index, Prng& random) {
  if (from.empty()) return;
  const auto gone = std::next(from.begin(), static_cast<std::ptrdiff_t>(random.below(from.size())));
  index.remove(gone->second);
  from.erase(gone);
}

TEST(Index, ItIsWhatAFreshOneIsWhateverCameAndWent) {
  Prng random(7);
  Specs specs;
  Index index;
  for (int step = 0; step < 2'000; ++step) {
    switch (random.below(8)) {
      case 0:
        put(specs.replicas, index, some_replica(random));
        break;
      case 1:
        put(specs.nexuses, index, some_nexus(random));
        break;
      case 2:
        put(specs.volumes, index, some_volume(random));
        break;
      case 3:
        put(specs.snapshots, index, some_snapshot(random));
        break;
      case 4:
        take(specs.replicas, index, random);
        break;
      case 5:
        take(specs.nexuses, index, random);
        break;
      case 6:
        take(specs.volumes, index, random);
        break;
      case 7:
        take(specs.snapshots, index, random);
        break;
    }
    ASSERT_EQ(index, Index(specs)) << "after step " << step;
  }
  while (!specs.replicas.empty()) take(specs.replicas, index, random);
  while (!specs.nexuses.empty()) take(specs.nexuses, index, random);
  while (!specs.volumes.empty()) take(specs.volumes, index, random);
  while (!specs.snapshots.empty()) take(specs.snapshots, index, random);
  EXPECT_EQ(index, Index()) << "nothing is kept of what is gone";
}

}  // namespace
}  // namespace holdfast::control
