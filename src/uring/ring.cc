#include "uring/ring.h"

#include <cerrno>
#include <string>

namespace holdfast::uring {

namespace {

Error open_error(int err) {
  switch (err) {
    case ENOSYS:
    case EPERM:
    case EACCES:
      return Error(Errc::failed_precondition,
                   "this kernel or container forbids io_uring: check the sysctl kernel.io_uring_disabled and "
                   "the seccomp profile of the container");
    case EINVAL:
      return Error(Errc::failed_precondition,
                   "this kernel's io_uring is too old: Linux 6.1 or later is needed");
    case ENOMEM:
      return Error(Errc::resource_exhausted,
                   "no memory may be locked for an io_uring: raise the limit (ulimit -l) or give the process "
                   "CAP_IPC_LOCK");
    default:
      return error_from_errno(err).with_context("cannot make an io_uring");
  }
}

}  // namespace

Ring::~Ring() {
  if (open_) io_uring_queue_exit(&ring_);
}

Status Ring::open() {
  io_uring_params params{};
  params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
                 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
  params.cq_entries = completion_entries;
  if (const int err = io_uring_queue_init_params(submission_entries, &ring_, &params); err != 0)
    return open_error(-err);
  open_ = true;
  // Saves the descriptor look-up of every call; without it all works as well.
  static_cast<void>(io_uring_register_ring_fd(&ring_));
  unsigned threads[2] = {kernel_threads_max, 0};  // 0: as it is
  static_cast<void>(io_uring_register_iowq_max_workers(&ring_, threads));
  return Status();
}

io_uring_sqe& Ring::request(Completion* to) noexcept {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  while (sqe == nullptr) {
    submit();
    sqe = io_uring_get_sqe(&ring_);
  }
  io_uring_prep_nop(sqe);
  io_uring_sqe_set_data(sqe, to);
  return *sqe;
}

unsigned Ring::reap() noexcept {
  unsigned ended = 0;
  io_uring_cqe* cqe = nullptr;
  unsigned head = 0;
  // Entries are given back before their callbacks run: those may submit, which makes the kernel post more.
  struct End {
    Completion* to;
    std::int32_t result;
    std::uint32_t flags;
  };
  End batch[64];
  for (;;) {
    unsigned n = 0;
    io_uring_for_each_cqe(&ring_, head, cqe) {
      batch[n++] = End{static_cast<Completion*>(io_uring_cqe_get_data(cqe)), cqe->res, cqe->flags};
      if (n == std::size(batch)) break;
    }
    if (n == 0) return ended;
    io_uring_cq_advance(&ring_, n);
    ended += n;
    for (unsigned i = 0; i < n; ++i) {
      if (batch[i].to != nullptr) batch[i].to->complete(batch[i].result, batch[i].flags);
    }
  }
}

void Ring::submit() noexcept {
  // Errors are those of a moment (EAGAIN, EBUSY, EINTR): what was not taken stays gathered for the next turn.
  static_cast<void>(io_uring_submit_and_get_events(&ring_));
}

void Ring::submit_and_wait(Nanos timeout) noexcept {
  constexpr Nanos longest = std::chrono::hours(1);
  if (timeout > longest) timeout = longest;
  if (timeout <= Nanos{0}) return submit();
  __kernel_timespec ts{};
  ts.tv_sec = timeout.count() / 1'000'000'000;
  ts.tv_nsec = timeout.count() % 1'000'000'000;
  io_uring_cqe* cqe = nullptr;
  static_cast<void>(io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &ts, nullptr));
}

}  // namespace holdfast::uring
