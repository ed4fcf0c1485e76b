// Subsystem: namespaces, allowed hosts and controllers under one NQN. Home core; each core with I/O queues
// has a SubsystemView, which is changed by calls to that core.
//
// Changes of namespaces run one after the other (lock_), views are made under the same lock, so every view
// shows the namespaces that home knows. close() disconnects the hosts, waits for their commands, and closes
// the channels.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "block/block_device.h"
#include "block/reservation_guard.h"
#include "nvmf/target/controller.h"
#include "nvmf/target/registry.h"
#include "nvmf/target/subsystem_view.h"
#include "nvmf/target/types.h"
#include "rt/wait.h"

namespace holdfast::nvmf::target {

class Subsystem {
 public:
  // One namespace as home knows it.
  class Namespace final : public DeviceObserver, ReservationObserver {
   public:
    Namespace(Subsystem& s, const NamespaceConfig& c, BlockDevice& d, ReservationGuard* g);
    ~Namespace();
    void on_device_event(BlockDevice& from, DeviceEvent event) noexcept override;
    void on_reservation_notice(const Uuid& host, ReservationNotice notice) noexcept override;

    Subsystem& subsystem;
    NamespaceConfig config;
    BlockDevice& device;
    ReservationGuard* const guard;  // nullptr: no reservations
    Geometry geometry;
    Capabilities capabilities;
    bool failed = false;  // its device, which says so
    // Tells it from others that had, or will have, the same identifier.
    std::uint64_t incarnation = 0;
    std::uint64_t ana_changes =
        0;                 // of its ANA group: each namespace is a group of its own, named by its nsid
    Semaphore fence_turn;  // of fused commands
    Gate uses;             // held by admin commands that use the device
  };
  using Namespaces = std::map<std::uint32_t, std::unique_ptr<Namespace>>;

  Subsystem(Registry& registry, SubsystemConfig config);
  Subsystem(const Subsystem&) = delete;
  Subsystem& operator=(const Subsystem&) = delete;
  ~Subsystem();

  const SubsystemConfig& config() const noexcept { return config_; }
  Registry& registry() const noexcept { return registry_; }
  const Uuid& run() const noexcept { return run_; }
  bool is_discovery() const noexcept { return config_.nqn == nvme::discovery_nqn; }
  bool closing() const noexcept { return gate_.closed() || closing_; }
  bool allows(std::string_view host_nqn) const noexcept;

  // --- For the Target. Errors: already_exists, not_found, failed_precondition (it is being removed). ---
  Task<Status> add_namespace(NamespaceConfig config, BlockDevice& device, ReservationGuard* guard);
  Task<Status> remove_namespace(std::uint32_t nsid);
  Task<Status> set_ana_state(std::uint32_t nsid, nvme::AnaState state);
  // Hosts that are not allowed any more are disconnected; waits until they are gone.
  Task<Status> set_allowed_hosts(std::vector<std::string> hosts);
  SubsystemInfo info() const;
  Task<void> close();

  // --- For Connect and controllers. ---
  Task<ConnectReply> connect(ConnectCall& call, std::string_view host_nqn);
  const Namespaces& namespaces() const noexcept { return namespaces_; }
  // --- For fused commands, which hold the gate of their view (fence.cc). ---
  // Nothing else touches the range when it returns, until lift_fence(). False: the namespace is being
  // removed.
  Task<bool> fence(std::uint32_t nsid, BlockRange range);
  Task<void> lift_fence(std::uint32_t nsid);
  // nullptr when it is not active.
  const Namespace* find(std::uint32_t nsid) const noexcept;
  Namespace* find(std::uint32_t nsid) noexcept;
  // Of one namespace, or of all by nvme::nsid_all.
  Task<IoStats> stats(std::uint32_t nsid);
  // SMART: of one namespace, or of all by nvme::nsid_all.
  std::uint8_t critical_warning(std::uint32_t nsid) const noexcept;
  // What the devices cache. Nothing to do while no core has an I/O queue.
  Task<Status> flush();
  // Feature 83h: of one namespace, or of all for nsid_all.
  Task<nvme::CommandStatus> set_reservations_persist(std::uint32_t nsid, bool on);
  std::uint64_t ana_changes() const noexcept { return ana_changes_; }
  // Its last queue is gone. Destroys it.
  void forget(Controller& controller) noexcept;
  const std::map<std::uint16_t, std::unique_ptr<Controller>>& controllers() const noexcept {
    return controllers_;
  }

 private:
  struct FencedView {
    SubsystemView* view;
    NamespaceView* ns;  // there until it is lifted
  };
  struct Fence {
    Fence(Namespace& n, BlockRange blocks, Semaphore::Permit permit)
        : ns(n), range(blocks), turn(std::move(permit)), joined(n.subsystem.registry().home()) {}
    Namespace& ns;
    const BlockRange range;
    const Semaphore::Permit turn;
    std::vector<const SubsystemView*> asked;  // those whose fence is up, or about to be
    std::vector<FencedView> views;
    unsigned joining = 0;
    WaitQueue joined;
    bool failed = false;
  };
  Task<void> fence_view(SubsystemView& view, Fence& fence);
  Task<void> join_fences(SubsystemView& view);
  Task<bool> wait_ended(std::string host_nqn, Uuid host_id);
  ConnectReply connect_admin(ConnectCall& call, std::string_view host_nqn);
  Task<ConnectReply> connect_io(ConnectCall& call, std::string_view host_nqn);
  nvme::CommandStatus judge_io_connect(const ConnectCall& call, std::string_view host_nqn,
                                       Controller*& controller, std::uint32_t& dw0);
  std::uint16_t free_cntlid() noexcept;
  Task<SubsystemView*> view_on(Reactor& core);
  Task<void> add_to_view(SubsystemView& view, Namespace& ns);
  Task<void> remove_from_views(std::uint32_t nsid);
  // Calls f(NamespaceView&) on every core that has the namespace.
  template <class F>
  Task<void> for_each_view(std::uint32_t nsid, F& f);
  Task<void> refresh(std::uint32_t nsid);
  void device_failed(Namespace& ns, bool failed);
  void tell_device_failed(const Namespace& ns);
  void tell_namespace_changed(std::uint32_t nsid);

  Registry& registry_;
  const Uuid run_;
  SubsystemConfig config_;
  Namespaces namespaces_;
  std::vector<std::unique_ptr<SubsystemView>> views_;       // by core; empty where there is no I/O queue yet
  std::map<std::uint32_t, std::unique_ptr<Fence>> fences_;  // by nsid
  std::map<std::uint16_t, std::unique_ptr<Controller>> controllers_;
  WaitQueue controller_gone_;
  Gate gate_;  // held by everything that waits while it uses the subsystem
  Semaphore lock_;
  std::uint32_t next_cntlid_;
  std::uint64_t ana_changes_ = 0;
  std::uint64_t namespaces_added_ = 0;
  bool closing_ = false;
};

}  // namespace holdfast::nvmf::target
