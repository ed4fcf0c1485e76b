// Controller: one path of a remote device: the life of one association after the other at one address. Home
// core.
//
// An association is an admin queue and one I/O queue per core in use. It is one thing: when any of its
// connections ends, or its keep alive is not answered, all of it is torn down and a new one is made
// (NVMe Base 2.0, section 6.3: the controller ends with any of its connections unless it supports the deletion
// of single queues).
//
// The path has access, and its CorePaths take I/O, while there is an association and the namespace's ANA
// group is optimized or non-optimized. What becomes of I/O when no path has access is the device's affair
// (path_group.h).
//
// The fence: when is a lost association dead AT THE TARGET, so that a command that was in flight when it was
// lost can not be executed any more? From the first of these that comes true:
//   1. the admin connection outlived the I/O connection, and the target answered a controller reset (CC.EN =
//      0, CSTS.RDY = 0) on it;
//   2. another run of the subsystem answers at the same address: the one that held the commands has ended;
//   3. KATO, as the controller rounds it up, after our side shut its connections:
//      without commands of ours the target has ended the
//      association by its keep alive timer, and what the network still holds comes too late.
// core_io.h says what waits for it. A failed device becomes usable again only after it, and close() waits for
// it when a command of unknown fate was reported as failed: whoever opens the same namespace next is not
// surprised.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "nvmf/initiator/config.h"
#include "nvmf/initiator/core_io.h"
#include "nvmf/initiator/core_path.h"
#include "nvmf/initiator/event_pace.h"
#include "nvmf/initiator/identify.h"
#include "nvmf/initiator/session.h"
#include "rt/cross_core.h"
#include "rt/reactor.h"
#include "rt/scope.h"
#include "rt/wait.h"

namespace holdfast::nvmf::host {

enum class ControllerState : std::uint8_t { connecting, live, reconnecting, closed };
const char* name(ControllerState state) noexcept;

// When a namespace was looked at.
enum class Seen : std::uint8_t { at_connect, by_event };

// The device that a path belongs to. Home core.
class ControllerOwner {
 public:
  // The namespace as the path shows it, before I/O goes there and when it changed: the first becomes the
  // device's, every other one has to be the same. `queues`: what the target grants; I/O queues of the path.
  // Errors: not_found (another namespace), failed_precondition (smaller, another block size, fewer queues).
  virtual Task<Status> admit(const ControllerInfo& info, const NamespaceInfo& found, unsigned queues,
                             Seen seen) = 0;
  // Before I/O goes to a target: the run of it that answers, and the one that I/O of this path went to before (nil: it
  // went nowhere).
  virtual Task<void> on_run(const Uuid& before, const ControllerInfo& info) = 0;
  // Somebody may have taken the namespace's reservation, or this host's registration.
  virtual void on_reservations_changed() noexcept = 0;
  // access(), removed() or refused() may be another than before.
  virtual void on_path_changed() noexcept = 0;
  // The I/O queue that serves `core`.
  virtual unsigned serving_core(unsigned core) const noexcept = 0;
  // I/O of the device fails: attempts need not be made often.
  virtual bool io_failed() const noexcept = 0;

 protected:
  ~ControllerOwner() = default;
};

class Controller final : PathOwner, SessionObserver {
 public:
  // The path to remote.address(address). `ios`, by core, get its CorePaths and outlive their use.
  Controller(const Cores& cores, const RemoteConfig& remote, std::size_t address, ControllerOwner& owner,
             std::vector<std::unique_ptr<CoreIo>>& ios);
  ~Controller();  // close() was awaited

  // Makes the first association; no I/O queues but of cores in use. Goes on by itself after success. Errors:
  // those of resolve_host, AdminSession::open, identify_controller, identify_namespace and admit(). After an
  // error: retry() or close().
  Task<Status> start();
  // Goes on trying, in the background.
  void retry() noexcept;
  // Opens the I/O queue that serves `core`, if there is none. Without an association now it comes with the
  // next.
  Task<Status> use_core(unsigned core);
  // Identifies the namespace again. Errors: not_connected, and those of identify_namespace.
  Task<Status> refresh();
  // Errors: not_connected without an association; those of the command.
  Task<Status> run(const VendorCommand& command);
  // What is under way ends soon; only close() follows.
  Task<void> cancel();
  // Orderly shutdown where the target can be reached, then all connections are closed. Every channel is
  // closed. Takes at most the time-outs of a shutdown and, after commands of unknown fate, the rest of the
  // fence.
  Task<void> close();

