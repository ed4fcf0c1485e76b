// PathGroup: one remote namespace behind all of its paths: which of them show that namespace, and whether I/O
// flows, waits or fails. Home core.
//
//   flowing -> waiting   no path has access: no association, or an ANA group that is not accessible
//   waiting -> flowing   one has it again
//   waiting -> failed    when it waited longer than `grace` (`refused_grace` when every path was
//                        refused); the event `failed`. Attempts go on slowly.
//   failed  -> flowing   the event `recovered`, once no command of unknown fate that was reported
//                        as failed can be executed any more
//
// A path belongs to the group when it shows the namespace that the first one showed: the same NQN, UUID and
// NGUID, the same block size, not smaller, and as many I/O queues.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "nvmf/initiator/config.h"
#include "nvmf/initiator/controller.h"
#include "nvmf/initiator/core_io.h"
#include "nvmf/initiator/identify.h"
#include "rt/reactor.h"
#include "rt/scope.h"
#include "rt/stop.h"
#include "rt/wait.h"

namespace holdfast::nvmf::host {

enum class IoFlow : std::uint8_t { waiting, flowing, failed };
const char* name(IoFlow flow) noexcept;

// Hears of changes, on the home core.
class PathGroupObserver {
 public:
  virtual void on_group_event(DeviceEvent event) noexcept = 0;

 protected:
  ~PathGroupObserver() = default;
};

class PathGroup final : ControllerOwner {
 public:
  PathGroup(const Cores& cores, RemoteConfig remote);
  ~PathGroup();  // close() was awaited

  // Who hears of events; nobody does before. Outlives the group.
  void set_observer(PathGroupObserver& observer) noexcept { observer_ = &observer; }
  // Tries all paths at once and returns when one of them is up; the others go on by themselves. Errors: what
  // the first path met, when all of them failed. After an error: close().
  Task<Status> start();
  // Opens the I/O queues that serve `core`. Errors: those of opening a queue, when no path could.
  Task<Status> use_core(unsigned core);
  // Identifies the namespace again, on every path that is connected. Errors: not_connected, and those of
  // identify_namespace, when no path succeeded.
  Task<Status> refresh();
  // A command of our own, on the path that I/O prefers. Waits for one as I/O does, and is sent again when it was
  // lost with its path. Errors: not_connected when the device has failed, or one connection after the other was lost
  // under it; timed_out; those of the command.
  Task<Status> run(const VendorCommand& command);
  // As Controller::close(), all paths at once.
  Task<void> close();

  CoreIo& io(unsigned core) noexcept { return *ios_[core]; }
  // The core whose queues serve `core`: itself, unless the targets grant too few queues.
  unsigned serving_core(unsigned core) const noexcept override { return core % queues_; }

  IoFlow flow() const noexcept { return flow_; }
  // Of the path that is best off.
  ControllerState state() const noexcept;
  const NamespaceInfo& space() const noexcept { return space_; }
  const RemoteConfig& remote() const noexcept { return remote_; }
  std::size_t path_count() const noexcept { return paths_.size(); }
  const Controller& path(std::size_t index) const noexcept { return *paths_[index]; }

 private:
  Task<void> first_try(std::size_t index);
  bool any_access() const noexcept;
  Controller* best_path() const noexcept;
  Nanos wait_max() const noexcept;
  Task<bool> any_unresolved();
  Status check_same(const NamespaceInfo& found, unsigned queues, Seen seen) const;
  void merge_limits(const ControllerInfo& info, const NamespaceInfo& found) noexcept;
  Task<void> push_limits();
  Task<void> keep_flow();
  Task<Nanos> step_flow();
  Task<void> fail(const char* why);
  Task<void> resume();
  void raise(DeviceEvent event) noexcept {
    if (observer_ != nullptr) observer_->on_group_event(event);
  }

  Task<Status> admit(const ControllerInfo& info, const NamespaceInfo& found, unsigned queues,
                     Seen seen) override;
  Task<void> on_run(const Uuid& before, const ControllerInfo& info) override;
  void on_path_changed() noexcept override;
  void on_reservations_changed() noexcept override { raise(DeviceEvent::reservations_changed); }
  bool io_failed() const noexcept override { return flow_ == IoFlow::failed; }

  const Cores& cores_;
  Reactor& home_;
  const RemoteConfig remote_;
  PathGroupObserver* observer_ = nullptr;
  std::atomic<std::uint64_t> doubts_{0};            // of all cores, see CoreIo
  std::vector<std::unique_ptr<CoreIo>> ios_;        // by core
  std::vector<std::unique_ptr<Controller>> paths_;  // in the order of the addresses
  std::vector<std::optional<Error>> errors_;        // of first tries
  std::size_t tried_ = 0, up_ = 0;                  // first tries that ended, and well
  bool started_ = false;

  bool known_ = false;  // space_, limits_ and queues_ are the device's
  NamespaceInfo space_;
  PathLimits limits_;
  unsigned queues_;  // cores that have I/O queues of their own: the first so many
  bool removed_ = false;
  // Runs of targets that I/O went to, until it is told that the caches of one are lost.
  std::vector<Uuid> runs_;

  IoFlow flow_ = IoFlow::waiting;
  Nanos waiting_since_{0};
  bool changed_ = false;
  WaitQueue wake_;
  Semaphore flow_lock_;  // one at a time fails or resumes I/O
  StopSource stop_;
  Gate commands_;  // held by run()
  TaskScope scope_;
};

}  // namespace holdfast::nvmf::host
