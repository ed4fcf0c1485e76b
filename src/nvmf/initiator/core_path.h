// CorePath: what one core of a remote device does I/O through: the I/O queue of the current association, and
// the rule by which a command survives the loss of a queue.
//
// A command whose queue was lost is issued again on the next association, as long as the device has not
// failed; its issuer sees one end. Reads, writes, write zeroes, deallocate and flush may all happen twice
// without harm to their issuer, but not LATE: a first try that is still on its way to the target could undo a
// newer write. So a command that changes data and whose fate is unknown is not acknowledged before the fence,
// the time from which the target executes nothing of the lost association any more (controller.h says how it
// is known), however early its second try succeeds. Until then the issuer has the command in flight, and
// overlapping writes in flight may leave either content. Other I/O does not wait.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "block/block_device.h"
#include "nvmf/initiator/admin.h"
#include "nvmf/initiator/config.h"
#include "nvmf/initiator/queue.h"
#include "rt/message.h"
#include "rt/scope.h"
#include "rt/stop.h"
#include "rt/wait.h"

namespace holdfast::nvmf::host {

// What a core knows of the namespace to split and check its I/O.
struct PathLimits {
  std::uint32_t nsid = 0;
  std::uint32_t transfer_bytes_max = 0;
  std::uint64_t zeroes_blocks_max = 0;
  std::uint32_t deallocate_blocks_max = 0;
  bool zeroes_may_deallocate = false;
  bool compare = false;  // the controller compares
  Geometry geometry;
  Capabilities capabilities;
};

// What a core needs to open its I/O queue.
struct IoQueueArgs {
  QueueOptions queue;
  ConnectArgs connect;
  std::uint32_t in_capsule_bytes = 0;
  Nanos timeout{0};  // for all of it
};

// The home side. Both functions run on the home core.
class PathOwner {
 public:
  virtual void on_path_lost(unsigned core) noexcept = 0;
  // I/O came back with a path related status: the ANA state may have changed.
  virtual void on_path_doubt() noexcept = 0;
  // Asks the target to abort a command of an I/O queue.
  virtual Task<void> abort(std::uint16_t qid, std::uint16_t cid) = 0;

 protected:
  ~PathOwner() = default;
};

class CorePath final : QueueObserver {
 public:
  enum class State : std::uint8_t {
    waiting,  // no association, or none that may do I/O: commands wait
    live,
    failed,  // commands fail at once
  };

  CorePath(Reactor& core, Reactor& home, PathOwner& owner, const InitiatorConfig& config);
  ~CorePath() = default;

  // ---- Control, on the path's core.
  // Opens and connects the queue of a new association; no I/O yet. Errors: those of Queue::open and
  // fabrics_connect.
  Task<Status> open_queue(IoQueueArgs args);
  bool has_queue() const noexcept { return queue_ != nullptr; }
  // I/O flows from now on; `fence` is the time before which no command of unknown fate is acknowledged.
  void go_live(const PathLimits& limits, Nanos fence) noexcept;
  // New limits for the commands to come.
  void update(const PathLimits& limits) noexcept { limits_ = limits; }
  // I/O waits; what is in flight goes on.
  void pause() noexcept { state_ = State::waiting; }
  // Closes the queue, if there is one; its commands are lost, and wait or fail by state().
  Task<void> drop_queue();
  // Waiting commands, and those to come, end with not_connected.
  void fail_io() noexcept;
  // A command that may still be executed at the target was reported as failed, and no fence has passed since.
  bool unresolved() const noexcept { return unresolved_; }
  // Ends an open_queue() that is under way, and refuses later ones.
  void cancel() noexcept { stop_.request_stop(); }
  Task<void> close();

  // ---- I/O, on the path's core.
  // Runs one command to its single end. `modifies`: it changes what the device holds. `cancelled`: its issuer
  // was given up, and it ends with not_connected soon after that became true and give_up_users() was called.
  Task<Status> execute(Command& command, bool modifies, const bool& cancelled);
  // Resets the connection, so that the commands of cancelled issuers end; the others are issued again.
  void give_up_users() noexcept;
  const PathLimits& limits() const noexcept { return limits_; }
  Reactor& reactor() const noexcept { return core_; }
  State state() const noexcept { return state_; }
  IoStats stats;

 private:
  // A message home that may be sent again once it was read.
  class Notice final : public Message {
   public:
    Notice(Reactor& home, PathOwner& owner, unsigned core, bool lost) noexcept
        : home_(home), owner_(owner), core_(core), lost_(lost) {}
    void post() noexcept {
      if (!under_way_.exchange(true, std::memory_order_acq_rel)) home_.send(*this);
    }
    bool under_way() const noexcept { return under_way_.load(std::memory_order_acquire); }

   private:
    void run() noexcept override {
      under_way_.store(false, std::memory_order_release);
      if (lost_) {
        owner_.on_path_lost(core_);
      } else {
        owner_.on_path_doubt();
      }
    }
    Reactor& home_;
    PathOwner& owner_;
    const unsigned core_;
    const bool lost_;
    std::atomic<bool> under_way_{false};
  };
  void on_queue_dead(Queue& queue, const Error& why) noexcept override;
  void on_command_late(Queue& queue, Command& command) noexcept override;
  Task<void> ask_abort(std::uint16_t cid);
  Task<Status> until_live(const bool& cancelled);
  Task<void> pause_for(Nanos duration, const bool& cancelled);
  Task<Status> settle(Status outcome, bool uncertain, const bool& cancelled);

  Reactor& core_;
  Reactor& home_;
  PathOwner& owner_;
  const InitiatorConfig config_;
  std::unique_ptr<Queue> queue_;
  std::uint16_t qid_ = 0;
  bool connected_ = false;  // the queue's Connect was answered
  State state_ = State::waiting;
  bool unresolved_ = false;
  Nanos fence_{0};
  PathLimits limits_;
  WaitQueue changed_;
  StopSource stop_;
  TaskScope scope_;
  Notice lost_;
  Notice doubt_;
};

}  // namespace holdfast::nvmf::host
