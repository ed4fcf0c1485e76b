// Engine: the data path of one process, put together: devices, nexuses, target and initiator, and what
// control operations on them share. No data path logic, and no gRPC: the services are in *_service.h.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/uuid.h"
#include "block/registry.h"
#include "block/reservation_store.h"
#include "engine/data_dir.h"
#include "engine/exports.h"
#include "engine/io_baselines.h"
#include "engine/keyed_locks.h"
#include "engine/nexus_messages.h"
#include "engine/options.h"
#include "engine/pools.h"
#include "engine/replica_rebuilds.h"
#include "engine/snapshot_rebuilds.h"
#include "engine/state_reports.h"
#include "engine/store_membership.h"
#include "mayastor/v1/registration.pb.h"
#include "nexus/membership_stores.h"
#include "nexus/nexus.h"
#include "nvmf/target/target.h"
#include "rpc/home_call.h"
#include "rt/reactor.h"

namespace holdfast::engine {

class Engine {
 public:
  // `data` outlives the engine. `store` null: membership records are files in `data`.
  Engine(const Cores& cores, Options options, std::string version, const DataDir& data,
         std::unique_ptr<StoreMembership> store);
  ~Engine();  // stop() was awaited, or start() never was

  // Listens for hosts, and opens the pools that are remembered. Errors: those of Reactor::listen, naming the flag.
  Task<Status> start();
  // Ends the exports, shuts the nexuses down cleanly, closes the pools and devices. No call is under way.
  Task<void> stop();

  const Options& options() const noexcept { return options_; }
  const std::string& version() const noexcept { return version_; }
  const Cores& cores() const noexcept { return cores_; }
  rpc::HomePort& port() noexcept { return port_; }
  // One holder a nexus, device, pool, ..., by lock_key() and Pools::lock_key().
  KeyedLocks& locks() noexcept { return locks_; }
  static std::string lock_key(const Uuid& nexus) { return "nexus " + nexus.to_string(); }
  // The key of the nexus when the device is one.
  std::string lock_key(std::string_view device_name) const;
  DeviceRegistry& devices() noexcept { return *devices_; }
  nexus::Nexuses& nexuses() noexcept { return *nexuses_; }
  Exports& exports() noexcept { return *exports_; }
  Pools& pools() noexcept { return *pools_; }
  SnapshotRebuilds& snapshot_rebuilds() noexcept { return *snapshot_rebuilds_; }
  ReplicaRebuilds& replica_rebuilds() noexcept { return *replica_rebuilds_; }
  IoBaselines& baselines() noexcept { return baselines_; }
  StateReports& state_reports() noexcept { return state_reports_; }
  ControllerIds controller_ids(const Uuid& nexus) const;
  void set_controller_ids(const Uuid& nexus, ControllerIds ids) { controller_ids_[nexus] = ids; }
  void forget_controller_ids(const Uuid& nexus) { controller_ids_.erase(nexus); }
  nvmf::Target& target() noexcept { return *target_; }
  // What a control plane is told about this engine. Any thread.
  const mayastor::v1::RegisterRequest& introduction() const noexcept { return introduction_; }

 private:
  nexus::MembershipStore& membership_store() noexcept;
  void add_schemes();
  Status listen();

  const Cores& cores_;
  const Options options_;
  const std::string version_;
  mayastor::v1::RegisterRequest introduction_;
  rpc::HomePort port_;
  KeyedLocks locks_;
  std::unique_ptr<StoreMembership> remote_store_;  // nullptr: membership records are files
  nexus::FileStore file_store_;
  FileReservationStore reservations_;
  std::map<Uuid, ControllerIds> controller_ids_;  // of nexuses, for when they are published
  std::unique_ptr<DeviceRegistry> devices_;
  std::unique_ptr<nexus::Nexuses> nexuses_;
  std::unique_ptr<nvmf::Target> target_;
  std::unique_ptr<Exports> exports_;
  std::unique_ptr<Pools> pools_;
  std::unique_ptr<SnapshotRebuilds> snapshot_rebuilds_;
  std::unique_ptr<ReplicaRebuilds> replica_rebuilds_;
  IoBaselines baselines_;
  StateReports state_reports_;
};

}  // namespace holdfast::engine
