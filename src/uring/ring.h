// Ring: one io_uring of one thread. Requests are gathered and handed to the kernel in one system call per
// turn, which also runs the kernel's deferred work and so fetches what has completed meanwhile.
#pragma once

#include <cstdint>

#include <liburing.h>

#include "base/error.h"
#include "rt/time.h"

namespace holdfast::uring {

// Told of the end of a request (once; more often for multishot requests). Lives until then.
class Completion {
 public:
  virtual void complete(std::int32_t result, std::uint32_t flags) noexcept = 0;

 protected:
  Completion() = default;
  Completion(const Completion&) = delete;
  Completion& operator=(const Completion&) = delete;
  ~Completion() = default;
};

class Ring {
 public:
  static constexpr unsigned submission_entries = 1024;
  static constexpr unsigned completion_entries = 4096;
  // Threads of the kernel for what it cannot begin without waiting: syncs, zeroing, more requests than a disk takes at
  // once. By itself it has four per processor, all of which one disk that does not answer would keep from the others.
  // They are made when they are needed.
  static constexpr unsigned kernel_threads_max = 512;

  Ring() = default;
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  ~Ring();

  // On the thread that will use the ring. Errors: failed_precondition (the kernel forbids or lacks io_uring),
  // resource_exhausted (locked memory); the texts name the remedy.
  Status open();

  // A cleared request; what was gathered is submitted first when the queue is full. Its completion goes to
  // `to`; to nobody when null.
  io_uring_sqe& request(Completion* to) noexcept;

  // Calls complete() for everything that has ended. The number of ends.
  unsigned reap() noexcept;
  // Something has ended and can be reaped. No system call, as the next two.
  bool has_ended() const noexcept { return io_uring_cq_ready(&ring_) != 0; }
  // The kernel says that it has work to run for us: submit() lets it. It says so a moment after the work can be taken,
  // so when we are quick this stays true without any, until another request ends (Linux 6.1 to 6.18,
  // io_req_local_work_add).
  bool has_kernel_work() const noexcept {
    return (IO_URING_READ_ONCE(*ring_.sq.kflags) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
  }
  bool has_news() const noexcept { return has_ended() || has_kernel_work(); }
  bool has_requests() const noexcept { return gathered() != 0; }
  unsigned gathered() const noexcept { return io_uring_sq_ready(&ring_); }
  // Hands over what was gathered, and no more than that.
  void submit_early() noexcept { static_cast<void>(io_uring_submit(&ring_)); }
  // Hands over what was gathered and runs the kernel's deferred work. Never sleeps.
  void submit() noexcept;
  // The same, and sleeps until something has ended or the time is over.
  void submit_and_wait(Nanos timeout) noexcept;

 private:
  io_uring ring_{};
  bool open_ = false;
};

}  // namespace holdfast::uring