  ControllerState state() const noexcept { return state_; }
  Access access() const noexcept;
  // The namespace is not there any more, or another one is.
  bool removed() const noexcept { return removed_; }
  // The last attempt was refused by the machine: nobody listens there.
  bool refused() const noexcept { return refused_; }
  // A command of unknown fate was reported as failed, and may still be executed.
  Task<bool> any_unresolved();
  const ControllerInfo& info() const noexcept { return info_; }
  nvme::AnaState ana_state() const noexcept { return ana_; }
  const Endpoint& address() const noexcept { return address_; }
  std::uint64_t reconnects() const noexcept { return reconnects_; }

 private:
  // Set-up of an association (controller_setup.cc).
  Task<Status> establish();
  Task<Status> open_session(const std::vector<Endpoint>& addresses, Nanos deadline);
  Task<Status> initialize();
  Task<Result<unsigned>> request_queues(Admin& admin);
  Task<Status> find_namespace(Admin& admin, unsigned queues);
  Task<Status> open_io_queue(unsigned core);
  IoQueueArgs io_queue_args(unsigned core) const;

  // Life (controller.cc).
  Task<void> supervise();
  Task<bool> reconnect();
  Task<void> go_live();
  Task<void> tear_down();
  Task<void> tell_quiet();
  Task<void> drop_queues();
  Task<void> outlast_fence();
  Task<bool> target_restarted(Nanos deadline);
  Task<void> publish();
  Nanos keep_alive_at_target() const noexcept;
  Nanos next_backoff() noexcept;
  void lost(const std::string& why) noexcept;

  // Events of the target (controller_events.cc).
  Task<void> enable_events(Admin& admin);
  void start_events();
  Task<void> serve_events(AdminSession& session);
  Task<void> handle_event(AdminSession& session, nvme::AsyncEvent event);
  Task<Status> namespaces_changed(AdminSession& session);
  Task<Status> read_reservation_notices(AdminSession& session);
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
  const RemoteConfig& remote_;
  const Endpoint address_;
  ControllerOwner& owner_;
  std::atomic<std::uint64_t> unresolved_{0};      // of its paths, see CorePath::leave_unresolved()
  std::vector<std::unique_ptr<CorePath>> paths_;  // by core
  std::vector<bool> wanted_;                      // cores with channels
  std::vector<bool> opened_;                      // cores with an I/O queue of this association

  ControllerState state_ = ControllerState::connecting;
  std::unique_ptr<AdminSession> session_;
  ControllerInfo info_;
  Endpoint run_address_;  // where info_.run was seen
  Uuid flowed_run_;       // that I/O went to last
  NamespaceInfo space_;
  unsigned queues_ = 0;  // granted
  bool removed_ = false;
  bool refused_ = false;
  nvme::AnaState ana_ = nvme::AnaState::optimized;
  std::uint64_t reconnects_ = 0;
  std::uint32_t attempt_ = 0;
  EventPace event_pace_;         // of the target
  Nanos live_at_{0};             // since when there is an association
  Nanos lost_at_{0};             // while there is no association
  bool lost_ = false;            // the association has to be torn down
  bool flowed_ = false;          // I/O was done on this association
  bool doubt_ = false;           // the ANA state is being read again
  bool doubt_again_ = false;     // and may have changed since
  std::uint64_t torn_down_ = 0;  // associations, or attempts at one
  Nanos fence_{0};               // see above; in the past: nothing to wait for

  WaitQueue wake_;          // the supervisor
  WaitQueue doubt_wake_;    // who reads the ANA state
  Semaphore lifecycle_;     // one at a time makes, changes or ends an association
  Semaphore publish_lock_;  // one at a time tells the cores what they may do
  StopSource stop_;
  TaskScope scope_;
};

}  // namespace holdfast::nvmf::host
