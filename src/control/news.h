// News: what has changed since the last look at everything, so that the next look need be no wider than that. Who
// keeps specs or states tells; the agent's reconcilers take.
#pragma once

#include <optional>
#include <set>

#include "base/uuid.h"
#include "control/model/specs.h"
#include "rt/reactor.h"
#include "rt/wait.h"

namespace holdfast::control {

class News {
 public:
  explicit News(Reactor& home) : arrived_(home) {}
  News(const News&) = delete;
  News& operator=(const News&) = delete;

  // Something that is part of every look, however narrow.
  void anything() noexcept { arrived_.set(); }
  // Something that every volume may depend on: nodes and pools that come and go, their labels. As at the beginning.
  void everything() noexcept;
  void of(const NodeSpec&) noexcept { everything(); }
  void of(const PoolSpec&) noexcept { everything(); }
  void of(const ReplicaSpec& replica);
  void of(const NexusSpec& nexus);
  void of(const VolumeSpec& volume) { of_volume(volume.uuid); }
  void of(const SnapshotSpec& snapshot) { of_volume(snapshot.volume); }
  void of(const AppNodeSpec&) noexcept { anything(); }
  // A spec or the membership record.
  void of_volume(const Uuid& volume) { note(volumes_, volume); }
  // What an engine has; whose it is, the specs say when it is taken.
  void of_replica_state(const Uuid& replica) { note(replicas_, replica); }
  void of_nexus_state(const Uuid& nexus) { note(nexuses_, nexus); }

  // Set when something was told; who waits for it resets it.
  holdfast::Event& arrived() noexcept { return arrived_; }
  // The volumes to be looked at; none: all of them. What is told from now on is for the next time.
  std::optional<std::set<Uuid>> take(const Specs& specs);

 private:
  void note(std::set<Uuid>& among, const Uuid& id);

  holdfast::Event arrived_;
  bool everything_ = true;  // then the rest is empty
  std::set<Uuid> volumes_, replicas_, nexuses_;
};

}  // namespace holdfast::control
