#include "engine/engine.h"

#include <algorithm>
#include <functional>

#include <fmt/format.h>

#include "base/log.h"
#include "block/builtin.h"
#include "engine/naming.h"
#include "nvmf/initiator/initiator.h"

namespace holdfast::engine {
namespace {

// Who this engine is to the targets of others, and to the reservations of its own devices. The same in every
// run, so that a restarted engine finds its registrations to be its own.
nvmf::InitiatorConfig initiator_config(const Options& o) {
  nvmf::InitiatorConfig config;
  config.hostnqn = node_host_nqn(o.node_name);
  nvmf::complete_identity(config);
  // For children of a mirror: an engine that is being restarted is back sooner, one that crashed is not
  // waited for.
  config.fail_after_restart = true;
  config.refused_grace = 500ms;
  return config;
}

nexus::NexusOptions nexus_options(const Options& o) {
  nexus::NexusOptions options;
  options.host_id = initiator_config(o).hostid;
  if (o.hold_timeout > Nanos{0}) options.hold_timeout = o.hold_timeout;
  if (o.child_latency_budget > Nanos{0}) options.child_latency_budget = o.child_latency_budget;
  return options;
}

pool::PoolOptions pool_options(const Options& o) {
  pool::PoolOptions options;
  options.disk_health = o.disk_health;
  options.map_bytes_max = o.pool_map_bytes;
  return options;
}

mayastor::v1::RegisterRequest introduce(const Options& o, const std::string& version, const Uuid& instance) {
  mayastor::v1::RegisterRequest r;
  r.set_id(o.node_name);
  r.set_grpc_endpoint(o.advertised_grpc);
  r.mutable_instance_uuid()->set_value(instance.to_string());
  r.add_api_version(mayastor::v1::APIVersion::V1);
  r.mutable_hostnqn()->set_value(node_host_nqn(o.node_name));
  r.mutable_features()->set_asymmetricnamespaceaccess(true);
  r.mutable_features()->set_logicalvolumemanager(false);
  r.mutable_features()->set_snapshotrebuild(true);
  r.mutable_features()->set_rdmacapableioengine(false);
  // A rebuild copies what a replica reads as, its snapshots' part too.
  r.mutable_bugfixes()->set_nexusrebuildreplicaancestry(true);
  r.set_version(version);
  return r;
}

// Hosts never get the descriptors that everything else needs.
constexpr std::uint64_t other_descriptors = 256;

nvmf::TargetConfig target_config(const Options& options, const std::string& version) {
  nvmf::TargetConfig config;
  config.crdt = options.crdt;
  if (options.descriptors > 0) {
    const std::uint64_t others = std::min(other_descriptors, options.descriptors / 2);
    config.connections_max = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(config.connections_max, options.descriptors - others));
  }
  config.firmware = version.substr(0, 8);
  return config;
}

// How long an engine that stops goes on serving replicas that are in use.
constexpr Nanos peers_patience = 2s;

}  // namespace

Engine::Engine(const Cores& cores, Options options, std::string version, const DataDir& data,
               std::unique_ptr<StoreMembership> store)
    : cores_(cores),
      options_(std::move(options)),
      version_(std::move(version)),
      introduction_(introduce(options_, version_, Uuid::random(cores.home().random()))),
      port_(cores.home()),
      locks_(cores.home()),
      remote_store_(std::move(store)),
      file_store_(cores.home(), data.membership()),
      reservations_(cores.home(), data.reservations()),
      devices_(std::make_unique<DeviceRegistry>(cores, &reservations_)),
      nexuses_(std::make_unique<nexus::Nexuses>(*devices_, membership_store(), nexus_options(options_))),
      target_(std::make_unique<nvmf::Target>(cores, target_config(options_, version_))),
      exports_(std::make_unique<Exports>(*devices_, *target_, options_.nvmf)),
      pools_(std::make_unique<Pools>(*devices_, *exports_, locks_, data.pools(), pool_options(options_))),
      snapshot_rebuilds_(std::make_unique<SnapshotRebuilds>(*devices_, *pools_)),
      replica_rebuilds_(std::make_unique<ReplicaRebuilds>(*this)) {
  add_schemes();
}

Engine::~Engine() = default;

nexus::MembershipStore& Engine::membership_store() noexcept {
  if (remote_store_ != nullptr) return *remote_store_;
  return file_store_;
}

void Engine::add_schemes() {
  register_builtin_schemes(*devices_, cores_, options_.node_name);
  nvmf::register_nvmf_scheme(*devices_, cores_, initiator_config(options_));
  nexuses_->add_scheme();
}

Task<Status> Engine::start() {
  for (const Endpoint& at : options_.nvmf) {
    auto listening = co_await target_->listen(at);
    if (!listening.ok()) {
      co_await stop();
      co_return listening.error().with_context("--nvmf-ip, --nvmf-port");
    }
    HF_LOG(info, "engine", "NVMe/TCP ready", {"address", at.to_string()});
  }
  for (const Endpoint& at : options_.nvmf_referrals) {
    const Status added = target_->add_referral(nvmf::Referral{at});
    if (!added.ok()) HF_LOG(warn, "engine", "referral left out", {"error", added.error()});
  }
  co_await pools_->start();
  co_return Status();
}

Task<void> Engine::stop() {
  co_await port_.close();
  co_await snapshot_rebuilds_->close();
  co_await replica_rebuilds_->close();
  const auto nexuses = nexuses_->list();
  HF_LOG(info, "engine", "shutting nexuses down", {"nexuses", nexuses.size()});
  for (const auto* nexus : nexuses) {
    const Status ended = co_await exports_->unshare(nexus->name());
    ended.ignore("it is gone either way");
  }
  co_await nexuses_->close_unused();  // one that a pool lies on outlasts that
  // Nexuses of engines that stop at the same moment have something to write to the replicas here until they are down.
  co_await exports_->let_hosts_leave(cores_.home(), peers_patience);
  HF_LOG(info, "engine", "ending exports", {"exports", exports_->size()});
  co_await exports_->close();
  co_await target_->close();
  HF_LOG(info, "engine", "closing pools", {"pools", pools_->list().size()});
  Pools::Between between;
  between.let_go = [this] { return nexuses_->close_unused(); };
  between.is_theirs = [this](const BlockDevice& d) { return nexuses_->find(d.name()).ok(); };
  co_await pools_->stop(std::move(between));
  co_await nexuses_->close();
  HF_LOG(info, "engine", "closing devices", {"devices", devices_->entries().size()});
  co_await devices_->close();
  if (remote_store_ != nullptr) co_await remote_store_->close();
}

std::string Engine::lock_key(std::string_view device_name) const {
  if (auto n = nexuses_->find(device_name); n.ok()) return lock_key(n.value()->params().uuid);
  return Exports::lock_key(device_name);
}

ControllerIds Engine::controller_ids(const Uuid& nexus) const {
  const auto known = controller_ids_.find(nexus);
  return known == controller_ids_.end() ? ControllerIds() : known->second;
}

}  // namespace holdfast::engine
