// CorePath: the I/O queue of one path (one controller) on one core, with what may be done with it now.
//
// A queue belongs to an association; associations of a path are numbered by generation(). What was in flight
// on a queue that was lost may still be executed at the target until the association is known to be dead
// there: quiet() says when that is (controller.h says how it is known), once the association was torn down.
#pragma once

#include <algorithm>
#include <array>
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

// What the namespace's ANA group, as this path's controller reports it, lets I/O do.
enum class Access : std::uint8_t {
  none,  // also: no association
  non_optimized,
  optimized,
};

// What a path is good for once it has access.
struct PathUse {
  Access access = Access::none;
  std::uint32_t nsid = 0;
  std::uint32_t transfer_bytes_max = 0;
  std::array<Nanos, 4> retry_delays{};  // by the CRD field of a status; [0] is not used
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
  // `changed` is woken when the path may have become usable or quiet; it outlives the path.
  // `unresolved`: shared by the cores of one controller.
  CorePath(Reactor& core, Reactor& home, PathOwner& owner, WaitQueue& changed,
           std::atomic<std::uint64_t>& unresolved);
  ~CorePath() = default;

  // ---- Control, on the path's core.
  // Opens and connects the queue of a new association. Errors: those of Queue::open and fabrics_connect.
  Task<Status> open_queue(IoQueueArgs args);
  bool has_queue() const noexcept { return queue_ != nullptr; }
  // What I/O may do from now on; what is in flight goes on.
  void set_use(const PathUse& use) noexcept;
  // Closes the queue, if there is one; its commands are lost.
  Task<void> drop_queue();
  // So many associations were torn down; nothing of them is executed at the target from `fence` on. What was
  // told before counts no more.
  void set_quiet(std::uint64_t torn_down, Nanos fence) noexcept;
  // Ends an open_queue() that is under way, and refuses later ones.
  void cancel() noexcept { stop_.request_stop(); }
  Task<void> close();

  // ---- I/O, on the path's core.
  bool usable() const noexcept { return usable_; }
  Access access() const noexcept { return use_.access; }
  const PathUse& use() const noexcept { return use_; }
  Queue& queue() noexcept { return *queue_; }  // while usable()
  // The association that a command issued now belongs to.
  std::uint64_t generation() const noexcept { return torn_down_ + 1; }
  // Nothing of that association, or an earlier one, is executed at the target any more; no_deadline as long
  // as it is not known.
  Nanos quiet_from(std::uint64_t generation) const noexcept {
    return torn_down_ >= generation ? fence_ : no_deadline;
  }
  // A command of that association may still be executed although its issuer was told that it failed.
  void leave_unresolved(std::uint64_t generation) noexcept {
    std::uint64_t before = unresolved_.load(std::memory_order_relaxed);
    while (before < generation &&
           !unresolved_.compare_exchange_weak(before, generation, std::memory_order_release)) {
    }
  }
  // From when on there is no such command; no_deadline as long as that is not known.
  Nanos resolved_from() const noexcept {
    const std::uint64_t generation = unresolved_.load(std::memory_order_acquire);
    return generation == 0 ? Nanos{0} : quiet_from(generation);
  }
  // There is such a command.
  bool unresolved() const noexcept { return core_.now() < resolved_from(); }
  void doubt() noexcept { doubt_.post(); }
  // Ends the connection.
  void fail(Error why) noexcept;

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
  void refresh() noexcept;

  Reactor& core_;
  Reactor& home_;
  PathOwner& owner_;
  WaitQueue& changed_;
  std::unique_ptr<Queue> queue_;
  std::uint16_t qid_ = 0;
  bool connected_ = false;  // the queue's Connect was answered
  bool usable_ = false;
  PathUse use_;
  std::uint64_t torn_down_ = 0;
  std::atomic<std::uint64_t>& unresolved_;
  Nanos fence_{0};
  StopSource stop_;
  TaskScope scope_;
  Notice lost_;
  Notice doubt_;
};

}  // namespace holdfast::nvmf::host
