// AdminSession: a connected, enabled controller seen through its admin queue, kept alive. Home core.
//
// The association that it stands for ends with it: a session that lost its connection is not repaired but
// replaced (controller.h says why).
#pragma once

#include <memory>
#include <vector>

#include "nvmf/initiator/admin.h"
#include "nvmf/initiator/config.h"
#include "nvmf/initiator/queue.h"
#include "rt/scope.h"
#include "rt/stop.h"
#include "rt/timer.h"
#include "rt/wait.h"

namespace holdfast::nvmf::host {

// Ends a queue at a time, or when a stop is requested, unless it is gone by then.
class Watchdog final : Timer, StopCallback {
 public:
  Watchdog(Queue& queue, Nanos deadline, StopToken stop) noexcept;
  ~Watchdog();

 private:
  void fire() noexcept override;
  void on_stop() noexcept override;
  Queue& queue_;
};

// Hears that a session's connection ended; once, on its core.
class SessionObserver {
 public:
  virtual void on_session_lost(const Error& why) noexcept = 0;

 protected:
  ~SessionObserver() = default;
};

class AdminSession final : QueueObserver {
 public:
  // Connects to `to` (numeric), creates a controller of `subnqn` and enables it, until `deadline`.
  // Errors: not_found, busy, not_connected, timed_out, cancelled, protocol, with texts that say what failed.
  static Task<Result<std::unique_ptr<AdminSession>>> open(Reactor& reactor, Endpoint to, std::string subnqn,
                                                          const InitiatorConfig& config,
                                                          SessionObserver* observer, Nanos deadline,
                                                          StopToken stop);
  ~AdminSession() = default;

  Admin admin() noexcept { return Admin(*queue_, config_.admin_timeout); }
  Queue& queue() noexcept { return *queue_; }
  const nvme::Cap& cap() const noexcept { return cap_; }
  std::uint16_t cntlid() const noexcept { return cntlid_; }
  const Endpoint& endpoint() const noexcept { return to_; }
  bool alive() const noexcept { return queue_->alive(); }
  // Work that uses the session and ends soon after its connection.
  TaskScope& scope() noexcept { return scope_; }
  // Keeps the session for a user outside scope(); empty once close() has begun.
  Gate::Hold use() noexcept { return users_.enter(); }
  // Requested when close() begins.
  StopToken stop() noexcept { return stop_.token(); }
  // Sends Keep Alive from now on; a missing answer ends the connection.
  void start_keep_alive();
  // Ends the connection; everything in scope(), and every user, ends with it.
  Task<void> close();

 private:
  AdminSession(Reactor& reactor, Endpoint to, const InitiatorConfig& config, SessionObserver* observer)
      : reactor_(reactor),
        to_(std::move(to)),
        config_(config),
        observer_(observer),
        scope_(reactor),
        users_(reactor) {}
  Task<Status> set_up(std::string subnqn, Nanos deadline, StopToken stop);
  Task<void> keep_alive();
  void on_queue_dead(Queue& queue, const Error& why) noexcept override;
  void on_command_late(Queue& queue, Command& command) noexcept override;

  Reactor& reactor_;
  Endpoint to_;
  const InitiatorConfig config_;
  SessionObserver* observer_;
  std::unique_ptr<Queue> queue_;
  nvme::Cap cap_{};
  std::uint16_t cntlid_ = 0;
  StopSource stop_;
  TaskScope scope_;
  Gate users_;
};

// Numeric addresses of the configured host. Errors: not_found, naming it.
Task<Result<std::vector<Endpoint>>> resolve_host(Reactor& reactor, Endpoint host);

// Until when one of `left` addresses that are tried in turn may take its time: who does not answer leaves the others
// theirs.
inline Nanos share_until(Nanos now, Nanos deadline, std::size_t left) noexcept {
  return now + (deadline - now) / static_cast<std::int64_t>(left);
}

}  // namespace holdfast::nvmf::host
