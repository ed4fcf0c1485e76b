// UringOp: one request as an awaitable, with an optional deadline and stop token. For what is not on the I/O
// path; files and streams complete their operations directly.
#pragma once

#include <coroutine>

#include "rt/stop.h"
#include "rt/timer.h"
#include "uring/uring_reactor.h"

namespace holdfast::uring {

// `prepare(io_uring_sqe&)` fills the request in. Gives the kernel's result: >= 0, or a negative errno
// (-ECANCELED after the stop, -ETIME after the deadline, unless the request ended first).
template <class F>
class [[nodiscard]] UringOp final : Completion, Timer, StopCallback {
 public:
  UringOp(UringReactor& reactor, F& prepare, Nanos deadline = no_deadline,
          StopToken stop = StopToken()) noexcept
      : reactor_(reactor), prepare_(prepare), deadline_(deadline), stop_(stop) {}
  bool await_ready() noexcept {
    if (stop_.stop_requested()) result_ = -ECANCELED;
    return stop_.stop_requested();
  }
  void await_suspend(std::coroutine_handle<> h) noexcept {
    waiter_ = h;
    prepare_(reactor_.request(this));
    if (deadline_ != no_deadline) reactor_.arm(*this, deadline_);
    stop_.subscribe(*this);
  }
  std::int32_t await_resume() const noexcept { return result_; }

 private:
  void complete(std::int32_t result, std::uint32_t) noexcept override {
    result_ = result >= 0 || reason_ == 0 ? result : reason_;
    reactor_.disarm(*this);
    unregister();
    reactor_.post(waiter_);
  }
  void fire() noexcept override { cancel(-ETIME); }
  void on_stop() noexcept override { cancel(-ECANCELED); }
  void cancel(std::int32_t reason) noexcept {
    if (reason_ != 0) return;
    reason_ = reason;
    auto& sqe = reactor_.request(nullptr);
    io_uring_prep_cancel(&sqe, static_cast<Completion*>(this), 0);
    io_uring_sqe_set_data(&sqe, nullptr);
  }

  UringReactor& reactor_;
  F& prepare_;
  Nanos deadline_;
  StopToken stop_;
  std::int32_t result_ = 0;
  std::int32_t reason_ = 0;
  std::coroutine_handle<> waiter_;
};

}  // namespace holdfast::uring
