// A service without a cluster, for tests of the API over it: a small world that stands still (one of each resource, by
// the ids below), and changes that do nothing but show what they were asked for and what they were told to answer.
#pragma once

#include <atomic>
#include <string>

#include "control/service.h"

namespace holdfast::control::rest::testing {

inline constexpr const char* node_id = "node-1";
inline constexpr const char* pool_id = "pool-1";
inline constexpr const char* app_node_id = "app-1";
inline constexpr const char* volume_id = "11111111-0000-4000-8000-000000000001";
inline constexpr const char* replica_id = "22222222-0000-4000-8000-000000000002";
inline constexpr const char* nexus_id = "33333333-0000-4000-8000-000000000003";
inline constexpr const char* snapshot_id = "44444444-0000-4000-8000-000000000004";
inline constexpr const char* child_uri = "nvmf://10.0.0.1:8420/nqn.2019-05.io.openebs:22222222?uuid=22222222";

class PlainService final : public Service {
 public:
  explicit PlainService(Reactor& home);

  // What changes end with from now on; none: they work. Home reactor.
  void fail_with(std::optional<Error> error) { fault_ = std::move(error); }
  // Changes wait so long before they answer.
  void answer_after(Nanos delay) { delay_ = delay; }
  // What the last change was, in words: "cordon_node node-1 label".
  const std::string& last() const noexcept { return last_; }

  std::vector<NodeView> nodes() const override;
  Result<NodeView> node(NodeId id) const override;
  Task<Result<NodeView>> cordon_node(NodeId id, std::string label) override;
  Task<Result<NodeView>> uncordon_node(NodeId id, std::string label) override;
  Task<Result<NodeView>> drain_node(NodeId id, std::string label, bool replicas) override;
  Task<Result<NodeView>> label_node(NodeId id, std::string key, std::string value, bool overwrite) override;
  Task<Result<NodeView>> unlabel_node(NodeId id, std::string key) override;
  Task<Status> delete_node(NodeId id, std::optional<Purge> purge) override;
  Result<Impact> purge_node_impact(NodeId id) const override;
  Task<Result<std::vector<BlockDeviceInfo>>> block_devices(NodeId node, bool all) override;
  Task<Result<std::string>> json_rpc(NodeId node, std::string method, std::string params) override;

  std::vector<PoolView> pools() const override;
  std::vector<PoolView> pools_of_node(const NodeId& node) const override;
  std::vector<PoolView> pools_of_volume(const Uuid& volume) const override;
  Result<PoolView> pool(PoolId id) const override;
  Task<Result<PoolView>> create_pool(CreatePool request) override;
  Task<Status> delete_pool(PoolId id, std::optional<NodeId> node) override;
  Task<Result<PoolView>> label_pool(PoolId id, std::string key, std::string value, bool overwrite) override;
  Task<Result<PoolView>> unlabel_pool(PoolId id, std::string key) override;
  Task<Result<PoolView>> cordon_pool(PoolId id, std::string label) override;
  Task<Result<PoolView>> uncordon_pool(PoolId id, std::string label) override;
  Task<Result<PoolView>> evacuate_pool(PoolId id, bool on) override;
  Task<Status> purge_pool(PoolId id, Purge purge) override;
  Result<Impact> purge_pool_impact(PoolId id) const override;
  Task<Result<PoolView>> grow_pool(PoolId id) override;

  std::vector<ReplicaView> replicas() const override;
  std::vector<ReplicaView> replicas_of_node(const NodeId& node) const override;
  std::vector<ReplicaView> replicas_of_pool(const PoolId& pool) const override;
  Result<ReplicaView> replica(Uuid id) const override;
  Task<Result<ReplicaView>> create_replica(CreateReplica request) override;
  Task<Status> delete_replica(Uuid id, std::optional<PoolId> pool, std::optional<NodeId> node) override;
  Task<Result<std::string>> share_replica(Uuid id, Protocol protocol,
                                          std::vector<std::string> hosts) override;
  Task<Status> unshare_replica(Uuid id) override;

