#include "control/news.h"

#include <utility>

namespace holdfast::control {

void News::everything() noexcept {
  everything_ = true;
  volumes_.clear();
  replicas_.clear();
  nexuses_.clear();
  arrived_.set();
}

void News::note(std::set<Uuid>& among, const Uuid& id) {
  if (!everything_) among.insert(id);
  arrived_.set();
}

void News::of(const ReplicaSpec& replica) {
  if (replica.owners.volume) of_volume(*replica.owners.volume);
  arrived_.set();
}

void News::of(const NexusSpec& nexus) {
  if (nexus.owner) of_volume(*nexus.owner);
  arrived_.set();
}

std::optional<std::set<Uuid>> News::take(const Specs& specs) {
  std::set<Uuid> volumes = std::exchange(volumes_, {});
  // One without an owner is in no volume's look; that it had one until lately its spec's change has told.
  for (const Uuid& id : std::exchange(replicas_, {})) {
    const auto spec = specs.replicas.find(id);
    if (spec != specs.replicas.end() && spec->second.owners.volume)
      volumes.insert(*spec->second.owners.volume);
  }
  for (const Uuid& id : std::exchange(nexuses_, {})) {
    const auto spec = specs.nexuses.find(id);
    if (spec != specs.nexuses.end() && spec->second.owner) volumes.insert(*spec->second.owner);
  }
  if (std::exchange(everything_, false)) return std::nullopt;
  return volumes;
}

}  // namespace holdfast::control
