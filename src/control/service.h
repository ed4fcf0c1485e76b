// Service: everything that users and programs ask of the control plane. What the REST server calls.
//
// Home reactor only. Reads answer from memory, on every agent. What changes something works on the agent that leads;
// on others it ends with Unavailable, naming the leader. Errors carry a Kind (model/kind.h) and a text that names the
// resource and the remedy; a refusal for lack of room names each pool and why it was not taken. Every call can be
// repeated. One change works on a resource at a time; the next waits a second for it, then Conflict.
//
// Kinds that any change may end with, besides those named: Conflict (another change is under way), Unavailable (this
// agent does not lead, or the engine does not answer), FailedPersist (the store does not answer: it may or may not
// have happened, and will be finished or undone), Deleting (the resource is going away).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "control/events.h"
#include "control/requests.h"
#include "control/views.h"
#include "rt/task.h"

namespace holdfast::control {

class Service {
 public:
  Service() = default;
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;
  virtual ~Service();

  // ---- nodes
  virtual std::vector<NodeView> nodes() const = 0;
  virtual Result<NodeView> node(NodeId id) const = 0;  // NotFound
  // A label that is there already is no error.
  virtual Task<Result<NodeView>> cordon_node(NodeId id, std::string label) = 0;
  // Ends the cordon or the drain of that label. Errors: FailedPrecondition when there is none.
  virtual Task<Result<NodeView>> uncordon_node(NodeId id, std::string label) = 0;
  // Moves the targets off the node, and its replicas if wanted. The label ends it, by uncordon_node. Errors:
  // FailedPrecondition when the node is cordoned with this label.
  virtual Task<Result<NodeView>> drain_node(NodeId id, std::string label, bool replicas) = 0;
  // Errors: FailedPrecondition: the label has another value and overwrite is false.
  virtual Task<Result<NodeView>> label_node(NodeId id, std::string key, std::string value,
                                            bool overwrite) = 0;
  virtual Task<Result<NodeView>> unlabel_node(NodeId id,
                                              std::string key) = 0;  // FailedPrecondition: not there
  // Only a node that is not online (else InUse), with nothing on it (else FailedPrecondition), unless purged.
  virtual Task<Status> delete_node(NodeId id, std::optional<Purge> purge) = 0;
  virtual Result<Impact> purge_node_impact(NodeId id) const = 0;
  virtual Task<Result<std::vector<BlockDeviceInfo>>> block_devices(NodeId node, bool all) = 0;
  // JSON text in, JSON text out.
  virtual Task<Result<std::string>> json_rpc(NodeId node, std::string method, std::string params) = 0;

  // ---- pools
  virtual std::vector<PoolView> pools() const = 0;
  virtual std::vector<PoolView> pools_of_node(const NodeId& node) const = 0;
  virtual std::vector<PoolView> pools_of_volume(const Uuid& volume) const = 0;
  virtual Result<PoolView> pool(PoolId id) const = 0;
  // Imports the pool that is on the disks, if there is one. Errors: AlreadyExists, InvalidArgument (disk), NotFound.
  virtual Task<Result<PoolView>> create_pool(CreatePool request) = 0;
  // Errors: InUse when something is in it. A node given is checked.
  virtual Task<Status> delete_pool(PoolId id, std::optional<NodeId> node) = 0;
  virtual Task<Result<PoolView>> label_pool(PoolId id, std::string key, std::string value,
                                            bool overwrite) = 0;
  virtual Task<Result<PoolView>> unlabel_pool(PoolId id, std::string key) = 0;
  virtual Task<Result<PoolView>> cordon_pool(PoolId id, std::string label) = 0;
  virtual Task<Result<PoolView>> uncordon_pool(PoolId id, std::string label) = 0;
  // Every replica moves to other pools; it goes on until it is switched off.
  virtual Task<Result<PoolView>> evacuate_pool(PoolId id, bool on) = 0;
  // Forgets a pool with all that is in it, also when its node is gone. Errors: FailedPrecondition naming what would
  // be lost and was not accepted.
  virtual Task<Status> purge_pool(PoolId id, Purge purge) = 0;
  virtual Result<Impact> purge_pool_impact(PoolId id) const = 0;
  // Takes in the room that a grown disk has.
  virtual Task<Result<PoolView>> grow_pool(PoolId id) = 0;

  // ---- replicas
  virtual std::vector<ReplicaView> replicas() const = 0;
  virtual std::vector<ReplicaView> replicas_of_node(const NodeId& node) const = 0;
  virtual std::vector<ReplicaView> replicas_of_pool(const PoolId& pool) const = 0;
  virtual Result<ReplicaView> replica(Uuid id) const = 0;
  virtual Task<Result<ReplicaView>> create_replica(CreateReplica request) = 0;
  // Errors: InUse when a volume or nexus owns it; NotFound when pool or node given is not its own.
  virtual Task<Status> delete_replica(Uuid id, std::optional<PoolId> pool, std::optional<NodeId> node) = 0;
  // The URI that it has then.
  virtual Task<Result<std::string>> share_replica(Uuid id, Protocol protocol,
                                                  std::vector<std::string> allowed_hosts) = 0;
  virtual Task<Status> unshare_replica(Uuid id) = 0;

