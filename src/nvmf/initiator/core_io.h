// CoreIo: what one core of a remote device does I/O through: its queue on each path of the device, the choice
// among them, and the rule by which a command survives the loss of a queue.
//
// Choice: paths whose ANA group is optimized, else those where it is non-optimized; among equals the one with
// the fewest commands in flight, in turn when that is equal too.
//
// A command whose data was damaged on its way (queue.h) is issued again at once, on the same connection as a
// rule. The connection is given up when that does not help.
//
// A command that came back with a path related status, or whose queue was lost, is issued again, on another
// path or the same path's next association, as long as the device has not failed; its issuer sees one end.
// Reads, writes, write zeroes, deallocate and flush may all happen twice without harm to their issuer, but
// not LATE: a first try that is still on its way to a target could undo a newer write. So a command that
// changes data and whose fate on some association is unknown is not acknowledged before that association is
// quiet (core_path.h), however early a later try succeeds. Until then the issuer has the command in flight,
// and overlapping writes in flight may leave either content. Other I/O does not wait. Nor is a command that changes
// data sent, on any core, while one that was reported as failed may still be executed: it could be undone by that.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "block/block_device.h"
#include "nvmf/initiator/config.h"
#include "nvmf/initiator/core_path.h"
#include "rt/wait.h"

namespace holdfast::nvmf::host {

class CoreIo {
 public:
  // `doubts`: shared by the cores of one device.
  CoreIo(Reactor& core, const InitiatorConfig& config, std::atomic<std::uint64_t>& doubts)
      : core_(core), config_(config), doubts_(doubts), changed_(core) {}
  CoreIo(const CoreIo&) = delete;
  CoreIo& operator=(const CoreIo&) = delete;
  ~CoreIo() = default;

  // ---- Set-up, before any use. The path was made with changed() and outlives all I/O.
  void add_path(CorePath& path) { paths_.push_back(&path); }
  WaitQueue& changed() noexcept { return changed_; }

  // ---- Control, on the core.
  // New limits for the commands to come.
  void set_limits(const PathLimits& limits) noexcept { limits_ = limits; }
  // Waiting commands, and those to come, end with not_connected, until resume_io().
  void fail_io() noexcept;
  void resume_io() noexcept;

  // ---- I/O, on the core.
  // Runs one command to its single end. `modifies`: it changes what the device holds. `cancelled`: its issuer
  // was given up, and it ends with not_connected soon after that became true and give_up_users() was called.
  Task<Status> execute(Command& command, bool modifies, const bool& cancelled);
  // Resets the connections, so that the commands of cancelled issuers end; the others are issued again.
  void give_up_users() noexcept;
  const PathLimits& limits() const noexcept { return limits_; }
  Reactor& reactor() const noexcept { return core_; }
  IoStats stats;

 private:
  // One issue of a command: where, and in which association.
  struct Try {
    CorePath* path = nullptr;
    std::uint64_t generation = 0;
  };
  // A command in trouble (core_io.cc).
  struct Rescue;

  CorePath* choose(const Command& command, const CorePath* but) noexcept;
  Task<Status> rescue(Command& command, bool modifies, const bool& cancelled, Try first);
  Task<CorePath*> next_path(Rescue& rescue);
  bool judge(Rescue& rescue);
  bool judge_damage(Rescue& rescue);
  Task<Status> settle(Rescue& rescue);
  bool in_doubt() const noexcept { return doubts_.load(std::memory_order_acquire) != outlasted_; }
  Task<Status> outlast_failed(const bool& cancelled);

  Reactor& core_;
  const InitiatorConfig config_;
  PathLimits limits_;
  std::vector<CorePath*> paths_;
  std::size_t turn_ = 0;  // where the search for equals begins
  bool failed_ = false;
  // Commands that were reported as failed and may still be executed, on every core; and those of them outlasted here.
  std::atomic<std::uint64_t>& doubts_;
  std::uint64_t outlasted_ = 0;
  WaitQueue changed_;
};

}  // namespace holdfast::nvmf::host