  std::vector<NexusView> nexuses() const override;
  std::vector<NexusView> nexuses_of_node(const NodeId& node) const override;
  Result<NexusView> nexus(Uuid id) const override;
  Task<Result<NexusView>> create_nexus(CreateNexus request) override;
  Task<Status> delete_nexus(Uuid id, std::optional<NodeId> node) override;
  Task<Result<NexusView>> add_nexus_child(Uuid id, std::optional<NodeId> node, std::string uri) override;
  Task<Status> remove_nexus_child(Uuid id, std::optional<NodeId> node, std::string uri) override;
  Task<Result<std::string>> share_nexus(Uuid id, std::optional<NodeId> node, Protocol protocol) override;
  Task<Status> unshare_nexus(Uuid id, std::optional<NodeId> node) override;

  Page<VolumeView> volumes(PageRequest page) const override;
  Tally tally() const override;
  Result<VolumeView> volume(Uuid id) const override;
  Task<Result<VolumeView>> create_volume(CreateVolume request) override;
  Task<Status> delete_volume(Uuid id) override;
  Task<Result<VolumeView>> publish_volume(PublishVolume request) override;
  Task<Result<VolumeView>> unpublish_volume(Uuid id, bool force) override;
  Task<Status> destroy_shutdown_targets(Uuid id) override;
  Task<Result<std::string>> share_volume(Uuid id, Protocol protocol,
                                         std::optional<std::string> host) override;
  Task<Status> unshare_volume(Uuid id) override;
  Task<Result<VolumeView>> set_replica_count(Uuid id, std::uint32_t count) override;
  Task<Result<VolumeView>> resize_volume(Uuid id, std::uint64_t size_bytes) override;
  Task<Result<VolumeView>> set_max_snapshots(Uuid id, std::uint32_t max) override;
  Task<Result<RebuildHistory>> rebuild_history(Uuid id) override;
  Task<Result<VolumeView>> move_replica(MoveReplica request) override;
  Task<Result<VolumeView>> clone_volume(Uuid source, CreateVolume request) override;

  Page<SnapshotView> snapshots(std::optional<Uuid> snapshot, std::optional<Uuid> volume,
                               PageRequest page) const override;
  Result<SnapshotView> snapshot(Uuid id, std::optional<Uuid> volume) const override;
  Task<Result<SnapshotView>> create_snapshot(Uuid volume, Uuid snapshot) override;
  Task<Status> delete_snapshot(Uuid snapshot, std::optional<Uuid> volume) override;
  Task<Result<VolumeView>> restore_snapshot(Uuid snapshot, CreateVolume request) override;

  Page<AppNodeView> app_nodes(PageRequest page) const override;
  Result<AppNodeView> app_node(std::string id) const override;
  Task<Result<AppNodeView>> register_app_node(AppNodeSpec spec) override;
  Task<Status> deregister_app_node(std::string id) override;

  Task<Status> register_node(Registration registration) override;
  Task<Status> deregister_node(NodeId id) override;

  Task<Result<AdoptReport>> adopt(AdoptRequest request) override;

  const Specs& specs() const override { return specs_; }
  const Observed& observed() const override { return observed_; }
  Events& events() override { return events_; }
  bool ready() const override { return true; }
  bool leading() const override { return true; }
  std::optional<std::string> leader() const override { return "http://127.0.0.1:8081"; }
  std::optional<std::string> leader_registration() const override { return "127.0.0.1:50051"; }

 private:
  void fill_cluster();
  void fill_volume();
  // Answers a change with what `found` is, unless it was told otherwise.
  template <class T>
  Task<Result<T>> change(std::string what, Result<T> found);
  Task<Status> done(std::string what, Status found);

  Reactor& home_;
  Events events_;
  Specs specs_;
  Observed observed_;
  std::optional<Error> fault_;
  Nanos delay_{0};
  std::string last_;
};

}  // namespace holdfast::control::rest::testing