  // ---- nexuses
  virtual std::vector<NexusView> nexuses() const = 0;
  virtual std::vector<NexusView> nexuses_of_node(const NodeId& node) const = 0;
  virtual Result<NexusView> nexus(Uuid id) const = 0;
  virtual Task<Result<NexusView>> create_nexus(CreateNexus request) = 0;
  virtual Task<Status> delete_nexus(Uuid id, std::optional<NodeId> node) = 0;
  virtual Task<Result<NexusView>> add_nexus_child(Uuid id, std::optional<NodeId> node, std::string uri) = 0;
  virtual Task<Status> remove_nexus_child(Uuid id, std::optional<NodeId> node, std::string uri) = 0;
  virtual Task<Result<std::string>> share_nexus(Uuid id, std::optional<NodeId> node, Protocol protocol) = 0;
  virtual Task<Status> unshare_nexus(Uuid id, std::optional<NodeId> node) = 0;

  // ---- volumes
  virtual Page<VolumeView> volumes(PageRequest page) const = 0;
  // How many there are; cheaper than the lists.
  virtual Tally tally() const = 0;
  virtual Result<VolumeView> volume(Uuid id) const = 0;
  // Errors: ResourceExhausted when there are not enough pools; AlreadyExists; Conflict when it is being created with
  // other parameters.
  virtual Task<Result<VolumeView>> create_volume(CreateVolume request) = 0;
  virtual Task<Status> delete_volume(Uuid id) = 0;
  // Errors: AlreadyPublished; FailedPrecondition when no replica with the data can be reached.
  virtual Task<Result<VolumeView>> publish_volume(PublishVolume request) = 0;
  // `force`: also when the target's node does not answer. Errors: NotPublished.
  virtual Task<Result<VolumeView>> unpublish_volume(Uuid id, bool force) = 0;
  // Ends targets that were replaced. FailedPrecondition while their node cannot be reached.
  virtual Task<Status> destroy_shutdown_targets(Uuid id) = 0;
  virtual Task<Result<std::string>> share_volume(Uuid id, Protocol protocol,
                                                 std::optional<std::string> frontend_host) = 0;
  virtual Task<Status> unshare_volume(Uuid id) = 0;
  virtual Task<Result<VolumeView>> set_replica_count(Uuid id, std::uint32_t count) = 0;
  virtual Task<Result<VolumeView>> resize_volume(Uuid id, std::uint64_t size_bytes) = 0;
  virtual Task<Result<VolumeView>> set_max_snapshots(Uuid id, std::uint32_t max) = 0;
  virtual Task<Result<RebuildHistory>> rebuild_history(Uuid id) = 0;  // FailedPrecondition when not published
  // Adds a replica elsewhere, brings it in sync and removes this one; answers once that is begun.
  virtual Task<Result<VolumeView>> move_replica(MoveReplica request) = 0;
  // A new volume with the content that this one has now.
  virtual Task<Result<VolumeView>> clone_volume(Uuid source, CreateVolume request) = 0;

  // ---- snapshots of volumes
  virtual Page<SnapshotView> snapshots(std::optional<Uuid> snapshot, std::optional<Uuid> volume,
                                       PageRequest page) const = 0;
  virtual Result<SnapshotView> snapshot(Uuid id, std::optional<Uuid> volume) const = 0;
  virtual Task<Result<SnapshotView>> create_snapshot(Uuid volume, Uuid snapshot) = 0;
  virtual Task<Status> delete_snapshot(Uuid snapshot, std::optional<Uuid> volume) = 0;
  // A new volume with the content of a snapshot.
  virtual Task<Result<VolumeView>> restore_snapshot(Uuid snapshot, CreateVolume request) = 0;

  // ---- app nodes
  virtual Page<AppNodeView> app_nodes(PageRequest page) const = 0;
  virtual Result<AppNodeView> app_node(std::string id) const = 0;
  virtual Task<Result<AppNodeView>> register_app_node(AppNodeSpec spec) = 0;
  virtual Task<Status> deregister_app_node(std::string id) = 0;

  // ---- engines
  virtual Task<Status> register_node(Registration registration) = 0;
  virtual Task<Status> deregister_node(NodeId id) = 0;

  // ---- disaster recovery
  // Writes the specs anew that the pools of all engines speak of, after the store was lost; see plan/adopt.h. Nothing
  // that is there is changed. Errors: FailedPrecondition when the store has other specs of the same ids (nothing is
  // written then, unless conflicts are to be skipped); Unavailable when an engine that is online cannot be read.
  virtual Task<Result<AdoptReport>> adopt(AdoptRequest request) = 0;

  // ---- the agent itself
  virtual const Specs& specs() const = 0;
  virtual const Observed& observed() const = 0;
  virtual Events& events() = 0;
  // Specs were read from the store, and engines had the time to report.
  virtual bool ready() const = 0;
  virtual bool leading() const = 0;
  // What the leader advertises (Options::advertise); nothing while there is none.
  virtual std::optional<std::string> leader() const = 0;
  // host:port where engines register with it.
  virtual std::optional<std::string> leader_registration() const = 0;
};

}  // namespace holdfast::control
