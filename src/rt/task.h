// Task<T>: a lazily started coroutine that one awaiter runs to completion on one reactor.
//
// Rules (checked where a check is possible):
//  - A Task runs nothing until it is co_awaited or given to TaskScope::spawn, when_all or run_on.
//  - A started Task must finish before it is destroyed: the kernel may own its buffers.
//    (A simulated process that
//    crashes is never destroyed, only forgotten; so there is no exception to this rule.)
//  - No symmetric transfer: g++ 12 makes it a real call below -O2 and under the sanitizers, and a loop over
//    synchronously finishing children then overflows the stack. Here the child is resumed inside
//    await_suspend, which answers "do not suspend" when the child is already done.
#pragma once

#include <coroutine>
#include <optional>
#include <utility>

#include "base/assert.h"
#include "base/error.h"
#include "rt/frame_pool.h"

namespace holdfast {

// Told when a task that nobody co_awaits has finished. May destroy the frame from inside the call.
class TaskObserver {
 public:
  virtual void task_finished(std::coroutine_handle<> frame) noexcept = 0;

 protected:
  ~TaskObserver() = default;
};

namespace detail {

struct PromiseBase {
  std::coroutine_handle<> continuation;
  TaskObserver* observer = nullptr;

  struct FinalAwaiter {
    bool await_ready() const noexcept { return false; }
    template <class P>
    void await_suspend(std::coroutine_handle<P> h) const noexcept {
      PromiseBase& p = h.promise();
      if (p.continuation) {
        p.continuation.resume();
      } else if (p.observer != nullptr) {
        p.observer->task_finished(h);
      }
    }
    void await_resume() const noexcept {}
  };

  std::suspend_always initial_suspend() const noexcept { return {}; }
  FinalAwaiter final_suspend() const noexcept { return {}; }
  [[noreturn]] void unhandled_exception() const noexcept { panic("an exception left a coroutine"); }

  static void* operator new(std::size_t bytes) { return frame_pool::allocate(bytes); }
  static void operator delete(void* frame, std::size_t bytes) noexcept { frame_pool::release(frame, bytes); }
};

template <class T>
struct Promise : PromiseBase {
  std::optional<T> value;
  template <class U>
  void return_value(U&& v) noexcept {
    value.emplace(std::forward<U>(v));
  }
  T take() noexcept { return std::move(*value); }
};

template <>
struct Promise<void> : PromiseBase {
  void return_void() const noexcept {}
  void take() const noexcept {}
};

}  // namespace detail

template <class T = void>
class [[nodiscard]] Task {
 public:
  struct promise_type : detail::Promise<T> {
    Task get_return_object() noexcept {
      return Task(std::coroutine_handle<promise_type>::from_promise(*this));
    }
  };
  using Handle = std::coroutine_handle<promise_type>;
  using value_type = T;

  Task() noexcept = default;  // empty: not a coroutine; only assignable
  explicit Task(Handle h) noexcept : h_(h) {}
  Task(Task&& o) noexcept : h_(std::exchange(o.h_, {})), started_(std::exchange(o.started_, false)) {}
  Task& operator=(Task&& o) noexcept {
    if (this != &o) {
      destroy();
      h_ = std::exchange(o.h_, {});
      started_ = std::exchange(o.started_, false);
    }
    return *this;
  }
  ~Task() { destroy(); }

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> parent) noexcept {
    HF_ASSERT(h_ && !started_);
    started_ = true;
    h_.resume();
    if (h_.done()) return false;
    h_.promise().continuation = parent;
    return true;
  }
  T await_resume() noexcept { return h_.promise().take(); }

  // For those who run tasks without awaiting them: the scope, when_all, run_on, the simulation.
  // Runs until the first suspension. The observer is told of the end, unless the task ended right here.
  void start(TaskObserver* observer) noexcept {
    HF_ASSERT(h_ && !started_);
    started_ = true;
    h_.resume();
    if (!h_.done()) h_.promise().observer = observer;
  }
  bool done() const noexcept { return h_ && h_.done(); }
  T take() noexcept {
    HF_ASSERT(done());
    return h_.promise().take();
  }
  // Gives up ownership of the frame.
  Handle release() noexcept { return std::exchange(h_, {}); }

 private:
  void destroy() noexcept {
    if (!h_) return;
    HF_ASSERT(!started_ || h_.done());
    h_.destroy();
    h_ = {};
  }

  Handle h_;
  bool started_ = false;
};

}  // namespace holdfast
