// TaskScope: the owner of work that nobody awaits one by one. No task is ever detached.
#pragma once

#include <cstddef>
#include <utility>

#include "rt/task.h"
#include "rt/wait.h"

namespace holdfast {

class TaskScope final : TaskObserver {
 public:
  explicit TaskScope(Reactor& r) noexcept : idle_(r) {}
  // join() was awaited, or nothing was running (asserted).
  ~TaskScope() { HF_ASSERT(running_ == 0); }

  // Runs the task until it first suspends; the scope owns it from now on.
  void spawn(Task<void> task) noexcept {
    ++running_;
    task.start(this);
    if (task.done()) {
      task_ended();
      return;
    }
    task.release();
  }
  // Waits until nothing is running. Tasks may be spawned meanwhile.
  Task<void> join() {
    while (running_ > 0) co_await idle_.wait();
  }
  std::size_t running() const noexcept { return running_; }

 private:
  void task_finished(std::coroutine_handle<> frame) noexcept override {
    frame.destroy();
    task_ended();
  }
  void task_ended() noexcept {
    if (--running_ == 0) idle_.wake_all();
  }

  WaitQueue idle_;
  std::size_t running_ = 0;
};

}  // namespace holdfast
