// The three kinds of processes of a simulated cluster. Each is made on a Process's first core, dies with it
// (buried, never destroyed), or is stopped in good order.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "block/registry.h"
#include "nexus/nexus.h"
#include "nvmf/target/target.h"
#include "pool/pool.h"
#include "rt/scope.h"
#include "rt/stop.h"
#include "sim/cluster/cluster.h"
#include "sim/cluster/store.h"
#include "sim/reactor.h"

namespace holdfast::sim {

inline constexpr std::uint16_t nvmf_port = 8420;
std::string replica_nqn(const Replica& r);
std::string volume_nqn();
std::string volume_key();

// Exports one file device.
class ReplicaEngine {
 public:
  ReplicaEngine(Cluster& cluster, Replica& replica, Process& process);
  Task<void> start();
  Task<void> stop();
  bool up() const noexcept { return up_; }
  // Of a replica that keeps epochs.
  std::vector<bool> changed_since(std::uint32_t epoch) const;
  // Blocks of the volume from the byte on.
  Task<bool> read_all(std::uint64_t from, std::uint64_t blocks, std::vector<Value>& into);
  Task<bool> read_snapshot(Uuid uuid, std::uint64_t from, std::uint64_t blocks, std::vector<Value>& into);

 private:
  Task<Status> try_start();
  Task<bool> read_from(BlockDevice& device, std::uint64_t from, std::uint64_t blocks,
                       std::vector<Value>& into);
  Task<Status> open_pool(BlockDevice& disk);
  Cluster& cluster_;
  Replica& replica_;
  DeviceRegistry devices_;
  nvmf::Target target_;
  std::unique_ptr<pool::Pool> pool_;
  BlockDevice* device_ = nullptr;  // what is exported
  bool up_ = false;
};

// The nexus, exported; and the part of a control plane that keeps it whole.
class NexusEngine final : nexus::NexusObserver {
 public:
  NexusEngine(Cluster& cluster, Process& process);

  // Creates the nexus from the membership record, exports it, then brings children back until it is stopped.
  Task<void> live();
  Task<void> stop();
  bool up() const noexcept { return up_; }
  nexus::Nexus* volume() noexcept { return nexus_; }
  // It reads from this replica: the child is in sync.
  bool uses(const Replica& r) const;
  SimReactor& home() noexcept { return process_.core(0); }
  // A person does something to a random child.
  Task<void> meddle();
  // Of the replicas that are in sync.
  Task<void> take_snapshot();

 private:
  Task<Status> try_create(bool everybody);
  Task<Status> share();
  Task<void> keep_whole();
  Task<void> bring_back(nexus::ChildView child);
  std::vector<std::string> choose_children(bool everybody);
  void on_child_changed(const nexus::NexusView& view, const nexus::ChildView& child) noexcept override;
  void on_rebuild_started(const nexus::NexusView& view, const nexus::RebuildRecord& record) noexcept override;
  void on_rebuild_ended(const nexus::NexusView& view, const nexus::RebuildRecord& record) noexcept override;

  Cluster& cluster_;
  Process& process_;
  StoreClient store_;
  DeviceRegistry devices_;
  nvmf::Target target_;
  nexus::Nexuses nexuses_;
  nexus::Nexus* nexus_ = nullptr;
  Prng random_;
  StopSource stop_;
  Gate living_;
  bool up_ = false;
};

// Opens the volume through the initiator.
class Host {
 public:
  Host(Cluster& cluster, Process& process);
  Task<void> start();
  Task<void> stop();
  bool up() const noexcept { return up_; }
  const Geometry& geometry() const noexcept { return device_->geometry(); }
  const Capabilities& capabilities() const noexcept { return device_->capabilities(); }
  Channel& channel(unsigned core) noexcept { return *channels_[core]; }
  Process& process() noexcept { return process_; }

 private:
  Task<Status> open();
  Cluster& cluster_;
  Process& process_;
  DeviceRegistry devices_;
  BlockDevice* device_ = nullptr;
  std::vector<std::unique_ptr<Channel>> channels_;
  bool up_ = false;
};

}  // namespace holdfast::sim
