// Agent: the shell of the control plane. Stands for election, keeps specs and states, lets decide() say what has to
// be done and does it, and carries out what users ask (Service). Everything on one reactor, through the interfaces
// that it is made with alone, so a simulation runs it as it is.
//
// Operations of users and actions of reconcilers work alike: what is wanted is committed first (intent), then engines
// are called (act), then the outcome is committed. Whoever holds the guard of a resource is the only one to change
// it. What an agent leaves unfinished shows in the specs, and the reconcilers of the next one finish or undo it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "control/election.h"
#include "control/engine.h"
#include "control/guards.h"
#include "control/news.h"
#include "control/nodes.h"
#include "control/options.h"
#include "control/plan/decide.h"
#include "control/registry.h"
#include "control/service.h"
#include "rt/reactor.h"
#include "rt/scope.h"
#include "rt/wait.h"
#include "store/kv.h"

namespace holdfast::control {

class Agent final : public Service {
 public:
  // All of them outlive it.
  Agent(Reactor& home, store::Kv& kv, EngineDirectory& engines, Options options);
  ~Agent() override;

  // Works until stopped; once. Before that and after it no operation is accepted.
  Task<void> run(StopToken stop);

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
                                          std::vector<std::string> allowed_hosts) override;
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
                                         std::optional<std::string> frontend_host) override;
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

  const Specs& specs() const override { return registry_.specs(); }
  const Observed& observed() const override { return nodes_.observed(); }
  Events& events() override { return events_; }
  bool ready() const override { return registry_.complete() && nodes_.settled(); }
  bool leading() const override { return leading_; }
  // How often what changed was looked at, or everything.
  std::uint64_t passes() const noexcept { return passes_; }
  // Until its lease runs out, the record of an agent that died names the one that was started in its place.
  std::optional<std::string> leader() const override {
    if (!leading_ && election_.is_own()) return std::nullopt;
    return election_.leader();
  }
  std::optional<std::string> leader_registration() const override {
    if (!leading_ && election_.is_own()) return std::nullopt;
    return election_.leader_registration();
  }

 private:
  // A change under way: what it holds, and the term whose specs it stands on.
  struct Op {
    Gate::Hold hold;
    Guards::Guard guard;
    std::uint64_t term = 0;
    Op(Gate::Hold h, Guards::Guard g, std::uint64_t t) noexcept
        : hold(std::move(h)), guard(std::move(g)), term(t) {}
  };
  // Room, and the place of an affinity group, that are taken until their owner has committed.
  class Claim {
   public:
    Claim(Claims& claims, const PoolId& pool, std::uint64_t bytes, bool thin,
          std::optional<std::string> group_node = std::nullopt);
    Claim(Claim&& o) noexcept;
    Claim& operator=(Claim&&) = delete;
    ~Claim();

   private:
    Claims* claims_;
    PoolId pool_;
    std::uint64_t bytes_;
    bool thin_;
    std::optional<std::string> group_node_;
  };
  Claim claim_for(const VolumeSpec& volume, const PoolId& pool);
  // A rebuild that an engine is being asked for: it counts before it is seen to run.
  class RebuildClaim {
   public:
    explicit RebuildClaim(Claims& claims) noexcept : claims_(claims) { ++claims_.rebuilds; }
    RebuildClaim(const RebuildClaim&) = delete;
    RebuildClaim& operator=(const RebuildClaim&) = delete;
    ~RebuildClaim() { --claims_.rebuilds; }

   private:
    Claims& claims_;
  };
  bool may_rebuild() const;

  // ---- the life of an agent (agent.cc)
  Task<void> lead_when_elected(StopToken stop);
  Task<bool> open_records();
  Task<void> lead(Election::Term term, StopToken stop);
  Task<void> end_when_lost(StopSource& term);
  Task<void> reconcile(StopToken stop);
  Nanos next_pass() const noexcept;
  void sync_nodes();
  void pass();
  Decision look();
  void check_look(const Cluster& now, const Outages& before, const Look& narrow,
                  const Decision& decided) const;
  Task<void> work_off(Op op, std::vector<Action> actions);
  Task<Result<Op>> begin(std::string guard);
  Status check_leading() const;
  Task<Status> commit(const Op& op, Changes changes) { return registry_.commit(op.term, std::move(changes)); }
  // One record, and nothing else.
  Task<Status> commit_put(const Op& op, AnySpec spec);
  Task<Status> commit_remove(const Op& op, AnySpec spec);
  UnixNanos unix_now() const { return static_cast<UnixNanos>(home_.wall_now()); }
  Cluster cluster() const {
    return Cluster(registry_.specs(), registry_.index(), nodes_.observed(), claims_);
  }
  Uuid new_uuid() { return Uuid::random(home_.random()); }

  // ---- looking things up; NotFound, Deleting
  Result<NodeSpec> find_node(const NodeId& id) const;
  Result<PoolSpec> find_pool(const PoolId& id) const;
  Result<ReplicaSpec> find_replica(const Uuid& id) const;
  Result<NexusSpec> find_nexus(const Uuid& id, const std::optional<NodeId>& node) const;
  Result<VolumeSpec> find_volume(const Uuid& id) const;
  Result<SnapshotSpec> find_snapshot(const Uuid& id, const std::optional<Uuid>& volume) const;
  // For requests that change something: refused once this agent cannot be sure that it leads.
  Result<Engine*> engine_to_change(const Op& op, const NodeId& node) const;
  Result<Engine*> engine_of_pool(const Op& op, const PoolId& pool) const;
  PoolView pool_view(const PoolId& id) const;
  ReplicaView replica_view(const Uuid& id) const;
  NexusView nexus_view(const Uuid& id) const;
  bool only_guarded(const NexusSpec& spec) const;
  SnapshotView snapshot_view(const SnapshotSpec& spec) const;
  Impact impact_of(const std::vector<PoolId>& pools, const std::optional<NodeId>& node) const;

  // ---- acts on engines: each notes what the engine answers
  Task<Status> act_create_replica(const Op& op, ReplicaSpec spec);
  Task<Status> act_destroy_replica(const Op& op, ReplicaSpec spec);
  Task<Status> act_share_replica(const Op& op, ReplicaSpec spec);
  Task<Status> act_grow_replica(const Op& op, Uuid id, std::uint64_t size_bytes);
  Task<Status> act_create_nexus(const Op& op, NexusSpec spec, std::vector<std::string> children);
  Task<Status> act_share_nexus(const Op& op, NexusSpec spec);
  Task<Status> act_destroy_nexus(const Op& op, NexusSpec spec);
  bool has_child(const VolumeTarget& target, const Uuid& replica) const;
  Task<Status> act_remove_child(const Op& op, VolumeTarget target, Uuid replica);
  Task<Status> act_destroy_pool(const Op& op, PoolSpec spec);
  Task<Status> act_destroy_part(const Op& op, ReplicaSnapshotSpec part, NodeId node);
  std::optional<std::string> child_uri(const Uuid& replica, const NodeId& node) const;

  // ---- building blocks of operations; the caller has the guard
  // Errors: AlreadyExists; Deleting, Conflict while what is left of an attempt is removed.
  Status check_new_volume(const Uuid& id) const;
  // Whether a volume may have so much more, as far as all together may have it.
  Status check_capacity_limit(const Uuid& id, std::uint64_t more_bytes) const;
  Task<Status> build_volume(const Op& op, VolumeSpec volume, std::vector<ReplicaSpec> replicas);
  Task<Status> replace_failed(const Op& op, const VolumeSpec& volume, std::vector<ReplicaSpec>& replicas,
                              std::vector<bool>& done, const std::set<Uuid>& certain, Error why);
  // `certain`: replicas whose creation is over, so that nothing of it comes late.
  Task<Status> release_volume(const Op& op, Uuid id, std::set<Uuid> certain);
  Task<Status> forget_volume(const Op& op, Uuid id);
  Task<Status> destroy_nexus(const Op& op, Uuid id);
  Task<Status> serve(const Op& op, Uuid volume, NodeId node, VolumeTarget wanted, VolumeOp operation);
  Task<Status> open_target(const Op& op, const VolumeSpec& volume, const NexusSpec& nexus,
                           std::vector<ReplicaSpec> replicas);
  Task<Status> undo_target(const Op& op, Uuid volume, Uuid nexus, bool may_come_late);
  Task<Status> move_target(const Op& op, Uuid volume, NodeId node);
  Task<Status> unpublish(const Op& op, Uuid id, bool force);
  Task<Status> start_repair(const Op& op, const Action& action);
  Task<Status> end_repair(const Op& op, Uuid volume);
  Task<Status> grow_count(const Op& op, VolumeSpec volume);
  Task<Status> shrink_count(const Op& op, VolumeSpec volume);
  Task<Status> add_child_of(const Op& op, Uuid volume, Uuid replica);
  Task<Status> grow_volume(const Op& op, VolumeSpec volume, std::uint64_t size_bytes);
  Task<Status> finish_resize(const Op& op, VolumeSpec volume);
  Task<Status> grow_target(const Op& op, VolumeSpec volume, std::uint64_t size_bytes);
  // Errors: Unavailable, naming a replica, or the target, whose engine does not answer at this moment.
  Task<Status> check_parts_answer(VolumeSpec volume);
  // Of one that does not last the record stays `creating`: should this agent end, its parts are removed as those of a
  // failed attempt are.
  enum class Lasting { yes, no };
  // With the guards of both held. Gives it as it is in the record, but with the status created.
  Task<Result<SnapshotSpec>> new_snapshot(const Op& op, Uuid volume, Uuid id, Lasting lasting);
  Task<Result<SnapshotSpec>> take_snapshot(const Op& op, VolumeSpec volume, SnapshotSpec snapshot,
                                           Lasting lasting);
  // The replicas of a volume with the content of the snapshot. `what` is how the text of an error begins. Errors:
  // ResourceExhausted (pools that are full or cordoned), FailedPrecondition (a pool that cannot be reached).
  Result<std::vector<ReplicaSpec>> place_clones(const VolumeSpec& volume, const SnapshotSpec& snapshot,
                                                const std::string& what);
  // With the guards of both held.
  Task<Result<VolumeView>> build_from(const Op& op, SnapshotSpec snapshot, CreateVolume request);
  Task<Result<UnixNanos>> act_snapshot(const Op& op, const VolumeSpec& volume, const SnapshotSpec& snapshot,
                                       const std::vector<ReplicaSnapshotSpec>& parts);
  Task<Status> remove_snapshot(const Op& op, Uuid id);
  Task<Status> purge(const Op& op, std::vector<PoolId> pools, std::optional<NodeId> node);
  Task<Status> import_pool(const Op& op, PoolId id, bool again);
  Task<Status> destroy_pool(const Op& op, PoolId id);
  ReplicaSpec new_replica(const VolumeSpec& volume, const PoolId& pool);
  void share_towards(ReplicaSpec& replica, const std::vector<NodeId>& nodes) const;
  std::vector<ReplicaSpec> share_replicas(const Uuid& volume, const std::vector<NodeId>& towards,
                                          Changes& changes) const;
  void leave_former(const VolumeTarget& former, const std::vector<ReplicaSpec>& replicas, const NodeId& node,
                    Changes& changes) const;
  // Whether a replica of the volume still fits there, besides what was claimed since it was decided.
  bool still_fits(const VolumeSpec& volume, const PoolId& pool, const Uuid& leaving) const;

  // ---- replicas that are no longer wanted (releases.cc)
  // As it is once its owners have let go of it. `may_come_late`: a request that makes it may still be on its way.
  ReplicaSpec let_go(ReplicaSpec replica, bool may_come_late) const;
  // Errors: FailedPrecondition when no replica but this one is known to hold all data and answers now.
  Task<Status> check_another_answers(Uuid volume, Membership record, Uuid leaving);
  // The replica leaves the record of who holds the volume's data: at once, or by the changes that are returned. The
  // guard of the volume is held. Errors: FailedPrecondition (the last good one), those of its target's engine.
  Task<Result<Changes>> leave_membership(const Op& op, Uuid volume, Uuid replica);
  Task<Status> release_replica(const Op& op, Uuid volume, Uuid replica);
  Task<Status> check_left(const Op& op, ReplicaSpec spec);
  Task<Status> destroy_replica(const Op& op, Uuid id);
  Task<void> sweep_replica(const Op& op, Uuid id);
  Task<void> sweep_replicas(const Op& op, std::vector<Uuid> replicas);

  // ---- carrying out actions (execute*.cc); the guard of the action is held
  Task<Status> execute(const Op& op, Action action);
  Task<Status> execute_replica(const Op& op, const Action& action);
  Task<Status> execute_nexus(const Op& op, const Action& action);
  Task<Status> execute_volume(const Op& op, const Action& action);
  Task<Status> execute_snapshot(const Op& op, const Action& action);
  Task<Status> execute_node(const Op& op, const Action& action);
  void end_move(const ReplicaSpec& replica, Changes& changes) const;
  Task<Status> recreate_nexus(const Op& op, Uuid id);
  Task<Status> note_recreated(const Op& op, Uuid id, UnixNanos unsure_until);
  Task<Status> settle_volume(const Op& op, Uuid id);
  // The volume, once an operation that was interrupted is settled. Errors: NotFound, and those of what is left of it.
  Task<Result<VolumeSpec>> settled_volume(const Op& op, Uuid id);
  Task<Status> add_replica(const Op& op, Uuid volume, PoolId pool, std::optional<Uuid> instead_of);
  Task<Status> write_record(const Op& op, const Action& action);
  Task<Result<std::vector<KeptRecord>>> read_records();
  Task<Status> write_adopted(const Op& op, AdoptPlan plan);
  Task<Status> start_move(const Op& op, const Action& action);
  Task<Status> change_part(const Op& op, const Action& action, bool destroy);

  // ---- copies of snapshots for new replicas (fills.cc)
  Task<Status> plan_copy(const Op& op, const Action& action);
  Task<Status> note_copy(const Op& op, const Action& action);
  Task<Status> settle_copy(const Op& op, const Action& action);
  Task<Status> end_fill(const Op& op, Uuid replica, std::uint32_t in_sync_through, std::string why);
  Task<Status> give_up_fill(const Op& op, const Action& action, std::string why);
  // Without copies: there is nothing to ask for.
  NewFill fill_request(const Action& action) const;
  Task<Status> begin_fill(const Op& op, PoolId pool, NewFill request);
  Task<Status> release_copy(const Op& op, const Action& action);
  Task<Status> fill_replica(const Op& op, const Action& action);
  Task<Status> execute_fill(const Op& op, const Action& action);
  // That its target is asked to take it in with what it has so far, once: afterwards that is not known any more.
  Task<Result<std::uint32_t>> take_in_sync_through(const Op& op, Uuid replica);

  Reactor& home_;
  store::Kv& kv_;
  const Options options_;
  Events events_;
  News news_;
  Nodes nodes_;
  Registry registry_;  // writes memberships into what the nodes are seen as
  Election election_;
  Guards guards_;
  Gate operations_;
  Semaphore creations_;
  TaskScope work_;
  Claims claims_;
  Outages outages_;
  std::set<Uuid> unasked_;  // replicas added in this term, which no engine was asked for yet
  bool leading_ = false;
  // Of the last pass: the time for which something waits, that there was nothing to do, and what is not at rest.
  std::optional<UnixNanos> due_;
  bool idle_ = false;
  std::set<Uuid> restless_;
  Nanos looked_over_at_{0};  // when a pass was over everything
  std::uint64_t passes_ = 0;
  struct Backoff {
    unsigned failures = 0;
    Nanos not_before{0};
  };
  void note_outcome(const Action& action, const Status& outcome);
  unsigned back_off(const std::string& key);  // the number of failures in a row
  void look_again(const std::string& key);
  std::map<std::string, Backoff> backoffs_;  // by guard and action
  std::map<std::string, Nanos> app_nodes_seen_;
  std::map<Uuid, unsigned> fill_failures_;  // by replica
};

}  // namespace holdfast::control
