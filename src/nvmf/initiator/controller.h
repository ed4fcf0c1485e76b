// Controller: the life of one association after the other, for one remote namespace. Home core.
//
// An association is an admin queue and one I/O queue per core in use. It is one thing: when any of its
// connections ends, or its keep alive is not answered, all of it is torn down and a new one is made
// (NVMe-oF 1.1, section 3.3: the controller ends with any of its connections unless it supports the deletion
// of single queues).
//
// I/O flows, waits or fails, apart from that:
//   flowing -> waiting   no association, or the namespace's ANA group is not accessible
//   waiting -> flowing   again
//   waiting -> failed    when it waited longer than `grace`, or than `refused_grace` after the target's
//   machine
//                        refused a connection; the event `failed`. Attempts go on slowly.
//   failed  -> flowing   the event `recovered`; only for the same namespace (UUID, block size, not smaller)
//
// The fence: when is a lost association dead AT THE TARGET, so that a command that was in flight when it was
// lost can not be executed any more? From the first of these that comes true:
//   1. the admin connection outlived the I/O connection, and the target answered a controller reset (CC.EN =
//   0,
//      CSTS.RDY = 0) on it;
//   2. another run of the target answers at the same address: the process that held the commands has ended;
//   3. KATO after our side shut its connections: without commands of ours the target has ended the
//   association by
//      its keep alive timer, and what the network still holds comes too late.
// core_path.h says what waits for it. A failed device becomes usable again only after it, and close() waits
// for it when a command of unknown fate was reported as failed: whoever opens the same namespace next is not
// surprised.
#pragma once

#include <memory>
#include <vector>

#include "nvmf/initiator/config.h"
#include "nvmf/initiator/core_path.h"
#include "nvmf/initiator/identify.h"
#include "nvmf/initiator/session.h"
#include "rt/cross_core.h"
#include "rt/reactor.h"
#include "rt/scope.h"
#include "rt/wait.h"

namespace holdfast::nvmf::host {

enum class ControllerState : std::uint8_t { connecting, live, reconnecting, closed };
const char* name(ControllerState state) noexcept;
enum class IoFlow : std::uint8_t { waiting, flowing, failed };
const char* name(IoFlow flow) noexcept;

// Hears of changes, on the home core.
class ControllerObserver {
 public:
  virtual void on_controller_event(DeviceEvent event) noexcept = 0;

 protected:
  ~ControllerObserver() = default;
};

class Controller final : PathOwner, SessionObserver {
 public:
  Controller(const Cores& cores, RemoteConfig remote);
  ~Controller();  // close() was awaited

  // Who hears of events; nobody does before. Outlives the controller.
  void set_observer(ControllerObserver& observer) noexcept { observer_ = &observer; }
  // Makes the first association; no I/O queues yet. Errors: those of resolve_host, AdminSession::open,
  // identify_controller and identify_namespace. After an error: close().
  Task<Status> start();
  // Opens the I/O queue that serves `core`, if there is none. Without an association now it comes with the
  // next.
  Task<Status> use_core(unsigned core);
  // Identifies the namespace again. Errors: not_connected, and those of identify_namespace.
  Task<Status> refresh();
  // Orderly shutdown where the target can be reached, then all connections are closed. Every channel is
  // closed. Takes at most the time-outs of a shutdown and, after commands of unknown fate, the rest of the
  // fence.
  Task<void> close();

  CorePath& path(unsigned core) noexcept { return *paths_[core]; }
  // The core whose queue serves `core`: itself, unless the target grants too few queues.
  unsigned serving_core(unsigned core) const noexcept { return core % queues_; }

  ControllerState state() const noexcept { return state_; }
  IoFlow flow() const noexcept { return flow_; }
  const ControllerInfo& info() const noexcept { return info_; }
  const NamespaceInfo& space() const noexcept { return space_; }
  nvme::AnaState ana_state() const noexcept { return ana_; }
  const RemoteConfig& remote() const noexcept { return remote_; }
  std::uint64_t reconnects() const noexcept { return reconnects_; }

 private:
  // Set-up of an association (controller_setup.cc).
  Task<Status> establish();
  Task<Status> open_session(Nanos deadline);
  Task<Status> initialize();
  Task<Status> request_queues(Admin& admin);
  Task<Status> find_namespace(Admin& admin);
  Task<Status> open_io_queue(unsigned core);
  IoQueueArgs io_queue_args(unsigned core) const;
  PathLimits path_limits() const;

  // Life (controller.cc).
  Task<void> supervise();
  Task<bool> reconnect();
  Task<void> tear_down();
  Task<void> drop_queues();
  Task<bool> any_unresolved();
  Task<void> wait_fence();
  Task<void> outlast_fence();
  Task<bool> target_restarted(Nanos deadline);
  Nanos next_backoff() noexcept;
  void raise(DeviceEvent event) noexcept {
    if (observer_ != nullptr) observer_->on_controller_event(event);
  }
  void lost(const std::string& why) noexcept;

  // The flow of I/O (controller_flow.cc).
  Task<void> start_flow();
  Task<void> stop_flow();
  Task<void> fail_flow();
  Task<void> fail_paths();
  Task<void> watch_grace();
  void shorten_grace() noexcept;
  Task<void> go_live(unsigned core);
  Task<void> push_limits();
  bool may_flow() const noexcept;

  // Events of the target (controller_events.cc).
  Task<void> start_events(Admin& admin);
  Task<void> serve_events(AdminSession& session);
  Task<void> handle_event(AdminSession& session, nvme::AsyncEvent event);
  Task<Status> namespaces_changed(AdminSession& session);
  Task<Status> refresh_ana(AdminSession& session);
  Task<void> check_doubt();
  Task<Status> identify_again(AdminSession& session);
  Task<void> remove();

  void on_path_lost(unsigned core) noexcept override;
  void on_path_doubt() noexcept override;
  Task<void> abort(std::uint16_t qid, std::uint16_t cid) override;
  void on_session_lost(const Error& why) noexcept override;

  const Cores& cores_;
  Reactor& home_;
  const RemoteConfig remote_;
  ControllerObserver* observer_ = nullptr;
  std::vector<std::unique_ptr<CorePath>> paths_;  // by core
  std::vector<bool> wanted_;                      // cores with channels
  unsigned queues_;  // cores that have an I/O queue of their own: the first so many

  ControllerState state_ = ControllerState::connecting;
  std::unique_ptr<AdminSession> session_;
  ControllerInfo info_;
  Endpoint run_address_;  // where info_.run was seen
  NamespaceInfo space_;
  bool known_ = false;    // space_ is what the device shows
  bool removed_ = false;  // the namespace is gone for good
  nvme::AnaState ana_ = nvme::AnaState::optimized;
  std::uint64_t reconnects_ = 0;
  std::uint32_t attempt_ = 0;
  bool lost_ = false;        // the association has to be torn down
  bool flowed_ = false;      // I/O was done on this association
  bool cache_lost_ = false;  // perhaps: the target was restarted since I/O flowed last
  bool doubt_ = false;       // the ANA state is being read again
  Nanos fence_{0};           // see above; in the past: nothing to wait for

  IoFlow flow_ = IoFlow::waiting;
  Nanos grace_end_{0};  // while waiting
  bool grace_watched_ = false;

  WaitQueue wake_;          // the supervisor
  WaitQueue flow_changed_;  // who watches the grace period
  Semaphore lifecycle_;     // one at a time makes, changes or ends an association
  Semaphore flow_lock_;     // one at a time tells the cores to go on, to wait or to fail
  StopSource stop_;
  TaskScope scope_;
};

}  // namespace holdfast::nvmf::host
