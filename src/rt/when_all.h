// when_all: starts several tasks at once and waits for the last. Results are taken from the tasks afterwards.
#pragma once

#include <coroutine>
#include <span>
#include <utility>
#include <vector>

#include "base/error.h"
#include "rt/task.h"

namespace holdfast {

// std::array<Task<Status>, 2> both{a(), b()};  co_await when_all(std::span(both));  Status first =
// both[0].take();
template <class T>
class [[nodiscard]] WhenAll final : TaskObserver {
 public:
  explicit WhenAll(std::span<Task<T>> tasks) noexcept : tasks_(tasks) {}
  WhenAll(const WhenAll&) = delete;
  WhenAll& operator=(const WhenAll&) = delete;

  bool await_ready() const noexcept { return tasks_.empty(); }
  bool await_suspend(std::coroutine_handle<> parent) noexcept {
    // One more than the tasks, so that none of them can resume the parent while others are still being
    // started.
    pending_ = tasks_.size() + 1;
    for (auto& t : tasks_) {
      t.start(this);
      if (t.done()) --pending_;
    }
    parent_ = parent;
    return --pending_ > 0;
  }
  void await_resume() const noexcept {}

 private:
  void task_finished(std::coroutine_handle<>) noexcept override {
    if (--pending_ == 0) parent_.resume();
  }
  std::span<Task<T>> tasks_;
  std::coroutine_handle<> parent_;
  std::size_t pending_ = 0;
};

template <class T>
WhenAll<T> when_all(std::span<Task<T>> tasks) noexcept {
  return WhenAll<T>(tasks);
}

// Waits for all of them, also when one fails. The error of the first in the vector that failed, if any did.
inline Task<Status> when_all_ok(std::vector<Task<Status>> tasks) {
  co_await when_all(std::span(tasks));
  Status outcome;
  for (auto& task : tasks) {
    Status one = task.take();
    if (!one.ok() && outcome.ok()) outcome = std::move(one);
  }
  co_return outcome;
}

}  // namespace holdfast
